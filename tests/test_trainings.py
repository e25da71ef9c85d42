"""What trainings reached on their own task, and what they say of the paper's two hypotheses."""

import json

import numpy as np
import pandas as pd
import pytest

from zeroshot import catalog
from zeroshot.results import ladders, trainings
from zeroshot.runtime import paths

CORPORA = ("blood-1-percent", "not-blood-1-percent", "all-1-percent", "all")


@pytest.fixture
def card() -> catalog.Ladder:
    return catalog.ladder("small")


def tables(gains: list[float], *, loss: float = 5.0) -> dict[str, pd.DataFrame]:
    """Trainings of masked ranks that raise the score by so much, and PCA that has 0.5 on each corpus."""
    losses, scores = [], []
    for corpus, gain in zip(CORPORA, gains, strict=False):
        about = {"network": "ranks", "corpus": corpus, "seed": 0}
        losses += [about | {"step": step, "decoder": "token", "cells": 10 * step, "tokens": 0, "loss": value}
                   for step, value in ((0, 9.0), (7, loss))]  # fmt: skip
        for dataset in ("pbmc-sorted", "baron-human1"):
            here = {"dataset": dataset, "metric": "avg_bio", "low": np.nan, "high": np.nan}
            scores += [
                about | here | {"step": step, "value": value} for step, value in ((0, 0.2), (7, 0.2 + gain))
            ]
            scores.append(about | here | {"network": "corpus-pca", "step": 1, "value": 0.5})
    simple = [
        {"network": "ranks", "corpus": corpus, "seed": 0, "predictor": name, "loss": value}
        for corpus in CORPORA[: len(gains)]
        for name, value in (("gene frequency", 8.0), ("gene frequency at the rank", 6.0))
    ]
    rows = {"losses": losses, "baselines": simple, "scores": scores}
    return {
        name: pd.DataFrame(rows[name], columns=layout.all_columns) for name, layout in ladders.TABLES.items()
    }


SCORES = pd.DataFrame(
    [("scgpt-small", "a", 0.5), ("scgpt-small", "b", 0.4), ("scgpt-small-untrained", "a", 0.3),
     ("scgpt-small-untrained", "b", 0.3), ("corpus-pca", "a", 0.9), ("corpus-pca-untrained", "a", 0.1)],
    columns=["model", "dataset", "value"],
).assign(metric="avg_bio")  # fmt: skip


def evidence(card, gains, **options) -> pd.DataFrame:
    nothing = trainings.committed_losses().assign(baseline=np.nan)
    rows = trainings.evidence(card, tables(gains, **options), "avg_bio", nothing, SCORES)
    return rows.set_index("measurement")


def test_the_networks_of_this_repository_have_losses_beside_those_without_a_network():
    losses = trainings.committed_losses().set_index(["network", "decoder"])
    autoencoders = {"Corpus autoencoder", "Corpus autoencoder all"}
    assert {"scGPT small", "Geneformer small", *autoencoders} == set(losses.index.get_level_values(0))
    assert (losses["trained"] < losses["untrained"]).all()
    record = json.loads((paths.weights_in_repository("scgpt-small") / "training.json").read_text())
    row = losses.loc[("scGPT small", "gep")]
    assert row["trained"] == record["validation"]["trained"]["gep"]
    assert row["baseline"] == min(record["validation"]["baselines"].values())


def test_the_weights_of_this_repository_are_of_the_trainings_whose_scores_the_ladder_has():
    losses = ladders.load("small")["losses"].query("seed == 0").sort_values("step")
    last = losses.groupby(["network", "corpus", "decoder"])["loss"].last()
    networks = {"scgpt-small": "values", "geneformer-small": "ranks", "corpus-autoencoder-all": "autoencoder"}
    for model, network in networks.items():
        record = json.loads((paths.weights_in_repository(model) / "training.json").read_text())
        (corpus,) = record["corpus"]["names"]
        for decoder, loss in record["validation"]["trained"].items():  # another training differs by 2e-5
            assert loss == pytest.approx(last[network, corpus, decoder], rel=5e-6), (model, decoder)


def test_losses_of_a_ladder_stand_beside_the_best_without_a_network(card):
    row = trainings.ladder_losses(card, tables([0.1])).iloc[0]
    assert (row["untrained"], row["trained"], row["baseline"]) == (9, 5, 6)
    assert row["predictor"] == "gene frequency at the rank"
    curves = trainings.loss_curves(card, tables([0.1, 0.2]))
    assert curves.groupby("corpus")["ratio"].agg(list).to_dict() == {key: [1.5, 5 / 6] for key in CORPORA[:2]}
    older = tables([0.1])
    older["baselines"] = older["baselines"].iloc[:0]
    assert np.isnan(trainings.ladder_losses(card, older)["baseline"].iloc[0])


def test_hypotheses_are_judged_by_intervals_over_trainings(card):
    rows = evidence(card, [0.1, 0.2, 0.15, 0.16])
    of_study = rows.loc["score, trained minus untrained, study"]
    assert (of_study["mean"], of_study["n"]) == (pytest.approx(0.15), 1)  # not of PCA, which masks nothing
    gain = rows.loc["score, trained minus untrained, ladder"]
    assert gain["mean"] == pytest.approx(0.1525)
    assert gain["low"] == pytest.approx(0.1525 - 3.182446 * np.std([0.1, 0.2, 0.15, 0.16], ddof=1) / 2)
    assert (gain["n"], gain["verdict"]) == (4, "against")
    pca = rows.loc["score, trained minus PCA of the same corpus"]
    assert (pca["mean"], pca["verdict"]) == (pytest.approx(-0.1475), "for")
    assert rows.loc["correlation of loss and score in a training", "mean"] == pytest.approx(-1)
    saved = rows.loc["share of the simple loss saved, ladder"]
    assert (saved["mean"], saved["verdict"]) == (pytest.approx(1 / 6), "against")
    size = rows.loc["score, largest minus smallest corpus"]
    assert (size["mean"], size["n"], size["verdict"]) == (pytest.approx(0.01), 1, "not testable")
    assert trainings.verdicts(rows.reset_index()) == {"masking": "mixed", "task": "against"}


def test_contrastive_trainings_are_compared_with_masked_ones_and_judge_no_hypothesis(card):
    of_ranks = tables([0.1, 0.2, 0.15, 0.16])
    of_values, contrastive = (tables(gains)["scores"] for gains in ([0.1, 0.2, 0.3], [0.5, 0.4]))
    for rows, name in ((of_values, "values"), (contrastive, "contrastive")):
        rows["network"] = rows["network"].where(rows["network"] == "corpus-pca", name)
    scores = pd.concat([contrastive, of_values]).query("network != 'corpus-pca'")
    effects = trainings.task_effects(card, ladders.by_corpus(card, scores, "avg_bio"))
    assert effects.groupby("corpus").agg(list).to_dict() == {
        CORPORA[0]: pytest.approx([0.4, 0.4]), CORPORA[1]: pytest.approx([0.2, 0.2]),
    }  # fmt: skip
    assert trainings.task_effects(card, ladders.by_corpus(card, of_values, "avg_bio")).empty

    losses = tables([0.5, 0.4], loss=1.0)["losses"].assign(network="contrastive")
    both = {
        "losses": pd.concat([of_ranks["losses"], losses]), "baselines": of_ranks["baselines"],
        "scores": pd.concat([of_ranks["scores"], scores[scores["network"] == "contrastive"]]),
    }  # fmt: skip
    nothing = trainings.committed_losses()
    pd.testing.assert_frame_equal(
        trainings.evidence(card, both, "avg_bio", nothing, SCORES),
        trainings.evidence(card, of_ranks, "avg_bio", nothing, SCORES),
    )


def test_an_autoencoder_stands_beside_the_transformers_and_decides_no_verdict(card):
    both = tables([-0.1, -0.2, -0.15, -0.16])
    gains = tables([0.1, 0.2, 0.15, 0.16])
    scores = gains["scores"][gains["scores"]["network"] != "corpus-pca"].assign(network="autoencoder")
    both["scores"] = pd.concat([both["scores"], scores])
    nothing = trainings.committed_losses().assign(baseline=np.nan)
    rows = trainings.evidence(card, both, "avg_bio", nothing, SCORES)
    gained = rows[rows["measurement"].eq("score, trained minus untrained, ladder")].set_index("networks")
    assert gained["mean"].to_dict() == pytest.approx({"transformers": -0.1525, "autoencoder": 0.1525})
    assert gained["verdict"].to_dict() == {"transformers": "for", "autoencoder": "against"}
    assert trainings.verdicts(rows)["masking"] == "for"
    assert trainings.tally(rows)["masking"] == "3 for, 1 not testable"


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (["against", "undecided", "not testable"], "against"),
        (["against", "for", "undecided"], "mixed"),
        (["undecided", "not testable"], "undecided"),
    ],
)
def test_measurements_that_decide_nothing_leave_the_verdict_to_the_others(measured, verdict):
    rows = pd.DataFrame({"hypothesis": "task", "networks": "transformers", "verdict": measured})
    assert trainings.verdicts(rows)["task"] == verdict


def test_trained_models_of_a_study_are_paired_with_their_twins():
    rows = [
        ("scgpt-small", "scGPT small", [0.5, 0.52]), ("hvg", "HVG", [0.6, 0.6]),
        ("scgpt-small-untrained", "scGPT small untrained", [0.7, 0.7]),
    ]  # fmt: skip
    scores = pd.DataFrame(
        [{"dataset": "a", "model": model, "method": method, "metric": "avg_bio", "value": np.mean(values),
          "seed_sd": np.nan, "cluster_sd": np.nan, "seeds": 1, "n_cells": 1000}
         for model, method, values in rows]
    )  # fmt: skip
    subsamples = pd.DataFrame(
        [{"dataset": "a", "method": method, "metric": "avg_bio", "subsample": place, "cells": 100,
          "value": value}
         for _, method, values in rows for place, value in enumerate(values * 5)]
    )  # fmt: skip
    pairs = trainings.beside_twins(scores, subsamples, "avg_bio")
    assert pairs["trained"].tolist() == ["scGPT small"]
    assert pairs.loc[0, ["better", "not different", "worse", "n"]].tolist() == [0, 0, 1, 1]
    assert pairs.loc[0, "difference"] == pytest.approx(-0.19)
    words = "scGPT small better on 0, worse on 1, not significantly different on 0 (n = 1)"
    assert trainings.in_words(pairs) == words
    assert trainings.in_words(trainings.beside_twins(scores.iloc[:2], subsamples, "avg_bio")) is None


@pytest.mark.parametrize(
    ("gains", "loss", "verdicts"),
    [
        ([], 5, {"masking": "not testable", "task": "not testable"}),
        ([0.1, 0.2], 5, {"masking": "not testable", "task": "not testable"}),
        ([-0.1, -0.11, -0.12], 7, {"masking": "for", "task": "for"}),
    ],
)
def test_no_verdict_rests_on_fewer_than_three_trainings(card, gains, loss, verdicts):
    rows = evidence(card, gains, loss=loss).reset_index()
    assert trainings.verdicts(rows) == verdicts
    assert (rows.loc[rows["n"] < 3, "verdict"] == "not testable").all()
