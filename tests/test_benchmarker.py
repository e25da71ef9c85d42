"""Tables in the layout of scib-metrics' Benchmarker, written and read."""

import io

import numpy as np
import pandas as pd
import pytest

from zeroshot import metrics, results
from zeroshot.runtime import compilation

VALUES = {"PCA": 0.5, "scVI": 0.8}


@pytest.fixture
def scores():
    """Two methods, all metrics, each value another one."""
    rows = [
        ("toy", method, name, metric.group, base + place / 100)
        for method, base in VALUES.items()
        for place, (name, metric) in enumerate(metrics.METRICS.items())
    ]
    return pd.DataFrame(rows, columns=["dataset", "method", "metric", "group", "value"])


def of_scib_metrics(scores):
    """The same values as scib-metrics' own code lays them out."""
    with compilation.keep_code():
        from scib_metrics.benchmark import Benchmarker
    from scib_metrics.benchmark._core import metric_name_cleaner

    theirs = {clean: raw for raw, clean in metric_name_cleaner.items()}
    groups = {"annotation": "Bio conservation", "integration": "Batch correction"}
    raw = {theirs[clean]: ours for ours, clean in results.BENCHMARKER_NAMES.items()}
    wide = scores.pivot(index="metric", columns="method", values="value")
    benchmarker = Benchmarker.__new__(Benchmarker)
    benchmarker._results = wide.loc[list(raw.values())].set_axis(list(raw)).rename_axis(columns=None)
    benchmarker._results["Metric Type"] = [groups[metrics.METRICS[ours].group] for ours in raw.values()]
    benchmarker._batch_correction_metrics = benchmarker._bio_conservation_metrics = object()
    return benchmarker.get_results(min_max_scale=False)


def test_table_is_that_of_scib_metrics(scores):
    ours, theirs = results.to_benchmarker(scores, "toy"), of_scib_metrics(scores)
    assert list(ours.index) == list(theirs.index) == ["PCA", "scVI", "Metric Type"]
    assert ours.index.name == theirs.index.name == "Embedding"
    assert set(ours.columns) == set(theirs.columns)
    for column in theirs:
        assert ours.loc["Metric Type", column] == theirs.loc["Metric Type", column], column
        for method in VALUES:
            assert ours.loc[method, column] == pytest.approx(theirs.loc[method, column]), column


@pytest.mark.parametrize("through_csv", [False, True])
def test_table_of_scib_metrics_is_read(scores, through_csv):
    table = of_scib_metrics(scores)
    if through_csv:
        table = pd.read_csv(io.StringIO(table.to_csv()), index_col=0)
    read = results.from_benchmarker(table, "toy")
    assert list(read.columns) == ["dataset", "method", "metric", "group", "value"]
    both = read.merge(scores, on=["dataset", "method", "metric", "group"], suffixes=("", "_ours"))
    assert len(both) == len(read) == 2 * len(results.BENCHMARKER_NAMES)
    assert both["value"].to_numpy() == pytest.approx(both["value_ours"].to_numpy())


def test_what_does_not_apply_has_no_column(scores):
    scores.loc[scores["group"] == "integration", "value"] = np.nan
    table = results.to_benchmarker(scores, "toy")
    assert "iLISI" not in table and "Total" not in table and "Bio conservation" in table


def test_metrics_that_are_not_ours_keep_their_name(scores):
    table = of_scib_metrics(scores).assign(KBET=[0.1, 0.2, "Batch correction"])
    read = results.from_benchmarker(table, "toy")
    assert read.loc[read["metric"] == "KBET", "value"].tolist() == [0.1, 0.2]


def test_wrong_tables_are_refused(scores):
    with pytest.raises(LookupError, match="no scores of 'other'; there are toy"):
        results.to_benchmarker(scores, "other")
    with pytest.raises(ValueError, match="it has no row 'Metric Type'"):
        results.from_benchmarker(pd.DataFrame({"iLISI": [0.5]}, index=["PCA"]), "toy")
