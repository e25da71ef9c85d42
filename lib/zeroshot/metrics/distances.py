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
# distances compare equal.
GRID_BITS = 40
# Below this many steps of the grid a distance is computed anew from the differences of the two rows, so every
# distance is right to one part in a million, however far out other cells lie.
FINE = 2.0**20
# Where more than this share of a block is computed anew, all of it is: gathering rows is slower by far.
SHARE = 0.1
AT_A_TIME = 2**20  # values computed anew at a time, 8 MB
# Squares of values between the two neither overflow nor lose digits; others are scaled, by a power of two.
SMALLEST, LARGEST = 2.0**-400, 2.0**400
# Sums of squares below this have lost digits, or all of them.
UNDERFLOW = 2.0**-960
# The directions of parallel rows differ by rounding errors; their difference, squared, is below this.
SAME_DIRECTION = 2.0**-96


@dataclass(frozen=True)
class Pairs:
    """Cells prepared so that one matrix product gives their distances.

    Attributes
    ----------
    left, right
        float64, on CUDA where there is one; their product is the (cells, cells) distances in units.
    unit
        Length of a step of the grid on which distances lie.
    points
        (cells, dim) float64 rows on the same device; the sum of their squared differences is, in units of
        `square`, the distance.
    square
        See `points`.
    noise
        Sums of squared differences up to this are 0 but for rounding errors.
    exponent
        The embedding is 2**exponent times as large as the cells here.
    """

    left: "torch.Tensor"
    right: "torch.Tensor"
    unit: float
    points: "torch.Tensor"
    square: float
    noise: float = 0.0
    exponent: int = 0

    def buffer(self, rows: int, columns: int) -> "torch.Tensor":
        """Room for blocks of up to this size; allocating anew for each takes as long as computing it."""
        return self.left.new_empty(rows * columns)

    def block(self, rows: slice, columns: slice, buffer: "torch.Tensor") -> "torch.Tensor":
        """Distances from some cells to others, (rows, columns) >= 0 in units, in the buffer.

        Whole numbers from 2**20 on; smaller ones have 40 significant bits. 0 from a cell to itself.

        Raises
        ------
        ValueError
            If two cells are so close, for the size of the others, that float64 cannot hold the square.
        """
        import torch

        left, right = self.left[rows], self.right[:, columns]
        block = buffer[: len(left) * right.shape[1]].view(len(left), right.shape[1])
        # Rounding errors are far smaller than a step: none is left below 0.
        torch.mm(left, right, out=block).round_()
        first, last = (bound - (columns.start or 0) for bound in (rows.start, rows.stop))
        own = block[:, first:last] if first >= 0 and last <= block.shape[1] else block[:, :0]
        own.fill_diagonal_(FINE)
        if block.amin() < FINE:
            for part in slices(len(block), max(1, AT_A_TIME // block.shape[1])):
                self._refine(block[part], self.points[rows][part], self.points[columns])
        own.fill_diagonal_(0)
        return block

    def _refine(self, block: "torch.Tensor", from_points: "torch.Tensor", to_points: "torch.Tensor") -> None:
        """Compute what is below `FINE` from the differences of the rows."""
        import torch

        row, column = torch.nonzero(block < FINE, as_tuple=True)
        squares = block.new_empty(len(row))
        size = max(1, AT_A_TIME // from_points.shape[1])
        if len(row) > SHARE * block.numel():
            direct = "donot_use_mm_for_euclid_dist"
            squares = torch.cdist(from_points, to_points, compute_mode=direct)[row, column].square_()
        else:
            for part in slices(len(row), size):
                differences = from_points[row[part]] - to_points[column[part]]
                squares[part] = differences.square_().sum(dim=1)
        lost = torch.nonzero(squares < UNDERFLOW)[:, 0] if self.noise == 0 else row[:0]
        for part in slices(len(lost), size):
            if (from_points[row[lost[part]]] != to_points[column[lost[part]]]).any():
                raise ValueError(
                    "distances between the cells differ by more than 140 powers of ten, which float64 cannot "
                    "hold; rescale the embedding or leave out the cells that lie far out."
                )
        squares[squares <= self.noise] = 0
        steps = squares.div_(self.square)
        # Equal distances differ by rounding errors; this leaves 40 bits (Veltkamp's splitting).
        split = steps * (2**13 + 1)
        block[row, column] = split - (split - steps)

    def lengths(self, steps: "torch.Tensor") -> np.ndarray:
        """Euclidean distances in units of the embedding, from squared ones in units of the grid."""
        return np.ldexp((steps * self.unit).sqrt_().cpu().numpy(), self.exponent)


def squared_euclidean(embedding: np.ndarray) -> Pairs:
    """Squared euclidean distances of (cells, dim) finite rows, 0 to 2**40 units.

    Raises
    ------
    ValueError
        If the values are too large, or too large and too small at a time, for float64 to hold distances.
    """
    points, exponent = scaled(embedding)
    centred = points - points.mean(axis=0)  # distances do not change, rounding errors shrink
    norms = (centred * centred).sum(axis=1, keepdims=True)
    # No squared distance exceeds (2 max |x|)^2. Identical cells only: any unit will do.
    unit = 4 * float(norms.max()) / 2**GRID_BITS or 1.0
    norms, ones = norms / unit, np.ones_like(norms)
    left = to_device(np.hstack([centred * (-2 / unit), norms, ones]))
    right = to_device(np.vstack([centred.T, ones.T, norms.T]))
    return Pairs(left, right, unit, to_device(points), unit, exponent=exponent)


def cosine(embedding: np.ndarray) -> Pairs:
    """Cosine distances of (cells, dim) finite rows, 0 to 2; parallel rows are at distance exactly 0.

    A row of zeros has no direction; it is at distance 1 from every row.
    """
    points = np.asarray(embedding, dtype=np.float64)
    points = np.ldexp(points, -np.frexp(np.abs(points).max(axis=1, keepdims=True))[1])
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.where(lengths > 0, lengths, 1)
    ones = np.ones_like(points[:, :1])
    left = to_device(np.hstack([-points, ones]) * 2.0**GRID_BITS)
    right = to_device(np.vstack([points.T, ones.T]))
    # Of rows of length 1, the cosine distance is half the squared euclidean one.
    unit = 2.0**-GRID_BITS
    return Pairs(left, right, unit, to_device(points), 2 * unit, noise=SAME_DIRECTION)


def scaled(embedding: np.ndarray) -> tuple[np.ndarray, int]:
    """The embedding in float64, divided by 2**exponent where its squares would not fit, and the exponent.

    Raises
    ------
    ValueError
        If its values exceed 1e300, or the division loses digits of the smallest ones.
    """
    points = np.asarray(embedding, dtype=np.float64)
    largest = float(np.abs(points).max())
    if largest == 0 or SMALLEST < largest < LARGEST:
        return points, 0
    exponent = int(np.frexp(largest)[1])
    divided = np.ldexp(points, -exponent)
    if largest > 1e300 or (np.ldexp(divided, exponent) != points).any():
        raise ValueError(
            f"an embedding has values up to {largest:.0e}, too large for distances in float64; rescale it."
        )
    return divided, exponent


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
