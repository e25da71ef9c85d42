"""A study whose scores are committed, and what a book offers of them."""

import re
from pathlib import Path

import pandas as pd
import pytest
import tiny_study
from tiny_study import CHAPTERS, RUNS, edit, executed_between, run_tiny, times, would_do

from zeroshot import results, site
from zeroshot.study.finished import remember

PAGES = {f"page of {run}" for run in RUNS}


@pytest.fixture(autouse=True)
def home(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEROSHOT_HOME", str(finished))
    return finished


def test_downloads_of_a_computed_study(finished: Path) -> None:
    """Every run page has its own rows, every page the tables of the study."""
    site.stage("tiny")
    website, computed = finished / "build" / "site", finished / "build" / "studies" / "tiny"
    folder = website / "extra" / "downloads"
    for name in results.TABLES:
        assert (folder / f"tiny-{name}.csv").read_text() == (computed / f"{name}.csv").read_text()
    for run in RUNS:
        assert (folder / f"{run}.csv").read_text() == (computed / run / "scores.csv").read_text()
    assert "announcement" not in (website / "_config.yml").read_text()
    # A study need not have every chapter.
    toc, intro, status = (
        (website / name).read_text() for name in ("_toc.yml", "book/intro.md", "book/status.md")
    )
    assert set(re.findall(r"notebooks/\w+", toc)) == CHAPTERS
    assert set(re.findall(r"`\.\./(notebooks/\w+)\.ipynb::", intro)) == CHAPTERS
    assert "home-page.png" not in intro and "| Highest median |" in intro
    assert "- Which cells do the models have to tell apart?" in status and "does not list" in status


def test_keeping_scores_that_have_not_changed_changes_no_file(finished: Path, zeroshot) -> None:
    assert zeroshot("keep", "tiny")[0] == 0
    committed = finished / "data" / "scores" / "tiny"
    before = {file.name: file.read_bytes() for file in committed.iterdir()}
    runs = finished / "build" / "studies" / "tiny" / "runs.csv"
    costs = runs.read_text()
    edit(runs, pd.read_csv(runs)["key"][0], "f" * 20)  # the same numbers, computed again by other code
    remember(runs.parent)
    assert zeroshot("keep", "tiny")[0] == 0
    assert {file.name: file.read_bytes() for file in committed.iterdir()} == before
    runs.write_text(costs)
    remember(runs.parent)


def test_committed_scores_take_the_place_of_computed_ones(finished: Path, zeroshot) -> None:
    """Computed, committed, computed again: each build has the tables it says it has.

    With committed ones the chapters are executed that need no cells. The last of the file: it leaves a study
    without chapters, which would be executed each time.
    """
    studies, chapters = finished / "data" / "studies.yml", "chapters: [02_cell_types, 03_batches]"
    more = "chapters: [01_data, 02_cell_types, 03_batches, published, tokens]"
    folder = finished / "build" / "studies" / "tiny"
    tables, computed_runs = folder / "scores.csv", folder / "runs"
    computed = tables.read_text()
    assert zeroshot("keep", "tiny")[0] == 0
    committed = finished / "data" / "scores" / "tiny"
    line = next(line for line in computed.splitlines() if ",hvg," in line and ",nmi," in line)
    value = line.split(",")[4]
    edit(committed / "scores.csv", line, line.replace(value, f"{float(value) + 1e-6:.6f}", 1))
    edit(studies, chapters, more)
    before = times(finished)
    tiny_study.zeroshot(finished, "run", "tiny", "--committed", "--cores", "2")
    executed = executed_between(before, times(finished))
    assert executed == CHAPTERS | {"notebooks/published"}
    assert tables.read_text() == (committed / "scores.csv").read_text() != computed
    site.stage("tiny")
    computed_runs.rename(folder / "elsewhere")  # as if none had been computed
    everything = {"notebooks/01_data", "notebooks/tokens"} | executed | RUNS | PAGES
    assert would_do(finished) == everything
    (folder / "elsewhere").rename(computed_runs)
    edit(studies, more, "chapters: []")
    run_tiny(finished)
    assert tables.read_text() == computed

    website = finished / "build" / "site"
    toc = (website / "_toc.yml").read_text()
    assert "03_batches" in toc and "01_data" not in toc and "tokens" not in toc.split("api")[0]
    assert "glob: runs" not in toc
    status = (website / "book" / "status.md").read_text()
    absent = "- Which cells do the models have to tell apart?\n- How does a cell become tokens?"
    assert "`data/scores/tiny`" in status and absent in status
    assert all(key in status for key in pd.read_csv(committed / "runs.csv")["key"])
    assert "[data chapter](status.md#left-out)" in (website / "book" / "methods.md").read_text()
    assert "01_data" not in (website / "book" / "intro.md").read_text()
    offered = website / "extra" / "downloads" / "tiny-subsamples.csv"
    assert offered.read_text() == (committed / "subsamples.csv").read_text()
    runs = (website / "book" / "runs.md").read_text()
    assert "../runs/" not in runs and "why the runs have no pages here" in runs
