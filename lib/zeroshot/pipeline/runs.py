"""Everything that is computed of one model on one data set."""

from dataclasses import dataclass

import pandas as pd
from anndata import AnnData

from zeroshot import embedding, store

from .embeddings import embed, reconstruct
from .few_labels import score_few_labels
from .scores import score, score_other_seeds


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
    few_labels
        As :func:`score_few_labels` returns it.
    """

    embedded: store.Artifact
    scored: store.Artifact
    reseeded: store.Artifact | None
    reconstruction: store.Artifact | None
    few_labels: store.Artifact | None

    @property
    def final_scores(self) -> pd.DataFrame:
        """The scores under the first seed; their intervals hold the spread over all seeds."""
        return (self.reseeded or self.scored).load("scores")

    @property
    def artifacts(self) -> list[store.Artifact]:
        """Stored results that a page of the run shows."""
        artifacts = (self.embedded, self.scored, self.reseeded, self.reconstruction, self.few_labels)
        return [artifact for artifact in artifacts if artifact is not None]


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
        score_few_labels(adata, embedded, scored, seed=seed, policy=policy),
    )
