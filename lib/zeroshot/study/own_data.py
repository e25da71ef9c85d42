"""Several models on the cells of a user: what each makes of them, and why one is refused."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, pipeline, store

# With fewer, UMAP has nothing to lay out.
_FEWEST_CELLS_OF_UMAP = 4
# Of the tables of nothing: all embeddings may have failed the integrity gate.
_EMPTY = {
    "scores": [],
    "subsamples": ["subsample", "metric", "value", "cells", "dataset", "method", "model"],
    "genes": ["method"],
}


@dataclass(frozen=True)
class Runs:
    """What the models that fit make of the cells.

    Attributes
    ----------
    embedded, scored
        Method to its stored embedding, and to its stored scores, in the order in which models were named.
    scores, subsamples
        As :func:`zeroshot.results.load` and :func:`zeroshot.results.load_subsamples` return those of a study.
    notes
        What is to know of an embedding: columns method and note.
    refused
        Models that could not be run, and why: columns model and reason.
    genes
        How many genes each model that reads names knows, and by which rule: column method, then those of the
        model; empty if there is none.
    """

    embedded: dict[str, store.Artifact]
    scored: dict[str, store.Artifact]
    scores: pd.DataFrame
    subsamples: pd.DataFrame
    notes: pd.DataFrame
    refused: pd.DataFrame
    genes: pd.DataFrame

    @property
    def artifacts(self) -> tuple[store.Artifact, ...]:
        """The stored embeddings and scores."""
        return (*self.embedded.values(), *self.scored.values())

    def umaps(self, seed: int) -> dict[str, np.ndarray]:
        """Method to UMAP coordinates (cells, 2); none of the label oracle, which is a point per label.

        Embeddings that failed the integrity gate have none either, nor have fewer than four cells.
        """
        oracle = catalog.model("label-oracle").title
        return {
            method: pipeline.project(artifact, seed=seed)
            for method, artifact in self.embedded.items()
            if method != oracle
            and "subsamples" in self.scored[method]
            and self.scores["n_cells"].max() >= _FEWEST_CELLS_OF_UMAP
        }


def run_models(adata: AnnData, references: Iterable[str], *, seed: int = 0) -> Runs:
    """Embed and score cells with each model; one that is refused does not stop the others.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    references
        Models, ``name`` or ``name@recipe``.
    seed
        The same seed gives the same bytes.

    Raises
    ------
    ValueError
        If no model is named, or none can be run.
    """
    dataset = adata.uns["dataset"]["name"]
    embedded: dict[str, store.Artifact] = {}
    scored: dict[str, store.Artifact] = {}
    tables: dict[str, list[pd.DataFrame]] = {"scores": [], "subsamples": [], "genes": []}
    refused, notes = [], []
    for reference in dict.fromkeys(references):
        try:
            card, recipe = catalog.split_reference(reference)
            if adata.obs["batch"].nunique() < card.min_batches:
                raise ValueError(f"it needs {card.min_batches} batches: name their column (`batch_key`)")
            artifact = pipeline.embed(adata, card.name, recipe, seed=seed)
            scores = pipeline.score(adata, artifact, seed=seed)
        except (ValueError, LookupError, OSError, RuntimeError) as error:
            refused.append({"model": reference, "reason": str(error)})
            continue
        method = card.method(recipe)
        embedded[method], scored[method] = artifact, scores
        notes += [{"method": method, "note": note} for note in pipeline.notes_of(artifact, adata)]
        about = {"dataset": dataset, "method": method, "model": card.name}
        for part in ("scores", "subsamples"):
            if part in scores:
                tables[part].append(scores.load(part).assign(**about))
        if "overlap" in artifact:
            table = artifact.load("overlap")
            table.insert(0, "method", method)
            tables["genes"].append(table)
    if not embedded:
        reasons = "; ".join(f"{row['model']}: {row['reason']}" for row in refused)
        raise ValueError(f"no model can be run on these cells: {reasons or 'none is named in `models`'}")
    stacked = {
        name: pd.concat(part, ignore_index=True) if part else pd.DataFrame(columns=_EMPTY[name])
        for name, part in tables.items()
    }
    marks = [catalog.seen_in_pretraining(model, dataset) for model in stacked["scores"]["model"]]
    return Runs(
        embedded,
        scored,
        stacked["scores"].assign(seen_in_pretraining=marks, n_cells=adata.n_obs),
        stacked["subsamples"],
        pd.DataFrame(notes, columns=["method", "note"]),
        pd.DataFrame(refused, columns=["model", "reason"]),
        stacked["genes"],
    )
