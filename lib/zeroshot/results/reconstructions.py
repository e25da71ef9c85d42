"""Whether trained networks put hidden genes back better than their untrained twins."""

import pandas as pd

from zeroshot import catalog


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
    twins = {name: card.twin_of for name, card in catalog.models().items() if card.twin_of}
    keys = ["model", "dataset"]
    of_networks = rows[rows["predictor"] == prediction]
    untrained = of_networks.assign(model=of_networks["model"].map(twins)).groupby(keys)["value"].mean()
    trained = of_networks[~of_networks["model"].isin(twins)].groupby(keys)["value"].mean()
    beside = rows[rows["predictor"] == baseline].groupby(keys)["value"].mean()
    parts = {"trained": trained, "untrained": untrained, "baseline": beside}
    table = pd.concat(parts, axis=1).dropna(subset=["trained", "untrained"]).reset_index()
    titles = {name: catalog.model(name).title for name in table["model"]}
    return table.assign(network=table["model"].map(titles))[["network", "dataset", *parts]]


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
