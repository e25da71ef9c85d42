"""The grid of runs: what each cell says, where it leads, and that its text can be read on its colour."""

import json

import pandas as pd
from bs4 import BeautifulSoup

from zeroshot import catalog, study
from zeroshot.metrics import METRICS
from zeroshot.site import run_grid

CARD = catalog.StudyCard(
    title="Grid",
    description="Two data sets and three models.",
    datasets=("pbmc68k-reduced", "simulated-atlas"),
    models=("hvg", "harmony@long", "random"),
    chapters=(),
    name="grid",
)


def score(dataset, model, recipe, metric, value, note="", seen="unseen"):
    return {"dataset": dataset, "model": model, "recipe": recipe, "metric": metric, "value": value,
            "note": note, "seen_in_pretraining": seen}  # fmt: skip


SCORES = pd.DataFrame(
    [
        score("pbmc68k-reduced", "hvg", "paper", "avg_bio", 0.5, seen="partly"),
        score("simulated-atlas", "hvg", "paper", "avg_bio", 1.0),
        score("simulated-atlas", "harmony", "long", "avg_bio", 0.25, seen="unknown"),
        score("pbmc68k-reduced", "random", "standard", "avg_bio", float("nan"), "one <label>"),
        score("simulated-atlas", "random", "standard", "pcr", 0.1),
        score("simulated-atlas", "hvg", "paper", "pcr", 0.0),
        score(
            "pbmc68k-reduced", "hvg", "paper", "pcr", float("nan"), "not applicable: one batch", seen="partly"
        ),
    ]
)


def page(linked=("pbmc68k-reduced/hvg", "simulated-atlas/hvg", "simulated-atlas/harmony--long")):
    built = [study.Page(f"runs/{path}", {}, {}, "run", study.Declaration()) for path in linked]
    return run_grid.page(CARD, built, SCORES)


def cells(text):
    return BeautifulSoup(text, "html.parser").select("#runs tbody td")


def contrast(first, second):
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_text_can_be_read_on_every_colour():
    assert min(contrast(*pair) for pair in run_grid.palette()) >= 4.5


def test_each_cell_says_its_score_and_leads_to_its_run():
    fields = cells(page())
    assert [cell.select_one(".score").text for cell in fields] == [
        "0.50", "1.00", "–", "0.25", "not scored", "not scored",
    ]  # fmt: skip
    links = [cell.a and cell.a["href"] for cell in fields]
    assert links == ["../runs/pbmc68k-reduced/hvg.html", "../runs/simulated-atlas/hvg.html", None,
                     "../runs/simulated-atlas/harmony--long.html", None, None]  # fmt: skip
    assert fields[3].a["aria-label"].startswith("Harmony (long) on ") and "0.25" in fields[3].a["aria-label"]
    assert [cell.sup and cell.sup.text for cell in fields] == ["†", None, None, "?", None, None]
    assert [cell.get("class") for cell in fields] == [None, None, ["unscored"], None, ["unscored"],
                                                     ["unscored"]]  # fmt: skip


def test_a_build_without_run_pages_links_to_none():
    text = page(linked=())
    assert not any(cell.a for cell in cells(text)) and "why the runs have no pages here" in text


def test_the_data_of_the_script_are_those_of_the_page():
    soup = BeautifulSoup(page(), "html.parser")
    data = json.loads(soup.find(id="run-scores").string)
    assert set(data["metrics"]) == {option["value"] for option in soup.select("option")} == set(METRICS)
    (chosen,) = soup.select("option[selected]")
    for cell, (text, colour) in zip(cells(page()), data["metrics"][chosen["value"]]["cells"], strict=True):
        assert cell.select_one(".score").text == text
        ground, ink = data["palette"][colour] if colour is not None else ("", "")
        assert cell.get("style", "background:;color:") == f"background:{ground};color:{ink}"
    assert data["metrics"]["pcr"]["reasons"] == ["not applicable: one batch", "these scores do not hold it"]
    assert data["metrics"]["avg_bio"]["reasons"] == ["one <label>", "these scores do not hold it"]
    assert (
        "<label>" not in soup.find(id="run-scores").string and soup.select_one(".run-reasons").find() is None
    )


def test_the_best_value_of_a_metric_has_the_brightest_colour():
    last = len(run_grid.palette()) - 1
    for name, metric in METRICS.items():
        beyond = metric.best + (metric.best - metric.worst)
        colours = [run_grid.colour_of(value, metric) for value in (metric.worst, metric.best, beyond)]
        assert colours == [0, last, last], name


def test_marks_are_explained_where_they_occur():
    explained = page().rpartition("```")[2]
    assert "†\n: " in explained and "?\n: " in explained and "not scored\n: " in explained
    unmarked = run_grid.page(CARD, [], SCORES.assign(seen_in_pretraining="unseen")).rpartition("```")[2]
    assert "†" not in unmarked and "?\n" not in unmarked
