"""Exact silhouette widths for several labelings at once, in memory linear in the cells."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from .distances import Pairs, by_worker, cosine, slices, squared_euclidean, to_device
from .registry import require_two

if TYPE_CHECKING:
    import torch

# Cells on each side of a block of distances. On the CPU a block of 2 MB stays in the cache until it has been
# summed; CUDA takes 512 MB to be busy.
BLOCK = {"cpu": 512, "cuda": 8192}


def label_widths(embedding: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Silhouette width of every cell among the labels, (cells,) float64; see `silhouette_widths`.

    Raises
    ------
    NotApplicable
        If there is one label.
    """
    require_two(labels, "label")
    return silhouette_widths(embedding, np.asarray(labels)[None])[0]


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
    members = np.zeros((starts[-1], len(embedding)))
    for first, code in zip(starts, codes, strict=False):
        members[first + code, np.arange(len(code))] = 1
    # The unit in which distances are cancels in a width.
    pairs = squared_euclidean(embedding) if distance == "euclidean" else cosine(embedding)
    sums = _sums(pairs, to_device(members), root=distance == "euclidean").cpu().numpy()
    return np.stack(
        [
            _widths(sums[first : first + len(size)].T, code, size, between)
            for first, code, size in zip(starts, codes, sizes, strict=False)
        ]
    )


def _sums(pairs: Pairs, members: "torch.Tensor", *, root: bool) -> "torch.Tensor":
    """Summed distances, or roots of them, of every cell to the cells of each row of members.

    Each block is computed once and serves the cells on both of its sides.
    """
    import torch

    cells = slices(members.shape[1], BLOCK[members.device.type])

    def work(worker: int, workers: int) -> torch.Tensor:
        sums = torch.zeros_like(members)
        buffer = pairs.buffer(cells[0].stop, cells[0].stop)
        for i in range(worker, len(cells), workers):
            for columns in cells[i:]:
                rows, distances = cells[i], pairs.block(cells[i], columns, buffer)
                if root:
                    distances.sqrt_()
                if columns != rows:
                    sums[:, columns] += members[:, rows] @ distances
                sums[:, rows] += members[:, columns] @ distances.T
        return sums

    return sum(by_worker(work, len(cells), pairs))


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
