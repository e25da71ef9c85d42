"""axe-core finds nothing serious on the pages: keyboard and screen reader users can read the book."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import DESKTOP, book_folder, html_pages

pytestmark = pytest.mark.book

# Pages of one kind are made by one template: one of them is enough.
ALIKE = ("_modules", "book/api", "book/reading_list", "runs")
# docutils calls the list of references a list and its entries bibliography entries, a role that the newer
# ARIA no longer counts as an item. Nothing of ours, and readers announce it all the same.
OF_DOCUTILS = ("aria-required-children", '<div role="list" class="citation-list">')


# Sphinx puts its list of module sources together with lists right within lists.
OF_SPHINX = "_modules/index.html"


def one_of_each_kind(pages: list[str]) -> list[str]:
    chosen = {}
    for page in pages:
        if page == OF_SPHINX:
            continue
        kind = next((folder for folder in ALIKE if page.startswith(f"{folder}/")), page)
        chosen.setdefault(kind, page)
    return list(chosen.values())


def serious(page) -> set[tuple[str, str]]:
    """Name and first place of every violation of serious or critical impact."""
    # Colours on their way from one theme to the other are those of neither.
    page.evaluate("() => Promise.all(document.getAnimations().map((animation) => animation.finished))")
    violations = Axe().run(page).response["violations"]
    return {(v["id"], v["nodes"][0]["html"]) for v in violations if v["impact"] in ("serious", "critical")}


@pytest.mark.parametrize(
    "page", one_of_each_kind(html_pages(book_folder())) if book_folder().is_dir() else ["(no page)"]
)
def test_nothing_serious_stands_in_the_way(page, book, open_tab):
    tab = open_tab(DESKTOP)
    tab.open(page)
    for scheme in ("light", "dark"):
        tab.set_scheme(scheme)
        assert serious(tab.page) - {OF_DOCUTILS} == set(), scheme


def test_the_check_can_fail(book, open_tab):
    tab = open_tab(DESKTOP)
    tab.open("book/intro.html")
    tab.page.evaluate("document.querySelector('.bd-article').innerHTML += '<button></button>'")
    assert serious(tab.page) == {("button-name", "<button></button>")}
