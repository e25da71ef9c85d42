"""The home page says what the build found; the grid of runs leads to every run and shows every score."""

import json
import re
from urllib.parse import urljoin

import pandas as pd
import pytest
from conftest import DESKTOP, both_widths, parsed

from zeroshot.site import rendering

pytestmark = pytest.mark.book


@pytest.fixture(scope="module")
def scores(book):
    """The scores as a reader downloads them."""
    page = parsed(book / "book/intro.html")
    (link,) = [a["href"] for a in page.select(".downloads a[download]") if a.text == "scores"]
    return pd.read_csv(book / "book" / link)


def test_the_home_page_holds_the_numbers_of_the_scores(book, scores):
    page = parsed(book / "book/intro.html")
    rows = {row.td.get_text(): [cell.get_text() for cell in row.find_all("td")[1:]]
            for row in page.article.table.tbody.find_all("tr")}  # fmt: skip
    for column, metric in enumerate(("avg_bio", "ilisi")):
        values = scores[(scores["metric"] == metric) & scores["value"].notna()]
        assert rows["Data sets"][column] == str(values["dataset"].nunique())
        medians = values.groupby("model")["value"].median()
        for name, model in {
            "Highly variable genes (HVG), median": "hvg",
            "Random numbers, median": "random",
        }.items():
            assert rows[name][column] == f"{medians[model]:.2f}"
        best = float(rows["Highest median"][column].rpartition(", ")[2])
        assert best >= round(medians["hvg"], 2)
        often = re.fullmatch(r".+ \(on (\d+)\)", rows["Best or tied with the best most often"][column])
        assert 1 <= int(often[1]) <= values["dataset"].nunique()


def test_the_home_page_answers_on_the_first_screen(open_tab):
    tab = open_tab({"width": 1280, "height": 800})
    tab.open("book/intro.html")
    for what, part in {"article table": "bottom", "article figure": "top"}.items():
        edge = tab.page.locator(what).first.evaluate(f"e => e.getBoundingClientRect().{part}")
        assert edge < 800, f"{what}: its {part} is at {edge:.0f} px"
    assert tab.page.locator("article figure img").evaluate("image => image.naturalWidth") > 300
    assert tab.problems == []


@both_widths
def test_another_score_is_chosen_by_keyboard_and_a_run_is_opened(viewport, book, scores, open_tab):
    tab = open_tab(viewport)
    tab.open("book/runs.html")
    data = json.loads(tab.page.locator("#run-scores").text_content())["metrics"]
    shown = tab.page.locator("#runs tbody td .score")
    assert shown.all_inner_texts() == [text for text, _ in data["avg_bio"]["cells"]]
    tab.page.get_by_label("Score shown").select_option("ilisi")
    assert shown.all_inner_texts() == [text for text, _ in data["ilisi"]["cells"]]
    assert tab.page.inner_text("#runs caption") == "iLISI (higher is better), from 0 (worst) to 1 (best)"
    numbers = [float(text) for text, _ in data["ilisi"]["cells"] if re.fullmatch(r"[\d.]+", text)]
    assert sorted(numbers) == sorted(scores[scores["metric"] == "ilisi"]["value"].dropna().round(2))

    link = tab.page.locator("#runs a.run").first
    if link.count():
        address = link.get_attribute("href")
        link.focus()
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**" + address.removeprefix(".."))
        tab.page.go_back()
        tab.page.wait_for_selector("#runs")
        chosen = tab.page.locator("select[name=metric]").input_value()
        assert shown.all_inner_texts() == [text for text, _ in data[chosen]["cells"]]
    else:
        assert "Runs whose scores are committed" in (book / "book/status.html").read_text("utf-8")
    assert tab.problems == []


def test_the_grid_stands_without_scripts(chromium, site):
    context = chromium.new_context(viewport=DESKTOP, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/book/runs.html")
    assert not page.locator("#run-metric").is_visible()
    assert page.locator("#runs tbody td[style]").count() > 0
    assert page.inner_text("#runs caption").startswith("AvgBIO")
    context.close()


def test_run_pages_are_not_in_the_sidebar_but_in_order(book):
    for file in [book / "book/intro.html", *sorted(book.glob("runs/*/*.html"))[:2]]:
        page, name = parsed(file), file.relative_to(book).as_posix()
        listed = [urljoin(f"/{name}", a["href"]) for a in page.select(".bd-docs-nav a")]
        assert "/book/runs.html" in listed and not [a for a in listed if a.startswith("/runs/")]
        assert page.select(".prev-next-area a")


def test_the_status_page_tells_what_pages_weigh(book):
    weights, _ = rendering.weigh(book)
    page = parsed(book / rendering.STATUS)
    (details,) = [d for d in page.select("details") if d.summary.text == "Weight of each page"]
    told = {row.a.text: row.find_all("td")[3].text for row in details.select("tbody tr")}
    assert told == {name: f"{weight.total / 1000:,.0f}" for name, weight in weights.items()}
    assert re.search(r"took \d+ s to render this book", page.article.get_text())
