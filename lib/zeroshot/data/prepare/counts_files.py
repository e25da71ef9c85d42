"""Counts without labels, by the kind of their file: what sources of a pretraining corpus need.

The card's ``parameters`` say where in the file the counts are, so that a source is an entry of the registry
and no function.
"""

import gzip
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.error import DataError

from .files import Files, counts_from_smallest, integers, r_matrix

ROUNDING = 1e-6  # counts that went through a division and back
LOG_ROUNDING = 1e-9  # the same through log1p: the most that a source has shown is 4e-13


def r_counts(
    files: Files,
    *,
    objects: Sequence[str],
    genes: str | None = None,
    cells: str | None = None,
    cell_pattern: str = "",
    gene_prefix: str = "",
    log1p: bool = False,
    library_size: str | None = None,
) -> AnnData:
    """Counts of a matrix or a data frame in an R file.

    Parameters
    ----------
    files
        The one file.
    objects
        Paths of the matrices, genes x cells, as :class:`zeroshot.data.prepare.r_objects.RFile` reads them;
        cells of several ones follow each other.
    genes, cells
        Paths of their names, where the matrix has none.
    cell_pattern
        Regular expression that the names of wanted cells match from their beginning.
    gene_prefix
        Removed from names of genes; those without it are left out.
    log1p
        True if the matrix holds log1p(factor * count), with another factor for each cell that nobody
        published: its smallest value is one count.
    library_size
        Path of the counts of each cell over all genes of the study.
    """
    from anndata.utils import make_index_unique

    from .r_objects import RFile

    (path,) = files.values()
    file = RFile(path)
    parts = [
        _of_r(
            file.read(name),
            None if genes is None else file.names(genes),
            None if cells is None else file.names(cells),
        )
        for name in objects
    ]
    adata = _stack(parts, objects, path.name)
    if gene_prefix:
        adata = adata[:, adata.var_names.str.startswith(gene_prefix)].copy()
        adata.var_names = adata.var_names.str.removeprefix(gene_prefix)
    adata.var_names = make_index_unique(adata.var_names)
    if log1p:
        adata.X.data = np.expm1(adata.X.data)
        adata.X = counts_from_smallest(adata.X, LOG_ROUNDING)
    if library_size is not None:
        adata.obs["library_size"] = np.asarray(file.read(library_size), np.float64)
    return adata[adata.obs_names.str.match(cell_pattern)].copy()


def _of_r(matrix: Any, genes: np.ndarray | None, cells: np.ndarray | None) -> AnnData:
    """Any of R's matrices, genes x cells, as cells x genes; its own names where none are given."""
    if isinstance(matrix, pd.DataFrame):
        own = [matrix.index, matrix.columns]
    elif hasattr(matrix, "Dimnames"):
        own = matrix.Dimnames
    else:
        own = [matrix.coords[axis].to_numpy() for axis in matrix.dims]
    genes, cells = (
        own_names if names is None else names for names, own_names in zip((genes, cells), own, strict=True)
    )
    if hasattr(matrix, "Dimnames"):
        matrix.Dimnames = [genes, cells]
        return r_matrix(matrix)
    # By columns, as R keeps them: three times as fast as row by row.
    return _named(sparse.csc_matrix(matrix.to_numpy(), dtype=np.float64).T, cells, genes)


def text_counts(
    files: Files,
    *,
    separator: str = "\t",
    cells_in_rows: bool = False,
    member: str | None = None,
    without_genes: str | None = None,
    least_genes: int = 0,
) -> AnnData:
    """Counts of a text file, packed by gzip or in a zip archive, with a header and names in the first column.

    Parameters
    ----------
    files
        The one file.
    separator
        Between columns.
    cells_in_rows
        True if a row is a cell, False if it is a gene.
    member
        The table's path in a wheel or another zip archive.
    without_genes
        Regular expression; genes whose names match it from the beginning are left out (spike-ins).
    least_genes
        Cells with fewer detected genes are left out: wells that hold no cell.
    """
    from anndata.utils import make_index_unique

    (path,) = files.values()
    with ExitStack() as stack:
        if member is not None:
            binary = stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open(member))
        else:
            binary = stack.enter_context(gzip.open(path))
        header, *columns = next(binary).decode().rstrip("\r\n").split(separator)
        rows, values, lengths, indices = [], [], [], []
        for line in binary:
            name, _, texts = line.decode().rstrip("\r\n").partition(separator)
            row = _numbers(texts, separator, f"{path.name}, row {name}")
            rows.append(name)
            lengths.append(len(row))
            indices.append(np.flatnonzero(row))
            values.append(row[indices[-1]])
    if set(lengths) == {len(columns) + 1}:  # R leaves out the name of the column of names
        columns = [header, *columns]
    if set(lengths) != {len(columns)}:
        raise DataError(f"{path.name} is not a table of numbers: its rows differ in length. Report this.")
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in indices])])
    matrix = sparse.csr_matrix(
        (np.concatenate(values), np.concatenate(indices), offsets), shape=(len(rows), len(columns))
    )
    names, columns = ([text.strip('"') for text in texts] for texts in (rows, columns))
    adata = _named(matrix, names, columns) if cells_in_rows else _named(matrix.T, columns, names)
    # A name that comes again gets a suffix, as scanpy does.
    adata.var_names = make_index_unique(adata.var_names)
    adata.X.data = integers(adata.X.data, ROUNDING)
    if without_genes is not None:
        adata = adata[:, ~adata.var_names.str.match(without_genes)].copy()
    return adata[np.asarray((adata.X > 0).sum(axis=1)).ravel() >= least_genes].copy()


def _numbers(texts: str, separator: str, place: str) -> np.ndarray:
    """Numbers of a line; a hundred times as fast as a data frame with so many columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns, and stops, at what is no number
        try:
            return np.fromstring(texts, sep=separator)
        except (DeprecationWarning, ValueError):
            raise DataError(f"{place} holds what is not a number. Report this.") from None


def _named(matrix: Any, cells: Sequence[str], genes: Sequence[str]) -> AnnData:
    obs, var = (pd.DataFrame(index=pd.Index(np.asarray(names, dtype=str))) for names in (cells, genes))
    return AnnData(sparse.csr_matrix(matrix, dtype=np.float64), obs, var)


def _stack(parts: Sequence[AnnData], objects: Sequence[str], file: str) -> AnnData:
    """Cells of several matrices of the same genes, their names after those of the objects."""
    if len(parts) == 1:
        return parts[0]
    if any(list(part.var_names) != list(parts[0].var_names) for part in parts):
        raise DataError(f"{file}: the genes of {', '.join(objects)} differ. Report this.")
    names = [f"{name}_{cell}" for part, name in zip(parts, objects, strict=True) for cell in part.obs_names]
    matrix = sparse.vstack([part.X for part in parts]).tocsr()
    return AnnData(matrix, pd.DataFrame(index=names), parts[0].var)
