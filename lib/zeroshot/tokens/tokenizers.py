"""Counts to tokens: genes in the order of their expression (Geneformer), or with a binned value (scGPT).

Pure functions on compressed rows; no loop over cells. What is drawn at random is a function of seed, cell
and gene, so that it depends neither on the order of the cells nor on what is tokenised with them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from zeroshot.tokens.sequences import Tokens

if TYPE_CHECKING:
    import torch

Draws = Literal["seeded", "midrank", "left", "reference"]
DRAWS: tuple[Draws, ...] = ("seeded", "midrank", "left", "reference")

VALUES_PER_BLOCK = 131_072  # padded values that are worked on at once: what stays in a processor's cache
VALUES_PER_SEARCH = 2_000_000  # the same for torch, whose threads cost milliseconds to start


def cell_keys(ids: pd.Index) -> np.ndarray:
    """(cells,) uint64 that stand for the names of cells in :func:`uniform`."""
    return pd.util.hash_array(np.asarray(ids, dtype=object).astype(str).astype(object))


def uniform(seed: int, cells: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1), one for each pair of cell key and gene, the same whenever it is asked for.

    Source
    ------
    The finaliser of SplitMix64 (Steele, Lea and Flood 2014), applied to seed, cell and gene in turn.
    """
    state = _mix(np.asarray([seed % 2**64], dtype=np.uint64))
    for part in (cells, genes):
        state = _mix(state ^ np.asarray(part).astype(np.uint64, copy=False))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: np.ndarray) -> np.ndarray:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)
    return state


def rank_tokens(
    counts: sparse.csr_matrix,
    library_size: np.ndarray,
    medians: np.ndarray,
    token_ids: np.ndarray,
    *,
    max_tokens: int,
    cls_id: int | None = None,
    eos_id: int | None = None,
    target_sum: float = 10_000,
) -> Tokens:
    """Genes of each cell from the most to the least expressed, each divided by its median in the corpus.

    Parameters
    ----------
    counts
        (cells, columns) raw counts over genes of the vocabulary, each once.
    library_size
        (cells,) counts of each cell before genes were left out; cannot change the order, only its rounding.
    medians
        (columns,) non-zero median of each gene over the training corpus, in counts per ``target_sum``.
    token_ids
        (columns,) token of each gene.
    max_tokens
        Longest sequence, special tokens included; the least expressed genes are cut off.
    cls_id, eos_id
        Special tokens put before and after the genes; None where the vocabulary has none.
    target_sum
        Counts that each cell is scaled to.

    Returns
    -------
    Tokens
        Without values. Equal expression keeps the order of the columns.

    Source
    ------
    Geneformer's TranscriptomeTokenizer; see also Theodoris et al. 2023.

    Differs
    -------
    The reference sorts with an unstable sort, whose order of ties depends on processor and numpy version.
    """
    counts = _canonical(counts, np.float64)
    scaled = counts.data / np.repeat(np.asarray(library_size, np.float64), np.diff(counts.indptr))
    scaled = scaled * target_sum / np.asarray(medians, np.float64)[counts.indices]
    room = max_tokens - (cls_id is not None) - (eos_id is not None)
    expressed = np.diff(counts.indptr)
    kept = np.minimum(expressed, room)
    starts = int(cls_id is not None)
    lengths = kept + starts + int(eos_id is not None)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.empty(offsets[-1], np.int64)
    if cls_id is not None:
        ids[offsets[:-1]] = cls_id
    if eos_id is not None:
        ids[offsets[1:] - 1] = eos_id
    for rows, _, padded in _blocks(counts.indptr, -scaled, fill=np.inf):
        order = _stable_order(padded)
        width = min(room, padded.shape[1])
        chosen = np.arange(width) < kept[rows][:, None]
        ranked = order[:, :width] + counts.indptr[rows, None].astype(np.int64)
        targets = (offsets[rows] + starts)[:, None] + np.arange(width)
        ids[targets[chosen]] = np.asarray(token_ids)[counts.indices[ranked[chosen]]]
    return Tokens(ids, None, offsets, (expressed - kept).astype(np.int64))


def _stable_order(values: np.ndarray) -> np.ndarray:
    """(rows, columns) order of each row, equal values by column.

    The unstable sort is several times faster; what it found equal is then put in order by itself.
    """
    order = np.argsort(values, axis=1)
    width = values.shape[1]
    ranked = np.take(values, order + np.arange(len(values))[:, None] * width)
    same = np.zeros(values.shape, bool)
    same[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & np.isfinite(ranked[:, 1:])
    tied = same.copy()
    tied[:, :-1] |= same[:, 1:]
    group = np.cumsum(~same[tied]) * width
    order[tied] = np.sort(group + order[tied]) - group
    return order


def bin_blocks(values: sparse.csr_matrix, n_bins: int = 51) -> tuple[np.ndarray, np.ndarray]:
    """Bins that each non-zero value may fall into: quantile edges of its own cell.

    Parameters
    ----------
    values
        (cells, columns) non-negative; zeros have bin 0 and are not stored.
    n_bins
        Bins, that of zero included.

    Returns
    -------
    left, right
        (values,) numbers of edges at most, and below, each value: bins ``right + 1`` to ``left`` are meant.

    Source
    ------
    scGPT at cebd6fae, ``preprocess.binning``: ``numpy.quantile`` of the non-zero values, then
    ``numpy.digitize`` from both sides.
    """
    quantiles = np.linspace(0, 1, n_bins - 1)
    left = np.empty(len(values.data), np.int64)
    right = np.empty(len(values.data), np.int64)
    whole = bool((values.data == np.floor(values.data)).all())
    size = VALUES_PER_BLOCK if whole else VALUES_PER_SEARCH
    for rows, real, padded in _blocks(values.indptr, values.data, np.inf, size):
        edges = _quantiles(np.sort(padded, axis=1), real.sum(axis=1), quantiles)
        places = _places(values.indptr, rows)
        # Whole numbers are looked up in a table of each cell, unless they are so large that it would be long.
        search = _look_up if whole and edges.max() < 16 * padded.shape[1] else _search
        left[places], right[places] = search(padded, real, edges)
    return left, right


def _look_up(padded: np.ndarray, real: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of edges at most, and below, each real value, all of them whole numbers."""
    width = int(edges.max()) + 2
    first = np.arange(len(edges))[:, None] * width
    at = padded[real].astype(np.int64) + np.repeat(first.ravel(), real.sum(axis=1))
    found = []
    for least in (np.ceil(edges), np.floor(edges) + 1):  # smallest whole number that an edge counts for
        table = np.bincount((first + least.astype(np.int64)).ravel(), minlength=first.size * width)
        found.append(table.reshape(-1, width).cumsum(axis=1).ravel()[at])
    return found[0], found[1]


def _search(padded: np.ndarray, real: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_look_up`, of any values."""
    import torch

    # Padded values fall behind all edges, which does no harm: they are not looked at.
    found, sought = torch.from_numpy(edges), torch.from_numpy(padded.astype(np.float64))
    below, most = (torch.searchsorted(found, sought, right=right).numpy()[real] for right in (False, True))
    return most, below


def _quantiles(ranked: np.ndarray, lengths: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """(rows, quantiles) as ``numpy.quantile`` computes them, rounding included, for rows of any length."""
    at = quantiles * (lengths[:, None] - 1)
    before = np.floor(at).astype(np.int64)
    after = np.minimum(before + 1, lengths[:, None] - 1)
    low = np.take_along_axis(ranked, before, axis=1)
    high = np.take_along_axis(ranked, after, axis=1)
    share, step = at - before, high - low
    return np.where(share >= 0.5, high - step * (1 - share), low + step * share)


def bin_values(
    values: sparse.csr_matrix,
    *,
    n_bins: int = 51,
    mode: Draws = "seeded",
    seed: int = 0,
    cell_keys: np.ndarray | None = None,
    gene_keys: np.ndarray | None = None,
    stream: np.random.RandomState | None = None,
) -> sparse.csr_matrix:
    """Quantile bins of the non-zero values of each cell.

    Parameters
    ----------
    values
        (cells, columns) non-negative: counts, or any increasing function of them.
    n_bins
        Bins, that of zero included: non-zero values get 1 to ``n_bins - 1``.
    mode
        What happens to tied values, which span several bins. "seeded" draws one of them by seed, cell and
        gene; "midrank" takes the middle one; "left" the highest; "reference" draws from numpy's legacy
        stream, one number a value in the order of the rows.
    seed
        Of "seeded" and "reference".
    cell_keys, gene_keys
        (cells,) and (columns,) unsigned keys, for "seeded".
    stream
        State to continue with in "reference"; a new one from the seed if None.

    Returns
    -------
    scipy.sparse.csr_matrix
        (cells, columns) float32, the same places as the non-zero values.

    Raises
    ------
    ValueError
        For an unknown mode, or "seeded" without keys.

    Source
    ------
    As :func:`bin_blocks`.
    """
    if mode not in DRAWS:
        raise ValueError(f"unknown mode {mode!r} of binning: one of {', '.join(DRAWS)}")
    values = _canonical(values, None)
    left, right = bin_blocks(values, n_bins)
    if mode == "left":
        bins = left
    elif mode == "midrank":
        bins = (left + right + 1) // 2
    else:
        if mode == "reference":
            draws = (stream or np.random.RandomState(seed)).rand(len(values.data))
        elif cell_keys is None or gene_keys is None:
            raise ValueError("mode 'seeded' draws by cell and gene: give cell_keys and gene_keys")
        else:
            cells = np.repeat(np.asarray(cell_keys), np.diff(values.indptr))
            draws = uniform(seed, cells, np.asarray(gene_keys)[values.indices])
        bins = np.ceil(draws * (right - left) + left)
    found = sparse.csr_matrix(values.shape, dtype=np.float32)
    found.data, found.indices, found.indptr = bins.astype(np.float32), values.indices, values.indptr
    return found


def value_tokens(
    bins: sparse.csr_matrix,
    token_ids: np.ndarray,
    *,
    cls_id: int,
    cls_value: float,
    max_tokens: int,
    mode: Draws = "seeded",
    seed: int = 0,
    cell_keys: np.ndarray | None = None,
    generator: "torch.Generator | None" = None,
    include_zeros: bool = False,
) -> Tokens:
    """``<cls>``, then the non-zero genes of each cell with their values, in the order of the columns.

    Parameters
    ----------
    bins
        (cells, columns) values of the tokens.
    token_ids
        (columns,) token of each gene.
    cls_id, cls_value
        First token of every cell and its value.
    max_tokens
        Longest sequence, ``<cls>`` included. Of a cell with more genes a sample is kept: by "reference" the
        first of ``torch.randperm``, in its order; otherwise drawn by seed, cell and gene, in column order.
    mode, seed, cell_keys
        As for :func:`bin_values`.
    generator
        State to continue with in "reference"; a new one from the seed if None.
    include_zeros
        Make a token of every gene of every cell, those without expression with value 0.

    Source
    ------
    scGPT at cebd6fae, ``data_collator.DataCollator``; ``include_zero_gene`` of ``tokenizer.py``.
    """
    bins = _with_zeros(bins) if include_zeros else _canonical(bins, None)
    expressed = np.diff(bins.indptr)
    room = max_tokens - 1
    kept = np.minimum(expressed, room)
    offsets = np.concatenate([[0], np.cumsum(kept + 1)]).astype(np.int64)
    ids = np.empty(offsets[-1], np.int64)
    values = np.empty(offsets[-1], np.float32)
    ids[offsets[:-1]], values[offsets[:-1]] = cls_id, cls_value
    chosen = _sample(bins, np.asarray(token_ids), room, mode, seed, cell_keys, generator)
    genes = np.ones(offsets[-1], bool)
    genes[offsets[:-1]] = False
    ids[genes] = np.asarray(token_ids)[bins.indices[chosen]]
    values[genes] = bins.data[chosen]
    return Tokens(ids, values, offsets, (expressed - kept).astype(np.int64))


def _with_zeros(bins: sparse.csr_matrix) -> sparse.csr_matrix:
    """The same matrix with every entry stored."""
    n_cells, n_genes = bins.shape
    columns, starts = np.tile(np.arange(n_genes), n_cells), np.arange(n_cells + 1) * n_genes
    return sparse.csr_matrix((bins.toarray().ravel(), columns, starts), shape=bins.shape)


def _sample(
    bins: sparse.csr_matrix,
    token_ids: np.ndarray,
    room: int,
    mode: Draws,
    seed: int,
    keys: np.ndarray | None,
    generator: "torch.Generator | None",
) -> np.ndarray:
    """Places in ``bins.data`` of the values that are kept, cell by cell."""
    import torch

    expressed = np.diff(bins.indptr)
    long = np.flatnonzero(expressed > room)
    if not len(long):
        return np.arange(len(bins.data))
    if mode == "reference":
        generator = generator or torch.Generator().manual_seed(seed)
        parts = np.split(np.arange(len(bins.data)), bins.indptr[1:-1])
        for row in long:
            parts[row] = parts[row][torch.randperm(expressed[row], generator=generator).numpy()[:room]]
        return np.concatenate(parts)
    if keys is None:
        raise ValueError("genes are sampled by cell: give cell_keys")
    keep = np.ones(len(bins.data), bool)
    places = _places(bins.indptr, long)
    cells = np.repeat(np.asarray(keys)[long], expressed[long])
    # Another stream than that of the bins: whether a gene is kept must not depend on its bin.
    draws = uniform(seed + 1, cells, token_ids[bins.indices[places]])
    row = np.repeat(np.arange(len(long)), expressed[long])
    order = np.lexsort((draws, row))
    starts = np.concatenate([[0], np.cumsum(expressed[long])])[:-1]
    rank = np.arange(len(places)) - np.repeat(starts, expressed[long])
    keep[places[order[rank >= room]]] = False
    return np.flatnonzero(keep)


def _canonical(matrix: sparse.csr_matrix, dtype: type | None) -> sparse.csr_matrix:
    """Sorted, without stored zeros and without duplicates; the input itself where it already is."""
    matrix = sparse.csr_matrix(matrix, dtype=dtype)
    if matrix.has_canonical_format and matrix.data.all():
        return matrix
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _places(indptr: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Places in ``data`` of the values of some rows, row after row."""
    lengths = np.diff(indptr)[rows].astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(starts[-1]) + np.repeat(indptr[:-1][rows] - starts[:-1], lengths)


def _blocks(
    indptr: np.ndarray, data: np.ndarray, fill: float, size: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of similar length as padded matrices: row numbers, which entries are real, the matrix."""
    lengths = np.diff(indptr).astype(np.int64)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    while len(order):
        longest = int(lengths[order[-1]])
        number = max((size or VALUES_PER_BLOCK) // longest, 1)
        rows, order = np.sort(order[-number:]), order[:-number]
        real = np.arange(longest) < lengths[rows][:, None]
        padded = np.full(real.shape, fill, data.dtype)
        padded[real] = data[_places(indptr, rows)]
        yield rows, real, padded
