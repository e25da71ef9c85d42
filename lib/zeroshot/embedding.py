"""Embed cells with a model by name."""

import numpy as np
from anndata import AnnData

from zeroshot import catalog, models
from zeroshot.models import Cells


class EmbeddingError(ValueError):
    """A model returned something that is no embedding of the cells it was given."""


def embed(adata: AnnData, model: str, recipe: str | None = None, *, seed: int = 0) -> np.ndarray:
    """Embed the cells of a data set.

    Parameters
    ----------
    adata
        Raw counts that keep the contract of :func:`zeroshot.data.load`; not changed.
    model
        Name in ``data/models.yml``.
    recipe
        Recipe of the card; None for its default.
    seed
        The same seed gives the same bytes.

    Returns
    -------
    numpy.ndarray
        (cells, dim) float32, rows in the order of ``adata``.

    Raises
    ------
    EmbeddingError
        If the model returned another shape or type.
    """
    uses_batch = "batch" in catalog.model(model).uses and adata.obs["batch"].nunique() > 1
    cells = Cells.of(adata, with_batches=uses_batch)
    embedding = models.load(model, recipe).embed(cells, seed)
    if embedding.ndim != 2 or len(embedding) != adata.n_obs or embedding.dtype != np.float32:
        raise EmbeddingError(
            f"{model} returned {embedding.dtype} of shape {embedding.shape}; "
            f"expected float32 of shape ({adata.n_obs}, dim)"
        )
    return embedding


def project_umap(embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """(cells, 2) UMAP coordinates: 15 neighbours, min_dist 0.3, as the paper draws them."""
    import umap

    projection = umap.UMAP(n_neighbors=min(15, len(embedding) - 1), min_dist=0.3, random_state=seed, n_jobs=1)
    return projection.fit_transform(embedding).astype(np.float32)
