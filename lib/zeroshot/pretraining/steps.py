"""Which cells a step of training reads, what of them, and at which learning rate."""

import math
from collections.abc import Iterator

import numpy as np

from zeroshot.tokens.sequences import Tokens

# Chunks are cut from the cells of so many of them sorted by length: little padding, much chance.
CHUNKS_PER_WINDOW = 32


class Plan:
    """Which cells each step trains on: a function of the lengths, the settings and the step alone.

    Parameters
    ----------
    lengths
        (cells,) tokens of each cell that are read.
    epochs, tokens_per_step, seed
        As for :class:`zeroshot.pretraining.Training`.
    """

    def __init__(self, lengths: np.ndarray, *, epochs: float, tokens_per_step: int, seed: int) -> None:
        self.lengths = lengths
        self.tokens_per_step = tokens_per_step
        self.seed = seed
        self._epoch: tuple[int, list[np.ndarray]] | None = None
        self._starts = [0]
        whole = math.ceil(epochs)
        for epoch in range(whole):
            share = min(epochs - epoch, 1.0)
            self._starts.append(self._starts[-1] + max(round(share * len(self._chunks_of(epoch))), 1))
        self.n_steps = self._starts[-1]

    def rows(self, step: int) -> np.ndarray:
        """Cells of a step, from 0 on."""
        epoch = int(np.searchsorted(self._starts, step, side="right")) - 1
        return self._chunks_of(epoch)[step - self._starts[epoch]]

    def _chunks_of(self, epoch: int) -> list[np.ndarray]:
        if self._epoch is None or self._epoch[0] != epoch:
            generator = np.random.default_rng([self.seed, 4, epoch])
            order = generator.permutation(len(self.lengths))
            budget = self.tokens_per_step
            in_window = max(CHUNKS_PER_WINDOW * budget // max(int(self.lengths.mean()), 1), 1)
            chunks = []
            for start in range(0, len(order), in_window):
                window = order[start : start + in_window]
                by_length = window[np.argsort(self.lengths[window], kind="stable")]
                chunks += list(chunks_in_order(self.lengths, by_length, budget))
            self._epoch = epoch, [chunks[place] for place in generator.permutation(len(chunks))]
        return self._epoch[1]


def chunks_in_order(lengths: np.ndarray, order: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Cut an order of ascending lengths into chunks within a budget of padded tokens."""
    start = 0
    while start < len(order):
        size = 1
        while start + size < len(order) and (size + 1) * max(int(lengths[order[start + size]]), 1) <= budget:
            size += 1
        yield order[start : start + size]
        start += size


def crop(
    tokens: Tokens,
    max_tokens: int | np.ndarray,
    generator: np.random.Generator,
    special_ends: tuple[int, int] = (1, 0),
) -> Tokens:
    """Sequences of at most ``max_tokens``: of longer ones the tokens at the ends and a sample of the others.

    Tokens keep their order.

    Parameters
    ----------
    tokens
        Of some cells.
    max_tokens
        One number for all cells, or (cells,) one for each.
    generator
        Draws the sample.
    special_ends
        Tokens that stay at the beginning and at the end: by default the first, ``<cls>`` under "values".
    """
    lengths = tokens.lengths
    if (lengths <= max_tokens).all():
        return tokens
    draws = generator.random(len(tokens.ids))
    cell = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(cell)) - tokens.offsets[cell]  # of a token in its cell
    draws[(place < special_ends[0]) | (place >= lengths[cell] - special_ends[1])] = -1.0
    order = np.lexsort((draws, cell))
    rank = np.empty(len(order), np.int64)
    rank[order] = place
    stays = rank < np.broadcast_to(max_tokens, lengths.shape)[cell]
    read = np.minimum(lengths, max_tokens)
    offsets = np.concatenate([[0], np.cumsum(read)]).astype(np.int64)
    values = None if tokens.values is None else tokens.values[stays]
    return Tokens(tokens.ids[stays], values, offsets, tokens.left_out + lengths - read)


def schedule(step: int, n_steps: int, warmup: float) -> float:
    """Share of the highest learning rate: a line up to 1, then half a cosine down to 0."""
    n_warmup = max(round(warmup * n_steps), 1)
    if step < n_warmup:
        return (step + 1) / n_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / max(n_steps - n_warmup, 1)))
