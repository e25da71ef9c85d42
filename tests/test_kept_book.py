"""A book from kept scores: which chapters it has, and what becomes of links to the others."""

import re
from pathlib import Path

import pytest

from zeroshot import book, catalog, kept, study

CHECKOUT = Path(__file__).resolve().parents[1]
ABSENT = {"notebooks/01_data", "runs/atlas/pca"}


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
    monkeypatch.setitem(study.grid._READS_CELLS_OF, "published", lambda scores: [("pancreas", "scvi", "paper")])
    assert "published" not in {page.notebook for page in study.pages(from_kept)}


def test_prose_glues_only_what_every_book_has(from_kept):
    built = {f"notebooks/{page.notebook}" for page in study.pages(from_kept)}
    for file in (CHECKOUT / "book").glob("*.md"):
        glued = set(re.findall(r"\{glue:\w+\}`\.\./([\w/]+)\.ipynb::", file.read_text()))
        assert glued <= built, f"{file.name} glues from {sorted(glued - built)}"


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("book/a.md", "the [data](../notebooks/01_data.ipynb) of", "the [data](status.md#left-out) of"),
        ("book/a.md", "[data](../notebooks/01_data.ipynb#how-deep)", "[data](status.md#left-out)"),
        ("book/api/a.md", "[data](../../notebooks/01_data.ipynb)", "[data](../status.md#left-out)"),
        ("notebooks/b.ipynb", "[data](01_data.ipynb)", "[data](../book/status.md#left-out)"),
        ("book/a.md", "[run](../runs/atlas/pca.ipynb)", "[run](status.md#left-out)"),
        (
            "book/a.md",
            "[types](../notebooks/02_cell_types.ipynb)",
            "[types](../notebooks/02_cell_types.ipynb)",
        ),
        (
            "book/a.md",
            "[out](https://x.org/01_data.ipynb) `01_data`",
            "[out](https://x.org/01_data.ipynb) `01_data`",
        ),
    ],
)
def test_links_to_absent_pages_lead_to_the_status_page(page, text, expected):
    assert book._redirected(text, page, ABSENT) == expected


def test_table_of_contents_without_absent_pages(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x.md").touch()
    toc = {
        "root": "book/intro",
        "parts": [
            {"caption": "A", "chapters": [{"file": "notebooks/01_data"}, {"file": "notebooks/02"}]},
            {"caption": "B", "chapters": [{"file": "book/runs", "sections": [{"glob": "runs/*/*"}]}]},
            {"caption": "C", "chapters": [{"file": "x", "sections": [{"glob": "there/*"}]}]},
        ],
    }
    assert book._listed(toc, ABSENT, tmp_path)["parts"] == [
        {"caption": "A", "chapters": [{"file": "notebooks/02"}]},
        {"caption": "B", "chapters": [{"file": "book/runs"}]},
        {"caption": "C", "chapters": [{"file": "x", "sections": [{"glob": "there/*"}]}]},
    ]
