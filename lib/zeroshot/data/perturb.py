"""Less of a data set: fewer counts in every cell, or fewer genes; the cells stay the same."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.validate import DataError, content_hash


def thin(adata: AnnData, kept: float, seed: int = 0) -> AnnData:
    """Each count kept with the same probability, as if the library had been sequenced less deeply.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it; not changed.
    kept
        Probability, above 0 and at most 1, where all counts stay.
    seed
        Of the binomial draws.

    Returns
    -------
    AnnData
        The same cells, genes, labels and batches; ``obs["library_size"]`` is thinned alike, what lies in
        genes that the data set does not hold included.

    Raises
    ------
    DataError
        If ``kept`` is out of range, or a cell is left without counts: every model divides by a cell's total.
    """
    if not 0 < kept <= 1:
        raise DataError(f"kept is {kept:g}: a probability above 0 and at most 1 is expected.")
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(adata.X, copy=True)
    elsewhere = np.maximum(np.rint(adata.obs["library_size"] - _totals(counts)), 0).astype(np.int64)
    counts.data = rng.binomial(counts.data.astype(np.int64), kept).astype(np.float32)
    counts.eliminate_zeros()
    totals = _totals(counts) + rng.binomial(elsewhere, kept)
    return _with_counts(adata, counts, totals, f"{kept:.0%} of the counts, drawn with seed {seed}")


def drop_genes(adata: AnnData, dropped: float, seed: int = 0) -> AnnData:
    """A random share of the genes without any counts, as if they had not been measured.

    The genes stay as empty columns: every model passes over genes without expression, and an untrained twin,
    whose vocabulary is the genes of the data set, keeps its weights. With the same seed the genes of a
    smaller share are among those of a larger one.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it; not changed.
    dropped
        Share of the genes, from 0 to below 1.
    seed
        Of the draw.

    Returns
    -------
    AnnData
        The same cells, genes, labels and batches; ``obs["library_size"]`` without the counts of these genes.

    Raises
    ------
    DataError
        If ``dropped`` is out of range, or a cell is left without counts.
    """
    if not 0 <= dropped < 1:
        raise DataError(f"dropped is {dropped:g}: a share from 0 to below 1 is expected.")
    order = np.random.default_rng(seed).permutation(adata.n_vars)
    stays = np.ones(adata.n_vars, np.float32)
    stays[order[: round(dropped * adata.n_vars)]] = 0
    before = sparse.csr_matrix(adata.X)
    counts = sparse.csr_matrix(before @ sparse.diags_array(stays), dtype=np.float32)
    counts.eliminate_zeros()
    counts.sort_indices()
    totals = adata.obs["library_size"].to_numpy() - (_totals(before) - _totals(counts))
    return _with_counts(adata, counts, totals, f"without {dropped:.0%} of the genes, drawn with seed {seed}")


def _totals(counts: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def _with_counts(adata: AnnData, counts: sparse.csr_matrix, totals: np.ndarray, how: str) -> AnnData:
    """The cells with other counts and library sizes, and the hash of what they hold now."""
    about = adata.uns["dataset"]
    empty = adata.obs_names[_totals(counts) == 0]
    if len(empty):
        raise DataError(
            f"{about['name']} with {how}: {len(empty):,} of {adata.n_obs:,} cells have no counts left, like "
            f"{', '.join(empty[:3])}. Keep more, or leave out cells with few counts first."
        )
    changed = AnnData(counts, adata.obs.assign(library_size=np.asarray(totals, np.float64)), adata.var.copy())
    changed.obs.index = pd.Index(adata.obs_names)
    changed.uns["dataset"] = about | {
        "notes": [*about.get("notes", []), f"Changed: {how}."],
        "content_hash": content_hash(changed),
    }
    return changed
