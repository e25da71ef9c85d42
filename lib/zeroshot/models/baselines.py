"""The baselines a foundation model has to beat: highly variable genes, PCA, Harmony, scVI."""

import logging
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.models import Cells


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


@dataclass(frozen=True)
class Harmony:
    """PCA corrected for the batch by Harmony.

    Source
    ------
    Korsunsky et al. 2019; harmonypy with its defaults on the components of :class:`Pca`.
    """

    n_components: int = 50
    n_genes: int = 2000
    min_cells: int = 10
    max_iterations: int = 10

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, n_components) corrected scores.

        Raises
        ------
        ValueError
            If there are fewer than two batches: nothing could be corrected.
        """
        from harmonypy import run_harmony

        if cells.batches is None or len(np.unique(cells.batches)) < 2:
            raise ValueError("Harmony needs at least two batches; this data set has one. Use `pca` instead.")
        components = Pca(self.n_components, self.n_genes, self.min_cells).embed(cells, seed)
        corrected = run_harmony(
            components,
            pd.DataFrame({"batch": cells.batches}),
            "batch",
            max_iter_harmony=self.max_iterations,
            random_state=seed,
            ncores=1,  # the order of parallel sums would change the bytes
            verbose=False,
        ).Z_corr
        # harmonypy has returned both orientations over its versions.
        by_cell = corrected if corrected.shape[0] == len(components) else corrected.T
        return np.ascontiguousarray(by_cell, dtype=np.float32)


@dataclass(frozen=True)
class Scvi:
    """Latent space of scVI, trained on the very cells it embeds.

    Source
    ------
    microsoft/zero-shot-scfoundation at d1091e8: two layers, 30 latent dimensions, negative
    binomial likelihood, counts of genes in at least 10 cells, batch as covariate.

    Differs
    -------
    ``epochs`` may be lowered (None: scvi-tools' own rule, 400 epochs up to 20,000 cells).
    """

    n_latent: int = 30
    n_layers: int = 2
    min_cells: int = 10
    epochs: int | None = None

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, n_latent) posterior means."""
        with warnings.catch_warnings():
            # Notes of scvi-tools and lightning about workers and devices, of no use to a reader.
            warnings.simplefilter("ignore")
            import scvi

            for logger in (
                "scvi", "lightning.fabric", "lightning.pytorch", "lightning.pytorch.utilities.rank_zero",
            ):  # fmt: skip
                logging.getLogger(logger).setLevel(logging.ERROR)
            scvi.settings.seed = seed
            adata = AnnData(cells.counts[:, detected(cells.counts, self.min_cells)])
            batch_key = None
            if cells.batches is not None:
                adata.obs["batch"] = pd.Categorical(cells.batches)
                batch_key = "batch"
            scvi.model.SCVI.setup_anndata(adata, batch_key=batch_key)
            model = scvi.model.SCVI(
                adata, n_layers=self.n_layers, n_latent=self.n_latent, gene_likelihood="nb"
            )
            model.train(max_epochs=self.epochs, logger=False, enable_progress_bar=False)
            return model.get_latent_representation().astype(np.float32)


def detected(counts: sparse.csr_matrix, min_cells: int) -> np.ndarray:
    """(genes,) True for genes with a count in at least ``min_cells`` cells.

    Raises
    ------
    ValueError
        If there is no such gene.
    """
    kept = np.asarray((counts > 0).sum(axis=0)).ravel() >= min_cells
    if not kept.any():
        raise ValueError(
            f"no gene is detected in at least {min_cells} cells of {counts.shape[0]}: "
            "give more cells, or a recipe with a lower min_cells"
        )
    return kept


def select_variable(cells: Cells, n_genes: int, min_cells: int) -> sparse.csr_matrix:
    """(cells, n_genes) log-normalised values of the most variable genes, in the order of the data set.

    Raises
    ------
    ValueError
        If no gene is detected in ``min_cells`` cells.
    """
    import scanpy as sc

    values = cells.log_normalized()[:, detected(cells.counts, min_cells)]
    if values.shape[1] <= n_genes:
        return values
    adata = AnnData(values)
    adata.uns["log1p"] = {"base": None}  # tells scanpy that the values are logarithms
    sc.pp.highly_variable_genes(adata, flavor="seurat", n_top_genes=n_genes)
    return values[:, adata.var["highly_variable"].to_numpy()]


def principal_components(values: sparse.csr_matrix, n_components: int, seed: int) -> np.ndarray:
    """(cells, min(n_components, cells - 1, genes - 1)) centred principal component scores, float32."""
    import scanpy as sc

    n_components = min(n_components, min(values.shape) - 1)
    scores = sc.pp.pca(values.astype(np.float64), n_comps=n_components, random_state=seed)
    return np.ascontiguousarray(scores, dtype=np.float32)
