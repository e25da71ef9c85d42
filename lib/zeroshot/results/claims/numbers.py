"""Numbers that claims are tested by: those of a published source or of a study, under our names."""

from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from zeroshot import catalog
from zeroshot.catalog.claims import ClaimSource
from zeroshot.results import comparisons, evidence, published

COLUMNS = ["dataset", "model", "metric", "statistic", "value"]
# Metrics that are means of others, computed where a source has all parts on a data set.
_MEANS = {
    "avg_bio": ("asw_label", "nmi", "ari"),
    "average_batch": ("batch_integration_score", "pcr_comparison"),
}
# The convention that the claims are about, where a model was run under it.
_RECIPE = "paper"

ROUNDING = 1e-9  # of differences of printed numbers
Order = Literal["higher", "lower", "tied"]


class Numbers:
    """Numbers by data set, model, metric and statistic.

    Parameters
    ----------
    table
        Columns :data:`COLUMNS`, no number twice.
    about
        Data sets of which each is needed for a statement on all; none for those that there are.
    scores, subsamples
        Of a study, for whether two scores are tied; None for numbers without intervals.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        about: tuple[str, ...] = (),
        scores: pd.DataFrame | None = None,
        subsamples: pd.DataFrame | None = None,
    ):
        self.about = about
        self._values: dict[tuple[str, ...], float] = table.set_index(COLUMNS[:-1])["value"].to_dict()
        self._scores, self._subsamples = scores, subsamples
        self._differences: dict[tuple[str, str], dict[tuple[str, str], str]] = {}

    @cached_property
    def datasets(self) -> list[str]:
        """Data sets in the order of the table."""
        return list(dict.fromkeys(dataset for dataset, *_ in self._values))

    def has(self, model: str, metric: str, statistic: str = "value") -> bool:
        """Whether there is such a number on any data set."""
        return any(self.value(dataset, model, metric, statistic) is not None for dataset in self.datasets)

    def value(self, dataset: str, model: str, metric: str, statistic: str = "value") -> float | None:
        """One number; None if there is none."""
        return self._values.get((dataset, model, metric, statistic))

    def median(self, model: str, metric: str, statistic: str, datasets: list[str]) -> float | None:
        """Median over data sets: as it was printed, else of the numbers of all of them; None for neither."""
        for dataset in self.datasets:
            if (printed := self.value(dataset, model, metric, catalog.MEDIAN_OVER_DATASETS)) is not None:
                return printed
        values = [self.value(dataset, model, metric, statistic) for dataset in datasets]
        return None if not values or None in values else float(np.median(values))

    def order(
        self, dataset: str, left: tuple[str, str], right: tuple[str, str], statistic: str, tie: float
    ) -> Order | None:
        """Whether a model is higher than another on a data set, by values; None without both.

        Parameters
        ----------
        dataset
            The data set.
        left, right
            Model and metric of each.
        statistic
            Of both.
        tie
            The largest difference that is a tie. In a study, what the interval of the paired difference makes
            a tie is one, too.
        """
        first, second = (self.value(dataset, *side, statistic) for side in (left, right))
        if first is None or second is None:
            return None
        if abs(first - second) <= tie + ROUNDING or self._is_tied(dataset, left, right, statistic):
            return "tied"
        return "higher" if first > second else "lower"

    def _is_tied(self, dataset: str, left: tuple[str, str], right: tuple[str, str], statistic: str) -> bool:
        (model, metric), (reference, other_metric) = left, right
        if self._scores is None or metric != other_metric or statistic != "value":
            return False
        if (metric, reference) not in self._differences:
            methods = self._scores.loc[self._scores["model"].eq(reference), "method"]
            table = comparisons.differences(self._scores, self._subsamples, metric, methods.iloc[0])
            verdicts = zip(table["dataset"], table["model"], table["verdict"], strict=True)
            self._differences[metric, reference] = {(one, of): verdict for one, of, verdict in verdicts}
        return self._differences[metric, reference].get((dataset, model)) == "tie"


def of_source(card: ClaimSource) -> Numbers:
    """The numbers of a published source.

    Rows of evidence that are known to be wrong are left out; of successive runs of a benchmark the latest
    counts.

    Raises
    ------
    ValueError
        If two numbers have the same data set, model, metric and statistic.
    """
    rows = [
        (number.dataset, number.model, number.metric, number.statistic, number.value)
        for number in published.load()
        if number.source in card.published
    ]
    tables = [pd.DataFrame(rows, columns=COLUMNS)] if rows else []
    if card.evidence is not None:
        tables.append(_of_evidence(card))
    table = pd.concat(tables, ignore_index=True)
    repeated = table.loc[table.duplicated(COLUMNS[:-1]), COLUMNS[:-1]]
    if len(repeated):
        raise ValueError(
            f"data/claim_sources.yml: entry {card.name!r}: there are two numbers of "
            f"{', '.join(repeated.iloc[0])}. Name one of them in `models`, `metrics` or `datasets`."
        )
    return Numbers(_with_means(table), card.about)


def _of_evidence(card: ClaimSource) -> pd.DataFrame:
    rows = evidence.load(card.evidence)
    if latest := evidence.sources()[card.evidence].latest:
        rows = rows[rows["replicate"].eq(latest)]
    rows = rows[rows["model"].isin(card.models) & rows["metric"].isin(card.metrics)]
    table = pd.DataFrame(
        {
            "dataset": [card.datasets.get(name, name) for name in rows["dataset"]],
            "model": rows["model"].map(dict(card.models)),
            "metric": rows["metric"].map(dict(card.metrics)),
            "statistic": "value",
            "value": rows["value"],
        }
    )
    halved = table["metric"].isin(card.from_minus_one)
    return table.assign(value=table["value"].where(~halved, (table["value"] + 1) / 2))


def of_study(
    scores: pd.DataFrame, subsamples: pd.DataFrame, reconstructions: pd.DataFrame | None = None
) -> Numbers:
    """The numbers of a study.

    Of a model in several recipes that of the paper counts, else the default, else the first. A data set of
    which the study has some cells only is not the one that a claim names.

    Parameters
    ----------
    scores, subsamples, reconstructions
        As :func:`zeroshot.results.load`, :func:`zeroshot.results.load_subsamples` and
        :func:`zeroshot.results.load_reconstruction` return them.
    """
    subset = scores.drop_duplicates("dataset").set_index("dataset")["subset"]
    names = {name: name if part == "all" else f"{name} ({part} cells)" for name, part in subset.items()}
    recipes = {model: _recipe(model, of["recipe"]) for model, of in scores.groupby("model", sort=False)}
    tables = [
        table[table["recipe"].eq(table["model"].map(recipes))].assign(dataset=table["dataset"].map(names))
        for table in (scores, subsamples, reconstructions)
        if table is not None
    ]
    of_scores = tables[0].dropna(subset="value").assign(statistic="value")
    parts = [table[COLUMNS] for table in (of_scores, *tables[2:]) if len(table)]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return Numbers(table, (), tables[0], tables[1])


def _recipe(model: str, recipes: pd.Series) -> str:
    run = list(recipes.unique())
    return next((name for name in (_RECIPE, catalog.model(model).recipe) if name in run), run[0])


def _with_means(table: pd.DataFrame) -> pd.DataFrame:
    """Add the means of metrics that have all of their parts."""
    key = ["dataset", "model", "statistic"]
    parts = table[table["statistic"].eq("value")].pivot(index=key, columns="metric", values="value")
    for metric, names in _MEANS.items():
        if set(names) <= set(parts):
            means = parts[list(names)].mean(axis="columns", skipna=False).dropna()
            if metric in parts:
                means = means[~means.index.isin(parts[metric].dropna().index)]
            rows = means.rename("value").reset_index().assign(metric=metric)
            table = pd.concat([table, rows[COLUMNS]], ignore_index=True)
    return table
