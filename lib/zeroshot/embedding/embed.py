"""Embed the cells of a data set with a model by name."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from zeroshot import catalog, models
from zeroshot.embedding.engine import EmbeddingError, Runner, Settings, require_seed
from zeroshot.embedding.result import Embedded, GeneShare
from zeroshot.models import Cells, TokenEmbedder


def embed(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    weights: Path | None = None,
    settings: Settings | None = None,
) -> np.ndarray:
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
    weights
        Folder with the weights as released; None to look for them as :func:`zeroshot.models.weights.find`
        does.
    settings
        Device, precision and chunk size of models that are networks.

    Returns
    -------
    numpy.ndarray
        (cells, dim) float32, rows in the order of ``adata``.

    Raises
    ------
    EmbeddingError
        If the model returned another shape or type, memory does not suffice, or the seed cannot be one.
    zeroshot.models.weights.WeightsError
        If the weights cannot be had, or are not those of the model.
    zeroshot.tokens.genes.GeneOverlapError
        If the model knows fewer than half of the genes and of the counts.
    """
    return run(adata, model, recipe, seed=seed, weights=weights, settings=settings, probe=False).matrix


def run(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    weights: Path | None = None,
    settings: Settings | None = None,
    parameters: Mapping[str, Any] | None = None,
    probe: bool = True,
) -> Embedded:
    """Embed the cells as :func:`embed` does, and report on it.

    ``parameters`` are put over those of the recipe. ``probe`` embeds a few cells again in another
    order, in other chunks and alone, for the integrity gate.
    """
    require_seed(seed)
    card = catalog.model(model)
    uses_batch = "batch" in card.uses and adata.obs["batch"].nunique() > 1
    cells = Cells.of(adata, with_batches=uses_batch)
    embedder = models.load(model, recipe, weights=weights, parameters=parameters)
    if isinstance(embedder, TokenEmbedder):
        runner = Runner(embedder, cells, seed, settings or Settings())
        embedded = runner.report(probe=probe)
    else:
        embedded = Embedded(embedder.embed(cells, seed), notes=_notes_of(embedder, cells))
    embedded = replace(embedded, genes=GeneShare.of(cells, embedder, embedded.overlap))
    if card.twin_of:
        note = f"the weights are random, drawn by the seed: {card.title} was never trained"
        embedded = replace(embedded, notes=(note, *embedded.notes))
    if "batch" in card.uses and not uses_batch:
        note = f"{card.title} was fitted without batches: the cells are one batch"
        if adata.uns.get("dataset", {}).get("name") not in catalog.datasets():
            note += ". If they come from several, name their column with --batch-key (batch_key=…)"
        embedded = replace(embedded, notes=(*embedded.notes, note))
    matrix = embedded.matrix
    if matrix.ndim != 2 or len(matrix) != adata.n_obs or matrix.dtype != np.float32:
        raise EmbeddingError(
            f"{model} returned {matrix.dtype} of shape {matrix.shape}; "
            f"expected float32 of shape ({adata.n_obs}, dim)"
        )
    return embedded


def _notes_of(embedder: object, cells: Cells) -> tuple[str, ...]:
    """What a model that is fitted to the cells says of them, if it has a method ``notes``."""
    notes = getattr(embedder, "notes", None)
    return () if notes is None else tuple(notes(cells))
