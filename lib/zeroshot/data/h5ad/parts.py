"""Counts, tables and arrays of an .h5ad file, each checked before scipy or pandas trusts it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.columns import texts_of
from zeroshot.data.counts import csr_of_parts, problem
from zeroshot.data.error import DataError
from zeroshot.data.features import ENSEMBL_COLUMNS, KIND_COLUMNS, SYMBOL_COLUMNS
from zeroshot.data.h5ad.file import attribute, elements, open_h5ad, origin, reading, require_memory

if TYPE_CHECKING:
    import h5py

# Values of a matrix that are added up at once, where it is not kept.
VALUES_AT_ONCE = 2**20
NULLABLE = ("nullable-integer", "nullable-boolean", "nullable-string-array")


def read_h5ad_parts(path: Path, counts_at: str | None = None) -> AnnData:
    """Counts, ``obs`` and ``var`` of an .h5ad file; nothing else is read.

    Parameters
    ----------
    path
        The file.
    counts_at
        "X", "layers/<name>", the name of a layer, or "raw". None looks for them: ``layers/counts`` if
        there is one, else ``X``, else, where ``X`` holds no counts, ``raw``.

    Returns
    -------
    AnnData
        ``uns`` has what to say about the choice (``notes``) and, for a file that holds what
        :func:`zeroshot.data.load` returned, the hash that it had then (``content_hash``), else None.

    Raises
    ------
    DataError
        If the file is missing, truncated, locked, not HDF5, not AnnData, or damaged, if it takes data from
        other files, or has nothing at ``counts_at``.
    """
    with open_h5ad(path) as file, reading(path, "the file"):
        if counts_at is not None:
            return _read_at(file, path, _place(file, counts_at))
        at = next((place for place in ("layers/counts", "X", "raw/X") if place in file), "X")
        parts = _read_at(file, path, at)
        if at == "raw/X":
            parts.uns["notes"] = ["The counts of raw are used: there is no X."]
        elif at == "X" and "raw/X" in file and (why := _trouble(parts.X)) is not None:
            raw = _read_at(file, path, "raw/X")
            if _trouble(raw.X) is None:
                raw.uns["notes"] = [f"The counts of raw are used: X holds none ({why.rstrip('.')})."]
                return raw
        parts.uns["notes"] += _other_counts(file, path, at, parts)
        return parts


def places_with_integers(path: Path) -> list[str]:
    """Matrices of an .h5ad file that hold non-negative integers, as ``counts`` names them."""
    places = []
    with open_h5ad(path) as file:
        for place in matrices(file):
            at = "raw/X" if place == "raw" else place
            try:
                shape = (
                    _length(file, path, "obs"),
                    _length(file, path, "raw/var" if place == "raw" else "var"),
                )
                if _trouble(_read_matrix(file, path, at, shape)) is None:
                    places.append(place)
            except DataError:  # a matrix that cannot be read is none to recommend
                continue
    return places


def read_obs(file: "h5py.File", path: Path) -> pd.DataFrame:
    """``obs`` of an open file, one row per cell.

    Raises
    ------
    DataError
        If it is missing, or its columns cannot be read or differ in length.
    """
    return _read_table(file, path, "obs")


def read_array(file: "h5py.File", path: Path, place: str) -> np.ndarray:
    """(n_cells, n_dims) real numbers of an array, sparse matrix or table of an open file, as obsm/X_pca.

    Raises
    ------
    DataError
        If there is something else, or not one row for each cell.
    """
    import h5py

    n_cells = _length(file, path, "obs")
    node = file[place]
    with reading(path, place):
        if isinstance(node, h5py.Group) and attribute(node, "encoding-type") == "dataframe":
            table = _read_table(file, path, place)
            if not table.index.equals(_read_table(file, path, "obs").index):
                raise DataError(f"{path}: {place} names other cells than obs, or in another order.")
            wrong = [str(column) for column in table if table[column].dtype.kind not in "buif"]
            if wrong:
                raise DataError(f"{path}: columns {', '.join(wrong[:3])} of {place} are not numbers.")
            values = table.to_numpy(np.float64, na_value=np.nan)
        elif isinstance(node, h5py.Group):
            shape = _shape(node)
            matrix = _read_matrix(file, path, place, (n_cells, shape[1] if len(shape) == 2 else 0))
            # Wide, because entries of the same place are added.
            values = matrix.astype(np.float64).toarray()
            values = values.astype(matrix.dtype) if matrix.dtype.kind == "f" else values
        else:
            values = _read_dense(node, f"{path}: {place}")
    if values.ndim != 2 or values.shape[1] == 0:
        raise DataError(f"{path}: {place} has shape {values.shape}; cells x dimensions are expected.")
    if len(values) != n_cells:
        raise DataError(f"{path}: {place} has {len(values):,} rows, but obs has {n_cells:,} cells.")
    # Integers and half precision would overflow in what is computed from them.
    single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return values.astype(np.float32 if single else np.float64, copy=False)


def _other_counts(file: "h5py.File", path: Path, at: str, used: AnnData) -> list[str]:
    """Sentences on other matrices with counts, where nobody has chosen between them and those in use."""
    notes = []
    for other, genes in (("X", "var"), ("raw/X", "raw/var")):
        if other == at or other not in file:
            continue
        try:
            total, n_genes = _total_of_counts(file[other]), _length(file, path, genes)
        except (DataError, OSError, RuntimeError):  # what cannot be read is no choice
            continue
        if total is not None and total != used.X.sum(dtype=np.float64):
            name = other.removesuffix("/X")
            notes.append(
                f"The counts of {at} are used, those of {used.n_vars:,} genes; {name} holds others, of "
                f"{n_genes:,} genes: counts={name!r} (command line: --counts {name}) takes them."
            )
    return notes


def _total_of_counts(node: "h5py.Dataset | h5py.Group") -> float | None:
    """Sum of the values of a matrix, read piece by piece; None where one cannot be a count."""
    import h5py

    data = node.get("data") if isinstance(node, h5py.Group) else node
    if not isinstance(data, h5py.Dataset) or not data.size or data.dtype.kind not in "buif":
        return None
    step = max(1, VALUES_AT_ONCE * len(data) // data.size)
    total = 0.0
    for start in range(0, len(data), step):
        piece = data[start : start + step].astype(np.float64)
        if not np.isfinite(piece).all() or (piece < 0).any() or (piece != np.rint(piece)).any():
            return None
        total += float(piece.sum())
    return total


# -- what it holds ----------------------------------------------------------------------------------


def matrices(file: "h5py.File") -> list[str]:
    """Matrices with the genes of ``var`` or of ``raw``, as ``counts`` names them: X, layers/<name>, raw."""
    return (
        ["X"] * ("X" in file)
        + ["layers/" + name for name in elements(file, "layers")]
        + ["raw"] * ("raw/X" in file)
    )


def _place(file: "h5py.File", counts_at: str) -> str:
    """Path inside the file of what ``counts`` names."""
    at = str(counts_at)
    places = matrices(file)
    at = "raw" if at == "raw/X" else f"layers/{at}" if f"layers/{at}" in places and at not in places else at
    return "raw/X" if at == "raw" else at


def _read_at(file: "h5py.File", path: Path, at: str) -> AnnData:
    places = matrices(file)
    missing = [part for part in ("obs", "var") if part not in file]
    if ("raw" if at == "raw/X" else at) not in places:
        missing.append(at)
    if missing:
        raise DataError(
            f"{path} has no {' and no '.join(missing)}. {origin(file)}It holds "
            f"{', '.join(places) or 'no matrix'}: choose with counts=… (command line: --counts)."
        )
    obs = _read_table(file, path, "obs")
    var = _read_table(file, path, "var")
    if at == "raw/X":
        var = _raw_var(file, path, var)
    matrix = _read_matrix(file, path, at, (len(obs), len(var)))
    with reading(path, at):
        return AnnData(matrix, obs, var, uns={"notes": [], "content_hash": _hash(file)})


def _hash(file: "h5py.File") -> str | None:
    import h5py

    node = file.get("uns/dataset/content_hash")
    if not isinstance(node, h5py.Dataset) or node.shape != () or not h5py.check_string_dtype(node.dtype):
        return None
    return node.asstr()[()]


def _raw_var(file: "h5py.File", path: Path, var: pd.DataFrame) -> pd.DataFrame:
    """``raw/var``, with what only ``var`` says about the same genes: ids, symbols and kinds of features."""
    if "raw/var" not in file:
        raise DataError(f"{path} has no raw/var, so the genes of raw are unknown. Choose another matrix.")
    raw = _read_table(file, path, "raw/var")
    if var.index.is_unique:
        for column in (*ENSEMBL_COLUMNS, *SYMBOL_COLUMNS, *KIND_COLUMNS):
            if column in var and column not in raw:
                raw[column] = var[column].astype(object).reindex(raw.index)
    return raw


def _read_table(file: "h5py.File", path: Path, place: str) -> pd.DataFrame:
    """``obs``, ``var`` or another table, its index as text."""
    from anndata.io import read_elem

    n_rows = _length(file, path, place)
    group = file[place]
    columns = _columns(group, path, place)
    for column in columns:
        _require_column(group, column, n_rows, f"{path}: column {column!r} of {place}")
    with reading(path, place):
        table = read_elem(group)
        if not isinstance(table, pd.DataFrame) or len(table) != n_rows:
            raise DataError(f"{path}: {place} is not a table with {n_rows:,} rows. Write the file again.")
        table.index = pd.Index(texts_of(table.index, f"the index of {place}", str(path)), dtype=object)
        return table


def _length(file: "h5py.File", path: Path, place: str) -> int:
    """Rows of a table, by its index."""
    import h5py

    with reading(path, place):
        if place not in file:
            raise DataError(
                f"{path} has no {place}. {origin(file)}An .h5ad file written by anndata is expected."
            )
        group = file[place]
        if isinstance(group, h5py.Dataset):
            raise DataError(
                f"{path} was written by an anndata older than 0.7, or its {place} is damaged. Rewrite it "
                "once with anndata.read_h5ad(path).write_h5ad(new_path) and pass the new file."
            )
        index = attribute(group, "_index")
        node = group.get(index) if index else None
        if isinstance(node, h5py.Group) and attribute(node, "encoding-type") in NULLABLE:
            node = node.get("values")
        if not isinstance(node, h5py.Dataset) or node.shape is None or node.ndim != 1:
            raise DataError(
                f"{path}: {place} has no index of names ({index or 'none is named'}). Write it again."
            )
        require_memory(node, f"{path}: the index of {place}")
        return node.shape[0]


def _columns(group: "h5py.Group", path: Path, place: str) -> list[str]:
    with reading(path, f"the order of columns of {place}"):
        columns = [str(column) for column in np.atleast_1d(group.attrs["column-order"])]
        repeated = pd.Index(columns, dtype=object).duplicated()
        if repeated.any():
            name = columns[int(np.argmax(repeated))]
            raise DataError(f"{path}: several columns of {place} are named {name!r}. Rename all but one.")
        return columns


def _require_column(group: "h5py.Group", column: str, n_rows: int, what: str) -> None:
    """Refuse what anndata would spread over all rows, or fill with missing values, without a word."""
    import h5py

    node = group.get(column)
    parts = [node]
    if isinstance(node, h5py.Group):
        kind = attribute(node, "encoding-type")
        names = ["codes"] if kind == "categorical" else ["values", "mask"] if kind in NULLABLE else []
        parts = [node.get(name) for name in names]
    if not parts or not all(isinstance(part, h5py.Dataset) for part in parts):
        raise DataError(f"{what} is missing or no column. Write the file again, or without it.")
    for part in parts:
        if part.shape != (n_rows,):
            raise DataError(
                f"{what} has shape {part.shape}, but there are {n_rows:,} rows. Write the file again."
            )
        require_memory(part, what)


def _read_matrix(file: "h5py.File", path: Path, at: str, shape: tuple[int, int]) -> Any:
    """(cells, genes) of an open file, dense or CSR, of real numbers and exactly this shape."""
    import h5py

    what = f"{path}: {at}"
    with reading(path, at):
        node = file[at]
        if isinstance(node, h5py.Dataset):
            if node.shape != shape:
                raise DataError(
                    f"{what} has shape {node.shape}, but obs and var have {shape[0]:,} cells x {shape[1]:,} "
                    "genes. Write the file again, or name another matrix with counts=… (command line: "
                    "--counts)."
                )
            return _read_dense(node, what)
        form = (attribute(node, "encoding-type") or attribute(node, "h5sparse_format") or "").removesuffix(
            "_matrix"
        )
        if form not in ("csr", "csc"):
            raise DataError(
                f"{what} is of kind {form or 'unknown'!r}; an array, CSR or CSC matrix is expected. Write it "
                "as one, or name another matrix with counts=… (command line: --counts)."
            )
        if _shape(node) != shape:
            raise DataError(
                f"{what} is said to have shape {_shape(node)}, but obs and var have {shape[0]:,} cells x "
                f"{shape[1]:,} genes. Write the file again."
            )
        parts = []
        for name in ("data", "indices", "indptr"):
            part = node.get(name)
            if not isinstance(part, h5py.Dataset) or part.shape is None:
                raise DataError(f"{what} has no {name}, which a sparse matrix needs. Write the file again.")
            require_memory(part, f"{what}/{name}")
            parts.append(part)
        if parts[0].shape != parts[1].shape or parts[2].shape != (shape[form == "csc"] + 1,):
            # Read nothing: the sizes alone are wrong, and csr_of_parts says which.
            parts = [np.broadcast_to(np.zeros((), int), part.shape) for part in parts]
        return csr_of_parts(*(part[()] for part in parts), shape, form, what)


def _read_dense(node: "h5py.Dataset", what: str) -> np.ndarray:
    if node.shape is None or node.dtype.kind not in "buif":
        raise DataError(
            f"{what} holds values of type {node.dtype}; real numbers are expected. Write it again with such."
        )
    require_memory(node, what)
    return np.asarray(node[()])


def _shape(node: "h5py.Group") -> tuple[int, ...]:
    shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    values = np.asarray(() if shape is None or not hasattr(shape, "__len__") else shape)
    return tuple(int(value) for value in values) if values.dtype.kind in "iu" else ()


def _trouble(matrix: Any) -> str | None:
    """What keeps a matrix from being counts, as a sentence, or None."""
    return problem(matrix.data if sparse.issparse(matrix) else np.ravel(matrix))
