"""CellLM: a Performer over the expressed genes of a cell, each with its value in whole bins.

The released checkpoint is read as it is; the network is native.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.networks import (
    genes_of,
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.performer import Performer
from zeroshot.models.scbert import (
    HEAD_DIM,
    HIGHEST_BIN,
    IGNORED,
    log2_normalized,
    read_sizes,
    rename,
)
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import REMEDY
from zeroshot.tokens.genes import note_silent_cells, over_symbols
from zeroshot.tokens.sequences import Tokenizer, Tokens

PACKAGES = ("anndata", "numpy", "pandas", "scanpy", "scipy", "torch")

# Tokens; genes, ``cls`` and padding have positions of their own.
_CLS, _PAD = HIGHEST_BIN + 1, HIGHEST_BIN + 2


@dataclass(frozen=True, kw_only=True)
class CellLm:
    """The ``cls`` token after the last layer.

    Attributes
    ----------
    checkpoint
        Roles "weights" and "vocabulary" (symbols in the order of ``gene2vec_19379_512.npy``).
    architecture
        ``dim``, ``depth`` and ``heads``: makes the model an untrained one, its weights drawn by the seed.
    padding
        "reference": every cell is filled up to ``max_tokens``, and the keys of padding take part in the
        normalisation of attention, as upstream. "left-out": padding takes no part.
    max_tokens
        Longest sequence, ``cls`` included; genes at the end of the vocabulary are cut.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Zhao et al. 2023; PharMolix/OpenBioMed at ce3ccab, models/cell/performer_celllm.py. Read there, not
    executed: no output of the reference was at hand to compare with.

    Differs
    -------
    Upstream takes the matrix of a prepared file as it is, and does not say how it was prepared: here counts
    are prepared as for scBERT, whose bins these are. The largest exponent of the keys is taken of each cell
    by itself, as upstream does with one cell a call. Padding is computed once and counted, not repeated.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    padding: Literal["reference", "left-out"] = "reference"
    max_tokens: int = 6000
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.padding not in ("reference", "left-out"):
            raise ValueError(f"unknown padding {self.padding!r}: reference or left-out")
        if self.max_tokens < 2:
            raise ValueError(f"max_tokens is {self.max_tokens}: cls and a gene need 2")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what bins the values of any rows. Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        counts, overlap = over_symbols(cells.counts, cells.genes, genes, "CellLM")
        logarithms = log2_normalized(counts.astype(np.float32))
        return Tokenizer(
            lambda rows: expressed_bins(logarithms[rows], self.max_tokens),
            pad_id=len(genes) + 1,
            pad_value=_PAD,
            overlap=None if self.vocabulary == "data-set" else overlap,
            notes=note_silent_cells(counts),
        )

    def network(self, cells: Cells, seed: int) -> "CellLmNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If genes and weights do not belong together.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        filled = self.max_tokens if self.padding == "reference" else None
        build = partial(CellLmNetwork, n_genes=len(genes), filled=filled)
        if self.architecture is not None:
            draw = partial(_draw, genes=genes, seed=seed)
            return untrained_network(partial(build, self.architecture), draw)
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        sizes = _sizes(state, path)
        require_genes(len(genes), len(state["pos_emb.emb.weight"]) - 2, self.checkpoint)
        return trained_network(partial(build, sizes), state, rename, IGNORED, path)


class CellLmNetwork(nn.Module):
    """Bins and genes embedded and summed, a Performer, and a norm.

    Parameters
    ----------
    config
        ``dim``, ``depth``, ``heads`` and, if not the usual, ``head_dim`` and ``n_features``.
    n_genes
        Genes of the vocabulary; positions of ``cls`` and of padding come after them.
    filled
        Tokens up to which every cell is filled with padding that counts as keys; None if none counts.

    Source
    ------
    Zhao et al. 2023; PerformerLM_CellLM of performer_celllm.py at ce3ccab.
    """

    def __init__(self, config: Mapping[str, Any], *, n_genes: int, filled: int | None) -> None:
        super().__init__()
        self.filled = filled
        self.token_emb = nn.Embedding(_PAD + 1, config["dim"])
        self.pos_emb = nn.Embedding(n_genes + 2, config["dim"])
        self.performer = Performer(
            config["depth"], config["dim"], config["heads"], config.get("head_dim", HEAD_DIM),
            n_features=config.get("n_features"),
        )  # fmt: skip
        self.norm = nn.LayerNorm(config["dim"])

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32.

        Parameters
        ----------
        ids, values
            (cells, tokens) position and bin of each token, ``cls`` first.
        lengths
            (cells,) tokens that are no padding.
        """
        bins, n_tokens = values.long(), ids.shape[1]
        multiplicity = (torch.arange(n_tokens, device=ids.device) < lengths[:, None]).to(values.dtype)
        if self.filled is not None:  # all tokens of padding are the same: one stands for them
            ids = nn.functional.pad(ids, (0, 1), value=self.pos_emb.num_embeddings - 1)
            bins = nn.functional.pad(bins, (0, 1), value=_PAD)
            missing = (self.filled - lengths).clamp(min=0).to(values.dtype)
            multiplicity = torch.cat([multiplicity, missing[:, None]], dim=1)
        hidden = self.token_emb(bins) + self.pos_emb(ids)
        return self.norm(self.performer(hidden, multiplicity, bins == _PAD)[:, 0]).float()


def expressed_bins(logarithms: sparse.csr_matrix, max_tokens: int) -> Tokens:
    """``cls``, then whole bins 0 to 5 of the expressed genes in the order of the vocabulary."""
    n_expressed = np.diff(logarithms.indptr).astype(np.int64)
    fitting = np.minimum(n_expressed, max_tokens - 1)
    offsets = np.concatenate([[0], np.cumsum(fitting + 1)])
    place = np.arange(logarithms.nnz) - np.repeat(logarithms.indptr[:-1], n_expressed)
    inside = place < np.repeat(fitting, n_expressed)
    targets = (np.repeat(offsets[:-1], n_expressed) + 1 + place)[inside]
    ids = np.full(offsets[-1], logarithms.shape[1], np.int64)
    bins = np.full(offsets[-1], _CLS, np.float32)
    ids[targets] = logarithms.indices[inside]
    bins[targets] = np.floor(np.minimum(logarithms.data[inside], HIGHEST_BIN))
    return Tokens(ids, bins, offsets, n_expressed - fitting)


def _sizes(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, int]:
    sizes = read_sizes(state, path, "CellLM")
    if sizes["num_tokens"] != _PAD + 1 or sizes["heads"] * sizes["head_dim"] != sizes["width"]:
        raise WeightsError(
            f"{path} has {sizes['num_tokens']} tokens and heads of {sizes['head_dim']} in a width of "
            f"{sizes['width']}: expected {_PAD + 1} tokens, and heads that divide it. {REMEDY}"
        )
    return sizes


def _draw(network: CellLmNetwork, genes: list[str], seed: int) -> None:
    """Normal weights, zero biases; a gene is drawn by its name, ``cls`` has ones, padding zeros."""
    fill_normal(network, 0.02, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.pos_emb.weight[:-2] = torch.from_numpy(
            gene_rows(genes, network.pos_emb.weight.shape[1], seed)
        )
        network.pos_emb.weight[-2], network.pos_emb.weight[-1] = 1, 0
        network.token_emb.weight.normal_(generator=generator)
        for layer in network.performer.layers:
            layer.projection.normal_(generator=generator)
