"""All pairwise distances, a block of rows at a time: memory grows with the cells, never with their square."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Distances per block. On the CPU 16 MB of float64: smaller blocks slow the matrix product, larger ones
# everything after it. On CUDA 1 GB, to keep the device busy.
BLOCK_ELEMENTS = {"cpu": 2**21, "cuda": 2**27}

# Squared distances are kept on a grid of 2**-40 of the largest possible one. The grid is coarser than the
# rounding of |x|^2 + |y|^2 - 2xy in float64 (about 1e-15), so equal rows are at distance exactly 0 and equal
# distances compare equal; it is finer than float32, so it hides nothing an embedding can express.
GRID_BITS = 40


def squared_euclidean_blocks(
    embedding: np.ndarray,
) -> "Iterator[tuple[int, torch.Tensor, float]]":
    """Squared euclidean distances from blocks of cells to all cells.

    Parameters
    ----------
    embedding
        (cells, dim), finite.

    Yields
    ------
    start : int
        First row of the block.
    steps : torch.Tensor
        (block, cells) float64, whole numbers from 0 to 2**40; on CUDA where there is one.
    unit : float
        `steps * unit` are the squared distances.
    """
    import torch

    points = to_device(embedding)
    points = points - points.mean(dim=0)  # distances do not change, rounding errors shrink
    norms = (points * points).sum(dim=1)
    # No squared distance exceeds (2 max |x|)^2. Identical cells only: any unit will do.
    unit = 4 * float(norms.max()) / 2**GRID_BITS or 1.0
    for start, stop in _blocks(points):
        squared = torch.addmm(norms[None, :], points[start:stop], points.T, alpha=-2)
        squared += norms[start:stop, None]
        yield start, squared.div_(unit).round_().clamp_(min=0), unit


def euclidean_blocks(embedding: np.ndarray) -> "Iterator[tuple[int, torch.Tensor]]":
    """Euclidean distances from blocks of cells to all cells: (start, (block, cells) float64)."""
    for start, steps, unit in squared_euclidean_blocks(embedding):
        yield start, steps.mul_(unit).sqrt_()


def cosine_blocks(embedding: np.ndarray) -> "Iterator[tuple[int, torch.Tensor]]":
    """Cosine distances, 0 to 2, from blocks of cells to all cells: (start, (block, cells) float64).

    A row of zeros has no direction; it is at distance 1 from every other row, as in scikit-learn.
    """
    import torch

    points = torch.nn.functional.normalize(to_device(embedding), dim=1)
    for start, stop in _blocks(points):
        cosine = points[start:stop] @ points.T
        # On a grid too: parallel rows are at distance 0, not at a rounding error silhouettes divide by.
        yield start, (1 - cosine).mul_(2**GRID_BITS).round_().div_(2**GRID_BITS).clamp_(0, 2)


def to_device(array: np.ndarray) -> "torch.Tensor":
    """Copy of an array as a float64 tensor, on CUDA where there is one.

    float64 throughout: in float32 the distances inside a tight cluster drown in the rounding of its norm.
    Apple's MPS has no float64, so those machines use the CPU here.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.from_numpy(np.array(array, dtype=np.float64)).to(device)


def _blocks(points: "torch.Tensor") -> Iterator[tuple[int, int]]:
    cells = len(points)
    rows = max(1, BLOCK_ELEMENTS[points.device.type] // cells)
    for start in range(0, cells, rows):
        yield start, min(start + rows, cells)
