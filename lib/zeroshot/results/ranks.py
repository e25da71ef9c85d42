"""Ranks of methods over data sets, and which of them are significantly different."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zeroshot import catalog, metrics

ALPHA = 0.05
RESAMPLES = 2000
# A method with scores on fewer of the data sets takes too many of them away from the others.
LEAST_SHARE = 0.5
COLUMNS = [
    "method", "model", "kind", "mean_rank", "mean_low", "mean_high", "median_rank", "median_low",
    "median_high",
]  # fmt: skip


@dataclass(frozen=True)
class Ranking:
    """Methods ranked by one metric on the data sets that all of them have.

    Attributes
    ----------
    metric
        Name of the metric.
    ranks
        (n_datasets, n_methods) rank of each method on each data set, from 1 for the best; methods with equal
        scores share the mean of their places.
    methods
        A row per ranked method, columns :data:`COLUMNS`, the best mean rank first.
    controls
        The same for the controls, untrained twins among them. Their rank is the place that each would take
        among the methods, so that no control changes the rank of a method.
    omitted
        Columns what ("data set", "method" or "control"), name and reason: what is not ranked.
    friedman
        p value of the Friedman test that all methods are alike; None for fewer than three methods or two
        data sets.
    critical_difference
        Difference of two mean ranks from which on they are significantly different (Nemenyi, 95 %); None for
        fewer than two methods or data sets.
    p_values
        (n_methods, n_methods) of the Nemenyi test, methods in the order of ``methods``; empty where there is
        no critical difference.
    """

    metric: str
    ranks: pd.DataFrame
    methods: pd.DataFrame
    controls: pd.DataFrame
    omitted: pd.DataFrame
    friedman: float | None
    critical_difference: float | None
    p_values: pd.DataFrame

    @property
    def n_datasets(self) -> int:
        """Number of data sets that the ranks are over."""
        return len(self.ranks)

    @property
    def different(self) -> list[tuple[str, str]]:
        """Pairs of significantly different methods, the better one first."""
        names = list(self.p_values)
        return [
            (first, second)
            for place, first in enumerate(names)
            for second in names[place + 1 :]
            if self.p_values.loc[first, second] <= ALPHA
        ]

    @property
    def numbers(self) -> dict[str, float | str | None]:
        """What a sentence says of it; None where there is no such number.

        Keys n_ranked_datasets, n_ranked, n_ranked_pairs, n_different, different (who is above whom, methods
        above the same ones together), first (who has the best mean rank), first_rank, friedman and
        critical_difference.
        """
        tested = self.critical_difference is not None
        below, above = {}, {}
        for better, worse in self.different:
            below.setdefault(better, []).append(worse)
        for better, worse in below.items():
            above.setdefault(", ".join(worse), []).append(better)
        texts = [f"{', '.join(better)} above {worse}" for worse, better in above.items()]
        best = self.methods.iloc[0] if tested else {}
        return {
            "n_ranked_datasets": self.n_datasets if tested else None,
            "n_ranked": len(self.methods) if tested else None,
            "n_ranked_pairs": math.comb(len(self.methods), 2) if tested else None,
            "n_different": len(self.different) if tested else None,
            "different": ("; ".join(texts) or "none") if tested else None,
            "first": best.get("method"),
            "first_rank": best.get("mean_rank"),
            "friedman": self.friedman,
            "critical_difference": self.critical_difference,
        }

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Largest groups of at least two methods, none significantly different from another of its group."""
        names, groups = list(self.p_values), []
        for first, name in enumerate(names):
            alike = self.p_values.loc[name].iloc[first:].gt(ALPHA)
            end = first + (len(alike) if alike.all() else int(np.argmin(alike)))
            # The test reads nothing but the difference of mean ranks: a group is a stretch of the order.
            if end > first + 1 and (not groups or groups[-1][-1] != names[end - 1]):
                groups.append(tuple(names[first:end]))
        return groups


def rank(scores: pd.DataFrame, metric: str, *, least_share: float = LEAST_SHARE, seed: int = 0) -> Ranking:
    """Rank the methods of a study by a metric, data set by data set.

    Methods are all that are no controls; of a model in several recipes the default one, or the first if that
    was not run. They are ranked on the data sets on which each of them has a score.

    Parameters
    ----------
    scores
        Tidy scores of a study, as :func:`zeroshot.results.load` returns them.
    metric
        Name of a metric.
    least_share
        A method with scores on a smaller share, from 0 to 1, of the data sets that have any is not ranked. At
        1 no data set is left out.
    seed
        Of the bootstrap.

    Returns
    -------
    Ranking
        Its intervals are percentiles (95 %) of the mean or median rank over data sets that are drawn with
        replacement. Of few data sets they are too narrow, and of one there are none (NaN).

    Source
    ------
    Demšar 2006, Statistical comparisons of classifiers over multiple data sets, for the tests; computed by
    SciPy and scikit-posthocs.
    """
    models = dict(zip(scores["method"], scores["model"], strict=True))
    rows, controls = methods_and_controls(scores, metric)
    of_methods, omitted = one_recipe_each(rows)
    table, reasons = complete(of_methods, least_share)
    omitted += reasons
    sign = -1 if metrics.METRICS[metric].higher_is_better else 1
    ranks = (sign * table).rank(axis="columns")
    of_controls = controls.pivot(index="dataset", columns="method", values="value").reindex(table.index)
    without = of_controls.columns[of_controls.isna().any()]
    omitted += [("control", name, "not scored on all of these data sets") for name in without]
    places = of_controls.drop(columns=without).apply(lambda of: _place_among(sign * of, sign * table))
    methods = _summary(ranks, models, seed)
    # Groups of methods are stretches of this order.
    friedman, difference, p_values = _tests(ranks[list(methods["method"])])
    return Ranking(
        metric=metric,
        ranks=ranks,
        methods=methods,
        controls=_summary(places, models, seed),
        omitted=pd.DataFrame(omitted, columns=["what", "name", "reason"]),
        friedman=friedman,
        critical_difference=difference,
        p_values=p_values,
    )


def methods_and_controls(scores: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of methods and rows of controls, to as many digits as tables of scores have."""
    rows = scores[scores["metric"].eq(metric)].round({"value": metrics.uncertainty.DIGITS})
    kinds = {model: catalog.model(model).kind for model in rows["model"].unique()}
    control_mask = rows["model"].map(kinds).eq("control")
    return rows[~control_mask], rows[control_mask]


def one_recipe_each(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str, str]]]:
    """Rows of one recipe of each model, and which others there are: recipes of a model have near ranks."""
    recipe_of, omitted = {}, []
    for model, recipes in rows.groupby("model", sort=False)["recipe"].unique().items():
        card = catalog.model(model)
        recipe_of[model] = card.recipe if card.recipe in recipes else recipes[0]
        others = [card.method(recipe) for recipe in recipes if recipe != recipe_of[model]]
        omitted += [("method", name, f"{card.method(recipe_of[model])} is ranked for it") for name in others]
    return rows[rows["recipe"].eq(rows["model"].map(recipe_of))], omitted


def complete(
    rows: pd.DataFrame, least_share: float = LEAST_SHARE
) -> tuple[pd.DataFrame, list[tuple[str, str, str]]]:
    """(n_datasets, n_methods) scores without a gap, and the data sets and methods that this leaves out."""
    table = rows.pivot(index="dataset", columns="method", values="value")
    table = table.reindex(index=rows["dataset"].unique(), columns=rows["method"].unique())
    empty = table.isna().all(axis="columns")
    omitted = [("data set", name, "no method has a score") for name in table.index[empty]]
    table = table[~empty]
    share = table.notna().mean()
    for method in table.columns[share < least_share]:
        reason = f"a score on {table[method].notna().sum()} of {len(table)} data sets only"
        omitted.append(("method", method, reason))
    table = table.loc[:, share >= least_share]
    for dataset, values in table[table.isna().any(axis="columns")].iterrows():
        omitted.append(("data set", dataset, f"no score of {', '.join(values.index[values.isna()])}"))
    return table.dropna(), omitted


def _place_among(control: pd.Series, table: pd.DataFrame) -> pd.Series:
    """Place that a control would take on each data set, from 1; lower values are better."""
    better = table.lt(control, axis="index").sum(axis="columns")
    return 1 + better + 0.5 * table.eq(control, axis="index").sum(axis="columns")


def _summary(ranks: pd.DataFrame, models: dict[str, str], seed: int) -> pd.DataFrame:
    """Mean and median rank of each column with their intervals, the best mean first."""
    from scipy import stats

    columns = {"method": list(ranks), "model": [models[name] for name in ranks]}
    columns["kind"] = [catalog.model(model).kind for model in columns["model"]]
    for name, statistic in {"mean": np.mean, "median": np.median}.items():
        low = high = np.full(ranks.shape[1], np.nan)
        if len(ranks) > 1 and ranks.shape[1]:
            draws = stats.bootstrap(
                (ranks.to_numpy(),), statistic, axis=0, n_resamples=RESAMPLES, method="percentile", rng=seed
            )
            low, high = draws.confidence_interval
        values = statistic(ranks.to_numpy(), axis=0) if len(ranks) else np.full(ranks.shape[1], np.nan)
        columns |= {f"{name}_rank": values, f"{name}_low": low, f"{name}_high": high}
    table = pd.DataFrame(columns, columns=COLUMNS)
    return table.sort_values(["mean_rank", "median_rank"], kind="stable", ignore_index=True)


def _tests(ranks: pd.DataFrame) -> tuple[float | None, float | None, pd.DataFrame]:
    """Friedman's p value, the critical difference, and the p values of all pairs."""
    n_datasets, n_methods = ranks.shape
    if n_datasets < 2 or n_methods < 2:
        return None, None, pd.DataFrame()
    import scikit_posthocs
    from scipy import stats

    friedman = stats.friedmanchisquare(*ranks.to_numpy().T).pvalue if n_methods > 2 else np.nan
    quantile = stats.studentized_range.ppf(1 - ALPHA, n_methods, np.inf) / np.sqrt(2)
    difference = float(quantile * np.sqrt(n_methods * (n_methods + 1) / (6 * n_datasets)))
    p_values = scikit_posthocs.posthoc_nemenyi_friedman(ranks)
    return (None if np.isnan(friedman) else float(friedman)), difference, p_values
