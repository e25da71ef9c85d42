"""A book without some chapters: numbers, links, figures and lists that depended on them."""

from zeroshot.site import absent_pages

ABSENT = {"notebooks/01_data", "runs/atlas/pca"}
LINKS = [
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
]


def number(page: str, key: str) -> str:
    return f"{{glue:text}}`../{page}.ipynb::{key}:.2f`"


GONE, HERE = number("notebooks/01_data", "n_cells"), number("notebooks/02_cell_types", "best")


def test_links_to_absent_pages_lead_to_the_status_page():
    for page, text, expected in LINKS:
        assert absent_pages.without(text, page, ABSENT) == expected


def test_a_paragraph_with_a_number_of_an_absent_page_is_left_out():
    for gone in (f"There are {GONE}\ncells.", f"- {GONE} cells", "% with a notebooks/01_data\nRead both."):
        text = f"Before.\n\n{gone}\n\nAfter {HERE}.\n"
        assert absent_pages.without(text, "book/a.md", ABSENT).split() == f"Before. After {HERE}.".split()
        assert absent_pages.without(text, "book/a.md", {"notebooks/03_batches"}) == text


def test_an_item_of_a_list_is_left_out_alone():
    items = f"1. first\n2. {HERE}\n3. of\n   {GONE}\n4. [data](../notebooks/01_data.ipynb)\n5. last\n:::"
    left = absent_pages.without(items, "book/a.md", ABSENT)
    assert left == f"1. first\n2. {HERE}\n5. last\n:::"


def test_a_table_loses_cells_and_rows_and_vanishes_with_the_last():
    head = "| build | types | batches |\n|---|---|---|\n"
    table = f"{head}| best | {HERE} | {GONE} (of {GONE}) |\n| cells | {GONE} | {GONE} |"
    assert absent_pages.without(table, "book/a.md", ABSENT) == f"{head}| best | {HERE} | – |"
    both = ABSENT | {"notebooks/02_cell_types"}
    assert absent_pages.without(f"a\n\n{table}\n\nb", "book/a.md", both).split() == ["a", "b"]


def test_a_figure_without_its_file_is_left_out(tmp_path):
    text = "a\n\n```{figure} home.png\n:alt: x\n\nCaption.\n```\n\nb\n"
    assert absent_pages.without_figures(text, tmp_path).split() == ["a", "b"]
    (tmp_path / "home.png").touch()
    assert absent_pages.without_figures(text, tmp_path) == text


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
    assert absent_pages.contents_without(toc, ABSENT, tmp_path)["parts"] == [
        {"caption": "A", "chapters": [{"file": "notebooks/02"}]},
        {"caption": "B", "chapters": [{"file": "book/runs"}]},
        {"caption": "C", "chapters": [{"file": "x", "sections": [{"glob": "there/*"}]}]},
    ]
