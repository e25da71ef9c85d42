"""Metrics on trial: the ladders are what they claim, and the verdicts follow from the scores."""

import numpy as np
import pandas as pd
import pytest

from zeroshot import catalog, data, metrics, results, study
from zeroshot.results import trial
from zeroshot.runtime import paths


@pytest.fixture(scope="module")
def cells():
    return trial.simulate(440, seed=1)


def test_sites_hold_batches_and_a_ladder_adds_one_disturbance(cells):
    sites = pd.DataFrame({"batch": cells["batches"], "site": [tuple(row) for row in cells["site_effect"]]})
    assert sites.groupby("batch")["site"].nunique().eq(1).all() and sites["site"].nunique() == trial.SITES
    for name in trial.LADDERS:
        rungs = trial.ladder(cells, name)
        assert (rungs[0] == cells["latent"]).all() and len(rungs) == len(trial.RUNGS) == 5
        moved = [np.abs(rung - cells["latent"]).mean() for rung in rungs]
        assert moved == sorted(moved) and moved[1] > 0
    again = trial.simulate(440, seed=1)
    assert all((again[name] == values).all() for name, values in cells.items())


def test_the_batch_silhouette_does_not_see_sites_and_those_within_types_do(cells):
    rungs = trial.ladder(cells, "sites")
    given = cells["labels"], cells["batches"]
    near, far = ([score(rung, *given) for rung in (rungs[0], rungs[-1])] for score in
                 (metrics.batch_integration_score, metrics.cilisi))  # fmt: skip
    assert near[1] >= near[0] - 0.02  # Rautenstrauch and Ohler 2025: only the nearest batch counts
    assert far[1] < far[0] - 0.2


def climbed(**values):
    """One seed, one ladder, these scores of its five rungs by metric."""
    rows = [
        ("noise", rung, 0, metric, value)
        for metric, five in values.items()
        for rung, value in enumerate(five)
    ]
    return pd.DataFrame(rows, columns=["ladder", "rung", "seed", "metric", "value"])


def test_every_ladder_is_scored_from_the_same_first_rung(monkeypatch):
    monkeypatch.setattr(trial, "TRIED", ("asw_label",))
    table = trial.climb(200, seed=1)
    rungs = table[table["ladder"] != trial.LABELS_ALONE].pivot(index="ladder", columns="rung", values="value")
    assert set(rungs.index) == set(trial.LADDERS) and rungs.shape == (3, len(trial.RUNGS))
    assert rungs[0].nunique() == 1 and (rungs[4] < rungs[0]).all() and set(table["seed"]) == {1}
    simulated = trial.simulate(200, seed=1)
    noisiest = trial.ladder(simulated, "noise")[-1]
    scores = metrics.score(noisiest, simulated["labels"], seed=1, names=["asw_label"])
    assert rungs.loc["noise", 4] == scores["value"].item()


def test_a_study_reads_what_its_jobs_have_written(home, monkeypatch):
    taught = pd.DataFrame([("x", trial.PERCEPTRON, "ari", 1 / 3), ("x", "PCA", "pcr", np.nan)])
    taught.columns = ["dataset", "variant", "metric", "value"]
    monkeypatch.setattr(trial, "climb", lambda n, seed: climbed(ari=[1, 0.7, 0.4, 0.1, 0]).assign(seed=seed))
    monkeypatch.setattr(trial, "teach", lambda adata, seed: taught)
    monkeypatch.setattr(data, "load", lambda name, **settings: None)
    for job in study.trials(catalog.study("smoke")):
        trial.compute(job.parameters, paths.study("smoke") / f"{job.path}.csv")
    ladders, perceptron = trial.load("smoke")
    assert perceptron.equals(taught) and ladders.groupby("seed")["value"].sum().tolist() == [2.2, 2.2]
    (paths.study("smoke") / "trial" / "ladders" / "1.csv").unlink()
    with pytest.raises(FileNotFoundError, match="Run the study first: `zeroshot run smoke`"):
        trial.load("smoke")


def test_numbers_for_readers_have_two_digits_and_no_negative_zero():
    table = pd.DataFrame({"score": [-0.001, 0.126, np.nan, -1.0], "pairs": [1, 2, 3, 4]})
    shown = results.two_digits(table)
    assert shown["score"].tolist() == ["0.00", "0.13", "–", "-1.00"]
    assert shown["pairs"].equals(table["pairs"])


def test_orders_by_hand():
    table = trial.orders(
        climbed(
            ari=[1, 0.7, 0.4, 0.1, -0.5], pcr=[0, 0.1, 0.2, 0.3, 0.4], ilisi=[0.1] * 5, nmi=[1, 0, 1, 0, 1]
        )
    ).set_index("metric")
    # Of PCR lower is better, so a rising value is the right order.
    assert table["correlation"].to_dict() == pytest.approx({"ari": 1, "pcr": 1, "ilisi": 0, "nmi": 0})
    assert table["change"].to_dict() == pytest.approx({"ari": 1, "pcr": 0.4, "ilisi": 0, "nmi": 0})
    assert table["low"].isna().all()  # of one seed


def test_trust_by_hand():
    rungs = climbed(
        ari=[1, 0.7, 0.4, 0.1, 0], scgraph=[1, 0.99, 0.98, 0.97, 0.96], ilisi=[0.1, 0.2, 0.3, 0.4, 0.5]
    )
    rows = [("one", "PCA", 0.5, 0.9), ("one", trial.PERCEPTRON, 0.9, 0.4)]
    taught = pd.DataFrame(rows, columns=["dataset", "variant", "ari", "scgraph"])
    taught = taught.melt(["dataset", "variant"], var_name="metric")
    apart = pd.DataFrame({"apart": [0.25]}, index=["ari"])
    table = trial.trust(rungs, taught, apart)
    assert list(table.index) == [name for name in metrics.METRICS if name in ("ari", "scgraph", "ilisi")]
    assert table["fooled by labels"].to_dict() == {"ari": True, "scgraph": False, "ilisi": False}
    assert table["fooled by noise"].to_dict() == {"ari": False, "scgraph": False, "ilisi": True}
    # scGraph orders the rungs, but by less than a twentieth of its range.
    assert table["trust"].to_dict() == {"ari": "noise", "scgraph": "nothing alone", "ilisi": "nothing alone"}
    assert table["apart"]["ari"] == 0.25


def test_a_perceptron_that_knows_the_labels_tops_avgbio_and_scgraph_exposes_it():
    taught = trial.teach(data.load("simulated-atlas", subset=600))
    scores = taught.pivot(index="metric", columns="variant", values="value")
    assert scores.loc["avg_bio", trial.PERCEPTRON] > scores.loc["avg_bio", "PCA"] + 0.05
    assert scores.loc["scgraph", trial.PERCEPTRON] < scores.loc["scgraph", "PCA"] - 0.05
    # What it has learnt by heart does not carry over to cells that it has not seen.
    gain = scores.loc["avg_bio", trial.HELD_OUT] - scores.loc["avg_bio", trial.PCA_HELD_OUT]
    assert gain < scores.loc["avg_bio", trial.PERCEPTRON] - scores.loc["avg_bio", "PCA"]
    fooled = trial.fooled_by_labels(taught)
    assert "avg_bio" in fooled and "scgraph" not in fooled and "ilisi" not in fooled
