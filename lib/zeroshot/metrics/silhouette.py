"""Exact silhouette widths for several labelings at once, in memory linear in the cells."""

from typing import Literal

import numpy as np

from .distances import Pairs, by_worker, cosine, slices, squared_euclidean
from .registry import require_two

# Cells on each side of a block of distances. On the CPU a block of 2 MB stays in the cache until it has been
# summed; CUDA takes 512 MB to be busy.
BLOCK = {"cpu": 512, "cuda": 8192}
# Sums of distances that are held at a time, in each thread 256 MB; on CUDA 2 GB.
SUMS = {"cpu": 2**25, "cuda": 2**28}
# Most groups of cells that no labeling separates, as a share of the cells, to sum over groups first.
GROUPS = 1 / 8


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
    codes = np.stack([np.unique(labeling, return_inverse=True)[1] for labeling in labelings])
    sizes = [np.bincount(code) for code in codes]
    if any(len(size) < 2 for size in sizes):
        raise ValueError("A silhouette needs at least 2 labels.")
    # The unit in which distances are cancels in a width.
    pairs = squared_euclidean(embedding) if distance == "euclidean" else cosine(embedding)
    return _widths_of_all(pairs, codes, sizes, between, root=distance == "euclidean")


def _widths_of_all(
    pairs: Pairs, codes: np.ndarray, sizes: list[np.ndarray], between: str, *, root: bool
) -> np.ndarray:
    """Widths under each labeling, (labelings, cells), from distances or from roots of them.

    Labelings that are alike have few groups of cells that none of them separates. Distances are then summed
    over groups, and these sums over the labels of each labeling.
    """
    import torch

    n_cells, device = codes.shape[1], pairs.left.device
    group = np.zeros(n_cells, dtype=np.int64)
    for code, size in zip(codes, sizes, strict=True):
        group = np.unique(group * len(size) + code, return_inverse=True)[1]
    of_groups = torch.from_numpy(codes[:, np.unique(group, return_index=True)[1]]).to(device)
    n_labels, n_groups = [len(size) for size in sizes], of_groups.shape[1]
    grouped = n_groups <= GROUPS * n_cells
    summed_by = torch.from_numpy(group[None] if grouped else codes).to(device)
    n_sums = [n_groups] if grouped else n_labels
    cells = slices(n_cells, BLOCK[device.type])
    fewer = slices(n_cells, max(1, min(BLOCK[device.type], SUMS[device.type] // sum(n_sums))))
    widths = np.empty(codes.shape)

    def work(worker: int, workers: int) -> None:
        buffer = pairs.buffer(cells[0].stop, fewer[0].stop)
        for columns in fewer[worker::workers]:
            sums = [pairs.left.new_zeros(n, columns.stop - columns.start) for n in n_sums]
            for rows in cells:
                distances = pairs.block(rows, columns, buffer)
                distances = distances.sqrt_() if root else distances
                for of_one, places in zip(sums, summed_by, strict=True):
                    of_one.index_add_(0, places[rows], distances)
            for labeling, size in enumerate(sizes):
                if grouped:
                    to_label = sums[0].new_zeros(len(size), sums[0].shape[1])
                    to_label.index_add_(0, of_groups[labeling], sums[0])
                else:
                    to_label = sums[labeling]
                code = codes[labeling, columns]
                widths[labeling, columns] = _widths(to_label.cpu().numpy().T, code, size, between)

    by_worker(work, len(fewer), pairs)
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
