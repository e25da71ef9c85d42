"""Corpus scVI: the encoder of an scVI that was fitted to a corpus, applied to other cells as it is.

The fit is scvi-tools'; what is kept of it is the encoder, as a native network.
"""

import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.corpus_pca import counts_over_genes, require_one_fit, write_fit
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
from zeroshot.tokens.sequences import Tokenizer

PACKAGES = ("numpy", "pandas", "safetensors", "scipy", "scvi-tools", "torch")

_HELD_OUT = 0.05  # share of the cells, as of the networks
_CHUNK = 128  # cells that scvi-tools computes together


@dataclass(frozen=True, kw_only=True)
class CorpusScvi:
    """Posterior means of an scVI that has never seen the cells.

    Attributes
    ----------
    checkpoint
        Roles "weights", "vocabulary" (one symbol a line) and "config" (which cells it was fitted to).
    architecture
        ``depth`` (hidden layers), ``hidden`` (their width) and ``dim``: makes the model an untrained one, its
        weights drawn by the seed.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Lopez et al. 2018; scvi-tools 1.4: the encoder reads log1p of the counts, not scaled by the library size,
    and by default (``encode_covariates=False``) no batch, so that none has to be invented for new cells.
    Genes that the data set does not have are zero, as in its ``prepare_query_anndata``.

    Differs
    -------
    Batch norms, which are linear maps once they are trained, are part of the linear layers before them.
    """

    reads: ClassVar[tuple[str, ...]] = ("epochs",)
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
            As :func:`zeroshot.models.corpus_pca.counts_over_genes`.
        zeroshot.models.weights.WeightsError
            As :func:`zeroshot.models.corpus_pca.require_one_fit`.
        """
        if self.architecture is None:
            require_one_fit(self.checkpoint)  # before a cut list is taken for a foreign data set
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        counts, overlap = counts_over_genes(cells, genes, "Corpus scVI")
        values = counts.astype(np.float32).log1p()
        return tokenizer_of_values(values, counts, None if self.vocabulary == "data-set" else overlap)

    def network(self, cells: Cells, seed: int) -> "Perceptron":
        """Return the encoder of the checkpoint, or one whose weights are drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If genes and weights do not belong together.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        if self.architecture is not None:
            hidden = [self.architecture["hidden"]] * self.architecture["depth"]
            widths = (len(genes), *hidden, self.architecture["dim"])
            return untrained_network(partial(Perceptron, widths), partial(_draw, genes=genes, seed=seed))
        require_one_fit(self.checkpoint)
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        names = ["genes", *(f"linears.{place}.weight" for place in range(len(state) // 2 - 1))]
        if any(name not in state or state[name].ndim != 2 for name in names) or len(names) < 2:
            raise WeightsError(f"{path} lacks the layers of an encoder: it is not a Corpus scVI. {REMEDY}")
        require_genes(len(genes), len(state["genes"]), self.checkpoint)
        widths = (*state["genes"].shape, *(len(state[name]) for name in names[1:]))
        return trained_network(partial(Perceptron, widths), state, None, (), path)

    def fit(
        self, cells: Cells, folder: Path, seed: int, facts: Mapping[str, Any], epochs: int | None = None
    ) -> None:
        """Fit scVI to the cells of a corpus, and write its encoder into a folder.

        Parameters
        ----------
        cells
            Their genes become the vocabulary. Batches are the covariate of the decoder: the sources of a
            corpus, whose differences the embedding then need not carry.
        folder
            Gets ``model.safetensors`` (float16), ``gene_list.txt`` and ``config.json``.
        seed
            Of initial weights, of the order of the cells and of what is sampled.
        facts
            What is to be said of the corpus in the config, which also has ``epochs`` and the evidence lower
            bound of a cell in nats, of training cells and of the 5 % held out; higher is better.
        epochs
            Passes over the cells; None for scvi-tools' own rule.

        Raises
        ------
        ValueError
            If the cells are too few to hold one out.
        """
        share = _share_to_train(len(cells.ids))
        with warnings.catch_warnings():
            # Notes of scvi-tools and lightning about workers and devices, of no use to a reader.
            warnings.simplefilter("ignore")
            import scvi

            for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
                logging.getLogger(name).setLevel(logging.ERROR)
            scvi.settings.seed = seed
            obs = pd.DataFrame({"batch": pd.Categorical(cells.batches)}, index=cells.ids)
            adata = AnnData(cells.counts, obs=obs)
            scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
            model = scvi.model.SCVI(
                adata, n_layers=self.architecture["depth"], n_hidden=self.architecture["hidden"],
                n_latent=self.architecture["dim"], gene_likelihood="nb",
            )  # fmt: skip
            model.train(max_epochs=epochs, train_size=share, logger=False)
            elbo = {
                "elbo_of_training_cells": round(float(model.get_elbo(indices=model.train_indices)), 3),
                "elbo_of_held_out_cells": round(float(model.get_elbo(indices=model.validation_indices)), 3),
            }
        stated = {"epochs": int(model.trainer.current_epoch), **elbo}
        write_fit(folder, encoder_state(model.module.z_encoder), cells.genes, {**stated, **facts})


def _share_to_train(n_cells: int) -> float:
    """Share of the cells that are not held out: 95 %, one cell less where it would be a chunk by itself.

    A batch norm has no variance of a single cell.
    """
    n_train = math.ceil((1 - _HELD_OUT) * n_cells)
    if n_train == n_cells:
        raise ValueError(
            f"{n_cells:,} cells, of which {_HELD_OUT:.0%} are held out: at least 20 cells are expected. Give "
            "more cells"
        )
    if n_train % _CHUNK == 1:
        return (n_train - 1.5) / n_cells  # scvi-tools rounds up
    return 1 - _HELD_OUT


class Perceptron(nn.Module):
    """Linear layers with ReLU between them, of which the first reads the genes of a cell that have a value.

    Parameters
    ----------
    widths
        Genes, widths of the hidden layers, width of the embedding.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        n_genes, first, *others = widths
        self.genes = nn.Parameter(torch.empty(n_genes, first))
        self.bias = nn.Parameter(torch.empty(first))
        self.linears = nn.ModuleList(Linear(*sizes) for sizes in pairwise([first, *others]))

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32.

        Parameters
        ----------
        ids, values
            (cells, tokens) expressed genes and their values.
        lengths
            (cells,) tokens that are no padding.
        """
        hidden = sum_over_genes(ids, values, lengths, self.genes) + self.bias
        for linear in self.linears:
            hidden = linear(nn.functional.relu(hidden))
        return hidden.float()


def encoder_state(encoder: nn.Module) -> dict[str, np.ndarray]:
    """Tensors of a :class:`Perceptron` that computes what an encoder of scvi-tools does once it is trained.

    Parameters
    ----------
    encoder
        ``z_encoder`` of its module: layers of a linear map, a batch norm, ReLU and dropout, and
        ``mean_encoder``.
    """
    layers = []
    for layer in encoder.encoder.fc_layers:
        linear, norm = layer[0], layer[1]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = (linear.bias - norm.running_mean) * scale + norm.bias
        layers.append((linear.weight * scale[:, None], bias))
    layers.append((encoder.mean_encoder.weight, encoder.mean_encoder.bias))
    (first, bias), *others = layers
    state = {"genes": first.T, "bias": bias}
    for place, (weight, shift) in enumerate(others):
        state |= {f"linears.{place}.weight": weight, f"linears.{place}.bias": shift}
    return {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}


def _draw(network: Perceptron, genes: list[str], seed: int) -> None:
    """Linear layers as torch draws them, a gene's weights by its name."""
    fill_uniform(network, seed)
    draw_first_layer(network.genes, network.bias, genes, seed)
