"""The steps of a run that project an embedding for figures, and score the projection."""

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import embedding, metrics, store
from zeroshot.store import dependencies

from .keys import COMPUTED_BY, content
from .scores import policy_of_inputs

# Scored on UMAP coordinates as well, as the published version of the paper does.
ON_UMAP = ("avg_bio", "asw_label", "batch_integration_score")


def project(embedded: store.Artifact, *, seed: int = 0, policy: store.Policy = "reuse") -> np.ndarray:
    """(cells, 2) UMAP coordinates of a stored embedding."""
    values = embedded.load("embedding")
    inputs = {
        "embedding": content(values),
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
    coordinates = project(embedded, seed=seed, policy=policy_of_inputs(policy))
    labels, batches = (adata.obs[column].to_numpy() for column in ("cell_type", "batch"))
    inputs = {
        "data": adata.uns["dataset"]["content_hash"],
        "umap": content(coordinates),
        "metrics": ON_UMAP,
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["umap-scores"]),
    }

    def compute() -> dict[str, pd.DataFrame]:
        return {"scores": metrics.score(coordinates, labels, batches, seed=seed, names=ON_UMAP)}

    return store.load_or_compute("umap-scores", inputs, compute, policy)
