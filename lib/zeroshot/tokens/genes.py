"""Genes of a data set matched to the vocabulary of a model, with a report of how each was matched."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from zeroshot.catalog import approved_symbols

# Below this share of known genes the paper's code refuses a data set.
LEAST_OVERLAP = 0.5

RULES = ("symbol", "Ensembl", "version stripped", "alias", "unmatched")

_ENSEMBL = re.compile(r"ENS[A-Z]*G[R0-9]\d+(\.\d+)?", re.IGNORECASE)
_VERSION = re.compile(r"\.\d+$")


class GeneOverlapError(ValueError):
    """A model knows too few of the genes of a data set to embed it."""


def ensembl_id(text: object) -> str:
    """The Ensembl gene id that a text is, in upper case and without version; empty if it is none."""
    return _VERSION.sub("", _versioned_id(text))


def is_identifier(name: str) -> bool:
    """Whether a name is an Ensembl gene id of any species or an Entrez number: nothing that can be read."""
    return bool(ensembl_id(name)) or name.strip().isdecimal()


def _versioned_id(text: object) -> str:
    stripped = str(text).strip()
    return stripped.upper() if _ENSEMBL.fullmatch(stripped) else ""


@dataclass(frozen=True)
class Alignment:
    """Which entry of a vocabulary each gene is.

    Attributes
    ----------
    targets
        (genes,) int64 number of the gene in the vocabulary, -1 where it is not in it.
    rules
        (genes,) how it was matched: "symbol", "Ensembl", "version stripped", "alias" (a replaced id) or
        "unmatched".
    names
        (genes,) the names that were looked up.
    """

    targets: np.ndarray
    rules: np.ndarray
    names: np.ndarray

    @property
    def matched_share(self) -> float:
        """Share of the genes that are in the vocabulary."""
        return float((self.targets >= 0).mean()) if len(self.targets) else 0.0

    def matched_counts(self, counts: sparse.csr_matrix) -> float:
        """Share of the (cells, genes) counts that the genes in the vocabulary have."""
        totals = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
        return float(totals[self.targets >= 0].sum() / max(totals.sum(), 1))

    def report(self, counts: sparse.csr_matrix | None = None) -> pd.DataFrame:
        """One row per rule that occurred: ``rule``, ``genes``, ``share`` of the genes.

        With the (cells, genes) ``counts`` also ``counts``, the share of all counts that these genes have.
        """
        numbers = pd.Series(self.rules).value_counts().reindex(RULES).dropna().astype(int)
        table = numbers.rename_axis("rule").reset_index(name="genes")
        table["share"] = table["genes"] / len(self.rules)
        if counts is not None:
            totals = pd.Series(np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel())
            shares = totals.groupby(self.rules).sum() / max(totals.sum(), 1)
            table["counts"] = shares.reindex(table["rule"]).to_numpy()
        return table


def align_symbols(symbols: Sequence[str], vocabulary: Mapping[str, int]) -> Alignment:
    """Match genes to a vocabulary of symbols, exactly and case-sensitively.

    Where most genes are named by Ensembl ids, so that the data set has no symbols, those that HGNC approves
    are looked up (rule "Ensembl").

    Parameters
    ----------
    symbols
        (genes,) names of the genes in the data set.
    vocabulary
        Symbol to its number.
    """
    names = np.asarray(symbols, dtype=object)
    targets = np.array([vocabulary.get(name, -1) for name in names], dtype=np.int64)
    rules = np.where(targets >= 0, "symbol", "unmatched").astype(object)
    ids = [ensembl_id(name) for name in names] if (targets < 0).any() else []
    if sum(map(bool, ids)) > len(names) / 2:
        by_id = np.array([vocabulary.get(symbol, -1) for symbol in approved_symbols(ids)], dtype=np.int64)
        is_by_id = (targets < 0) & (by_id >= 0)
        targets, rules = np.where(is_by_id, by_id, targets), np.where(is_by_id, "Ensembl", rules)
    return Alignment(targets, rules, names)


def align_ensembl(
    symbols: Sequence[str],
    ensembl_ids: Sequence[str] | None,
    vocabulary: Mapping[str, int],
    *,
    ensembl_of_symbol: Mapping[str, str] | None = None,
    replaced_by: Mapping[str, str] | None = None,
) -> Alignment:
    """Match genes to a vocabulary of Ensembl ids.

    A gene's id is its own where the data set knows it or is named by it, else that of its symbol.

    Parameters
    ----------
    symbols
        (genes,) names of the genes in the data set; may be Ensembl ids themselves.
    ensembl_ids
        (genes,) Ensembl id of each gene; None if the data set has none. Where it is empty, missing or no
        Ensembl id, the name of the gene is looked up.
    vocabulary
        Ensembl id to its number.
    ensembl_of_symbol
        Symbol to Ensembl id, for genes whose id is unknown.
    replaced_by
        Retired id to the one that took its place (rule "alias"); decides before the id itself, as in the
        reference, which looks the upper-cased id up.
    """
    names = np.asarray(symbols, dtype=object)
    known = np.array([_versioned_id(name) for name in names], dtype=object)
    if ensembl_ids is not None:
        own = np.array([_versioned_id(gene_id) for gene_id in ensembl_ids], dtype=object)
        known = np.where(own == "", known, own)
    targets = np.full(len(names), -1, np.int64)
    rules = np.full(len(names), "unmatched", dtype=object)
    for place, (name, gene_id) in enumerate(zip(names, known, strict=True)):
        targets[place], rules[place] = (
            _find_id(str(gene_id), vocabulary, replaced_by)
            if gene_id
            else _find_symbol(str(name), vocabulary, ensembl_of_symbol, replaced_by)
        )
    return Alignment(targets, rules, np.where(known == "", names, known))


def _find_id(
    gene_id: str, vocabulary: Mapping[str, int], replaced_by: Mapping[str, str] | None
) -> tuple[int, str]:
    for spelling, rule in ((gene_id, "Ensembl"), (_VERSION.sub("", gene_id), "version stripped")):
        found = (replaced_by or {}).get(spelling.upper(), spelling)
        if found in vocabulary:
            return vocabulary[found], rule if found.upper() == spelling.upper() else "alias"
    return -1, "unmatched"


def _find_symbol(
    symbol: str,
    vocabulary: Mapping[str, int],
    ensembl_of_symbol: Mapping[str, str] | None,
    replaced_by: Mapping[str, str] | None,
) -> tuple[int, str]:
    gene_id = (ensembl_of_symbol or {}).get(symbol)
    if gene_id is None:
        return -1, "unmatched"
    target, rule = _find_id(gene_id, vocabulary, replaced_by)
    return target, "symbol" if rule == "Ensembl" else rule


def require_overlap(alignment: Alignment, title: str, counts: sparse.csr_matrix) -> None:
    """Refuse a data set of which a model knows too few genes.

    Raises
    ------
    GeneOverlapError
        If the model knows fewer than half of the genes, and they have fewer than half of the (cells, genes)
        ``counts``.

    Differs
    -------
    The reference asks for half of the genes, however many counts the others have.
    """
    if alignment.matched_share >= LEAST_OVERLAP or alignment.matched_counts(counts) >= LEAST_OVERLAP:
        return
    unknown = [str(name) for name in alignment.names[alignment.targets < 0][:3]]
    raise GeneOverlapError(
        f"{title} knows {int((alignment.targets >= 0).sum()):,} of {len(alignment.targets):,} genes "
        f"({alignment.matched_share:.0%}), which have {alignment.matched_counts(counts):.0%} of the counts; "
        f"at least {LEAST_OVERLAP:.0%} of either are needed. Unknown are for example "
        f"{', '.join(unknown)}. Name human genes by symbol (var_names) and, if possible, by Ensembl id "
        "in var['ensembl_id']."
    )


def collapse(counts: sparse.csr_matrix, targets: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Leave unmatched genes out and add up genes that are the same entry of the vocabulary.

    Parameters
    ----------
    counts
        (cells, genes).
    targets
        (genes,) as in :class:`Alignment`.

    Returns
    -------
    counts
        (cells, columns) float64, in the order in which the entries first occur.
    targets
        (columns,) entry of the vocabulary of each column.

    Differs
    -------
    The reference appends summed columns after the others, which changes the order of ties only.
    """
    kept = np.flatnonzero(targets >= 0)
    entries, first, column = np.unique(targets[kept], return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    picked = sparse.csr_matrix(counts)[:, kept].astype(np.float64)
    if len(entries) < len(kept):
        shape = (len(kept), len(entries))
        adder = sparse.csr_matrix((np.ones(len(kept)), (np.arange(len(kept)), place[column])), shape=shape)
        picked = sparse.csr_matrix(picked @ adder)
    picked.sort_indices()
    return picked, entries[order].astype(np.int64)


def over_symbols(
    counts: sparse.csr_matrix, genes: Sequence[str], symbols: Sequence[str], title: str
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Counts over the list of symbols that a model reads, and how the genes of the data set were found in it.

    Parameters
    ----------
    counts
        (cells, genes).
    genes
        (genes,) names of the genes in the data set.
    symbols
        Those of the model, in its order.
    title
        Of the model, for the error.

    Returns
    -------
    counts
        (cells, symbols), see :func:`over_vocabulary`.
    overlap
        See :meth:`Alignment.report`.

    Raises
    ------
    GeneOverlapError
        As :func:`require_overlap`.
    """
    alignment = align_symbols(genes, {symbol: number for number, symbol in enumerate(symbols)})
    require_overlap(alignment, title, counts)
    return over_vocabulary(counts, alignment.targets, len(symbols)), alignment.report(counts)


def note_silent_cells(counts: sparse.csr_matrix) -> tuple[str, ...]:
    """A note on the cells without any gene that a model knows; none if there are none.

    Parameters
    ----------
    counts
        (cells, genes) of the genes that it knows, no zeros stored.
    """
    silent = int((np.diff(counts.indptr) == 0).sum())
    return (f"{silent:,} cells express no gene that the model knows",) if silent else ()


def over_vocabulary(counts: sparse.csr_matrix, targets: np.ndarray, n_entries: int) -> sparse.csr_matrix:
    """Counts of the matched genes as columns of the vocabulary; genes of one entry are added up.

    Parameters
    ----------
    counts
        (cells, genes).
    targets
        (genes,) as in :class:`Alignment`.
    n_entries
        Size of the vocabulary.

    Returns
    -------
    scipy.sparse.csr_matrix
        (cells, entries) float64, indices sorted, no zeros stored.
    """
    picked, entries = collapse(counts, targets)
    columns = entries[picked.indices]
    aligned = sparse.csr_matrix((picked.data, columns, picked.indptr), shape=(counts.shape[0], n_entries))
    aligned.eliminate_zeros()
    aligned.sort_indices()
    return aligned
