"""Louvain and Leiden clusterings over a range of resolutions, and two ways to choose one of them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from .silhouette import silhouette_widths

if TYPE_CHECKING:
    import igraph

# scib.metrics.opt_louvain: 2 * x / 20 for x in 1..20.
RESOLUTIONS = tuple(round(0.1 * step, 1) for step in range(1, 21))


@dataclass(frozen=True)
class Sweep:
    """Clusterings at all resolutions, and which of them each rule picks.

    Attributes
    ----------
    resolutions
        (resolutions,), ascending.
    clusters
        (resolutions, cells) int, cluster of each cell.
    nmi
        (resolutions,) normalised mutual information with the labels.
    silhouette
        (resolutions,) mean silhouette width on the embedding, -1 to 1; NaN where there is one cluster.
    by_label
        Position of the resolution with the highest NMI (the lowest resolution on ties), as the paper chooses.
    label_free
        Position of the resolution with the highest silhouette: a choice that never sees the labels. If every
        clustering is one cluster, the position of resolution 1.0, Louvain's own default.
    """

    resolutions: tuple[float, ...]
    clusters: np.ndarray
    nmi: np.ndarray
    silhouette: np.ndarray
    by_label: int
    label_free: int

    def table(self) -> pd.DataFrame:
        """One row per resolution; column clusters counts them, by_label and label_free mark the choices."""
        position = np.arange(len(self.resolutions))
        return pd.DataFrame(
            {
                "resolution": self.resolutions,
                "clusters": [len(np.unique(row)) for row in self.clusters],
                "nmi": self.nmi,
                "silhouette": self.silhouette,
                "by_label": position == self.by_label,
                "label_free": position == self.label_free,
            }
        )


def louvain(
    graph: sparse.spmatrix, resolutions: tuple[float, ...] = RESOLUTIONS, *, seed: int = 0
) -> np.ndarray:
    """Louvain clusterings of an undirected graph.

    Parameters
    ----------
    graph
        (cells, cells), symmetric; only the pattern is used, see `neighbor_graph`.
    resolutions
        Higher gives more clusters.
    seed
        Every resolution starts from the same seed, so its clustering does not depend on the others.

    Returns
    -------
    numpy.ndarray
        (resolutions, cells) int.

    Source
    ------
    Blondel et al. 2008; objective with resolution of Reichardt and Bornholdt 2006, as in scanpy's flavour
    "vtraag".

    Differs
    -------
    igraph's implementation instead of the `louvain` package: the same objective, other random numbers, and
    faster; the benchmarks say how much.
    """
    return _cluster(
        graph, resolutions, seed, lambda network, gamma: network.community_multilevel(resolution=gamma)
    )


def leiden(
    graph: sparse.spmatrix, resolutions: tuple[float, ...] = RESOLUTIONS, *, seed: int = 0
) -> np.ndarray:
    """Leiden clusterings of an undirected graph, by modularity and in two iterations.

    Parameters
    ----------
    graph, resolutions, seed
        As for `louvain`.

    Returns
    -------
    numpy.ndarray
        (resolutions, cells) int.

    Source
    ------
    Traag et al. 2019; igraph, as called by `scanpy.tl.leiden` with flavor "igraph" and n_iterations=2.

    Differs
    -------
    Without edge weights, on the graph that Louvain is given; scanpy's default is to use them.
    """
    return _cluster(
        graph,
        resolutions,
        seed,
        lambda network, gamma: network.community_leiden(
            objective_function="modularity", resolution=gamma, n_iterations=2
        ),
    )


def _cluster(
    graph: sparse.spmatrix,
    resolutions: tuple[float, ...],
    seed: int,
    detect: "Callable[[igraph.Graph, float], igraph.VertexClustering]",
) -> np.ndarray:
    """(resolutions, cells) clusters that `detect` finds in the graph at each resolution."""
    import igraph

    sources, targets = sparse.triu(graph, k=1).nonzero()
    network = igraph.Graph(n=graph.shape[0])
    network.add_edges(
        np.column_stack([sources, targets]).astype(np.int64)
    )  # of its own type: read as one block
    clusters = np.empty((len(resolutions), graph.shape[0]), dtype=np.int64)
    try:
        for i, resolution in enumerate(resolutions):
            # A private generator: igraph must neither read nor advance Python's global one.
            igraph.set_random_number_generator(random.Random(seed))  # noqa: S311 - no cryptography here
            clusters[i] = detect(network, resolution).membership
    finally:
        igraph.set_random_number_generator(random)  # igraph's documented default
    return clusters


def agreement(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(resolutions,) normalised mutual information of each clustering with the labels.

    Rounded: the same clustering under other cluster numbers differs in the last digits, and is a tie. Not by
    scikit-learn, which spends most of its time on checks: half of scoring 400 cells.
    """
    codes = np.unique(labels, return_inverse=True)[1]
    of_labels, values = _entropy(codes), np.empty(len(clusters))
    for i, row in enumerate(clusters):
        both = of_labels + _entropy(row)
        joint = _entropy(codes * (row.max() + 1) + row)
        values[i] = 2 * (both - joint) / both if both else 1.0
    return values.round(12)


def _entropy(codes: np.ndarray) -> float:
    """Of a partition, in nats; ``codes`` (cells,) int, not negative."""
    counts = np.bincount(codes)
    shares = counts[counts > 0] / len(codes)
    return float(-(shares * np.log(shares)).sum())


def sweep_resolutions(
    embedding: np.ndarray, labels: np.ndarray, graph: sparse.spmatrix, *, seed: int = 0
) -> Sweep:
    """Cluster by Louvain at all resolutions and choose one with the labels and one without.

    Parameters
    ----------
    embedding
        (cells, dim), for the silhouettes of the label-free choice.
    labels
        (cells,), for the label-picked choice.
    graph
        (cells, cells) neighbour graph of the embedding.
    seed
        Seed of Louvain.
    """
    clusters = louvain(graph, seed=seed)
    return choose(clusters, agreement(clusters, labels), mean_silhouettes(embedding, clusters))


def mean_silhouettes(embedding: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """(clusterings,) mean silhouette width of each clustering; NaN where there is one cluster.

    Parameters
    ----------
    embedding
        (cells, dim).
    clusters
        (clusterings, cells).
    """
    silhouettes = np.full(len(clusters), np.nan)
    several = np.array([len(np.unique(row)) > 1 for row in clusters])
    if several.any():
        silhouettes[several] = silhouette_widths(embedding, clusters[several]).mean(axis=1).round(12)
    return silhouettes


def choose(clusters: np.ndarray, nmi: np.ndarray, silhouette: np.ndarray) -> Sweep:
    """Choose one of the clusterings at all resolutions by its agreement and one by its silhouette.

    Parameters
    ----------
    clusters
        (resolutions, cells), as `louvain` returns them.
    nmi
        (resolutions,), see `agreement`.
    silhouette
        (resolutions,), see `mean_silhouettes`.
    """
    some = not np.isnan(silhouette).all()
    label_free = int(np.nanargmax(silhouette)) if some else RESOLUTIONS.index(1.0)
    return Sweep(RESOLUTIONS, clusters, nmi, silhouette, int(np.argmax(nmi)), label_free)
