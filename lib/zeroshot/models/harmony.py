"""Harmony: principal components corrected for the batch."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from zeroshot.models import Cells
from zeroshot.models.baselines import Pca

PACKAGES = ("harmonypy", "numpy", "pandas")

# A relative change of the objective that no iteration falls below.
NEVER = -1e9
# harmonypy makes a cluster for each 30 cells, rounded: with fewer cells than these it has none.
FEWEST_CELLS = 16


@dataclass(frozen=True)
class Harmony:
    """PCA corrected for the batch by Harmony.

    Source
    ------
    Korsunsky et al. 2019; harmonypy on the components of :class:`zeroshot.models.baselines.Pca`.

    Differs
    -------
    With ``stop_early`` off, all iterations are run. harmonypy stops by default when its objective
    improves by less than 1 % in an iteration; where batches are far apart (pancreas-two-studies) that
    is before any mixing has begun.
    """

    n_components: int = 50
    n_genes: int = 2000
    min_cells: int = 10
    max_iterations: int = 10
    stop_early: bool = True

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, n_components) corrected scores.

        Raises
        ------
        ValueError
            If there are fewer than two batches, or most cells are alone in theirs: nothing could be
            corrected. If there are fewer than 16 cells.
        """
        from harmonypy import run_harmony

        if cells.batches is None or len(np.unique(cells.batches)) < 2:
            raise ValueError("Harmony needs at least two batches; this data set has one. Use `pca` instead.")
        n_alone = _cells_alone(cells.batches)
        if n_alone > len(cells.batches) / 2:
            raise ValueError(
                f"{n_alone:,} of {len(cells.batches):,} cells are alone in their batch: nothing could be "
                "corrected. The column may hold barcodes: choose one with donors, samples or sequencing "
                "runs, or use `pca` instead."
            )
        components = Pca(self.n_components, self.n_genes, self.min_cells).embed(cells, seed)
        if len(cells.batches) < FEWEST_CELLS:
            raise ValueError(
                f"Harmony corrects clusters of about 30 cells, and these are {len(cells.batches)}: give at "
                f"least {FEWEST_CELLS} cells, or use `pca` instead."
            )
        corrected = run_harmony(
            components,
            pd.DataFrame({"batch": cells.batches}),
            "batch",
            max_iter_harmony=self.max_iterations,
            epsilon_harmony=1e-2 if self.stop_early else NEVER,
            random_state=seed,
            ncores=1,  # the order of parallel sums would change the bytes
            verbose=False,
        ).Z_corr
        # harmonypy has returned both orientations over its versions.
        by_cell = corrected if corrected.shape[0] == len(components) else corrected.T
        return np.ascontiguousarray(by_cell, dtype=np.float32)

    def notes(self, cells: Cells) -> tuple[str, ...]:
        """Say how many cells are a batch by themselves."""
        n_alone = _cells_alone(cells.batches)
        if not n_alone:
            return ()
        return (f"cells alone in their batch, where Harmony cannot tell batch from cell type: {n_alone:,}",)


def _cells_alone(batches: np.ndarray) -> int:
    """Number of batches of a single cell."""
    return int((np.unique(batches, return_counts=True)[1] == 1).sum())
