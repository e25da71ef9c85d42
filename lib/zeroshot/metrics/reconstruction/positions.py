"""Ragged sequences: which positions hold genes, and which of them to mask."""

from collections.abc import Iterator

import numpy as np


def gene_positions(offsets: np.ndarray, *, first: int = 0, last: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions that hold genes, not special tokens.

    Parameters
    ----------
    offsets
        (cells + 1,) of the sequences with their special tokens.
    first, last
        Special tokens at the start (1 for ``<cls>``) and at the end (1 for ``<eos>``) of every cell.

    Returns
    -------
    tuple
        (tokens,) bool, and the offsets (cells + 1,) of what is left.

    Raises
    ------
    ValueError
        If a cell is shorter than its special tokens.
    """
    offsets = np.asarray(offsets)
    cell = cells_of(offsets, offsets[-1])
    if (np.diff(offsets) < first + last).any():
        raise ValueError(f"A cell has fewer tokens than its {first + last} special tokens.")
    position = np.arange(offsets[-1])
    genes = (position >= offsets[cell] + first) & (position < offsets[cell + 1] - last)
    return genes, offsets - (first + last) * np.arange(len(offsets))


def choose_masked(
    draws: np.ndarray, offsets: np.ndarray, fraction: float, *, first: int = 0, last: int = 0
) -> np.ndarray:
    """Choose the positions to mask: in each cell those with the smallest draws.

    The same draws with a larger fraction mask the same positions and more, so that a curve over fractions is
    not blurred by chance. A cell's choice depends on its own draws only.

    Parameters
    ----------
    draws
        (tokens,) uniform numbers; key them by seed, cell and gene to make them independent of cell order.
    offsets
        (cells + 1,).
    fraction
        Share of each cell's genes to mask, 0 to 1, rounded to whole genes, halves up.
    first, last
        As for `gene_positions`; special tokens are never masked.

    Returns
    -------
    numpy.ndarray
        (tokens,) bool.

    Raises
    ------
    ValueError
        If the fraction is outside 0..1, or the offsets do not fit.

    Source
    ------
    Kedzierska et al. 2025 for fractions 0 to 0.9.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}.")
    draws = np.asarray(draws)
    cell = cells_of(offsets, len(draws))
    genes, _ = gene_positions(offsets, first=first, last=last)
    # Genes before special tokens, then by draw; the rank within a cell follows from where the cell starts.
    order = np.lexsort((draws, ~genes, cell))
    rank = np.empty(len(draws), dtype=np.int64)
    rank[order] = np.arange(len(draws))
    rank -= np.asarray(offsets)[cell]
    wanted = np.floor(fraction * np.bincount(cell[genes], minlength=len(offsets) - 1) + 0.5)
    return genes & (rank < wanted[cell])


def parts(scored: np.ndarray, masked: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the positions that count: all of them, the masked and the unmasked."""
    masked = np.zeros(scored.shape, dtype=bool) if masked is None else np.asarray(masked, dtype=bool)
    yield "all", scored
    yield "masked", scored & masked
    yield "unmasked", scored & ~masked


def cells_of(offsets: np.ndarray, tokens: int) -> np.ndarray:
    """(tokens,) row number of each token's cell; refuses offsets that do not fit."""
    offsets = np.asarray(offsets)
    lengths = np.diff(offsets)
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != tokens or (lengths < 0).any():
        raise ValueError(f"offsets must rise from 0 to the number of tokens, {tokens}; see `Tokens`.")
    return np.repeat(np.arange(len(lengths)), lengths)
