"""A study from end to end: what runs, what runs again, and what a kill -9 costs."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from zeroshot import catalog, results, study
from zeroshot.notebooks import stamp
from zeroshot.runtime import lock, paths, processes

CHECKOUT = Path(__file__).parents[1]
STAGED = ["lib", "notebooks", "data", "book", "profiles", "Snakefile", "_config.yml", "_toc.yml",
          "CHANGELOG.md", "CONTRIBUTING.md", "README.md"]  # fmt: skip
TINY = """
tiny:
  title: Tiny
  description: One small simulated data set and three models.
  seeds: 1
  datasets: [tiny-atlas]
  models: [hvg, random, label-oracle]
  chapters: [02_cell_types, 03_batches]
"""
TINY_ATLAS = """
tiny-atlas:
  title: Tiny atlas
  description: A few simulated cells.
  organism: human
  tissue: blood
  source: simulate
  licence: CC0 1.0
  label_key: cell_type
  batch_key: batch
  prepare: simulate_atlas
  parameters: {n_cells: 160, n_genes: 250, n_batches: 2, batch_strength: 0.5, seed: 0}
"""
RUNS = {"runs/tiny-atlas/hvg", "runs/tiny-atlas/random", "runs/tiny-atlas/label-oracle"}
CHAPTERS = {"notebooks/02_cell_types", "notebooks/03_batches"}


def copy_project(root: Path) -> Path:
    """A project of its own, library included, with a study that runs within a minute."""
    root.mkdir()
    for name in STAGED:
        source = CHECKOUT / name
        ignore = shutil.ignore_patterns("__pycache__", "downloads", "*.egg-info")
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=ignore)
        else:
            shutil.copy2(source, root / name)
    for registry, entry in {"studies": TINY, "datasets": TINY_ATLAS}.items():
        file = root / "data" / f"{registry}.yml"
        file.write_text(file.read_text() + entry)
    return root


def environment(root: Path) -> dict[str, str]:
    """That of a project; compiled code is shared, it is no part of what is tested."""
    cache = CHECKOUT / "build" / "cache"
    caches = {"JAX_COMPILATION_CACHE_DIR": str(cache / "jax"), "NUMBA_CACHE_DIR": str(cache / "numba")}
    return os.environ | {"PYTHONPATH": str(root / "lib"), "ZEROSHOT_HOME": str(root)} | caches


def start(root: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "zeroshot", *arguments]
    return subprocess.Popen(
        command, env=environment(root), cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def zeroshot(root: Path, *arguments: str, code: int = 0) -> str:
    process = start(root, *arguments)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def run_tiny(root: Path) -> str:
    return zeroshot(root, "run", "tiny", "--cores", "2")


def times(root: Path) -> dict[str, int]:
    """When each page was executed."""
    folder = root / "build" / "studies" / "tiny" / "executed"
    return {
        str(page.relative_to(folder).with_suffix("")): page.stat().st_mtime_ns
        for page in folder.rglob("*.ipynb")
    }


def executed_between(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {page for page in after if before.get(page) != after[page]}


def scores(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "build" / "studies" / "tiny" / "scores.csv")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def would_do(root: Path) -> set[str]:
    """Jobs that the next run would do, from Snakemake's own plan: runs, and pages as "page of …"."""
    output = zeroshot(root, "run", "tiny", "--dry-run")
    jobs = re.findall(r"^Job \d+: (run|page) (\S+) on (\S+)$", output, flags=re.MULTILINE)
    chapters = re.findall(r"^Job \d+: chapter (\S+)$", output, flags=re.MULTILINE)
    return {
        f"{'page of ' if job == 'page' else ''}runs/{dataset}/{model}" for job, model, dataset in jobs
    } | {f"notebooks/{name}" for name in chapters}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tiny study has been run, undisturbed."""
    root = copy_project(tmp_path_factory.mktemp("study") / "project")
    run_tiny(root)
    return root


# -- models with weights, and data sets they can read


@pytest.fixture
def pretrained(home, monkeypatch):
    """A study of networks on genes with symbols and with ids; no weights are at hand."""
    for name in ("ZEROSHOT_WEIGHTS", "ZEROSHOT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    file = home / "data" / "studies.yml"
    file.write_text(file.read_text() + PRETRAINED)
    return catalog.study("pretrained")


PRETRAINED = """
pretrained:
  title: Pretrained
  description: Networks.
  datasets: [pbmc68k-reduced, celllines-scmixology]
  models: [scgpt-kidney@paper, geneformer-v1-10m, scgpt-untrained@short, geneformer-v1-10m-untrained]
  chapters: [04_pretraining]
"""


def write_kidney(home: Path, seed: int = 0) -> None:
    from released import write_scgpt

    write_scgpt(home / "weights" / "scgpt-kidney", ["CD74", "FTL"], seed=seed)


def test_models_without_weights_are_left_out_with_the_reason(pretrained, capsys):
    pages = {run.path for run in study.runs(pretrained)}
    untrained = {"scgpt-untrained--short", "geneformer-v1-10m-untrained"}
    assert pages == {f"runs/{cells}/{model}" for cells in pretrained.datasets for model in untrained}
    reasons = {(pair.dataset, pair.model): pair.reason for pair in study.skipped(pretrained)}
    assert len(reasons) == 4
    assert "gene symbols" in reasons["celllines-scmixology", "scgpt-kidney@paper"]
    assert "ZEROSHOT_WEIGHTS" in reasons["pbmc68k-reduced", "geneformer-v1-10m"]


def test_weights_in_a_folder_are_used_and_decide(pretrained, home, monkeypatch):
    monkeypatch.setenv("ZEROSHOT_WEIGHTS", str(home / "weights"))
    write_kidney(home)

    def inputs() -> dict:
        (run,) = (run for run in study.runs(pretrained) if run.parameters["model"] == "scgpt-kidney")
        assert run.path == "runs/pbmc68k-reduced/scgpt-kidney--paper"
        return run.inputs

    first = inputs()
    assert set(first["weights"]) == {"config", "weights", "vocabulary"}
    assert inputs() == first
    write_kidney(home, seed=1)
    changed = {name for name, value in inputs().items() if first[name] != value}
    assert changed == {"weights"}


# -- what is refused before anything is computed


@pytest.fixture
def small(home, monkeypatch):
    """Run a study of the given fields; gives the refusal. Nothing may be started."""

    def not_to_be_called(*_, **__):
        raise AssertionError("something was started")

    monkeypatch.setattr(processes, "run", not_to_be_called)

    def refusal(target: str = "pages", **fields) -> str:
        entry = {
            "title": "Small",
            "description": "A few.",
            "datasets": ["pbmc68k-reduced"],
            "models": ["pca"],
        }
        (home / "data" / "studies.yml").write_text(json.dumps({"small": entry | {"chapters": []} | fields}))
        with pytest.raises(ValueError) as error:
            study.run("small", target=target)
        return str(error.value)

    return refusal


def test_a_chapter_that_cannot_be_made_is_refused_at_the_start(small, home):
    assert "the study small cannot be made: 03_batches needs a data set of several batches" in small(
        chapters=["01_data", "03_batches"]
    )
    everything = home / "notebooks" / "01_data.ipynb"
    content = json.loads(everything.read_text())
    content["metadata"]["zeroshot"] = {"needs": list(study.NEEDS)}
    everything.write_text(json.dumps(content))
    message = small(chapters=["01_data"], models=["random"])
    assert all(need.title in message for need in study.NEEDS.values())
    content["metadata"]["zeroshot"] = {"needs": ["several-batch"]}
    everything.write_text(json.dumps(content))
    assert (
        "01_data.ipynb: no need of a chapter is called 'several-batch'. Did you mean several-batches"
        in small(chapters=["01_data"])
    )
    for declared, message in [
        ({"reads": ["score"]}, "no table of a study is called 'score'. Did you mean scores"),
        ({"files": ["data/nothing.yml"]}, "declares files that do not exist: data/nothing.yml"),
        ({"cell": True}, "no field of zeroshot is called 'cell'. Did you mean cells"),
    ]:
        content["metadata"]["zeroshot"] = declared
        everything.write_text(json.dumps(content))
        assert message in small(chapters=["01_data"])


def test_chapters_needs_are_met_by_the_studies_that_list_them():
    for card in catalog.studies().values():
        study.require(card, [pair for pair in study.pairs(card) if study.misfit(*pair) is None])


def test_a_study_with_nothing_to_run_is_refused(small):
    assert "no model of the study small can embed any of its data sets" in small(models=["harmony"])


def test_a_chapter_that_the_book_would_not_show_is_refused(small, home):
    toc = home / "_toc.yml"
    toc.write_text(toc.read_text().replace("      - file: notebooks/01_data\n", ""))
    assert "_toc.yml does not list chapters of the study small: add - file: notebooks/01_data" in small(
        "book", chapters=["01_data"]
    )


def test_settings_that_cannot_be_are_refused(home, tmp_path):
    (tmp_path / "empty").mkdir()
    for setting, message in [
        ({"cores": 0}, "cores is 0"),
        ({"profile": tmp_path / "nowhere"}, "nowhere does not exist"),
        ({"profile": tmp_path / "empty"}, "empty has no config.yaml"),
    ]:
        with pytest.raises(ValueError, match=message):
            study.run("smoke", **setting)


def test_damaged_pages_and_tables_are_made_again(tmp_path, capsys):
    from zeroshot.study import finished

    page = {"cells": [{"outputs": [{"data": {stamp.MIME: {"seconds": 1}}}]}]}
    whole = {"executed/runs/a/pca.ipynb": json.dumps(page), "executed/notebooks/b.ipynb": json.dumps(page),
             "scores.csv": "value\n0.5\n", "executed/notebooks/b.failed.ipynb": "{"}  # fmt: skip
    damages = {
        "executed/runs/a/pca.ipynb": [b"", b'{"cells": [{"out', b"\xff", b"[]", b'{"cells": []}',
                                      json.dumps(page).replace("1", "2").encode()],
        "scores.csv": [b"value\n0.6\n", b""],
    }  # fmt: skip

    def write() -> None:
        for name, text in whole.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    write()
    (tmp_path / "executed" / "runs" / ".pca-x1").mkdir()  # of a notebook that was killed
    finished.remember(tmp_path)
    finished.remove_damaged(tmp_path)
    assert all((tmp_path / name).exists() for name in whole)
    assert not (tmp_path / "executed" / "runs" / ".pca-x1").exists()
    for name, contents in damages.items():
        for content in contents:
            write()
            (tmp_path / name).write_bytes(content)
            finished.remove_damaged(tmp_path)
            assert [other for other in whole if not (tmp_path / other).exists()] == [name]
            assert f"{tmp_path / name} is not as it was written" in capsys.readouterr().err
    for record in ("", "[]", "\x00"):  # of no use, and no reason to do anything again
        write()
        (tmp_path / "finished.json").write_text(record)
        finished.remove_damaged(tmp_path)
        assert all((tmp_path / name).exists() for name in whole)


# -- from end to end


def test_every_page_is_executed_and_every_score_collected(finished: Path) -> None:
    assert set(times(finished)) == RUNS | CHAPTERS
    table = scores(finished)
    assert set(table["model"]) == {"hvg", "random", "label-oracle"}
    assert table.groupby("model")["metric"].nunique().nunique() == 1
    best = table[table["metric"] == "avg_bio"].set_index("model")["value"]
    assert best["label-oracle"] > best["hvg"] > best["random"]
    for name, layout in results.TABLES.items():  # the tables of the study are those of its runs, row by row
        of_study = (finished / "build" / "studies" / "tiny" / f"{name}.csv").read_text().splitlines()
        of_runs = [
            line
            for run in sorted(RUNS)
            for line in (finished / "build" / "studies" / "tiny" / run / f"{name}.csv")
            .read_text()
            .splitlines()[1:]
        ]
        assert sorted(of_study[1:]) == sorted(of_runs), layout.title


def test_unchanged_study_executes_nothing(finished: Path) -> None:
    before = times(finished)
    os.utime(finished / "notebooks" / "run.ipynb")  # touched, not changed
    run_tiny(finished)
    assert executed_between(before, times(finished)) == set()


PAGES = {f"page of {run}" for run in RUNS}
# What is changed in which file, and the jobs whose plans hold it.
CHANGES = {
    "chapter": ("notebooks/03_batches.ipynb", "# Are batches mixed?", "# Are the batches mixed?",
                {"notebooks/03_batches"}),
    "run notebook": ("notebooks/run.ipynb", "How good is this model", "How useful is this model", PAGES),
    "model module": ("lib/zeroshot/models/controls.py", "rng.standard_normal", "1 * rng.standard_normal",
                     {"runs/tiny-atlas/random"}),
    "words of a module": ("lib/zeroshot/models/controls.py", '"""Noise of the size',
                          '"""Pure noise of the size', set()),
    "unrelated module": ("lib/zeroshot/cli/application.py", "import time", "import time as time", set()),
    "model card": ("data/models.yml", "50 independent Gaussian values", "Fifty independent Gaussian values",
                   {"runs/tiny-atlas/random"} | CHAPTERS),
    "unrelated card": ("data/models.yml", "The 50 principal components, corrected",
                       "50 principal components, corrected", set()),
    "data card": ("data/datasets.yml", "A few simulated cells.", "Some simulated cells.",
                  {"cells/tiny-atlas"} | RUNS | CHAPTERS),
}  # fmt: skip


def test_a_change_repeats_what_depends_on_it(home: Path, package: Path) -> None:
    """By what the plans hold; what reads a result also follows the job that makes it."""
    for registry, entry in {"studies": TINY, "datasets": TINY_ATLAS}.items():
        file = home / "data" / f"{registry}.yml"
        file.write_text(file.read_text() + entry)

    def plans() -> dict[str, str]:
        study.plan("tiny")
        folder = paths.study("tiny") / "plans"
        names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.json")}
        return {
            name.replace("pages/runs", "page of runs").removeprefix("pages/"): file.read_text()
            for name, file in names.items()
        }

    before = plans()
    assert set(before) == RUNS | PAGES | CHAPTERS | {
        "tables",
        "ablations",
        "cells/tiny-atlas",
        "umaps/tiny-atlas",
    }
    for change, (file, old, new, expected) in CHANGES.items():
        inside = file.removeprefix("lib/zeroshot/")
        path = home / file if inside == file else package / inside
        edit(path, old, new)
        after = plans()
        assert {job for job in after if after[job] != before[job]} == expected, change
        edit(path, new, old)
    assert plans() == before


def test_changed_chapter_is_executed_alone(finished: Path) -> None:
    before = times(finished)
    edit(finished / "notebooks" / "03_batches.ipynb", "# Are batches mixed?", "# Are batches well mixed?")
    run_tiny(finished)
    assert executed_between(before, times(finished)) == {"notebooks/03_batches"}


@pytest.mark.parametrize(
    ("victim", "moment"),
    [("command", "artifacts/scores/[!.]*"), ("everything", "build/studies/tiny/scores.csv")],
    ids=["the command while it computes", "everything while chapters are executed"],
)
def test_kill_9_loses_nothing(finished: Path, tmp_path: Path, victim: str, moment: str) -> None:
    root = copy_project(tmp_path / "project")
    process = start(root, "run", "tiny", "--cores", "2")
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not list(root.glob(moment)):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    before = times(root)
    kept = {path: path.stat().st_mtime_ns for path in root.glob("artifacts/*/[!.]*/provenance.json")}
    assert kept
    mark = json.loads((root / "build" / "run.json").read_text())["mark"]
    started = processes.marked(mark)
    assert started
    process.kill()
    process.wait()
    if victim == "everything":
        for number in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    run_tiny(root)
    assert set(times(root)) == RUNS | CHAPTERS
    compared = ["dataset", "model", "metric", "value"]
    pd.testing.assert_frame_equal(scores(root)[compared], scores(finished)[compared], check_exact=True)
    assert all(path.stat().st_mtime_ns == made for path, made in kept.items()), "finished work was repeated"
    assert not RUNS & set(before) & executed_between(before, times(root)), "finished pages were repeated"
    assert not processes.marked(mark)


def test_second_run_at_the_same_time_is_refused(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROSHOT_HOME", str(finished))
    with lock.only_run():
        output = zeroshot(finished, "run", "tiny", code=2)
    assert f"another run is going on here (process {os.getpid()})" in output
    assert "Traceback" not in output


def test_failing_page_is_reported_and_others_are_kept(finished: Path) -> None:
    edit(finished / "notebooks" / "02_cell_types.ipynb", "results.load(study)", "results.lode(study)")
    try:
        output = zeroshot(finished, "run", "tiny", code=2)
        assert "has no attribute 'lode'" in output
        assert "notebooks/02_cell_types" not in times(finished)
        assert "notebooks/03_batches" in times(finished)
    finally:
        edit(finished / "notebooks" / "02_cell_types.ipynb", "results.lode(study)", "results.load(study)")
    run_tiny(finished)
    assert "notebooks/02_cell_types" in times(finished)


def test_committed_scores_take_the_place_of_computed_ones(finished: Path) -> None:
    """Chapters that need no cells are executed with the committed scores; a later run computes its own."""
    zeroshot(finished, "keep", "tiny")
    committed = finished / "data" / "scores" / "tiny"
    files = {file.name: file.read_text() for file in committed.iterdir()}
    studies, chapters = finished / "data" / "studies.yml", "chapters: [02_cell_types, 03_batches]"
    computed = finished / "build" / "studies" / "tiny"
    computed.rename(computed.with_name("elsewhere"))
    edit(studies, chapters, "chapters: [01_data, 02_cell_types, 03_batches, published, tokens]")
    try:
        zeroshot(finished, "run", "tiny", "--committed", "--cores", "2")
        folder = computed / "executed"
        executed = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.ipynb")}
        assert executed == CHAPTERS | {"notebooks/published"}
        assert (computed / "scores.csv").read_text() == (committed / "scores.csv").read_text()
        subprocess.run(
            [sys.executable, "-c", "from zeroshot import site; site.stage('tiny')"],
            env=environment(finished), check=True,
        )  # fmt: skip
        everything = {"notebooks/01_data", "notebooks/tokens"} | executed | RUNS | PAGES
        assert would_do(finished) == everything
    finally:
        edit(studies, "chapters: [01_data, 02_cell_types, 03_batches, published, tokens]", chapters)
        shutil.rmtree(computed, ignore_errors=True)
        computed.with_name("elsewhere").rename(computed)
        for name, text in files.items():
            (committed / name).write_text(text)
    site = finished / "build" / "site"
    toc = (site / "_toc.yml").read_text()
    assert "03_batches" in toc and "01_data" not in toc and "tokens" not in toc.split("api")[0]
    assert "glob" not in toc
    status = (site / "book" / "status.md").read_text()
    absent = "- Which cells do the models have to tell apart?\n- How does a cell become tokens?"
    assert "`data/scores/tiny`" in status and absent in status
    assert all(key in status for key in pd.read_csv(committed / "runs.csv")["key"])
    assert "[data chapter](status.md#left-out)" in (site / "book" / "methods.md").read_text()
    assert "01_data" not in (site / "book" / "intro.md").read_text()
    offered = site / "extra" / "downloads" / "tiny-subsamples.csv"
    assert offered.read_text() == files["subsamples.csv"]
    runs = (site / "book" / "runs.md").read_text()
    assert "../runs/" not in runs and "why the runs have no pages here" in runs


def test_the_source_of_scores_decides_which_are_shown(finished: Path) -> None:
    """Computed, committed, computed again: each build has the tables it says it has."""
    tables = finished / "build" / "studies" / "tiny" / "scores.csv"
    computed = tables.read_text()
    zeroshot(finished, "keep", "tiny")
    committed = finished / "data" / "scores" / "tiny" / "scores.csv"
    line = next(line for line in computed.splitlines() if ",hvg," in line and ",nmi," in line)
    value = line.split(",")[4]
    other = f"{float(value) + 1e-6:.6f}"
    edit(committed, line, line.replace(value, other, 1))
    zeroshot(finished, "run", "tiny", "--committed", "--cores", "2")
    assert tables.read_text() == committed.read_text() != computed
    run_tiny(finished)
    assert tables.read_text() == computed


def test_keeping_scores_that_have_not_changed_changes_no_file(finished: Path) -> None:
    zeroshot(finished, "keep", "tiny")
    committed = finished / "data" / "scores" / "tiny"
    before = {file.name: file.read_bytes() for file in committed.iterdir()}
    runs = finished / "build" / "studies" / "tiny" / "runs.csv"
    costs = runs.read_text()
    edit(runs, pd.read_csv(runs)["key"][0], "f" * 20)  # the same numbers, computed again by other code
    zeroshot(finished, "keep", "tiny")
    assert {file.name: file.read_bytes() for file in committed.iterdir()} == before
    runs.write_text(costs)


def test_downloads_of_a_computed_study(finished: Path) -> None:
    """Every run page has its own rows, every page the tables of the study."""
    run_tiny(finished)
    subprocess.run(
        [sys.executable, "-c", "from zeroshot import site; site.stage('tiny')"],
        env=environment(finished), check=True,
    )  # fmt: skip
    site, computed = finished / "build" / "site", finished / "build" / "studies" / "tiny"
    folder = site / "extra" / "downloads"
    for name in results.TABLES:
        assert (folder / f"tiny-{name}.csv").read_text() == (computed / f"{name}.csv").read_text()
    for run in RUNS:
        assert (folder / f"{run}.csv").read_text() == (computed / run / "scores.csv").read_text()
    assert "announcement" not in (site / "_config.yml").read_text()
    # A study need not have every chapter.
    toc, intro, status = (
        (site / name).read_text() for name in ("_toc.yml", "book/intro.md", "book/status.md")
    )
    assert set(re.findall(r"notebooks/\w+", toc)) == CHAPTERS
    assert set(re.findall(r"`\.\./(notebooks/\w+)\.ipynb::", intro)) == CHAPTERS
    assert "home-page.png" not in intro and "| Highest median |" in intro
    assert "- Which cells do the models have to tell apart?" in status and "does not list" in status


def test_slurm_profile_plans_the_same_jobs(finished: Path) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm")
    shutil.rmtree(finished / "build" / "studies" / "tiny" / "executed" / "notebooks")
    output = zeroshot(finished, "run", "tiny", "--profile", "profiles/slurm", "--dry-run")
    assert re.search(r"^chapter\s+2$", output, flags=re.MULTILINE), output
    run_tiny(finished)


def test_plans_of_every_study() -> None:
    for card in catalog.studies().values():
        runs = study.runs(card)
        assert len(runs) + len(study.skipped(card)) == len(card.datasets) * len(card.models)
        assert len({run.path for run in runs}) == len(runs)
        assert [page.path for page in study.run_pages(card)] == [run.path for run in runs]
        for run in runs:
            assert "zeroshot.metrics.scoring" in run.inputs["code"], card.name
        assert all(page.inputs["code"] for page in study.chapters(card)), card.name
        harmony = [run for run in runs if run.parameters["model"] == "harmony"]
        assert all((catalog.dataset(run.parameters["dataset"]).batches or 2) > 1 for run in harmony)


def test_runs_depend_on_their_own_model_only() -> None:
    runs = {run.parameters["model"]: run for run in study.runs(catalog.study("default"))}
    assert "zeroshot.models.controls" not in runs["pca"].inputs["code"]
    assert "zeroshot.models.controls" in runs["random"].inputs["code"]


def test_chapters_from_committed_scores_need_no_cells() -> None:
    card = catalog.study("real")
    built = {page.notebook for page in study.pages(card, "committed")}
    assert {"02_cell_types", "03_batches", "04_pretraining", "07_summary", "published", "landscape"} <= built
    absent = {page.notebook for page in study.absent_chapters(card, "committed")}
    assert {"01_data", "05_reconstruction", "06_umap", "metric_cross_check", "tokens", "your_data"} <= absent
    assert built | absent == set(card.chapters) and not built & absent
    for file in (CHECKOUT / "book").glob("*.md"):
        glued = set(re.findall(r"\{glue:\w+\}`\.\./notebooks/(\w+)\.ipynb::", file.read_text()))
        assert glued <= built, f"{file.name} glues from {sorted(glued - built)}"


# Calls that read a table, and modules whose functions read cells or stored arrays.
LOADERS = {"load": "scores", "load_subsamples": "subsamples", "load_runs": "runs",
           "load_reconstruction": "reconstruction"}  # fmt: skip


def test_notebooks_declare_what_they_read() -> None:
    for file in sorted((CHECKOUT / "notebooks").glob("*.ipynb")):
        cells = json.loads(file.read_text())["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        declared = study.declaration(file.stem)
        tables = {LOADERS[name] for name in re.findall(r"results\.(load\w*)\(", code)}
        assert tables == set(declared.reads), file.name
        reads_cells = bool(re.search(r"\b(data\.load|pipeline\.\w+)\(", code))
        assert reads_cells == declared.cells, file.name
        assert ("ablations.load(" in code) == declared.ablations, file.name


def test_ablations_are_planned_where_a_chapter_reads_them(home: Path) -> None:
    entry = {"title": "Small", "description": "A few.", "datasets": ["pbmc68k-reduced"]}
    entry |= {"models": ["pca", "random"], "chapters": ["sensitivity"]}
    (home / "data" / "studies.yml").write_text(json.dumps({"small": entry}))
    card = catalog.study("small")
    unit, floor = study.ablation_units(card)
    assert (unit.model, floor.model) == ("pca", "random") and unit.dataset == card.datasets[0]
    study.plan("small")
    plan = json.loads(study.plan_file("small", f"ablations/{unit.path}").read_text())
    assert plan["parameters"]["ablation_cells"] == card.ablation_cells and "models" in plan["inputs"]
    study.plan("small", "committed")
    jobs = json.loads((home / "build" / "studies" / "small" / "plan.json").read_text())
    assert jobs["ablations"] == {} and "sensitivity" not in jobs["chapters"]
    assert study.ablation_units(card.model_copy(update={"chapters": ("01_data",)})) == []
