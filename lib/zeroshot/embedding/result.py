"""An embedding with what is known about how it came about."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from zeroshot.embedding import integrity
from zeroshot.models import Cells

# Rules of a report of gene names whose genes mean nothing to the model.
UNREAD = ("unmatched", "identifier")


@dataclass(frozen=True)
class GeneShare:
    """How many genes of a data set a model can read, and which share of its counts they have.

    Attributes
    ----------
    n_genes, n_read
        Genes of the data set, and those that the model can read.
    counts
        Share of all counts of the data set that those genes have, from 0 to 1.
    reason
        Why not all are read, to follow their number.
    """

    n_genes: int
    n_read: int
    counts: float
    reason: str

    @classmethod
    def of(cls, cells: Cells, embedder: object, overlap: pd.DataFrame | None) -> "GeneShare":
        """What the vocabulary of a model knows, or of a model without one what its filter leaves."""
        n_genes = cells.counts.shape[1]
        if overlap is not None:
            readable = overlap[~overlap["rule"].isin(UNREAD)]
            n_read, counts = int(readable["genes"].sum()), float(readable["counts"].sum())
            return cls(n_genes, n_read, counts, "in the vocabulary of the model")
        min_cells = getattr(embedder, "min_cells", None)
        if min_cells is None:
            return cls(n_genes, n_genes, 1.0, "no vocabulary is needed")
        detected = cells.detected(min_cells)
        totals = np.asarray(cells.counts.sum(axis=0, dtype=np.float64)).ravel()
        share = float(totals[detected].sum() / max(totals.sum(), 1))
        return cls(n_genes, int(detected.sum()), share, f"detected in at least {min_cells} cells")

    def __str__(self) -> str:
        """One line for a reader."""
        return (
            f"{self.n_read:,} of {self.n_genes:,} genes ({self.n_read / self.n_genes:.1%}) with "
            f"{self.counts:.1%} of the counts are read: {self.reason}"
        )


@dataclass(frozen=True)
class Embedded:
    """An embedding with what is known about how it came about.

    Attributes
    ----------
    matrix
        (cells, dim) float32, rows in input order.
    checks
        Rows of the integrity gate that need the model: ``check``, ``passed``, ``detail``. Empty for
        models that are fitted to all cells at once.
    overlap
        Genes by the rule that matched them to the vocabulary; None for models without one.
    lengths, left_out
        (cells,) tokens of each cell, and expressed vocabulary genes that did not fit; None for
        models without tokens.
    notes
        What a reader of the scores has to know, as sentences.
    genes
        Genes that the model can read, with their share of the counts; None for an embedding made from labels.
    """

    matrix: np.ndarray
    checks: pd.DataFrame = field(default_factory=lambda: integrity.table([]))
    overlap: pd.DataFrame | None = None
    lengths: np.ndarray | None = None
    left_out: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    genes: GeneShare | None = None
