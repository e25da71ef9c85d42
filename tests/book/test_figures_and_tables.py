"""What scripts add to tables and figures: sorting, searching, enlarging; and the files below figures."""

import re
from urllib.parse import urljoin
from xml.etree import ElementTree

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from conftest import PHONE, both_widths

pytestmark = pytest.mark.book
LARGEST_SVG = 1_000_000  # bytes


def column(table, number):
    """Texts of the rows that are shown, in one column (the first is 1)."""
    return [
        cell.strip() for cell in table.locator(f"tbody tr:visible > :nth-child({number})").all_inner_texts()
    ]


def numbers(texts):
    return [float(re.match(r"[-\d.,]+", text)[0].replace(",", "")) for text in texts]


@both_widths
def test_a_table_is_sorted_by_keyboard_and_back(viewport, book, open_tab):
    tab = open_tab(viewport)
    tab.open("book/models.html")
    table = tab.page.locator("#pretrained-networks table")
    named = table.locator("thead th").all_inner_texts()
    place = next(n for n, name in enumerate(named, start=1) if name.startswith("parameters"))
    head = table.locator("thead th").nth(place - 1)
    original = column(table, place)
    missing = sum(text == "–" for text in original)
    head.locator("button").focus()
    for order, key in (("ascending", "Enter"), ("descending", "Space")):
        tab.page.keyboard.press(key)
        texts = column(table, place)
        present = numbers(texts[: len(texts) - missing])
        assert head.get_attribute("aria-sort") == order
        assert present == sorted(present, reverse=order == "descending") and max(present) > 1e6
        assert texts[len(texts) - missing :] == ["–"] * missing, "what says nothing is last"
    tab.page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None and column(table, place) == original
    assert tab.problems == []


def test_a_table_of_pandas_with_two_rows_of_heads_is_sorted(book, open_tab):
    tab = open_tab()
    tab.open("notebooks/02_cell_types.html")
    table = tab.page.locator(".cell_output table:has(thead tr + tr):has(button.sort)").first
    table.locator("thead tr:first-child button").last.click()
    values = column(table, table.locator("thead tr:first-child th").count())
    present = numbers([text for text in values if text != "–"])
    assert present == sorted(present) and len(present) > 2
    table.get_by_role("button", name="method").click()
    methods = column(table, 1)
    assert methods == sorted(methods, key=str.lower) and tab.problems == []


@both_widths
def test_a_long_table_is_searched(viewport, book, open_tab):
    tab = open_tab(viewport)
    tab.open("book/models.html")
    form = tab.page.locator("#pretrained-networks form.filters")
    table = tab.page.locator("#pretrained-networks table")
    rows = table.locator("tbody tr:visible")
    count = rows.count()
    assert form.locator("output").inner_text() == f"{count} rows" and count > 12
    form.locator("input").fill("GENEFORMER 104m")
    assert 0 < rows.count() < count
    assert all("Geneformer" in text and "104M" in text for text in rows.all_inner_texts())
    shown = rows.count()
    assert form.locator("output").inner_text() == (f"{shown} rows" if shown > 1 else "1 row")
    form.locator("input").fill("no such words")
    assert rows.count() == 0 and form.locator("output").inner_text() == "0 rows"
    assert tab.problems == []


def test_claims_are_filtered(book, open_tab):
    tab = open_tab()
    tab.open("notebooks/claims.html")
    rows, form = tab.page.locator("#claims tbody tr:visible"), tab.page.locator("form[data-table=claims]")
    count = rows.count()
    form.locator("select[name=outcome]").select_option("reversed")
    assert 0 < rows.count() < count and all("⇄" in text for text in rows.all_inner_texts())
    form.locator("select[name=version]").select_option("publication")
    assert rows.count() and form.locator("output").inner_text() == f"{rows.count()} claims"
    form.locator("input").fill("scGPT has the highest AvgBIO")
    assert form.locator("output").inner_text() == "1 claim" and tab.problems == []


def test_tables_that_cannot_be_sorted_are_left_alone(book, open_tab):
    """In each sorted table every row has a cell per head, and no cell spans others."""
    tab = open_tab()
    for name in ("notebooks/07_summary.html", "notebooks/landscape.html", "genindex.html"):
        tab.open(name)
        assert (
            not tab.page.locator(":is(th, td):is([rowspan], [colspan])")
            .locator("xpath=ancestor::table")
            .locator("button.sort")
            .count()
        )
        assert tab.problems == []


@both_widths
def test_a_figure_is_enlarged_by_keyboard_and_click(viewport, book, open_tab):
    tab = open_tab(viewport)
    tab.open("notebooks/02_cell_types.html")
    page, large = tab.page, tab.page.locator("dialog.enlarged img")
    image = page.locator(".cell_output img").first
    alt = image.get_attribute("alt")
    assert alt
    button = page.get_by_role("button", name=alt)
    for close in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.get_by_role("button", name="Close").click(),
        lambda: large.click(),
    ):
        button.focus()
        page.keyboard.press("Enter")
        large.wait_for(state="visible")
        page.wait_for_function("i => i.complete && i.naturalWidth", arg=large.element_handle())
        assert large.get_attribute("alt") == alt and large.get_attribute("src").endswith(".svg")
        assert large.bounding_box()["width"] > 1.5 * image.bounding_box()["width"]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        close()
        large.wait_for(state="hidden")
        assert button.evaluate("b => b === document.activeElement"), "focus is back where it was"
    image.click()
    pane = page.locator("dialog.enlarged > div")
    pane.evaluate("e => e.scrollTo(1e4, 1e4)")
    side = "scrollLeft" if viewport is PHONE else "scrollTop"
    assert pane.evaluate(f"e => e.{side}") > 0, "what does not fit can be scrolled to"
    page.keyboard.press("Escape")
    assert tab.problems == []


def test_each_figure_offers_its_files(html_page, book):
    """PNG, vector form and the data below each figure that the book has drawn; the data can be read."""
    text = (book / html_page).read_text("utf-8")
    if "<figure" not in text:
        return
    for figure in BeautifulSoup(text, "html.parser").select(".cell_output figure"):
        links = {link.get_text(): link for link in figure.select("figcaption .figure-files a[download]")}
        assert list(links) == ["PNG", "SVG", "CSV of the data"]
        png, svg, csv = (book / urljoin(f"/{html_page}", link["href"])[1:] for link in links.values())
        assert png.read_bytes().startswith(b"\x89PNG") and png.name == figure.img["src"].split("/")[-1]
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        assert svg.stat().st_size < LARGEST_SVG, f"{svg.name} has {svg.stat().st_size:,} bytes"
        assert len(pd.read_csv(csv)), f"no data in {csv}"
        assert len(figure.select_one(".caption-text").get_text().split()) >= 20, "a caption that stands alone"


@both_widths
def test_data_of_a_figure_are_downloaded(viewport, book, open_tab):
    tab = open_tab(viewport)
    tab.open("notebooks/02_cell_types.html")
    with tab.page.expect_download() as started:
        tab.page.get_by_role("link", name="CSV of the data").first.click()
    assert started.value.suggested_filename == "02_cell_types-figure-1.csv"
    table = pd.read_csv(started.value.path())
    assert {"dataset", "method", "metric", "value", "low", "high"} <= set(table)
    assert set(table["metric"]) == {"avg_bio", "asw_label"} and table["value"].between(0, 1).all()
    assert tab.problems == []


def test_paper_is_white_and_holds_all(book, new_tab):
    """Printed from dark mode: light, nothing to click, nothing folded, nothing wider than the sheet."""
    tab = new_tab({"width": 690, "height": 1000})  # A4 without its margins
    for name in ("notebooks/02_cell_types.html", "book/models.html", "book/runs.html"):
        tab.open(name)
        tab.set_scheme("dark")
        tab.page.emulate_media(media="print")
        beyond = """[...document.querySelectorAll('.bd-article :is(table, td, th, pre, img, p)')]
          .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)
          .map(e => e.tagName + ': ' + e.textContent.slice(0, 40))"""
        assert tab.page.evaluate(beyond) == []
        colours = "e => [getComputedStyle(document.body).backgroundColor, getComputedStyle(e).color]"
        ground, ink = tab.page.locator(".bd-article p").first.evaluate(colours)
        assert ground == "rgb(255, 255, 255)" and max(map(int, re.findall(r"\d+", ink))) < 100
        clickable = (
            ".bd-sidebar, .bd-header-article, form.filters, .figure-files, .copybtn, .prev-next-footer"
        )
        assert tab.page.locator(clickable).locator("visible=true").count() == 0
        folded = """[...document.querySelectorAll('.bd-article details :is(pre, td)')]
          .every(e => e.checkVisibility())"""
        assert tab.page.evaluate(folded)
        fields = """[...document.querySelectorAll('#runs td[style]')]
          .every(e => getComputedStyle(e).color === e.style.color)"""
        assert tab.page.evaluate(fields), "the grid of runs keeps the ink that stands out"
        assert tab.problems == []
