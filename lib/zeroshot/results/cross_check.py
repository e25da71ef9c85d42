"""The same metric by three hands: ours, scib-metrics and scib, the library of the paper."""

import json

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import metrics, pipeline
from zeroshot.runtime import compilation, paths

# Largest difference that is still agreement. The same formula on the same numbers differs by rounding;
# scib-metrics computes in float32.
EXACT = 1e-4
# Ties among neighbours, edge weights or random numbers make these differ by chance.
CHANCE = {
    "nmi": 0.05,
    "ari": 0.1,
    "nmi_leiden": 0.05,
    "ari_leiden": 0.1,
    "graph_connectivity": 0.02,
    "clisi": 0.02,
    "ilisi": 0.05,
    "kbet": 0.05,
}
# Where ours repeats the arithmetic of scib-metrics.
SHARED = ("clisi", "ilisi", "kbet")
# Where an implementation measures something else under the same name, or is ours.
NOTES = dict.fromkeys(SHARED, "ours is the arithmetic of scib-metrics") | {
    "graph_connectivity": "scib-metrics keeps the neighbour graph directed and asks for paths both ways; "
    "scib and ours join two cells if either is a neighbour of the other",
}


def compare(adata: AnnData, model: str = "pca", *, seed: int = 0) -> pd.DataFrame:
    """Score one embedding by three implementations.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    model
        Name of a model of ``data/models.yml``, in its default recipe.
    seed
        Of the model and of our clustering.

    Returns
    -------
    pandas.DataFrame
        One row per metric that another implementation has too: metric, ours, scib-metrics, scib (NaN
        where it was not run, see :func:`scib_scores`), difference (the largest one to ours), tolerance,
        agrees and note. Metrics without a meaning for these cells are left out.
    """
    embedding = pipeline.embed(adata, model, seed=seed).load("embedding")
    labels, batches = adata.obs["cell_type"].to_numpy(), adata.obs["batch"].to_numpy()
    theirs = scib_metrics_scores(embedding, labels, batches)
    paper = scib_scores(adata.uns["dataset"]["content_hash"], model)
    names = [name for name in metrics.METRICS if name in theirs or name in paper]
    ours = metrics.score(embedding, labels, batches, names=names, seed=seed).set_index("metric")["value"]
    ours = ours.dropna()
    table = pd.DataFrame(
        {
            "ours": ours,
            "scib-metrics": ours.index.map(theirs).astype(float),
            "scib": ours.index.map(paper).astype(float),
        }
    )
    difference = table[["scib-metrics", "scib"]].sub(table["ours"], axis=0).abs().max(axis=1)
    tolerance = pd.Series({name: CHANCE.get(name, EXACT) for name in table.index})
    table = table.assign(difference=difference, tolerance=tolerance, agrees=difference <= tolerance)
    notes = [NOTES.get(name, "") for name in table.index]
    return table.assign(note=notes).rename_axis("metric").reset_index()


def scib_metrics_scores(embedding: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> dict[str, float]:
    """Scores by scib-metrics as its Benchmarker calls it, on the exact neighbours of scikit-learn.

    The Benchmarker would approximate them by pynndescent.

    Parameters
    ----------
    embedding
        (cells, dim).
    labels, batches
        (cells,). With one batch, what compares batches is left out.

    Returns
    -------
    dict
        Our name of each metric to its value.
    """
    with compilation.keep_code():
        import scib_metrics
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    exact = NearestNeighbors(n_neighbors=min(90, len(embedding))).fit(embedding)
    distances, indices = exact.kneighbors(embedding)  # with each cell itself, as pynndescent gives them
    neighbors = NeighborsResults(indices=indices, distances=distances)
    few = neighbors.subset_neighbors(min(15, len(embedding)))
    leiden = scib_metrics.nmi_ari_cluster_labels_leiden(few, labels, seed=0)
    scores = {
        "asw_label": scib_metrics.silhouette_label(embedding, labels),
        "nmi_leiden": leiden["nmi"],
        "ari_leiden": leiden["ari"],
        "clisi": scib_metrics.clisi_knn(neighbors, labels),
        "graph_connectivity": scib_metrics.graph_connectivity(few, labels),
    }
    if len(np.unique(batches)) > 1:
        codes = np.unique(batches, return_inverse=True)[1]
        half = neighbors.subset_neighbors(min(50, len(embedding)))
        scores |= {
            "isolated_labels": scib_metrics.isolated_labels(embedding, labels, batches),
            "batch_integration_score": scib_metrics.silhouette_batch(embedding, labels, batches),
            "bras": scib_metrics.bras(embedding, labels, batches),
            "pcr": scib_metrics.utils.principal_component_regression(embedding, codes, categorical=True),
            "ilisi": scib_metrics.ilisi_knn(neighbors, batches),
            "kbet": scib_metrics.kbet(half, batches)[0],
        }
    return {name: float(value) for name, value in scores.items()}


def scib_scores(content_hash: str, model: str) -> dict[str, float]:
    """Scores that scib gave, in an environment of its own, to an embedding of these very cells.

    They are kept in ``data/references/scib.json``, which ``python -m benchmarks.reference_scib`` writes.

    Returns
    -------
    dict
        Our name of each metric to its value; empty where scib was not run.
    """
    reference = json.loads((paths.home() / "data" / "references" / "scib.json").read_text())
    rows = [row for row in reference["scores"] if row["data"] == content_hash and row["model"] == model]
    return {row["metric"]: row["value"] for row in rows}


def with_neighbors_of(
    embedding: np.ndarray, other: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> dict[str, float]:
    """NMI and ARI of an embedding when the clustering reads the neighbours of another one.

    scib's ``opt_louvain`` did this until October 2023 where an object already had neighbours: it clustered
    the graph it found, whatever embedding was asked about.

    Parameters
    ----------
    embedding, other
        (cells, dim), of the same cells: the one that is asked about and the one whose neighbours are used.
    labels
        (cells,).
    seed
        Of Louvain.
    """
    near = metrics.nearest_neighbors(other, min(15, len(other)))
    sweep = metrics.sweep_resolutions(embedding, labels, metrics.neighbor_graph(near), seed=seed)
    clusters = sweep.clusters[sweep.by_label]
    return {"nmi": metrics.nmi(labels, clusters), "ari": metrics.ari(labels, clusters)}
