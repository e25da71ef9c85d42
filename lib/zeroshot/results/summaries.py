"""What a study says in one number or one name, None where it cannot say it; and names for readers."""

import pandas as pd

from zeroshot import catalog, metrics


def heading(metric: str) -> str:
    """Label of a metric with its direction: "AvgBIO ↑" where higher is better, "PCR ↓" where lower is."""
    definition = catalog.find(metrics.METRICS, metric, "metric")
    return f"{definition.label} {'↑' if definition.higher_is_better else '↓'}"


def interval(low: float, high: float) -> str:
    """The ends of an interval as text: "0.51 to 0.60", or "not known" where one is missing."""
    return "not known" if pd.isna(low) or pd.isna(high) else f"{low:.2f} to {high:.2f}"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table with metrics as its index or in a column ``metric``, under their names for readers."""
    names = {name: heading(name) for name in metrics.METRICS}
    if "metric" in table:
        return table.assign(metric=table["metric"].replace(names))
    return table.rename(index=names)


def two_digits(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose numbers are texts of two digits: a dash where there is none, no sign before a zero."""

    def text(value: float) -> str:
        return "–" if pd.isna(value) else f"{round(value, 2) + 0.0:.2f}"  # + 0.0 makes -0.0 zero

    numbers = table.select_dtypes("float").columns
    return table.assign(**{name: table[name].map(text) for name in numbers})


def candidates(scores: pd.DataFrame) -> list[str]:
    """The methods that are no controls, in the order of the scores."""
    models = dict(zip(scores["method"], scores["model"], strict=True))
    return [method for method, model in models.items() if catalog.model(model).kind != "control"]


def median(scores: pd.DataFrame, metric: str, model: str) -> float | None:
    """Median over data sets of a model's score in its default recipe; None if there is no score of it."""
    selected = scores["metric"].eq(metric) & scores["method"].eq(catalog.model(model).title)
    values = scores.loc[selected, "value"].dropna()
    return float(values.median()) if len(values) else None


def best(scores: pd.DataFrame, metric: str) -> tuple[str | None, float | None]:
    """The method with the best median over data sets, and that median; controls are left out.

    A method without a score on some data set is not compared: its median would be over other data. None and
    None if there is no method to compare.
    """
    selected = scores[scores["metric"].eq(metric) & scores["method"].isin(candidates(scores))]
    by_method = selected.groupby("method", sort=False)["value"]
    complete = by_method.count() == scores["dataset"].nunique()
    medians = by_method.median()[complete]
    if medians.empty:
        return None, None
    ranking = medians.sort_values(ascending=not metrics.METRICS[metric].higher_is_better, kind="stable")
    return str(ranking.index[0]), float(ranking.iloc[0])


def reference(scores: pd.DataFrame, metric: str, title: str) -> str:
    """The method to compare the others with: the one of this title, or another if it was not scored.

    Returns
    -------
    str
        ``title`` if it was scored or nothing was; else the first method with a score, of those that are no
        controls if there is one.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If no model is called that, in this study or another.
    """
    rows = scores[scores["metric"].eq(metric) & scores["value"].notna()]
    methods = list(dict.fromkeys(rows["method"]))
    if title in methods:
        return title
    titles = {card.method(recipe) for card in catalog.models().values() for recipe in card.recipes}
    catalog.find(dict.fromkeys([*titles, *methods]), title, "method")
    return next(iter([*candidates(rows), *methods]), title)
