"""All pairwise distances, a block at a time: memory grows with the cells, never with their square."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

# Squared distances are kept on a grid of 2**-40 of the largest possible one. The grid is coarser than the
# rounding of |x|^2 + |y|^2 - 2xy in float64 (about 1e-15), so equal rows are at distance exactly 0 and equal
# distances compare equal; it is finer than float32, so it hides nothing an embedding can express.
GRID_BITS = 40


@dataclass(frozen=True)
class Pairs:
    """Cells prepared so that one matrix product gives their distances.

    Attributes
    ----------
    left, right
        float64, on CUDA where there is one; their product is the (cells, cells) distances in units.
    unit
        Length of a step of the grid on which distances lie.
    """

    left: "torch.Tensor"
    right: "torch.Tensor"
    unit: float

    def buffer(self, rows: int, columns: int) -> "torch.Tensor":
        """Room for blocks of up to this size; allocating anew for each takes as long as computing it."""
        return self.left.new_empty(rows * columns)

    def block(self, rows: slice, columns: slice, buffer: "torch.Tensor") -> "torch.Tensor":
        """Distances from some cells to others, (rows, columns) whole numbers >= 0 of units, in the buffer."""
        import torch

        left, right = self.left[rows], self.right[:, columns]
        block = buffer[: len(left) * right.shape[1]].view(len(left), right.shape[1])
        # Rounding errors are far smaller than a step: none is left below 0.
        return torch.mm(left, right, out=block).round_()


def squared_euclidean(embedding: np.ndarray) -> Pairs:
    """Squared euclidean distances of (cells, dim) finite rows, 0 to 2**40 units."""
    points = np.asarray(embedding, dtype=np.float64)
    points = points - points.mean(axis=0)  # distances do not change, rounding errors shrink
    norms = (points * points).sum(axis=1, keepdims=True)
    # No squared distance exceeds (2 max |x|)^2. Identical cells only: any unit will do.
    unit = 4 * float(norms.max()) / 2**GRID_BITS or 1.0
    norms, ones = norms / unit, np.ones_like(norms)
    left = to_device(np.hstack([points * (-2 / unit), norms, ones]))
    return Pairs(left, to_device(np.vstack([points.T, ones.T, norms.T])), unit)


def cosine(embedding: np.ndarray) -> Pairs:
    """Cosine distances of (cells, dim) finite rows, 0 to 2; parallel rows are at distance exactly 0.

    A row of zeros has no direction; it is at distance 1 from every row, itself included.
    """
    points = np.asarray(embedding, dtype=np.float64)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    ones = np.ones_like(points[:, :1])
    left = to_device(np.hstack([-points, ones]) * 2.0**GRID_BITS)
    return Pairs(left, to_device(np.vstack([points.T, ones.T])), 2.0**-GRID_BITS)


def by_worker(work: Callable[[int, int], T], blocks: int, pairs: Pairs) -> list[T]:
    """Results of `work(worker, workers)`, which takes every workers-th of the blocks.

    On the CPU a thread per core, in which torch computes without further threads: threads that share every
    operation wait for one another after each, which on busy cores takes longer than the operations.
    """
    import torch

    if pairs.left.device.type != "cpu":
        return [work(0, 1)]
    threads = torch.get_num_threads()
    workers = min(threads, blocks)
    try:
        with ThreadPoolExecutor(workers, initializer=partial(torch.set_num_threads, 1)) as pool:
            return list(pool.map(partial(work, workers=workers), range(workers)))
    finally:
        torch.set_num_threads(threads)  # threads started later take over what was set last


def to_device(array: np.ndarray) -> "torch.Tensor":
    """Copy of an array as a float64 tensor, on CUDA where there is one.

    float64 throughout: in float32 the distances inside a tight cluster drown in the rounding of its norm.
    Apple's MPS has no float64, so those machines use the CPU here.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.from_numpy(np.array(array, dtype=np.float64)).to(device)


def slices(cells: int, size: int) -> list[slice]:
    """Cut the cells into slices of a size, the last one shorter."""
    return [slice(start, min(start + size, cells)) for start in range(0, cells, size)]
