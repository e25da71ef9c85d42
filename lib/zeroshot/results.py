"""The tidy scores of a study, one row per data set, model, recipe and metric, and comparisons of methods."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot import catalog, kept, metrics, paths, stamp, store

COLUMNS = [
    "study", "dataset", "model", "recipe", "metric", "group", "value", "low", "high", "note",
    "subset", "n_cells", "seed", "seeds", "seed_sd", "seen_in_pretraining", "artifact",
]  # fmt: skip
SUBSAMPLE_COLUMNS = ["dataset", "model", "recipe", "metric", "subsample", "value", "cells"]
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
COST_COLUMNS = ["dataset", "model", "recipe", "n_cells", "seconds", "peak_memory_mb", "device"]


@dataclass(frozen=True)
class Tables:
    """What a study's run pages hold.

    Attributes
    ----------
    scores
        Columns :data:`COLUMNS`, sorted by data set, model, recipe and the order of the metrics.
    subsamples
        The same scores on subsamples of the cells, columns :data:`SUBSAMPLE_COLUMNS`, sorted alike.
    costs
        What each embedding took, columns :data:`COST_COLUMNS`: wall-clock seconds, and the largest
        resident memory of the process while it was computed, in MiB.
    """

    scores: pd.DataFrame
    subsamples: pd.DataFrame
    costs: pd.DataFrame


TABLES = tuple(field.name for field in fields(Tables))  # each is a CSV file of the study, and is kept


def collect(study: str, pages: Iterable[Path]) -> Tables:
    """Gather the scores that executed run pages name in their stamps, and what they cost.

    Parameters
    ----------
    study
        Name of the study the rows belong to.
    pages
        Executed run notebooks.

    Raises
    ------
    LookupError
        If a page names scores that are not in the store any more.
    """
    tables = [_of_page(study, page) for page in pages]
    return Tables(
        _stacked([of_page.scores for of_page in tables], COLUMNS),
        _stacked([of_page.subsamples for of_page in tables], SUBSAMPLE_COLUMNS),
        _stacked([of_page.costs for of_page in tables], COST_COLUMNS),
    )


def _stacked(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["dataset", "model", "recipe"], kind="stable", ignore_index=True)[columns]


def _of_page(study: str, page: Path) -> Tables:
    made = stamp.read(page)
    artifacts = {artifact["stage"]: artifact for artifact in made["artifacts"]}
    stored = _stored(page, artifacts["scores"])
    by_seed = _stored(page, artifacts["other-seeds"]) if "other-seeds" in artifacts else None
    parameters = made["parameters"]
    run = {
        "dataset": parameters["dataset"],
        "model": parameters["model"],
        "recipe": parameters["recipe"] or catalog.model(parameters["model"]).recipe,
    }
    final = (by_seed or stored).load("scores")  # with the spread over seeds, where there is one
    scores = final.assign(
        study=study,
        **run,
        subset=parameters["subset"] or "all",
        n_cells=made["n_cells"],
        seed=parameters["seed"],
        seen_in_pretraining=catalog.seen_in_pretraining(run["model"], run["dataset"]),
        artifact=stored.key,
    )
    # An embedding that failed the integrity gate has none.
    subsamples = stored.load("subsamples").assign(**run) if "subsamples" in stored else pd.DataFrame()
    cost = {name: artifacts["embedding"][name] for name in ("seconds", "peak_memory_mb")}
    costs = pd.DataFrame([{**run, "n_cells": made["n_cells"], **cost, "device": made["device"]}])
    return Tables(scores, subsamples, costs)


def _stored(page: Path, artifact: dict[str, Any]) -> store.Artifact:
    stored = store.Artifact(paths.artifacts() / artifact["stage"] / artifact["key"], reused=True)
    if not stored.path.is_dir():
        raise LookupError(
            f"{page.name} names {artifact['stage']} {artifact['key']}, which are not in {paths.artifacts()}. "
            "Delete the page and run the study again."
        )
    return stored


def load(study: str) -> pd.DataFrame:
    """The scores of a study, read from ``build/studies/<study>/scores.csv``.

    With ``ZEROSHOT_SCORES=kept`` this and the functions below read what git keeps, see :mod:`zeroshot.kept`.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, and ``method``: the title of the model, with the recipe where it is
        not the model's default.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return _read(study, "scores.csv", {})[[*COLUMNS, "method"]]


def load_subsamples(study: str) -> pd.DataFrame:
    """The scores on subsamples of the cells, read from ``build/studies/<study>/subsamples.csv``.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`SUBSAMPLE_COLUMNS` and ``method``. The subsamples of a data set are the same cells
        for every method.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return _read(study, "subsamples.csv", {})[[*SUBSAMPLE_COLUMNS, "method"]]


def load_costs(study: str) -> pd.DataFrame:
    """What each embedding of a study took, read from ``build/studies/<study>/costs.csv``.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COST_COLUMNS` and ``method``.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return _read(study, "costs.csv", {})[[*COST_COLUMNS, "method"]]


def tables(study: str) -> dict[str, pd.DataFrame]:
    """Every table of a study by its name in :data:`TABLES`, each with the column ``method``.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return {name: _read(study, f"{name}.csv", {}) for name in TABLES}


def _read(study: str, name: str, types: dict[str, type]) -> pd.DataFrame:
    if paths.reads_kept_scores():
        table = kept.read(study, Path(name).stem)
    else:
        table = _read_computed(paths.study(study) / name, study, types)
    runs = list(zip(table["model"], table["recipe"], strict=True))
    titles = {run: catalog.model(run[0]).method(run[1]) for run in set(runs)}  # a look-up takes a millisecond
    return table.assign(method=[titles[run] for run in runs])


def _read_computed(path: Path, study: str, types: dict[str, type]) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Run the study first: `zeroshot run {study}`.")
    return pd.read_csv(
        path,
        keep_default_na=False,
        na_values={column: [""] for column in ("value", "low", "high", "seed_sd")},
        dtype={"subset": str, "artifact": str} | types,  # which may be digits only
        float_precision="round_trip",
    )


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
        than the reference where the interval excludes 0, else "tie". Pairs without an interval are left
        out.

    Raises
    ------
    LookupError
        If the reference was not scored.
    """
    whole = scores[scores["metric"] == metric].set_index(["dataset", "method"])
    parts = (
        subsamples[subsamples["metric"] == metric].set_index(["dataset", "method", "subsample"]).sort_index()
    )
    if reference not in whole.index.get_level_values("method"):
        known = ", ".join(sorted(whole.index.get_level_values("method").unique()))
        raise LookupError(f"no method is called {reference!r} in these scores; there are {known}")
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
        half = metrics.half_width(apart, int(first["cells"].iloc[0]), int(row["n_cells"]), of_seeds)
        difference = row["value"] - other["value"]
        if np.isnan(difference + half):
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


def keep(study: str) -> list[Path]:
    """Write the tables of a study to ``data/scores``, which git follows; see :mod:`zeroshot.kept`.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return kept.write(study, tables(study))


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
    chosen = scores[scores["dataset"].eq(dataset) & scores["metric"].isin(BENCHMARKER_NAMES)]
    if chosen.empty:
        raise LookupError(f"no scores of {dataset!r}; there are {', '.join(scores['dataset'].unique())}")
    table = chosen.pivot(index="method", columns="metric", values="value").dropna(axis="columns", how="all")
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
        raise ValueError("this is no table of a Benchmarker: it has no row 'Metric Type'")
    types = table.loc["Metric Type"]
    kept = table.drop(index="Metric Type").loc[:, types != "Aggregate score"]
    rows = kept.rename_axis(index="method", columns="metric").stack().astype(float).rename("value")  # noqa: PD013
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


def wide(scores: pd.DataFrame, metric: str, *, ascending: bool = False) -> pd.DataFrame:
    """One metric as a table: methods in rows by their median, data sets in columns.

    ``ascending`` puts the lowest median first, for metrics where lower is better.
    """
    chosen = scores[scores["metric"] == metric]
    table = chosen.pivot(index="method", columns="dataset", values="value")
    table = table[list(dict.fromkeys(chosen["dataset"]))]
    order = table.median(axis=1).sort_values(ascending=ascending)
    return table.loc[order.index].rename_axis(columns=None)


def winners(scores: pd.DataFrame, subsamples: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The best method on each data set, and those that cannot be told from it; controls are left out.

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
        :func:`differences` compares them. Data sets without a score are left out.
    """
    kinds = {model: catalog.model(model).kind for model in scores["model"].unique()}
    candidates = scores[
        scores["metric"].eq(metric) & scores["value"].notna() & scores["model"].map(kinds).ne("control")
    ]
    tables = []
    for dataset, rows in candidates.groupby("dataset", sort=False):
        ordered = rows.sort_values("value", ascending=not metrics.METRICS[metric].higher_is_better)
        best = ordered["method"].iloc[0]
        compared = differences(rows, subsamples[subsamples["dataset"] == dataset], metric, best)
        tied = set(compared.loc[compared["verdict"] == "tie", "method"])
        places = {best: "best"} | dict.fromkeys(tied, "tied with the best")
        found = ordered[ordered["method"].isin(places)]
        tables.append(found[["dataset", "method", "value"]].assign(place=found["method"].map(places)))
    columns = ["dataset", "method", "value", "place"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.results STUDY SCORES SUBSAMPLES COSTS PAGE…``: write what executed pages hold.

    One output for each of :data:`TABLES`, in that order.
    """
    study, *files = arguments
    found = collect(study, map(Path, files[len(TABLES) :]))
    for output, name in zip(files, TABLES, strict=False):  # what follows the outputs are the pages
        store.write_text(Path(output), getattr(found, name).to_csv(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
