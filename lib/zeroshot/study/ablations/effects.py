"""What ablations say: paired differences to the first variant, verdicts, and curves along a scale."""

import numpy as np
import pandas as pd

from zeroshot import catalog, metrics, results

from .tables import Tables

EFFECT_COLUMNS = [
    "dataset", "method", "model", "difference", "low", "high", "verdict", "same_as", "metric", "reference",
]  # fmt: skip


def effects(tables: Tables) -> pd.DataFrame:
    """How far each variant is from the first of its model, and whether that is more than chance.

    Parameters
    ----------
    tables
        Rows of one ablation, see :meth:`Tables.select`.

    Returns
    -------
    pandas.DataFrame
        Columns of :func:`zeroshot.results.differences`, ``metric``, ``reference`` and ``same_as``. Pairs
        without an interval are left out.
    """
    parts = []
    for (metric, model), scores in tables.scores.groupby(["metric", "model"], sort=False):
        subsamples = tables.subsamples[tables.subsamples["model"] == model]
        reference = scores["method"].iloc[0]
        table = results.differences(scores, subsamples, metric, reference)
        table = table.merge(scores[["dataset", "method", "same_as"]], on=["dataset", "method"])
        if len(table):
            parts.append(table.assign(metric=metric, reference=reference))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=EFFECT_COLUMNS)


def clear_of_chance(effects: pd.DataFrame, tables: Tables, floor: pd.DataFrame) -> pd.DataFrame:
    """Effects on what can become worse: the first variant of its model is better than random numbers.

    Parameters
    ----------
    effects
        As :func:`effects` returns it for one metric where higher is better.
    tables
        The tables that the effects were made of.
    floor
        Scores of random numbers on the same cells by this metric, the ablation "floor".

    Returns
    -------
    pandas.DataFrame
        The rows of the data sets and models whose interval lies above that of random numbers.
    """
    if effects.empty:
        return effects
    scores = tables.scores[tables.scores["metric"].isin(effects["metric"])]
    first = scores.drop_duplicates(["dataset", "model"]).set_index(["dataset", "model"])["low"]
    level = floor.set_index("dataset")["high"]
    clear = first > first.index.get_level_values("dataset").map(level)
    return effects[clear.loc[pd.MultiIndex.from_frame(effects[["dataset", "model"]])].to_numpy()]


def score_curves(tables: Tables, metric: str) -> pd.DataFrame:
    """Scores of variants that are steps of a scale, as :func:`zeroshot.figures.draw_curves` takes them.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, model, line (title of the model), step (name of the variant), value, low and high.
    """
    rows = tables.scores[tables.scores["metric"] == metric].rename(columns={"method": "step"})
    columns = ["dataset", "model", "line", "step", "value", "low", "high"]
    return rows.assign(line=_titles(rows["model"]))[columns].reset_index(drop=True)


def overlap_curves(tables: Tables) -> pd.DataFrame:
    """Neighbours in common with the first variant, in the columns of :func:`score_curves`; no intervals."""
    pairs = tables.similarity.groupby(["dataset", "model"], sort=False)
    with_first = tables.similarity[tables.similarity["first"] == pairs["first"].transform("first")]
    rows = with_first.rename(columns={"second": "step", "overlap": "value"})
    rows = rows.assign(line=_titles(with_first["model"]), low=np.nan, high=np.nan)
    return rows[["dataset", "model", "line", "step", "value", "low", "high"]].reset_index(drop=True)


def tabulate(effects: pd.DataFrame, model: str) -> pd.DataFrame:
    """Every effect of a model's variants as text: a row per data set and metric, a column per variant.

    Parameters
    ----------
    effects
        As :func:`effects` returns it.
    model
        Name of a model in it.

    Returns
    -------
    pandas.DataFrame
        "+0.012 ± 0.030": difference and half of its interval; ▲ behind it where the variant is better than
        the first, ▼ where it is worse, nothing for a tie; "–" without an interval.
    """
    marks = {"better": " ▲", "worse": " ▼", "tie": ""}
    rows = effects[effects["model"] == model]
    texts = [
        f"{round(row.difference, 3) + 0.0:+.3f} ± {row.high - row.difference:.3f}{marks[row.verdict]}"
        for row in rows.itertuples()  # + 0.0: no "-0.000"
    ]
    labels = [metrics.METRICS[name].label for name in rows["metric"]]
    table = rows.assign(metric=labels, text=texts)
    wide = table.pivot(index=["dataset", "metric"], columns="method", values="text")
    order = table[["dataset", "metric"]].drop_duplicates().sort_values("dataset", kind="stable")
    wide = wide.loc[list(order.itertuples(index=False, name=None)), list(dict.fromkeys(rows["method"]))]
    return wide.rename_axis(columns=None).fillna("–")


def verdicts(effects: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of :func:`effects` by one metric: a row per data set and model, a column per variant.

    Returns
    -------
    pandas.DataFrame
        "better", "tie" or "worse", as text; "–" without an interval.
    """
    wide = effects.assign(model=_titles(effects["model"])).pivot(
        index=["dataset", "model"], columns="method", values="verdict"
    )
    return wide[list(dict.fromkeys(effects["method"]))].rename_axis(columns=None).fillna("–")


def convention_table(conventions: pd.DataFrame) -> pd.DataFrame:
    """Conventions as a reader sees them, each once.

    Parameters
    ----------
    conventions
        The table of :class:`Tables`.

    Returns
    -------
    pandas.DataFrame
        Columns model (its title), convention, same parameters, changes and source.
    """
    rows = conventions.drop_duplicates(["model", "convention"]).drop(columns="dataset")
    texts = rows.assign(
        model=_titles(rows["model"]),
        also=rows["also"].replace("", "–"),
        changes=rows["changes"].replace("", "–"),
    )
    return texts.rename(columns={"also": "same parameters"})


def failure_list(failures: pd.DataFrame, *ablations: str) -> str | None:
    """The failures of some ablations as text, each with its model, data set and error; None without any."""
    rows = failures[failures["ablation"].isin(ablations)]
    titles = _titles(rows["model"])
    texts = [
        f"{row.ablation} of {title} on {row.dataset} ({row.error})"
        for row, title in zip(rows.itertuples(), titles, strict=True)
    ]
    return "; ".join(texts) or None


def _titles(models: pd.Series) -> list[str]:
    titles = {name: catalog.model(name).title for name in models.unique()}
    return [titles[name] for name in models]
