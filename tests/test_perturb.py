"""Fewer counts, fewer genes: the cells stay, draws follow the seed, and nothing comes from nowhere."""

import numpy as np
import pytest

from zeroshot import data
from zeroshot.data import DataError, content_hash, contract, drop_genes, simulate_atlas, thin

CHANGES = (lambda adata, seed=0: thin(adata, 0.5, seed), lambda adata, seed=0: drop_genes(adata, 0.5, seed))
each = pytest.mark.parametrize("change", CHANGES, ids=["thin", "drop_genes"])


@pytest.fixture(scope="module")
def cells():
    adata = contract(
        simulate_atlas(n_cells=240, n_genes=230, n_batches=2, seed=0), name="toy", batch_key="batch"
    )
    adata.obs["library_size"] += 1000  # counts in genes that the data set does not hold
    adata.uns["dataset"] = {"name": "toy", "notes": ["of old"], "content_hash": content_hash(adata)}
    return adata


def dense(adata):
    return adata.X.toarray()


def row_sums(adata):
    return dense(adata).sum(axis=1, dtype=np.float64)


@each
def test_cells_keep_their_places_and_the_contract(cells, change):
    before, hashed = dense(cells), content_hash(cells)
    made = change(cells)
    assert (dense(cells) == before).all() and content_hash(cells) == hashed, "the input is not changed"
    assert made.obs_names.equals(cells.obs_names) and made.var_names.equals(cells.var_names)
    assert made.obs.drop(columns="library_size").equals(cells.obs.drop(columns="library_size"))
    again = contract(made, name="toy", batch_key="batch")
    assert content_hash(again) == content_hash(made) == made.uns["dataset"]["content_hash"] != hashed
    assert made.X.dtype == np.float32 and made.X.has_canonical_format and (made.X.data > 0).all()
    assert (dense(made) <= before).all()
    assert made.uns["dataset"]["notes"][0] == "of old" and len(made.uns["dataset"]["notes"]) == 2


@each
def test_follows_the_seed(cells, change):
    assert content_hash(change(cells)) == content_hash(change(cells)) != content_hash(change(cells, 1))


def test_thinning_keeps_the_share_everywhere(cells):
    made = thin(cells, 0.25)
    assert row_sums(made).sum() / row_sums(cells).sum() == pytest.approx(0.25, abs=0.005)
    assert (made.obs["library_size"] / cells.obs["library_size"]).mean() == pytest.approx(0.25, abs=0.01)
    elsewhere = made.obs["library_size"] - row_sums(made)
    assert elsewhere.mean() == pytest.approx(250, abs=5) and elsewhere.min() >= 0
    # Binomial: the variance of what is kept of n counts is n p (1 - p).
    n = dense(cells)
    spread = (dense(made) - 0.25 * n) ** 2
    assert spread.sum() / n.sum() == pytest.approx(0.25 * 0.75, rel=0.05)


def test_keeping_all_changes_nothing(cells):
    for made in (thin(cells, 1), drop_genes(cells, 0)):
        assert made.uns["dataset"]["content_hash"] == content_hash(cells)


def test_dropped_genes_are_empty_others_whole_and_shares_nested(cells):
    quarter, half = drop_genes(cells, 0.25), drop_genes(cells, 0.5)
    lost = [(dense(made) == 0).all(axis=0) for made in (cells, quarter, half)]
    for made, gone in ((quarter, lost[1]), (half, lost[2])):
        assert (dense(made)[:, ~gone] == dense(cells)[:, ~gone]).all()
        missing = row_sums(cells) - row_sums(made)
        assert made.obs["library_size"].to_numpy() == pytest.approx(cells.obs["library_size"] - missing)
    assert (lost[2] >= lost[1]).all() and lost[2].sum() > lost[1].sum() > lost[0].sum()
    assert lost[2].sum() - lost[0].sum() <= 115


def test_cells_left_without_counts_are_named(cells):
    with pytest.raises(DataError, match=r"toy with 0% of the counts.*cells have no counts left, like cell"):
        thin(cells, 1e-4)


@pytest.mark.parametrize("share", [-0.1, 0, 1.5, np.nan])
def test_share_kept_must_be_a_probability(cells, share):
    with pytest.raises(DataError, match="above 0 and at most 1"):
        thin(cells, share)


@pytest.mark.parametrize("share", [-0.1, 1, np.nan])
def test_share_dropped_must_leave_genes(cells, share):
    with pytest.raises(DataError, match="from 0 to below 1"):
        drop_genes(cells, share)


def test_both_are_part_of_the_data_module():
    assert {"thin", "drop_genes"} <= set(data.__all__)
