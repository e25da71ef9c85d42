"""What a model learnt to predict in pretraining, scored beside baselines that know nothing of biology.

scGPT predicts the expression bin of each gene, Geneformer the gene at each rank. Sequences are ragged as in
a CSR matrix: one flat array over the tokens of all cells, and `offsets` (cells + 1,) that say where each cell
starts. These functions are not registered as metrics of an embedding: they read other arrays.
"""

from .positions import choose_masked, gene_positions
from .ranks import (
    correlation_summary,
    gene_recovery,
    gene_recovery_table,
    joined_ranks,
    mean_rank_correlation,
    mean_ranks,
    rank_correlation,
    scaled_ranks,
)
from .values import (
    gene_mean,
    grand_mean,
    joint_counts,
    value_error_table,
    value_errors,
)

__all__ = [
    "choose_masked",
    "correlation_summary",
    "gene_mean",
    "gene_positions",
    "gene_recovery",
    "gene_recovery_table",
    "grand_mean",
    "joined_ranks",
    "joint_counts",
    "mean_rank_correlation",
    "mean_ranks",
    "rank_correlation",
    "scaled_ranks",
    "value_error_table",
    "value_errors",
]
