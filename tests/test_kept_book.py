"""A book from kept scores: which chapters it has."""

import re
from pathlib import Path

import pytest

from zeroshot import catalog, kept, study

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def from_kept(monkeypatch):
    monkeypatch.setenv("ZEROSHOT_HOME", str(CHECKOUT))
    monkeypatch.setenv("ZEROSHOT_SCORES", "kept")
    return catalog.study("real")


def test_chapters_that_need_no_cells_are_built(from_kept):
    built = {page.notebook for page in study.pages(from_kept)}
    assert {"02_cell_types", "03_batches", "04_pretraining", "07_summary", "published", "landscape"} <= built
    apart = {page.notebook for page in study.left_out(from_kept)}
    assert {"01_data", "05_reconstruction", "06_umap", "metric_cross_check", "tokens", "your_data"} <= apart
    assert built | apart == set(from_kept.chapters) and not built & apart
    assert study.score_files("real") == [
        f"data/scores/{kept.path('real', name).name}" for name in kept.TABLES
    ]


def test_a_chapter_that_would_rebuild_a_published_run_needs_cells(from_kept, monkeypatch):
    monkeypatch.setitem(
        study.grid._READS_CELLS_OF, "published", lambda scores: [("pancreas", "scvi", "paper")]
    )
    assert "published" not in {page.notebook for page in study.pages(from_kept)}


def test_prose_glues_only_what_every_book_has(from_kept):
    built = {f"notebooks/{page.notebook}" for page in study.pages(from_kept)}
    for file in (CHECKOUT / "book").glob("*.md"):
        glued = set(re.findall(r"\{glue:\w+\}`\.\./([\w/]+)\.ipynb::", file.read_text()))
        assert glued <= built, f"{file.name} glues from {sorted(glued - built)}"
