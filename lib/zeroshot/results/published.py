"""The ledger of published numbers: what others printed, beside what this build computed."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from zeroshot import catalog, models, store
from zeroshot.metrics import METRICS
from zeroshot.metrics.reconstruction import correlation_summary

COLUMNS = [
    "id", "dataset", "model", "recipe", "metric", "statistic", "published", "ours", "difference",
    "tolerance", "status", "reason", "source", "where",
]  # fmt: skip
STATUSES = ("agrees", "differs", "not run here")

# What a number has in its metric's name, and how the tables of `reconstruct` call it.
_VALUE_PREDICTORS = {"gep": "GEP", "gepc": "GEPC", "grand_mean": "grand mean"}
_RANK_PREDICTORS = {"rank_correlation": "model", "mean_rank_correlation": "mean rank (as the paper)"}
# Metrics of the pretraining objective that `summarise` returns.
RECONSTRUCTED = (
    *(f"{error}_{predictor}" for error in ("mse", "mae") for predictor in _VALUE_PREDICTORS),
    *_RANK_PREDICTORS,
)
_OVER_CELLS = {
    "mean": "mean over cells",
    "std": "std over cells",
    "min": "lowest over cells",
    "25%": "lower quartile over cells",
    "50%": "median over cells",
    "75%": "upper quartile over cells",
    "max": "highest over cells",
}
_OUR_BATCH_KEY = "batch"  # of every prepared data set


def load() -> tuple[catalog.PublishedNumber, ...]:
    """All published numbers, in the order of the file.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the file is not valid, with the entry and the field in the message.
    """
    cards = catalog.read("published", catalog.PublishedNumber)
    numbers = tuple(catalog.with_known_citations("published", cards).values())
    for number in numbers:
        try:
            _require_registered_or_titled(number)
        except catalog.CatalogError as error:
            raise catalog.CatalogError(f"data/published.yml: entry {number.name!r}: {error}") from error
    return numbers


def _require_registered_or_titled(number: catalog.PublishedNumber) -> None:
    """What is in a registry goes by its name there, all else has a title."""
    names_by_field = {
        "dataset": catalog.datasets(),
        "model": catalog.models(),
        "metric": {*METRICS, *RECONSTRUCTED},
    }
    for field, names in names_by_field.items():
        value, has_title = getattr(number, field), getattr(number, f"{field}_title") is not None
        if (value in names) and has_title:
            raise catalog.CatalogError(f"{field} {value!r} is a registered name: leave out `{field}_title`")
        if (value not in names) and not has_title:
            raise catalog.CatalogError(
                f"{field} {value!r} is not a registered name: correct it, "
                f"or say in `{field}_title` what it is"
            )
    for name in number.over:
        catalog.dataset(name)
    if number.model_title is None:
        recipes = catalog.model(number.model).recipes
        catalog.find(recipes, number.recipe, f"recipe of {number.model}")


def ledger(scores: pd.DataFrame, reconstructions: pd.DataFrame | None = None) -> pd.DataFrame:
    """Set ours beside every published number.

    Only the same data set, model, recipe and metric are compared, over all cells of the data set. A
    median over data sets is compared if all of them were run; those for which the metric has no meaning
    are left out of it.

    Parameters
    ----------
    scores
        Tidy scores of a study, as :func:`zeroshot.results.load` returns them.
    reconstructions
        Numbers of the pretraining objective, as :func:`zeroshot.results.load_reconstruction` returns them;
        None for none.

    Returns
    -------
    pandas.DataFrame
        One row per published number, in the order of the file, columns :data:`COLUMNS`. ``status`` is one
        of :data:`STATUSES`: "agrees" where ``difference`` (ours minus published) is within ``tolerance``;
        "differs", with the caveat of the number, if it has one, as ``reason``; "not run here" where
        ``ours`` is NaN, with all that is missing as ``reason``.
    """
    our_rows = scores.assign(statistic="value")
    if reconstructions is not None and len(reconstructions):
        subset = scores.drop_duplicates("dataset").set_index("dataset")["subset"]
        of_objective = reconstructions.assign(note="", subset=reconstructions["dataset"].map(subset))
        our_rows = pd.concat([our_rows, of_objective], ignore_index=True)
    rows = []
    for number in load():
        ours, missing = _ours(number, our_rows)
        difference = ours - number.value
        if missing:
            status, reason = "not run here", missing
        elif abs(difference) <= number.tolerance:
            status, reason = "agrees", ""
        else:
            status, reason = "differs", number.caveat or ""
        row = number.model_dump(include=set(COLUMNS))
        rows.append(
            row
            | {"id": number.name, "published": number.value, "ours": ours, "difference": difference}
            | {"status": status, "reason": reason}
        )
    return pd.DataFrame(rows, columns=COLUMNS).astype({"ours": float, "difference": float})


def _ours(number: catalog.PublishedNumber, our_rows: pd.DataFrame) -> tuple[float, str]:
    """Our value and "", or NaN and what is missing for one."""
    reasons = [*_without_metric(number), *_without_run(number, our_rows)]
    if reasons:
        return np.nan, "; ".join(reasons)
    rows = our_rows[
        our_rows["dataset"].isin(number.datasets)
        & our_rows["model"].eq(number.model)
        & our_rows["recipe"].eq(number.recipe)
        & our_rows["metric"].eq(number.metric)
        & our_rows["statistic"].eq(_statistic(number))
    ]
    if set(rows["dataset"]) < set(number.datasets):
        return np.nan, "this study did not compute it"
    if rows["subset"].ne("all").any():
        return np.nan, "only a part of the cells is in this study"
    without = rows[rows["value"].isna()]
    expected = without["note"].str.startswith("not applicable") & bool(number.over)
    if len(without) == len(rows) or not expected.all():
        return np.nan, "; ".join(dict.fromkeys(without["note"]))
    return float(rows["value"].median()), ""


def _statistic(number: catalog.PublishedNumber) -> str:
    """Which of our numbers of a data set is compared, or enters the median over data sets."""
    if not number.over:
        return number.statistic
    return "median over cells" if number.metric in _RANK_PREDICTORS else "value"


def _without_metric(number: catalog.PublishedNumber) -> Iterable[str]:
    reads_batches = number.metric in METRICS and "batches" in METRICS[number.metric].arguments
    if number.metric_title is not None:
        yield "no metric of ours computes it"
    elif reads_batches and number.batch_key not in (None, _OUR_BATCH_KEY):
        yield f"computed on other batches ({number.batch_key})"


def _without_run(number: catalog.PublishedNumber, our_rows: pd.DataFrame) -> Iterable[str]:
    absent = [name for name in number.datasets if name not in set(our_rows["dataset"])]
    if absent:
        one = len(number.datasets) == 1
        yield "the data set is not in this study" if one else "not all of its data sets are in this study"
    if number.model_title is not None:
        yield "the model is not in this book"
    elif not (our_rows["model"].eq(number.model) & our_rows["recipe"].eq(number.recipe)).any():
        unavailable = models.unavailable(catalog.model(number.model), number.recipe)
        yield "the weights are not on this machine" if unavailable else "the model is not in this study"


def summarise(model: str, reconstruction_artifact: store.Artifact | None) -> pd.DataFrame:
    """Numbers of the pretraining objective as they are published: nothing masked, over all positions.

    Parameters
    ----------
    model
        Name in ``data/models.yml``.
    reconstruction_artifact
        What :func:`zeroshot.pipeline.reconstruct` returns for it; None where it has no such objective.

    Returns
    -------
    pandas.DataFrame
        Columns metric (one of :data:`RECONSTRUCTED`), statistic and value; no rows for None.
    """
    numbers: list[tuple[str, str, float]] = []
    if reconstruction_artifact is not None:
        if catalog.model(model).objective == "values":
            numbers = _of_values(reconstruction_artifact.load("errors"))
        else:
            numbers = _of_ranks(reconstruction_artifact.load("correlations"))
    return pd.DataFrame(numbers, columns=["metric", "statistic", "value"])


def _of_values(errors: pd.DataFrame) -> list[tuple[str, str, float]]:
    unmasked = errors[errors["positions"].eq("all") & errors["masked_fraction"].eq(0)].set_index("prediction")
    return [
        (f"{error}_{name}", "mean over positions", float(unmasked.loc[prediction, error]))
        for error in ("mse", "mae")
        for name, prediction in _VALUE_PREDICTORS.items()
    ]


def _of_ranks(correlations: pd.DataFrame) -> list[tuple[str, str, float]]:
    unmasked = correlations[correlations["masked_fraction"].eq(0)]
    of_predictor = {
        metric: correlation_summary(unmasked.loc[unmasked["predictor"] == predictor, "correlation"])
        for metric, predictor in _RANK_PREDICTORS.items()
    }
    return [
        (metric, statistic, float(summary[key]))
        for metric, summary in of_predictor.items()
        for key, statistic in _OVER_CELLS.items()
    ]
