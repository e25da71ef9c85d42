"""What a study says of labels from few labelled cells: curves, labels saved, and what others measured."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from zeroshot import catalog
from zeroshot.results import evidence
from zeroshot.results.summaries import candidates

SPLITS: Mapping[str, str] = MappingProxyType(
    {"random": "labelled cells of any batch", "batch-out": "labelled cells of other batches"}
)
CLASSIFIERS: Mapping[str, str] = MappingProxyType(
    {"knn": "nearest neighbours", "logistic": "logistic regression"}
)
PER_TYPE = "labelled cells per type"
STATISTICS: Mapping[str, str] = MappingProxyType({"accuracy": "accuracy", "macro_f1": "macro F1"})
# Of the sources of evidence, the one that has label budgets, and its splits in the order of their distance.
TUMOURS = "tme_benchmark"
TUMOUR_SPLITS = {
    "S1_within_dataset": "within a data set",
    "S2_leave_donor_out": "donor left out",
    "S3_leave_dataset_out": "data set left out",
}
_TUMOUR_TASK = r"cell_type_annotation_linear_probe\|(?P<split>\w+)\|budget=(?P<budget>\w+)"


def curves(labels: pd.DataFrame, statistic: str = "accuracy") -> pd.DataFrame:
    """Mean over data sets by number of labelled cells per type, with an interval over draws.

    Parameters
    ----------
    labels
        As :func:`zeroshot.results.load_labels` returns them.
    statistic
        A key of :data:`STATISTICS`.

    Returns
    -------
    pandas.DataFrame
        Columns method, model, split, classifier, per_type, value, low, high and n_datasets. ``low`` and
        ``high`` bound the 95 % interval of the mean over draws (Student's t), NaN for one draw: they say how
        much it matters which cells are labelled, not which data sets were taken. A number of labelled cells
        has the data sets that can give it.
    """
    catalog.find(STATISTICS, statistic, "statistic")
    keys = ["method", "model", "split", "classifier", "per_type"]
    return over_draws(labels[labels["statistic"].eq(statistic)], keys, counted="dataset")


def novelty(labels: pd.DataFrame) -> pd.DataFrame:
    """How well cells of a type without labelled cells are told by their distance.

    Returns
    -------
    pandas.DataFrame
        Row per method, best first: columns method, model, value (mean AUROC over types and data sets; chance
        is 0.5), low, high and n_datasets as in :func:`curves`.
    """
    table = over_draws(labels[labels["split"].eq("type-out")], ["method", "model"], counted="dataset")
    return table.sort_values("value", ascending=False, kind="stable", ignore_index=True)


def over_draws(rows: pd.DataFrame, keys: list[str], counted: str) -> pd.DataFrame:
    """Mean of ``value`` over draws with its 95 % interval (Student's t), NaN for one draw.

    Parameters
    ----------
    rows
        With the columns of ``keys``, ``counted``, draw and value.
    keys
        Columns that name what is averaged.
    counted
        Column whose different values are counted, such as "dataset".

    Returns
    -------
    pandas.DataFrame
        Columns of ``keys``, value, low, high and n_<counted>s.
    """
    from scipy.stats import t

    by_draw = rows.groupby([*keys, "draw"], sort=False)["value"].mean().reset_index()
    table = by_draw.groupby(keys, sort=False)["value"].agg(["mean", "std", "size"]).reset_index()
    half = t.ppf(0.975, (table["size"] - 1).clip(lower=1)) * table["std"] / np.sqrt(table["size"])
    table = table.assign(value=table["mean"], low=table["mean"] - half, high=table["mean"] + half)
    numbers = rows.groupby(keys, sort=False)[counted].nunique().rename(f"n_{counted}s").reset_index()
    return table.drop(columns=["mean", "std", "size"]).merge(numbers, on=keys)


def best(table: pd.DataFrame, counted: str = "n_datasets") -> tuple[str | None, float | None]:
    """The method with the highest value in a part of a table, and the value; controls are left out.

    So is a method that was not run on as many data sets as others, which the column ``counted`` has. None and
    None if there is no method to compare.
    """
    kinds = table["model"].map(lambda model: catalog.model(model).kind)
    compared = table[kinds.ne("control") & table[counted].eq(table[counted].max())]
    if compared.empty:
        return None, None
    first = compared.loc[compared["value"].idxmax()]
    return str(first["method"]), float(first["value"])


def tied(rows: pd.DataFrame, leader: str | None, counted: str = "dataset") -> str:
    """The methods that are not significantly different from the best one, in words: "HVG, scVI" or "none".

    The same cells are labelled in a draw for every method, so that differences are paired by draw.

    Parameters
    ----------
    rows
        What the leader was best in, with columns method, model, draw, value and that of ``counted``.
    leader
        A method, as :func:`best` returns it.
    counted
        Column of what values are averaged over; methods without a value of some of it are not compared.

    Returns
    -------
    str
        Methods, without controls, whose 95 % interval of the difference (Student's t over draws) includes 0.
    """
    numbers = rows.groupby("method", sort=False)[counted].nunique()
    methods = [one for one in candidates(rows) if numbers[one] == numbers.max()]
    if leader not in methods:
        return "none"
    by_draw = rows.groupby(["draw", "method"], sort=False)["value"].mean().unstack("method")[methods]
    apart = by_draw.rsub(by_draw[leader], axis="index").drop(columns=leader)
    table = over_draws(apart.melt(ignore_index=False).reset_index(), ["method"], "draw")
    return ", ".join(table.loc[table["low"].le(0) & table["high"].ge(0), "method"]) or "none"


def part(table: pd.DataFrame, split: str, classifier: str, per_type: int) -> pd.DataFrame:
    """The rows of :func:`curves` of one split, classifier and number of labelled cells."""
    selected = table["split"].eq(split) & table["classifier"].eq(classifier)
    return table[selected & table["per_type"].eq(per_type)]


def batch_losses(
    labels: pd.DataFrame, classifier: str, per_type: int, statistic: str = "accuracy"
) -> pd.DataFrame:
    """What changes where the labelled cells come from other batches, on the data sets that have several.

    Returns
    -------
    pandas.DataFrame
        Row per method: columns method, model, difference ("batch-out" minus "random", mean over data sets;
        below 0 where other batches help less) and n_datasets.
    """
    rows = labels[labels["statistic"].eq(statistic) & labels["classifier"].eq(classifier)]
    rows = rows[rows["per_type"].eq(per_type)]
    keys = ["method", "model", "dataset"]
    means = rows.groupby([*keys, "split"], sort=False)["value"].mean().unstack("split")
    means = means.reindex(columns=list(SPLITS))
    differences = (means["batch-out"] - means["random"]).dropna().rename("difference").reset_index()
    by_method = differences.groupby(["method", "model"], sort=False)["difference"]
    return by_method.agg(difference="mean", n_datasets="size").reset_index()


def median_difference(losses: pd.DataFrame) -> float | None:
    """Median over methods of what :func:`batch_losses` returns, to two digits; None without any."""
    return round(float(losses["difference"].median()), 2) + 0.0 if len(losses) else None  # no -0.0


def labels_needed(
    labels: pd.DataFrame, reference: str, per_type: int = 3, statistic: str = "accuracy"
) -> pd.DataFrame:
    """Labelled cells per type that a reference needs to do as well as each method does with few.

    Parameters
    ----------
    labels
        As :func:`zeroshot.results.load_labels` returns them.
    reference
        Title of a method.
    per_type
        Labelled cells per type of the others.
    statistic
        A key of :data:`STATISTICS`.

    Returns
    -------
    pandas.DataFrame
        Row per method, split and classifier: columns method, model, split, classifier, needed, n_datasets and
        text. ``needed`` is the median over data sets, read from the reference's curve between the measured
        numbers on a logarithmic scale; 1 where one is enough, infinite where the largest is not. ``text``
        says it in words.
    """
    rows = labels[labels["statistic"].eq(statistic)]
    keys = ["dataset", "split", "classifier"]
    means = rows.groupby([*keys, "method", "model", "per_type"], sort=False)["value"].mean().reset_index()
    of_reference = dict(iter(means[means["method"].eq(reference)].groupby(keys, sort=False)))
    comparisons = []
    for row in means[means["per_type"].eq(per_type) & means["method"].ne(reference)].to_dict("records"):
        curve = of_reference.get(tuple(row[key] for key in keys))
        if curve is not None:
            comparisons.append(row | {"needed": _first_number(curve, row["value"])})
    columns = ["method", "model", "split", "classifier"]
    table = pd.DataFrame(comparisons, columns=[*columns, "needed"])
    by_method = table.groupby(columns, sort=False)["needed"]
    numbers = by_method.agg(needed="median", n_datasets="size").reset_index()
    return numbers.assign(text=numbers["needed"].map(_number_text))


def tumours() -> pd.DataFrame:
    """Macro F1 by label budget in the published benchmark of tumours.

    Returns
    -------
    pandas.DataFrame
        Columns method (title), kind, split, budget (as the source has it, "all" last), value (mean over data
        sets) and n_datasets; without rows that are known to be wrong.
    """
    rows = evidence.load(TUMOURS)
    rows = rows[rows["metric"].eq("macro_f1")].reset_index(drop=True)
    rows = rows.join(rows["task"].str.extract(_TUMOUR_TASK)).dropna(subset="budget")
    rows["split"] = rows["split"].map(TUMOUR_SPLITS)
    order = {budget: number for number, budget in enumerate(sorted(rows["budget"].unique(), key=_budget))}
    by_budget = rows.groupby(["split", "budget", "method", "kind"], sort=False)
    table = by_budget.agg(value=("value", "mean"), n_datasets=("dataset", "nunique")).reset_index()
    table["method"] = table["method"].map(evidence.title)
    places = {split: number for number, split in enumerate(TUMOUR_SPLITS.values())}
    return table.sort_values(
        ["split", "budget", "method"],
        key=lambda column: column.map(places | order).fillna(-1) if column.name != "method" else column,
        ignore_index=True,
    )


def _number_text(needed: float) -> str:
    if np.isinf(needed):
        return "more than were tried"
    return "1 or fewer" if needed <= 1 else f"about {needed:.0f}"


def _budget(text: str) -> float:
    return float(text) if text.isdecimal() else np.inf


def _first_number(curve: pd.DataFrame, value: float) -> float:
    """Number of labelled cells at which a curve first reaches a value."""
    curve = curve.sort_values("per_type")
    heights, numbers = curve["value"].cummax().to_numpy(), np.log(curve["per_type"].to_numpy())
    place = int(np.searchsorted(heights, value))
    if place == 0:
        return float(np.exp(numbers[0]))
    if place == len(heights):
        return np.inf
    share = (value - heights[place - 1]) / (heights[place] - heights[place - 1])
    return float(np.exp(numbers[place - 1] + share * (numbers[place] - numbers[place - 1])))
