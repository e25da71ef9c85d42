"""Ablations: one thing of an embedding changed at a time, on the same cells, scored and compared.

*Conventions* are how published recipes use the weights of a model. *Sensitivity* is what less depth, fewer
genes, another layer or another number of variable genes do. A unit is one model on one data set; its tables
are files, and chapters read those of all units.
"""

from .comparison import Variant, compare
from .conventions import Convention, conventions, describe
from .effects import (
    clear_of_chance,
    convention_table,
    effects,
    failure_list,
    overlap_curves,
    score_curves,
    tabulate,
    verdicts,
)
from .parameters import effective, limit_tokens
from .sensitivity import COUNTS_KEPT, FITTED, GENES_DROPPED, VARIABLE_GENES, readouts
from .tables import TABLES, Tables, concatenate, folder, load, read, write
from .units import (
    FLOOR,
    Unit,
    compute,
    compute_unit,
    n_cells,
    omitted_models,
    raise_if_of_machine,
    study_units,
)

__all__ = [
    "COUNTS_KEPT",
    "FITTED",
    "FLOOR",
    "GENES_DROPPED",
    "TABLES",
    "VARIABLE_GENES",
    "Convention",
    "Tables",
    "Unit",
    "Variant",
    "clear_of_chance",
    "compare",
    "compute",
    "compute_unit",
    "concatenate",
    "convention_table",
    "conventions",
    "describe",
    "effective",
    "effects",
    "failure_list",
    "folder",
    "limit_tokens",
    "load",
    "n_cells",
    "omitted_models",
    "overlap_curves",
    "raise_if_of_machine",
    "read",
    "readouts",
    "score_curves",
    "study_units",
    "tabulate",
    "verdicts",
    "write",
]
