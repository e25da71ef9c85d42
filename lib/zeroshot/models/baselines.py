"""The simplest baselines a foundation model has to beat: highly variable genes, and their PCA."""

from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from scipy import sparse

from zeroshot.models import Cells

# scikit-learn: the principal components of scanpy.
PACKAGES = ("numpy", "pandas", "scanpy", "scikit-learn", "scipy", "threadpoolctl")


@dataclass(frozen=True)
class HighlyVariableGenes:
    """Log-normalised values of the most variable genes, no dimension reduction.

    Source
    ------
    microsoft/zero-shot-scfoundation at d1091e8, notebooks/Baselines_HVG_and_scVI.ipynb: genes in
    at least 10 cells, 10,000 counts per cell, log1p, ``flavor="seurat"``, 2,000 genes.

    Differs
    -------
    Counts are scaled by the library size of the cell, which on gene subsets is not the row sum;
    cells are never dropped. With fewer genes than asked for, all of them are used.
    """

    n_genes: int = 2000
    min_cells: int = 10

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, n_genes) log-normalised values; deterministic."""
        return select_variable(cells, self.n_genes, self.min_cells).toarray().astype(np.float32)


@dataclass(frozen=True)
class Pca:
    """Principal components of the log-normalised highly variable genes.

    Source
    ------
    scanpy's clustering tutorial and the unintegrated baseline of scIB: variable genes, centred,
    not scaled to unit variance, 50 components.
    """

    n_components: int = 50
    n_genes: int = 2000
    min_cells: int = 10

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, n_components) scores."""
        return principal_components(
            select_variable(cells, self.n_genes, self.min_cells), self.n_components, seed
        )


def select_variable(cells: Cells, n_genes: int, min_cells: int) -> sparse.csr_matrix:
    """(cells, n_genes) log-normalised values of the most variable genes, in the order of the data set.

    Raises
    ------
    ValueError
        If no gene is detected in ``min_cells`` cells.
    """
    import scanpy as sc

    values = cells.log_normalized()[:, cells.detected(min_cells)]
    if values.shape[1] <= n_genes:
        return values
    adata = AnnData(values)
    adata.uns["log1p"] = {"base": None}  # tells scanpy that the values are logarithms
    sc.pp.highly_variable_genes(adata, flavor="seurat", n_top_genes=n_genes)
    return values[:, adata.var["highly_variable"].to_numpy()]


def principal_components(values: sparse.csr_matrix, n_components: int, seed: int) -> np.ndarray:
    """(cells, min(n_components, cells - 1, genes - 1)) centred principal component scores, float32."""
    import scanpy as sc
    from threadpoolctl import threadpool_limits

    n_components = min(n_components, min(values.shape) - 1)
    with threadpool_limits(1):  # the order of parallel sums would change the bytes
        scores = sc.pp.pca(values.astype(np.float64), n_comps=n_components, random_state=seed)
    return np.ascontiguousarray(scores, dtype=np.float32)
