"""The scores that are committed: every name is registered, every value lies in its range and interval."""

from pathlib import Path

import pandas as pd
import pytest

from zeroshot import catalog, metrics, results

FILES = sorted((Path(__file__).resolve().parents[1] / "data" / "scores").glob("*.csv"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kept_scores_are_those_of_a_study(file):
    table = pd.read_csv(file)
    study = catalog.study(file.stem)
    assert list(table.columns) == results.KEPT_COLUMNS and set(table["study"]) == {study.name}
    assert not table.duplicated(["dataset", "model", "recipe", "metric"]).any()
    assert set(table["dataset"]) == set(study.datasets)
    runs = {(card.name, recipe) for card, recipe in map(catalog.split_reference, study.models)}
    assert set(zip(table["model"], table["recipe"], strict=True)) <= runs
    assert set(table["metric"]) <= set(metrics.METRICS)  # a new metric waits for the next run of the study


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kept_scores_lie_in_their_range_and_interval(file):
    table = pd.read_csv(file).dropna(subset="value")
    assert table["value"].between(table["low"], table["high"]).all()
    for name, rows in table.groupby("metric"):
        ends = sorted([metrics.METRICS[name].worst, metrics.METRICS[name].best])
        assert rows["value"].between(*ends).all(), name
    oracle = table[table["model"].eq("label-oracle") & table["metric"].eq("avg_bio")]
    noise = table[table["model"].eq("random") & table["metric"].eq("avg_bio")]
    assert oracle["value"].min() > 0.95 and noise["value"].max() < 0.25
