"""The steps of a run that score: an embedding, under one seed or several, or one from elsewhere."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, embedding, metrics, store
from zeroshot.embedding import alignment, integrity
from zeroshot.store import dependencies

from .embeddings import embed
from .keys import COMPUTED_BY, content

# CPU seconds of all metrics with their subsamples, measured at 50,000 and 200,000 cells: of a pair of cells
# without and for each dimension, and of the clusterings of n cells under one seed, over n^1.5.
PAIR_SECONDS, PAIR_DIM_SECONDS, CLUSTERING_SECONDS = 1.5e-8, 2e-10, 4.2e-6


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
        Holds ``checks`` (check, passed, detail), ``scores`` (metric, group, value, note, cluster_sd, low,
        high, seeds, seed_sd) and ``subsamples`` (subsample, metric, value, cells), see
        :func:`zeroshot.metrics.score_with_intervals`. Before integration means the model ``pca``. If a
        check failed, no metric is computed, each row's note says why, and there are no subsamples.
    """
    cells = _cells_to_score(adata, seed, policy_of_inputs(policy))
    values, probed = embedded.load("embedding"), embedded.load("checks")
    # By content, so that a recomputed embedding with other bytes is scored again.
    inputs = _what_decides_scores(adata, cells, seed) | {
        "embedding": content(values),
        "probed": probed.to_dict("list"),
    }
    on_a_line = _is_on_a_line(embedded, adata)
    inputs |= {"on_a_line": True} if on_a_line else {}
    options = {} if names is None else {"names": list(names)}
    options |= {} if fraction is None else {"fraction": fraction}

    def compute() -> dict[str, pd.DataFrame]:
        checks, reason = _gate(values, adata.n_obs, probed, on_a_line=on_a_line)
        if reason is not None:
            scores = _no_scores(reason, names or metrics.METRICS)
            scores = scores.assign(low=np.nan, high=np.nan, seeds=1, seed_sd=np.nan)
            return {"checks": checks, "scores": scores}
        scores, subsamples = metrics.score_with_intervals(values, **cells, seed=seed, **options)
        return {"checks": checks, "scores": scores, "subsamples": subsamples}

    return store.load_or_compute("scores", inputs | options, compute, policy)


def score_matrix(
    values: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray | None = None,
    *,
    baseline: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    policy: store.Policy = "reuse",
) -> store.Artifact:
    """Score an embedding from elsewhere, or take the stored scores of the same numbers and labels.

    Parameters
    ----------
    values
        (cells, dim) an embedding that has passed the integrity gate.
    labels, batches, baseline, seed, progress
        As for :func:`zeroshot.metrics.score_with_intervals`.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``scores`` and ``subsamples`` as :func:`score` does.
    """
    values, baseline = single(values), None if baseline is None else single(baseline)
    cells = {"labels": labels, "batches": batches, "baseline": baseline}
    contents = {"embedding": values, **cells}
    inputs = {
        **{name: None if array is None else content(array) for name, array in contents.items()},
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["scores"]),
    }

    def compute() -> dict[str, pd.DataFrame]:
        scores, subsamples = metrics.score_with_intervals(values, **cells, seed=seed, progress=progress)
        return {"scores": scores, "subsamples": subsamples}

    return store.load_or_compute("scores", inputs, compute, policy)


def single(values: np.ndarray) -> np.ndarray:
    """The same numbers as float32 if it holds them all, so that their form in a file changes no score."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values, equal_nan=True) else values


def expected_seconds(n_cells: int, n_dims: int) -> float:
    """About how long :func:`score_matrix` takes on one core, in seconds.

    Distances between all cells grow with their square, clusterings with the power 1.5.
    """
    pairs = (PAIR_SECONDS + PAIR_DIM_SECONDS * n_dims) * n_cells**2
    return pairs + CLUSTERING_SECONDS * metrics.CLUSTERINGS * n_cells**1.5


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
    if not catalog.model(model).seeded_under(recipe) or seeds < 2 or "subsamples" not in scored:
        return None
    others = {
        other: embed(adata, model, recipe, seed=other, precision=precision, policy=policy)
        for other in range(seed + 1, seed + seeds)
    }
    cells = _cells_to_score(adata, seed, policy_of_inputs(policy))
    inputs = _what_decides_scores(adata, cells, seed) | {
        "scores": scored.key,
        "embeddings": {str(other): content(embedded.load("embedding")) for other, embedded in others.items()},
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
        by_seed = pd.concat(tables, ignore_index=True)[["seed", "metric", "value"]]
        first, parts = scored.load("scores"), scored.load("subsamples")
        return {"other_seeds": by_seed, "scores": metrics.intervals(first, parts, adata.n_obs, by_seed)}

    return store.load_or_compute("other-seeds", inputs, compute, policy)


def policy_of_inputs(policy: store.Policy) -> store.Policy:
    """The policy for what a result is made from: its own run recomputes that."""
    return "reuse" if policy == "recompute" else policy


def _cells_to_score(adata: AnnData, seed: int, policy: store.Policy) -> dict[str, np.ndarray | None]:
    """What a score needs besides the embedding: labels, batches, and the cells before integration."""
    baseline = None
    if adata.obs["batch"].nunique() > 1:
        try:
            baseline = embed(adata, "pca", seed=seed, policy=policy).load("embedding")
        except store.NotStoredError:
            raise
        except ValueError as error:
            raise ValueError(
                f"batch scores compare with PCA, which cannot be computed: {error}. Without a column of "
                "batches, other scores are computed"
            ) from error
    return {
        "labels": adata.obs["cell_type"].to_numpy(),
        "batches": adata.obs["batch"].to_numpy(),
        "baseline": baseline,
    }


def _what_decides_scores(adata: AnnData, cells: dict[str, np.ndarray | None], seed: int) -> dict[str, Any]:
    """Everything that scores depend on, apart from the embedding."""
    return {
        "data": adata.uns["dataset"]["content_hash"],
        "baseline": None if cells["baseline"] is None else content(cells["baseline"]),
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["scores"]),
    }


def _is_on_a_line(embedded: store.Artifact, adata: AnnData) -> bool:
    """True for the label oracle of two labels: two points, which are not a collapse."""
    card = catalog.models().get(embedded.provenance["inputs"].get("model"))
    return card is not None and "label" in card.uses and adata.obs["cell_type"].nunique() == 2


def _gate(
    values: np.ndarray, n_cells: int, probed: pd.DataFrame, *, on_a_line: bool = False
) -> tuple[pd.DataFrame, str | None]:
    """The integrity checks of an embedding, and why it must not be scored; None if it may."""
    columns = alignment.counters(values)
    counting = ("no column counts the rows", not columns, f"columns that count them: {columns or 'none'}")
    checks = pd.concat(
        [integrity.check(values, n_cells, probed), integrity.table([counting])], ignore_index=True
    )
    checks = checks[checks["check"] != "not collapsed"] if on_a_line else checks
    try:
        integrity.require(checks)
    except integrity.IntegrityError as error:
        return checks, str(error)
    return checks, None


def _no_scores(reason: str, names: Iterable[str]) -> pd.DataFrame:
    rows = [(name, metrics.METRICS[name].group, np.nan, reason) for name in names]
    return pd.DataFrame(rows, columns=["metric", "group", "value", "note"]).assign(cluster_sd=np.nan)
