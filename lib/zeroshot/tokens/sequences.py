"""What a network reads: sequences of tokens, and what makes them of the cells of a data set."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Tokens:
    """Token sequences of cells, one after another.

    Attributes
    ----------
    ids
        (tokens,) int64 numbers in the vocabulary.
    values
        (tokens,) float32 value of each token; None for models that read order alone.
    offsets
        (cells + 1,) where each cell starts.
    left_out
        (cells,) expressed genes of the vocabulary that did not fit.
    """

    ids: np.ndarray
    values: np.ndarray | None
    offsets: np.ndarray
    left_out: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """(cells,) tokens of each cell, special ones included."""
        return np.diff(self.offsets)

    def select(self, rows: np.ndarray) -> "Tokens":
        """The sequences of some cells, in the order given."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        values = None if self.values is None else self.values[places]
        return Tokens(self.ids[places], values, offsets, self.left_out[rows])

    def pad(self, pad_id: int, pad_value: float = 0.0) -> tuple[np.ndarray, np.ndarray | None]:
        """(cells, longest) ids and values, filled up on the right."""
        lengths = self.lengths
        real = np.arange(max(int(lengths.max(initial=0)), 1)) < lengths[:, None]
        ids = np.full(real.shape, pad_id, np.int64)
        ids[real] = self.ids
        if self.values is None:
            return ids, None
        values = np.full(real.shape, pad_value, np.float32)
        values[real] = self.values
        return ids, values


@dataclass(frozen=True)
class Tokenizer:
    """Turns rows of a data set into tokens; genes and vocabulary were decided on all of it.

    Attributes
    ----------
    tokenize
        Row numbers to the tokens of these cells, in that order.
    pad_id, pad_value
        What fills the end of shorter sequences of a chunk.
    overlap
        Genes by the rule that matched them; None for a model without vocabulary.
    notes
        What a reader of the scores has to know, as sentences.
    """

    tokenize: Callable[[np.ndarray], Tokens]
    pad_id: int
    pad_value: float = 0.0
    overlap: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
