"""What a study says of labels that cells of one data set get from another."""

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from zeroshot import catalog

from . import few_labels
from .few_labels import over_draws

STATISTICS: Mapping[str, str] = MappingProxyType(
    {"accuracy": "accuracy", "macro_f1": "macro F1", "novelty_auroc": "AUROC of novelty"}
)
# The same as labels of axes.
AXES: Mapping[str, str] = MappingProxyType(
    {name: f"{title} (higher is better)" for name, title in STATISTICS.items()}
)


def n_cells(study: catalog.StudyCard) -> int:
    """How many cells of each data set a study maps, at most."""
    return min(study.mapping_cells, study.subset or study.mapping_cells)


def reason_against(study: catalog.StudyCard, reference: str) -> str | None:
    """Why a study maps nothing with one of its models (``name`` or ``name@recipe``), None if it does."""
    card, _ = catalog.split_reference(reference)
    if "label" in card.uses:
        return "made from the labels that are to be predicted"
    if card.name in study.mapping_without:
        return "left out by the study, because it takes long"
    return None


def not_mapped(study: catalog.StudyCard, mapping: pd.DataFrame) -> pd.DataFrame:
    """The models of a study without a score, each with the reason.

    Parameters
    ----------
    study
        The study.
    mapping
        As :func:`zeroshot.results.load_mapping` returns it.

    Returns
    -------
    pandas.DataFrame
        Columns method and reason.
    """
    scored = set(mapping[["model", "recipe"]].itertuples(index=False, name=None))
    rows = []
    for reference in study.models:
        card, recipe = catalog.split_reference(reference)
        if (card.name, recipe) not in scored:
            reason = reason_against(study, reference) or "no embedding of these cells: see the messages"
            rows.append((card.method(recipe), reason))
    return pd.DataFrame(rows, columns=["method", "reason"])


def by_pair(mapping: pd.DataFrame) -> pd.DataFrame:
    """Mean over draws for each pair of data sets.

    Parameters
    ----------
    mapping
        As :func:`zeroshot.results.load_mapping` returns it.

    Returns
    -------
    pandas.DataFrame
        Columns statistic (a key of :data:`STATISTICS`), pair ("reference → query"), method, model, value, low
        and high, as in :func:`over_pairs`.
    """
    table = over_draws(_with_pairs(mapping), ["statistic", "pair", "method", "model"], counted="pair")
    return table.drop(columns="n_pairs")


def over_pairs(mapping: pd.DataFrame, statistic: str = "accuracy") -> pd.DataFrame:
    """Mean over pairs of data sets, the best method first.

    Returns
    -------
    pandas.DataFrame
        Columns method, model, value, low, high and n_pairs. ``low`` and ``high`` bound the 95 % interval of
        the mean over draws (Student's t): they say how much it matters which cells of the references are
        labelled, not which data sets were taken.
    """
    catalog.find(STATISTICS, statistic, "statistic")
    rows = _with_pairs(mapping[mapping["statistic"].eq(statistic)])
    table = over_draws(rows, ["method", "model"], counted="pair")
    return table.sort_values("value", ascending=False, kind="stable", ignore_index=True)


def tied(mapping: pd.DataFrame, leader: str | None, statistic: str = "accuracy") -> str:
    """The methods that are not significantly different from the best one, see :func:`few_labels.tied`."""
    rows = _with_pairs(mapping[mapping["statistic"].eq(statistic)])
    return few_labels.tied(rows, leader, counted="pair")


def summary(mapping: pd.DataFrame, statistic: str = "accuracy") -> pd.DataFrame:
    """Means over pairs for readers, the best method first.

    Returns
    -------
    pandas.DataFrame
        Index method, columns the titles of :data:`STATISTICS` and the ends of the interval of ``statistic``,
        see :func:`over_pairs`, pairs, and pairs with types that the reference lacks.
    """
    table = over_pairs(mapping, statistic).set_index("method")
    means = {title: over_pairs(mapping, name).set_index("method") for name, title in STATISTICS.items()}
    columns = {title: values["value"].reindex(table.index) for title, values in means.items()}
    novel = means[STATISTICS["novelty_auroc"]]["n_pairs"].reindex(table.index, fill_value=0)
    ends = {f"{STATISTICS[statistic]}, {end}": table[end] for end in ("low", "high")}
    return pd.DataFrame(columns | ends | {"pairs": table["n_pairs"], "pairs with new types": novel})


def _with_pairs(mapping: pd.DataFrame) -> pd.DataFrame:
    return mapping.assign(pair=mapping["reference"] + " → " + mapping["dataset"])
