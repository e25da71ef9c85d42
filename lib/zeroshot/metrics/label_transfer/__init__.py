"""Labels carried over from labelled cells to others in an embedding, and how well that works.

These functions are not registered as metrics of an embedding: a query has no labels to score with, and scores
of few labels are curves over their number.
"""

from .votes import N_NEIGHBORS, Transfer, transfer_labels

__all__ = ["N_NEIGHBORS", "Transfer", "transfer_labels"]
