"""What a reader of a user's file has to know of counts that may not be what they are taken for."""

import numpy as np
import pandas as pd
from scipy import sparse

from zeroshot.tokens.genes import ensembl_id

# Human genes that hardly any matrix lacks; names of cells are none of them.
COMMON_GENES = frozenset({"ACTB", "B2M", "EEF1A1", "GAPDH", "MALAT1", "RPLP0", "RPS3", "TMSB4X", "TUBA1B"})
# Of as many it is seen whether they are Ensembl ids.
FIRST_NAMES = 1000
# Columns of obs in which scanpy, Seurat, CELLxGENE and others keep the counts of a cell over all genes.
DEPTH_COLUMNS = ("total_counts", "n_counts", "nCount_RNA", "nUMI", "n_umis", "total_UMIs", "sum")
# Of half of the cells: more than what a filter of rare genes takes away.
LEAST_SHARE_LACKING = 0.05
# Stored values in succession; a block of a disk or a page of memory has more.
ZEROS_OF_A_HOLE = 256
# One may be a count.
LEAST_AT_LIMIT = 2
# Depths of real cells differ by more, those of values that were normalised and rounded by less.
LARGEST_RATIO_OF_EQUAL_TOTALS = 1.2
# Fewer cells may be that much alike by chance.
FEWEST_CELLS = 20


def genes_among(cells: pd.Index) -> list[str]:
    """The first names of cells that are genes, if so many are that the matrix must be transposed."""
    names = [str(name) for name in cells]
    common = [name for name in names if name.upper() in COMMON_GENES]
    first = names[:FIRST_NAMES]
    ids = [name for name in first if ensembl_id(name)]
    return common[:3] if len(common) > 2 else ids[:3] if len(ids) > len(first) / 2 else []


def of_places(matrix: sparse.csr_matrix | np.ndarray) -> list[str]:
    """A sentence on values of the same cell and gene, in a matrix as it was stored."""
    if not sparse.issparse(matrix) or matrix.has_canonical_format:
        return []
    parts = np.ones(matrix.nnz), matrix.indices, matrix.indptr
    places = sparse.csr_matrix(parts, shape=matrix.shape, copy=True)
    places.sum_duplicates()
    repeated = matrix.nnz - places.nnz
    return [f"{repeated:,} values share cell and gene with another one: they are added up."] * (repeated > 0)


def of_zeros(matrix: sparse.csr_matrix | np.ndarray) -> list[str]:
    """A sentence on many zeros in succession among the stored values of a sparse matrix."""
    if not sparse.issparse(matrix) or np.count_nonzero(matrix.data) == matrix.nnz:
        return []
    ends = np.r_[-1, np.flatnonzero(matrix.data), matrix.nnz]
    longest = int(np.diff(ends).max()) - 1
    if longest < ZEROS_OF_A_HOLE:
        return []
    return [
        f"{longest:,} values in succession are stored as zeros, as after a download that was interrupted. If "
        "the matrix was not written so, download or write the file again."
    ]


def of_limits(matrix: sparse.csr_matrix | np.ndarray) -> list[str]:
    """A sentence on counts at the limit of the type of numbers that a matrix was stored in."""
    values = matrix.data if sparse.issparse(matrix) else matrix
    if values.dtype.kind not in "iu":
        return []
    largest = np.iinfo(values.dtype).max
    at_limit = int(np.count_nonzero(values == largest))
    if at_limit < LEAST_AT_LIMIT:
        return []
    return [
        f"{at_limit:,} values are {largest:,}, the most that {values.dtype} holds: larger counts may have "
        "been cut off. If so, write the file again with a larger type."
    ]


def of_counts(matrix: sparse.csr_matrix) -> list[str]:
    """Sentences on integers (cells, genes) that look as if they were not counted."""
    remedy = (
        "If these are no raw counts, name the matrix of raw counts with counts=… (command line: --counts)."
    )
    if matrix.data.max() == 1:
        return [f"No count is above 1, as after binarising. {remedy}"]
    totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    if len(totals) >= FEWEST_CELLS and totals.max() < LARGEST_RATIO_OF_EQUAL_TOTALS * totals.min():
        return [
            f"The counts of each cell add up to {totals.min():,.0f} to {totals.max():,.0f}, as after "
            f"normalising and rounding, or drawing the same number. {remedy}"
        ]
    return []


def of_depth(obs: pd.DataFrame) -> list[str]:
    """A sentence where a column shows that a matrix lacks genes; ``library_size`` is its sum."""
    for column in (name for name in DEPTH_COLUMNS if name in obs and obs[name].dtype.kind in "iuf"):
        depths = obs[column].to_numpy(np.float64, na_value=np.nan)
        lacking = 1 - obs["library_size"].to_numpy() / np.maximum(depths, 1)
        share = float(np.median(lacking))
        if np.isfinite(lacking).all() and lacking.min() >= 0 and share > LEAST_SHARE_LACKING:
            return [
                f"By obs[{column!r}] the matrix lacks {share:.0%} of the counts of a cell (median), as after "
                "leaving out genes. To normalise by all counts, name the column with "
                f"library_size={column!r} (command line: --library-size-key {column})."
            ]
    return []


def of_design(labels: pd.Categorical, batches: pd.Categorical) -> list[str]:
    """A sentence where batches cannot be told from labels; both (cells,), and none missing."""
    batches_of_label = pd.Series(batches).groupby(np.asarray(labels.codes)).nunique()
    if len(batches.categories) > 1 and batches_of_label.max() == 1:
        return [
            "No label is in more than one batch: differences of batches cannot be told from those of labels, "
            "so batch scores say nothing, and a correction of batches removes labels."
        ]
    return []
