"""What scores become when the rows of an embedding are not those of the cells, and such scores of others."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import metrics, pipeline
from zeroshot.embedding import alignment

from . import evidence

IN_ORDER = "in order"
SORTED = "sorted by length"
INDEXED = "sorted, with the row number"
RANDOM = "random numbers"
# Published benchmarks that scored Geneformer so; of openproblems the last run, which has the most data sets.
FAULTY = {"openproblems_batch_integration": "76ce7f28", "stfm_benchmark": ""}
FAULTY_METHOD = "geneformer"
# What stands beside it: the cells before integration, and cells in random order.
BESIDE = {"pca": "PCA", "shuffled-cells": "shuffled cells"}
# Metrics of the figure, each kind by its best known ones.
SHOWN = (
    "avg_bio", "asw_label", "nmi", "ari", "clisi", "knn_accuracy", "ksim", "linear_probe",
    "graph_connectivity", "ilisi", "cilisi", "kbet", "sbee", "batch_integration_score", "pcr",
)  # fmt: skip
AREAS = ("clustering", "batch mixing", "annotation")


@dataclass(frozen=True)
class Comparison:
    """Scores of one embedding with its rows in several orders.

    Attributes
    ----------
    scores
        Columns dataset, variant, metric and value (NaN where a metric does not apply), all variants of an
        embedding in the order of :func:`variants`.
    doubts
        Columns dataset, variant, check, seen and expected: what :func:`zeroshot.embedding.alignment.doubts`
        says of each variant, given the principal components of the counts and the labels.
    """

    scores: pd.DataFrame
    doubts: pd.DataFrame


def variants(embedding: np.ndarray, n_genes: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """The rows of an embedding as they should be, and as two benchmarks read them.

    Parameters
    ----------
    embedding
        (cells, dim), rows in the order of the cells.
    n_genes
        (cells,) detected genes of each, the length of its sequence for a model that reads genes.
    seed
        Of the random numbers.

    Returns
    -------
    dict
        (cells, dim) float32 by name: in order; sorted by length, longest first, as Geneformer's extractor
        returns cells; the same with the number of the row as first column, as a table read with its index;
        random numbers, for comparison.
    """
    by_length = embedding[np.argsort(-n_genes, kind="stable")]
    return {
        IN_ORDER: embedding,
        SORTED: by_length,
        INDEXED: np.column_stack([np.arange(len(embedding)), by_length]).astype(np.float32),
        RANDOM: np.random.default_rng(seed).normal(size=embedding.shape).astype(np.float32),
    }


def compare(adata: AnnData, model: str, *, seed: int = 0) -> Comparison:
    """Score an embedding with its rows in and out of order, and ask the checks of :mod:`alignment`.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    model
        Name of a model of ``data/models.yml``, in its default recipe.
    seed
        Of the model, the random numbers and the clustering.
    """
    embedding = pipeline.embed(adata, model, seed=seed).load("embedding")
    components = pipeline.embed(adata, "pca", seed=seed).load("embedding")
    labels, batches = adata.obs["cell_type"].to_numpy(), adata.obs["batch"].to_numpy()
    n_genes = np.asarray((adata.X > 0).sum(axis=1)).ravel()
    dataset = adata.uns["dataset"]["name"]
    scores, doubts = [], []
    for variant, values in variants(embedding, n_genes, seed).items():
        table = metrics.score(values, labels, batches, baseline=components, seed=seed)
        scores.append(table.assign(dataset=dataset, variant=variant))
        doubts += [
            (dataset, variant, doubt.check, doubt.seen, doubt.expected)
            for doubt in alignment.doubts(values, components, labels, seed=seed)
        ]
    return Comparison(
        pd.concat(scores, ignore_index=True)[["dataset", "variant", "metric", "value"]],
        pd.DataFrame(doubts, columns=["dataset", "variant", "check", "seen", "expected"]),
    )


def published() -> pd.DataFrame:
    """Scores that others published of an embedding in another order, with what they measured beside it.

    Returns
    -------
    pandas.DataFrame
        A row per source and measure: source and measure (titles), datasets (how many), Geneformer (median
        over them, as published), lowest, highest, and the medians of :data:`BESIDE` over the same data sets;
        NaN where the source has none.
    """
    rows = []
    for source, run in FAULTY.items():
        table = evidence.load(source, faults=True)
        table = table[table["replicate"].str.contains(run, regex=False) & table["area"].isin(AREAS)]
        faulty = table[table["fault"] & (table["method"] == FAULTY_METHOD)]
        for measure, part in faulty.groupby("measure", sort=False):
            if measure.startswith("scaled_"):
                continue
            same = table[(table["measure"] == measure) & table["dataset"].isin(part["dataset"])]
            medians = same[~same["fault"]].groupby("method")["value"].median()
            rows.append(
                {
                    "source": evidence.sources()[source].title,
                    "measure": evidence.measures()[measure].title,
                    "datasets": part["dataset"].nunique(),
                    "Geneformer": part["value"].median(),
                    "lowest": part["value"].min(),
                    "highest": part["value"].max(),
                    **{title: medians.get(method, np.nan) for method, title in BESIDE.items()},
                }
            )
    return pd.DataFrame(rows)
