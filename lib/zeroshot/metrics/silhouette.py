"""Exact silhouette widths for several labelings at once, in memory linear in the cells."""

from typing import Literal

import numpy as np

from .distances import cosine_blocks, euclidean_blocks, to_device


def silhouette_widths(
    embedding: np.ndarray,
    labelings: np.ndarray,
    *,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    between: Literal["nearest", "mean_other"] = "nearest",
) -> np.ndarray:
    r"""Silhouette width of every cell under every labeling; the distances are computed once for all.

    .. math::

        s_i = \frac{b_i - a_i}{\max(a_i, b_i)}

    with :math:`a_i` the mean distance to the other cells of the same label and :math:`b_i` the mean distance
    to the cells of the nearest other label.

    Parameters
    ----------
    embedding
        (cells, dim), finite.
    labelings
        (labelings, cells), any dtype; each labeling has at least 2 distinct values.
    distance
        "euclidean" as scib and the paper; "cosine" as BRAS.
    between
        "nearest" is the silhouette; "mean_other" takes for :math:`b_i` the mean distance to all cells of all
        other labels, as BRAS does.

    Returns
    -------
    numpy.ndarray
        (labelings, cells) float64. Range -1 to 1; higher is tighter. 0 for the only cell of a label and for
        cells identical to all they are compared with.

    Raises
    ------
    ValueError
        If a labeling has a single value or the shapes do not match.

    Source
    ------
    Rousseeuw 1987; sklearn.metrics.silhouette_samples, with which it agrees to 1e-6.
    """
    labelings = np.asarray(labelings)
    if labelings.ndim != 2 or labelings.shape[1] != len(embedding):
        raise ValueError(f"labelings must be (labelings, {len(embedding)}), got {labelings.shape}.")
    codes = [np.unique(labeling, return_inverse=True)[1] for labeling in labelings]
    sizes = [np.bincount(code) for code in codes]
    if any(len(size) < 2 for size in sizes):
        raise ValueError("A silhouette needs at least 2 labels.")

    starts = np.cumsum([0, *map(len, sizes)])
    members = np.zeros((len(embedding), starts[-1]))
    for first, code in zip(starts, codes, strict=False):
        members[np.arange(len(code)), first + code] = 1
    members = to_device(members)

    widths = np.empty(labelings.shape, dtype=np.float64)
    blocks = euclidean_blocks(embedding) if distance == "euclidean" else cosine_blocks(embedding)
    for start, distances in blocks:
        stop = start + len(distances)
        # A cell is no neighbour of itself; cosine leaves rounding noise (and 1 for zeros) on the diagonal.
        distances[:, start:stop].fill_diagonal_(0)
        sums = (distances @ members).cpu().numpy()
        for i, (code, size) in enumerate(zip(codes, sizes, strict=True)):
            to_label = sums[:, starts[i] : starts[i + 1]]
            widths[i, start:stop] = _widths(to_label, code[start:stop], size, between)
    return widths


def _widths(to_label: np.ndarray, code: np.ndarray, size: np.ndarray, between: str) -> np.ndarray:
    """Widths from the summed distances of each cell to each label, (cells, labels)."""
    rows = np.arange(len(code))
    own_size = size[code]
    own_sum = to_label[rows, code]
    within = own_sum / np.maximum(own_size - 1, 1)
    if between == "nearest":
        means = to_label / size
        means[rows, code] = np.inf
        other = means.min(axis=1)
    else:
        other = (to_label.sum(axis=1) - own_sum) / (size.sum() - own_size)
    larger = np.maximum(within, other)
    widths = np.divide(other - within, larger, out=np.zeros_like(larger), where=larger > 0)
    widths[own_size == 1] = 0
    return widths
