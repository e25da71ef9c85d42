"""The chapter on the field in a browser: flows that can be pointed at, counts, and citations that lead on."""

import re

import pandas as pd
import pytest
from conftest import DESKTOP, both_widths, parsed

from reading_list import editions, model_table, survey, tree

pytestmark = pytest.mark.book
MODELS = list(survey.models().values())


def test_flows_are_pointed_at_clicked_and_reached_by_keys(book, new_tab):
    tab = new_tab(DESKTOP)
    tab.open("notebooks/landscape.html")
    page = tab.page
    picture, said = page.locator(".flows svg"), page.locator(".flows-said")

    def listed() -> list[str]:
        return page.locator(".flows-models li:visible > :first-child").all_inner_texts()

    def part(name: str):
        return picture.locator(f".node[data-name='{name}']")

    everything = said.inner_text()
    assert page.locator(".flows-models li:visible").count() == len(MODELS)
    ranked = [model.name for model in MODELS if model.tokens == ("rank value encoding",)]
    part("rank value encoding").hover()
    assert listed() == ranked
    assert said.inner_text() == f"rank value encoding: {len(ranked)} of {len(MODELS)} models"
    page.mouse.move(5, 5)
    assert said.inner_text() == everything

    tuned = [model.name for model in MODELS if model.paradigm == "multi-task"]
    part("multi-task").click()
    page.mouse.move(5, 5)
    assert listed() == tuned and picture.locator(".flow.on").count() == len(tuned)
    assert part("multi-task").get_attribute("aria-pressed") == "true"
    assert page.locator(".flows-models li:visible a").first.get_attribute("href")
    page.keyboard.press("Escape")
    assert said.inner_text() == everything

    first, second = (picture.locator(".node").nth(place) for place in (0, 1))
    first.focus()
    assert said.inner_text().startswith(first.get_attribute("data-name"))
    page.keyboard.press("ArrowDown")
    assert said.inner_text().startswith(second.get_attribute("data-name"))
    page.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "true"
    assert picture.locator("[tabindex='0']").count() == 1
    page.evaluate("document.activeElement.blur()")
    assert said.inner_text().startswith(second.get_attribute("data-name"))
    assert tab.problems == []


@both_widths
def test_the_tree_and_the_table_of_models_are_filtered(book, new_tab, viewport):
    tab = new_tab(viewport)
    tab.open("notebooks/atlas.html")
    page, reads = tab.page, "ATAC"
    expected = sorted(leaf.name for leaf in tree.leaves() if reads in leaf.inputs)
    form, said = page.locator(".tree form"), page.locator(".tree-said")
    everything = said.inner_text()
    form.locator("select[name=reads]").select_option(reads)
    shown = page.locator(".tree .leaf:not(.off) text").all_text_contents()
    assert sorted(text.rstrip("*") for text in shown) == expected
    assert said.inner_text() == f"{len(expected)} of {everything}"
    assert page.locator(".tree .leaf[tabindex='0']").count() == 1
    page.locator(".tree .leaf[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    title = page.evaluate("document.activeElement.querySelector('title').textContent")
    assert said.inner_text().startswith(title.partition(",")[0]) and reads in said.inner_text()

    form, rows = page.locator("form.filters").nth(1), page.locator("#models tbody tr:visible")
    form.get_by_label("Reads").select_option(reads)
    assert sorted(text.rstrip("*") for text in rows.locator("th").all_inner_texts()) == expected
    assert form.locator("output").inner_text() == f"{len(expected)} models"
    form.get_by_label("Zero-shot").select_option("yes")
    assert 0 < rows.count() < len(expected)
    form.evaluate("form => { form.reset(); form.dispatchEvent(new Event('input')); }")
    form.get_by_label("Numbers by others").select_option("–")
    others = 3 + model_table.COLUMNS.index("numbers by others")
    assert set(rows.locator(f"td:nth-child({others})").all_inner_texts()) == {"–"}
    form.evaluate("form => { form.reset(); form.dispatchEvent(new Event('input')); }")
    page.locator("#models th button", has_text="parameters").click()
    column = 3 + model_table.COLUMNS.index("parameters")  # after model and date
    shown = page.locator(f"#models tbody td:nth-child({column}) [data-key]").all_inner_texts()
    first = [re.search(r"([\d.]+)\D.*?(million|billion)", f"{text} ") for text in shown]
    sizes = [float(found[1]) * {"million": 1, "billion": 1000}[found[2]] for found in first]
    assert sizes == sorted(sizes) and len(sizes) > 20 and tab.problems == []
    page.locator("#models th button", has_text="corpus size").click()
    column = 3 + model_table.COLUMNS.index("corpus size")
    texts = page.locator(f"#models tbody td:nth-child({column}) [data-key]").all_inner_texts()
    samples = next(place for place, text in enumerate(texts) if text.startswith("519,609 bulk samples, "))
    assert samples < texts.index("11 million cells"), "the unit of a later number is not that of the first"


def test_counts_of_editions_are_those_of_the_entries(book):
    papers = pd.read_json(book / "downloads" / "reading_list.json")
    rows = parsed(book / "book/reading_list/editions.html").select("table.counts tbody tr")
    shown = {row.th.text: int(row.td.text) for row in rows}
    counted = papers["editions"].explode().value_counts()
    counted["ours"] += counted["2026-07"]  # the newest list, with what was added here
    assert shown == {editions.TITLES[edition]: count for edition, count in counted.items()}


def test_sections_by_year_add_up_to_the_list(book):
    papers = pd.read_json(book / "downloads" / "reading_list.json")
    tables = parsed(book / "notebooks/landscape.html").select(".cell_output table")
    (table,) = [table for table in tables if table.select("a[href*='reading_list/models.html']")]
    *sections, total = [[cell.text for cell in row.find_all("td")] for row in table.tbody.find_all("tr")]
    assert [int(row[-1]) for row in sections] == list(
        papers["section"].value_counts().reindex(papers["section"].unique())
    )
    assert (total[0], int(total[-1])) == ("all", len(papers))


def test_a_citation_leads_to_the_reference_list(book, open_tab):
    tab = open_tab()
    tab.open("book/intro.html")
    tab.page.locator("article a.reference.internal[href*='references.html#']").first.click()
    tab.page.wait_for_url("**/book/references.html#*")
    target = tab.page.locator(":target")
    assert "Kedzierska" in target.inner_text() and "2025" in target.inner_text()
    assert tab.problems == []
