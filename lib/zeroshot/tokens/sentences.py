"""Cells as sentences that name their most expressed genes, for models of language."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from zeroshot.catalog import SYMBOLS, read_gene_table

from .genes import GeneOverlapError, align_symbols, is_identifier
from .sequences import Tokens

if TYPE_CHECKING:
    from tokenizers import Encoding


def examine_names(genes: pd.Index, counts: sparse.csr_matrix, title: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Names of genes as a reader of English could have met them, and how many of them are identifiers.

    Where most genes are named by Ensembl ids, so that the data set has no symbols, each is called by the
    symbol that HGNC approves, as :func:`zeroshot.tokens.genes.align_symbols` finds it.

    Parameters
    ----------
    genes
        (genes,) names.
    counts
        (cells, genes).
    title
        Of the model, for the error.

    Returns
    -------
    names : numpy.ndarray
        (genes,) str objects.
    overlap : pandas.DataFrame
        One row per kind of name: ``rule`` ("symbol", "Ensembl" for the symbols of ids, if there are any, or
        "identifier"), ``genes``, ``share`` of the genes, ``counts``, the share of all counts that these
        genes have.

    Raises
    ------
    GeneOverlapError
        If more than half are identifiers that have no symbol.
    """
    symbols = read_gene_table(SYMBOLS)["symbol"]
    alignment = align_symbols(genes.astype(str), {symbol: row for row, symbol in enumerate(symbols)})
    translated = alignment.rules == "Ensembl"
    names = genes.astype(str).to_numpy(object, copy=True)
    names[translated] = [symbols[row] for row in alignment.targets[translated]]
    identifiers = np.fromiter(map(is_identifier, names), bool, len(names))
    share = identifiers.mean()
    if share > 0.5:
        raise GeneOverlapError(
            f"{title} reads gene names as words, but {share:.0%} of the {len(names):,} gene names are "
            f"identifiers such as {', '.join(names[identifiers][:3])}; at least half must be symbols such as "
            "CD74. Give the symbols as var_names and load the data set again."
        )
    totals = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    masks = {"symbol": ~identifiers & ~translated, "Ensembl": translated, "identifier": identifiers}
    rows = [
        (rule, int(mask.sum()), mask.mean(), totals[mask].sum() / max(totals.sum(), 1))
        for rule, mask in masks.items()
        if rule != "Ensembl" or mask.any()
    ]
    return names, pd.DataFrame(rows, columns=["rule", "genes", "share", "counts"])


def note_identifiers(overlap: pd.DataFrame) -> tuple[str, ...]:
    """A note on the genes that :func:`examine_names` found to be identifiers; none if there are none."""
    identifiers = int(overlap.set_index("rule").loc["identifier", "genes"])
    if not identifiers:
        return ()
    return (f"{identifiers:,} genes are named by identifiers, which mean nothing to the model",)


def top_genes(values: sparse.csr_matrix, n_genes: int) -> tuple[np.ndarray, np.ndarray]:
    """The most expressed genes of each cell.

    Parameters
    ----------
    values
        (cells, genes) counts or values that order genes as counts do; may be sorted in place.
    n_genes
        Most genes of a cell.

    Returns
    -------
    columns : numpy.ndarray
        (named genes,) columns, cell after cell, by descending value; equal values by column. Only
        genes above zero.
    offsets : numpy.ndarray
        (cells + 1,) where each cell starts.
    """
    values.sort_indices()
    expressed = values.data > 0
    cell = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))[expressed]
    column, value = values.indices[expressed], values.data[expressed]
    order = np.lexsort((-value, cell))  # stable: what is equal stays in the order of the columns
    found = np.bincount(cell, minlength=values.shape[0])
    rank = np.arange(len(cell)) - np.repeat(np.cumsum(found) - found, found)
    offsets = np.concatenate([[0], np.cumsum(np.minimum(found, n_genes))])
    return column[order[rank < n_genes]], offsets


def cut(read: "Sequence[Encoding]", ends: Sequence[Sequence[int]], max_tokens: int, pad_id: int) -> Tokens:
    """Tokens of sentences, cut to ``max_tokens`` with closing special tokens kept.

    ``left_out`` counts the genes whose name, which ends where ``ends`` says, was cut wholly or in part.
    """
    ids, left_out = [], np.zeros(len(read), np.int64)
    for row, (sentence, of_genes) in enumerate(zip(read, ends, strict=True)):
        if len(sentence.ids) <= max_tokens:
            ids.append(sentence.ids or [pad_id])
            continue
        mask = sentence.special_tokens_mask
        n_closing = next((place for place, special in enumerate(reversed(mask)) if not special), 0)
        n_kept = max_tokens - n_closing
        ids.append([*sentence.ids[:n_kept], *sentence.ids[len(mask) - n_closing :]])
        last_read = sentence.offsets[n_kept - 1][1]
        left_out[row] = sum(end > last_read for end in of_genes)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return Tokens(
        ids=np.fromiter(chain.from_iterable(ids), np.int64, lengths.sum()),
        values=None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        left_out=left_out,
    )
