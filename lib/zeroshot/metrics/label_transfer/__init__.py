"""Labels carried over from labelled cells to others in an embedding, and how well that works.

These functions are not registered as metrics of an embedding: a query has no labels to score with, and scores
of few labels are curves over their number.
"""

from .few_labels import COLUMNS, DRAWS, PER_TYPE, few_label_scores
from .mapping import MAPPING_COLUMNS, mapping_scores
from .votes import N_NEIGHBORS, Transfer, transfer_labels

__all__ = [
    "COLUMNS",
    "DRAWS",
    "MAPPING_COLUMNS",
    "N_NEIGHBORS",
    "PER_TYPE",
    "Transfer",
    "few_label_scores",
    "mapping_scores",
    "transfer_labels",
]
