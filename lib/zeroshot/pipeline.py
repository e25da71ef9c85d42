"""One run, step by step: embed, check, score, project, each computed once and kept in the store."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, embedding, metrics, models, reconstruction, store
from zeroshot.embedding import integrity
from zeroshot.store import dependencies

# Scored on UMAP coordinates as well, as the published version of the paper does.
ON_UMAP = ("avg_bio", "asw_label", "batch_integration_score")

# The modules that compute each stage of a run, apart from the model's: their code is in its keys.
COMPUTED_BY = {
    "embedding": {"zeroshot.embedding.embed"},
    "reconstruction": {"zeroshot.reconstruction"},
    "scores": {"zeroshot.metrics", "zeroshot.embedding.integrity"},  # under other seeds too
    "umap": {"zeroshot.embedding.umap"},
    "umap-scores": {"zeroshot.metrics"},
}


@dataclass(frozen=True)
class Run:
    """Everything that is computed of one model on one data set.

    Attributes
    ----------
    embedded
        As :func:`embed` returns it.
    scored
        As :func:`score` returns it.
    reseeded
        As :func:`score_other_seeds` returns it.
    reconstruction
        As :func:`reconstruct` returns it.
    """

    embedded: store.Artifact
    scored: store.Artifact
    reseeded: store.Artifact | None
    reconstruction: store.Artifact | None

    @property
    def final_scores(self) -> pd.DataFrame:
        """The scores under the first seed; their intervals hold the spread over all seeds."""
        return (self.reseeded or self.scored).load("scores")

    @property
    def artifacts(self) -> list[store.Artifact]:
        """Stored results that a page of the run shows."""
        made = (self.embedded, self.scored, self.reseeded, self.reconstruction)
        return [artifact for artifact in made if artifact is not None]


def run(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    seeds: int = 3,
    precision: embedding.Precision = "float32",
    reconstruction_cells: int = 24,
    policy: store.Policy = "reuse",
) -> Run:
    """Do everything with one model on one data set, or take what is stored of it.

    The UMAP, which is drawn and no part of the scores, is apart: see :func:`project`.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    model, recipe, seed, precision
        As for :func:`embed`.
    seeds
        Under how many seeds a model is scored that depends on one.
    reconstruction_cells
        Cells whose genes are masked and predicted.
    policy
        As for :func:`zeroshot.store.load_or_compute`.
    """
    settings = {"seed": seed, "precision": precision, "policy": policy}
    embedded = embed(adata, model, recipe, **settings)
    scored = score(adata, embedded, seed=seed, policy=policy)
    return Run(
        embedded,
        scored,
        score_other_seeds(adata, scored, model, recipe, seeds=seeds, **settings),
        reconstruct(adata, model, recipe, n_cells=reconstruction_cells, **settings),
    )


def embed(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    parameters: Mapping[str, Any] | None = None,
    policy: store.Policy = "reuse",
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
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``embedding``, (cells, dim) float32, rows in the order of ``adata``; ``checks``, the part
        of the integrity gate that needs the model; ``notes``. Of models that read tokens also
        ``lengths`` and ``left_out``, (cells,), and ``overlap``, genes by the rule that matched them.
    """
    card = catalog.model(model)
    inputs = _what_decides(adata, card, recipe, seed, precision, "embedding")
    inputs["parameters"] |= parameters or {}

    def compute() -> dict[str, np.ndarray | pd.DataFrame | dict]:
        if "label" in card.uses:
            oracle = metrics.label_oracle(adata.obs["cell_type"].to_numpy(), seed=seed)
            return _contents(embedding.Embedded(oracle))
        settings = embedding.Settings(precision=precision)
        return _contents(
            embedding.run(adata, model, recipe, seed=seed, settings=settings, parameters=parameters)
        )

    return store.load_or_compute("embedding", inputs, compute, policy)


def reconstruct(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    n_cells: int = 100,
    fractions: Sequence[float] = reconstruction.FRACTIONS,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    policy: store.Policy = "reuse",
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
    inputs = _what_decides(adata, card, recipe, seed, precision, "reconstruction")
    inputs |= {"n_cells": n_cells, "fractions": list(fractions)}

    def compute() -> dict[str, pd.DataFrame | np.ndarray]:
        settings = embedding.Settings(precision=precision)
        return reconstruction.reconstruct(
            adata, model, recipe, n_cells=n_cells, fractions=fractions, seed=seed, settings=settings
        )

    return store.load_or_compute("reconstruction", inputs, compute, policy)


def _what_decides(
    adata: AnnData, card: catalog.ModelCard, recipe: str | None, seed: int, precision: str, stage: str
) -> dict[str, Any]:
    """Everything that what a model makes of a data set in a stage depends on."""
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
        **dependencies.computation(COMPUTED_BY[stage] | modules_of_model(card)),
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
    policy: store.Policy = "reuse",
) -> store.Artifact:
    """Pass an embedding through the integrity gate and score it with every metric, or those named.

    ``fraction`` is the share of the cells in the subsamples that intervals come from, if not the usual.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``checks`` (check, passed, detail), ``scores`` (metric, group, value, note, low, high, seeds,
        seed_sd) and ``subsamples`` (subsample, metric, value, cells), see
        :func:`zeroshot.metrics.score_with_intervals`. Before integration means the model ``pca``. If a
        check failed, no metric is computed, each row's note says why, and there are no subsamples.
    """
    cells = _cells_to_score(adata, seed, _of_inputs(policy))
    values, probed = embedded.load("embedding"), embedded.load("checks")
    # By content, so that a recomputed embedding with other bytes is scored again.
    inputs = _what_decides_scores(adata, cells, seed) | {
        "embedding": _content(values),
        "probed": probed.to_dict("list"),
    }
    chosen = {} if names is None else {"names": list(names)}
    chosen |= {} if fraction is None else {"fraction": fraction}

    def compute() -> dict[str, pd.DataFrame]:
        checks, reason = _gate(values, adata.n_obs, probed)
        if reason is not None:
            scores = _no_scores(reason, names or metrics.METRICS)
            scores = scores.assign(low=np.nan, high=np.nan, seeds=1, seed_sd=np.nan)
            return {"checks": checks, "scores": scores}
        scores, subsamples = metrics.score_with_intervals(values, **cells, seed=seed, **chosen)
        return {"checks": checks, "scores": scores, "subsamples": subsamples}

    return store.load_or_compute("scores", inputs | chosen, compute, policy)


def score_other_seeds(
    adata: AnnData,
    scored: store.Artifact,
    model: str,
    recipe: str | None = None,
    *,
    seeds: int,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    policy: store.Policy = "reuse",
) -> store.Artifact | None:
    """Embed and score under further seeds with a model whose embedding depends on its seed.

    Parameters
    ----------
    adata, model, recipe, seed, precision
        As for :func:`embed`; the cells, subsamples and clusterings stay those of ``seed``.
    scored
        What :func:`score` returned for ``seed``.
    seeds
        How many in all: ``seed`` and those that follow it.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Returns
    -------
    zeroshot.store.Artifact or None
        Holds ``scores`` as :func:`score` does, with the spread over seeds in their intervals, and
        ``other_seeds`` (seed, metric, value), where values are NaN under a seed whose embedding fails the
        integrity gate. None for a model that does not depend on a seed, for one seed, and where nothing was
        scored under the first.
    """
    if not catalog.model(model).seeded or seeds < 2 or "subsamples" not in scored:
        return None
    others = {
        other: embed(adata, model, recipe, seed=other, precision=precision, policy=policy)
        for other in range(seed + 1, seed + seeds)
    }
    cells = _cells_to_score(adata, seed, _of_inputs(policy))
    inputs = _what_decides_scores(adata, cells, seed) | {
        "scores": scored.key,
        "embeddings": {
            str(other): _content(embedded.load("embedding")) for other, embedded in others.items()
        },
    }

    def compute() -> dict[str, pd.DataFrame]:
        tables = []
        for other, embedded in others.items():
            values = embedded.load("embedding")
            _, reason = _gate(values, adata.n_obs, embedded.load("checks"))
            if reason is None:
                scores = metrics.score(values, **cells, seed=seed)
            else:
                scores = _no_scores(reason, metrics.METRICS)
            tables.append(scores.assign(seed=other))
        found = pd.concat(tables, ignore_index=True)[["seed", "metric", "value"]]
        first, parts = scored.load("scores"), scored.load("subsamples")
        return {"other_seeds": found, "scores": metrics.intervals(first, parts, adata.n_obs, found)}

    return store.load_or_compute("other-seeds", inputs, compute, policy)


def _of_inputs(policy: store.Policy) -> store.Policy:
    """The policy for what a result is made from: its own run recomputes that."""
    return "reuse" if policy == "recompute" else policy


def _cells_to_score(adata: AnnData, seed: int, policy: store.Policy) -> dict[str, np.ndarray | None]:
    """What a score needs besides the embedding: labels, batches, and the cells before integration."""
    several = adata.obs["batch"].nunique() > 1
    return {
        "labels": adata.obs["cell_type"].to_numpy(),
        "batches": adata.obs["batch"].to_numpy(),
        "baseline": embed(adata, "pca", seed=seed, policy=policy).load("embedding") if several else None,
    }


def _what_decides_scores(adata: AnnData, cells: dict[str, np.ndarray | None], seed: int) -> dict[str, Any]:
    """Everything that scores depend on, apart from the embedding."""
    return {
        "data": adata.uns["dataset"]["content_hash"],
        "baseline": None if cells["baseline"] is None else _content(cells["baseline"]),
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["scores"]),
    }


def _gate(values: np.ndarray, n_cells: int, probed: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """The integrity checks of an embedding, and why it must not be scored; None if it may."""
    checks = integrity.check(values, n_cells, probed)
    try:
        integrity.require(checks)
    except integrity.IntegrityError as error:
        return checks, str(error)
    return checks, None


def _no_scores(reason: str, names: Iterable[str]) -> pd.DataFrame:
    rows = [(name, metrics.METRICS[name].group, np.nan, reason) for name in names]
    return pd.DataFrame(rows, columns=["metric", "group", "value", "note"])


def project(embedded: store.Artifact, *, seed: int = 0, policy: store.Policy = "reuse") -> np.ndarray:
    """(cells, 2) UMAP coordinates of a stored embedding."""
    values = embedded.load("embedding")
    inputs = {
        "embedding": _content(values),
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["umap"]),
    }
    artifact = store.load_or_compute(
        "umap", inputs, lambda: {"umap": embedding.project_umap(values, seed)}, policy
    )
    return artifact.load("umap")


def score_umap(
    adata: AnnData, embedded: store.Artifact, *, seed: int = 0, policy: store.Policy = "reuse"
) -> store.Artifact:
    """Score the UMAP coordinates of an embedding, as if they were one.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``scores`` (metric, group, value, note) of the metrics in :data:`ON_UMAP`.
    """
    coordinates = project(embedded, seed=seed, policy=_of_inputs(policy))
    labels, batches = (adata.obs[column].to_numpy() for column in ("cell_type", "batch"))
    inputs = {
        "data": adata.uns["dataset"]["content_hash"],
        "umap": _content(coordinates),
        "metrics": ON_UMAP,
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["umap-scores"]),
    }

    def compute() -> dict[str, pd.DataFrame]:
        return {"scores": metrics.score(coordinates, labels, batches, seed=seed, names=ON_UMAP)}

    return store.load_or_compute("umap-scores", inputs, compute, policy)


def _content(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def modules_of_model(card: catalog.ModelCard) -> set[str]:
    """Library modules that a model's embedding depends on: its own file, or the metrics' oracle."""
    if card.implementation is None:
        return {"zeroshot.metrics.controls"}
    return {f"zeroshot.models.{card.implementation.partition(':')[0]}"}
