"""The simplest baselines a foundation model has to beat: highly variable genes, and their PCA."""

from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from scipy import sparse

from zeroshot.models import Cells

# scikit-learn: the principal components of scanpy.
PACKAGES = ("numpy", "pandas", "scanpy", "scikit-learn", "scipy", "threadpoolctl")

# Log-normalised values that differ by less differ by the rounding of float32.
ROUNDING = 1e-5


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
        # Of two genes there is one component.
        values = select_variable(cells, self.n_genes, self.min_cells, fewest=3)
        return principal_components(values, self.n_components, seed)


def select_variable(cells: Cells, n_genes: int, min_cells: int, fewest: int = 2) -> sparse.csr_matrix:
    """(cells, n_genes) log-normalised values of the most variable genes, in the order of the data set.

    Raises
    ------
    ValueError
        If fewer genes than ``fewest`` are detected in ``min_cells`` cells, or all cells are the same.
    """
    import scanpy as sc

    values = cells.log_normalized()[:, cells.detected(min_cells)]
    if values.shape[1] < fewest:
        raise ValueError(
            f"{values.shape[1]:,} of {cells.counts.shape[1]:,} genes are detected in at least {min_cells:,} "
            f"cells, and at least {fewest} such genes are expected: give more cells or genes, or a lower "
            "min_cells (command line: zeroshot embed -p min_cells=1)"
        )
    require_differences(values)
    if values.shape[1] <= n_genes:
        return values
    adata = AnnData(values)
    adata.uns["log1p"] = {"base": None}  # tells scanpy that the values are logarithms
    sc.pp.highly_variable_genes(adata, flavor="seurat", n_top_genes=n_genes)
    return values[:, adata.var["highly_variable"].to_numpy()]


def require_differences(values: sparse.csr_matrix) -> None:
    """Refuse (cells, genes) log-normalised values that are the same in all cells.

    Raises
    ------
    ValueError
        If they differ by rounding at most.
    """
    if (values.max(axis=0) - values.min(axis=0)).max() < ROUNDING:
        raise ValueError(
            f"all {values.shape[0]:,} cells have the same values of all {values.shape[1]:,} genes that are "
            "used, so nothing tells one cell from another: give cells that differ"
        )


def principal_components(values: sparse.csr_matrix, n_components: int, seed: int) -> np.ndarray:
    """(cells, min(n_components, cells - 1, genes - 1)) centred principal component scores, float32."""
    import scanpy as sc
    from threadpoolctl import threadpool_limits

    n_components = min(n_components, min(values.shape) - 1)
    with threadpool_limits(1):  # the order of parallel sums would change the bytes
        scores = sc.pp.pca(values.astype(np.float64), n_comps=n_components, random_state=seed)
    return np.ascontiguousarray(scores, dtype=np.float32)
