"""Symbols of human genes as HGNC approves them today, whatever they were called in a source."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog


def with_approved_symbols(adata: AnnData) -> AnnData:
    """A copy under approved symbols; the counts of genes that have the same are added up.

    Returns
    -------
    AnnData
        ``var["ensembl_id"]`` as HGNC has it, empty where it has none; ``var["n_names"]``, how many genes of
        the source each is. ``obs`` is that of the source.
    """
    symbols, columns = np.unique(catalog.approved_symbols(adata.var_names), return_inverse=True)
    ones = np.ones(adata.n_vars, np.float32)
    gathers = sparse.csr_matrix((ones, (np.arange(adata.n_vars), columns)))
    counts = sparse.csr_matrix(adata.X @ gathers, dtype=np.float32)
    counts.sort_indices()
    table = catalog.read_gene_table(catalog.SYMBOLS)
    ids = dict(zip(table["symbol"], table["ensembl_id"], strict=True))
    var = pd.DataFrame(
        {"ensembl_id": [ids.get(symbol, "") for symbol in symbols], "n_names": np.bincount(columns)},
        index=symbols,
    )
    return AnnData(counts, adata.obs.copy(), var)
