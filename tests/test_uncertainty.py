"""Intervals of scores: which cells a subsample holds, what the spread says, and who is better or tied."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from zeroshot import figures, metrics, results
from zeroshot.metrics import clustering, scoring, uncertainty
from zeroshot.store import values

LABELS = np.repeat(["a", "b", "c", "d"], [600, 200, 12, 1])


def cells(n_cells=300, seed=0):
    """Three labels in two batches, a little apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_cells)
    embedding = rng.normal(size=(n_cells, 5)) + 2 * np.eye(3, 5)[labels]
    return embedding.astype(np.float32), labels.astype(str), rng.integers(0, 2, n_cells).astype(str)


# -- subsamples


def test_subsamples_hold_every_label_in_proportion():
    rows = metrics.stratified_subsamples(LABELS, seed=1)
    assert rows.shape == (10, 60 + 20 + 2 + 1)
    for chosen in rows:
        assert (np.diff(chosen) > 0).all()
        assert dict(zip(*np.unique(LABELS[chosen], return_counts=True), strict=True)) == {
            "a": 60, "b": 20, "c": 2, "d": 1,
        }  # fmt: skip
    assert len(np.unique(rows, axis=0)) == 10


def test_subsamples_follow_from_labels_and_seed():
    first = metrics.stratified_subsamples(LABELS, seed=3)
    assert (metrics.stratified_subsamples(pd.Categorical(LABELS), seed=3) == first).all()
    assert not (metrics.stratified_subsamples(LABELS, seed=4) == first).all()


@pytest.mark.parametrize("options", [{"fraction": 0}, {"fraction": 1}, {"repeats": 0}])
def test_impossible_subsamples_are_refused(options):
    with pytest.raises(ValueError, match="fraction must be between 0 and 1 and repeats at least 1"):
        metrics.stratified_subsamples(LABELS, **options)


# -- half widths


def test_half_width_by_hand():
    values = np.array([0.4, 0.5, 0.6])
    expected = stats.t.ppf(0.975, 2) * np.sqrt(10 / 90) * 0.1
    assert metrics.half_width(values, 10, 100) == pytest.approx(expected)


@pytest.mark.parametrize(("values", "subsampled"), [([0.5], 10), ([0.5, np.nan], 10), ([0.5, 0.6], 100)])
def test_no_half_width_without_a_spread(values, subsampled):
    assert np.isnan(metrics.half_width(np.array(values), subsampled, 100))


def test_seeds_widen_the_interval_by_hand():
    values = np.array([0.4, 0.5, 0.6])
    of_cells, of_seeds = 10 / 90 * 0.01, 0.05**2
    freedom = (of_cells + of_seeds) ** 2 / (of_cells**2 / 2 + of_seeds**2 / 4)
    expected = stats.t.ppf(0.975, freedom) * np.sqrt(of_cells + of_seeds)
    assert metrics.half_width(values, 10, 100, [(0.05, 5)]) == pytest.approx(expected)
    same_everywhere = np.full(3, 0.5)
    assert metrics.half_width(same_everywhere, 10, 100, [(0.05, 5)]) == pytest.approx(
        stats.t.ppf(0.975, 4) * 0.05
    )
    assert metrics.half_width(same_everywhere, 10, 100) == 0
    assert np.isnan(metrics.half_width(values, 10, 100, [(np.nan, 5)]))


def test_intervals_with_seeds_hold_the_mean_over_seeds_as_often_as_they_say():
    """Level of a seed and noise of cells, both Gaussian; three seeds, the first one's score is reported."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(600):
        seeds = 0.5 + 0.02 * rng.normal(size=3)
        cells = rng.normal(seeds[0], 0.3, size=1000)
        parts = np.array([cells[rng.choice(1000, 100, replace=False)].mean() for _ in range(10)])
        deviation = np.std(seeds + rng.normal(0, 0.3 / np.sqrt(1000), 3), ddof=1)
        held.append(abs(cells.mean() - 0.5) <= metrics.half_width(parts, 100, 1000, [(deviation, 3)]))
    assert 0.92 <= np.mean(held) <= 0.995


def test_intervals_of_a_mean_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    labels = np.zeros(400)
    held = []
    for trial in range(300):
        values = rng.exponential(size=400)
        rows = metrics.stratified_subsamples(labels, seed=trial)
        half = metrics.half_width(values[rows].mean(axis=1), rows.shape[1], 400)
        held.append(abs(values.mean() - 1) <= half)
    assert 0.92 <= np.mean(held) <= 0.98


# -- scores with intervals


@pytest.fixture(scope="module")
def scored():
    return metrics.score_with_intervals(*cells(), seed=2)


def test_every_score_has_an_interval_around_it(scored):
    embedding, labels, batches = cells()
    scores, subsamples = scored
    plain = metrics.score(embedding, labels, batches, seed=2)
    pd.testing.assert_frame_equal(scores[["metric", "group", "value"]], plain[["metric", "group", "value"]])
    for found, expected in zip(scores["note"], plain["note"], strict=True):
        assert found.startswith(expected)
    assert list(scores["metric"]) == list(metrics.METRICS)
    found = scores.dropna(subset="low").set_index("metric")
    assert {"nmi", "bras", "pcr"} < set(found.index) < set(scores.dropna(subset="value")["metric"])
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()
    assert found["note"].str.endswith("interval from subsamples of 31 cells").all()
    for name, row in found.iterrows():
        assert min(metrics.METRICS[name].worst, metrics.METRICS[name].best) <= row["low"]
        assert row["high"] <= max(metrics.METRICS[name].worst, metrics.METRICS[name].best)
    asw = subsamples[subsamples["metric"] == "asw_label"]
    rows = metrics.stratified_subsamples(labels, seed=2)
    again = metrics.asw_label(metrics.label_widths(embedding[rows[4]], labels[rows[4]]))
    assert asw["value"].iloc[4] == pytest.approx(again) and set(asw["cells"]) == {rows.shape[1]}


def test_more_cells_make_narrower_intervals():
    width = {}
    for n_cells in (300, 2700):
        scores, _ = metrics.score_with_intervals(*cells(n_cells)[:2], names=["asw_label", "pcr"])
        row = scores.set_index("metric").loc["asw_label"]
        width[n_cells] = row["high"] - row["low"]
    assert width[2700] < 0.6 * width[300]


def test_subsamples_of_another_share():
    embedding, labels, batches = cells()
    options = {"seed": 1, "names": ["asw_label"]}
    scores, halves = metrics.score_with_intervals(embedding, labels, batches, fraction=0.5, **options)
    rows = metrics.stratified_subsamples(labels, fraction=0.5, seed=1)
    expected = metrics.score_subsamples(embedding, labels, batches, rows, **options)
    pd.testing.assert_frame_equal(halves, expected)
    half = metrics.half_width(halves["value"].to_numpy(), rows.shape[1], len(labels))
    assert scores["high"].item() - scores["value"].item() == pytest.approx(half)


def test_a_neighbourhood_of_all_cells_has_no_interval(scored):
    # In a tenth of 300 cells there are 31: all 50 neighbours of kBET, and less than the 90 of LISI.
    scores, parts = scored
    rows = scores.set_index("metric")
    assert (parts.loc[parts["metric"] == "kbet", "value"] == 1).all() and rows.loc["kbet", "value"] < 1
    without = {"kbet", "ilisi", "clisi"}
    assert rows.loc[list(without), ["low", "high"]].isna().all(axis=None)
    assert rows.loc[list(without), "note"].str.contains("no interval: a neighbourhood of").all()
    assert rows.loc[["avg_bio", "knn_accuracy"], ["low", "high"]].notna().all(axis=None)
    again = metrics.intervals(scores, parts, 300)
    pd.testing.assert_frame_equal(again, scores)  # no note twice
    # A graph of 15 neighbours needs more than 15 cells, and what is clustered on it.
    of_few = metrics.intervals(scores, parts.assign(cells=15), 300).set_index("metric")["low"]
    assert of_few[["nmi", "avg_bio", "ari_leiden", "graph_connectivity", "knn_accuracy"]].isna().all()
    assert of_few[["asw_label", "pcr", "linear_probe"]].notna().all()


@pytest.mark.parametrize(
    ("metric", "value", "on_subsamples", "has_one"),
    [
        ("nmi", 1.0, 1.0, True),  # the best there is, everywhere
        ("pcr_comparison", 0.0, 0.0, True),
        ("graph_connectivity", 0.87, 1.0, False),  # on all cells it is another
        ("knn_accuracy", 0.5, 0.5, False),
        ("knn_accuracy", 0.5, [0.5, 0.5000001, 0.5], False),  # kept to six digits, these are the same
        ("knn_accuracy", 0.5, [0.5, 0.51, 0.5], True),
        ("knn_accuracy", 0.5, [0.5, np.nan, 0.6], False),
    ],
)
def test_a_score_that_is_always_the_same_looks_sure(metric, value, on_subsamples, has_one):
    values = np.broadcast_to(on_subsamples, 3)
    scores = pd.DataFrame({"metric": [metric], "group": "", "value": value, "note": "", "cluster_sd": np.nan})
    parts = pd.DataFrame({"subsample": range(3), "metric": metric, "value": values, "cells": 120})
    row = metrics.intervals(scores, parts, 1200).iloc[0]
    assert np.isfinite(row["low"]) == np.isfinite(row["high"]) == has_one
    assert row["note"].startswith("no interval: ") != has_one


def test_a_metric_reads_neighbourhoods_of_the_size_that_it_says(monkeypatch):
    embedding, labels, batches = cells(60)
    sizes = set()

    def recorded(near, k):
        sizes.add(k)
        return first(near, k)

    first = metrics.Neighbors.first
    monkeypatch.setattr(metrics.Neighbors, "first", recorded)
    for name in metrics.METRICS:
        sizes.clear()
        metrics.score(embedding, labels, batches, baseline=embedding, names=[name])
        assert scoring.neighborhood(name) == max(sizes, default=0), name


def test_progress_names_what_is_computed_and_the_subsamples():
    embedding, labels, batches = cells(60)
    said = []
    metrics.score_with_intervals(
        embedding, labels, batches, names=["asw_label", "kbet"], progress=said.append
    )
    expected = ["asw label", "label widths", "kbet", "neighbors 50", "neighbors"]
    assert said == [*expected, *(f"subsample {n} of 10" for n in range(1, 11))]


def test_what_does_not_apply_has_no_interval():
    embedding, labels, _ = cells()
    scores, _ = metrics.score_with_intervals(embedding, labels, names=["asw_label", "ilisi"])
    row = scores.set_index("metric").loc["ilisi"]
    assert row[["value", "low", "high"]].isna().all() and row["note"] == "not applicable: no batches given"


def test_scores_under_other_seeds_are_in_the_interval():
    embedding, labels, batches = cells()
    scores, parts = metrics.score_with_intervals(embedding, labels, batches, names=["asw_label", "pcr"])
    assert (scores["seeds"] == 1).all() and scores["seed_sd"].isna().all()
    first = scores["value"].to_numpy()
    others = pd.DataFrame(
        [(seed, *row) for seed in (1, 2) for row in zip(scores["metric"], first + 0.03 * seed, strict=True)],
        columns=["seed", "metric", "value"],
    )
    wider = metrics.intervals(scores, parts, len(labels), others)
    assert (wider["seeds"] == 3).all() and wider["seed_sd"].to_numpy() == pytest.approx([0.03, 0.03])
    assert (wider["value"] == scores["value"]).all()
    assert (wider["high"] - wider["low"] > scores["high"] - scores["low"]).all()
    broken = others.assign(value=others["value"].where(others["seed"] == 1))
    assert metrics.intervals(scores, parts, len(labels), broken)[["low", "high"]].isna().all().all()


# -- seeds of the clustering


def test_two_equally_good_partitions_have_a_spread(monkeypatch):
    """A square of four cells falls into two pairs of neighbours: along the labels or across them."""

    def square(shared):
        corners = shared["embedding"]
        return sparse.csr_matrix(np.abs(corners[:, None] - corners[None]).sum(axis=2) == 1)

    by_seed = {}  # 1 for pairs that are the labels, else 0

    def louvain(shared):
        (clusters,) = partitions = clustering.louvain(shared["graph"], (1.5,), seed=shared.seed)
        by_seed[shared.seed] = float(len(set(zip(shared["labels"], clusters, strict=True))) == 2)
        return partitions

    monkeypatch.setitem(scoring.INTERMEDIATES, "graph", square)
    monkeypatch.setitem(scoring.INTERMEDIATES, "louvain", louvain)
    monkeypatch.setattr(scoring, "RESOLUTIONS", (1.5,))
    corners, labels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float), np.array(list("aabb"))
    names = ["nmi", "ari", "asw_label"]
    scores = metrics.score(corners, labels, seed=3, names=names, clusterings=5).set_index("metric")
    assert list(by_seed) == [3, 4, 5, 6, 7] and set(by_seed.values()) == {0, 1}
    spread = np.std(list(by_seed.values()), ddof=1)
    assert scores.loc["nmi", "value"] == by_seed[3]
    assert scores.loc["nmi", "cluster_sd"] == pytest.approx(spread)
    # By hand: pairs across the labels agree on 2 of 6 pairs of cells, 10/3 expected of 6, so ARI is -1/2.
    assert scores.loc["ari", "cluster_sd"] == pytest.approx(1.5 * spread)
    assert np.isnan(scores.loc["asw_label", "cluster_sd"])


def test_clusters_that_never_change_leave_the_interval_as_it_is():
    embedding, labels, batches = cells()
    embedding = embedding + 20 * np.eye(3, 5)[labels.astype(int)]
    names = ["avg_bio", "avg_bio_label_free", "nmi_leiden"]
    scores, parts = metrics.score_with_intervals(embedding, labels, batches, names=names)
    assert (scores["cluster_sd"] == 0).all()
    without = metrics.intervals(scores.assign(cluster_sd=np.nan), parts, len(labels))
    ends = ["low", "high"]
    np.testing.assert_allclose(scores[ends], without[ends], rtol=1e-12)


def test_the_spread_over_clusterings_widens_the_interval_by_hand():
    embedding, labels, batches = cells()
    names = ["asw_label", "nmi", "ari"]
    scores, parts = metrics.score_with_intervals(embedding, labels, batches, names=names)
    assert (scores["cluster_sd"] > 0).tolist() == [False, True, True]
    assert scores["cluster_sd"].isna().tolist() == [True, False, False]
    nmi = scores.set_index("metric").loc["nmi"]
    of_cells = parts.loc[parts["metric"] == "nmi", "value"].to_numpy()
    half = metrics.half_width(of_cells, parts["cells"].iloc[0], 300, [(nmi["cluster_sd"], 5)])
    assert nmi["high"] - nmi["value"] == pytest.approx(half)
    assert half > metrics.half_width(of_cells, parts["cells"].iloc[0], 300)


# -- differences


def compared(metric, ours, theirs, spread=0.01):
    """Scores of two methods on one data set; both move together from subsample to subsample."""
    noise = np.random.default_rng(0).normal(size=10)
    rows = {"HVG": (theirs, 0.0), "PCA": (ours, spread)}
    scores = pd.DataFrame(
        [("toy", name, name.lower(), metric, value, 1000) for name, (value, _) in rows.items()],
        columns=["dataset", "method", "model", "metric", "value", "n_cells"],
    ).assign(seeds=1, seed_sd=np.nan, cluster_sd=np.nan)
    subsamples = pd.DataFrame(
        [
            ("toy", name, metric, k, value + noise[k] + own * noise[(k + 3) % 10], 100)
            for name, (value, own) in rows.items()
            for k in range(10)
        ],
        columns=["dataset", "method", "metric", "subsample", "value", "cells"],
    )
    return scores, subsamples


@pytest.mark.parametrize(
    ("metric", "ours", "verdict"),
    [
        ("avg_bio", 0.6, "better"), ("avg_bio", 0.4, "worse"), ("avg_bio", 0.501, "tie"),
        ("pcr", 0.6, "worse"), ("pcr", 0.4, "better"),
    ],
)  # fmt: skip
def test_verdicts(metric, ours, verdict):
    table = results.differences(*compared(metric, ours, 0.5), metric)
    assert list(table["verdict"]) == [verdict] and list(table["method"]) == ["PCA"]
    assert table["difference"].iloc[0] == pytest.approx(ours - 0.5)


def test_verdicts_are_counted():
    table = pd.DataFrame({"verdict": ["tie", "better", "tie"]})
    assert results.tally(table) == {"pairs": 3, "better": 1, "ties": 2, "worse": 0}
    assert results.tally(table[:0]) == {"pairs": 0, "better": 0, "ties": 0, "worse": 0}


def test_differences_are_paired():
    table = results.differences(*compared("avg_bio", 0.6, 0.5), "avg_bio")
    alone = metrics.half_width(np.random.default_rng(0).normal(size=10), 100, 1000)
    assert table["high"].iloc[0] - table["difference"].iloc[0] < 0.05 * alone


def test_what_varies_with_the_seed_makes_a_tie():
    scores, subsamples = compared("avg_bio", 0.6, 0.5)
    assert results.differences(scores, subsamples, "avg_bio")["verdict"].tolist() == ["better"]
    for varied in (scores.assign(seeds=3, seed_sd=[0.0, 0.05]), scores.assign(cluster_sd=[np.nan, 0.05])):
        assert results.differences(varied, subsamples, "avg_bio")["verdict"].tolist() == ["tie"]


def test_without_an_interval_there_is_no_verdict_and_nobody_is_tied():
    scores, subsamples = compared("kbet", 0.6, 0.5)
    assert results.differences(scores, subsamples, "kbet")["verdict"].tolist() == ["better"]
    for meaningless in (subsamples.assign(cells=50), subsamples.assign(value=1.0)):
        pairs = results.differences(scores, meaningless, "kbet")
        assert pairs.empty and figures.draw_differences(pairs, "kBET").axes[0].texts
        places = results.winners(scores, meaningless, "kbet").set_index("method")["place"]
        assert places.to_dict() == {"PCA": "best"}


def test_pairs_without_scores_are_left_out():
    scores, subsamples = compared("avg_bio", 0.6, 0.5)
    assert results.differences(scores.assign(value=np.nan), subsamples, "avg_bio").empty
    assert results.differences(scores, subsamples.iloc[:0], "avg_bio").empty
    with pytest.raises(LookupError, match="no method is called 'scVI' in these scores; there are HVG, PCA"):
        results.differences(scores, subsamples, "avg_bio", reference="scVI")


def test_winners_and_who_is_tied_with_them():
    tables = [compared("avg_bio", ours, 0.5) for ours in (0.6, 0.501)]
    names = ["clear", "close"]
    scores, subsamples = (
        pd.concat([table.assign(dataset=name) for table, name in zip(of, names, strict=True)])
        for of in zip(*tables, strict=True)
    )
    noise = scores.assign(method="random", model="random", value=0.9)
    table = results.winners(pd.concat([scores, noise]), subsamples, "avg_bio")
    assert table.to_dict("list") == {
        "dataset": ["clear", "close", "close"],
        "method": ["PCA", "PCA", "HVG"],
        "value": [0.6, 0.501, 0.5],
        "place": ["best", "best", "tied with the best"],
    }
    assert results.winners(scores.assign(value=np.nan), subsamples, "avg_bio").empty


def test_lowest_wins_where_lower_is_better():
    table = results.winners(*compared("pcr", 0.6, 0.5), "pcr")
    assert table["method"].tolist() == ["HVG"] and table["place"].tolist() == ["best"]


def test_ten_tenths_as_the_paper():
    assert (uncertainty.REPEATS, uncertainty.FRACTION) == (10, 0.1)


def test_a_table_read_from_the_store_gives_the_same_intervals(scored, tmp_path):
    """There an empty note is a missing one."""
    scores, subsamples = scored[0].assign(note=""), scored[1]
    file = tmp_path / "scores"
    values.write_value(file, scores)
    stored = values.READERS[".csv"](file.with_suffix(".csv"))
    assert stored["note"].isna().any()
    pd.testing.assert_frame_equal(
        metrics.intervals(stored, subsamples, 300), metrics.intervals(scores, subsamples, 300)
    )
