"""Metrics that other packages define: their values, see tests/parity/README.md, and effects by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from zeroshot import metrics
from zeroshot.metrics import NotApplicable

PARITY = Path(__file__).parent / "parity" / "metrics"
# ciLISI weights neighbours alike where the original stops its search a little short of it.
TOLERANCES = {"cilisi": 1e-3, "isolated_labels_f1": 1e-9, "ksim": 1e-9, "sbee": 1e-6, "scgraph": 1e-6}


@pytest.fixture(scope="module")
def cells():
    with np.load(PARITY / "arrays.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", TOLERANCES)
def test_agrees_with_the_reference(name, cells):
    given = cells | {
        "neighbors_25": metrics.nearest_neighbors(cells["embedding"], 25),
        "neighbors_90": metrics.nearest_neighbors(cells["embedding"], 90),
    }
    registered = metrics.METRICS[name]
    ours = registered.function(*(given[argument] for argument in registered.arguments))
    expected = json.loads((PARITY / "values.json").read_text())[name]
    assert ours == pytest.approx(expected, abs=TOLERANCES[name])


def test_cilisi_does_not_mind_batches_of_different_cell_types():
    rng = np.random.default_rng(0)
    labels, batches = np.repeat(["a", "b"], 200), np.repeat([0, 1, 2, 1, 2, 3], [50, 75, 75, 75, 75, 50])
    mixed = rng.normal(size=(400, 5)) + 20 * (labels == "b")[:, None]
    scores = metrics.score(mixed, labels, batches, names=["cilisi", "ilisi"]).set_index("metric")["value"]
    assert scores["cilisi"] > 0.8 > 0.65 > scores["ilisi"]
    apart = mixed + 5 * batches[:, None]
    assert metrics.cilisi(apart, labels, batches) < 0.05


def test_cilisi_leaves_out_small_labels_and_those_of_one_batch(cells):
    embedding, batches = cells["embedding"][:60], np.arange(60) % 2
    labels = np.repeat([0, 1, 2], [40, 9, 11])
    batches[49:] = 0
    expected = metrics.cilisi(embedding[:40], labels[:40], batches[:40])
    assert metrics.cilisi(embedding, labels, batches) == expected
    with pytest.raises(NotApplicable, match="no label with several batches has 10 cells"):
        metrics.cilisi(embedding[40:], labels[40:], batches[40:])


def test_sbee_by_hand():
    # Label 0: each batch has two cells 1 apart, and the batches are 10 apart. Label 1: one batch only.
    embedding = np.array([[0.0], [1], [10], [11], *([100 + step] for step in range(8))])
    labels, batches = np.repeat([0, 1], [4, 8]), np.array([0, 0, 1, 1] + [0] * 8)
    ours = metrics.sbee(embedding, metrics.nearest_neighbors(embedding, 12), labels, batches)
    # All four cells are among the four nearest of each: the composition is right, the distance is not.
    distance = np.exp((1 / np.array([10.5, 9.5]) - 1) / 0.15)
    assert ours == pytest.approx((np.mean(2 * distance / (1 + distance)) + 1) / 2)
    # The only cell of its label in a batch scores 0.
    alone = metrics.sbee(embedding[1:], metrics.nearest_neighbors(embedding[1:], 11), labels[1:], batches[1:])
    assert alone < (ours - 0.5) + 0.5 * 0.999


def test_isolated_labels_f1_takes_the_best_cluster_of_all_resolutions():
    labels, batches = np.repeat([0, 1], 5), np.array([0] * 5 + [0, 1, 0, 1, 0])
    leiden = np.array([[0] * 10, [0] * 4 + [1] * 6])  # label 0 is the isolated one
    assert metrics.isolated_labels_f1(leiden, labels, batches) == pytest.approx(2 * 4 / (5 + 4))
    both = metrics.isolated_labels_f1(leiden, labels, np.arange(10) % 2)  # all labels in all batches
    assert both == pytest.approx((2 * 4 / 9 + 2 * 5 / 11) / 2)


def test_ksim_accepts_from_nine_tenths_on():
    embedding = np.arange(100.0)[:, None]
    labels = (np.arange(100) >= 50).astype(int)
    near = metrics.nearest_neighbors(embedding, 25)
    # Ten neighbours of a hundred cells: a cell with one foreign one is accepted, with two it is not.
    foreign = (labels[near.indices[:, :10]] != labels[:, None]).sum(axis=1)
    assert (foreign == 1).sum() > 0 and metrics.ksim(near, labels) == np.mean(foreign <= 1)


def test_scgraph_sees_what_lies_between_labels_and_nothing_else(cells):
    baseline, labels, batches = cells["baseline"], cells["labels"], cells["batches"]
    centres = np.stack([baseline[labels == label].mean(axis=0) for label in range(7)])
    collapsed = centres[labels]  # no noise, no batch effect, the types where they were
    islands = metrics.label_oracle(labels, seed=0)
    of_collapsed, of_islands = (
        metrics.scgraph(values, baseline, labels, batches) for values in (collapsed, islands)
    )
    assert of_collapsed > 0.9 > 0.5 > abs(of_islands)
    shuffled = centres[np.random.default_rng(0).permutation(7)][labels]
    assert metrics.scgraph(shuffled, baseline, labels, batches) < 0.5


@pytest.mark.parametrize(
    ("rows", "change", "reason"),
    [
        (slice(0, 150), {}, "no batch has 100 cells"),
        (slice(None), {"labels": lambda labels: labels == 0}, "fewer than 3 labels have enough cells"),
        (slice(None), {"embedding": np.zeros_like}, "all labels are equally far apart"),
        (slice(None), {"baseline": lambda _: None}, "no embedding before integration was given"),
    ],
)
def test_scgraph_says_why_it_does_not_apply(rows, change, reason, cells):
    given = {name: cells[name][rows] for name in ("embedding", "baseline", "labels", "batches")}
    given |= {name: of(given[name]) for name, of in change.items()}
    with pytest.raises(NotApplicable, match=reason):
        metrics.scgraph(**given)
