"""Controls that bracket every score: embeddings whose answer is known beforehand."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from zeroshot.models import Cells
from zeroshot.models.baselines import Pca

PACKAGES = ("numpy", "scipy")


@dataclass(frozen=True)
class RandomGaussian:
    """Noise of the size of the PCA baseline: what a score says when there is nothing to see."""

    dim: int = 50

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, dim) independent standard normal values."""
        rng = np.random.default_rng(seed)
        return rng.standard_normal((cells.counts.shape[0], self.dim), dtype=np.float32)


@dataclass(frozen=True)
class DepthOnly:
    """Counts and genes per cell, nothing else: how much of a score sequencing depth explains."""

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, 2): standardised log1p of the library size and of the detected genes."""
        detected_genes = np.asarray((cells.counts > 0).sum(axis=1)).ravel()
        values = np.log1p(np.column_stack([cells.library_size, detected_genes]))
        spread = values.std(axis=0)
        return ((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)


@dataclass(frozen=True)
class ShuffledGenes:
    """PCA after each cell's values were dealt to random genes.

    Depth, number of detected genes and the values of every cell stay; which gene they belong to
    is lost. A method that needs gene identity must fall to this level.
    """

    n_components: int = 50
    n_genes: int = 2000
    min_cells: int = 10

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, n_components) scores of the shuffled counts."""
        shuffled = cells.with_counts(shuffle_genes(cells.counts, seed))
        return Pca(self.n_components, self.n_genes, self.min_cells).embed(shuffled, seed)


def shuffle_genes(counts: sparse.csr_matrix, seed: int) -> sparse.csr_matrix:
    """(cells, genes) counts with the non-zero values of each cell at random genes.

    Genes are drawn without replacement, separately and reproducibly for each cell.
    """
    rng = np.random.default_rng(seed)
    n_cells, n_genes = counts.shape
    indices = np.empty_like(counts.indices)
    for cell in range(n_cells):
        row = slice(counts.indptr[cell], counts.indptr[cell + 1])
        indices[row] = rng.permutation(n_genes)[: row.stop - row.start]
    shuffled = sparse.csr_matrix((counts.data.copy(), indices, counts.indptr.copy()), shape=counts.shape)
    shuffled.sort_indices()
    return shuffled
