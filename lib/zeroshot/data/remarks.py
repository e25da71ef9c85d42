"""What a reader of a user's file has to know of counts that may not be what they are taken for."""

import numpy as np
import pandas as pd
from scipy import sparse

from zeroshot.tokens.genes import ensembl_id

# Human genes that hardly any matrix lacks; names of cells are none of them.
COMMON_GENES = frozenset({"ACTB", "B2M", "EEF1A1", "GAPDH", "MALAT1", "RPLP0", "RPS3", "TMSB4X", "TUBA1B"})
# Depths of real cells differ by more, those of values that were normalised and rounded by less.
LARGEST_RATIO_OF_EQUAL_TOTALS = 1.2
# Fewer cells may be that much alike by chance.
FEWEST_CELLS = 20


def genes_among(cells: pd.Index) -> list[str]:
    """The first names of cells that are genes, if so many are that the matrix must be transposed."""
    names = [str(name) for name in cells]
    common = [name for name in names if name.upper() in COMMON_GENES]
    ids = [name for name in names if ensembl_id(name)]
    return common[:3] if len(common) > 2 else ids[:3] if len(ids) > len(names) / 2 else []


def of_counts(matrix: sparse.csr_matrix) -> list[str]:
    """Sentences on integers (cells, genes) that look as if they were not counted."""
    remedy = "If they are no raw counts, name those with counts=… (command line: --counts)."
    if matrix.data.max() == 1:
        return [f"No count is above 1, as after binarising. {remedy}"]
    totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    if len(totals) >= FEWEST_CELLS and totals.max() < LARGEST_RATIO_OF_EQUAL_TOTALS * totals.min():
        return [
            f"The counts of each cell add up to {totals.min():,.0f} to {totals.max():,.0f}, as after "
            f"normalising and rounding, or drawing the same number. {remedy}"
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
