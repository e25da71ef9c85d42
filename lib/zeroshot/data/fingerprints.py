"""Cells that two data sets share, recognised by their counts and not by their names.

Names say little: each publication renames the cells that it takes over, and the same barcode occurs in
many runs. The counts of a cell over some hundred genes are as good as a fingerprint.
"""

import hashlib

import numpy as np
from anndata import AnnData

from zeroshot.data.error import DataError

# Fewer detected genes in common are no fingerprint: two cells may agree by chance.
MIN_DETECTED_GENES = 50


def identical_cells(adata: AnnData, other: AnnData) -> np.ndarray:
    """Whether the counts of each cell are those of some cell of another data set.

    Genes are compared that both have, by name. A cell with fewer than :data:`MIN_DETECTED_GENES` of them
    detected is not judged and counts as different.

    Parameters
    ----------
    adata, other
        Raw counts in ``X`` as CSR, with unique gene names: what ``load`` returns.

    Returns
    -------
    numpy.ndarray
        (cells of ``adata``,) boolean.

    Raises
    ------
    DataError
        If they have fewer than :data:`MIN_DETECTED_GENES` genes in common, so that no cell can be judged.
    """
    genes = adata.var_names.intersection(other.var_names)
    if len(genes) < MIN_DETECTED_GENES:
        raise DataError(
            f"{len(genes)} gene names are in both data sets, at least {MIN_DETECTED_GENES} are needed to "
            "recognise cells. Name the genes of both in the same way."
        )
    of_other = set(_fingerprints(other, genes)) - {None}
    return np.array([fingerprint in of_other for fingerprint in _fingerprints(adata, genes)])


def _fingerprints(adata: AnnData, genes: list[str]) -> list[bytes | None]:
    """A hash of the counts of each cell over some genes, in that order; None where too few are detected."""
    counts = adata.X[:, adata.var_names.get_indexer(genes)].tocsr()
    counts.eliminate_zeros()
    counts.sort_indices()
    rows = zip(counts.indptr[:-1], counts.indptr[1:], strict=True)
    return [
        hashlib.sha256(
            counts.indices[first:last].astype("<i8").tobytes()
            + counts.data[first:last].astype("<f4").tobytes()
        ).digest()
        if last - first >= MIN_DETECTED_GENES
        else None
        for first, last in rows
    ]
