"""Exact nearest neighbours and the 15-neighbour graph of scanpy and scib."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from .distances import by_worker, slices, squared_euclidean
from .registry import NotApplicable

if TYPE_CHECKING:
    import torch

# Rows in a block of distances to all cells; with fewer, the matrix product is slow where cells are many.
# Each thread holds one, 100 MB for 100,000 cells; CUDA 800 MB.
ROWS = {"cpu": 128, "cuda": 1024}
# With fewer cells a weighted neighbourhood (LISI: an effective third) is a cell or two.
MIN_CELLS_FOR_NEIGHBORHOODS = 10


@dataclass(frozen=True)
class Neighbors:
    """Nearest neighbours of every cell, nearest first, the cell itself always in column 0.

    Attributes
    ----------
    indices
        (cells, k) int64.
    distances
        (cells, k) float64, euclidean, ascending, 0 in column 0.
    """

    indices: np.ndarray
    distances: np.ndarray

    def first(self, k: int) -> "Neighbors":
        """Keep the k nearest (the cell itself is one of them); all of them if there are fewer."""
        return Neighbors(self.indices[:, :k], self.distances[:, :k])


def nearest_neighbors(embedding: np.ndarray, k: int) -> Neighbors:
    """Exact k nearest neighbours by euclidean distance, the cell itself counted as the first.

    Equal distances, which a one-dimensional or a discrete embedding is full of, go to the cells that follow
    the cell in the order of the rows, the first row following the last. So the result is the same on every
    run, identical cells do not all choose the same few neighbours, and rows in random order (`score` sees to
    that) mean ties without a preference for a batch.

    Parameters
    ----------
    embedding
        (cells, dim), finite.
    k
        Neighbours per cell, itself included; 1 to cells.

    Raises
    ------
    ValueError
        If k is not between 1 and the number of cells.

    Differs
    -------
    scanpy and scib-metrics use approximate neighbours (pynndescent), which depend on a seed, may miss the
    cell itself among duplicates, and compile for seconds in every fresh process.
    """
    cells = len(embedding)
    if not 1 <= k <= cells:
        raise ValueError(f"k must be between 1 and the number of cells ({cells}), got {k}.")
    indices = np.empty((cells, k), dtype=np.int64)
    distances = np.empty((cells, k), dtype=np.float64)
    pairs = squared_euclidean(embedding)
    blocks = slices(cells, ROWS[pairs.left.device.type])

    def work(worker: int, workers: int) -> None:
        buffer = pairs.buffer(blocks[0].stop, cells)
        for block in blocks[worker::workers]:
            steps = pairs.block(block, slice(None), buffer)
            steps[:, block].fill_diagonal_(-1)  # the cell itself before its duplicates
            found, squared = _nearest(steps, block.start, k)
            indices[block] = found.cpu().numpy()
            distances[block] = pairs.lengths(squared)

    by_worker(work, len(blocks), pairs)
    return Neighbors(indices, distances)


def _nearest(steps: "torch.Tensor", start: int, k: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Columns of the k smallest of each row and their steps; the first row is the cell `start`."""
    import torch

    rows, cells = steps.shape
    # k groups of columns have a step each that is no larger than the k-th smallest of the groups' minima.
    # With 8 k groups hardly more than k steps are that small, and only they have to be sorted.
    size = max(1, cells // (8 * k))
    minima = steps[:, : cells // size * size].unflatten(1, (size, -1)).amin(dim=1)
    bound = torch.topk(minima, k, dim=1, largest=False, sorted=False).values.amax(dim=1, keepdim=True)
    row, column = torch.nonzero(steps <= bound, as_tuple=True)
    candidates = torch.bincount(row, minlength=rows)
    place = torch.arange(len(row), device=row.device) - (candidates.cumsum(0) - candidates)[row]
    shape = (rows, int(candidates.max()))
    after = torch.full(shape, cells, device=row.device)
    after[row, place] = (column - row - start) % cells
    values = steps.new_full(shape, torch.inf)
    values[row, place] = steps[row, column]
    # In the order of ties first: a stable sort by distance keeps it among equal ones.
    after, order = after.sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, stable=True)
    columns = (
        after.gather(1, order[:, :k]) + torch.arange(start, start + rows, device=row.device)[:, None]
    ) % cells
    return columns, values[:, :k].clamp(min=0)


def neighbor_graph(neighbors: Neighbors) -> sparse.csr_matrix:
    """Undirected, unweighted graph: two cells are joined if either is a neighbour of the other.

    `sc.pp.neighbors(n_neighbors=15)` counts the cell itself, so pass 15 columns for 14 other cells. scib's
    `opt_louvain` calls scanpy's Louvain, whose default is `use_weights=False`: only the pattern matters.

    Parameters
    ----------
    neighbors
        (cells, k), the cell itself in column 0.

    Returns
    -------
    scipy.sparse.csr_matrix
        (cells, cells) bool, symmetric, nothing on the diagonal.

    Differs
    -------
    scanpy's fuzzy weights can round to 0 for very distant neighbours, which drops the edge; here it stays.
    """
    cells, k = neighbors.indices.shape
    sources = np.repeat(np.arange(cells), k - 1)
    targets = neighbors.indices[:, 1:].ravel()
    directed = sparse.csr_matrix(
        (np.ones(len(sources), dtype=bool), (sources, targets)), shape=(cells, cells)
    )
    return (directed + directed.T).tocsr()


def require_neighborhoods(neighbors: Neighbors) -> None:
    """Refuse too few cells to speak of neighbourhoods.

    Raises
    ------
    NotApplicable
        With fewer than 10 cells.
    """
    if len(neighbors.indices) < MIN_CELLS_FOR_NEIGHBORHOODS:
        raise NotApplicable(f"fewer than {MIN_CELLS_FOR_NEIGHBORHOODS} cells")
