"""The gate every embedding passes before it is scored."""

import numpy as np
import pandas as pd

# Below this an embedding varies along one direction only and every cell lies on a line.
LEAST_EFFECTIVE_RANK = 1.01


class IntegrityError(ValueError):
    """An embedding failed the gate and must not be scored."""


def check(embedding: np.ndarray, n_cells: int) -> pd.DataFrame:
    """Examine an embedding.

    Parameters
    ----------
    embedding
        (cells, dim) array.
    n_cells
        Number of cells that were embedded.

    Returns
    -------
    pandas.DataFrame
        One row per check: ``check``, ``passed``, ``detail``.
    """
    aligned = embedding.ndim == 2 and len(embedding) == n_cells and embedding.size > 0
    rows = [("one row per cell", aligned, f"shape {embedding.shape} for {n_cells} cells")]
    if aligned:
        broken = int((~np.isfinite(embedding)).any(axis=1).sum())
        rows.append(("finite values", broken == 0, f"{broken} cells with NaN or infinity"))
        if broken == 0:
            distinct = len(np.unique(embedding, axis=0))
            rank = effective_rank(embedding)
            rows.append(("not constant", distinct > 1, f"{distinct} distinct rows"))
            rows.append(("not collapsed", rank > LEAST_EFFECTIVE_RANK, f"effective rank {rank:.1f}"))
    return pd.DataFrame(rows, columns=["check", "passed", "detail"])


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
    centred = embedding.astype(np.float64) - embedding.mean(axis=0, dtype=np.float64)
    # The smaller Gram matrix has the same non-zero spectrum as the covariance.
    gram = centred.T @ centred if centred.shape[0] >= centred.shape[1] else centred @ centred.T
    variances = np.clip(np.linalg.eigvalsh(gram), 0, None)
    if variances.sum() <= 0:
        return 0.0
    shares = variances[variances > 0] / variances.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
