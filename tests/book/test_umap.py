"""UMAPs to point at: what a reader with a mouse, a finger, a keyboard or a printer gets."""

import base64
import json
import re

import numpy as np
import pytest
from conftest import DESKTOP, PHONE, html_pages

pytestmark = pytest.mark.book

PAD = 8  # of umap.js
# How many pixels of a canvas are painted around a point of it.
PAINTED = """([canvas, x, y]) => {
  const scale = devicePixelRatio, size = 24 * scale;
  const {data} = canvas.getContext('2d').getImageData(x * scale - size / 2, y * scale - size / 2, size, size);
  return data.filter((value, i) => i % 4 === 3 && value > 100).length;
}"""


def pages_with_panels(book):
    return [
        page for page in html_pages(book) if '<div class="umap-explorer">' in (book / page).read_text("utf-8")
    ]


MARK_IN_VIEW = """view => {
  const [outer, ring] = [view, view.querySelector('i')].map(e => e.getBoundingClientRect());
  return [ring.x + ring.width / 2 - outer.x - 1, ring.y + ring.height / 2 - outer.y - 1];
}"""


@pytest.fixture
def chapter(book, open_tab):
    """The chapter on UMAPs, its panels in view."""
    if "notebooks/06_umap.html" not in pages_with_panels(book):
        pytest.skip("a book from committed scores has no UMAPs")

    def opened(viewport=DESKTOP):
        tab = open_tab(viewport)
        tab.open("notebooks/06_umap.html")
        tab.page.locator(".umap-stage").scroll_into_view_if_needed()
        tab.page.wait_for_function("document.querySelector('.umap-view canvas').width > 150")
        return tab

    return opened


def shown_first(tab):
    """The data set shown first, as the script reads it."""
    return json.loads(tab.page.locator(".umap-explorer script").text_content())["sets"][0]


def words(text):
    return np.frombuffer(base64.b64decode(text), "<u2").astype(int)


def places(tab, part, panel):
    """Where the cells lie in a panel: (cells, 2) CSS pixels."""
    box = tab.page.locator(".umap-view").nth(panel).bounding_box()
    inner = np.array([box["width"] - 2, box["height"] - 2]) - 2 * PAD  # without the border
    x, y = (words(part["coordinates"][panel]).reshape(-1, 2) / 65535 * inner).T
    return np.column_stack([PAD + x, PAD + inner[1] - y])


def place(tab, part, panel, cell):
    return [float(value) for value in places(tab, part, panel)[cell]]


def painted(tab, panel, x, y, layer="last"):
    """Pixels painted around a point, on the layer of a marked label or ("first") of all cells."""
    canvas = getattr(tab.page.locator(".umap-view").nth(panel).locator("canvas"), layer)
    return tab.page.evaluate(PAINTED, [canvas.element_handle(), x, y])


def test_a_cell_is_described_and_marked_in_every_panel(chapter):
    tab = chapter()
    part = shown_first(tab)
    cell = 7
    x, y = place(tab, part, 0, cell)
    tab.page.locator(".umap-view").first.hover(position={"x": x, "y": y})
    tip = tab.page.locator(".umap-tip")
    lines = tip.locator("div").all_inner_texts()
    labels = [[group["labels"][code] for code in words(group["codes"])] for group in part["groups"]]
    found = zip(*labels, strict=True)
    assert tuple(lines[:2]) in set(found) and re.fullmatch(r"about [\d,.]+ counts", lines[2])
    assert lines[3] == part["methods"][0]
    # Of cells in one place the script takes the first that is nearest.
    first = words(part["coordinates"][0]).reshape(-1, 2)
    assert lines[0] in {labels[0][i] for i in np.flatnonzero(np.abs(first - first[cell]).max(axis=1) < 2000)}
    tab.page.mouse.move(5, 5)
    assert tip.is_hidden()
    # By the keyboard, which also says it aloud; the mark lies where the coordinates say.
    tab.page.locator(".umap-view").first.focus()
    tab.page.keyboard.press("ArrowRight")
    spoken = tab.page.locator(".umap-spoken").inner_text()
    assert spoken.endswith(part["methods"][0]) and tip.is_visible()
    box = tab.page.locator(".umap-view").first.bounding_box()
    middle = [box["width"] / 2 - 1, box["height"] / 2 - 1]
    nearest = int(((places(tab, part, 0) - middle) ** 2).sum(axis=1).argmin())
    for panel in range(len(part["methods"])):
        view = tab.page.locator(".umap-view").nth(panel)
        found = view.evaluate(MARK_IN_VIEW)  # in one step: the page may still scroll to what has the focus
        assert found == pytest.approx(place(tab, part, panel, nearest), abs=0.5)
    tab.page.keyboard.press("ArrowLeft")
    assert tab.page.locator(".umap-spoken").inner_text() != spoken
    tab.page.keyboard.press("Escape")
    assert tip.is_hidden() and tab.page.locator(".umap-view i:visible").count() == 0
    assert tab.problems == []


def test_legend_colours_and_data_sets(chapter):
    tab = chapter()
    part = shown_first(tab)
    page, legend = tab.page, tab.page.locator(".umap-legend button")
    types, batches = (group["labels"] for group in part["groups"])
    assert legend.first.inner_text() == "Hide all"
    assert legend.count() == len(types) + 1
    codes = words(part["groups"][0]["codes"])
    rare = int(np.bincount(codes, minlength=len(types)).argmin())
    alone = np.flatnonzero(codes == rare)[0]
    entry = legend.nth(rare + 1)
    assert types[rare] in entry.inner_text() and entry.get_attribute("aria-pressed") == "true"
    # Focus marks the cells of a type in all panels, Enter switches them off and on.
    legend.first.focus()
    for _ in range(rare + 1):
        page.keyboard.press("Tab")
    assert page.locator(".umap-dimmed").count() == len(part["methods"])
    for panel in range(len(part["methods"])):
        assert painted(tab, panel, *place(tab, part, panel, alone)) > 5
    page.keyboard.press("Enter")
    assert entry.get_attribute("aria-pressed") == "false" and legend.first.inner_text() == "Show all"
    legend.first.click()
    assert entry.get_attribute("aria-pressed") == "true"
    legend.first.click()
    assert page.locator(".umap-legend [aria-pressed=true]").count() == 0
    assert painted(tab, 0, *place(tab, part, 0, alone), layer="first") == 0
    page.get_by_label("Colour by").select_option("batch")
    assert painted(tab, 0, *place(tab, part, 0, alone), layer="first") > 0
    assert legend.count() == len(batches) + 1 and batches[0] in legend.nth(1).inner_text()
    page.get_by_label("Colour by").select_option("counts")
    assert re.search(r"[\d,]+ +[\d,]+ counts", page.locator(".umap-legend").inner_text().replace("\n", " "))
    tab.set_scheme("dark")
    assert painted(tab, 0, *place(tab, part, 0, alone), layer="first") > 0
    panel = page.locator(".umap-view").first
    before = panel.bounding_box()["width"]
    page.locator(".umap-stage figcaption button").first.click()
    assert panel.bounding_box()["width"] > 1.5 * before
    page.get_by_role("button", name="Reset").click()
    assert panel.bounding_box()["width"] == before and legend.count() == len(types) + 1
    page.get_by_label("Data set").select_option(index=1)
    assert legend.count() > 2 and tab.problems == []


def test_the_picture_is_there_on_request_and_on_paper(chapter):
    tab = chapter()
    picture = tab.page.locator(".cell:has(.umap-explorer) + .cell figure")
    button = tab.page.get_by_role("button", name="Picture of all cells")
    assert picture.is_hidden()
    button.click()
    assert picture.is_visible() and button.get_attribute("aria-expanded") == "true"
    button.click()
    tab.page.emulate_media(media="print")
    assert picture.is_visible() and tab.page.locator(".umap-explorer").is_hidden()
    tab.page.emulate_media(media="screen")


def test_without_scripts_the_picture_stays(book, site, chromium):
    pages = pages_with_panels(book)
    if not pages:
        pytest.skip("a book from committed scores has no UMAPs")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/{pages[0]}")
    explorer = page.locator(".cell:has(.umap-explorer)")
    assert page.locator(".cell:has(.umap-explorer) + .cell figure img").is_visible()
    assert "The next picture shows all cells." in explorer.inner_text()
    context.close()


def test_a_tap_marks_and_the_page_scrolls_on_a_phone(chapter):
    tab = chapter(PHONE)
    part = shown_first(tab)
    view = tab.page.locator(".umap-view").first
    x, y = place(tab, part, 0, 3)
    view.click(position={"x": x, "y": y})  # a tap ends as a click
    assert tab.page.locator(".umap-tip").is_visible()
    edges = tab.page.evaluate(
        "[...document.querySelectorAll('.umap-explorer *')].map(e => e.getBoundingClientRect().right)"
    )
    assert max(edges) <= PHONE["width"] + 1
    before = tab.page.evaluate("scrollY")
    view.hover()
    tab.page.mouse.wheel(0, 300)
    tab.page.wait_for_function(f"scrollY > {before} + 100")
    assert tab.problems == []


def test_pages_stay_small_and_run_pages_have_their_panel(book):
    pages = pages_with_panels(book)
    for page in pages:
        text = (book / page).read_text("utf-8")
        held = sum(map(len, re.findall(r'<div class="umap-explorer">.*?</div>', text, flags=re.DOTALL)))
        assert held < 950_000, page
    assert {page for page in html_pages(book) if page.startswith("runs/")} <= set(pages)
