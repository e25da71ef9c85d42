"""Variants of one model on the same cells, embedded, scored and compared.

The first variant is the one that the others are compared with. All are scored on the same subsamples, so
that differences are paired, as between the methods of a study.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import embedding, metrics, pipeline, store

from .parameters import effective
from .tables import Tables

# Of the cells in each subsample. Ablations take few cells, and a tenth of few has nothing to cluster.
FRACTION = 0.5


@dataclass(frozen=True)
class Variant:
    """One way to embed cells.

    Attributes
    ----------
    name
        Unique among the variants that it is compared with.
    adata
        The cells: the same in all variants, counts may differ.
    model, recipe
        As for :func:`zeroshot.embedding.embed`.
    parameters
        Put over those of the recipe.
    """

    name: str
    adata: AnnData
    model: str
    recipe: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def compare(
    variants: Iterable[Variant],
    ablation: str,
    *,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    names: Sequence[str] | None = None,
    policy: store.Policy = "reuse",
) -> Tables:
    """Embed, score and compare variants of one model on one data set, each computed once and stored.

    Parameters
    ----------
    variants
        The reference first; made when their turn comes, so that one copy of the counts is in memory.
    ablation
        Name of what is varied, written into each row.
    seed, precision
        As for :func:`zeroshot.pipeline.embed`.
    names
        Metrics; all by default.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Raises
    ------
    ValueError
        If two variants have the same name.
    """
    parts: dict[str, list[pd.DataFrame]] = {"scores": [], "subsamples": []}
    artifacts: list[dict[str, str]] = []
    run: dict[str, str] = {}
    matrices: dict[str, np.ndarray] = {}
    first_with: dict[bytes, str] = {}
    for variant in variants:
        name = variant.name
        run = {"ablation": ablation, "dataset": variant.adata.uns["dataset"]["name"], "model": variant.model}
        if any(name == row["method"] for row in artifacts):
            raise ValueError(
                f"two variants of {run['model']} on {run['dataset']} are called {name!r}: give each a name "
                "of its own"
            )
        parameters = effective(variant.parameters, variant.adata)
        settings = {"seed": seed, "precision": precision, "policy": policy}
        embedded = pipeline.embed(
            variant.adata, variant.model, variant.recipe, parameters=parameters, **settings
        )
        scored = pipeline.score(
            variant.adata, embedded, seed=seed, names=names, fraction=FRACTION, policy=policy
        )
        matrix = embedded.load("embedding")
        earlier = first_with.setdefault(matrix.tobytes(), name)
        row = run | {"method": name}
        artifacts.append(row | {"embedding": embedded.key, "scores": scored.key})
        facts = {"n_cells": len(matrix), "same_as": "" if earlier == name else earlier}
        scores = scored.load("scores").fillna({"note": ""})
        parts["scores"].append(scores.assign(**row, **facts))
        if "subsamples" in scored:  # what failed the integrity gate has no scores, and is like nothing
            matrices[name] = matrix
            parts["subsamples"].append(scored.load("subsamples").assign(**row))
    return Tables.of(
        scores=pd.concat(parts["scores"]) if parts["scores"] else None,
        subsamples=pd.concat(parts["subsamples"]) if parts["subsamples"] else None,
        similarity=pd.DataFrame(_similarities(run, matrices)),
        artifacts=pd.DataFrame(artifacts),
    )


def _similarities(run: dict[str, str], matrices: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    return [
        {
            **run,
            "first": first,
            "second": second,
            "cka": metrics.cka(matrices[first], matrices[second]),
            "overlap": metrics.neighbor_overlap(matrices[first], matrices[second]),
        }
        for first, second in combinations(matrices, 2)
    ]
