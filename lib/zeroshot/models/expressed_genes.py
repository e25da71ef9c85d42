"""Cells as their expressed genes with values, and the first layer of a perceptron over them.

A linear layer over all genes, of which most are zero, is the sum over those that are not.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from zeroshot.models.untrained import gene_rows
from zeroshot.tokens.genes import note_silent_cells
from zeroshot.tokens.sequences import Tokenizer, Tokens


def expressed_genes(values: sparse.csr_matrix) -> Tokens:
    """What each cell's matrix stores, zeros included, in the order of the vocabulary."""
    offsets = values.indptr.astype(np.int64)
    return Tokens(values.indices.astype(np.int64), values.data, offsets, np.zeros(values.shape[0], np.int64))


def tokenizer_of_values(
    values: sparse.csr_matrix, counts: sparse.csr_matrix, overlap: pd.DataFrame | None
) -> Tokenizer:
    """What gives the expressed genes of any rows, with their values.

    Parameters
    ----------
    values, counts
        (cells, genes) over the vocabulary.
    overlap
        How the genes of the data set were matched to it; None where they are the vocabulary.
    """
    return Tokenizer(
        lambda rows: expressed_genes(values[rows]),
        pad_id=0,
        overlap=overlap,
        notes=note_silent_cells(counts),
    )


def sum_over_genes(
    ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """(cells, dim) sum of the rows of each cell's genes times their values: dense values @ rows.

    Parameters
    ----------
    ids, values
        (cells, tokens) expressed genes and their values.
    lengths
        (cells,) tokens that are no padding.
    rows
        (genes, dim).
    """
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)[:-1]])
    real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    weights = values[real].to(rows.dtype)
    return nn.functional.embedding_bag(ids[real], rows, starts, mode="sum", per_sample_weights=weights)


def draw_first_layer(rows: nn.Parameter, bias: nn.Parameter, genes: Sequence[str], seed: int) -> None:
    """Fill a first layer as torch draws a linear one, the weights of a gene by its name.

    Parameters
    ----------
    rows, bias
        (genes, width) and (width,).
    genes
        Names, in the order of the rows.
    seed
        The same seed and name give the same weights.
    """
    n_genes, width = rows.shape
    uniform = torch.from_numpy(gene_rows([*genes, "bias"], width, seed, normal=False))
    with torch.no_grad():
        first = (2 * uniform - 1) * n_genes**-0.5
        rows.copy_(first[:-1])
        bias.copy_(first[-1])
