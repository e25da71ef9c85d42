"""Corpus autoencoder: a perceptron trained to put hidden values back, as scGPT is, without a transformer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.corpus_pca import counts_over_genes, require_one_fit, write_fit
from zeroshot.models.encoder import Linear
from zeroshot.models.expressed_genes import expressed_genes, sum_over_genes
from zeroshot.models.networks import (
    genes_of,
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.untrained import fill_uniform, gene_rows
from zeroshot.models.weights import Checkpoint, read_state
from zeroshot.models.weights.files import read_json, require_whole
from zeroshot.tokens.genes import note_silent_cells
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import cell_keys, uniform

PACKAGES = ("numpy", "pandas", "safetensors", "scipy", "torch")

_LIMITS = {"hidden": (1, 2**15), "dim": (1, 2**15)}


@dataclass(frozen=True, kw_only=True)
class CorpusAutoencoder:
    """The narrow layer of a denoising autoencoder that has never seen the cells.

    Attributes
    ----------
    checkpoint
        Roles "weights", "vocabulary" (one symbol a line) and "config" (its sizes).
    architecture
        ``hidden`` and ``dim``, the widths: makes the model an untrained one, its weights drawn by the seed.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.
    max_tokens
        Given in training: beside the genes that a cell expresses as many are read that it does not, drawn by
        seed and name of the cell, whose value is zero. They change no embedding, but are to be predicted too.

    Source
    ------
    This book; Vincent et al. 2008 for the principle. What is hidden, and the squared error of the hidden
    values, are those of scGPT's training here; values are those of the baseline `pca`.
    """

    objective: ClassVar[Literal["values"]] = "values"
    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    vocabulary: Literal["released", "data-set"] = "released"
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what gives the values of any rows.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            As :func:`zeroshot.models.corpus_pca.counts_over_genes`.
        zeroshot.models.weights.WeightsError
            As :func:`zeroshot.models.corpus_pca.require_one_fit`.
        """
        if self.architecture is None:
            require_one_fit(self.checkpoint)  # before a cut list is taken for a foreign data set
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        counts, overlap = counts_over_genes(cells, genes, "Corpus autoencoder")
        values = cells.with_counts(counts).log_normalized()
        names = cell_keys(cells.ids)

        def tokenize(rows: np.ndarray) -> Tokens:
            if self.max_tokens is None:
                return expressed_genes(values[rows])
            return expressed_genes(_with_zeros(values[rows], names[rows], seed))

        return Tokenizer(
            tokenize,
            pad_id=0,
            overlap=None if self.vocabulary == "data-set" else overlap,
            notes=note_silent_cells(counts),
        )

    def network(self, cells: Cells, seed: int) -> "Autoencoder":
        """Return the network of the checkpoint, or one whose weights are drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If genes, config and weights do not belong together.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        if self.architecture is not None:
            widths = (len(genes), self.architecture["hidden"], self.architecture["dim"])
            return untrained_network(partial(Autoencoder, *widths), partial(_draw, genes=genes, seed=seed))
        require_one_fit(self.checkpoint)
        path = self.checkpoint.files["config"]
        config = read_json(path, "what `zeroshot pretrain` writes")
        require_whole(config, path, _LIMITS)
        weights = self.checkpoint.files["weights"]
        state = read_state(weights)
        require_genes(len(genes), len(state.get("genes", ())), self.checkpoint)
        build = partial(Autoencoder, len(genes), config["hidden"], config["dim"])
        return trained_network(build, state, None, (), weights)

    def release(self, network: nn.Module, cells: Cells, folder: Path) -> None:
        """Write the files that :func:`zeroshot.models.weights.find` reads."""
        state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        write_fit(folder, state, cells.genes, dict(self.architecture))


class Autoencoder(nn.Module):
    """Two layers down, two layers up; of the last one only the genes that are asked for.

    Attributes
    ----------
    mask, special_ends
        As for :class:`zeroshot.models.MaskedNetwork`: a hidden value is zero, and all tokens are genes.
    """

    mask = 0.0
    special_ends = (0, 0)

    def __init__(self, n_genes: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.genes = nn.Parameter(torch.empty(n_genes, hidden))
        self.norm = nn.LayerNorm(hidden)
        self.down = Linear(hidden, dim)
        self.up = Linear(dim, hidden)
        self.outputs = nn.Parameter(torch.empty(n_genes, hidden))
        self.output_bias = nn.Parameter(torch.empty(n_genes))

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 codes.

        Parameters
        ----------
        ids, values
            (cells, tokens) genes and their values; zeros are as if they were not there.
        lengths
            (cells,) tokens that are no padding.
        """
        # The norm makes cells comparable of which more or fewer genes are hidden.
        hidden = nn.functional.gelu(self.norm(sum_over_genes(ids, values, lengths, self.genes)))
        return self.down(hidden).float()

    def decode(
        self,
        ids: torch.Tensor,
        values: torch.Tensor | None,
        lengths: torch.Tensor,
        hidden: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return (places,) values at hidden places alone, under the name "value"."""
        states = nn.functional.gelu(self.up(self.forward(ids, values, lengths)))
        cells, genes = hidden.nonzero()[:, 0], ids[hidden]
        return {"value": (states[cells] * self.outputs[genes]).sum(dim=1) + self.output_bias[genes]}


def _with_zeros(values: sparse.csr_matrix, names: np.ndarray, seed: int) -> sparse.csr_matrix:
    """The same values and, stored as zeros, as many other genes of each cell, or all that there are."""
    n_genes = values.shape[1]
    keys = np.arange(n_genes, dtype=np.uint64)
    indices, data, lengths = [], [], []
    for row, name in enumerate(names):
        place = slice(values.indptr[row], values.indptr[row + 1])
        draws = uniform(seed, name[None, None], keys)[0]
        draws[values.indices[place]] = 2.0  # expressed: chosen last, and so never
        n_zeros = min(place.stop - place.start, n_genes - (place.stop - place.start))
        genes = np.concatenate([values.indices[place], np.argsort(draws, kind="stable")[:n_zeros]])
        order = np.argsort(genes)
        indices.append(genes[order])
        data.append(np.concatenate([values.data[place], np.zeros(n_zeros, np.float32)])[order])
        lengths.append(len(genes))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    parts = (np.concatenate(data), np.concatenate(indices), offsets)
    return sparse.csr_matrix(parts, shape=values.shape)


def _draw(network: Autoencoder, genes: list[str], seed: int) -> None:
    """Linear layers as torch draws them, a gene's weights by its name."""
    fill_uniform(network, seed)
    width = network.genes.shape[1]
    with torch.no_grad():
        for number, rows in enumerate((network.genes, network.outputs)):
            names = [f"{gene} {number}" for gene in genes]
            uniform_rows = torch.from_numpy(gene_rows(names, width, seed, normal=False))
            rows.copy_((2 * uniform_rows - 1) * width**-0.5)
        network.output_bias.zero_()
