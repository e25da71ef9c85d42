"""What the stored results of a run depend on: their keys."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from zeroshot import catalog, models
from zeroshot.store import dependencies

# The modules that compute each stage of a run, apart from the model's: their code is in its keys.
COMPUTED_BY = {
    "embedding": {"zeroshot.embedding.embed"},
    "reconstruction": {"zeroshot.embedding.masked_prediction"},
    "scores": {"zeroshot.metrics", "zeroshot.embedding.integrity"},  # under other seeds too
    "few-labels": {"zeroshot.metrics.label_transfer.few_labels"},
    "mapping": {"zeroshot.metrics.label_transfer.mapping"},
    "umap": {"zeroshot.embedding.umap"},
    "umap-scores": {"zeroshot.metrics"},
}


def what_decides(
    adata: AnnData,
    card: catalog.ModelCard,
    recipe: str | None,
    seed: int,
    precision: str,
    stage: str,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Everything that what a model makes of a data set in a stage depends on."""
    recipe = recipe or card.recipe
    checkpoint = models.find_checkpoint(card, recipe, weights)
    return {
        "data": adata.uns["dataset"]["content_hash"],
        "model": card.name,
        "version": card.version,
        "recipe": recipe,
        "parameters": dict(catalog.find(card.recipes, recipe, f"recipe of {card.name}").parameters),
        "architecture": dict(card.architecture or {}),
        "weights": dict(checkpoint.hashes) if checkpoint else {},
        "precision": precision,
        "seed": seed,
        **dependencies.computation(COMPUTED_BY[stage] | modules_of_model(card)),
    }


def modules_of_model(card: catalog.ModelCard) -> set[str]:
    """Library modules that a model's embedding depends on: its own file, or the metrics' oracle."""
    if card.implementation is None:
        return {"zeroshot.metrics.controls"}
    return {f"zeroshot.models.{card.implementation.partition(':')[0]}"}


def content(values: np.ndarray) -> str:
    """Hash of the numbers or texts of an array."""
    plain = np.asarray(values)  # labels may be a column of pandas
    if plain.dtype == object:
        plain = plain.astype(str)
    return hashlib.sha256(np.ascontiguousarray(plain).tobytes()).hexdigest()
