"""Symbols of human genes as HGNC approves them today, whatever they were called in a source."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog

TABLE = "gene-symbols"
_REPEAT = re.compile(r"(--?|\.)\d+$")  # what makes a name that comes again unique: A-1, A.1, A--1


def approved_symbols(names: Sequence[str]) -> np.ndarray:
    """The approved symbol of each gene, its name where there is none.

    A name that only repeats another one of the list with a number behind it means the same gene.

    Parameters
    ----------
    names
        (n_genes,) of human genes: approved symbols, previous ones or aliases that mean one gene only, or
        Ensembl ids without version.

    Returns
    -------
    numpy.ndarray
        (n_genes,) str; several genes may have the same.
    """
    table = catalog.read_gene_table(TABLE)
    symbols = dict(zip(table["ensembl_id"], table["symbol"], strict=True))
    symbols.update(zip(table["symbol"], table["symbol"], strict=True))
    for symbol, others in zip(table["symbol"], table["others"], strict=True):
        symbols.update((other, symbol) for other in others.split("|") if other)
    symbols.pop("", None)  # of genes without an id
    own = set(names)

    def approved(name: str) -> str:
        stem = _REPEAT.sub("", name)
        repeats = name not in symbols and stem != name and stem in own
        return symbols.get(stem if repeats else name, stem if repeats else name)

    return np.array([approved(str(name)) for name in names], dtype=str)


def with_approved_symbols(adata: AnnData) -> AnnData:
    """A copy under approved symbols; the counts of genes that have the same are added up.

    Returns
    -------
    AnnData
        ``var["ensembl_id"]`` as HGNC has it, empty where it has none; ``var["n_names"]``, how many genes of
        the source each is. ``obs`` is that of the source.
    """
    symbols, columns = np.unique(approved_symbols(adata.var_names), return_inverse=True)
    ones = np.ones(adata.n_vars, np.float32)
    gathers = sparse.csr_matrix((ones, (np.arange(adata.n_vars), columns)))
    counts = sparse.csr_matrix(adata.X @ gathers, dtype=np.float32)
    counts.sort_indices()
    table = catalog.read_gene_table(TABLE)
    ids = dict(zip(table["symbol"], table["ensembl_id"], strict=True))
    var = pd.DataFrame(
        {"ensembl_id": [ids.get(symbol, "") for symbol in symbols], "n_names": np.bincount(columns)},
        index=symbols,
    )
    return AnnData(counts, adata.obs.copy(), var)
