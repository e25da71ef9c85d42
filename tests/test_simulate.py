"""The simulator: seeded, with the structure it promises, and batch effects that the metrics see."""

import re

import numpy as np
import pandas as pd
import pytest

from zeroshot.data import contract, simulate_atlas
from zeroshot.data.simulate import MARKERS

INTEGRATION = ("batch_integration_score", "graph_connectivity", "pcr", "ilisi", "kbet", "bras")


@pytest.fixture(scope="module")
def atlas():
    return simulate_atlas()


def log_normalised(adata):
    counts = adata.X.toarray().astype(np.float64)
    return np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))


def test_default_keeps_the_contract(atlas):
    checked = contract(atlas, name="simulated", batch_key="batch")
    assert checked.shape == (2400, 900)
    assert checked.obs["cell_type"].nunique() == len(MARKERS) == 8 and checked.obs["batch"].nunique() == 3
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9-]+", name) for name in checked.var_names)


def test_same_seed_same_counts(atlas):
    again, other = simulate_atlas(), simulate_atlas(seed=1)
    assert (again.X != atlas.X).nnz == 0 and again.obs.equals(atlas.obs)
    assert (other.X != atlas.X).nnz > 0


def test_strength_changes_neither_composition_nor_names(atlas):
    other = simulate_atlas(batch_strength=3.0, depth_strength=0.0)
    assert other.obs.equals(atlas.obs) and other.var.equals(atlas.var)


def test_composition_differs_between_batches(atlas):
    table = pd.crosstab(atlas.obs["cell_type"], atlas.obs["batch"], normalize="columns")
    assert (table > 0).to_numpy().all() and (table.max(axis=1) / table.min(axis=1)).max() > 2


def test_markers_mark_and_related_types_are_close(atlas):
    means = pd.DataFrame(log_normalised(atlas), columns=atlas.var_names).groupby(
        atlas.obs["cell_type"].to_numpy(), observed=True
    )
    means = means.mean()
    for name, symbols in MARKERS.items():
        raised = means[symbols.split()].mean(axis=1)
        assert raised.idxmax() == name and raised[name] > 2 * raised.drop(name).max()
    distance = np.linalg.norm(means.to_numpy()[:, None] - means.to_numpy()[None], axis=2)
    distance = pd.DataFrame(distance, means.index, means.index)
    assert distance.loc["CD4 T cell", "CD8 T cell"] < distance.loc["CD4 T cell", "CD14 monocyte"]
    assert distance.loc["CD8 T cell", "NK cell"] < distance.loc["CD8 T cell", "B cell"]
    assert distance.loc["CD14 monocyte", "FCGR3A monocyte"] < distance.loc["CD14 monocyte", "NK cell"]


def test_counts_are_overdispersed_and_depth_is_as_chosen():
    flat = simulate_atlas(batch_strength=0, depth_strength=0, dropout=0)
    cells = flat[flat.obs["cell_type"] == "CD4 T cell"].X.toarray().astype(np.float64)
    mean, variance = cells.mean(axis=0), cells.var(axis=0)
    assert np.median((variance / mean)[mean > 5]) > 2  # Poisson would give 1
    depth = np.asarray(flat.X.sum(axis=1)).ravel()
    assert 1800 < np.median(depth) < 2200 and 0.25 < np.log(depth).std() < 0.5
    deep = simulate_atlas(depth_strength=1.0, dropout=0)
    totals = pd.Series(np.asarray(deep.X.sum(axis=1)).ravel()).groupby(deep.obs["batch"].to_numpy()).median()
    assert 0.8 < np.log(totals["batch3"] / totals["batch1"]) / 2 < 1.2


def test_dropout_varies_between_cells():
    full, thinned = simulate_atlas(dropout=0), simulate_atlas(dropout=0.3)
    kept = np.diff(thinned.X.indptr) / np.diff(full.X.indptr)
    assert 0.6 < kept.mean() < 0.8 and kept.std() > 0.1


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_genes": 10},
        {"n_genes": 10**6},
        {"n_cells": 50},
        {"batch_strength": -1},
        {"dropout": 1},
        {"n_batches": 0},
    ],
)
def test_impossible_parameters(parameters):
    with pytest.raises(ValueError):
        simulate_atlas(**parameters)


def test_zero_strength_scores_like_no_effect_and_large_strength_is_seen_by_every_metric():
    """Composition differs between batches, so "no effect" is batches permuted within each cell type."""
    metrics = pytest.importorskip("zeroshot.metrics", reason="the metrics are not built yet")
    from sklearn.decomposition import PCA

    def scores(adata, batches):
        embedding = PCA(30, random_state=0).fit_transform(log_normalised(adata)).astype(np.float32)
        table = metrics.score(embedding, adata.obs["cell_type"].to_numpy(str), batches, names=INTEGRATION)
        return table.set_index("metric")["value"].reindex(list(INTEGRATION))

    sizes = {"n_cells": 900, "n_genes": 600}
    none = simulate_atlas(batch_strength=0, depth_strength=0, **sizes)
    batches = none.obs["batch"].to_numpy(str)
    rng = np.random.default_rng(0)
    permuted = []
    for _ in range(3):
        shuffled = batches.copy()
        for name in MARKERS:
            rows = np.flatnonzero(none.obs["cell_type"] == name)
            shuffled[rows] = rng.permutation(batches[rows])
        permuted.append(scores(none, shuffled))
    permuted = pd.DataFrame(permuted)
    at_zero = scores(none, batches)
    large = simulate_atlas(batch_strength=2.0, depth_strength=1.0, **sizes)
    at_large = scores(large, large.obs["batch"].to_numpy(str))
    print(pd.DataFrame({"none": at_zero, "permuted": permuted.mean(), "large": at_large}))

    assert at_zero.notna().all() and at_large.notna().all()
    spread = np.maximum(4 * permuted.std(), 0.02)
    assert ((at_zero - permuted.mean()).abs() <= spread).all()
    worse = at_zero - at_large
    worse["pcr"] *= -1  # lower is better
    assert (worse > spread).all(), worse / spread
