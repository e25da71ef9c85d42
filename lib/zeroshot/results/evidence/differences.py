"""Paired differences: a model minus a baseline on the same data, as each source measured them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.core.groupby import SeriesGroupBy

from .tables import measures, methods, sources

MODEL_KINDS = ("foundation", "text")
# What is compared within one source.
MATCHED = ("source", "area", "task", "dataset", "measure", "metric")
# A model as its source ran it: checkpoint and setting apart.
VARIANT = ("method", "model", "checkpoint", "setting")
DIFFERENCE_COLUMNS = (
    *MATCHED, *VARIANT, "baseline", "baseline_model", "sees_labels", "replicate", "value", "baseline_value",
    "difference", "leak",
)  # fmt: skip
SUMMARY_COLUMNS = (
    "n", "over", "mean", "median", "low", "high", "wins", "ties", "losses", "n_leak", "n_variants",
)  # fmt: skip
TIE = 0.01  # a smaller difference on one data set counts as a tie
_FEWEST = 3  # values of an interval


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without what is there twice.

    Of a benchmark that was run several times the newest run is kept: methods, data sets and code changed
    between runs, so that they show the noise and are no replicates. Models whose values a source took
    over from another one (``repeats`` of its entry) are dropped.
    """
    cards = sources()
    newest = {name: source.latest for name, source in cards.items() if source.latest}
    repeated = {(name, model) for name, source in cards.items() for model in source.repeats}
    version = rows["source"].map(newest)
    twice = [pair in repeated for pair in zip(rows["source"], rows["model"], strict=True)]
    return rows[(version.isna() | rows["replicate"].eq(version)) & ~np.array(twice)].reset_index(drop=True)


def paired(
    rows: pd.DataFrame,
    *,
    baselines: Sequence[str] | None = None,
    settings: Sequence[str] = ("zero-shot", "fine-tuned", "trained-on-target"),
) -> pd.DataFrame:
    """Return model minus baseline for every data set and replicate that both have.

    Replicates are paired where model and baseline have the same ones on a data set; elsewhere the means
    over replicates are compared, and ``replicate`` is "". Nothing is compared across sources, except with
    the sources that an entry names in ``compared_with``.

    Parameters
    ----------
    rows
        As :func:`load` returns them, usually after :func:`comparable`. Rows that are marked as faults, costs
        and reference values are skipped.
    baselines
        Names of baselines in ``methods.yml``; all if None.
    settings
        Of the models.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`DIFFERENCE_COLUMNS`. ``difference`` is positive where the model is better, whatever
        the direction of the metric. ``sees_labels`` is true where the baseline was fitted with labels;
        ``leak`` where the model probably saw the data in pretraining.
    """
    usable = rows[~rows["fault"] & ~rows["area"].isin(["cost", "reference"])]
    of_models = usable[usable["kind"].isin(MODEL_KINDS) & usable["setting"].isin(settings)]
    names = [name for name, card in methods().items() if card.kind == "baseline"]
    of_baselines = usable[usable["method"].isin(names if baselines is None else list(baselines))]
    of_baselines = pd.concat([of_baselines, *_of_other_sources(of_baselines)], ignore_index=True)
    model = _means(of_models, VARIANT)
    baseline = _means(of_baselines, ("method", "model"))
    keys = list(MATCHED)
    pairs = model.merge(
        baseline.rename(columns={"method": "baseline", "model": "baseline_model", "leak": "_"}),
        on=keys,
        suffixes=("", "_of_baseline"),
    )
    if pairs.empty:
        return pd.DataFrame(columns=list(DIFFERENCE_COLUMNS))
    pairs = _by_replicate(pairs)
    direction = {name: 1 if card.higher_is_better else -1 for name, card in measures().items()}
    sees_labels = {name: card.sees_labels for name, card in methods().items()}
    pairs["difference"] = (pairs["value"] - pairs["baseline_value"]) * pairs["measure"].map(direction)
    pairs["sees_labels"] = pairs["baseline"].map(sees_labels)
    return pairs[list(DIFFERENCE_COLUMNS)].reset_index(drop=True)


def _of_other_sources(of_baselines: pd.DataFrame) -> list[pd.DataFrame]:
    """Baselines of other sources under the name of the source that is compared with them."""
    return [
        of_baselines[of_baselines["source"].eq(other)].assign(source=name)
        for name, source in sources().items()
        for other in source.compared_with
    ]


def _means(rows: pd.DataFrame, variant: Sequence[str]) -> pd.DataFrame:
    """One row for each variant on each data set: its values by replicate as a tuple, and their mean."""
    keys = [*MATCHED, *variant]
    by_replicate = rows.groupby([*keys, "replicate"], sort=False, as_index=False).agg(
        value=("value", "mean"), leak=("leak", "any")
    )
    return by_replicate.groupby(keys, sort=False, as_index=False).agg(
        replicates=("replicate", tuple), values=("value", tuple), leak=("leak", "any")
    )


def _by_replicate(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row for each replicate that is paired, one with the means where none are."""
    same = [
        len(mine) > 1 and sorted(mine) == sorted(theirs)
        for mine, theirs in zip(pairs["replicates"], pairs["replicates_of_baseline"], strict=True)
    ]
    unpaired, matched = pairs[~np.array(same)], pairs[np.array(same)]
    means = unpaired.assign(
        replicate="",
        value=unpaired["values"].map(np.mean),
        baseline_value=unpaired["values_of_baseline"].map(np.mean),
    )
    theirs = [
        tuple(
            dict(zip(row.replicates_of_baseline, row.values_of_baseline, strict=True))[r]
            for r in row.replicates
        )
        for row in matched.itertuples()
    ]
    single = matched.assign(replicate=matched["replicates"], value=matched["values"], baseline_value=theirs)
    single = single.explode(["replicate", "value", "baseline_value"])
    parts = [part for part in (means, single) if len(part)]
    return pd.concat(parts, ignore_index=True).astype({"value": float, "baseline_value": float})


def headline(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the differences of the metrics that stand for their area, as one mean for each.

    The mean is over the metrics marked ``headline`` in ``measures.yml`` that model and baseline both have
    on a data set (of clustering ARI, NMI and ASW of labels, or AvgBIO), and over the tasks of an area
    (splits and numbers of labels). ``task``, ``measure`` and ``metric`` are dropped.
    """
    names = [name for name, card in measures().items() if card.headline]
    keys = ["source", "area", "dataset", *VARIANT, "baseline", "baseline_model", "sees_labels", "replicate"]
    return (
        pairs[pairs["measure"].isin(names)]
        .groupby(keys, sort=False, as_index=False)
        .agg(difference=("difference", "mean"), leak=("leak", "any"))
    )


def summarise(
    pairs: pd.DataFrame,
    by: Sequence[str] = ("source", "area", "method", "setting", "baseline"),
    tie: float = TIE,
) -> pd.DataFrame:
    """Return mean difference, interval, wins, ties and losses of each group of differences.

    What is in a group is first averaged to one value for each data set: over replicates, and over whatever
    ``by`` does not name (models, checkpoints and settings, tasks, metrics).

    Parameters
    ----------
    pairs
        As :func:`paired` or :func:`headline` returns them.
    by
        Columns that name a group; ``source`` must be one of them.
    tie
        A data set counts as a tie where the difference is at most this large.

    Returns
    -------
    pandas.DataFrame
        The columns ``by`` and :data:`SUMMARY_COLUMNS`. ``low`` and ``high`` are the ends of the 95 % t
        interval of the mean over data sets, or over what a source has in their place (terms, splits of one
        data set: ``unit`` of its entry); with one data set over its replicates. ``over`` says which. NaN with
        fewer than three values. Data sets count equally. ``n_variants`` counts the models, checkpoints and
        settings that were averaged.
    """
    if "source" not in by:
        raise ValueError("`by` must name 'source': sources measure different things and are not pooled")
    by = list(by)
    of_replicate = pairs.groupby([*by, "dataset", "replicate"], sort=False)["difference"].mean()
    of_dataset = pairs.groupby([*by, "dataset"], sort=False).agg(
        difference=("difference", "mean"), leak=("leak", "any")
    )
    of_dataset["wins"] = of_dataset["difference"] > tie
    of_dataset["losses"] = of_dataset["difference"] < -tie
    of_dataset["ties"] = of_dataset["difference"].abs() <= tie
    groups = of_dataset.groupby(by, sort=False)
    table = groups["difference"].agg(n="size", mean="mean", median="median")
    table[["low", "high"]] = _intervals(groups["difference"])
    units = {name: source.unit for name, source in sources().items()}
    of_source = table.index.get_level_values("source").map(lambda name: units.get(name, "data set"))
    table["over"] = np.where(table["low"].notna(), of_source, "")
    table[["wins", "ties", "losses"]] = groups[["wins", "ties", "losses"]].sum().astype(int)
    table["n_leak"] = groups["leak"].sum().astype(int)
    table["n_variants"] = pairs.drop_duplicates([*by, *VARIANT]).groupby(by, sort=False).size()
    within = _intervals(of_replicate.groupby(by, sort=False)).reindex(table.index)
    single = table["n"].eq(1) & within["low"].notna()
    table.loc[single, ["low", "high"]] = within[single]
    table.loc[single, "over"] = "replicate"
    return table.reset_index()[[*by, *SUMMARY_COLUMNS]]


def of_variants(
    pairs: pd.DataFrame, baselines: Sequence[str], by: Sequence[str] = ("area", "source", "method")
) -> pd.DataFrame:
    """Return the mean difference of each variant of a model, where a source has several of it.

    Parameters
    ----------
    pairs
        As :func:`headline` returns them.
    baselines
        Names in ``methods.yml``.
    by
        Columns within which the variants are those of one model.

    Returns
    -------
    pandas.DataFrame
        The columns ``by``, ``variant`` (its name in the source, and its checkpoint where that is another
        name), ``n`` data sets at most, and the mean difference from each baseline by name, NaN where they
        were not compared.
    """
    other = pairs["checkpoint"].ne("") & pairs["checkpoint"].ne(pairs["model"])
    named = pairs.assign(variant=pairs["model"].where(~other, pairs["model"] + ", " + pairs["checkpoint"]))
    named = named[named["baseline"].isin(list(baselines))]
    several = named.groupby(list(by))["variant"].transform("nunique") > 1
    keys = [*by, "variant"]
    summary = summarise(named[several], (*keys, "baseline"))
    wide = summary.pivot(index=keys, columns="baseline", values="mean").reindex(columns=list(baselines))
    wide = wide.rename_axis(columns=None).assign(n=summary.groupby(keys)["n"].max())
    return wide.reset_index()[[*keys, "n", *baselines]]


def _intervals(groups: SeriesGroupBy) -> pd.DataFrame:
    """95 % t intervals of the means, NaN where there are too few values."""
    from scipy import stats

    n = groups.size()
    half = stats.t.ppf(0.975, n.clip(lower=2) - 1) * groups.std() / np.sqrt(n)
    half = half.where(n >= _FEWEST)
    return pd.DataFrame({"low": groups.mean() - half, "high": groups.mean() + half})
