"""SCimilarity: a perceptron over log-normalised counts, trained to keep cells of a type together.

The released checkpoint is read as it is; the network is native.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear
from zeroshot.models.expressed_genes import draw_first_layer, sum_over_genes, tokenizer_of_values
from zeroshot.models.networks import (
    genes_of,
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.untrained import fill_uniform
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import REMEDY
from zeroshot.tokens.genes import over_symbols
from zeroshot.tokens.sequences import Tokenizer

PACKAGES = ("numpy", "pandas", "scipy", "torch")

_TARGET_SUM = 1e4


@dataclass(frozen=True, kw_only=True)
class Scimilarity:
    """The output of the encoder, of length one.

    Attributes
    ----------
    checkpoint
        Roles "weights" (``encoder.ckpt``) and "vocabulary" (``gene_order.tsv``, one symbol a line).
    architecture
        ``depth`` (hidden layers), ``hidden`` (their width) and ``dim``: makes the model an untrained one, its
        weights drawn by the seed.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Heimberg et al. 2025; Genentech/scimilarity at 050c00b: cell_embedding.py, nn_models.py, and utils.py for
    the alignment of genes and the normalisation after it. Read there, not executed: no output of the
    reference was at hand to compare with.

    Differs
    -------
    Half of the genes of the data set have to be known; upstream asks for 5,000 genes. Genes of one name are
    added up; upstream asks for unique names. Residual connections, which upstream can be asked for and does
    not store in its files, are not computed.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what gives the values of any rows. Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary, heading=False)
        counts, overlap = over_symbols(cells.counts, cells.genes, genes, "SCimilarity")
        values = log_normalized(counts)
        return tokenizer_of_values(values, counts, None if self.vocabulary == "data-set" else overlap)

    def network(self, cells: Cells, seed: int) -> "ScimilarityNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If genes and weights do not belong together.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary, heading=False)
        if self.architecture is not None:
            hidden = [self.architecture["hidden"]] * self.architecture["depth"]
            widths = (len(genes), *hidden, self.architecture["dim"])
            return untrained_network(
                partial(ScimilarityNetwork, widths), partial(_draw, genes=genes, seed=seed)
            )
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        widths = _widths(state, path)
        require_genes(len(genes), widths[0], self.checkpoint)
        state[_GENES] = state[_GENES].T.contiguous()
        return trained_network(partial(ScimilarityNetwork, widths), state, rename, (), path)


class ScimilarityNetwork(nn.Module):
    """Hidden layers (linear, batch norm with its stored statistics, PReLU) and a linear one.

    Parameters
    ----------
    widths
        Genes, widths of the hidden layers, width of the embedding.

    Source
    ------
    Heimberg et al. 2025; Encoder of nn_models.py at 050c00b.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        n_genes, *hidden, dim = widths
        self.genes = nn.Parameter(torch.empty(n_genes, hidden[0]))
        self.bias = nn.Parameter(torch.empty(hidden[0]))
        self.linears = nn.ModuleList(Linear(*sizes) for sizes in pairwise(hidden))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in hidden)
        self.activations = nn.ModuleList(nn.PReLU() for _ in hidden)
        self.last = Linear(hidden[-1], dim)

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 rows of length one.

        Parameters
        ----------
        ids, values
            (cells, tokens) expressed genes and their values.
        lengths
            (cells,) tokens that are no padding.
        """
        hidden = self._activate(sum_over_genes(ids, values, lengths, self.genes) + self.bias, 0)
        for place, linear in enumerate(self.linears, start=1):
            hidden = self._activate(linear(hidden), place)
        return nn.functional.normalize(self.last(hidden).float(), dim=1)

    def _activate(self, hidden: torch.Tensor, place: int) -> torch.Tensor:
        return self.activations[place](self.norms[place](hidden))


def log_normalized(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """(cells, genes) log1p of counts scaled to 10,000 per cell over the genes of the vocabulary, float32."""
    totals = np.asarray(counts.sum(axis=1)).ravel()
    factors = np.divide(_TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
    return counts.multiply(factors[:, None]).tocsr().astype(np.float32).log1p()


_GENES = "network.0.1.weight"


def _widths(state: Mapping[str, torch.Tensor], path: Path) -> tuple[int, ...]:
    """Genes, hidden widths and width of the embedding, from the shapes of a released state."""
    depth = sum(key.endswith(".running_mean") for key in state)
    names = [*(f"network.{place}.1.weight" for place in range(max(depth, 1))), f"network.{depth}.weight"]
    absent = [name for name in names if name not in state or state[name].ndim != 2]
    if absent:
        raise WeightsError(f"{path} lacks {', '.join(absent)}: it is not an encoder of SCimilarity. {REMEDY}")
    return (state[names[0]].shape[1], *(len(state[name]) for name in names))


_PARTS = {"2": "norms", "3": "activations"}  # 0 is dropout, 1 the linear layer


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing.

    The matrix of the first layer is expected with a row for each gene.
    """
    match key.split("."):
        case ["network", "0", "1", kind]:
            return {"weight": "genes"}.get(kind, kind)
        case ["network", place, "1", kind] if place.isdecimal():
            return f"linears.{int(place) - 1}.{kind}"
        case ["network", place, part, kind] if part in _PARTS:
            return f"{_PARTS[part]}.{place}.{kind}"
        case ["network", _, kind]:
            return f"last.{kind}"
    return None


def _draw(network: ScimilarityNetwork, genes: list[str], seed: int) -> None:
    """Linear layers as torch draws them, a gene's weights by its name; PReLU with a slope of a quarter."""
    fill_uniform(network, seed)
    draw_first_layer(network.genes, network.bias, genes, seed)
    for norm, activation in zip(network.norms, network.activations, strict=True):
        norm.reset_parameters()
        nn.init.constant_(activation.weight, 0.25)
