"""Labels of cells by their nearest labelled cells, with a confidence and a score of novelty."""

from dataclasses import dataclass

import numpy as np

from ..distances import scaled
from ..neighbors import nearest_neighbors

PACKAGES = ("numpy", "scikit-learn", "scipy", "torch")

N_NEIGHBORS = 15


@dataclass(frozen=True)
class Transfer:
    """What the labelled cells of a reference say of the cells of a query.

    Attributes
    ----------
    labels
        (n_query,) label with most votes of the nearest reference cells.
    confidence
        (n_query,) share of these cells that have the label; above 0 to 1, higher is more certain.
    novelty
        (n_query,) share of reference cells that are closer to their own nearest reference cells than the
        cell is to its; 0 to 1, higher is less like the reference. Cells like those of the reference are
        spread evenly over 0 to 1.
    """

    labels: np.ndarray
    confidence: np.ndarray
    novelty: np.ndarray


def transfer_labels(
    reference: np.ndarray, labels: np.ndarray, query: np.ndarray, n_neighbors: int = N_NEIGHBORS
) -> Transfer:
    """Label cells by their nearest reference cells.

    Parameters
    ----------
    reference, query
        (n_reference, n_dims) and (n_query, n_dims), finite, of the same embedding.
    labels
        (n_reference,), none missing.
    n_neighbors
        Nearest reference cells that vote, one vote each. Of labels with equally many votes the one with the
        nearest cell wins, then the one with the nearest other cell, and so on.

    Returns
    -------
    Transfer
        See there. Both scores are of distances in the embedding: a query that lies apart as a whole, because
        of another technology, is novel as a whole.

    Raises
    ------
    ValueError
        If the arrays do not fit together, or the reference has too few cells for the neighbours: each of its
        cells needs as many others.

    Source
    ------
    Votes as sklearn.neighbors.KNeighborsClassifier; confidence as its ``predict_proba``. Novelty is the
    distance to the k nearest neighbours (Ramaswamy et al. 2000; PyOD's ``KNN`` with the mean distance) as a
    percentile of the leave-one-out distances of the reference.
    """
    from sklearn.neighbors import NearestNeighbors

    reference, query, labels = np.asarray(reference), np.asarray(query), np.asarray(labels)
    if reference.ndim != 2 or query.ndim != 2 or reference.shape[1] != query.shape[1]:
        raise ValueError(
            f"reference {reference.shape} and query {query.shape} must be (cells, dim) of the same embedding."
        )
    if len(labels) != len(reference):
        raise ValueError(f"labels has {len(labels)} entries for {len(reference)} reference cells.")
    if not 1 <= n_neighbors < len(reference):
        raise ValueError(
            f"{n_neighbors} neighbours cannot vote in a reference of {len(reference)} labelled cells, each "
            f"of which needs as many others: 1 to {len(reference) - 1} are possible."
        )
    points, _ = scaled(np.concatenate([reference, query]))
    points = points - points[: len(reference)].mean(axis=0)  # rounding errors of distances shrink
    reference, query = np.split(points, [len(reference)])
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(reference)
    distances, indices = search.kneighbors(query)
    names, codes = np.unique(labels, return_inverse=True)
    winners = vote(codes[indices], len(names))
    own = nearest_neighbors(reference, n_neighbors + 1).distances[:, 1:].mean(axis=1)
    return Transfer(
        names[winners],
        np.mean(codes[indices] == winners[:, None], axis=1),
        percentiles(distances.mean(axis=1), own),
    )


def vote(codes: np.ndarray, n_labels: int) -> np.ndarray:
    """(n_cells,) code with most votes of (n_cells, k) codes of neighbours, nearest first.

    Nearness parts ties. A code of -1 is no vote.
    """
    # A half, a quarter .. of a vote more by nearness: less than one vote in total, and no sum of later parts
    # reaches an earlier one. So they decide ties, nearest cell first, and nothing else.
    weights = np.broadcast_to(1 + 0.5 ** np.arange(1, codes.shape[1] + 1), codes.shape)
    cells = np.arange(len(codes))[:, None]
    votes = np.bincount(
        (cells * (n_labels + 1) + codes + 1).ravel(), weights.ravel(), len(codes) * (n_labels + 1)
    )
    return votes.reshape(len(codes), n_labels + 1)[:, 1:].argmax(axis=1)


def percentiles(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Share of a reference below each value, equal ones counted half; 0 to 1."""
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    return (below + not_above) / 2 / len(ordered)
