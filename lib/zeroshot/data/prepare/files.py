"""Kinds of source files, and counts that their authors have transformed.

Nothing in a file is executed: R files are parsed as data by ``rdata`` with its default constructors,
and pickles are not read at all.
"""

import io
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.error import DataError

PACKAGES = ("anndata", "h5py", "numpy", "pandas", "rdata", "scanpy", "scipy")

Files = Mapping[str, Path]


def integers(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Round recovered counts, refusing to guess where they are not close to integers."""
    rounded = np.rint(values)
    farthest = float(np.abs(values - rounded).max(initial=0))
    if farthest > tolerance:
        raise DataError(
            f"counts could not be recovered: a value lies {farthest:.3g} from an integer, {tolerance:g} is "
            "the most this source has shown. The source has changed."
        )
    return rounded


def counts_from_smallest(matrix: sparse.csr_matrix, tolerance: float) -> sparse.csr_matrix:
    """Counts of cells that were scaled by a factor nobody published: each has a gene counted once."""
    smallest = np.minimum.reduceat(matrix.data, matrix.indptr[:-1])
    per_cell = np.repeat(smallest, np.diff(matrix.indptr))
    return sparse.csr_matrix(
        (integers(matrix.data / per_cell, tolerance), matrix.indices, matrix.indptr), matrix.shape
    )


def read_r(path: Path) -> dict[str, Any]:
    """Objects of an .rda or .RData file by name; classes rdata does not know come back as plain data."""
    import rdata

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Missing constructor for R class")
        return rdata.read_rda(path, default_encoding="utf8")


def r_matrix(matrix: SimpleNamespace, suffix: str = "") -> AnnData:
    """A dgCMatrix or dgTMatrix, genes x cells in R, as cells x genes in CSR."""
    genes, cells = (np.asarray(names, dtype=str) for names in matrix.Dimnames)
    shape = tuple(matrix.Dim)
    if hasattr(matrix, "p"):
        # The columns of R's matrix are the rows of ours: the same three arrays, read as CSR.
        counts = sparse.csr_matrix((matrix.x, matrix.i, matrix.p), shape=shape[::-1])
    else:
        counts = sparse.csr_matrix((matrix.x, (matrix.j, matrix.i)), shape=shape[::-1])
    obs = pd.DataFrame(index=pd.Index(cells).str.removesuffix(suffix))
    return AnnData(counts.astype(np.float64), obs, pd.DataFrame(index=genes))


def r_table(table: Any) -> AnnData:
    """A dense matrix, genes x cells in R, which rdata gives as an xarray, as cells x genes in CSR."""
    genes, cells = (np.asarray(table.coords[axis].values, dtype=str) for axis in table.dims)
    # By columns, as R keeps them: three times as fast as row by row.
    counts = sparse.csc_matrix(table.to_numpy(), dtype=np.float64).T
    return AnnData(counts, pd.DataFrame(index=cells), pd.DataFrame(index=genes))


def read_10x(path: Path) -> AnnData:
    """A Cell Ranger 1-2 archive (matrix.mtx, genes.tsv, barcodes.tsv), read without unpacking to disk."""
    from anndata.utils import make_index_unique
    from scipy.io import mmread

    with tarfile.open(path) as archive:
        held = {Path(member.name).name: member for member in archive if member.isfile()}
        missing = {"matrix.mtx", "genes.tsv", "barcodes.tsv"} - set(held)
        if missing:
            raise DataError(f"{path} is no 10x matrix archive: it lacks {', '.join(sorted(missing))}")
        content = {name: io.BytesIO(archive.extractfile(held[name]).read()) for name in held}
    genes = pd.read_csv(content["genes.tsv"], sep="\t", names=["ensembl_id", "symbol"])
    barcodes = pd.read_csv(content["barcodes.tsv"], names=["barcode"])["barcode"]
    var = pd.DataFrame(
        # Some symbols name two Ensembl ids: the later one gets a suffix, as scanpy does.
        {"ensembl_id": genes["ensembl_id"].to_numpy(str)},
        index=make_index_unique(pd.Index(genes["symbol"].astype(str))),
    )
    counts = sparse.csr_matrix(mmread(content["matrix.mtx"]).T)
    return AnnData(counts.astype(np.float64), pd.DataFrame(index=barcodes.to_numpy(str)), var)
