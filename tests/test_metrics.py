"""Metrics: contracts every registered metric keeps, and parity with the references."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import metrics as reference
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

from zeroshot import metrics
from zeroshot.metrics import METRICS, NotApplicable, cluster_sweep, label_oracle, score
from zeroshot.metrics.registry import Metric, metric
from zeroshot.metrics.scoring import INTERMEDIATES

CELLS, LABELS, BATCHES, DIM = 360, 4, 3, 16

KNOWN_ARGUMENTS = {"embedding", "labels", "batches", "baseline", *INTERMEDIATES}


def names_of(group):
    return [name for name, registered in METRICS.items() if registered.group == group]


@pytest.fixture(scope="module")
def labels():
    return np.array([f"type {i % LABELS}" for i in range(CELLS)])


@pytest.fixture(scope="module")
def batches():
    # Every label holds every batch in equal parts, and the file is sorted by batch, as files are.
    return np.array([f"batch {i // (CELLS // BATCHES)}" for i in range(CELLS)])


@pytest.fixture(scope="module")
def mixed(labels):
    """Overlapping types, no batch effect: a realistic good embedding."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(LABELS, DIM)) * 1.5
    return (centres[np.unique(labels, return_inverse=True)[1]] + rng.normal(size=(CELLS, DIM))).astype("f4")


@pytest.fixture(scope="module")
def separated(mixed, batches):
    """The same types, each batch far away from the others in another direction."""
    offsets = np.zeros((CELLS, DIM + BATCHES), dtype="f4")
    offsets[np.arange(CELLS), DIM + np.unique(batches, return_inverse=True)[1]] = 100
    return offsets + np.pad(mixed, ((0, 0), (0, BATCHES)))


def values(embedding, labels, batches=None, **options):
    return score(embedding, labels, batches, **options).set_index("metric")["value"]


@pytest.fixture(scope="module")
def mixed_scores(mixed, separated, labels, batches):
    return values(mixed, labels, batches, baseline=separated)


@pytest.fixture(scope="module")
def separated_scores(separated, labels, batches):
    return values(separated, labels, batches, baseline=separated)


@pytest.fixture(scope="module")
def oracle_scores(separated, labels, batches):
    return values(label_oracle(labels, seed=0), labels, batches, baseline=separated)


@pytest.fixture(scope="module")
def noise_scores(separated, labels, batches):
    return values(np.random.default_rng(5).normal(size=(CELLS, 50)), labels, batches, baseline=separated)


def goodness(name, value):
    """Place of a value between worst (0) and best (1)."""
    return (value - METRICS[name].worst) / (METRICS[name].best - METRICS[name].worst)


# -- contracts over the registry: of each embedding, all metrics are scored at once


def test_glossary_rows_are_complete():
    for name, registered in METRICS.items():
        row = registered.glossary()
        assert all(row[key] for key in row if key != "differs"), name
        assert row["name"] == name
        assert "\\" in row["formula"] and "\n\n" not in row["formula"], name
        assert not row["summary"].endswith(","), name
        assert set(registered.arguments) <= KNOWN_ARGUMENTS | set(METRICS), name


def test_values_stay_in_range(mixed_scores, separated_scores, oracle_scores, noise_scores):
    for scores in (mixed_scores, separated_scores, oracle_scores, noise_scores):
        assert list(scores.index) == list(METRICS)
        for name, registered in METRICS.items():
            # ARI alone can fall below its registered worst; -0.5 is what its docstring states.
            low = -0.5 if name.startswith("ari") else min(registered.best, registered.worst)
            assert low <= scores[name] <= max(registered.best, registered.worst), name


def test_oracle_is_near_the_best(oracle_scores):
    for name in names_of("annotation"):
        if METRICS[name].oracle_is_best:
            assert goodness(name, oracle_scores[name]) > 0.98, name
    # Not 1 even here: iLISI wants exactly equal parts in every neighbourhood, and the silhouettes of BRAS
    # are not 0 cell by cell in as few dimensions as there are labels.
    for name in names_of("integration"):
        assert goodness(name, oracle_scores[name]) > 0.8, name


def test_what_labels_alone_do_not_reach_is_reached_by_the_cells_before_integration(
    oracle_scores, separated, labels, batches
):
    names = [name for name, registered in METRICS.items() if not registered.oracle_is_best]
    before = values(separated, labels, batches, baseline=separated, names=names)
    for name in names:
        assert goodness(name, oracle_scores[name]) < 0.7 < 0.9 < goodness(name, before[name]), name


def test_shuffled_labels_are_near_chance(mixed, labels, batches):
    shuffled = np.random.default_rng(0).permutation(labels)
    names = [name for name in names_of("annotation") if METRICS[name].oracle_is_best]
    scores = values(mixed, shuffled, batches, names=names)
    for name, score_of_shuffled in scores.items():
        if METRICS[name].chance is None:
            assert goodness(name, score_of_shuffled) < 0.5, name
        else:
            assert score_of_shuffled == pytest.approx(METRICS[name].chance, abs=0.04), name


def test_separated_batches_score_badly_and_mixed_ones_well(mixed_scores, separated_scores):
    for name in names_of("integration"):
        # Graph connectivity cannot fall below the share of the largest batch, here a third.
        bound = 0.34 if name == "graph_connectivity" else 0.1
        assert goodness(name, separated_scores[name]) < bound, name
        assert goodness(name, mixed_scores[name]) > 0.8, name


def test_noise_scores_well_so_integration_is_never_shown_alone(noise_scores, oracle_scores, mixed_scores):
    for name in names_of("integration"):
        assert goodness(name, noise_scores[name]) > 0.8, name
    assert noise_scores["avg_bio"] < 0.3 < oracle_scores["avg_bio"]
    assert noise_scores["batch_integration_score"] > 0.97
    assert noise_scores["batch_integration_score"] >= mixed_scores["batch_integration_score"]


def test_order_of_cells_changes_nothing(mixed, separated, labels, batches, mixed_scores):
    order = np.random.default_rng(3).permutation(CELLS)
    cells = mixed[order], labels[order], batches[order]
    scores = values(*cells, baseline=separated[order], names=list(METRICS))
    pd.testing.assert_series_equal(scores, mixed_scores, check_exact=True)


def test_a_metric_asked_for_alone_has_the_same_value(mixed, separated, labels, batches, mixed_scores):
    # One metric for each way of sharing: neighbours, clusters, widths, other metrics, the baseline.
    for name in ("clisi", "ari_leiden", "isolated_labels", "avg_bio_label_free", "pcr_comparison"):
        alone = values(mixed, labels, batches, baseline=separated, names=[name])
        assert alone.to_dict() == {name: mixed_scores[name]}


def test_rotation_changes_nothing(mixed, separated, labels, batches, mixed_scores):
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(DIM, DIM)))[0]
    rotated = mixed.astype("f8") @ rotation
    rotated = values(rotated, labels, batches, baseline=separated, names=list(METRICS))
    for name, registered in METRICS.items():
        # Louvain visits cells in another order and folds hold other cells, so single cells may differ;
        # scGraph trims dimension by dimension.
        drawn = name in ("linear_probe", "scgraph")
        drawn |= any(a.startswith(("clusters", "leiden", "nmi")) for a in registered.arguments)
        assert rotated[name] == pytest.approx(mixed_scores[name], abs=0.05 if drawn else 1e-5), name


def test_one_batch_is_not_applicable_by_name(mixed, labels):
    needing = [n for n, m in METRICS.items() if m.group == "integration" or "batches" in m.arguments]
    for batches, reason in ((None, "no batches given"), (["a"] * CELLS, "one batch")):
        for _, row in score(mixed, labels, batches, names=needing).iterrows():
            assert np.isnan(row["value"]) and row["note"] == f"not applicable: {reason}", row["metric"]


def test_one_label_is_not_applicable_by_name(mixed):
    given = {
        "embedding": mixed[:20],
        "labels": np.zeros(20, dtype=int),
        "batches": np.arange(20) % 2,
        "label_widths": np.zeros(20),
        "leiden": np.zeros((2, 20), dtype=int),
        "baseline": mixed[:20],
        "neighbors_16": metrics.nearest_neighbors(mixed[:20], 16),
        "neighbors_25": metrics.nearest_neighbors(mixed[:20], 20),
        "neighbors_90": metrics.nearest_neighbors(mixed[:20], 20),
    }
    for name in names_of("annotation"):
        arguments = METRICS[name].arguments
        if "labels" in arguments and set(arguments) <= set(given):  # the others compare labelings, or average
            with pytest.raises(NotApplicable, match="one label"):
                METRICS[name].function(**{argument: given[argument] for argument in arguments})


def test_a_handful_of_cells_gives_a_value_or_a_reason():
    rng = np.random.default_rng(0)
    for cells in (3, 4, 9, 12):
        labels, batches = np.arange(cells) % 2, np.arange(cells) // 2 % 2
        embedding, before = rng.normal(size=(2, cells, 2))
        for _, row in score(embedding, labels, batches, baseline=before, names=list(METRICS)).iterrows():
            finite = np.isfinite(row["value"]) or row["note"].startswith("not applicable: ")
            assert finite, f"{row['metric']} of {cells} cells"


# What the guide's example of a metric of cell types is held to as well.
CONTRACT = (
    test_glossary_rows_are_complete,
    test_values_stay_in_range,
    test_oracle_is_near_the_best,
    test_shuffled_labels_are_near_chance,
    test_order_of_cells_changes_nothing,
    test_rotation_changes_nothing,
    test_one_batch_is_not_applicable_by_name,
    test_one_label_is_not_applicable_by_name,
    test_a_handful_of_cells_gives_a_value_or_a_reason,
)


# -- the table


def test_table_has_one_row_per_metric_in_registry_order(mixed, labels, batches):
    table = score(mixed, labels, batches)
    assert list(table.columns) == ["metric", "group", "value", "note", "cluster_sd"]
    assert list(table["metric"]) == list(METRICS)
    assert list(table["group"]) == [m.group for m in METRICS.values()]
    notes = table.set_index("metric")["note"]
    sweep = cluster_sweep(mixed, labels)
    assert notes["nmi"] == notes["avg_bio"] == f"resolution {sweep.resolutions[sweep.by_label]}"
    assert notes["ari_label_free"] == f"resolution {sweep.resolutions[sweep.label_free]}"
    assert notes["nmi_leiden"] == notes["ari_leiden"] and notes["nmi_leiden"].startswith("resolution ")
    assert notes["asw_label"] == ""
    pd.testing.assert_frame_equal(table, score(mixed, list(labels), pd.Categorical(batches)))


def test_capped_neighbours_are_noted(mixed, labels, batches):
    notes = score(
        mixed[-60:], labels[-60:], np.tile(["a", "b"], 30), names=["clisi", "ilisi", "kbet"]
    ).set_index("metric")["note"]
    assert notes["clisi"] == notes["ilisi"] == "90 neighbours capped at all 60 cells"
    assert notes["kbet"] == ""


def test_cells_that_are_labels_or_batches_of_their_own_are_not_applicable(mixed):
    own = np.arange(30)
    for labels_, batches_, group, what in (
        (own, own % 2, "annotation", "label"),
        (own % 2, own, "integration", "batch"),
    ):
        names = [name for name, registered in METRICS.items() if registered.group == group]
        rows = score(mixed[:30], labels_, batches_, baseline=mixed[:30], names=names)
        assert rows["value"].isna().all()
        assert (rows["note"] == f"not applicable: every {what} has one cell").all()
    # Each batch has two cells, but of different labels.
    rows = score(mixed[:12], own[:12] % 2, own[:12] // 2, names=["bras", "kbet"])
    assert rows["note"].tolist()[0] == "not applicable: no label with several batches has two cells of one"
    assert np.isfinite(rows["value"].tolist()[1])


def test_labels_that_are_batches_are_not_applicable(mixed, batches):
    notes = score(mixed, batches, batches).set_index("metric")["note"]
    assert notes["batch_integration_score"] == "not applicable: no label has more than one batch"
    assert notes["bras"] == notes["batch_integration_score"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, y, b: (e[:5], y, b), "labels has 360 entries for 5 cells"),
        (lambda e, y, b: (e, y, b[:7]), "batches has 7 entries for 360 cells"),
        (
            lambda e, y, b: (np.where(np.arange(CELLS)[:, None] == 8, np.nan, e), y, b),
            "1 cells, first in row 8",
        ),
        (lambda e, y, b: (e, ["T cell"] * CELLS, b), "one distinct value"),
        (lambda e, y, b: (e, [None, *y[1:]], b), "labels is missing for 1 cells"),
        (lambda e, y, b: (e, y, [np.nan, *b[1:]]), "batches is missing for 1 cells"),
        (lambda e, y, b: (e[:, 0], y, b), "dense numeric"),
        (lambda e, y, b: (e[:2], y[:2], b[:2]), "At least 3 cells"),
        (lambda e, y, b: (e, np.stack([y, y], axis=1), b), r"labels must be \(cells,\)"),
    ],
)
def test_bad_input_is_refused(change, message, mixed, labels, batches):
    with pytest.raises(ValueError, match=message):
        score(*change(mixed, labels, batches))


def test_bad_baseline_is_refused(mixed, labels, batches):
    with pytest.raises(ValueError, match="baseline has 5 rows for 360 cells"):
        score(mixed, labels, batches, baseline=mixed[:5])
    with pytest.raises(ValueError, match="baseline has NaN or infinite values in 360 cells"):
        score(mixed, labels, batches, baseline=mixed * np.inf)
    with pytest.raises(ValueError, match="baseline must be a dense numeric"):
        score(mixed, labels, batches, baseline=sparse.csr_matrix(mixed))


def test_without_a_baseline_what_compares_with_it_says_so(mixed, labels, batches):
    names = ["pcr", "pcr_comparison", "average_batch"]
    table = score(mixed, labels, batches, names=names).set_index("metric")
    assert np.isfinite(table["value"]["pcr"])
    reason = "not applicable: no embedding before integration was given"
    assert (table["note"][names[1:]] == reason).all() and table["value"][names[1:]].isna().all()


def test_unknown_metric_is_refused(mixed, labels):
    with pytest.raises(ValueError, match=r"Unknown metric 'asw_labels': choose among .*asw_label,"):
        score(mixed, labels, names=["asw_labels"])


@pytest.fixture
def scratch_registry(monkeypatch):
    scratch = dict(METRICS)
    monkeypatch.setattr("zeroshot.metrics.registry.METRICS", scratch)
    monkeypatch.setattr("zeroshot.metrics.scoring.METRICS", scratch)


@pytest.mark.usefixtures("scratch_registry")
def test_nan_without_a_reason_is_an_error(mixed, labels):
    @metric(group="annotation", label="broken")
    def broken(labels):
        return np.nan

    with pytest.raises(ValueError, match="'broken' returned nan"):
        score(mixed, labels, names=["broken"])


@pytest.mark.usefixtures("scratch_registry")
def test_registry_refuses_what_would_mislead():
    def nmi(labels):
        return 0.0

    with pytest.raises(ValueError, match="registered already"):
        metric(group="annotation", label="NMI")(nmi)
    with pytest.raises(ValueError, match="contradict"):
        metric(group="annotation", label="x", higher_is_better=False)
    with pytest.raises(ValueError, match="group must be"):
        metric(group="speed", label="x")
    with pytest.raises(ValueError, match=r"lacks a summary line.*Source"):
        Metric("nmi", nmi, "annotation", "NMI", 1, 0, True, None).glossary()
    wrong = Metric("pcr", metrics.pcr, "integration", "PCR", 1, 0, True, None)
    with pytest.raises(ValueError, match="disagree on the direction"):
        wrong.glossary()


# -- silhouettes


@pytest.mark.parametrize("dim", [1, 16, 300])
def test_silhouettes_agree_with_sklearn(dim):
    rng = np.random.default_rng(dim)
    embedding = (rng.normal(size=(150, dim)) + 1000).astype("f4")
    several = np.stack(
        [rng.integers(0, 5, 150), rng.integers(0, 2, 150), np.r_[0, 1, rng.integers(2, 4, 148)]]
    )
    ours = metrics.silhouette_widths(embedding, several)
    for widths, labeling in zip(ours, several, strict=True):
        # In float64: sklearn's float32 is off by 1e-4 this far from the origin.
        expected = reference.silhouette_samples(embedding.astype("f8"), labeling)
        np.testing.assert_allclose(widths, expected, atol=1e-6)
    assert (ours[2, :2] == 0).all()  # singletons


def test_silhouettes_of_labelings_that_are_alike_are_those_of_each(mixed, labels):
    several = np.stack(
        [labels, np.where(labels == labels[0], "other", labels), np.random.default_rng(0).permutation(labels)]
    )
    for alike in (several[:2], several):  # few groups of cells in all, or many
        together = metrics.silhouette_widths(mixed, np.concatenate([alike, alike]))
        each = np.concatenate([metrics.silhouette_widths(mixed, one[None]) for one in alike])
        np.testing.assert_allclose(together, np.concatenate([each, each]), atol=1e-12)


def test_silhouette_blocks_do_not_show(monkeypatch, mixed, labels):
    whole = metrics.silhouette_widths(mixed, labels[None])
    near = metrics.nearest_neighbors(mixed, 20)
    monkeypatch.setattr("zeroshot.metrics.neighbors.ROWS", {"cpu": 7, "cuda": 7})
    monkeypatch.setattr("zeroshot.metrics.silhouette.BLOCK", {"cpu": 7, "cuda": 7})
    np.testing.assert_allclose(metrics.silhouette_widths(mixed, labels[None]), whole, atol=1e-9)
    np.testing.assert_array_equal(metrics.nearest_neighbors(mixed, 20).indices, near.indices)


def test_threads_of_torch_stay_as_they_were(monkeypatch, mixed, labels):
    import torch

    monkeypatch.setattr("zeroshot.metrics.silhouette.BLOCK", {"cpu": 50, "cuda": 50})
    before = torch.get_num_threads()
    metrics.label_widths(mixed, labels)
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_silhouettes_of_awkward_cells_agree_with_sklearn(monkeypatch, offset, dtype):
    monkeypatch.setattr("zeroshot.metrics.silhouette.BLOCK", {"cpu": 16, "cuda": 16})
    rng = np.random.default_rng(3)
    embedding = rng.normal(size=(80, 6))
    embedding[:30] = embedding[0]  # equal rows, more than a block of them
    embedding[40:50] *= 1e-3  # a tight label
    embedding = (embedding + offset).astype(dtype)
    labeling = rng.integers(0, 3, 80)
    labeling[:20], labeling[40:50], labeling[79] = 0, 3, 4  # the last is a label of one cell
    widths = metrics.silhouette_widths(embedding, labeling[None])[0]
    # From the differences themselves: sklearn's own distances lose the tight label this far from the origin.
    differences = embedding.astype("f8")[:, None] - embedding.astype("f8")
    distances = np.sqrt((differences**2).sum(axis=2))
    expected = reference.silhouette_samples(distances, labeling, metric="precomputed")
    np.testing.assert_allclose(widths, expected, atol=1e-6)
    assert widths[79] == 0


def test_silhouettes_by_cosine_agree_with_sklearn(monkeypatch, mixed, labels):
    monkeypatch.setattr("zeroshot.metrics.silhouette.BLOCK", {"cpu": 64, "cuda": 64})
    embedding = mixed.copy()
    embedding[:3], embedding[3:6], embedding[6] = 2 * embedding[9], embedding[9], 0
    ours = metrics.silhouette_widths(embedding, labels[None], distance="cosine")[0]
    expected = reference.silhouette_samples(embedding.astype("f8"), labels, metric="cosine")
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_label_widths_are_computed_once_for_all_that_need_them(monkeypatch, mixed, labels, batches):
    calls = []

    def counted(embedding, labels):
        calls.append(len(labels))
        return metrics.label_widths(embedding, labels)

    monkeypatch.setattr("zeroshot.metrics.scoring.label_widths", counted)
    found = values(mixed, labels, batches, names=["asw_label", "isolated_labels"])
    assert calls == [CELLS]
    widths = metrics.label_widths(mixed, labels)
    assert found["asw_label"] == pytest.approx(metrics.asw_label(widths), abs=1e-12)
    isolated = metrics.isolated_labels(widths, labels, batches)
    assert found["isolated_labels"] == pytest.approx(isolated, abs=1e-12)


def test_the_clusters_of_nmi_need_no_silhouettes(monkeypatch, mixed, labels):
    monkeypatch.setattr("zeroshot.metrics.scoring.mean_silhouettes", None)  # raises when called
    found = values(mixed, labels, names=["nmi", "ari"])
    monkeypatch.undo()
    sweep = cluster_sweep(mixed, labels)
    clusters = sweep.clusters[sweep.by_label]
    assert found["nmi"] == pytest.approx(metrics.nmi(labels, clusters))
    assert found["ari"] == pytest.approx(metrics.ari(labels, clusters))


def test_silhouette_by_hand():
    widths = metrics.silhouette_widths(np.array([[0.0], [1.0], [4.0], [6.0]]), np.array([[0, 0, 1, 1]]))
    # First cell: a = 1, b = (4 + 6) / 2 = 5. Third: a = 2, b = (4 + 3) / 2 = 3.5.
    np.testing.assert_allclose(widths[0], [4 / 5, 3 / 4, 1.5 / 3.5, 3.5 / 5.5], atol=1e-6)
    identical = metrics.label_widths(np.zeros((4, 2)), np.array([0, 0, 1, 1]))
    assert (identical == 0).all() and metrics.asw_label(identical) == 0.5


def test_silhouette_refuses_one_label(mixed):
    with pytest.raises(ValueError, match="at least 2 labels"):
        metrics.silhouette_widths(mixed, np.zeros((1, CELLS)))
    with pytest.raises(NotApplicable, match="one label"):
        metrics.label_widths(mixed, np.zeros(CELLS))


def test_silhouette_metrics_agree_with_scib_metrics(mixed, separated, labels, batches, scib_metrics):
    # Padded to one shape: every shape costs scib-metrics a compilation.
    for embedding in (np.pad(mixed, ((0, 0), (0, BATCHES))), separated):
        assert metrics.asw_label(metrics.label_widths(embedding, labels)) == pytest.approx(
            scib_metrics.silhouette_label(embedding, labels), abs=1e-5
        )
        assert metrics.batch_integration_score(embedding, labels, batches) == pytest.approx(
            scib_metrics.silhouette_batch(embedding, labels, batches), abs=1e-5
        )
        assert metrics.bras(embedding, labels, batches) == pytest.approx(
            scib_metrics.bras(embedding, labels, batches), abs=1e-4
        )


def test_batch_score_by_hand():
    embedding = np.array([[0.0], [1.0], [4.0], [6.0], [9.0], [9.5]])
    labels = np.array(["a", "a", "a", "a", "b", "b"])
    batches = np.array([0, 0, 1, 1, 0, 0])  # label b has one batch and does not count
    expected = 1 - np.mean([4 / 5, 3 / 4, 1.5 / 3.5, 3.5 / 5.5])
    assert metrics.batch_integration_score(embedding, labels, batches) == pytest.approx(expected, abs=1e-6)


def test_isolated_labels_by_hand():
    embedding = np.array([[0.0], [1.0], [4.0], [6.0]])
    labels, batches = np.array(list("aabb")), np.array([0, 0, 0, 1])
    widths = metrics.label_widths(embedding, labels)
    # Label a is in one batch, b in two; the widths are those of test_silhouette_by_hand.
    assert metrics.isolated_labels(widths, labels, batches) == pytest.approx((1 + (4 / 5 + 3 / 4) / 2) / 2)
    # With both labels in both batches, both count.
    batches = np.array([0, 1, 0, 1])
    both = (1 + np.mean([4 / 5, 3 / 4, 1.5 / 3.5, 3.5 / 5.5])) / 2
    assert metrics.isolated_labels(widths, labels, batches) == pytest.approx(both)


def test_isolated_labels_agree_with_scib_metrics(mixed, separated, labels, batches, scib_metrics):
    # In the second, two labels are in two of the three batches.
    fewer = np.where(np.isin(labels, ["type 0", "type 2"]) & (batches == "batch 1"), "type 1", labels)
    for embedding in (np.pad(mixed, ((0, 0), (0, BATCHES))), separated):
        for named in (labels, fewer):
            expected = scib_metrics.isolated_labels(embedding, named, batches)
            ours = metrics.isolated_labels(metrics.label_widths(embedding, named), named, batches)
            assert ours == pytest.approx(expected, abs=1e-4)


def test_bras_of_depth_alone_is_1(labels, batches):
    depth = np.random.default_rng(0).uniform(500, 5000, size=(CELLS, 1))
    assert metrics.bras(depth, labels, batches) == 1


# -- any finite data


def blobs(n_cells=90, dim=6):
    """Three labels, apart."""
    labels = np.arange(n_cells) % 3
    return 8 * np.eye(3, dim)[labels] + np.random.default_rng(0).normal(size=(n_cells, dim)), labels


def exact(embedding):
    """Distances from the differences, each scaled by its largest one: nothing over- or underflows."""
    points = np.asarray(embedding, dtype=np.float64)
    points = np.ldexp(points, -np.frexp(np.abs(points).max())[1])
    differences = points[:, None] - points
    largest = np.abs(differences).max(axis=2)
    scaled = differences / np.where(largest > 0, largest, 1)[..., None]
    return largest * np.sqrt((scaled**2).sum(axis=2))


def far_out(power, dtype="f8"):
    embedding = blobs()[0]
    embedding[30:33] = np.eye(6)[[3, 4, 5]] * 10.0**power
    return embedding.astype(dtype)


def extreme_embeddings():
    plain = blobs()[0]
    return {
        "cells at 1e5": far_out(5),
        "cells at 1e8, float32": far_out(8, "f4"),
        "cells at 1e30, float32": far_out(30, "f4"),
        "cells at 1e120": far_out(120),
        "half of the cells far out": np.where(np.arange(90)[:, None] < 45, 1e9, 1) * plain,
        "tight clusters far apart": 1e-9 * plain + 1e6 * (np.arange(90)[:, None] % 2),
        "offset": 1e-3 * plain + 1e6,
        "dominant column": np.column_stack([plain, 1e8 * (np.arange(90) // 3 % 2)]),
        "1e-30": 1e-30 * plain,
        "denormal": 1e-318 * plain,
        "largest of float32": (2e37 * plain).astype("f4"),
        "1e200": 1e200 * plain,
        "equal cells": np.repeat(plain[:30], 3, axis=0),
        "float16": plain.astype("f2"),
        "int8": (5 * plain).astype("i1"),
        "Fortran order, strided": np.asfortranarray(np.repeat(plain, 2, axis=1))[:, ::2],
        "one dimension": plain[:, :1],
    }


@pytest.mark.filterwarnings("error")
def test_neighbours_and_silhouettes_are_those_of_exact_distances():
    labels = blobs()[1]
    place = (np.arange(90) - np.arange(90)[:, None]) % 90
    for name, embedding in extreme_embeddings().items():
        distances = exact(embedding)
        widths = metrics.silhouette_widths(embedding, labels[None])[0]
        expected = reference.silhouette_samples(distances, labels, metric="precomputed")
        np.testing.assert_allclose(widths, expected, atol=1e-6, err_msg=name)
        near = metrics.nearest_neighbors(embedding, 12)
        mantissas, exponents = np.frexp(distances)
        rounded = np.ldexp((mantissas * 2**30).round(), exponents)  # equal ones tie
        np.fill_diagonal(rounded, -1)
        found = near.indices
        ranked = np.lexsort([place, rounded])[:, :12]
        np.testing.assert_array_equal(np.sort(found), np.sort(ranked), err_msg=name)
        length = np.ldexp(near.distances, -np.frexp(np.abs(embedding).max().astype("f8"))[1])
        expected = np.take_along_axis(distances, found, axis=1)
        np.testing.assert_allclose(length, expected, rtol=1e-5, err_msg=name)  # denormals are rounded


@pytest.mark.filterwarnings("error")
def test_scores_of_extreme_embeddings_are_those_of_ordinary_ones(batches):
    plain, labels = blobs()
    batches = np.arange(90) // 3 % 2
    same = ["asw_label", "knn_accuracy", "nmi", "ilisi", "clisi", "kbet"]
    same += ["batch_integration_score", "pcr", "bras"]
    expected = values(plain, labels, batches, names=same)
    for factor in (1e-30, 1e-318, 1e30, 1e200):
        found = values(factor * plain, labels, batches, names=same)
        np.testing.assert_allclose(found, expected, atol=2e-4, err_msg=factor)
    moved = values(plain + 1e8, labels, batches, names=[*same[:-1], "linear_probe"])  # directions change
    np.testing.assert_allclose(moved[same[:-1]], expected[same[:-1]], atol=2e-4)
    # Three cells far out: their own labels and ties change, no neighbourhood of the other cells does.
    names = ["nmi", "clisi", "kbet", "graph_connectivity", "knn_accuracy"]
    near, far = (values(far_out(power), labels, batches, names=names) for power in (3, 8))
    assert far["knn_accuracy"] > 0.95 and far["nmi"] > 0.85
    np.testing.assert_allclose(far, near, atol=1e-5)


def test_distances_that_float64_cannot_hold_are_refused():
    labels = blobs()[1]
    for embedding, message in (
        (far_out(200), "more than 140 powers of ten"),
        (np.where(np.arange(90)[:, None] < 45, 1e200, 1e-200) * blobs()[0], "up to 1e+201, too large"),
        (1e305 * blobs()[0], "too large for distances"),
    ):
        with pytest.raises(ValueError, match=message.replace("+", r"\+")):
            score(embedding, labels, names=["knn_accuracy"])


def test_silhouettes_by_cosine_of_nearly_parallel_cells_agree_with_exact_ones():
    plain, labels = blobs()
    directions = np.where(np.arange(6) == 0, 1, 1e-7 * plain)
    directions[:3] *= [[3.0], [1e-200], [1e200]]
    widths = metrics.silhouette_widths(directions, labels[None], distance="cosine")[0]
    # Half the squared distance of the rest: what the rows' lengths change is 1e-13 of it.
    squared = exact(1e-7 * plain[:, 1:]) ** 2
    expected = reference.silhouette_samples(squared, labels, metric="precomputed")
    np.testing.assert_allclose(widths, expected, atol=1e-6)


# -- neighbours and graph


def test_neighbours_agree_with_sklearn(mixed):
    ours = metrics.nearest_neighbors(mixed, 30)
    distances, indices = (
        NearestNeighbors(n_neighbors=30, algorithm="brute").fit(mixed.astype("f8")).kneighbors()
    )
    np.testing.assert_array_equal(ours.indices[:, 0], np.arange(CELLS))
    np.testing.assert_array_equal(ours.indices[:, 1:], indices[:, :29])
    np.testing.assert_allclose(ours.distances[:, 1:], distances[:, :29], rtol=1e-6)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_neighbours_are_the_smallest_pairs_of_distance_and_place_after_the_cell(monkeypatch, k):
    monkeypatch.setattr("zeroshot.metrics.neighbors.ROWS", {"cpu": 8, "cuda": 8})
    embedding = np.random.default_rng(0).integers(0, 3, size=(90, 2)).astype("f4")  # nine points, many ties
    near = metrics.nearest_neighbors(embedding, k)
    place = (np.arange(90) - np.arange(90)[:, None]) % 90
    squared = ((embedding[:, None] - embedding) ** 2).sum(axis=2)
    squared[np.diag_indices(90)] = -1
    np.testing.assert_array_equal(near.indices, np.lexsort([place, squared])[:, :k])
    expected = np.sqrt(np.maximum(np.sort(squared, axis=1)[:, :k], 0))
    np.testing.assert_allclose(near.distances, expected, atol=1e-9)


def test_duplicates_keep_themselves_first_and_do_not_share_hubs():
    embedding = np.repeat([[0.1, 0.2], [5.3, 7.7]], 50, axis=0)
    near = metrics.nearest_neighbors(embedding, 15)
    np.testing.assert_array_equal(near.indices[:, 0], np.arange(100))
    assert (near.distances == 0).all()
    assert (near.indices // 50 == np.arange(100)[:, None] // 50).all()
    assert all(len(set(row)) == 15 for row in near.indices)
    # No cell is a neighbour of all: in-degrees spread over the duplicates.
    assert np.bincount(near.indices.ravel(), minlength=100).max() < 30


def test_ties_do_not_prefer_the_batch_the_file_lists_first(labels, batches):
    # One dimension, ten distinct values, file sorted by batch: nearly every neighbour is a tie.
    depth = (np.arange(CELLS) % 10).astype("f4")[:, None]
    scores = values(depth, np.random.default_rng(0).permutation(labels), batches)
    assert scores["kbet"] > 0.8
    assert scores["ilisi"] > 0.8


def test_neighbours_by_hand_and_cap():
    near = metrics.nearest_neighbors(np.array([[0.0], [1.0], [3.0]]), 2)
    np.testing.assert_array_equal(near.indices, [[0, 1], [1, 0], [2, 1]])
    np.testing.assert_allclose(near.distances, [[0, 1], [0, 1], [0, 2]], rtol=1e-6)
    graph = metrics.neighbor_graph(near)
    np.testing.assert_array_equal(graph.toarray(), [[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    with pytest.raises(ValueError, match="between 1 and"):
        metrics.nearest_neighbors(np.zeros((3, 1)), 4)


def test_graph_has_the_pattern_of_scanpy(mixed):
    import anndata
    import scanpy

    adata = anndata.AnnData(mixed)
    # Exact neighbours, so that a difference is one of definition; gauss, since umap compiles for seconds.
    # Both methods join a pair of cells if either is a neighbour of the other.
    scanpy.pp.neighbors(adata, n_neighbors=15, use_rep="X", method="gauss", transformer="sklearn")
    ours = metrics.neighbor_graph(metrics.nearest_neighbors(mixed, 15))
    assert (ours != (adata.obsp["connectivities"] > 0)).nnz == 0


def test_graph_connectivity_by_hand_and_against_scib_metrics(mixed, separated, labels, scib_metrics):
    from scib_metrics.nearest_neighbors import NeighborsResults

    line = metrics.neighbor_graph(metrics.nearest_neighbors(np.array([[0.0], [1], [10], [11], [12.5]]), 2))
    # Pieces {0, 1} and {2, 3, 4}; label a = {0, 1, 2} keeps 2 of 3 cells, label b = {3, 4} both.
    assert metrics.graph_connectivity(line, np.array(list("aaabb"))) == pytest.approx((2 / 3 + 1) / 2)
    for embedding in (mixed, separated):
        near = metrics.nearest_neighbors(embedding, 15)
        graph = metrics.neighbor_graph(near)
        # scib-metrics asks for strong connection; on a directed graph that is symmetric both agree.
        symmetric = type("Symmetric", (), {"knn_graph_distances": graph.astype(float)})()
        ours = metrics.graph_connectivity(graph, labels)
        assert ours == pytest.approx(scib_metrics.graph_connectivity(symmetric, labels))
        directed = NeighborsResults(near.indices, near.distances)
        assert scib_metrics.graph_connectivity(directed, labels) <= ours


# -- label transfer


def test_knn_votes_by_hand():
    # Cells 0 1 2 3 | 10 11 in a row, three neighbours each; 0..3 read "a a b a", 10 and 11 "b b".
    near = metrics.nearest_neighbors(np.array([[0.0], [1.1], [2], [3.3], [10], [11]]), 4)
    labels = np.array(list("aababb"))
    # The third cell is outvoted. The fifth sees b, a, b; the sixth b, a, b. So one of six is wrong.
    assert metrics.knn_accuracy(near, labels) == pytest.approx(5 / 6)
    # a: 3 right, 1 false; b: 2 right, 1 missed.
    assert metrics.knn_macro_f1(near, labels) == pytest.approx((6 / 7 + 4 / 5) / 2)


def test_knn_tie_goes_to_the_nearest_cell_not_to_the_first_name():
    near = metrics.nearest_neighbors(np.array([[0.0], [1], [-2], [50], [51]]), 3)
    # The first and the last two cells see their own label nearest and another one farther: one vote each.
    # The third sees the other label twice.
    for labels in ("zza..", "aaz.."):
        assert metrics.knn_accuracy(near, np.array(list(labels))) == pytest.approx(4 / 5)


def test_knn_agrees_with_sklearn(mixed, separated, labels):
    from sklearn.neighbors import KNeighborsClassifier

    nearness = 1 + 0.5 ** np.arange(1, 16)
    rng = np.random.default_rng(0)
    for embedding, named in ((mixed, labels), (separated, labels), (mixed, rng.choice(list("abcde"), CELLS))):
        near = metrics.nearest_neighbors(embedding, 16)
        distances = reference.pairwise_distances(embedding.astype("f8"))
        np.fill_diagonal(distances, 1e9)  # leave one out
        knn = KNeighborsClassifier(15, metric="precomputed", weights=lambda d: np.tile(nearness, (len(d), 1)))
        votes = knn.fit(distances, named).predict(distances)
        assert metrics.knn_accuracy(near, named) == pytest.approx(reference.accuracy_score(named, votes))
        expected = reference.f1_score(named, votes, average="macro")
        assert metrics.knn_macro_f1(near, named) == pytest.approx(expected)


@pytest.mark.parametrize("dim", [DIM, 80])
def test_linear_probe_agrees_with_a_pipeline_of_sklearn(dim, labels):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(dim)
    embedding = rng.normal(size=(CELLS, dim)) + 0.3 * np.eye(LABELS, dim)[np.arange(CELLS) % LABELS]
    steps = [PCA(50, svd_solver="randomized", random_state=0)] if dim > 50 else []
    probe = make_pipeline(*steps, StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    expected = reference.balanced_accuracy_score(
        labels, cross_val_predict(probe, embedding, labels, cv=folds)
    )
    assert 0.2 < expected < 0.9
    # A pipeline takes the training scores from the randomized decomposition itself: a cell or two differ.
    tolerance = 2 / CELLS if dim > 50 else 1e-9
    assert metrics.linear_probe(embedding, labels) == pytest.approx(expected, abs=tolerance)


def test_linear_probe_by_hand():
    # Two labels on a line: the one b among the a cannot be told from them, so b has 4 of 5, a all 5.
    line = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [0.2], [9], [9.1], [9.2], [9.3]])
    labels = np.array(list("aaaaabbbbb"))
    assert metrics.linear_probe(line, labels) == pytest.approx(0.9)
    # A third label of 4 cells is left out with its cells.
    more = np.concatenate([line, [[100.0], [-100], [5], [6]]])
    assert metrics.linear_probe(more, np.array([*labels, *"cccc"])) == metrics.linear_probe(line, labels)
    with pytest.raises(NotApplicable, match="fewer than two labels with 5 cells"):
        metrics.linear_probe(line[:9], labels[:9])


def test_linear_probe_of_nothing_and_of_low_rank():
    labels = np.array(list("ab" * 30))
    assert metrics.linear_probe(np.ones((60, 3)), labels) == 0.5
    assert metrics.linear_probe(np.ones((60, 70)), labels) == 0.5
    # 70 dimensions made of 2: the components of rounding noise must not join in.
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(60, 2)) + 2 * np.eye(2)[np.arange(60) % 2]
    wide = flat @ np.linalg.qr(rng.normal(size=(70, 2)))[0].T
    assert metrics.linear_probe(wide, labels) == pytest.approx(metrics.linear_probe(flat, labels), abs=0.05)


# -- clusterings


def test_louvain_is_seeded_and_leaves_python_random_alone(mixed):
    graph = metrics.neighbor_graph(metrics.nearest_neighbors(mixed, 15))
    random.seed(0)
    expected = random.random()
    random.seed(0)
    first = metrics.louvain(graph, seed=1)
    assert random.random() == expected
    np.testing.assert_array_equal(metrics.louvain(graph, seed=1), first)
    np.testing.assert_array_equal(metrics.louvain(graph, (0.5,), seed=1)[0], first[4])
    assert len(np.unique(first[-1])) > len(np.unique(first[0]))


def test_leiden_is_seeded_and_chosen_by_the_labels(mixed, labels):
    graph = metrics.neighbor_graph(metrics.nearest_neighbors(mixed, 15))
    random.seed(0)
    expected = random.random()
    random.seed(0)
    first = metrics.leiden(graph, seed=1)
    assert random.random() == expected
    np.testing.assert_array_equal(metrics.leiden(graph, seed=1), first)
    np.testing.assert_array_equal(metrics.leiden(graph, (0.5,), seed=1)[0], first[4])
    assert len(np.unique(first[-1])) > len(np.unique(first[0]))
    found = values(mixed, labels, seed=1, names=["nmi_leiden", "ari_leiden"])
    assert found["nmi_leiden"] > 0.8 and found["ari_leiden"] > 0.8


def test_leiden_clusters_as_scanpy(mixed):
    import anndata
    import scanpy

    graph = metrics.neighbor_graph(metrics.nearest_neighbors(mixed, 15))
    adata = anndata.AnnData(mixed)
    scanpy.tl.leiden(
        adata, 0.5, adjacency=graph.astype(float), flavor="igraph", n_iterations=2, directed=False,
        use_weights=False, random_state=1,
    )  # fmt: skip
    ours = metrics.leiden(graph, (0.5,), seed=1)[0]
    assert reference.adjusted_rand_score(adata.obs["leiden"], ours) > 0.95


def test_leiden_by_hand():
    # Two triangles joined by one edge.
    edges = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5], [2, 3]])
    graph = np.zeros((6, 6), dtype=bool)
    graph[edges[:, 0], edges[:, 1]] = graph[edges[:, 1], edges[:, 0]] = True
    clusters = metrics.leiden(sparse.csr_matrix(graph), (1.0,))[0]
    assert metrics.nmi_leiden(np.array(list("aaabbb")), clusters) == pytest.approx(1)
    # One cell on the wrong side: pairs together in both 3 + 1, in the labels 6 + 1, in the clusters 3 + 3.
    chance = 7 * 6 / 15
    expected = (4 - chance) / ((7 + 6) / 2 - chance)
    assert metrics.ari_leiden(np.array(list("aaaabb")), clusters) == pytest.approx(expected)


def test_sweep_states_its_choices(mixed, labels):
    sweep = cluster_sweep(mixed, labels, seed=2)
    assert sweep.resolutions == tuple(np.arange(1, 21) / 10)
    table = sweep.table()
    assert table["by_label"].sum() == table["label_free"].sum() == 1
    nmi = [reference.normalized_mutual_info_score(labels, row) for row in sweep.clusters]
    np.testing.assert_allclose(table["nmi"], nmi, atol=1e-9)
    assert sweep.by_label == np.argmax(np.round(nmi, 9))
    for row, silhouette in zip(sweep.clusters, sweep.silhouette, strict=True):
        if len(np.unique(row)) > 1:
            assert silhouette == pytest.approx(reference.silhouette_score(mixed, row), abs=1e-6)
        else:
            assert np.isnan(silhouette)
    assert sweep.silhouette[sweep.label_free] == np.nanmax(sweep.silhouette)
    # The label-free choice must not move when the labels do.
    assert cluster_sweep(mixed, np.roll(labels, 1), seed=2).label_free == sweep.label_free
    table = score(mixed, labels, seed=2, names=["nmi", "ari"]).set_index("metric")["value"]
    chosen = sweep.clusters[sweep.by_label]
    assert table["nmi"] == reference.normalized_mutual_info_score(labels, chosen)
    assert table["ari"] == reference.adjusted_rand_score(labels, chosen)


def test_one_cluster_everywhere_falls_back_to_resolution_1(monkeypatch, mixed, labels):
    one = np.zeros((len(metrics.RESOLUTIONS), CELLS), dtype=int)
    monkeypatch.setattr("zeroshot.metrics.scoring.louvain", lambda graph, seed: one)
    sweep = cluster_sweep(mixed, labels)
    assert sweep.resolutions[sweep.label_free] == 1.0
    assert np.isnan(sweep.silhouette).all()
    assert values(mixed, labels, names=["nmi_label_free"])["nmi_label_free"] == 0


# -- the rest of the formulas


@pytest.mark.parametrize("dim", [5, 80])
def test_pcr_agrees_with_linear_regression(dim, batches):
    rng = np.random.default_rng(dim)
    codes = np.unique(batches, return_inverse=True)[1]
    embedding = rng.normal(size=(CELLS, dim)) + rng.normal(size=(BATCHES, dim))[codes] * 0.3
    pca = PCA(min(dim, 50), svd_solver="full").fit(embedding)
    dummies = np.eye(BATCHES)[codes]
    r2 = [LinearRegression().fit(dummies, pc).score(dummies, pc) for pc in pca.transform(embedding).T]
    expected = np.average(r2, weights=pca.explained_variance_)
    assert metrics.pcr(embedding, batches) == pytest.approx(expected, abs=1e-9)
    # Batch codes are categories even when they are numbers, and their numbering does not matter.
    assert metrics.pcr(embedding, (codes * 7 + 1) % 5) == pytest.approx(expected, abs=1e-9)


def test_pcr_by_hand():
    # Total sum of squares 4 * 2.25 + ... : values -2, -1, 1, 2 give 10; batch means -+1.5 explain 9 of it.
    assert metrics.pcr(np.array([[-2.0], [-1], [1], [2]]), np.array([0, 0, 1, 1])) == pytest.approx(0.9)
    with pytest.raises(NotApplicable, match="same embedding"):
        metrics.pcr(np.ones((4, 3)), np.array([0, 0, 1, 1]))


@pytest.mark.parametrize("dim", [5, 30])
def test_pcr_comparison_agrees_with_scib_metrics(dim, labels, batches, scib_metrics):
    rng = np.random.default_rng(dim)
    codes = np.unique(batches, return_inverse=True)[1]
    effect = rng.normal(size=(BATCHES, dim))[codes]
    before, after = (rng.normal(size=(CELLS, dim)) + strength * effect for strength in (1.0, 0.4))
    expected = scib_metrics.pcr_comparison(before, after, codes, categorical=True)
    assert 0.1 < expected < 0.99
    table = values(after, labels, batches, baseline=before, names=["pcr_comparison"])
    assert table["pcr_comparison"] == pytest.approx(expected, abs=1e-4)


def test_pcr_comparison_by_hand(labels):
    assert metrics.pcr_comparison(pcr=0.2, pcr_before=0.8) == pytest.approx(0.75)
    assert metrics.pcr_comparison(pcr=0.9, pcr_before=0.8) == 0
    with pytest.raises(NotApplicable, match="explain nothing before"):
        metrics.pcr_comparison(pcr=0.1, pcr_before=0.0)
    # Before: -2, -1, 1, 2 with 0.9 explained (see above); after: means -+0.5 explain 1 of 10.
    before, after = np.array([[-2.0], [-1], [1], [2]]), np.array([[-2.0], [1], [-1], [2]])
    options = {"baseline": before, "names": ["pcr_comparison"]}
    assert values(after, list("abab"), [0, 0, 1, 1], **options)["pcr_comparison"] == pytest.approx(8 / 9)


def test_averages_are_means(mixed_scores):
    parts = mixed_scores[["batch_integration_score", "pcr_comparison"]]
    assert mixed_scores["average_batch"] == pytest.approx(parts.mean())
    for suffix in ("", "_label_free"):
        parts = mixed_scores[["asw_label", f"nmi{suffix}", f"ari{suffix}"]]
        assert mixed_scores[f"avg_bio{suffix}"] == pytest.approx(parts.mean())


def test_neighbour_metrics_use_the_neighbours_of_the_scib_benchmark(
    mixed, labels, batches, mixed_scores, scib_metrics
):
    from scib_metrics.nearest_neighbors import NeighborsResults

    distances, indices = NearestNeighbors(n_neighbors=90, algorithm="brute").fit(mixed).kneighbors(mixed)
    found = NeighborsResults(indices=indices, distances=distances)
    assert mixed_scores["clisi"] == pytest.approx(scib_metrics.clisi_knn(found, labels), abs=1e-4)
    assert mixed_scores["ilisi"] == pytest.approx(scib_metrics.ilisi_knn(found, batches), abs=1e-4)
    expected = scib_metrics.kbet(found.subset_neighbors(50), batches)[0]
    assert mixed_scores["kbet"] == pytest.approx(expected, abs=1e-4)
    # Of the same neighbours; the search for the perplexity of LISI ends within 1e-5 in float32 as in float64.
    near = metrics.nearest_neighbors(mixed, 90)
    same = NeighborsResults(indices=near.indices, distances=near.distances)
    assert metrics.clisi(near, labels) == pytest.approx(scib_metrics.clisi_knn(same, labels), abs=1e-5)
    assert metrics.ilisi(near, batches) == pytest.approx(scib_metrics.ilisi_knn(same, batches), abs=1e-5)
    expected = scib_metrics.kbet(same.subset_neighbors(50), batches)[0]
    assert metrics.kbet(near.first(50), batches) == pytest.approx(expected, abs=1e-7)


def test_lisi_of_neighbours_at_nearly_the_same_distance():
    """In 2,000 dimensions of noise float32 finds other weights: cLISI 0.12 instead of 0.23."""
    from scipy.optimize import brentq

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 300)
    near = metrics.nearest_neighbors(rng.normal(size=(300, 2000)) + 0.4 * np.eye(4, 2000)[codes], 90)
    lisi = []
    for distances, others in zip(near.distances[:, 1:], near.indices[:, 1:], strict=True):
        beyond = distances - distances[0]

        def weights(log_beta, beyond=beyond):
            return np.exp(-np.exp(log_beta) * beyond)

        def excess(log_beta, beyond=beyond, weights=weights):
            share = weights(log_beta) / weights(log_beta).sum()
            return -(share * np.log(share)).sum() - np.log(30)

        share = weights(brentq(excess, -5, 5, xtol=1e-12))
        lisi.append(share.sum() ** 2 / (np.bincount(codes[others], share) ** 2).sum())
    assert metrics.clisi(near, codes) == pytest.approx((4 - np.median(lisi)) / 3, abs=2e-5)


def test_label_oracle_is_reproducible_and_refuses_nonsense(labels):
    oracle = label_oracle(labels, seed=3, dim=10)
    assert oracle.shape == (CELLS, 10) and oracle.dtype == np.float32
    assert oracle.tobytes() == label_oracle(labels, seed=3, dim=10).tobytes()
    assert (oracle != label_oracle(labels, seed=4, dim=10)).any()
    with pytest.raises(ValueError, match="at least the number of labels"):
        label_oracle(labels, dim=3)
    with pytest.raises(ValueError, match="at least 2 labels"):
        label_oracle(["T cell"] * 5)
