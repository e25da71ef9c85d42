"""Published numbers: the file that lists them, and the ledger that sets ours beside them."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from zeroshot import catalog, figures, metrics, study
from zeroshot.catalog import CatalogError
from zeroshot.results import published
from zeroshot.runtime import paths
from zeroshot.store import dependencies

CHECKOUT = Path(__file__).resolve().parents[1]
FIELD = CHECKOUT.parent / "shared" / "FIELD.md"
NUMBER = {
    "value": 0.5,
    "dataset": "pancreas",
    "model": "scvi",
    "recipe": "paper",
    "metric": "nmi",
    "statistic": "value",
    "cells": "all",
    "batch_key": "batch",
    "tolerance": 0.01,
    "source": "zero-shot-limitations-preprint",
    "where": "this test",
}
FIVE = {
    "dataset": "some-sets",
    "dataset_title": "Two data sets",
    "over": ["pancreas", "pbmc-95k"],
    "statistic": "median over data sets",
}
RUN = {
    "study": "made-up",
    "dataset": "pancreas",
    "model": "scvi",
    "recipe": "paper",
    "metric": "nmi",
    "group": "annotation",
    "value": 0.5,
    "note": "",
    "subset": "all",
    "n_cells": 16382,
    "seed": 0,
    "artifact": "0" * 20,
}


@pytest.fixture
def publish(home):
    """Replace the file by the given changes of one number and read it."""

    def write(*changes: dict) -> tuple[catalog.PublishedNumber, ...]:
        entries = {f"number-{place}": NUMBER | change for place, change in enumerate(changes)}
        (home / "data" / "published.yml").write_text(yaml.safe_dump(entries, sort_keys=False))
        return published.load()

    return write


@pytest.fixture
def outcome(publish, monkeypatch):
    """Ours, status and reason of one number beside made-up scores; weights are never at hand."""
    unavailable = "no weights in this test"
    monkeypatch.setattr(
        published.models, "unavailable", lambda card, recipe: unavailable if card.weights else None
    )

    def compare(change: dict, *runs: dict, reconstructions: pd.DataFrame | None = None) -> tuple:
        publish(change)
        scores = pd.DataFrame([RUN | run for run in runs], columns=list(RUN))
        (row,) = published.ledger(scores, reconstructions).itertuples()
        return row.ours, row.status, row.reason

    return compare


# -- the file --------------------------------------------------------------------------------------


def test_ids_are_unique_and_all_are_read(home):
    text = (home / "data" / "published.yml").read_text()
    ids = re.findall(r"^([a-z0-9-]+):", text, re.MULTILINE)
    numbers = published.load()
    assert [number.name for number in numbers] == ids and len(set(ids)) == len(ids) > 70


def test_no_number_stands_twice(home):
    # Entries that start from another one must not forget to say what differs.
    said = [
        number.model_dump(exclude={"name", "value", "caveat"}, mode="json") for number in published.load()
    ]
    said = [tuple(map(str, fields.values())) for fields in said]
    assert len(set(said)) == len(said)


def test_every_reference_number_of_our_notes_is_listed(home):
    if not FIELD.is_file():
        pytest.skip("the notes on the field are not beside this checkout")
    section = re.search(r"^### Reference numbers.*?(?=^##)", FIELD.read_text(), re.MULTILINE | re.DOTALL)[0]
    decimals = {float(number) for number in re.findall(r"(?<![\d.])\d+\.\d+(?!\.?\d)", section)}
    (genes,) = re.findall(r"^Matched genes:(.*?)\.", section, re.MULTILINE)
    wholes = {float(number.replace(",", "")) for number in re.findall(r"\d+,\d+", genes)}
    values = [number.value for number in published.load()]
    assert len(decimals) > 50 and len(wholes) == 4
    assert not (decimals | wholes) - set(values)
    assert not set(values) - (decimals | wholes), "not in the notes"


def test_averages_of_the_file_are_averages(home):
    values = {number.name: number.value for number in published.load()}
    for run in ("geneformer-pancreas", "scgpt-pancreas"):
        parts = [values[f"{run}-{name}"] for name in ("nmi", "ari", "asw-label")]
        assert math.isclose(sum(parts) / 3, values[f"{run}-avg-bio"], abs_tol=2e-6)


# -- what the reader of the file refuses -----------------------------------------------------------


def test_plain_number_is_accepted(publish):
    (number,) = publish({})
    assert number.name == "number-0" and number.datasets == ("pancreas",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerence": 1}, "unknown field 'tolerence'.*Did you mean tolerance"),
        ({"tolerance": 0}, "tolerance: .*greater than 0"),
        ({"value": float("nan")}, "value: .*finite"),
        ({"statistic": "middle"}, "statistic: "),
        ({"dataset": "pancraes"}, "dataset 'pancraes' is not a registered name.*dataset_title"),
        ({"model": "scvii"}, "model 'scvii' is not a registered name.*model_title"),
        ({"metric": "nmj"}, "metric 'nmj' is not a registered name.*metric_title"),
        ({"metric_title": "NMI"}, "metric 'nmi' is a registered name: leave out `metric_title`"),
        ({"recipe": "papr"}, "no recipe of scvi is called 'papr'.*paper"),
        ({"over": ["pancreas"]}, "`over` goes with `statistic: median over data sets`"),
        ({"statistic": "median over data sets"}, "`over` goes with"),
        (FIVE | {"over": ["pancraes"]}, "no data set is called 'pancraes'.*pancreas"),
    ],
)
def test_wrong_number_is_refused_with_the_entry_and_the_reason(publish, change, message):
    with pytest.raises(CatalogError, match=rf"published\.yml: entry 'number-0': .*{message}"):
        publish(change)


def test_entry_may_start_from_another_but_not_say_a_field_twice(home, publish):
    publish({})
    file = home / "data" / "published.yml"
    text = file.read_text().replace("number-0:", "number-0: &first")
    file.write_text(text + "number-1: {<<: *first, metric: ari, value: 0.25}\n")
    first, second = published.load()
    assert (second.metric, second.value, second.dataset) == ("ari", 0.25, first.dataset)
    file.write_text(text + "number-1: {<<: *first, metric: ari, metric: nmi}\n")
    with pytest.raises(CatalogError, match=r"\['metric'\] appear twice"):
        published.load()


# -- the ledger ------------------------------------------------------------------------------------


def test_within_the_tolerance_it_agrees(outcome):
    assert outcome({}, {"value": 0.509}) == (0.509, "agrees", "")
    assert outcome({"caveat": "odd cells"}, {"value": 0.491}) == (0.491, "agrees", "")


def test_beyond_the_tolerance_it_differs_with_the_caveat_as_reason(outcome):
    assert outcome({}, {"value": 0.52}) == (0.52, "differs", "")
    assert outcome({"caveat": "odd cells"}, {"value": 0.48}) == (0.48, "differs", "odd cells")


@pytest.mark.parametrize(
    ("change", "run", "reason"),
    [
        ({}, {"dataset": "immune"}, "the data set is not in this study"),
        ({}, {"model": "hvg"}, "the model is not in this study"),
        ({}, {"recipe": "short"}, "the model is not in this study"),
        ({}, {"metric": "ari"}, "this study did not compute it"),
        ({}, {"subset": "500"}, "only a part of the cells is in this study"),
        ({}, {"value": math.nan, "note": "gate: 3 rows are NaN"}, "gate: 3 rows are NaN"),
        ({"model": "scgpt-human"}, {}, "the weights are not on this machine"),
        ({"model": "other", "model_title": "Another"}, {}, "the model is not in this book"),
        ({"metric": "other", "metric_title": "Another"}, {}, "no metric of ours computes it"),
        (
            {"metric": "pcr", "batch_key": "tech"},
            {"metric": "pcr"},
            "computed on other batches (tech)",
        ),
        (
            {"model": "scgpt-human", "dataset": "lung", "dataset_title": "Lung"},
            {},
            "the data set is not in this study; the weights are not on this machine",
        ),
    ],
)
def test_whatever_is_not_the_same_is_not_run_here(outcome, change, run, reason):
    ours, status, said = outcome(change, run)
    assert math.isnan(ours) and (status, said) == ("not run here", reason)


def test_key_of_the_batches_matters_only_to_what_reads_batches(outcome):
    for metric in ("avg_bio", "graph_connectivity"):
        assert outcome({"metric": metric, "batch_key": "tech"}, {"metric": metric})[1] == "agrees"
    assert outcome({"metric": "pcr"}, {"metric": "pcr"})[1] == "agrees"


def test_median_needs_all_of_its_data_sets(outcome):
    first, second = {"value": 0.4}, {"value": 0.6, "dataset": "pbmc-95k"}
    ours, status, _ = outcome(FIVE, first, second)
    assert math.isclose(ours, 0.5) and status == "agrees"
    assert outcome(FIVE, first)[2] == "not all of its data sets are in this study"
    other = {"dataset": "pbmc-95k", "model": "hvg"}
    assert outcome(FIVE, first, other)[2] == "this study did not compute it"


def test_median_leaves_out_where_a_metric_has_no_meaning_but_no_failure(outcome):
    one_batch = {"dataset": "pbmc-95k", "value": math.nan, "note": "not applicable: one batch"}
    failed = one_batch | {"note": "gate: 3 rows are NaN"}
    assert outcome(FIVE, {}, one_batch) == (0.5, "agrees", "")
    assert outcome(FIVE, {}, failed)[1:] == ("not run here", "gate: 3 rows are NaN")


def test_ledger_of_the_real_file_has_a_row_a_number_and_a_reason_for_each_gap(home):
    scores = pd.DataFrame([RUN | {"dataset": "simulated-atlas"}])
    ledger = published.ledger(scores)
    assert list(ledger.columns) == published.COLUMNS
    assert list(ledger["id"]) == [number.name for number in published.load()]
    absent = ledger["status"] == "not run here"
    assert absent.all() and (ledger["reason"] != "").all() and ledger["ours"].isna().all()


# -- the pretraining objective ---------------------------------------------------------------------


class Stored(dict):
    """An artifact in memory."""

    def load(self, name: str) -> pd.DataFrame:
        return self[name]


def test_reconstructions_are_summarised_as_published(outcome):
    rows = [
        (prediction, positions, fraction, 4.0 + fraction, 2.0)
        for prediction in ("GEP", "GEPC", "grand mean", "gene mean")
        for positions in ("all", "masked")
        for fraction in (0.0, 0.5)
    ]
    errors = pd.DataFrame(rows, columns=["prediction", "positions", "masked_fraction", "mse", "mae"])
    rows = [
        (predictor, fraction, value + fraction)
        for predictor in ("model", "mean rank (as the paper)", "mean rank (of the cell's genes)")
        for fraction in (0.0, 0.5)
        for value in (0.1, 0.2, 0.3)
    ]
    correlations = pd.DataFrame(rows, columns=["predictor", "masked_fraction", "correlation"])
    stored = {
        "scgpt-human": Stored(errors=errors),
        "geneformer-v1-10m": Stored(correlations=correlations),
    }
    table = pd.concat(
        published.summarise(model, artifact).assign(dataset="pancreas", model=model, recipe="paper")
        for model, artifact in stored.items()
    )
    assert set(table["metric"]) == set(published.RECONSTRUCTED) and not set(table["metric"]) & set(
        metrics.METRICS
    )
    of = table.set_index(["metric", "statistic"])["value"]
    assert of["mse_gep", "mean over positions"] == 4 and of["mae_grand_mean", "mean over positions"] == 2
    assert math.isclose(of["rank_correlation", "median over cells"], 0.2)
    assert math.isclose(of["mean_rank_correlation", "std over cells"], 0.1)
    number = {"model": "geneformer-v1-10m", "metric": "rank_correlation", "value": 0.3}
    runs = {"model": "geneformer-v1-10m", "recipe": "paper"}
    highest = number | {"statistic": "highest over cells"}
    assert outcome(highest, runs, reconstructions=table)[1] == "agrees"
    part = outcome(highest, runs | {"subset": "500"}, reconstructions=table)
    assert part[2] == "only a part of the cells is in this study"
    assert outcome(highest, runs)[2] == "this study did not compute it"
    assert published.summarise("pca", None).empty


# -- the chapter -----------------------------------------------------------------------------------


def test_figure_of_what_compares(outcome, publish):
    publish({}, {"metric": "ari"}, {"metric": "asw_label"})
    runs = [{}, {"metric": "ari", "value": 0.9}]
    ledger = published.ledger(pd.DataFrame([RUN | run for run in runs]))
    compared = ledger[ledger["ours"].notna()]
    assert list(compared["status"]) == ["agrees", "differs"]
    (axis,) = figures.draw_published(compared).axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["number-0", "number-1"]


def test_chapter_is_executed_again_when_a_published_number_changes(home, publish):
    def inputs(chapter: str) -> dict:
        (page,) = [page for page in study.chapters(catalog.study("smoke")) if page.notebook == chapter]
        return page.inputs

    before, other = inputs("published"), inputs("03_batches")
    publish({"value": 0.6})
    assert inputs("published") != before and inputs("03_batches") == other
    modules = dependencies.modules_of_notebook(paths.notebooks() / "published.ipynb")
    assert "zeroshot.results.published" in modules
