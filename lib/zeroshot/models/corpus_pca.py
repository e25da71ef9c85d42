"""Corpus PCA: principal components fitted on a corpus and applied to other cells as they are.

A linear control of pretraining: the cells of the corpus without a transformer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from zeroshot.catalog import approved_symbols
from zeroshot.models import Cells
from zeroshot.models.expressed_genes import sum_over_genes, tokenizer_of_values
from zeroshot.models.networks import (
    genes_of,
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.untrained import gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state, write_genes, write_state
from zeroshot.models.weights.files import REMEDY, read_json, sha256, write_json
from zeroshot.tokens.genes import (
    Alignment,
    align_symbols,
    over_vocabulary,
    require_overlap,
)
from zeroshot.tokens.sequences import Tokenizer

_GENES = "gene_list_sha256"

PACKAGES = ("numpy", "pandas", "safetensors", "scikit-learn", "scipy", "threadpoolctl", "torch")


@dataclass(frozen=True, kw_only=True)
class CorpusPca:
    """Scores of the leading principal components of a corpus.

    Attributes
    ----------
    checkpoint
        Roles "weights", "vocabulary" (one symbol a line) and "config" (which cells it was fitted to).
    architecture
        ``dim``: makes the model an untrained one, a random projection of the genes drawn by the seed.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    This book. Values are those of the baseline `pca`: 10,000 counts per cell by its library size, log1p,
    centred, not scaled to unit variance.

    Differs
    -------
    From `pca`: all genes of the vocabulary instead of highly variable ones, since those of another tissue are
    not known when the components are fitted. A gene that the data set does not have is set to its mean in
    the corpus, so that it moves no cell.
    """

    reads: ClassVar[tuple[str, ...]] = ()
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
            As :func:`counts_over_genes`.
        zeroshot.models.weights.WeightsError
            As :func:`require_one_fit`.
        """
        if self.architecture is None:
            require_one_fit(self.checkpoint)  # before a cut list is taken for a foreign data set
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        counts, overlap = counts_over_genes(cells, genes, "Corpus PCA")
        # Library sizes are those over all genes, whether the vocabulary has them or not.
        values = cells.with_counts(counts).log_normalized()
        return tokenizer_of_values(values, counts, None if self.vocabulary == "data-set" else overlap)

    def network(self, cells: Cells, seed: int) -> "Projection":
        """Return the projection of the checkpoint, or one drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If genes and weights do not belong together.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        if self.architecture is not None:
            build = partial(Projection, len(genes), self.architecture["dim"])
            return untrained_network(build, partial(_draw, genes=genes, seed=seed))
        require_one_fit(self.checkpoint)
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        components = state.get("components")
        if components is None or components.ndim != 2:
            raise WeightsError(f"{path} lacks components by gene: it is not a Corpus PCA. {REMEDY}")
        require_genes(len(genes), len(components), self.checkpoint)
        network = trained_network(partial(Projection, *components.shape), state, None, (), path)
        with torch.no_grad():
            absent = ~np.isin(np.arange(len(genes)), align(cells.genes, genes).targets)
            network.means[torch.from_numpy(absent)] = 0
        return network

    def fit(self, cells: Cells, folder: Path, seed: int, facts: Mapping[str, Any]) -> None:
        """Fit the components to the cells of a corpus, and write them into a folder.

        Parameters
        ----------
        cells
            Their genes become the vocabulary. Memory grows with the counts that are not zero: nothing is
            made dense.
        folder
            Gets ``model.safetensors`` (float16), ``gene_list.txt`` and ``config.json``.
        seed
            Of the vector that the Lanczos iterations begin with.
        facts
            What is to be said of the corpus in the config, which also has ``dim``, fewer than asked for if
            there are fewer cells or genes, and ``explained_variance_ratio``: the share of the variance of the
            corpus, from 0 to 1, that the components have together.
        """
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        values = cells.log_normalized().astype(np.float64)
        dim = min(self.architecture["dim"], min(values.shape) - 1)
        with threadpool_limits(1):  # the order of parallel sums would change the bytes
            model = PCA(dim, svd_solver="arpack", random_state=seed).fit(values)
        state = {"components": model.components_.T, "means": np.asarray(model.mean_).ravel()}
        explained = round(float(model.explained_variance_ratio_.sum()), 6)
        write_fit(folder, state, cells.genes, {"dim": dim, "explained_variance_ratio": explained, **facts})


class Projection(nn.Module):
    """Centred values times the components."""

    def __init__(self, n_genes: int, dim: int) -> None:
        super().__init__()
        self.components = nn.Parameter(torch.empty(n_genes, dim))
        self.means = nn.Parameter(torch.empty(n_genes))

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 scores.

        Parameters
        ----------
        ids, values
            (cells, tokens) expressed genes and their values.
        lengths
            (cells,) tokens that are no padding.
        """
        scores = sum_over_genes(ids, values, lengths, self.components)
        return (scores - self.means @ self.components).float()


def write_fit(
    folder: Path, state: Mapping[str, np.ndarray], genes: Sequence[str], config: Mapping[str, Any]
) -> None:
    """Write what was fitted to a corpus: tensors, their genes, and a config that belongs to these genes."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in state.items()}
    write_state(folder / "model.safetensors", tensors)
    write_genes(folder / "gene_list.txt", genes)
    write_json(folder / "config.json", {**config, _GENES: sha256(folder / "gene_list.txt")})


def require_one_fit(checkpoint: Checkpoint) -> None:
    """Refuse a list of genes that was not written with the config: another of the same length would be read.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If they are of two fits.
    """
    config, genes = checkpoint.files["config"], checkpoint.files["vocabulary"]
    if read_json(config, "what `zeroshot pretrain` writes").get(_GENES) != sha256(genes):
        raise WeightsError(f"{genes} is not the list of genes that {config} was written with. {REMEDY}")


def counts_over_genes(
    cells: Cells, genes: Sequence[str], title: str
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Counts over a list of symbols, and how the genes of the data set were found in it.

    As :func:`zeroshot.tokens.genes.over_symbols`, which knows no other name of a gene than its symbol.

    Raises
    ------
    zeroshot.tokens.genes.GeneOverlapError
        As :func:`zeroshot.tokens.genes.require_overlap`.
    """
    alignment = align(cells.genes, genes)
    require_overlap(alignment, title, cells.counts)
    return over_vocabulary(cells.counts, alignment.targets, len(genes)), alignment.report(cells.counts)


def align(names: Sequence[str], genes: Sequence[str]) -> Alignment:
    """Which gene of a list each name is: the same one, else the symbol that HGNC approves for it.

    A corpus has approved symbols, a data set those of its day, or Ensembl ids.
    """
    numbers = {gene: number for number, gene in enumerate(genes)}
    alignment = align_symbols(names, numbers)
    if (alignment.targets >= 0).all():
        return alignment
    approved = align_symbols(approved_symbols(names), numbers)
    renamed = (alignment.targets < 0) & (approved.targets >= 0)
    return Alignment(
        np.where(renamed, approved.targets, alignment.targets),
        np.where(renamed, "alias", alignment.rules),
        alignment.names,
    )


def _draw(network: Projection, genes: list[str], seed: int) -> None:
    """Columns of length one on average, nearly orthogonal; nothing is subtracted."""
    n_genes, dim = network.components.shape
    with torch.no_grad():
        network.components.copy_(torch.from_numpy(gene_rows(genes, dim, seed) * np.float32(n_genes**-0.5)))
        network.means.zero_()
