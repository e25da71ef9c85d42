"""Run a study with Snakemake: what is missing or outdated, resumed after any interruption."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from zeroshot import catalog, models, results, store
from zeroshot.notebooks import kernel
from zeroshot.runtime import copies, lock, paths, processes

from . import declarations, finished, grid, progress

# What a cluster gets to cancel the jobs of a study that is stopped.
_SECONDS_TO_CANCEL = 10
_STOPPED = (
    "every process of the run has ended. Finished pages are kept; the same command continues with the rest."
)


class StudyError(RuntimeError):
    """A study cannot be run, or one of its pages failed."""


def run(
    study: str,
    *,
    cores: int = 1,
    target: str = "pages",
    policy: store.Policy = "reuse",
    profile: Path | None = None,
    dry_run: bool = False,
    source: grid.Source = "computed",
    before: Callable[[], None] | None = None,
) -> None:
    """Execute what is missing or outdated in a study.

    Parameters
    ----------
    study
        Name in ``data/studies.yml``.
    cores
        Pages executed at the same time.
    target
        "pages" for runs, scores and chapters; "book" to render them as well.
    policy
        "reuse" stored embeddings and scores, "recompute" them, or use "only-stored" ones, for the runs.
    profile
        Snakemake profile, for example ``profiles/slurm``.
    dry_run
        Print what would be executed and stop.
    source
        Where the tables of the study come from: "computed" by its runs, or the "committed" ones of
        ``data/scores``. From those nothing is computed, and only the chapters are executed that need no more.

    before
        Called once nothing speaks against the run, before anything is started: for "book", what writes
        ``build/site-plan.json``, see :func:`zeroshot.site.plan`.

    Raises
    ------
    zeroshot.results.TableError
        If committed scores are missing, damaged, or not of this study.
    zeroshot.runtime.lock.LockedError
        If another run of the project is going on.
    StudyError
        If a page failed.
    RequirementError
        If a chapter needs a data set or a model that the study does not have.
    ValueError
        If the number of cores or the profile cannot be.
    OSError
        If nothing can be written below ``build``.
    SystemExit
        On SIGINT, SIGTERM or SIGHUP, with 128 + signal, once every process of the run has ended.
    """
    with processes.stopped_by_signals(tell=_STOPPED):
        _run(study, cores, target, policy, profile, dry_run, source, before)


def _run(
    study: str,
    cores: int,
    target: str,
    policy: store.Policy,
    profile: Path | None,
    dry_run: bool,
    source: grid.Source,
    before: Callable[[], None] | None,
) -> None:
    card = catalog.study(study)
    _check_settings(cores, profile)
    if target == "book":
        declarations.require_listed(card)
    fitting = [pair for pair in grid.pairs(card) if grid.misfit(*pair) is None]
    declarations.require(card, fitting)
    if source == "committed":
        absent = results.without_committed_scores(study)
        declarations.require(card, [pair for pair in fitting if pair not in absent])
    else:
        _fetch_weights(card)
        declarations.require(card, grid.available_pairs(card))
    command = [
        *processes.command("snakemake"),
        "--snakefile", str(paths.home() / "Snakefile"),
        "--directory", str(paths.home()),
        "--config", f"study={study}", f"policy={policy}",
        "--rerun-triggers", "mtime",  # plan files carry every other reason to re-run
        "--rerun-incomplete",
        "--nolock",  # lock.only_run holds the lock: it tells a live owner from a dead one
        "--keep-going",
        "--quiet", "host", "reason",
    ]  # fmt: skip
    command += ["--profile", str(profile)] if profile else ["--cores", str(cores)]
    if policy != "reuse":
        command.append("--forceall")
    if dry_run:
        command.append("--dry-run")
    environment = os.environ | {"ZEROSHOT_HOME": str(paths.home())}
    folder = paths.study(study)
    with lock.only_run() as mark:
        store.remove_leftovers()
        grid.plan(study, source)
        if before is not None:
            before()
        if not dry_run:
            finished.remove_damaged(folder)
        try:
            with contextlib.ExitStack() as stack:
                if copies.POSSIBLE and not (dry_run or profile):
                    environment |= stack.enter_context(serving_copies(folder, environment, mark))
                code = processes.run(
                    [*command, "--", target],
                    environment,
                    mark,
                    seconds_to_cancel=_SECONDS_TO_CANCEL if profile else 0,
                    tell=None if dry_run else progress.Progress(None if profile else cores),
                )
        finally:
            if not dry_run:
                finished.remember(folder)
    if code != 0:
        raise StudyError(
            f"the study {study} is not complete (see the messages above). "
            "Finished pages are kept; the same command continues with the rest."
        )
    if not dry_run and (absent := _missing_files(folder)):
        # It has done so (see the head of the Snakefile), and nothing may be called complete that is not.
        raise StudyError(
            f"Snakemake ended without an error, but {len(absent)} files of {study} are missing, such as "
            f"{absent[0]}. The same command continues with the rest."
        )


@contextlib.contextmanager
def serving_copies(folder: Path, environment: Mapping[str, str], mark: str) -> Iterator[dict[str, str]]:
    """Start the processes that jobs are copies of: one has what pages need, the other what computing does.

    Where nothing is missing that one of them makes, it imports only when a job asks: perhaps none will.

    Parameters
    ----------
    folder
        Of the study, with its ``plan.json``.
    environment, mark
        Of the processes, see :func:`zeroshot.runtime.processes.run`.

    Yields
    ------
    dict
        What to add to the environment of jobs.
    """
    plan = json.loads((folder / "plan.json").read_text())
    servers = {"zeroshot.notebooks": plan["chapters"]}
    if plan["runs"]:
        servers = {"zeroshot.notebooks": [catalog.RUN_PAGE, *plan["chapters"]], "zeroshot.study": []}
    missing = {file.suffix for file in _missing_files(folder)}
    needed_now = {"zeroshot.notebooks": bool(missing), "zeroshot.study": ".csv" in missing}
    with contextlib.ExitStack() as stack:
        sockets = stack.enter_context(kernel.sockets())
        for module, names in servers.items():
            when = "now" if needed_now[module] else "later"
            command = processes.command(f"{module}.server", copies.socket_of(module, sockets), when, *names)
            server = subprocess.Popen(command, env={**environment, processes.MARK: mark})
            stack.enter_context(server)
            stack.callback(server.kill)
        yield {copies.FOLDER: sockets}


def _missing_files(folder: Path) -> list[Path]:
    """Tables and pages of a planned study that do not exist."""
    plan = json.loads((folder / "plan.json").read_text())
    pages = [*plan["runs"], *(f"notebooks/{name}" for name in plan["chapters"])]
    files = [folder / f"{table}.csv" for table in plan["tables"]]
    files += [folder / "executed" / f"{page}.ipynb" for page in pages]
    return [file for file in files if not file.is_file()]


def _check_settings(cores: int, profile: Path | None) -> None:
    """Refuse what Snakemake would answer with a message of its own, after it was started."""
    if cores < 1:
        raise ValueError(f"cores is {cores}: it must be at least 1, the pages executed at the same time")
    if profile is None:
        return
    # Snakemake looks for the name of a profile in these folders too.
    folders = [
        profile,
        Path("~/.config/snakemake").expanduser() / profile,
        Path("/etc/xdg/snakemake") / profile,
    ]
    if not any(file.is_file() for folder in folders for file in folder.glob("config*.yaml")):
        reason = "has no config.yaml" if profile.is_dir() else "does not exist"
        raise ValueError(
            f"the profile {profile} {reason}: give the folder of a Snakemake profile, "
            "for example profiles/slurm or your copy of it"
        )


def _fetch_weights(study: catalog.StudyCard) -> None:
    """Download the weights of a study's models; those that cannot be had are left out, aloud."""
    for reference in study.models:
        card, recipe = catalog.split_reference(reference)
        if models.unavailable(card, recipe) is None:
            continue
        try:
            models.find_checkpoint(card, recipe, None)
        except ValueError as error:
            print(f"{reference} is left out: {error}", file=sys.stderr)
