"""A study from end to end: what runs, and what runs again."""

import os
import re
import shutil
from pathlib import Path

import pytest
from tiny_study import CHAPTERS, RUNS, edit, executed_between, run_tiny, scores, times, would_do, zeroshot

from zeroshot import results
from zeroshot.runtime import lock


def test_every_page_is_executed_and_every_score_collected(finished: Path) -> None:
    assert set(times(finished)) == RUNS | CHAPTERS
    table = scores(finished)
    assert set(table["model"]) == {"hvg", "random", "label-oracle"}
    assert table.groupby("model")["metric"].nunique().nunique() == 1
    best = table[table["metric"] == "avg_bio"].set_index("model")["value"]
    assert best["label-oracle"] > best["hvg"] > best["random"]
    for name in results.RUN_TABLES:  # of the study as of its runs, row by row
        of_study = (finished / "build" / "studies" / "tiny" / f"{name}.csv").read_text().splitlines()
        of_runs = [
            line
            for run in sorted(RUNS)
            for line in (finished / "build" / "studies" / "tiny" / run / f"{name}.csv")
            .read_text()
            .splitlines()[1:]
        ]
        assert sorted(of_study[1:]) == sorted(of_runs), results.TABLES[name].title


def test_unchanged_study_executes_nothing(finished: Path) -> None:
    before = times(finished)
    os.utime(finished / "notebooks" / "run.ipynb")  # touched, not changed
    run_tiny(finished)
    assert executed_between(before, times(finished)) == set()


def test_changed_cells_repeat_all_that_reads_them(finished: Path) -> None:
    """In one pass: Snakemake would otherwise call the study complete with the scores of other cells."""
    registry = finished / "data" / "datasets.yml"
    edit(registry, "batch_strength: 0.5, seed: 0", "batch_strength: 0.5, seed: 1")
    try:
        assert would_do(finished) == RUNS | {f"page of {run}" for run in RUNS} | CHAPTERS
    finally:
        edit(registry, "batch_strength: 0.5, seed: 1", "batch_strength: 0.5, seed: 0")
    assert would_do(finished) == set()


def test_second_run_at_the_same_time_is_refused(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROSHOT_HOME", str(finished))
    with lock.only_run():
        output = zeroshot(finished, "run", "tiny", code=2)
    assert f"another run is going on here (process {os.getpid()})" in output
    assert "Traceback" not in output


def test_failing_page_is_reported_and_others_are_kept(finished: Path) -> None:
    """Of two changed chapters one fails; once it is mended, it alone is executed."""
    failing, good = "02_cell_types", "03_batches"
    before = times(finished)
    edit(finished / "notebooks" / f"{good}.ipynb", "# Are batches mixed?", "# Are batches well mixed?")
    edit(finished / "notebooks" / f"{failing}.ipynb", "results.load(study)", "results.lode(study)")
    try:
        output = zeroshot(finished, "run", "tiny", "--cores", "2", code=2)
        after = times(finished)
        assert "has no attribute 'lode'" in output
        assert executed_between(before, after) == {f"notebooks/{good}", f"notebooks/{failing}.failed"}
        assert before.keys() - after.keys() == {f"notebooks/{failing}"}
    finally:
        edit(finished / "notebooks" / f"{failing}.ipynb", "results.lode(study)", "results.load(study)")
    run_tiny(finished)
    assert executed_between(after, times(finished)) == {f"notebooks/{failing}"}


def test_slurm_profile_plans_the_same_jobs(finished: Path) -> None:
    """The last of the file: it leaves a study without its chapters."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    shutil.rmtree(finished / "build" / "studies" / "tiny" / "executed" / "notebooks")
    output = zeroshot(finished, "run", "tiny", "--profile", "profiles/slurm", "--dry-run")
    assert re.search(r"^chapter\s+2$", output, flags=re.MULTILINE), output
