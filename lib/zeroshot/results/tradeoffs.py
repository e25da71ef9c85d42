"""What the best method depends on: the weights of a total, and the Pareto front of scores and cost."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from zeroshot import catalog, metrics

from . import ranks

# Weight of biology in scIB's total; the other 0.4 are batch mixing (Luecken et al. 2022).
BIO_WEIGHT = 0.6


def means(scores: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Mean over data sets of several metrics, on the data sets that all methods have by all of them.

    Parameters
    ----------
    scores
        Tidy scores of a study, as :func:`zeroshot.results.load` returns them.
    names
        Names of metrics.

    Returns
    -------
    pandas.DataFrame
        A row per method and control (columns method, model, kind and the metrics) that has them on all of
        these data sets; ``attrs["datasets"]`` names the data sets. Which methods are compared is as for
        :func:`zeroshot.results.ranks.rank`.
    """
    tables = []
    for name in names:
        rows, controls = ranks.methods_and_controls(scores, name)
        complete, _ = ranks.complete(ranks.one_recipe_each(rows)[0])
        every = complete.join(controls.pivot(index="dataset", columns="method", values="value"))
        tables.append(every)
    datasets = [name for name in scores["dataset"].unique() if all(name in of.index for of in tables)]
    columns = {name: of.loc[datasets].mean(skipna=False) for name, of in zip(names, tables, strict=True)}
    table = pd.DataFrame(columns, columns=list(names)).dropna().rename_axis("method").reset_index()
    models = dict(zip(scores["method"], scores["model"], strict=True))
    table.insert(1, "model", table["method"].map(models))
    table.insert(2, "kind", [catalog.model(model).kind for model in table["model"]])
    table.attrs["datasets"] = datasets
    return table


def with_costs(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The means of methods with what their embedding cost, and who is on the Pareto front.

    Parameters
    ----------
    table
        As :func:`means` returns it, of metrics of which higher is better.
    runs
        As :func:`zeroshot.results.load_runs` returns them.

    Returns
    -------
    pandas.DataFrame
        ``table`` with seconds (median over the same data sets) and front, see :func:`pareto`: whether no
        other method is as good in all metrics and as fast, and better in one. No control is on the front,
        nor does one keep a method from it.
    """
    of_datasets = runs[runs["dataset"].isin(table.attrs["datasets"])]
    seconds = table["method"].map(of_datasets.groupby("method")["seconds"].median())
    table = table.assign(seconds=seconds.astype(float))
    methods = table[table["kind"].ne("control")]
    names = [name for name in table if name in metrics.METRICS]
    front = pareto(methods, names, ["seconds"]).reindex(table.index, fill_value=False)
    return table.assign(front=front)


def winners_by_weight(table: pd.DataFrame, bio: str, batch: str) -> pd.DataFrame:
    r"""The method with the highest total at each weight of biology against batch mixing.

    The total of a method is :math:`w\,b + (1 - w)\,m`, with *b* its mean score of biology and *m* that of
    batch mixing, as they are, or with the opposite sign where lower is better. Controls do not compete.

    Parameters
    ----------
    table
        As :func:`means` returns it.
    bio, batch
        Names of the two metrics, columns of the table.

    Returns
    -------
    pandas.DataFrame
        Columns method, low and high: the weights *w* of biology between which it wins, ascending from 0 to 1.
    """
    methods = table[table["kind"].ne("control")].dropna(subset=[bio, batch])
    names = methods["method"].to_numpy()
    if not len(names):
        return pd.DataFrame(columns=["method", "low", "high"])
    signs = [1 if metrics.METRICS[name].higher_is_better else -1 for name in (bio, batch)]
    at_one, at_zero = (methods[[bio, batch]] * signs).to_numpy().T
    slope = at_one - at_zero
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = -np.subtract.outer(at_zero, at_zero) / np.subtract.outer(slope, slope)
    inside = crossings[(crossings > 0) & (crossings < 1)]
    ends = np.unique(np.round([0, *inside, 1], 12))
    rows = []
    for low, high in itertools.pairwise(ends):
        name = names[np.argmax(at_zero + slope * (low + high) / 2)]
        if rows and rows[-1][0] == name:
            rows[-1] = (name, rows[-1][1], high)
        else:
            rows.append((name, low, high))
    return pd.DataFrame(rows, columns=["method", "low", "high"])


def weight_change(winners: pd.DataFrame, weight: float = BIO_WEIGHT) -> dict[str, float | str | None]:
    """The smallest change of the weight of biology after which another method wins.

    Parameters
    ----------
    winners
        As :func:`winners_by_weight` returns them.
    weight
        Of biology, from 0 to 1.

    Returns
    -------
    dict
        Keys winner, other (who wins beyond), change (of the weight, with its sign) and weight (from which on
        the other wins); the last three are None where one method wins at every weight, all where there is
        no method.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"the weight of biology must be from 0 to 1, not {weight:g}")
    nothing = dict.fromkeys(("winner", "other", "change", "weight"))
    if winners.empty:
        return nothing
    place = int(np.argmax(weight <= winners["high"]))
    row = winners.iloc[place]
    beyond = [
        (abs(end - weight), end, winners["method"].iloc[other])
        for other, end in ((place - 1, row["low"]), (place + 1, row["high"]))
        if 0 <= other < len(winners)
    ]
    if not beyond:
        return nothing | {"winner": row["method"]}
    _, end, other = min(beyond)
    return {"winner": row["method"], "other": other, "change": float(end - weight), "weight": float(end)}


def pareto(table: pd.DataFrame, higher: Sequence[str], lower: Sequence[str]) -> pd.Series:
    """Which rows no other row is at least as good as in everything and better in something.

    Parameters
    ----------
    table
        A row per method.
    higher, lower
        Columns in which more, and in which less is better.

    Returns
    -------
    pandas.Series
        True for the rows of the Pareto front. A row with a missing value is not on it.
    """
    values = np.column_stack([*(table[name] for name in higher), *(-table[name] for name in lower)])
    as_good = (values[:, None] >= values[None]).all(axis=2)
    better = (values[:, None] > values[None]).any(axis=2)
    return pd.Series(~(as_good & better).any(axis=0) & ~np.isnan(values).any(axis=1), index=table.index)
