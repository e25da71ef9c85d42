"""One run, step by step: embed, check, score, project, each computed once and kept in the store."""

import hashlib
import os

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, dependencies, embedding, integrity, metrics, store


def embed(adata: AnnData, model: str, recipe: str | None = None, *, seed: int = 0) -> store.Artifact:
    """Embed the cells, or take the stored embedding of the same data, model, recipe and seed.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    model, recipe, seed
        As for :func:`zeroshot.embedding.embed`; "label-oracle" is made from the labels.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``embedding``, (cells, dim) float32, rows in the order of ``adata``.
    """
    card = catalog.model(model)
    recipe = recipe or card.recipe
    parameters = dict(catalog.find(card.recipes, recipe, f"recipe of {model}").parameters)
    inputs = {
        "data": adata.uns["dataset"]["content_hash"],
        "model": model,
        "version": card.version,
        "recipe": recipe,
        "parameters": parameters,
        "seed": seed,
        "code": dependencies.code_hash(modules_of_model(card) | {"zeroshot.embedding"}),
        "packages": _packages(),
    }

    def compute() -> dict[str, np.ndarray]:
        if "label" in card.uses:
            return {"embedding": metrics.label_oracle(adata.obs["cell_type"].to_numpy(), seed=seed)}
        return {"embedding": embedding.embed(adata, model, recipe, seed=seed)}

    return store.load_or_compute("embedding", inputs, compute, policy())


def score(adata: AnnData, embedded: store.Artifact, *, seed: int = 0) -> store.Artifact:
    """Pass an embedding through the integrity gate and score it with every metric.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``checks`` (check, passed, detail) and ``scores`` (metric, group, value, note). If a
        check failed, no metric is computed and each row's note says why.
    """
    values = embedded.load("embedding")
    inputs = {
        "data": adata.uns["dataset"]["content_hash"],
        # By content, so that a recomputed embedding with other bytes is scored again.
        "embedding": hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest(),
        "seed": seed,
        "code": dependencies.code_hash({"zeroshot.metrics", "zeroshot.integrity"}),
        "packages": _packages(),
    }

    def compute() -> dict[str, pd.DataFrame]:
        checks = integrity.check(values, adata.n_obs)
        try:
            integrity.require(checks)
        except integrity.IntegrityError as error:
            rows = [(metric.name, metric.group, np.nan, str(error)) for metric in metrics.METRICS.values()]
            return {
                "checks": checks,
                "scores": pd.DataFrame(rows, columns=["metric", "group", "value", "note"]),
            }
        scores = metrics.score(
            values, adata.obs["cell_type"].to_numpy(), adata.obs["batch"].to_numpy(), seed=seed
        )
        return {"checks": checks, "scores": scores}

    return store.load_or_compute("scores", inputs, compute, policy())


def project(embedded: store.Artifact, *, seed: int = 0) -> np.ndarray:
    """(cells, 2) UMAP coordinates of a stored embedding."""
    values = embedded.load("embedding")
    inputs = {
        "embedding": hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest(),
        "seed": seed,
        "code": dependencies.code_hash({"zeroshot.embedding"}),
        "packages": _packages(),
    }
    artifact = store.load_or_compute(
        "umap", inputs, lambda: {"umap": embedding.project_umap(values, seed)}, policy()
    )
    return artifact.load("umap")


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
