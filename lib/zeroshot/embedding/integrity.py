"""The gate every embedding passes before it is scored."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

PACKAGES = ("numpy", "pandas")

# Below this an embedding varies along one direction only and every cell lies on a line.
LEAST_EFFECTIVE_RANK = 1.01

PROBED_CELLS = 16  # embedded again by `probe`, spread evenly over the data set
SMALL_CHUNK = 2_000  # tokens; a fraction of any usual chunk

# Embeds the cells with these row numbers, in that order; the second argument is the chunk size in
# tokens, None for the usual one.
Embed = Callable[[np.ndarray, int | None], np.ndarray]


class IntegrityError(ValueError):
    """An embedding failed the gate and must not be scored."""


def check(embedding: np.ndarray, n_cells: int, probed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Examine an embedding.

    Parameters
    ----------
    embedding
        (cells, dim) array.
    n_cells
        Number of cells that were embedded.
    probed
        What :func:`probe` found, to be part of the gate.

    Returns
    -------
    pandas.DataFrame
        One row per check: ``check``, ``passed``, ``detail``.
    """
    aligned = embedding.ndim == 2 and len(embedding) == n_cells and embedding.size > 0
    rows = [("one row per cell", aligned, f"shape {embedding.shape} for {n_cells} cells")]
    if aligned and embedding.dtype.kind not in "fiu":
        rows.append(("finite values", False, f"values of type {embedding.dtype}, not real numbers"))
    elif aligned:
        broken = int((~np.isfinite(embedding)).any(axis=1).sum())
        rows.append(("finite values", broken == 0, f"{broken} cells with NaN or infinity"))
        if broken == 0:
            distinct = len(np.unique(embedding, axis=0))
            rank = effective_rank(embedding)
            rows.append(("not constant", distinct > 1, f"{distinct} distinct rows"))
            rows.append(("not collapsed", rank > LEAST_EFFECTIVE_RANK, f"effective rank {rank:.1f}"))
    if probed is not None:
        rows += probed.itertuples(index=False, name=None)
    return table(rows)


def table(rows: Sequence[tuple[str, bool, str]]) -> pd.DataFrame:
    """Checks as a table: ``check``, ``passed``, ``detail``."""
    return pd.DataFrame(rows, columns=["check", "passed", "detail"])


def probe(embed: Embed, embedding: np.ndarray, tolerance: float) -> pd.DataFrame:
    """Embed a few cells again and compare: does a row belong to its cell, and to that cell alone?

    Parameters
    ----------
    embed
        Embeds any rows of the same data set anew.
    embedding
        (cells, dim) what is to be scored.
    tolerance
        Largest difference that rounding explains, for values of size one; larger values are allowed
        proportionally more.

    Returns
    -------
    pandas.DataFrame
        One row per check: the row of a cell is its own; the same whatever the order of the cells, the
        size of the chunks and the neighbours in them; the same bytes when run again.
    """
    n_cells = len(embedding)
    rows = np.unique(np.linspace(0, n_cells - 1, min(PROBED_CELLS, n_cells)).round().astype(np.int64))
    stored = embedding[rows]
    allowed = tolerance * max(1.0, float(np.abs(stored).max(initial=0)))

    backwards = embed(rows[::-1], None)
    again = embed(rows[::-1], None)
    shuffled = backwards[::-1]
    small = embed(rows, SMALL_CHUNK)
    alone = embed(rows, 1)  # room for one cell in each chunk

    strangers = _strangers(shuffled, embedding, rows, allowed)
    found = [
        ("rows belong to their cells", not strangers, _misplaced(strangers)),
        ("cell order does not matter", *_compare(shuffled, stored, allowed)),
        ("chunk size does not matter", *_compare(small, stored, allowed)),
        ("neighbours do not matter", *_compare(alone, stored, allowed)),
        (
            "same bytes when run again",
            backwards.tobytes() == again.tobytes(),
            f"sha256 {hashlib.sha256(again.tobytes()).hexdigest()[:12]} over {len(rows)} cells",
        ),
    ]
    return table(found)


def _compare(found: np.ndarray, stored: np.ndarray, allowed: float) -> tuple[bool, str]:
    difference = float(np.abs(np.subtract(found, stored, dtype=np.float64)).max(initial=0))
    # NaN compares as False: an embedding that is not finite does not pass here either.
    return difference <= allowed, f"differs by {difference:.1e} at most, {allowed:.1e} allowed"


def _strangers(
    found: np.ndarray, embedding: np.ndarray, rows: np.ndarray, allowed: float
) -> list[tuple[int, int]]:
    """Cells whose new embedding stands in the row of another cell: (cell, row it stands in)."""
    misplaced = []
    for row, values in zip(rows, found, strict=True):
        with np.errstate(over="ignore"):  # of float32: infinite is far
            distances = np.abs(embedding - values).max(axis=1)
        nearest = int(np.argmin(distances))
        if distances[nearest] <= allowed < distances[row]:
            misplaced.append((int(row), nearest))
    return misplaced


def _misplaced(strangers: list[tuple[int, int]]) -> str:
    if not strangers:
        return "no cell stands in another's row"
    cell, row = strangers[0]
    return f"{len(strangers)} cells stand in another's row, for example cell {cell} in row {row}"


def require(checks: pd.DataFrame) -> None:
    """Raise if a check failed.

    Raises
    ------
    IntegrityError
        Names the failed checks and what was found.
    """
    failed = checks[~checks["passed"].astype(bool)]
    if len(failed):
        found = "; ".join(f"{row.check}: {row.detail}" for row in failed.itertuples())
        raise IntegrityError(f"the embedding failed the integrity gate and is not scored: {found}")


def effective_rank(embedding: np.ndarray) -> float:
    """Number of directions in use: exp of the entropy of the variance shares, from 1 to dim.

    A constant embedding has rank 0.

    Source
    ------
    Roy and Vetterli 2007, "The effective rank", on the covariance spectrum.
    """
    values = embedding.astype(np.float64)
    # A power of two changes no share and no digit, and keeps squares of the largest values finite.
    values = np.ldexp(values, -int(np.frexp(np.abs(values).max())[1]))
    centred = values - values.mean(axis=0)
    # The smaller Gram matrix has the same non-zero spectrum as the covariance.
    gram = centred.T @ centred if centred.shape[0] >= centred.shape[1] else centred @ centred.T
    variances = np.clip(np.linalg.eigvalsh(gram), 0, None)
    if variances.sum() <= 0:
        return 0.0
    shares = variances[variances > 0] / variances.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
