"""axe-core finds nothing serious on the pages: keyboard and screen reader users can read the book."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import DESKTOP

pytestmark = pytest.mark.book

# docutils calls the list of references a list and its entries bibliography entries, a role that the newer
# ARIA no longer counts as an item. Nothing of ours, and readers announce it all the same.
OF_DOCUTILS = ("aria-required-children", '<div role="list" class="citation-list">')

# The rules of colours look at all that lies behind each text and take four fifths of the time. The 4,000
# texts of a page have some 80 looks: tag, classes, colours and type of an element and of all around it. One
# text of each look is marked, and only these are asked about; of a look that was fine on another page, none.
MARK_LOOKS = """() => {
  const looks = new Map(), seen = new Map();
  const look = element => {
    if (element && !looks.has(element)) {
      const style = getComputedStyle(element);
      looks.set(element, [look(element.parentElement), element.tagName, element.getAttribute('class'),
        style.color, style.fontSize, style.fontWeight, style.opacity, style.textShadow,
        style.backgroundColor, style.backgroundImage].join('|'));
    }
    return looks.get(element);
  };
  const holdsText = element => element.matches('input, select, textarea')
    || [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
  for (const element of document.body.querySelectorAll('*')) {
    delete element.dataset.look;
    if (holdsText(element) && element.checkVisibility() && !seen.has(look(element))) {
      seen.set(look(element), seen.size);
      element.dataset.look = seen.get(look(element));
    }
  }
  return [...seen.keys()];
}"""
RULES_OF_COLOURS = ("color-contrast", "link-in-text-block")


def serious(page, context=None, **options) -> set[tuple[str, str]]:
    """Name and first place of every violation of serious or critical impact."""
    violations = Axe().run(page, context, {"resultTypes": ["violations"]} | options).response["violations"]
    return {(v["id"], v["nodes"][0]["html"]) for v in violations if v["impact"] in ("serious", "critical")}


def serious_but_for_colours(page) -> set[tuple[str, str]]:
    return serious(page, rules={rule: {"enabled": False} for rule in RULES_OF_COLOURS})


def serious_of_colours(page, checked: set[str]) -> set[tuple[str, str]]:
    """The same of colours; looks without a violation are added to those that are checked no more."""
    # Colours on their way from one theme to the other are those of neither.
    page.evaluate("() => Promise.all(document.getAnimations().map((animation) => animation.finished))")
    looks = page.evaluate(MARK_LOOKS)
    places = [[f'[data-look="{place}"]'] for place, look in enumerate(looks) if look not in checked]
    violations = serious(page, {"include": places}, runOnly=list(RULES_OF_COLOURS)) if places else set()
    if not violations:
        checked.update(looks)
    return violations


@pytest.fixture(scope="session")
def checked() -> set[str]:
    """Looks of texts that have had no violation, on any page and in any theme."""
    return set()


def test_nothing_serious_stands_in_the_way(page_of_a_kind, book, open_tab, checked):
    tab = open_tab(DESKTOP)
    tab.open(page_of_a_kind)
    assert serious_but_for_colours(tab.page) - {OF_DOCUTILS} == set()
    for scheme in ("light", "dark"):  # a theme changes colours, and nothing that another rule reads
        tab.set_scheme(scheme)
        assert serious_of_colours(tab.page, checked) == set(), scheme


def test_the_check_can_fail(book, open_tab, checked):
    """Also of the last row of a long table, if it alone is faint, and in one theme only."""
    tab = open_tab(DESKTOP)
    tab.open("book/reading_list.html")
    tab.page.evaluate("document.querySelector('.bd-article').innerHTML += '<button></button>'")
    assert serious_but_for_colours(tab.page) == {("button-name", "<button></button>")}
    last = tab.page.locator("#papers tbody tr:visible").last.locator("td").last
    last.evaluate("cell => cell.innerHTML = '<span style=\"background: white; color: #bbb\">faint</span>'")
    for scheme in ("light", "dark"):
        tab.set_scheme(scheme)
        assert [rule for rule, _ in serious_of_colours(tab.page, checked)] == ["color-contrast"]
    last.locator("span").evaluate("span => span.style = 'color: #eee'")
    assert serious_of_colours(tab.page, checked) == set()
    tab.set_scheme("light")
    assert [rule for rule, _ in serious_of_colours(tab.page, checked)] == ["color-contrast"]
