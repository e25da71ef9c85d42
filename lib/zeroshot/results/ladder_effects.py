"""What training, and a larger corpus, change in the scores of the networks of a ladder."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from zeroshot import catalog


def effects(points: pd.DataFrame, corpus_pca: str | None = None) -> pd.DataFrame:
    """What training changes on each data set, and where that leaves a network beside the baselines.

    Parameters
    ----------
    points
        As :func:`zeroshot.results.ladders.by_corpus` returns them.
    corpus_pca
        Title of a network of them: PCA of the same corpora, see :func:`title_of_corpus_pca`.

    Returns
    -------
    pandas.DataFrame
        A row per network, corpus and data set: ``trained`` less ``untrained``, less each baseline, and less
        ``corpus_pca`` of the same corpus (NaN of itself), in columns ``gain`` and ``over <title>``; ``whole``
        and ``n_cells`` as there.
    """
    keys = ["network", "corpus", "dataset"]
    of_state = {state: part.set_index(keys) for state, part in points.groupby("state")}
    if "trained" not in of_state:
        return pd.DataFrame(columns=[*keys, "whole", "n_cells", "gain"])
    trained = of_state["trained"]
    # What is fitted in one go has no untrained state.
    before = of_state.get("untrained", trained[[]].assign(value=np.nan))["value"].reindex(trained.index)
    table = trained[["whole", "n_cells"]].assign(gain=trained["value"] - before)
    baselines = points[points["state"] == "baseline"].pivot(
        index="dataset", columns="network", values="value"
    )
    for name in baselines:
        on_dataset = trained.index.get_level_values("dataset").map(baselines[name])
        table[f"over {name}"] = trained["value"] - on_dataset
    table = table.reset_index()
    if corpus_pca is not None:
        on_corpus = trained.loc[trained.index.get_level_values("network") == corpus_pca, "value"]
        beside = table.join(on_corpus.droplevel("network"), ["corpus", "dataset"])["value"]
        differences = trained["value"].to_numpy() - beside
        table[f"over {corpus_pca}"] = differences.where(table["network"] != corpus_pca)
    return table


def title_of_corpus_pca(card: catalog.Ladder) -> str | None:
    """Title of the network of a ladder that is PCA of its corpora; None if it has none."""
    return next((one.title for one in card.networks.values() if one.model == "corpus-pca"), None)


def mean_and_interval(values: pd.Series) -> pd.Series:
    """Mean, low and high of its 95 % interval (Student's t, NaN for one value) and n; NaN is left out."""
    values = values.dropna()
    n, mean = len(values), values.mean()
    margin = stats.t.ppf(0.975, n - 1) * stats.sem(values) if n > 1 else np.nan
    return pd.Series({"mean": mean, "low": mean - margin, "high": mean + margin, "n": n})


def difference_text(difference: pd.Series, *, with_n: bool = False) -> str:
    """What :func:`mean_and_interval` returns of differences, as text: "+0.16 (+0.10 to +0.22; n = 9)"."""
    if difference["n"] == 0:
        return "–"
    mean, low, high = difference[["mean", "low", "high"]].round(2) + 0.0  # makes -0.0 zero
    details = [] if np.isnan(low) else [f"{low:+.2f} to {high:+.2f}"]
    details += [f"n = {difference['n']:.0f}"] if with_n else []
    return f"{mean:+.2f} ({'; '.join(details)})" if details else f"{mean:+.2f}"


def differences_by_training(changes: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Differences of each training as text: the mean over data sets with its interval.

    Parameters
    ----------
    changes
        As :func:`effects` returns them.
    columns
        Those of them to show, each with its heading.

    Returns
    -------
    pandas.DataFrame
        A row per network, corpus (``whole``) and cells of it.
    """
    by = changes.groupby(["network", "whole", "n_cells"])
    texts = {
        heading: by[column].apply(lambda values: _unbroken(difference_text(mean_and_interval(values))))
        for column, heading in columns.items()
        if column in changes
    }
    table = pd.DataFrame(texts).reset_index()
    return table.rename(columns={"whole": "corpus", "n_cells": "cells"})


def _unbroken(text: str) -> str:
    """A difference that breaks in a narrow column before its interval or n, and not inside."""
    return text.replace(" to ", "\u00a0to\u00a0").replace(" = ", "\u00a0=\u00a0")


def changes_by_network(points: pd.DataFrame, corpus_pca: str | None) -> dict[str, pd.DataFrame]:
    """What training and larger corpora change, network by network.

    Parameters
    ----------
    points, corpus_pca
        As for :func:`effects`.

    Returns
    -------
    dict
        "gain" of training, "over_corpus_pca" (trained less PCA of the same corpus), and "size" (effect of
        the largest corpus instead of the smallest). Each has a row per network: what
        :func:`mean_and_interval` returns over its trainings, of which each is the mean over its data sets.
    """
    columns = {"gain": "gain", "over_corpus_pca": f"over {corpus_pca}"}
    changes = effects(points, corpus_pca).reindex(columns=["network", "corpus", *columns.values()])
    changes = changes.set_index(["network", "corpus"]).astype(float)
    values = {name: changes[column] for name, column in columns.items()} | {"size": size_effects(points)}
    return {name: _over_trainings(one) for name, one in values.items()}


def _over_trainings(values: pd.Series) -> pd.DataFrame:
    by_training = values.dropna().groupby(level=[0, 1], sort=False).mean()
    rows = {network: mean_and_interval(part) for network, part in by_training.groupby(level=0, sort=False)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high", "n"])


def directions(changes: pd.DataFrame) -> str | None:
    """Which networks have higher scores and which lower, in words with n; None without a network.

    Parameters
    ----------
    changes
        A table of :func:`changes_by_network`.
    """
    low, high = changes["low"], changes["high"]
    tied = "not significantly different"
    sides = np.select([low > 0, high < 0, low.notna()], ["higher", "lower", tied], "not testable")
    texts = [
        f"{side} for {', '.join(changes.index[sides == side])}"
        for side in ("higher", "lower", tied, "not testable")
        if (sides == side).any()
    ]
    if not texts:
        return None
    n_trainings = [f"{n:.0f}" for n in sorted({changes["n"].min(), changes["n"].max()})]
    return f"{'; '.join(texts)} (n = {' to '.join(n_trainings)} trainings each)"


def changes_table(changes: Mapping[str, pd.DataFrame], headings: Mapping[str, str]) -> pd.DataFrame:
    """What :func:`changes_by_network` returns as text, "+0.16 (+0.10 to +0.22; n = 9)", by its headings."""
    columns = {
        heading: {
            network: _unbroken(difference_text(row, with_n=True)) for network, row in changes[name].iterrows()
        }
        for name, heading in headings.items()
    }
    return pd.DataFrame(columns).rename_axis("network").sort_index().fillna("–")


def size_effects(points: pd.DataFrame) -> pd.Series:
    """Score with the largest corpus of the same sources less that with the smallest, by network and data set.

    Only where both trainings are finished; indexed by network, whole and dataset.
    """
    trained = points[points["state"] == "trained"].sort_values("n_cells")
    by = trained.groupby(["network", "whole", "dataset"], sort=False)
    ends = by["value"].agg(["first", "last"])[by.size() > 1]
    return ends["last"] - ends["first"]


def summary(points: pd.DataFrame, correlations: pd.DataFrame) -> dict[str, int | None]:
    """The findings of a ladder in numbers; None where no training is finished.

    Parameters
    ----------
    points, correlations
        As :func:`zeroshot.results.ladders.by_corpus` and :func:`zeroshot.results.ladders.loss_correlations`
        return them.

    Returns
    -------
    dict
        "n_effects" networks, corpora and data sets, of which "n_over_pca" are better than PCA of the data
        set. "n_known" networks and data sets with a correlation, of which in "n_falling" the score rises as
        the loss falls (the 95 % interval is below 0), in "n_rising" falls with it (it is above 0), and in
        "n_uncertain" the interval includes 0.
    """
    changes = effects(points)
    complete = correlations.dropna(subset="rho")
    over_pca = changes.get("over PCA", pd.Series(dtype=float))
    return {
        "n_effects": len(changes),
        "n_over_pca": int((over_pca > 0).sum()),
        "n_known": len(complete),
        "n_falling": int((complete["high"] < 0).sum()) if len(complete) else None,
        "n_rising": int((complete["low"] > 0).sum()) if len(complete) else None,
        "n_uncertain": int((complete["low"] * complete["high"] <= 0).sum()) if len(complete) else None,
    }
