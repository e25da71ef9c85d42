"""Batch mixing inside each cell type, where a different composition of the batches does no harm."""

from itertools import pairwise

import numpy as np

from .distances import slices, squared_euclidean
from .neighbors import Neighbors, nearest_neighbors, require_neighborhoods
from .registry import NotApplicable, metric, require_two

PACKAGES = ("numpy", "scipy", "torch")

# scIntegrationMetrics: neighbours of a cell within its label, the cell itself not counted.
CILISI_NEIGHBORS = 30
# Its `min.cells.split`.
CILISI_MIN_CELLS = 10
# scib_metrics.sbee: `sensitivity`, and the smallest share of a batch in a Jensen-Shannon distance.
SENSITIVITY = 0.15
SMALLEST_SHARE = 1e-10
# Distances of a group of cells to its label that are held at a time, 32 MB.
AT_A_TIME = 2**22


@metric(group="integration", label="ciLISI")
def cilisi(embedding: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    r"""Integration LISI within each label: how many batches the nearest cells of the same label hold.

    .. math::

        \mathrm{ciLISI} = \frac{1}{n'}\sum_{i} \frac{\big(\sum_b p_{ib}^2\big)^{-1} - 1}{B_{l_i} - 1}

    with :math:`p_{ib}` the share of batch b among the 30 nearest cells of the label of cell i and
    :math:`B_l` the batches that hold label l, over the n' cells of labels with at least 10 cells and two
    batches.

    Parameters
    ----------
    embedding
        (cells, dim), euclidean distance.
    labels
        (cells,).
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; 1 needs batches of equal size in every neighbourhood.

    Raises
    ------
    NotApplicable
        If there is one batch, or no label with several has 10 cells.

    Known failure
    -------------
    Neighbours are sought within the label, so cells that lie in the midst of other types are not noticed, and
    noise scores best. A mean over cells: large labels decide it. As for `ilisi`, the top cannot be reached
    with batches of unequal size.

    Source
    ------
    Andreatta et al. 2024; carmonalab/scIntegrationMetrics, `compute_lisi_splitBy`, mean over cells as
    openproblems reports it.

    Differs
    -------
    Neighbours count alike. The original weights 30 neighbours to a perplexity of 30, which only equal weights
    reach; it stops short of them and agrees to 0.001.
    """
    require_two(batches, "batch")
    embedding, labels = np.asarray(embedding), np.asarray(labels)
    scores = []
    for label in np.unique(labels):
        cells = np.flatnonzero(labels == label)
        names, codes = np.unique(np.asarray(batches)[cells], return_inverse=True)
        if len(cells) < CILISI_MIN_CELLS or len(names) < 2:
            continue
        near = nearest_neighbors(embedding[cells], min(CILISI_NEIGHBORS + 1, len(cells))).indices[:, 1:]
        shares = _counts(codes[near], len(names)) / near.shape[1]
        scores.append((1 / (shares**2).sum(axis=1) - 1) / (len(names) - 1))
    if not scores:
        raise NotApplicable(f"no label with several batches has {CILISI_MIN_CELLS} cells")
    return np.mean(np.concatenate(scores))


@metric(group="integration", label="sBEE")
def sbee(embedding: np.ndarray, neighbors_90: Neighbors, labels: np.ndarray, batches: np.ndarray) -> float:
    r"""Batch effect of each cell within its label: harmonic mean of a distance and a composition score.

    .. math::

        \mathrm{sBEE} = \frac{1}{L}\sum_l \frac{1}{B_l}\sum_b \frac{1}{n_{lb}}\sum_i
        \frac{2\, c_i d_i}{c_i + d_i}, \qquad
        d_i = \exp\!\Big(\!-\frac{1 - \min(1, w_i / v_i)}{0.15}\Big), \qquad c_i = 1 - \mathrm{JS}(p_i, q_l)

    with :math:`w_i` the median distance to cells of the same label and batch, :math:`v_i` to those of the
    same label and other batches, and JS the Jensen-Shannon distance between the batches among the cell's
    neighbours of its label and those of the whole label.

    Parameters
    ----------
    embedding
        (cells, dim), euclidean distance.
    neighbors_90
        90 nearest neighbours, the cell itself included; of a smaller label, as many as it has cells.
    labels
        (cells,).
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; a label of one batch counts as perfectly mixed.

    Raises
    ------
    NotApplicable
        If there is one batch, or fewer than 10 cells.

    Known failure
    -------------
    The only cell of a label in a batch scores 0, and so do identical cells: their distance is 0. In many
    dimensions all distances are alike and the distance part is 1 whatever the batches do. Noise scores well.

    Source
    ------
    Myradov et al. 2026; scib_metrics.sbee 0.6.0 with its defaults, to which it agrees to 1e-6.

    Differs
    -------
    Exact neighbours in place of approximate ones.
    """
    require_two(batches, "batch")
    require_neighborhoods(neighbors_90)
    labels, batches = (np.unique(values, return_inverse=True)[1] for values in (labels, batches))
    ratio = np.minimum(_distance_ratio(np.asarray(embedding), labels, batches), 1)
    distance = np.exp(-(1 - ratio) / SENSITIVITY)
    composition = 1 - _composition_distance(neighbors_90, labels, batches)
    total = composition + distance
    # A cell without a ratio is NaN here and scores 0, as in the original.
    scores = np.where(total > 0, 2 * composition * distance / np.where(total > 0, total, 1), 0)
    groups, group = np.unique(np.column_stack([labels, batches]), axis=0, return_inverse=True)
    of_groups = np.bincount(group.ravel(), weights=scores) / np.bincount(group.ravel())
    return np.mean([of_groups[groups[:, 0] == label].mean() for label in np.unique(labels)])


def _distance_ratio(embedding: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Median distance of each cell within its batch over that to other batches, all of its label; NaN for 0.

    1 for the cells of a label in one batch only.
    """
    ratio = np.full(len(labels), np.nan)
    for label in np.unique(labels):
        cells = np.flatnonzero(labels == label)
        if len(cells) < 2:
            continue
        cells = cells[np.argsort(batches[cells], kind="stable")]  # a batch is a range of columns
        pairs = squared_euclidean(embedding[cells])
        size = max(1, AT_A_TIME // len(cells))
        buffer = pairs.buffer(min(size, len(cells)), len(cells))
        bounds = np.flatnonzero(np.diff(batches[cells], prepend=-1, append=-1))
        for start, stop in pairwise(bounds):
            if stop - start < 2:
                continue
            for part in slices(stop - start, size):
                rows = slice(start + part.start, start + part.stop)
                distances = pairs.lengths(pairs.block(rows, slice(0, len(cells)), buffer))
                own = distances[:, start:stop]
                rest = np.hstack([distances[:, :start], distances[:, stop:]])
                within = _median_but_smallest(own)  # which is 0, of the cell itself
                between = np.median(rest, axis=1) if rest.shape[1] else within
                apart = (within > 0) & (between > 0)
                ratio[cells[rows]] = np.divide(within, between, out=np.full(len(own), np.nan), where=apart)
    return ratio


def _median_but_smallest(rows: np.ndarray) -> np.ndarray:
    """Median of each row without its smallest value."""
    middle = [rows.shape[1] // 2, (rows.shape[1] + 1) // 2]
    return np.partition(rows, middle, axis=1)[:, middle].mean(axis=1)


def _composition_distance(neighbors: Neighbors, labels: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Jensen-Shannon distance of each cell between the batches near it and those of its label, 0 to 1."""
    from scipy.spatial.distance import jensenshannon

    n_batches = batches.max() + 1
    of_labels = np.zeros((labels.max() + 1, n_batches))
    np.add.at(of_labels, (labels, batches), 1)
    k = neighbors.indices.shape[1]
    counted = np.arange(k) < np.minimum(k, of_labels.sum(axis=1))[labels][:, None]
    counted &= labels[neighbors.indices] == labels[:, None]
    near = _counts(np.where(counted, batches[neighbors.indices], n_batches), n_batches + 1)[:, :n_batches]
    near, whole = (np.maximum(values, SMALLEST_SHARE) for values in (near, of_labels[labels]))
    # Rounding can leave a root of less than 0 between equal compositions.
    return np.nan_to_num(jensenshannon(near, whole, base=2, axis=1), nan=0.0)


def _counts(codes: np.ndarray, kinds: int) -> np.ndarray:
    """(cells, kinds) how often each code 0 .. kinds - 1 stands in each row of codes."""
    counts = np.zeros((len(codes), kinds))
    np.add.at(counts, (np.arange(len(codes))[:, None], codes), 1)
    return counts
