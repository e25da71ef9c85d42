"""Scores in the layout of scib-metrics' Benchmarker, written and read."""

import pandas as pd

from zeroshot import metrics

# Our metrics that a Benchmarker of scib-metrics computes too, and how its tables call them. Its KBET is
# another one, computed per label.
BENCHMARKER_NAMES = {
    "asw_label": "Silhouette label",
    "isolated_labels": "Isolated labels",
    "nmi_leiden": "Leiden NMI",
    "ari_leiden": "Leiden ARI",
    "clisi": "cLISI",
    "batch_integration_score": "Silhouette batch",
    "bras": "BRAS",
    "ilisi": "iLISI",
    "graph_connectivity": "Graph connectivity",
    "pcr_comparison": "PCR comparison",
}
_BENCHMARKER_GROUPS = {"annotation": "Bio conservation", "integration": "Batch correction"}


def to_benchmarker(scores: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Scores of one data set as ``scib_metrics.benchmark.Benchmarker.get_results`` lays them out.

    Parameters
    ----------
    scores
        As :func:`load` returns them.
    dataset
        Name of a data set in them.

    Returns
    -------
    pandas.DataFrame
        Index "Embedding": the methods, and a last row "Metric Type". Columns: the metrics of
        :data:`BENCHMARKER_NAMES` that apply to the data set, then the means "Batch correction" and
        "Bio conservation" and, where there are both, "Total" (0.4 and 0.6 of them).

    Raises
    ------
    LookupError
        If the data set is not in the scores.
    """
    selected = scores[scores["dataset"].eq(dataset) & scores["metric"].isin(BENCHMARKER_NAMES)]
    if selected.empty:
        raise LookupError(f"no scores of {dataset!r}; there are {', '.join(scores['dataset'].unique())}")
    table = selected.pivot(index="method", columns="metric", values="value").dropna(axis="columns", how="all")
    table = table[[name for name in BENCHMARKER_NAMES if name in table]]
    types = pd.Series({name: _BENCHMARKER_GROUPS[metrics.METRICS[name].group] for name in table})
    means = table.T.groupby(types).mean().T
    if means.shape[1] == 2:
        means["Total"] = 0.4 * means["Batch correction"] + 0.6 * means["Bio conservation"]
    full = pd.concat([table, means], axis=1).astype(object)
    full.loc["Metric Type"] = [*types[table.columns], *["Aggregate score"] * means.shape[1]]
    return full.rename(columns=BENCHMARKER_NAMES).rename_axis(index="Embedding", columns=None)


def from_benchmarker(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Tidy rows of a table that a Benchmarker of scib-metrics made, to set beside ours.

    Parameters
    ----------
    table
        What ``get_results()`` returns (with clean names, not min-max scaled), or its CSV read with
        ``index_col=0``.
    dataset
        Name for the cells it is about.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, method, metric, group and value. Metrics that are also ours have our name, others
        keep theirs; the means are left out.

    Raises
    ------
    ValueError
        If the table has no row "Metric Type".
    """
    if "Metric Type" not in table.index:
        raise ValueError("this is not a table of a Benchmarker: it has no row 'Metric Type'")
    types = table.loc["Metric Type"]
    columns = table.drop(index="Metric Type").loc[:, types != "Aggregate score"]
    rows = columns.rename_axis(index="method", columns="metric").stack().astype(float).rename("value")  # noqa: PD013
    tidy = rows.reset_index()
    groups = {theirs: ours for ours, theirs in _BENCHMARKER_GROUPS.items()}
    names = {theirs: ours for ours, theirs in BENCHMARKER_NAMES.items()}
    return pd.DataFrame(
        {
            "dataset": dataset,
            "method": tidy["method"],
            "metric": tidy["metric"].replace(names),
            "group": tidy["metric"].map(types).map(groups),
            "value": tidy["value"],
        }
    )
