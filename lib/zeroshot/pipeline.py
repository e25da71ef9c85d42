"""One run, step by step: embed, check, score, project, each computed once and kept in the store."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import (
    catalog,
    dependencies,
    embedding,
    integrity,
    metrics,
    models,
    reconstruction,
    store,
)


def embed(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    parameters: Mapping[str, Any] | None = None,
) -> store.Artifact:
    """Embed the cells, or take the stored embedding of the same data, model, weights, recipe and seed.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    model, recipe, seed, precision
        As for :func:`zeroshot.embedding.embed`; "label-oracle" is made from the labels.
    parameters
        Put over those of the recipe; None for the recipe as it is.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``embedding``, (cells, dim) float32, rows in the order of ``adata``; ``checks``, the part
        of the integrity gate that needs the model; ``notes``. Of models that read tokens also
        ``lengths`` and ``left_out``, (cells,), and ``overlap``, genes by the rule that matched them.
    """
    card = catalog.model(model)
    inputs = _what_decides(adata, card, recipe, seed, precision, "zeroshot.embedding")
    inputs["parameters"] |= parameters or {}

    def compute() -> dict[str, np.ndarray | pd.DataFrame | dict]:
        if "label" in card.uses:
            oracle = metrics.label_oracle(adata.obs["cell_type"].to_numpy(), seed=seed)
            return _contents(embedding.Embedded(oracle))
        settings = embedding.Settings(precision=precision)
        return _contents(
            embedding.run(adata, model, recipe, seed=seed, settings=settings, parameters=parameters)
        )

    return store.load_or_compute("embedding", inputs, compute, policy())


def reconstruct(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    n_cells: int = 100,
    fractions: Sequence[float] = reconstruction.FRACTIONS,
    seed: int = 0,
    precision: embedding.Precision = "float32",
) -> store.Artifact | None:
    """Measure a model's pretraining objective on some cells, or take the stored measurement.

    Returns
    -------
    zeroshot.store.Artifact or None
        What :func:`zeroshot.reconstruction.reconstruct` returns; None for a model without such an objective.
    """
    if reconstruction.objective(model) is None:
        return None
    card = catalog.model(model)
    inputs = _what_decides(adata, card, recipe, seed, precision, "zeroshot.reconstruction")
    inputs |= {"n_cells": n_cells, "fractions": list(fractions)}

    def compute() -> dict[str, pd.DataFrame | np.ndarray]:
        settings = embedding.Settings(precision=precision)
        return reconstruction.reconstruct(
            adata, model, recipe, n_cells=n_cells, fractions=fractions, seed=seed, settings=settings
        )

    return store.load_or_compute("reconstruction", inputs, compute, policy())


def _what_decides(
    adata: AnnData, card: catalog.ModelCard, recipe: str | None, seed: int, precision: str, module: str
) -> dict[str, Any]:
    """Everything that what a model makes of a data set depends on; ``module`` is the code that runs it."""
    recipe = recipe or card.recipe
    checkpoint = models.find_checkpoint(card, recipe, None)
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
        "code": dependencies.code_hash(modules_of_model(card) | {module}),
        "packages": _packages(),
    }


def _contents(embedded: embedding.Embedded) -> dict[str, np.ndarray | pd.DataFrame | dict]:
    """What an embedding's artifact holds."""
    contents = {
        "embedding": embedded.matrix,
        "checks": embedded.checks,
        "notes": {"notes": list(embedded.notes)},
        "overlap": embedded.overlap,
        "lengths": embedded.lengths,
        "left_out": embedded.left_out,
    }
    return {name: value for name, value in contents.items() if value is not None}


def score(
    adata: AnnData,
    embedded: store.Artifact,
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    fraction: float | None = None,
) -> store.Artifact:
    """Pass an embedding through the integrity gate and score it with every metric, or those named.

    ``fraction`` is the share of the cells in the subsamples that intervals come from, if not the usual.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``checks`` (check, passed, detail), ``scores`` (metric, group, value, note, low, high) and
        ``subsamples`` (subsample, metric, value, cells), see
        :func:`zeroshot.metrics.score_with_intervals`. Before integration means the model ``pca``. If a
        check failed, no metric is computed, each row's note says why, and there are no subsamples.
    """
    values, probed = embedded.load("embedding"), embedded.load("checks")
    batches = adata.obs["batch"].to_numpy()
    several = adata.obs["batch"].nunique() > 1
    baseline = embed(adata, "pca", seed=seed).load("embedding") if several else None
    inputs = {
        "data": adata.uns["dataset"]["content_hash"],
        # By content, so that a recomputed embedding with other bytes is scored again.
        "embedding": _content(values),
        "baseline": None if baseline is None else _content(baseline),
        "probed": probed.to_dict("list"),
        "seed": seed,
        "code": dependencies.code_hash({"zeroshot.metrics", "zeroshot.integrity"}),
        "packages": _packages(),
    }
    chosen = {} if names is None else {"names": list(names)}
    chosen |= {} if fraction is None else {"fraction": fraction}

    def compute() -> dict[str, pd.DataFrame]:
        checks = integrity.check(values, adata.n_obs, probed)
        try:
            integrity.require(checks)
        except integrity.IntegrityError as error:
            wanted = metrics.METRICS if names is None else names
            rows = [(name, metrics.METRICS[name].group, np.nan, str(error)) for name in wanted]
            scores = pd.DataFrame(rows, columns=["metric", "group", "value", "note"])
            return {"checks": checks, "scores": scores.assign(low=np.nan, high=np.nan)}
        scores, subsamples = metrics.score_with_intervals(
            values, adata.obs["cell_type"].to_numpy(), batches, baseline=baseline, seed=seed, **chosen
        )
        return {"checks": checks, "scores": scores, "subsamples": subsamples}

    return store.load_or_compute("scores", inputs | chosen, compute, policy())


def project(embedded: store.Artifact, *, seed: int = 0) -> np.ndarray:
    """(cells, 2) UMAP coordinates of a stored embedding."""
    values = embedded.load("embedding")
    inputs = {
        "embedding": _content(values),
        "seed": seed,
        "code": dependencies.code_hash({"zeroshot.embedding"}),
        "packages": _packages(),
    }
    artifact = store.load_or_compute(
        "umap", inputs, lambda: {"umap": embedding.project_umap(values, seed)}, policy()
    )
    return artifact.load("umap")


def _content(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def policy() -> store.Policy:
    """What to do with stored results: ``ZEROSHOT_POLICY``, "reuse" unless set."""
    return os.environ.get("ZEROSHOT_POLICY", "reuse")


def modules_of_model(card: catalog.ModelCard) -> set[str]:
    """Library modules that a model's embedding depends on: its own file, or the metrics' oracle."""
    if card.implementation is None:
        return {"zeroshot.metrics.controls"}
    return {f"zeroshot.models.{card.implementation.partition(':')[0]}"}


def _packages() -> dict[str, str]:
    versions = store.versions()
    versions.pop("zeroshot")  # our own code is in the key by its source
    return versions
