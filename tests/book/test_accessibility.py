"""axe-core finds nothing serious on the pages: keyboard and screen reader users can read the book."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import DESKTOP

pytestmark = pytest.mark.book

# docutils calls the list of references a list and its entries bibliography entries, a role that the newer
# ARIA no longer counts as an item. Nothing of ours, and readers announce it all the same.
OF_DOCUTILS = ("aria-required-children", '<div role="list" class="citation-list">')


def serious(page) -> set[tuple[str, str]]:
    """Name and first place of every violation of serious or critical impact."""
    # Colours on their way from one theme to the other are those of neither.
    page.evaluate("() => Promise.all(document.getAnimations().map((animation) => animation.finished))")
    violations = Axe().run(page).response["violations"]
    return {(v["id"], v["nodes"][0]["html"]) for v in violations if v["impact"] in ("serious", "critical")}


def test_nothing_serious_stands_in_the_way(page_of_a_kind, book, open_tab):
    tab = open_tab(DESKTOP)
    tab.open(page_of_a_kind)
    for scheme in ("light", "dark"):
        tab.set_scheme(scheme)
        assert serious(tab.page) - {OF_DOCUTILS} == set(), scheme


def test_the_check_can_fail(book, open_tab):
    tab = open_tab(DESKTOP)
    tab.open("book/intro.html")
    tab.page.evaluate("document.querySelector('.bd-article').innerHTML += '<button></button>'")
    assert serious(tab.page) == {("button-name", "<button></button>")}
