"""What networks trained here reached on their own task, and what that says of the paper's two hypotheses."""

import json
from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd
from scipy import stats

from zeroshot import catalog
from zeroshot.results import comparisons, ladder_effects, ladders, reconstructions
from zeroshot.runtime import paths

# Section 3.3 of the paper gives two reasons why its models may not be better than simple methods.
HYPOTHESES: Mapping[str, str] = MappingProxyType(
    {
        "masking": "masked pretraining does not give useful cell embeddings",
        "task": "the models have not learnt their pretraining task",
    }
)
LEAST_TRAININGS = 3  # of a verdict, as of a correlation of losses and scores
NOT_TESTABLE = "not testable"
TRANSFORMERS = "transformers"  # the paper's models are such; the others of a ladder decide no verdict

_LOSSES = ["network", "corpus", "seed", "decoder", "untrained", "trained", "predictor", "baseline"]


def committed_losses() -> pd.DataFrame:
    """Losses of the networks whose weights are in this repository, on held-out cells of their corpora.

    Returns
    -------
    pandas.DataFrame
        A row per network (its title) and decoder: corpus, seed, loss ``untrained`` and ``trained``, and as
        ``baseline`` the lowest loss of a predictor without a network, named by ``predictor``. Squared errors
        of values, cross-entropies (nats) of ranks; lower is better.
    """
    rows = []
    for card in catalog.models().values():
        file = paths.weights_in_repository(card.name) / "training.json"
        if card.weights is None or not card.weights.in_repository or not file.is_file():
            continue
        record = json.loads(file.read_text())
        losses = record["validation"]
        predictor = min(losses["baselines"], key=losses["baselines"].get)
        about = {
            "network": card.title, "corpus": ", ".join(record["corpus"]["names"]),
            "seed": record["training"]["seed"], "predictor": predictor,
            "baseline": losses["baselines"][predictor],
        }  # fmt: skip
        rows += [
            about | {"decoder": decoder, "untrained": losses["untrained"][decoder], "trained": loss}
            for decoder, loss in losses["trained"].items()
        ]
    return pd.DataFrame(rows, columns=_LOSSES)


def ladder_losses(card: catalog.Ladder, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The same of each training of a ladder; no baseline where its table has none.

    Parameters
    ----------
    card, tables
        A ladder, and what :func:`zeroshot.results.ladders.load` returns of it.
    """
    keys = list(ladders.RUNG)
    by_step = tables["losses"].sort_values("step").groupby([*keys, "decoder"], sort=False)["loss"]
    losses = by_step.agg(untrained="first", trained="last").reset_index()
    best = tables["baselines"].sort_values("loss").drop_duplicates(keys).rename(columns={"loss": "baseline"})
    table = losses.merge(best, on=keys, how="left")
    return table.assign(network=table["network"].map(ladders.titles(card)))[_LOSSES]


def loss_curves(card: catalog.Ladder, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Losses of the trainings of a ladder by cells read, as multiples of the best without a network.

    Returns
    -------
    pandas.DataFrame
        Columns network (title), corpus, seed, decoder, cells, loss, baseline, and ``ratio`` of both, below 1
        where the network is better than the best predictor without one.
    """
    of_training = ladder_losses(card, tables).drop(columns=["untrained", "trained", "predictor"])
    losses = tables["losses"].assign(network=tables["losses"]["network"].map(ladders.titles(card)))
    curves = losses.merge(of_training, on=["network", "corpus", "seed", "decoder"])
    curves["ratio"] = curves["loss"] / curves["baseline"]
    columns = ["network", "corpus", "seed", "decoder", "cells", "loss", "baseline", "ratio"]
    return curves.sort_values("cells", kind="stable")[columns]


def evidence(
    card: catalog.Ladder,
    tables: Mapping[str, pd.DataFrame],
    metric: str,
    committed: pd.DataFrame,
    scores: pd.DataFrame,
) -> pd.DataFrame:
    """What the trainings say of each of the paper's two hypotheses.

    Parameters
    ----------
    card, tables
        As for :func:`ladder_losses`.
    metric
        One of the ladder's; higher is better.
    committed
        As :func:`committed_losses` returns them.
    scores
        Of a study: those of the same networks and of their untrained twins count, too.

    Returns
    -------
    pandas.DataFrame
        A row per hypothesis (a key of :data:`HYPOTHESES`), measurement and ``networks`` (transformers, or the
        autoencoder where it has values): ``mean`` over trainings (not contrastive ones), of which each is a
        network on a corpus and the mean over its data sets and seeds; ``low`` and ``high``, its 95 % interval
        (Student's t, NaN for one training); ``n`` trainings (pairs of trainings for the size of the corpus);
        and ``verdict``: "for" or "against" the hypothesis, "undecided" where the interval includes 0, "not
        testable" below :data:`LEAST_TRAININGS`.
    """
    contrastive = [name for name, network in card.networks.items() if network.is_contrastive]
    tables = {name: table[~table["network"].isin(contrastive)] for name, table in tables.items()}
    points = ladders.by_corpus(card, tables["scores"], metric)
    pca = ladder_effects.title_of_corpus_pca(card)
    trained = ladder_effects.effects(points, pca).dropna(subset="gain")  # not what is fitted in one go
    sizes = ladder_effects.size_effects(points)
    sizes = sizes[sizes.index.get_level_values("network").isin(trained["network"])]
    # The sign is that of values which speak for the hypothesis.
    measurements = [
        ("masking", "score, trained minus untrained, study", _over_twins(scores, metric, committed), -1),
        ("masking", "score, trained minus untrained, ladder", _by_training(trained, "gain"), -1),
        ("masking", "score, trained minus PCA of the same corpus", _by_training(trained, f"over {pca}"), -1),
        (
            "masking",
            "correlation of loss and score in a training",
            _within_trainings(card, tables, metric),
            1,
        ),
        ("task", "share of the simple loss saved, weights in this repository", _savings(committed), -1),
        ("task", "share of the simple loss saved, ladder", _savings(ladder_losses(card, tables)), -1),
        ("task", "score, largest minus smallest corpus", sizes.groupby(["network", "whole"]).mean(), 1),
    ]
    rows = []
    for hypothesis, measurement, values, sign in measurements:
        values = values.dropna()
        is_transformer = values.index.get_level_values("network").isin(_transformers(card))
        rows.append((hypothesis, measurement, TRANSFORMERS, _judge(values[is_transformer], sign)))
        if not is_transformer.all():
            rows.append((hypothesis, measurement, "autoencoder", _judge(values[~is_transformer], sign)))
    return pd.DataFrame(
        [
            {"hypothesis": hypothesis, "measurement": measurement, "networks": networks, **judged}
            for hypothesis, measurement, networks, judged in rows
        ]
    )


def beside_twins(scores: pd.DataFrame, subsamples: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Trained models of a study less their untrained twins, paired on the same subsamples of the cells.

    Parameters
    ----------
    scores, subsamples
        As :func:`zeroshot.results.load` and :func:`zeroshot.results.load_subsamples` return them.
    metric
        Name of a metric.

    Returns
    -------
    pandas.DataFrame
        A row per trained model and its twin (titles with the recipes): the median ``difference`` over data
        sets, and ``n``, their number, on which training is ``better``, ``not different`` (the 95 % interval
        of the difference includes 0) or ``worse``.
    """
    rows, methods = [], scores.drop_duplicates("method").set_index("method")["model"]
    for twin, name in methods.items():
        of = catalog.model(name).twin_of
        for method in methods.index[methods.eq(of)] if of else ():
            pair = scores[scores["method"].isin([method, twin])]
            apart = comparisons.differences(pair, subsamples, metric, twin)
            counts = comparisons.tally(apart)
            rows.append(
                {"trained": method, "untrained": twin, "difference": apart["difference"].median(),
                 "better": counts["better"], "not different": counts["ties"], "worse": counts["worse"],
                 "n": counts["pairs"]}
            )  # fmt: skip
    columns = ["trained", "untrained", "difference", "better", "not different", "worse", "n"]
    return pd.DataFrame(rows, columns=columns).query("n > 0").sort_values("difference", ignore_index=True)


def in_words(pairs: pd.DataFrame) -> str | None:
    """What :func:`beside_twins` returns, model by model; None without a pair."""
    texts = [
        f"{row['trained']} better on {row['better']}, worse on {row['worse']}, not significantly different "
        f"on {row['not different']} (n = {row['n']})"
        for row in pairs.to_dict("records")
    ]
    return "; ".join(texts) or None


def task_effects(card: catalog.Ladder, points: pd.DataFrame) -> pd.Series:
    """Scores of contrastive networks less those of networks of the same size that predict what is hidden.

    Parameters
    ----------
    card, points
        A ladder, and what :func:`zeroshot.results.ladders.by_corpus` returns of it.

    Returns
    -------
    pandas.Series
        By ``size`` (model and architecture), corpus and data set, where both are trained.
    """
    rows = points[points["state"].eq("trained")]
    by_title = {network.title: network for network in card.networks.values()}
    networks = [by_title[title] for title in rows["network"]]
    rows = rows.assign(
        size=[f"{network.model} {dict(network.architecture)}" for network in networks],
        is_contrastive=[network.is_contrastive for network in networks],
    )
    keys = ["size", "corpus", "dataset"]
    values = rows.groupby([*keys, "is_contrastive"])["value"].mean().unstack()
    values = values.reindex(columns=[True, False])
    return (values[True] - values[False]).dropna()


def verdicts(rows: pd.DataFrame) -> dict[str, str]:
    """One verdict for each hypothesis: that of all measurements of transformers that decide, or "mixed".

    Parameters
    ----------
    rows
        As :func:`evidence` returns them.
    """
    by_name = {}
    for name in HYPOTHESES:
        of_it = rows[rows["hypothesis"].eq(name) & rows["networks"].eq(TRANSFORMERS)]
        tested = of_it.loc[of_it["verdict"].ne(NOT_TESTABLE), "verdict"]
        decided = tested[tested.ne("undecided")].unique()
        by_name[name] = "mixed" if len(decided) > 1 else next(iter([*decided, *tested]), NOT_TESTABLE)
    return by_name


def tally(rows: pd.DataFrame) -> dict[str, str]:
    """Of each hypothesis, how many measurements of transformers have which verdict, in words."""
    of_transformers = rows[rows["networks"].eq(TRANSFORMERS)]
    return {
        name: ", ".join(f"{n} {verdict}" for verdict, n in part["verdict"].value_counts().items())
        for name, part in of_transformers.groupby("hypothesis")
    }


def _judge(values: pd.Series, sign: int) -> dict[str, float | int | str]:
    """Mean and interval of what trainings have; the sign is that of values for the hypothesis."""
    mean, low, high, n = ladder_effects.mean_and_interval(values)
    verdict = NOT_TESTABLE
    if n >= LEAST_TRAININGS:
        verdict = "undecided" if low <= 0 <= high else "for" if mean * sign > 0 else "against"
    return {"mean": mean, "low": low, "high": high, "n": int(n), "verdict": verdict}


def _transformers(card: catalog.Ladder) -> set[str]:
    """Titles of the networks that read tokens and predict what is masked, as the models of the paper do."""
    of_ladder = {network.title: catalog.model(network.model) for network in card.networks.values()}
    by_title = of_ladder | {one.title: one for one in catalog.models().values()}
    return {title for title, one in by_title.items() if one.objective is not None}


def _by_training(rows: pd.DataFrame, column: str) -> pd.Series:
    keys = ["network", "corpus"]
    return rows.reindex(columns=[*keys, column]).groupby(keys)[column].mean()


def _over_twins(scores: pd.DataFrame, metric: str, committed: pd.DataFrame) -> pd.Series:
    """Scores of networks whose weights are here less those of their twins, mean over data sets."""
    pairs = reconstructions.trained_and_untrained(scores[scores["metric"].eq(metric)])
    pairs = pairs[pairs["network"].isin(committed["network"])]
    return pairs.assign(gain=pairs["trained"] - pairs["untrained"]).groupby("network")["gain"].mean()


def _within_trainings(card: catalog.Ladder, tables: Mapping[str, pd.DataFrame], metric: str) -> pd.Series:
    """Spearman's correlation of loss and score over the states of each training."""
    states = ladders.with_losses(tables, metric)
    states["network"] = states["network"].map(ladders.titles(card))
    keys = [*ladders.RUNG, "dataset"]
    rhos = [
        (*key, stats.spearmanr(part["loss"], part["value"]).statistic)
        for key, part in states.groupby(keys)
        if part["loss"].nunique() > 1 and part["value"].nunique() > 1
    ]
    return _by_training(pd.DataFrame(rhos, columns=[*keys, "rho"]), "rho")


def _savings(losses: pd.DataFrame) -> pd.Series:
    """How much lower a loss is than the best without a network, as a share of that; a mean over decoders."""
    return _by_training(losses.assign(saving=1 - losses["trained"] / losses["baseline"]), "saving")
