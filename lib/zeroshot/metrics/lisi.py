"""The local inverse Simpson index (LISI): how many labels, or batches, a cell's neighbourhood holds."""

import numpy as np

from .distances import slices
from .neighbors import Neighbors, require_neighborhoods

# As scib-metrics: the perplexity is met to TOLERANCE, in nats, or the search ends after so many halvings.
TOLERANCE = 1e-5
TRIES = 50
# Neighbours a third of which is the perplexity.
PER_EFFECTIVE_NEIGHBOR = 3
# Distances that the search, which starts from 1, finds its way from.
NEAREST_SCALE, FARTHEST_SCALE = 2.0**-20, 2.0**20
# Cells whose neighbourhoods are searched together: their arrays, 3 MB each, stay in the cache.
CELLS = 4096


def median_lisi(neighbors: Neighbors, values: np.ndarray) -> tuple[float, int]:
    """Median over cells of the LISI of labels or batches, and how many distinct ones there are.

    Parameters
    ----------
    neighbors
        The cell itself in column 0.
    values
        (cells,) labels or batches.

    Returns
    -------
    float
        1 (every neighbourhood holds one) to the number of distinct values.
    int
        Distinct values.

    Raises
    ------
    NotApplicable
        With fewer than 10 cells.

    Source
    ------
    Korsunsky et al. 2019; scib_metrics.lisi_knn 0.5.10.

    Differs
    -------
    The same search in float64. scib-metrics computes in float32: where the neighbours of a cell lie at
    nearly the same distance, as in the 2,000 dimensions of HVG, the entropy loses the digits that decide
    when the search ends, and the index is off in its third digit. Where distances are extreme, scib-metrics
    returns -1 or an unweighted index; here distances are shifted and scaled first.
    """
    require_neighborhoods(neighbors)
    names, codes = np.unique(values, return_inverse=True)
    simpson = np.empty(len(codes))
    for rows in slices(len(codes), CELLS):
        indices = neighbors.indices[rows]
        others = indices != np.arange(rows.start, rows.stop)[:, None]
        weights = _weights(neighbors.distances[rows], others)
        cell = np.arange(len(indices))[:, None]
        place = cell * len(names) + codes[indices]
        share = np.bincount(place.ravel(), weights.ravel(), len(indices) * len(names))
        simpson[rows] = (share.reshape(len(indices), len(names)) ** 2).sum(axis=1)
    return np.median(1 / simpson), len(names)


def _weights(distances: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Shares of each cell's neighbours, exp(-beta distance) with beta such that the perplexity fits.

    Parameters
    ----------
    distances
        (cells, k).
    others
        (cells, k) bool: neighbours other than the cell itself, whose share is 0.
    """
    # Distances beyond that of the nearest: a factor that all weights share cancels, and one of them is 1.
    nearest = np.where(others, distances, np.inf).min(axis=1, keepdims=True)
    beyond = np.maximum(distances - nearest, 0)
    farthest = distances.max(axis=1, keepdims=True)
    extreme = (farthest > FARTHEST_SCALE) | (farthest < NEAREST_SCALE)
    largest = beyond.max(axis=1, keepdims=True)
    beyond = beyond / np.where(extreme & (largest > 0), largest, 1)
    perplexity = distances.shape[1] // PER_EFFECTIVE_NEIGHBOR
    beta, low, high = (
        np.ones(len(distances)),
        np.full(len(distances), -np.inf),
        np.full(len(distances), np.inf),
    )
    shares = np.empty_like(beyond)
    rows = np.arange(len(distances))  # those still searched
    for _ in range(TRIES + 1):
        steps = beyond[rows] * beta[rows, None]
        weights = np.exp(-steps) * others[rows]
        total = weights.sum(axis=1)
        shares[rows] = weights / total[:, None]
        excess = np.log(total) + (weights * steps).sum(axis=1) / total - np.log(perplexity)
        far = np.abs(excess) >= TOLERANCE
        rows, up = rows[far], excess[far] > 0
        if not len(rows):
            break
        low[rows[up]], high[rows[~up]] = beta[rows[up]], beta[rows[~up]]
        both = np.isfinite(low[rows]) & np.isfinite(high[rows])
        middle = (low[rows] + high[rows]) / 2
        beta[rows] = np.where(both, middle, beta[rows] * np.where(up, 2, 0.5))
    return shares
