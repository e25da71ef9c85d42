"""What the pages of a book weigh, and where it is told."""

import pytest
from bs4 import BeautifulSoup

from zeroshot.site import rendering

SHARED, FIGURE, FORMULAS = b"s" * 3000, b"f" * 50_000, b"m" * 2_000_000


@pytest.fixture
def book(tmp_path):
    style = '<link rel="stylesheet" href="{up}_static/all.css?digest=1">'
    head = style + '<script src="{up}_static/all.js"></script>'
    pages = {
        "book/status.html": head.format(up="../") + f"<p>{rendering.PLACEHOLDER}</p>",
        "notebooks/one.html": head.format(up="../")
        + '<img src="../_images/a%20b.png"><img src="x://y/z.png">',
        "search.html": head.format(up="") + '<script src="_static/formulas.js"></script><img src="gone.png">',
        "index.html": '<meta http-equiv="Refresh" content="0; url=book/intro.html" />',
        "_static/macros.html": "not a page",
    }
    files = {
        "_static/all.css": SHARED,
        "_static/all.js": SHARED,
        "_images/a b.png": FIGURE,
        "_static/formulas.js": FORMULAS,
    }
    for name, content in (files | {name: text.encode() for name, text in pages.items()}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_page_weighs_what_it_loads_and_others_do_not(book):
    weights, common = rendering.weigh(book)
    assert common == 2 * len(SHARED)
    assert {page: weight.own for page, weight in weights.items()} == {
        "book/status.html": 0,
        "notebooks/one.html": len(FIGURE),
        "search.html": len(FORMULAS),
    }
    assert all(weight.html == (book / page).stat().st_size for page, weight in weights.items())


@pytest.mark.parametrize(("seconds", "said"), [(rendering.MOST_SECONDS, "met"), (91.2, "missed")])
def test_the_status_page_tells_what_was_measured(book, seconds, said):
    rendering.tell(book, seconds)
    page = BeautifulSoup((book / rendering.STATUS).read_text(), "html.parser")
    text = page.get_text(" ", strip=True)
    assert f"took {seconds:.0f} s" in text and f"was {said}" in text and "cores" in text
    assert "1 of 3 pages weigh more" in text and "the same 6 kB" in text
    rows = {row.a["href"]: [cell.text for cell in row.find_all("td")[1:]] for row in page.select("tbody tr")}
    assert rows["../search.html"][1:] == ["2,000", "2,000"] and rows["../notebooks/one.html"][1] == "50"
    assert next(iter(rows)) == "../search.html"
    weight = (book / rendering.STATUS).stat().st_size
    assert rows["status.html"] == [f"{weight / 1000:,.0f}", "0", f"{weight / 1000:,.0f}"]


def test_a_status_page_without_its_place_is_refused(book):
    rendering.tell(book, 1)
    with pytest.raises(ValueError, match="0 times"):
        rendering.tell(book, 1)
