"""Draws of cells that keep rare labels."""

import numpy as np
import pandas as pd


def draw_in_proportion(labels: pd.Series, size: int, seed: int, *, least: int) -> np.ndarray:
    """Positions of a draw of cells in proportion to their labels, ascending.

    Parameters
    ----------
    labels
        (cells,).
    size
        Cells to draw; all where there are no more.
    seed
        The same seed draws the same cells.
    least
        Cells of every label that are drawn first, where there are as many and ``size`` allows: one of each
        label, then another of each, and so on.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels.iloc[order].astype(str).reset_index(drop=True)
    rank = shuffled.groupby(shuffled).cumcount().to_numpy()
    share = (rank + 0.5) / shuffled.map(shuffled.value_counts()).to_numpy()
    first = rank < least
    share[first] = rank[first] - least  # rare labels first, then equal shares of every label
    return np.sort(order[np.argsort(share, kind="stable")[:size]])
