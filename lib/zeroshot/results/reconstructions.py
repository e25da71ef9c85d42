"""Whether trained networks put hidden genes back better than their untrained twins."""

import pandas as pd

from zeroshot import catalog

_RUN = ["model", "dataset"]


def beside_twins(rows: pd.DataFrame, prediction: str, baseline: str) -> pd.DataFrame:
    """What trained networks reach, beside their untrained twins and a baseline on the same cells.

    Parameters
    ----------
    rows
        Columns model, dataset, predictor and value, a row per run and predictor.
    prediction, baseline
        Predictors: that of the networks, and one that knows no network.

    Returns
    -------
    pandas.DataFrame
        A row per trained model (its title, column ``network``) and data set where its twin ran too:
        ``trained``, ``untrained`` (the mean over the recipes of the twin) and ``baseline``, that of the run
        of the trained model.
    """
    pairs = trained_and_untrained(rows[rows["predictor"] == prediction])
    others = rows[rows["predictor"] == baseline].groupby(_RUN)["value"].mean().rename("baseline")
    table = pairs.join(others, _RUN)
    return table[["network", "dataset", "trained", "untrained", "baseline"]]


def trained_and_untrained(rows: pd.DataFrame) -> pd.DataFrame:
    """Values of trained models beside those of their untrained twins, where both ran.

    Parameters
    ----------
    rows
        Columns model, dataset and value.

    Returns
    -------
    pandas.DataFrame
        A row per trained model and data set: model, dataset, ``trained``, ``untrained`` (the mean over the
        recipes of the twin) and ``network``, the title of the model.
    """
    twins = {name: card.twin_of for name, card in catalog.models().items() if card.twin_of}
    untrained = rows.assign(model=rows["model"].map(twins)).groupby(_RUN)["value"].mean()
    trained = rows[~rows["model"].isin(twins)].groupby(_RUN)["value"].mean()
    pairs = pd.concat({"trained": trained, "untrained": untrained}, axis=1).dropna().reset_index()
    titles = {name: catalog.model(name).title for name in pairs["model"]}
    return pairs.assign(network=pairs["model"].map(titles))


def summary(pairs: pd.DataFrame, *, higher_is_better: bool) -> dict[str, float | int | str | None]:
    """The comparison in numbers, for a sentence.

    Parameters
    ----------
    pairs
        As :func:`beside_twins` returns them.
    higher_is_better
        Of the values.

    Returns
    -------
    dict
        ``networks``, their titles; ``n_pairs``, runs beside their twins, of which in ``n_over_twin`` and
        ``n_over_baseline`` the trained network is better; and the medians ``trained``, ``untrained`` and
        ``baseline``. None and NaN where there is no pair.
    """
    sign = 1 if higher_is_better else -1
    better = {
        f"n_over_{name}": int((sign * (pairs["trained"] - pairs[column]) > 0).sum())
        for name, column in {"twin": "untrained", "baseline": "baseline"}.items()
    }
    medians = {name: pairs[name].median() for name in ("trained", "untrained", "baseline")}
    networks = ", ".join(pairs["network"].unique()) or None
    return {"networks": networks, "n_pairs": len(pairs)} | better | medians
