"""Matrices of counts: every index is checked before scipy trusts it, then they are brought into one form."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from zeroshot.data.error import DataError

# float32 holds every integer up to here; a larger count would be changed by the conversion.
LARGEST_COUNT = 2**24
# The same of float16: above it, whoever wrote the file has already rounded.
LARGEST_HALF = 2**11
# log1p of any real count is below 20; non-integers that all lie below are taken for logarithms.
LARGEST_LOGARITHM = 20


def counts(
    values: Any,
    name: str,
    other_counts: Callable[[], list[str]] = list,
    *,
    columns: np.ndarray | None = None,
    as_given: bool = False,
) -> sparse.csr_matrix:
    """Raw counts as CSR float32, exact, indices sorted, entries of the same place added, no stored zeros.

    Parameters
    ----------
    values
        (cells, genes), sparse or dense; never changed.
    name
        Names the data in messages.
    other_counts
        Called when these are no counts: names places of the same file that hold some.
    columns
        (genes,) True for the columns to keep; None for all.
    as_given
        Any finite non-negative values will do.

    Raises
    ------
    DataError
        If the matrix is damaged, or a value is not finite, negative, or (unless ``as_given``) not an integer
        or too large for float32.
    """
    matrix = as_csr(values, name)
    if columns is not None and not columns.all():
        matrix = matrix[:, columns]
    matrix.sort_indices()
    trouble = None
    if not matrix.has_canonical_format:  # entries of the same cell and gene mean their sum
        trouble = _unsummable(matrix.data, as_given=as_given)
        matrix.data = matrix.data.astype(np.float64)
        matrix.sum_duplicates()
    matrix.eliminate_zeros()
    trouble = trouble or problem(matrix.data, as_given=as_given)
    if trouble and as_given:
        raise DataError(
            f"{name}: {trouble} Finite, non-negative values are expected: name another matrix with counts=… "
            "(command line: --counts)."
        )
    if trouble:
        places = other_counts()
        remedy = (
            f"Integers were found in {' and '.join(places)}: pass counts={places[0]!r} "
            f"(command line: --counts {places[0]})."
            if places
            else "Pass counts=… (command line: --counts) to name the matrix that holds them, or store raw "
            "counts in layers['counts']."
        )
        raise DataError(f"{name}: {trouble} Raw counts (non-negative integers) are expected. {remedy}")
    matrix = matrix.astype(np.float32, copy=False)
    matrix.eliminate_zeros()  # what float32 rounds to zero
    return matrix


def problem(data: np.ndarray, *, as_given: bool = False) -> str | None:
    """What keeps these values from being counts, or any amounts at all, as a sentence, or None."""
    if data.dtype.kind not in "buif":
        return f"values are of type {data.dtype}."
    if not data.any():
        return "all values are zero."
    bad = ~np.isfinite(data)
    if bad.any():
        nan = int(np.isnan(data).sum())
        return f"{nan:,} values are NaN and {int(bad.sum()) - nan:,} infinite."
    smallest, largest = data.min(), data.max()
    if smallest < 0:
        return f"values are negative (smallest {smallest:g}), so they look scaled or centred."
    if as_given:
        highest = float(np.finfo(np.float32).max)
        return f"the largest value, {largest:g}, is beyond float32." if largest > highest else None
    broken = data != np.rint(data)
    if broken.any():
        example = data[np.argmax(broken)]
        share = (
            f"{int(broken.sum()):,} of {data.size:,} non-zero values are not integers (such as {example:g})"
        )
        if largest < LARGEST_LOGARITHM:
            return f"{share} and none exceeds {largest:.2f}, so the matrix looks log-normalised."
        return f"{share}, so the matrix looks normalised or corrected."
    if largest > LARGEST_COUNT:
        return _too_large(largest)
    return None


def _too_large(largest: float) -> str:
    return f"the largest value, {largest:g}, is beyond the integers that float32 holds ({LARGEST_COUNT:,})."


def _unsummable(data: np.ndarray, *, as_given: bool) -> str | None:
    """What keeps the parts of a sum from being added exactly, as a sentence, or None."""
    bad = ~np.isfinite(data)
    if bad.any():
        return problem(data)
    largest = max(abs(float(data.min())), abs(float(data.max())))
    if largest > LARGEST_COUNT and not as_given:
        return _too_large(largest)
    return None


def as_csr(values: Any, name: str) -> sparse.csr_matrix:
    """A copy as CSR, of a type that scipy computes with; duplicates and stored zeros stay.

    Raises
    ------
    DataError
        If it is no matrix of real numbers, or its indices do not fit its shape.
    """
    if sparse.issparse(values) and values.format in ("csr", "csc"):
        parts = (values.data, values.indices, values.indptr)
        return csr_of_parts(*parts, values.shape, values.format, name, copy=True)
    if sparse.issparse(values):
        return as_csr(values.tocsr(), name)
    if values is None:
        raise DataError(f"{name} has no matrix of counts.")
    dense = np.asarray(values)
    if dense.ndim != 2:
        raise DataError(
            f"{name}: the matrix has {dense.ndim} dimensions; cells x genes are expected. Write it again."
        )
    return sparse.csr_matrix(_real(dense, name))


def csr_of_parts(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    shape: tuple[int, int],
    form: str,
    name: str,
    *,
    copy: bool = False,
) -> sparse.csr_matrix:
    """The CSR matrix that three arrays stand for.

    Parameters
    ----------
    data, indices, indptr
        As in :class:`scipy.sparse.csr_matrix`, of any type; nothing about them is taken for granted.
    shape
        (cells, genes).
    form
        "csr" or "csc".
    name
        Names the data in messages.
    copy
        Whether the arrays must not be shared with the result.

    Raises
    ------
    DataError
        If they do not describe a matrix of this shape: scipy would read past their ends.
    """
    major, minor = shape if form == "csr" else shape[::-1]
    rows, columns = ("rows", "columns") if form == "csr" else ("columns", "rows")
    what = f"{name} is damaged: as a {form.upper()} matrix of {shape[0]:,} x {shape[1]:,}"
    remedy = (
        "Write the file again from its source, or name another matrix with counts=… (command line: --counts)."
    )
    for part, array in (("data", data), ("indices", indices), ("indptr", indptr)):
        if array.ndim != 1:
            raise DataError(f"{what}, its {part} must have one dimension, not {array.ndim}. {remedy}")
    for part, array in (("indices", indices), ("indptr", indptr)):
        if array.dtype.kind not in "iu":
            raise DataError(f"{what}, its {part} must be integers, not {array.dtype}. {remedy}")
    if len(indptr) != major + 1:
        other = " It would fit the other orientation, CSC or CSR." if len(indptr) == minor + 1 else ""
        raise DataError(
            f"{what}, its indptr must have {major + 1:,} entries, one more than {rows}, not {len(indptr):,}."
            f"{other} {remedy}"
        )
    if len(indices) != len(data):
        raise DataError(f"{what}, it has {len(data):,} values but {len(indices):,} indices. {remedy}")
    if indptr[0] != 0 or indptr[-1] != len(data):
        raise DataError(
            f"{what}, its indptr must go from 0 to {len(data):,}, the number of values, not from "
            f"{indptr[0]:,} to {indptr[-1]:,}. {remedy}"
        )
    if (indptr[1:] < indptr[:-1]).any():
        raise DataError(f"{what}, its indptr must not decrease. {remedy}")
    if len(indices) and (indices.min() < 0 or indices.max() >= minor):
        wrong = int(indices.min()) if indices.min() < 0 else int(indices.max())
        raise DataError(
            f"{what}, its indices must name {columns} from 0 to {minor - 1:,}, but one is {wrong:,}. {remedy}"
        )
    # All of them lie in range now, so that the types scipy computes with hold them.
    wide = np.int32 if max(len(data), *shape) < 2**31 else np.int64
    index = (indices.astype(wide, copy=copy), indptr.astype(wide, copy=copy))
    kind = sparse.csr_matrix if form == "csr" else sparse.csc_matrix
    matrix = kind((_real(data, name), *index), shape=shape, copy=copy)
    matrix.check_format(full_check=True)
    return matrix.tocsr()


def _real(data: np.ndarray, name: str) -> np.ndarray:
    """The same real numbers in this machine's byte order, of a type that scipy adds and compares."""
    kind, size = data.dtype.kind, data.dtype.itemsize
    if kind == "b":
        return data.astype(np.uint8)
    if kind not in "uif":
        raise DataError(
            f"{name}: values are of type {data.dtype}. Real numbers are expected: write the matrix again."
        )
    if kind == "f" and size == 2:
        data = data.astype(np.float32)
        largest = data.max(initial=0)
        if LARGEST_HALF < largest < np.inf and (data == np.rint(data)).all():
            raise DataError(
                f"{name}: counts up to {largest:g} are stored as float16, which rounds them above "
                f"{LARGEST_HALF:,}. Write them again as float32 or as integers."
            )
        return data
    if kind == "f" and size > 8:
        return data.astype(np.float64)
    return data.astype(data.dtype.newbyteorder("="), copy=False)
