"""Sorted populations of blood (Zheng et al. 2017), one 10x run each: labels that no clustering made."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.error import DataError

from .files import Files, counts_from_smallest, r_matrix, read_10x, read_r


def pbmc_sorted(files: Files) -> AnnData:
    """Seven sorted blood populations; counts from log2(1e6 * count / sum + 1)."""
    stored = read_r(files["pbmc14k_expression.eset.rda"])["pbmc14k_expression.eset"]
    adata = r_matrix(stored.assayData.maps[0]["exprs"])
    cells = stored.phenoData.data
    if list(cells.index) != list(adata.obs_names):
        raise DataError("pbmc-sorted: cells of the matrix and of the table differ in order. Report this.")
    adata.X.data = np.expm1(adata.X.data * np.log(2))
    adata.X = counts_from_smallest(adata.X, tolerance=1e-6)
    adata.obs["cell_type"] = cells["trueLabel"].to_numpy(str)
    adata.obs["batch"] = "pbmc-sorted"
    adata.obs["library_size"] = cells["nUMI"].to_numpy(np.float64)
    return adata


def pbmc_95k(files: Files) -> AnnData:
    """Ten sorted blood populations, one 10x run each."""
    suffix = "_filtered_gene_bc_matrices.tar.gz"
    parts = {name.removesuffix(suffix): read_10x(path) for name, path in sorted(files.items())}
    obs = pd.concat(
        [part.obs.assign(cell_type=name).rename(index=f"{name}_{{}}".format) for name, part in parts.items()]
    ).assign(batch="pbmc-95k")
    matrix = sparse.vstack([part.X for part in parts.values()])
    return AnnData(matrix, obs, next(iter(parts.values())).var)


def zheng_sorted_fasttopics(files: Files) -> AnnData:
    """Ten sorted blood populations; the 3,774 cells of a tutorial and the 100 that it holds out."""
    from anndata.utils import make_index_unique

    stored = read_r(files["pbmc_facs.RData"])["pbmc_facs"]
    # Cells are rows in R already; its columns make a CSC matrix.
    parts = [
        sparse.csc_matrix((part.x, part.i, part.p), shape=tuple(part.Dim))
        for part in (stored["counts"], stored["counts_test"])
    ]
    cells = np.concatenate([stored[part].Dimnames[0] for part in ("counts", "counts_test")]).astype(str)
    samples = pd.concat([stored["samples"], stored["samples_test"]])
    if not all(cell.startswith(barcode) for cell, barcode in zip(cells, samples["barcode"], strict=True)):
        raise DataError(
            "zheng-sorted-fasttopics: cells of the matrix and of the table differ in order. Report this."
        )
    obs = pd.DataFrame(
        {"cell_type": samples["celltype"].to_numpy(str), "batch": "zheng-sorted-fasttopics"}, index=cells
    )
    genes = stored["genes"]
    if list(genes["ensembl"]) != list(stored["counts"].Dimnames[1]):
        raise DataError(
            "zheng-sorted-fasttopics: genes of the matrix and of the table differ in order. Report this."
        )
    var = pd.DataFrame(
        # Some symbols name two Ensembl ids: the later one gets a suffix, as scanpy does.
        {"ensembl_id": genes["ensembl"].to_numpy(str)},
        index=make_index_unique(pd.Index(genes["symbol"].astype(str))),
    )
    return AnnData(sparse.vstack(parts).tocsr().astype(np.float64), obs, var)
