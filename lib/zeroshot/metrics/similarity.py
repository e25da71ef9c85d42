"""How alike two embeddings of the same cells are, whatever their dimensions; no labels are needed."""

import numpy as np

from .neighbors import nearest_neighbors

# As the graphs of the clusterings; here the cell itself is not counted.
NEIGHBORS = 15
# The estimate divides by n - 3.
FEWEST_CELLS = 4


def cka(first: np.ndarray, second: np.ndarray) -> float:
    r"""Linear centred kernel alignment (CKA): do the same pairs of cells lie in the same direction?

    .. math::

        \frac{\mathrm{HSIC}(X, Y)}{\sqrt{\mathrm{HSIC}(X, X)\,\mathrm{HSIC}(Y, Y)}},\qquad
        \mathrm{HSIC}(X, Y) = \frac{1}{n(n-3)}\Big[\operatorname{tr}(KL)
        + \frac{1^\top K 1\;1^\top L 1}{(n-1)(n-2)} - \frac{2}{n-2}\,1^\top K L 1\Big]

    with K and L the inner products of all pairs of cells in the one and in the other embedding, their
    diagonals set to zero. Neither a rotation nor a shift nor a common scale of an embedding changes it.

    Parameters
    ----------
    first, second
        (cells, dim) and (cells, other dim), finite, rows of the same cells in the same order.

    Returns
    -------
    float
        At most 1, which equal embeddings have; 0 is expected of independent ones, so that small negative
        values occur.

    Raises
    ------
    ValueError
        If the numbers of cells differ or are below 4, or an embedding has no spread to compare.

    Source
    ------
    Kornblith et al. 2019; the unbiased estimate of HSIC of Song et al. 2012, as Nguyen et al. 2021 use it.

    Differs
    -------
    The plain estimate of Kornblith et al. grows with dim / cells: two independent embeddings of 200 cells in
    512 dimensions get 0.7 from it. Computed from the features in O(cells x dim x other dim): no matrix of all
    pairs of cells is made.
    """
    _require_same_cells(first, second)
    if len(first) < FEWEST_CELLS:
        raise ValueError(f"CKA needs at least {FEWEST_CELLS} cells, got {len(first)}.")
    first, second = _centred(first), _centred(second)
    spread = _hsic(first, first) * _hsic(second, second)
    if not spread > 0:
        raise ValueError("an embedding has no spread to compare: its cells are all in one place.")
    return float(_hsic(first, second) / np.sqrt(spread))


def neighbor_overlap(first: np.ndarray, second: np.ndarray, k: int = NEIGHBORS) -> float:
    """Share of a cell's k nearest other cells that two embeddings have in common, mean over cells.

    Parameters
    ----------
    first, second
        As for :func:`cka`.
    k
        Neighbours of each cell, itself not counted; all other cells where there are fewer.

    Returns
    -------
    float
        Range 0 to 1, which equal embeddings have; independent ones have k / (cells - 1).

    Raises
    ------
    ValueError
        If the numbers of cells differ, or there is one cell only.

    Source
    ------
    Exact neighbours as :func:`nearest_neighbors` finds them.
    """
    _require_same_cells(first, second)
    if len(first) < 2:
        raise ValueError("a single cell has no neighbours.")
    k = min(k, len(first) - 1)
    near = [nearest_neighbors(embedding, k + 1).indices[:, 1:] for embedding in (first, second)]
    both = np.sort(np.concatenate(near, axis=1), axis=1)
    # No cell is twice in one list, so that equal entries side by side are common neighbours.
    return float((both[:, 1:] == both[:, :-1]).sum() / (len(first) * k))


def _require_same_cells(first: np.ndarray, second: np.ndarray) -> None:
    if len(first) != len(second):
        raise ValueError(
            f"the embeddings hold {len(first)} and {len(second)} cells: give the same cells in one order."
        )


def _centred(embedding: np.ndarray) -> np.ndarray:
    """float64, mean zero, and of a size of order one, so that no product overflows."""
    values = np.asarray(embedding, np.float64)
    values = np.ldexp(values, -int(np.frexp(np.abs(values).max())[1]))
    centred = values - values.mean(axis=0)
    size = np.abs(centred).max()
    return centred / size if size > 0 else centred


def _hsic(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased HSIC of two centred embeddings, times n (n - 3), which cancels out in CKA."""
    cells = len(first)
    own = [(embedding**2).sum(axis=1) for embedding in (first, second)]  # the diagonals
    # Rows of a centred kernel add up to zero: without its diagonal, to minus the diagonal.
    trace = ((first.T @ second) ** 2).sum() - own[0] @ own[1]
    ones = own[0].sum() * own[1].sum() / ((cells - 1) * (cells - 2))
    return float(trace + ones - 2 / (cells - 2) * (own[0] @ own[1]))
