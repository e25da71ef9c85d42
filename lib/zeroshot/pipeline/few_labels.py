"""The step of a run that labels cells from a few labelled ones."""

import pandas as pd
from anndata import AnnData

from zeroshot import store
from zeroshot.metrics.label_transfer import few_label_scores
from zeroshot.store import dependencies

from .keys import COMPUTED_BY, content


def score_few_labels(
    adata: AnnData,
    embedded: store.Artifact,
    scored: store.Artifact,
    *,
    seed: int = 0,
    policy: store.Policy = "reuse",
) -> store.Artifact | None:
    """Label the cells of a data set from few of them, or take the stored scores of the same embedding.

    Parameters
    ----------
    adata, embedded
        As for :func:`zeroshot.pipeline.score`.
    scored
        What :func:`zeroshot.pipeline.score` returned.
    seed
        Draws the labelled cells: the same for every embedding of these cells.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Returns
    -------
    zeroshot.store.Artifact or None
        Holds ``labels``, as :func:`zeroshot.metrics.label_transfer.few_label_scores` returns them; None for
        an embedding that failed the integrity gate.
    """
    if "subsamples" not in scored:
        return None
    values = embedded.load("embedding")
    inputs = {
        "data": adata.uns["dataset"]["content_hash"],
        "embedding": content(values),
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["few-labels"]),
    }
    labels, batches = (adata.obs[column].to_numpy() for column in ("cell_type", "batch"))

    def compute() -> dict[str, pd.DataFrame]:
        return {"labels": few_label_scores(values, labels, batches, seed=seed)}

    return store.load_or_compute("few-labels", inputs, compute, policy)
