"""Methods compared: side by side, paired with a reference on the same subsamples, and by their place."""

import numpy as np
import pandas as pd

from zeroshot import catalog, metrics

from .summaries import heading


def differences(
    scores: pd.DataFrame, subsamples: pd.DataFrame, metric: str, reference: str = "HVG"
) -> pd.DataFrame:
    """How far each method is from a reference on each data set, and whether that is more than chance.

    Both are scored on the same subsamples and the differences are paired, so what makes a subsample easy
    or hard for both cancels out. Where a method's embedding depends on its seed, how much its score varies
    over seeds is part of the interval.

    Parameters
    ----------
    scores, subsamples
        As :func:`load` and :func:`load_subsamples` return them.
    metric
        Name of a metric.
    reference
        The method that the others are compared with.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, method, model, difference (method minus reference, in units of the metric), low
        and high (95 % interval, see :func:`zeroshot.metrics.half_width`) and verdict: "better" or "worse"
        than the reference where the interval excludes 0, else "tie". Pairs without an interval, see
        :func:`zeroshot.metrics.no_interval`, are left out.

    Raises
    ------
    LookupError
        If methods were scored by this metric, but not the reference.
    """
    whole = scores[scores["metric"] == metric].set_index(["dataset", "method"])
    parts = (
        subsamples[subsamples["metric"] == metric].set_index(["dataset", "method", "subsample"]).sort_index()
    )
    if len(whole) and reference not in whole.index.get_level_values("method"):
        methods = ", ".join(sorted(whole.index.get_level_values("method").unique()))
        raise LookupError(f"no method is called {reference!r} in these scores; there are {methods}")
    direction = 1 if metrics.METRICS[metric].higher_is_better else -1
    rows = []
    for (dataset, method), row in whole.iterrows():
        pair = [(dataset, method), (dataset, reference)]
        if method == reference or not all(run in whole.index and run in parts.index for run in pair):
            continue
        first, second = (parts.loc[run] for run in pair)
        apart = (first["value"] - second["value"]).to_numpy()
        other = whole.loc[pair[1]]
        of_seeds = [(one["seed_sd"], one["seeds"]) for one in (row, other) if one["seeds"] > 1]
        cells, difference = (int(first["cells"].iloc[0]), int(row["n_cells"])), row["value"] - other["value"]
        clustered = [one["cluster_sd"] for one in (row, other) if not np.isnan(one["cluster_sd"])]
        of_seeds += [(deviation, metrics.CLUSTERINGS) for deviation in clustered]
        half = metrics.half_width(apart, *cells, of_seeds)
        without = metrics.no_interval(metric, difference, apart, *cells, difference=True)
        if np.isnan(difference + half) or without:
            continue
        favour = 0 if abs(difference) <= half else direction * np.sign(difference)
        rows.append(
            {
                "dataset": dataset,
                "method": method,
                "model": row["model"],
                "difference": difference,
                "low": difference - half,
                "high": difference + half,
                "verdict": {1: "better", -1: "worse", 0: "tie"}[int(favour)],
            }
        )
    columns = ["dataset", "method", "model", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def tally(comparison: pd.DataFrame) -> dict[str, int]:
    """How many pairs of methods were compared, and how many of them are better, ties and worse.

    Parameters
    ----------
    comparison
        Rows with a verdict, as :func:`differences` or :func:`zeroshot.study.ablations.effects` returns them.

    Returns
    -------
    dict
        Keys pairs, better, ties and worse.
    """
    counts = comparison["verdict"].value_counts()
    verdicts = {"better": "better", "ties": "tie", "worse": "worse"}
    return {"pairs": len(comparison)} | {
        name: int(counts.get(verdict, 0)) for name, verdict in verdicts.items()
    }


def winners(scores: pd.DataFrame, subsamples: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The best method on each data set, and those tied with it; controls are left out.

    Parameters
    ----------
    scores, subsamples
        As :func:`load` and :func:`load_subsamples` return them.
    metric
        Name of a metric.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, method, value and place: "best", or "tied with the best" as
        :func:`differences` says. Methods whose difference has no interval are in neither place, and data
        sets without a score are left out.
    """
    kinds = {model: catalog.model(model).kind for model in scores["model"].unique()}
    candidates = scores[
        scores["metric"].eq(metric) & scores["value"].notna() & scores["model"].map(kinds).ne("control")
    ]
    tables = []
    for dataset, rows in candidates.groupby("dataset", sort=False):
        ranking = rows.sort_values("value", ascending=not metrics.METRICS[metric].higher_is_better)
        best = ranking["method"].iloc[0]
        comparison = differences(rows, subsamples[subsamples["dataset"] == dataset], metric, best)
        tied = set(comparison.loc[comparison["verdict"] == "tie", "method"])
        places = {best: "best"} | dict.fromkeys(tied, "tied with the best")
        leaders = ranking[ranking["method"].isin(places)]
        tables.append(leaders[["dataset", "method", "value"]].assign(place=leaders["method"].map(places)))
    columns = ["dataset", "method", "value", "place"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def wide(scores: pd.DataFrame, metric: str, *, ascending: bool = False) -> pd.DataFrame:
    """One metric as a table: methods in rows by their median, data sets in columns.

    ``ascending`` puts the lowest median first, for metrics where lower is better.
    """
    selected = scores[scores["metric"] == metric]
    table = selected.pivot(index="method", columns="dataset", values="value")
    table = table[list(dict.fromkeys(selected["dataset"]))]
    order = table.median(axis=1).sort_values(ascending=ascending)
    return table.loc[order.index].rename_axis(columns=None)


def every(scores: pd.DataFrame) -> pd.DataFrame:
    """All metrics as one table: a row per data set and metric (label and direction), methods in columns."""
    rows = scores.assign(score=[heading(name) for name in scores["metric"]])
    return rows.pivot(index=["dataset", "score"], columns="method", values="value").rename_axis(columns=None)
