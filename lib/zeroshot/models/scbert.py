"""scBERT: a Performer over all genes of its vocabulary, each with its value in whole bins.

The released checkpoint is read as it is; the network is native.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse
from torch import nn

from zeroshot.models import Cells, performer
from zeroshot.models.networks import (
    genes_of,
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.performer import KeyMaximum, Performer
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import REMEDY
from zeroshot.tokens.genes import note_silent_cells, over_symbols
from zeroshot.tokens.sequences import Tokenizer, Tokens

PACKAGES = ("numpy", "pandas", "scanpy", "scipy", "torch")

HIGHEST_BIN = 5
HEAD_DIM = 64


@dataclass(frozen=True, kw_only=True)
class ScBert:
    """Mean over all genes after the last layer, or the vector at the place that is appended.

    Attributes
    ----------
    checkpoint
        Roles "weights" and "vocabulary" (``panglao_10000.h5ad``, whose variables are the genes in order).
    architecture
        ``dim``, ``depth``, ``heads`` and ``num_tokens``: makes the model an untrained one, its weights drawn
        by the seed.
    pooling
        "genes": mean over the places of all genes. "last": the place after them. Neither is of the
        authors, who define no embedding without fine-tuning.
    key_maximum
        See :class:`zeroshot.models.performer.Performer`.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Yang et al. 2022; TencentAILabHealthcare/scBERT at 262fd4b, preprocess.py, predict.py and
    performer_pytorch, which compute one cell a call.

    Differs
    -------
    No cell is filtered; upstream leaves out those with fewer than 200 genes.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    pooling: Literal["genes", "last"] = "genes"
    key_maximum: KeyMaximum = "cell"
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.pooling not in ("genes", "last"):
            raise ValueError(f"unknown pooling {self.pooling!r}: genes or last")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what bins the values of any rows. Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        counts, overlap = over_symbols(cells.counts, cells.genes, genes, "scBERT")
        logarithms = log2_normalized(counts.astype(np.float32))
        return Tokenizer(
            lambda rows: bin_tokens(logarithms[rows]),
            pad_id=0,
            overlap=None if self.vocabulary == "data-set" else overlap,
            notes=note_silent_cells(counts),
        )

    def network(self, cells: Cells, seed: int) -> "ScBertNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If genes and weights do not belong together.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        build = partial(ScBertNetwork, pooling=self.pooling, key_maximum=self.key_maximum)
        if self.architecture is not None:
            build = partial(build, self.architecture, len(genes))
            return untrained_network(build, partial(_draw, genes=genes, seed=seed))
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        build = partial(build, _sizes(state, path), len(genes))
        require_genes(len(genes), len(state["pos_emb.emb.weight"]) - 1, self.checkpoint)
        return trained_network(build, state, rename, IGNORED, path)


class ScBertNetwork(nn.Module):
    """Bins and genes embedded and summed, and a Performer.

    Parameters
    ----------
    config
        ``dim``, ``depth``, ``heads``, ``num_tokens`` and, if not the usual, ``head_dim`` and ``n_features``.
    n_genes
        Genes of the vocabulary; one place is appended.
    pooling, key_maximum
        See :class:`ScBert`.

    Source
    ------
    Yang et al. 2022; PerformerLM of performer_pytorch.py at 262fd4b.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        n_genes: int,
        *,
        pooling: Literal["genes", "last"],
        key_maximum: KeyMaximum = "cell",
    ) -> None:
        super().__init__()
        dim = config["dim"]
        self.pooling = pooling
        self.token_emb = nn.Embedding(config["num_tokens"], dim)
        self.pos_emb = nn.Embedding(n_genes + 1, dim)
        self.performer = Performer(
            config["depth"], dim, config["heads"], config.get("head_dim", HEAD_DIM),
            n_features=config.get("n_features"), key_maximum=key_maximum,
        )  # fmt: skip
        self.norm = nn.LayerNorm(dim)

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32.

        Parameters
        ----------
        ids
            (cells, genes + 1) bin at each place, the appended one last; every cell has all of them.
        values, lengths
            Not used.
        """
        hidden = self.hidden(ids).float()
        return hidden[:, -1] if self.pooling == "last" else hidden[:, :-1].mean(dim=1)

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (cells, genes + 1, dim) hidden states."""
        return self.norm(self.performer(self.token_emb(ids) + self.pos_emb.weight))


def log2_normalized(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """(cells, genes) logarithms to base 2 of counts per 10,000 and 1, rounded as scanpy does."""
    import scanpy as sc

    adata = AnnData(counts)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata, base=2)
    return adata.X


def bin_tokens(logarithms: sparse.csr_matrix) -> Tokens:
    """Whole bins 0 to 5 of all genes, those without expression too, and a 0 behind them."""
    n_cells, n_genes = logarithms.shape
    ids = np.zeros((n_cells, n_genes + 1), np.int64)
    row = np.repeat(np.arange(n_cells), np.diff(logarithms.indptr))
    ids[row, logarithms.indices] = np.minimum(logarithms.data, HIGHEST_BIN).astype(np.int64)
    offsets = np.arange(n_cells + 1, dtype=np.int64) * (n_genes + 1)
    return Tokens(ids.ravel(), None, offsets, np.zeros(n_cells, np.int64))


# What predicts bins in pretraining, and a counter of the Performer's training.
IGNORED = ("to_out.*", "*calls_since_last_redraw")


def read_sizes(state: Mapping[str, torch.Tensor], path: Path, title: str) -> dict[str, int]:
    """Sizes that the shapes of a released state tell: of scBERT, or of another Performer of its layout.

    Parameters
    ----------
    state
        Released tensors by name.
    path
        Their file, for the error.
    title
        Of the model, for the error.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If a tensor is absent.
    """
    layer = "performer.net.layers.0.0.fn"
    names = ("token_emb.weight", "pos_emb.emb.weight", f"{layer}.to_q.weight",
             f"{layer}.fast_attention.projection_matrix")  # fmt: skip
    absent = [name for name in names if name not in state or state[name].ndim != 2]
    if absent:
        raise WeightsError(f"{path} lacks {', '.join(absent)}: it is not a checkpoint of {title}. {REMEDY}")
    tokens, _, query, projection = (state[name].shape for name in names)
    depth = len({key.split(".")[3] for key in state if key.startswith("performer.net.layers.")})
    return {"num_tokens": tokens[0], "dim": tokens[1], "width": query[0], "depth": depth,
            "heads": query[0] // max(projection[1], 1), "head_dim": projection[1],
            "n_features": projection[0]}  # fmt: skip


def _sizes(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, int]:
    sizes = read_sizes(state, path, "scBERT")
    if sizes["num_tokens"] <= HIGHEST_BIN or sizes["heads"] * sizes["head_dim"] != sizes["width"]:
        raise WeightsError(
            f"{path} has {sizes['num_tokens']} bins and heads of {sizes['head_dim']} in a width of "
            f"{sizes['width']}: expected more than {HIGHEST_BIN} bins, and heads that divide it. {REMEDY}"
        )
    return sizes


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    if key == "pos_emb.emb.weight":
        return "pos_emb.weight"
    return performer.rename(key, "performer.net.layers.") or key


def _draw(network: ScBertNetwork, genes: list[str], seed: int) -> None:
    """Normal weights, zero biases, norms that change nothing; a gene's embedding is drawn by its name."""
    fill_normal(network, 0.02, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = gene_rows(genes, network.pos_emb.weight.shape[1], seed)
        network.pos_emb.weight[:-1] = torch.from_numpy(rows)
        network.pos_emb.weight[-1] = 0
        network.token_emb.weight.normal_(generator=generator)
        for layer in network.performer.layers:
            layer.projection.normal_(generator=generator)
