"""The step that scores labels which cells of one data set get from those of another."""

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import store
from zeroshot.metrics.label_transfer import mapping_scores
from zeroshot.store import dependencies

from .embeddings import sound_matrix
from .keys import COMPUTED_BY, content


def score_mapping(
    cells: AnnData,
    labels: np.ndarray,
    truth: np.ndarray,
    embedded: store.Artifact,
    *,
    seed: int = 0,
    policy: store.Policy = "reuse",
) -> store.Artifact:
    """Score the labels that a query gets from a reference, or take the stored scores of the same embedding.

    Parameters
    ----------
    cells
        What :func:`zeroshot.pipeline.join` returned: the cells of the reference, then those of the query.
    labels, truth
        (n_reference,) and (n_query,) types under the same names.
    embedded
        What :func:`zeroshot.pipeline.embed` made of ``cells``.
    seed
        Draws the labelled cells: the same for every embedding of these cells.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``mapping``, as :func:`zeroshot.metrics.label_transfer.mapping_scores` returns it.

    Raises
    ------
    zeroshot.embedding.integrity.IntegrityError
        If the embedding is broken.
    """
    values = sound_matrix(embedded, cells.n_obs)
    inputs = {
        "data": cells.uns["dataset"]["content_hash"],
        "labels": [content(labels), content(truth)],
        "embedding": content(values),
        "seed": seed,
        **dependencies.computation(COMPUTED_BY["mapping"]),
    }

    def compute() -> dict[str, pd.DataFrame]:
        reference, query = np.split(values, [len(labels)])
        return {"mapping": mapping_scores(reference, labels, query, truth, seed=seed)}

    return store.load_or_compute("mapping", inputs, compute, policy)
