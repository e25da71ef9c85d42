"""Weights as they are before training, drawn by a seed: the controls of the trained models."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri
from torch import nn

from zeroshot.tokens.tokenizers import cell_keys, uniform


def gene_rows(names: Sequence[str], dim: int, seed: int, *, normal: bool = True) -> np.ndarray:
    """Embedding of each gene, a function of seed and name alone.

    Parameters
    ----------
    names
        (genes,) names of the entries of a vocabulary.
    dim
        Width.
    seed
        Of the model.
    normal
        Standard normal values; otherwise uniform ones in [0, 1).

    Returns
    -------
    numpy.ndarray
        (genes, dim) float32.
    """
    keys = cell_keys(pd.Index(names))[:, None]
    rows = np.empty((len(keys), dim), np.float32)
    for start in range(0, len(keys), 1024):  # the draws are float64: all at once they are most of the memory
        draws = uniform(seed, keys[start : start + 1024], np.arange(dim, dtype=np.uint64))
        rows[start : start + 1024] = ndtri(np.maximum(draws, 2.0**-54)) if normal else draws
    return rows


def fill_normal(module: nn.Module, spread: float, seed: int) -> None:
    """Draw weights of linear layers and embeddings from N(0, ``spread``²); biases 0, norms 1 and 0.

    Source
    ------
    transformers, ``BertPreTrainedModel._init_weights``.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, spread, generator=generator)
            else:
                parameter.fill_(1 if name.endswith("weight") else 0)


def fill_uniform(module: nn.Module, seed: int) -> None:
    """Draw linear layers as torch does, uniform within ±1/√inputs; norms 1 and 0.

    Source
    ------
    torch.nn.Linear.reset_parameters.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Linear):
                bound = part.in_features**-0.5
                for parameter in part.parameters(recurse=False):
                    parameter.uniform_(-bound, bound, generator=generator)
            elif isinstance(part, nn.LayerNorm):
                part.reset_parameters()
