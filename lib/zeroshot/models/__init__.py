"""Embedding models by name: one file per family, one card per model in ``data/models.yml``.

A model is a frozen dataclass whose fields are the parameters of a recipe and whose ``embed``
turns the counts of cells into a matrix. It never sees labels, and sees batches only if its card
says ``uses: [batch]``.
"""

import importlib
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog


@dataclass(frozen=True)
class Cells:
    """What a model may see of a data set.

    Attributes
    ----------
    counts
        (cells, genes) raw counts, CSR, float32, not normalised.
    genes
        (genes,) unique gene symbols.
    library_size
        (cells,) counts per cell over all genes of the source, also where ``counts`` holds only
        some of them.
    batches
        (cells,) sequencing batch of each cell, or None for models that do not use it.
    """

    counts: sparse.csr_matrix
    genes: pd.Index
    library_size: np.ndarray
    batches: np.ndarray | None = None

    @classmethod
    def of(cls, adata: AnnData, *, with_batches: bool) -> "Cells":
        """Take what a model may see from data that keeps the contract of :func:`zeroshot.data.load`."""
        return cls(
            counts=sparse.csr_matrix(adata.X, dtype=np.float32),
            genes=adata.var_names,
            library_size=adata.obs["library_size"].to_numpy(np.float64),
            batches=adata.obs["batch"].astype(str).to_numpy() if with_batches else None,
        )

    def log_normalized(self, target_sum: float = 1e4) -> sparse.csr_matrix:
        """(cells, genes) log1p of counts scaled to ``target_sum`` counts per cell.

        Scaled by the library size, not by the row sum: on a gene subset the row sum is not the
        depth of the cell.
        """
        scaled = sparse.csr_matrix(self.counts.multiply((target_sum / self.library_size)[:, None]))
        return scaled.astype(np.float32).log1p()

    def detected(self, min_cells: int) -> np.ndarray:
        """(genes,) True for genes with a count in at least ``min_cells`` cells.

        Raises
        ------
        ValueError
            If there is no such gene.
        """
        kept = np.asarray((self.counts > 0).sum(axis=0)).ravel() >= min_cells
        if not kept.any():
            raise ValueError(
                f"no gene is detected in at least {min_cells} cells of {self.counts.shape[0]}: "
                "give more cells, or a recipe with a lower min_cells"
            )
        return kept

    def with_counts(self, counts: sparse.csr_matrix) -> "Cells":
        """The same cells with other counts over the same genes."""
        return Cells(counts, self.genes, self.library_size, self.batches)


class Embedder(Protocol):
    """Anything that turns cells into a float32 (cells, dim) matrix, rows in input order."""

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return the embedding; the same seed gives the same bytes."""
        ...


def load(name: str, recipe: str | None = None) -> Embedder:
    """Build the model of a card with the parameters of one of its recipes.

    Parameters
    ----------
    name
        Name in ``data/models.yml``, for example "pca".
    recipe
        One of the card's recipes; None for its default.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the name, the recipe or one of its parameters does not exist.
    """
    card = catalog.model(name)
    chosen = catalog.find(card.recipes, recipe or card.recipe, f"recipe of {name}")
    if card.implementation is None:
        raise catalog.CatalogError(f"{name} is made from labels: no model can be loaded for it")
    module, _, attribute = card.implementation.partition(":")
    kind = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    known = {field.name for field in fields(kind)}
    for parameter in chosen.parameters:
        catalog.find(dict.fromkeys(known), parameter, f"parameter of {name}")
    return kind(**chosen.parameters)
