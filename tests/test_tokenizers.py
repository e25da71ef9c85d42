"""Tokens against the reference implementations, and what makes them a cell's own."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from released import PARITY
from scipy import sparse

from zeroshot.tokens import tokenizers
from zeroshot.tokens.sequences import Tokens
from zeroshot.tokens.tokenizers import bin_blocks, bin_values, cell_keys, rank_tokens, uniform, value_tokens


def reference(model):
    return json.loads((PARITY / model / "case.json").read_text()), np.load(PARITY / model / "arrays.npz")


def rows_of(tokens):
    return [tokens.ids[start:stop].tolist() for start, stop in pairwise(tokens.offsets)]


def counts(n_cells=40, n_genes=90, seed=0):
    """Counts with many ties, cells of all lengths, and one cell without any."""
    rng = np.random.default_rng(seed)
    dense = rng.poisson(rng.gamma(0.6, 1.5, (n_cells, n_genes)))
    dense[7] = 0
    return sparse.csr_matrix(dense.astype(np.float32))


def keys(number, of="cell"):
    return cell_keys(pd.Index([f"{of}{i}" for i in range(number)]))


# -- parity


def test_order_of_equal_values():
    """The reference's sort is unstable: groups of equal values are the same, and ours follow the columns."""
    known = reference("geneformer")[0]["ties"]
    values = sparse.csr_matrix(np.array([known["values"]]))
    ones, ids = np.ones(values.shape[1]), np.array(known["tokens"])
    (found,) = rows_of(rank_tokens(values, np.array([10_000.0]), ones, ids, max_tokens=99))
    assert found == known["stable_order"]
    theirs = known["reference_order_here_numpy_quicksort_not_stable"]
    value_of = dict(zip(known["tokens"], known["values"], strict=True))
    assert [value_of[token] for token in found] == [value_of[token] for token in theirs]


def test_bins():
    for number, case in enumerate(reference("scgpt")[0]["binning"]):
        row = sparse.csr_matrix(np.array([case["row"]], np.float32))
        seed, n_bins = case["numpy_legacy_seed"], case["n_bins"]
        bins = bin_values(row, n_bins=n_bins, mode="reference", seed=seed).toarray()[0]
        assert bins.astype(int).tolist() == case["expected"], f"row {number}"
        if "left" in case:
            left, right = bin_blocks(row, n_bins)
            assert left.tolist() == case["left"] and right.tolist() == case["right"], f"row {number}"


def test_bins_of_the_preprocessor():
    known, arrays = reference("scgpt")
    found = bin_values(
        sparse.csr_matrix(arrays["pre_log1p"]), mode="reference", seed=known["preprocessor_numpy_legacy_seed"]
    )
    assert (found.toarray() == arrays["pre_binned"]).all()
    # Counts have the same bins, up to which of equal values is which.
    left, right = bin_blocks(sparse.csr_matrix(arrays["pre_counts"]))
    bins = arrays["pre_binned"][arrays["pre_counts"].nonzero()]
    assert ((np.minimum(right + 1, left) <= bins) & (bins <= left)).all()


def test_sampled_genes():
    known, arrays = reference("scgpt")
    ids = arrays["gene_ids"]
    kept = ids >= 0
    bins = bin_values(sparse.csr_matrix(arrays["X"][:, kept]), mode="reference")
    special = known["vocab_after_specials"]
    tokens = value_tokens(
        bins, ids[kept], cls_id=special["<cls>"], cls_value=-2, max_tokens=known["sampling"]["max_length"],
        mode="reference", seed=known["sampling"]["torch_seed"],
    )  # fmt: skip
    found_ids, found_values = tokens.pad(special["<pad>"], -2)
    assert (found_ids == arrays["samp_gene"]).all() and (found_values == arrays["samp_expr"]).all()


@pytest.mark.parametrize(("prefix", "zeros"), [("ms", False), ("msz", True)])
def test_tokens_of_the_paper(prefix, zeros):
    """The paper's preprocessing, without and with genes at zero."""
    known, arrays = reference("scgpt")
    special = known["vocab_after_specials"]
    genes = arrays["msz_genes"][0, 1:]  # with zeros kept, each cell has every gene
    tokens = value_tokens(
        sparse.csr_matrix(arrays["pre_binned"].astype(np.float32)), genes, cls_id=special["<cls>"],
        cls_value=0, max_tokens=1200, mode="midrank", cell_keys=keys(6), include_zeros=zeros,
    )  # fmt: skip
    ids, values = tokens.pad(special["<pad>"], -2)
    width = arrays[f"{prefix}_genes"].shape[1]
    assert ids.shape[1] <= width
    assert (ids == arrays[f"{prefix}_genes"][:, : ids.shape[1]]).all()
    assert (values == arrays[f"{prefix}_values"][:, : ids.shape[1]]).all()


# -- Geneformer


def rank_by_hand(row, library_size, medians, ids, room):
    scaled = row / library_size * 10_000 / medians
    order = np.argsort(-scaled, kind="stable")
    return ids[order[scaled[order] > 0]][:room].tolist()


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("block", [100, 2_000_000])
def test_ranks_are_those_of_a_sort_of_each_cell(special, block, monkeypatch):
    monkeypatch.setattr(tokenizers, "VALUES_PER_BLOCK", block)
    matrix = counts()
    rng = np.random.default_rng(1)
    # Few distinct medians: many ties across genes.
    medians, ids = rng.integers(1, 4, 90).astype(float), rng.permutation(90) + 4
    size = rng.integers(50, 900, 40).astype(float)
    ends = {"cls_id": 2, "eos_id": 3} if special else {}
    tokens = rank_tokens(matrix, size, medians, ids, max_tokens=30, **ends)
    room = 28 if special else 30
    by_hand = [rank_by_hand(r, s, medians, ids, room) for r, s in zip(matrix.toarray(), size, strict=True)]
    assert rows_of(tokens) == [[2, *row, 3] if special else row for row in by_hand]
    expressed = np.diff(matrix.indptr)
    assert (tokens.left_out == np.maximum(expressed - room, 0)).all()


# -- scGPT


def test_bins_are_those_of_numpy():
    matrix = counts()
    left, right = bin_blocks(matrix)
    for start, stop in pairwise(matrix.indptr):
        row = matrix.data[start:stop]
        if len(row):
            edges = np.quantile(row, np.linspace(0, 1, 50))
            assert (left[start:stop] == np.digitize(row, edges)).all()
            assert (right[start:stop] == np.digitize(row, edges, right=True)).all()


@pytest.mark.parametrize("mode", tokenizers.DRAWS)
def test_bins_stay_within_their_block(mode):
    matrix = counts()
    left, right = bin_blocks(matrix)
    bins = bin_values(matrix, mode=mode, seed=3, cell_keys=keys(40), gene_keys=keys(90, "gene"))
    assert bins.shape == matrix.shape and (bins.indices == matrix.indices).all()
    assert ((bins.data >= np.minimum(right + 1, left)) & (bins.data <= left)).all()
    assert bins.data.min() >= 1 and bins.data.max() <= 50


def test_draws_are_uniform_in_their_block():
    """One cell whose genes all have one count: each of its 50 bins is as likely as any other."""
    ones = sparse.csr_matrix(np.ones((1, 20_000), np.float32))
    bins = bin_values(ones, seed=1, cell_keys=keys(1), gene_keys=keys(20_000, "gene"))
    found = np.bincount(bins.data.astype(int), minlength=51)[1:]
    assert found.sum() == 20_000 and abs(found - 400).max() < 5 * np.sqrt(400)


@pytest.mark.parametrize("mode", ["seeded", "midrank", "left"])
def test_a_cells_tokens_are_its_own(mode):
    """Not those of another order, of other neighbours, or of other genes in other columns."""
    matrix, cells, genes = counts(), keys(40), keys(90, "gene")

    def tokens(rows, columns=slice(None), seed=0):
        bins = bin_values(
            matrix[rows][:, columns], mode=mode, seed=seed, cell_keys=cells[rows], gene_keys=genes[columns]
        )
        return value_tokens(
            bins, np.arange(90)[columns], cls_id=90, cls_value=-2, max_tokens=20, mode=mode, seed=seed,
            cell_keys=cells[rows],
        )  # fmt: skip

    everything = np.arange(40)
    base = tokens(everything)
    order = np.random.default_rng(0).permutation(40)
    moved = tokens(order)
    assert rows_of(moved) == rows_of(base.select(order))
    assert (moved.pad(0)[1] == base.select(order).pad(0)[1]).all()
    alone = tokens(np.array([11]))
    assert rows_of(alone) == rows_of(base.select(np.array([11])))
    columns = np.random.default_rng(1).permutation(90)
    shuffled = tokens(everything, columns)
    pairs = [
        [sorted(zip(*part, strict=True)) for part in zip(*found.pad(-1, -9), strict=True)]
        for found in (base, shuffled)
    ]
    assert pairs[0] == pairs[1]
    other = tokens(everything, seed=1)
    assert rows_of(other) != rows_of(base)  # which genes are sampled is drawn in every mode but "reference"


def test_sampling_keeps_each_gene_equally_often():
    bins = sparse.csr_matrix(np.ones((3000, 40), np.float32))
    tokens = value_tokens(bins, np.arange(40), cls_id=40, cls_value=0, max_tokens=11, cell_keys=keys(3000))
    assert (tokens.lengths == 11).all() and (tokens.left_out == 30).all()
    kept = np.bincount(tokens.ids, minlength=41)[:40]
    assert kept.sum() == 30_000 and abs(kept - 750).max() < 5 * np.sqrt(750)
    for row in rows_of(tokens)[:50]:
        assert row[0] == 40 and row[1:] == sorted(set(row[1:]))


def test_genes_at_zero_can_be_kept():
    tokens = value_tokens(
        sparse.csr_matrix([[0, 3.0], [0, 0]]), np.array([7, 8]), cls_id=1, cls_value=-2, max_tokens=9,
        cell_keys=keys(2), include_zeros=True,
    )  # fmt: skip
    ids, values = tokens.pad(0)
    assert ids.tolist() == [[1, 7, 8], [1, 7, 8]] and values.tolist() == [[-2, 0, 3], [-2, 0, 0]]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="unknown mode 'random' of binning: one of seeded"):
        bin_values(counts(), mode="random")
    with pytest.raises(ValueError, match="give cell_keys and gene_keys"):
        bin_values(counts())
    with pytest.raises(ValueError, match="give cell_keys"):
        value_tokens(counts(), np.arange(90), cls_id=90, cls_value=0, max_tokens=5)


# -- the form of the matrix


def test_form_of_the_matrix_makes_no_difference():
    """Unsorted, with entries in two parts, and with zeros stored: the same tokens."""
    matrix = counts()
    messy = sparse.coo_matrix(matrix)
    halves = sparse.csr_matrix(
        (
            np.concatenate([messy.data - 0.5, np.full(messy.nnz, 0.5), np.zeros(5)]).astype(np.float32),
            (
                np.concatenate([messy.row, messy.row, np.arange(5)]),
                np.concatenate([messy.col, messy.col, np.arange(5)]),
            ),
        ),
        shape=matrix.shape,
    )
    reversed_rows = matrix.copy()
    for start, stop in pairwise(matrix.indptr):
        reversed_rows.indices[start:stop] = matrix.indices[start:stop][::-1]
        reversed_rows.data[start:stop] = matrix.data[start:stop][::-1]
    reversed_rows.has_sorted_indices = False
    for other in (halves, reversed_rows):
        before = other.copy()
        drawn = [bin_values(m, cell_keys=keys(40), gene_keys=keys(90, "g")) for m in (matrix, other)]
        assert (drawn[0] != drawn[1]).nnz == 0
        ranked = [
            rank_tokens(m, np.ones(40), np.ones(90), np.arange(90), max_tokens=9) for m in (matrix, other)
        ]
        assert rows_of(ranked[0]) == rows_of(ranked[1])
        assert (before != other).nnz == 0


@pytest.mark.parametrize("shape", [(0, 5), (3, 5), (3, 0)])
def test_cells_without_genes(shape):
    empty = sparse.csr_matrix(shape, dtype=np.float32)
    ids = np.arange(shape[1])
    ranked = rank_tokens(empty, np.ones(shape[0]), np.ones(shape[1]), ids, max_tokens=5, cls_id=2, eos_id=3)
    assert rows_of(ranked) == [[2, 3]] * shape[0]
    bins = bin_values(empty, cell_keys=keys(shape[0]), gene_keys=keys(shape[1]))
    tokens = value_tokens(bins, ids, cls_id=9, cls_value=-2, max_tokens=5, cell_keys=keys(shape[0]))
    assert rows_of(tokens) == [[9]] * shape[0] and (tokens.left_out == 0).all()


# -- what is drawn


def test_draws_depend_on_seed_cell_and_gene():
    cells, genes = keys(500)[:, None], keys(40, "gene")
    first = uniform(0, cells, genes)
    assert first.shape == (500, 40) and first.min() >= 0 and first.max() < 1
    assert (uniform(0, cells[5:9], genes[3:]) == first[5:9, 3:]).all()
    assert not (uniform(1, cells, genes) == first).any()
    assert len(np.unique(first)) == first.size
    assert abs(first.mean() - 0.5) < 0.01 and abs(first.std() - 12**-0.5) < 0.01
    neighbours = np.corrcoef(first[:-1].ravel(), first[1:].ravel())[0, 1]
    assert abs(neighbours) < 0.03


def test_keys_of_cells_do_not_depend_on_the_kind_of_index():
    assert (cell_keys(pd.Index([1, 2])) == cell_keys(pd.Index(["1", "2"]))).all()


def test_padding():
    tokens = Tokens(
        np.array([4, 5, 6]), np.array([1, 2, 3], np.float32), np.array([0, 1, 3]), np.zeros(2, int)
    )
    ids, values = tokens.pad(0, -2)
    assert ids.tolist() == [[4, 0], [5, 6]] and values.tolist() == [[1, -2], [2, 3]]
    assert torch.from_numpy(ids).dtype == torch.int64 and values.dtype == np.float32
    assert tokens.select(np.array([1, 1])).ids.tolist() == [5, 6, 5, 6]
