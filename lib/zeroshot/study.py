"""From a study to its pages: which notebook runs with which parameters, and what each depends on.

For every page a plan file is written that holds the parameters and the hashes of all it depends
on: notebook, cards, library modules, package versions. It changes only when one of them does, and
Snakemake re-runs a page when its plan has changed.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroshot import (
    catalog,
    data,
    dependencies,
    kept,
    lock,
    models,
    notebooks,
    paths,
    pipeline,
    processes,
    published,
    results,
    store,
)

# Files of the project that chapters show through a module.
_READ_BY = {
    "zeroshot.published": ("data/published.yml",),
    "zeroshot.cross_check": ("data/references/scib.json",),
    "zeroshot.variants": ("data/models.yml",),  # an untrained twin is used as its trained model is
    "zeroshot.literature": ("data/literature/reading_list.yml", "data/literature/sections.yml"),
    "zeroshot.literature.survey": (
        "data/literature/survey_models.csv",
        "data/literature/survey_tasks.csv",
        "data/literature/taxonomy.csv",
        "data/models.yml",  # which models are here, and which studies run them
        "data/studies.yml",
    ),
}
# Chapters that read the cells of some runs only, and which of a study's those are.
_READS_CELLS_OF = {"published": published.reconstructed_runs}


# What a cluster gets to cancel the jobs of a study that is stopped.
_SECONDS_TO_CANCEL = 10


class StudyError(RuntimeError):
    """A study cannot be run, or one of its pages failed."""


@dataclass(frozen=True)
class Page:
    """One notebook with its parameters, as part of a study."""

    path: str  # relative, without suffix: "runs/pbmc68k-reduced/pca" or "notebooks/01_data"
    notebook: str
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    reads_scores: bool = False


@dataclass(frozen=True)
class Skipped:
    """A pair of the grid that cannot be run, and why."""

    dataset: str
    model: str
    reason: str


def run_pages(card: catalog.StudyCard) -> list[Page]:
    """One page per data set and model that fit together."""
    return [
        _run_page(card, dataset, reference)
        for dataset in card.datasets
        for reference in card.models
        if _reason_against(dataset, reference) is None
    ]


def run_path(dataset: str, reference: str) -> str:
    """Path of a run page, for example "runs/simulated-atlas/scvi--short" for "scvi@short"."""
    return f"runs/{dataset}/{reference.replace('@', '--')}"


def skipped(card: catalog.StudyCard) -> list[Skipped]:
    """Pairs of the grid left out, each with its reason."""
    pairs = [(dataset, reference) for dataset in card.datasets for reference in card.models]
    reasons = [
        Skipped(dataset, reference, _reason_against(dataset, reference)) for dataset, reference in pairs
    ]
    return [pair for pair in reasons if pair.reason is not None]


def chapters(card: catalog.StudyCard) -> list[Page]:
    """The chapters of a study; those that read scores get its name as a parameter."""
    return [_chapter(card, name) for name in card.chapters]


def pages(card: catalog.StudyCard) -> list[Page]:
    """The pages that a build executes: run pages first, then chapters.

    From kept scores (``ZEROSHOT_SCORES=kept``) they are the chapters that need nothing else.
    """
    if paths.reads_kept_scores():
        return [page for page in chapters(card) if not needs_cells(card, page)]
    return run_pages(card) + chapters(card)


def needs_cells(card: catalog.StudyCard, chapter: Page) -> bool:
    """Whether a chapter reads cells or embeddings, so that the scores of a study are not enough for it."""
    if chapter.notebook in _READS_CELLS_OF:
        return bool(_READS_CELLS_OF[chapter.notebook](results.load(card.name)))
    needed = dependencies.modules_of_notebook(paths.notebooks() / f"{chapter.notebook}.ipynb")
    return "zeroshot.data" in needed


def left_out(card: catalog.StudyCard) -> list[Page]:
    """Chapters of a study that this build does not have."""
    built = {page.path for page in pages(card)}
    return [page for page in chapters(card) if page.path not in built]


def score_files(study: str) -> list[str]:
    """Files with the scores that chapters read, relative to the project."""
    if paths.reads_kept_scores():
        files = [kept.path(study, name) for name in kept.TABLES]
    else:
        files = [paths.study(study) / f"{name}.csv" for name in results.TABLES]
    return [str(file.relative_to(paths.home())) for file in files]


def plan(study: str) -> list[Page]:
    """Write the plan file of every page of a build; unchanged files keep their time.

    Returns
    -------
    list of Page
        As :func:`pages` returns them.
    """
    planned = pages(catalog.study(study))
    for page in planned:
        content = {"notebook": page.notebook, "parameters": page.parameters, "inputs": page.inputs}
        store.write_text(plan_file(study, page.path), json.dumps(content, indent=1, sort_keys=True) + "\n")
    return planned


def plan_file(study: str, page: str) -> Path:
    """Where the plan of a page is written."""
    return paths.study(study) / "plans" / f"{page}.json"


def compute(study: str, dataset: str) -> dict[str, dict[str, str]]:
    """Compute and store what the run pages of one data set will show.

    A page computes what it does not find in the store, so this changes no result. It saves the
    seconds that every fresh process spends on importing and compiling numerical code, which for
    small data sets are most of the time of a page.

    Returns
    -------
    dict
        For each page its artifacts' keys, or the error that the page itself will report.
    """
    card = catalog.study(study)
    pages = [page for page in run_pages(card) if page.parameters["dataset"] == dataset]
    try:
        adata = data.load(dataset, subset=card.subset, seed=card.seed)
    except Exception as error:
        return {page.path: {"error": f"{type(error).__name__}: {error}"} for page in pages}
    done = {}
    for page in pages:
        chosen = page.parameters
        try:
            run = (chosen["model"], chosen["recipe"])
            how = {"seed": card.seed, "precision": card.precision}
            embedded = pipeline.embed(adata, *run, **how)
            scored = pipeline.score(adata, embedded, seed=card.seed)
            pipeline.score_other_seeds(adata, scored, *run, seeds=card.seeds, **how)
            pipeline.score_umap(adata, embedded, seed=card.seed)
            pipeline.reconstruct(adata, *run, n_cells=card.reconstruction_cells, **how)
            done[page.path] = {"embedding": embedded.key, "scores": scored.key}
        except Exception as error:  # one failing model must not hold up the pages of the others
            done[page.path] = {"error": f"{type(error).__name__}: {error}"}
    return done


def run(
    study: str,
    *,
    cores: int = 1,
    target: str = "pages",
    policy: store.Policy = "reuse",
    profile: Path | None = None,
    dry_run: bool = False,
    from_kept: bool = False,
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
        "reuse" stored embeddings and scores, "recompute" them, or use "only-stored" ones.
    profile
        Snakemake profile, for example ``profiles/slurm``.
    dry_run
        Print what would be executed and stop.
    from_kept
        Compute nothing: execute the chapters that need only scores, with those in ``data/scores``. Their
        pages lie apart from those of computed scores, see :func:`zeroshot.paths.study`.

    Raises
    ------
    zeroshot.kept.KeptError
        If scores are to be read that were not kept, or are not of this study.
    zeroshot.lock.LockedError
        If another run of the project is going on.
    StudyError
        If a page failed.
    ValueError
        If the number of cores or the profile cannot be.
    OSError
        If nothing can be written below ``build``.
    SystemExit
        On SIGINT, SIGTERM or SIGHUP, with 128 + signal, once every process of the run has ended.
    """
    with processes.stopped_by_signals():
        try:
            _run(study, cores, target, policy, profile, dry_run, from_kept)
        except SystemExit as stopped:
            name = signal.Signals(stopped.code - 128).name
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(
                    f"stopped by {name}, with every process of the run. Finished pages are kept; the same "
                    "command continues with the rest.",
                    file=sys.stderr,
                )
            raise


def _run(
    study: str,
    cores: int,
    target: str,
    policy: store.Policy,
    profile: Path | None,
    dry_run: bool,
    from_kept: bool,
) -> None:
    card = catalog.study(study)
    _check_settings(cores, profile)
    if from_kept:
        kept.require(study)
    else:
        _fetch_weights(card)
    command = [
        *processes.command("snakemake"),
        "--snakefile", str(paths.home() / "Snakefile"),
        "--directory", str(paths.home()),
        "--config", f"study={study}",
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
    environment = os.environ | {
        "ZEROSHOT_POLICY": policy,
        "ZEROSHOT_HOME": str(paths.home()),
        "ZEROSHOT_SCORES": "kept" if from_kept else "",
    }
    with lock.only_run() as run:
        store.remove_leftovers()
        _remove_leftovers()
        for stage in (target,) if from_kept else ("computed", target):
            code = processes.run(
                [*command, "--", stage],
                environment,
                run.mark,
                handles=[run.handle],
                seconds_to_cancel=_SECONDS_TO_CANCEL if profile else 0,
            )
            if code != 0:
                break
    if code != 0:
        raise StudyError(
            f"the study {study} is not complete (see the messages above). "
            "Finished pages are kept; the same command continues with the rest."
        )


def _check_settings(cores: int, profile: Path | None) -> None:
    """Refuse what Snakemake would answer with a message of its own, after it was started."""
    if cores < 1:
        raise ValueError(f"cores is {cores}: it must be at least 1, the pages executed at the same time")
    if profile is not None and not (profile / "config.yaml").is_file():
        reason = "has no config.yaml" if profile.is_dir() else "does not exist"
        raise ValueError(
            f"the profile {profile} {reason}: give the folder of a Snakemake profile, "
            "for example profiles/slurm or your copy of it"
        )


def _remove_leftovers() -> None:
    """Delete what notebooks that were killed had not finished; nobody else writes there during a run."""
    for folder in (paths.build() / "studies", paths.build() / "kept"):
        for unfinished in folder.glob("*/executed/**/.*"):
            if unfinished.is_dir():
                shutil.rmtree(unfinished, ignore_errors=True)


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


def _run_page(study: catalog.StudyCard, dataset: str, reference: str) -> Page:
    card, recipe = catalog.split_reference(reference)
    parameters = {
        "dataset": dataset,
        "model": card.name,
        "recipe": recipe,
        "seed": study.seed,
        "seeds": study.seeds,
        "subset": study.subset,
        "precision": study.precision,
        "reconstruction_cells": study.reconstruction_cells,
    }
    return Page(
        path=run_path(dataset, reference),
        notebook="run",
        parameters=parameters,
        inputs=_inputs("run", pipeline.modules_of_model(card))
        | {
            "data set": _hash_of(catalog.dataset(dataset)),
            "model": _hash_of(card),
            "weights": _hashes_of_weights(card, recipe),
        },
    )


def _chapter(study: catalog.StudyCard, name: str) -> Page:
    notebook = paths.notebooks() / f"{name}.ipynb"
    cards = [catalog.dataset(dataset) for dataset in study.datasets]
    cards += [catalog.split_reference(reference)[0] for reference in study.models]
    takes_study = "study" in notebooks.declared_parameters(notebook)
    modules = dependencies.modules_of_notebook(notebook)
    return Page(
        path=f"notebooks/{name}",
        notebook=name,
        parameters={"study": study.name} if takes_study else {},
        inputs=_inputs(name, set())
        | ({"study": _hash_of(study), "cards": [_hash_of(card) for card in cards]} if takes_study else {})
        | {
            file: dependencies.file_hash(paths.home() / file)
            for module, files in _READ_BY.items()
            if module in modules
            for file in files
        },
        reads_scores="zeroshot.results" in modules,
    )


def _inputs(notebook: str, modules: set[str]) -> dict[str, Any]:
    """What every page depends on: its notebook, the library modules it needs, the packages."""
    path = paths.notebooks() / f"{notebook}.ipynb"
    needed = dependencies.modules_of_notebook(path) | dependencies.closure(modules)
    return {
        "notebook": dependencies.file_hash(path),
        "modules": dependencies.source_hashes(needed),
        "packages": store.versions(),
    }


def _hashes_of_weights(card: catalog.ModelCard, recipe: str) -> dict[str, str]:
    checkpoint = models.find_checkpoint(card, recipe, None)  # on this machine: see _reason_against
    return dict(checkpoint.hashes) if checkpoint else {}


def _hash_of(card: catalog.Card) -> str:
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()[:20]


def _reason_against(dataset: str, reference: str) -> str | None:
    """Why a model cannot embed a data set here, None if it can."""
    return misfit(dataset, reference) or models.unavailable(*catalog.split_reference(reference))


def misfit(dataset: str, reference: str) -> str | None:
    """Why a model (``name`` or ``name@recipe``) cannot embed a data set on any machine, None if it can."""
    card, recipe = catalog.split_reference(reference)
    cells = catalog.dataset(dataset)
    if cells.batches is not None and cells.batches < card.min_batches:
        return f"needs {card.min_batches} batches, the data set has {cells.batches}"
    own_vocabulary = card.recipes[recipe].parameters.get("vocabulary") == "data-set"
    if card.gene_ids == "symbol" and cells.gene_names != "symbol" and not own_vocabulary:
        return f"reads gene symbols, the data set names its genes by {cells.gene_names} id"
    return None


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.study STUDY DATASET OUTPUT THREADS``: compute for one data set."""
    study, dataset, output, threads = arguments
    notebooks.prepare_environment(int(threads))
    with processes.stopped_by_signals():  # so that nothing unfinished stays in the store
        store.write_text(Path(output), json.dumps(compute(study, dataset), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
