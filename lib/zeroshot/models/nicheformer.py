"""Nicheformer: a transformer that reads species, assay, modality and the genes ranked within a technology.

The released checkpoint is read as it is; the network is native.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import TransformerEncoder, mean_over
from zeroshot.models.geneformer_files import read_names
from zeroshot.models.networks import (
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.released_names import rename_layer
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_content, read_genes, tensors_of
from zeroshot.models.weights.files import REMEDY, head_of, require_architecture
from zeroshot.tokens.genes import align_ensembl, over_vocabulary, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import rank_tokens

PACKAGES = ("numba", "numpy", "pandas", "scipy", "torch")

FIRST_GENE = 30  # the tokens before are reserved
PAD = 1

SPECIES = {"human": 5, "mouse": 6}
MODALITIES = {"dissociated": 3, "spatial": 4}
ASSAYS = {
    "MERFISH": 7, "CosMx": 8, "Xenium": 9, "10x 5' v2": 10, "10x 3' v3": 11, "10x 3' v2": 12, "10x 5' v1": 13,
    "10x 3' v1": 14, "10x 3'": 15, "10x 5'": 16, "CITE-seq": 17, "Smart-seq v4": 18,
}  # fmt: skip
TECHNOLOGIES = ("dissociated", "merfish", "cosmx", "xenium", "iss")

_CONTEXT = 3  # tokens before the genes


@dataclass(frozen=True, kw_only=True)
class Nicheformer:
    """Mean over the places of genes after a layer.

    Attributes
    ----------
    checkpoint
        Roles "weights", "vocabulary" (``model.h5ad``, whose variables are the genes in order), of each
        technology that is read its means, as "dissociated_means", and "gene_names" (symbol to Ensembl id) if
        genes are named by symbols.
    architecture
        Hyperparameters instead of those in the checkpoint: makes the model an untrained one, its weights
        drawn by the seed.
    species, assay, modality
        Of the cells: keys of ``SPECIES``, ``ASSAYS`` and ``MODALITIES``.
    technology
        Whose mean expression each gene is divided by: one of ``TECHNOLOGIES``.
    means
        "rounded": unmeasured genes 1, others rounded to whole numbers, 0 to 1, as in pretraining. "clean":
        unmeasured genes 1, others as released. "raw": as released, so that an unmeasured gene counts as
        expressed and stands last, as in upstream's example.
    order
        Of equal values: "numba", that of numba's unstable sort as upstream, or "stable", that of the
        vocabulary.
    padding
        "mean": every cell is filled up to the longest input, and the mean runs over these places too, as
        upstream. "left-out": over the genes of the cell alone.
    layer
        Whose output is pooled, counted from 0; negative from the last.
    with_context
        Whether the three tokens before the genes are part of the mean.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set, each divided by its own mean.

    Source
    ------
    Tejada-Lapuerta et al. 2025; theislab/nicheformer at 485cadb, data/dataset.py and models/_nicheformer.py
    (``get_embeddings``).

    Differs
    -------
    Genes are matched by name and added up where they are the same. The means of a technology are not changed
    in place.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    species: str = "human"
    assay: str = "10x 3' v3"
    modality: str = "dissociated"
    technology: str = "dissociated"
    means: Literal["rounded", "clean", "raw"] = "rounded"
    order: Literal["numba", "stable"] = "numba"
    padding: Literal["mean", "left-out"] = "mean"
    layer: int = -1
    with_context: bool = False
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse what the model has no token for, and parameters that contradict each other."""
        for name, known in (
            ("species", SPECIES), ("assay", ASSAYS), ("modality", MODALITIES), ("technology", TECHNOLOGIES),
            ("means", ("rounded", "clean", "raw")), ("order", ("numba", "stable")),
            ("padding", ("mean", "left-out")),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}: one of {', '.join(known)}")
        if self.means == "raw" and self.order == "stable":
            raise ValueError("means raw leave values that are no numbers, which only order numba can sort")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes to the vocabulary, and return what ranks them in any rows. Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If genes, means and model do not belong together.
        """
        room = self._hyperparameters()["context_length"]
        overlap, notes = None, ()
        if self.vocabulary == "data-set":
            counts = cells.counts.astype(np.float64)
            counts.sum_duplicates()
            means = own_means(counts)
            notes = (f"the vocabulary is the {len(means):,} genes of the data set, with their own means",)
        else:
            genes = read_genes(self.checkpoint.files["vocabulary"])
            numbers = {name: number for number, name in enumerate(genes)}
            names = self.checkpoint.files.get("gene_names")
            symbols = None if names is None else read_names(names)
            alignment = align_ensembl(cells.genes, cells.ensembl_ids, numbers, ensembl_of_symbol=symbols)
            require_overlap(alignment, "Nicheformer", cells.counts)
            counts = over_vocabulary(cells.counts, alignment.targets, len(genes))
            overlap = alignment.report(cells.counts)
            means = self._means(len(genes))
        prefix = [SPECIES[self.species], ASSAYS[self.assay], MODALITIES[self.modality]]

        def tokenize(rows: np.ndarray) -> Tokens:
            ranked = rank_genes(counts[rows], means, room - _CONTEXT, order=self.order)
            return _framed(ranked, prefix, room if self.padding == "mean" else None)

        return Tokenizer(tokenize, pad_id=PAD, overlap=overlap, notes=notes)

    def network(self, cells: Cells, seed: int) -> "NicheformerNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If genes and weights do not belong together.
        """
        config = self._hyperparameters()
        if not -config["nlayers"] <= self.layer < config["nlayers"]:
            raise WeightsError(
                f"layer {self.layer} does not exist in a model of {config['nlayers']} layers: choose 0 to "
                f"{config['nlayers'] - 1}, or a negative number to count from the last"
            )
        n_genes = len(cells.genes) if self.vocabulary == "data-set" else config["n_tokens"] - FIRST_GENE
        build = partial(
            NicheformerNetwork,
            config,
            n_genes + FIRST_GENE + 5,
            n_layers=self.layer % config["nlayers"] + 1,
            first=0 if self.with_context else _CONTEXT,
        )
        if self.architecture is not None:
            reserved = [f"<{number}>" for number in range(FIRST_GENE)]
            names = [*reserved, *map(str, cells.genes), *(f"<after {n}>" for n in range(5))]
            return untrained_network(build, partial(_draw, names=names, seed=seed))
        path = self.checkpoint.files["weights"]
        require_genes(len(read_genes(self.checkpoint.files["vocabulary"])), n_genes, self.checkpoint)
        return trained_network(build, self._release[1], rename, _IGNORED, path)

    @cached_property
    def _release(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What the checkpoint holds: the network takes its tensors, so that they are in memory once."""
        return _read_model(self.checkpoint.files["weights"])

    def _hyperparameters(self) -> Mapping[str, Any]:
        return self._release[0] if self.architecture is None else self.architecture

    def _means(self, n_genes: int) -> np.ndarray:
        """(genes,) what expression is divided by."""
        path = self.checkpoint.files.get(f"{self.technology}_means")
        if path is None:
            raise WeightsError(
                f"the means of technology {self.technology} are not among the files: put "
                f"{self.technology}_mean_script.npy into the folder of the weights"
            )
        return technology_means(read_means(path, n_genes), self.means)


class NicheformerNetwork(nn.Module):
    """Tokens and positions embedded, and a transformer.

    Parameters
    ----------
    config
        Hyperparameters of the checkpoint.
    n_tokens
        Rows of the embedding.
    n_layers
        Layers that are computed.
    first
        Where the mean begins.

    Source
    ------
    Tejada-Lapuerta et al. 2025; models/_nicheformer.py at 485cadb.
    """

    def __init__(self, config: Mapping[str, Any], n_tokens: int, *, n_layers: int, first: int) -> None:
        super().__init__()
        dim = config["dim_model"]
        self.n_layers, self.first = n_layers, first
        self.embeddings = nn.Embedding(n_tokens, dim)
        self.positional_embedding = nn.Embedding(config["context_length"], dim)
        self.encoder = TransformerEncoder(
            config["nlayers"], dim, config["nheads"], config["dim_feedforward"], eps=1e-12
        )

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 means over the places of a cell.

        Parameters
        ----------
        ids
            (cells, tokens) context and genes. Padding within ``lengths`` is part of the mean only.
        values
            Not used: only the order of the genes is read.
        lengths
            (cells,) places that the mean runs over, and those before.
        """
        place = torch.arange(ids.shape[1], device=ids.device)
        embedded = self.embeddings(ids) + self.positional_embedding.weight[: ids.shape[1]]
        hidden = self.encoder(embedded, (ids != PAD).sum(dim=1), n_layers=self.n_layers).float()
        pooled = (place >= self.first) & (place < lengths[:, None])
        return mean_over(hidden, pooled)


def technology_means(means: np.ndarray, treatment: Literal["rounded", "clean", "raw"]) -> np.ndarray:
    """(genes,) released means made fit to divide by, see :class:`Nicheformer`; a mean of 0 becomes 1."""
    if treatment != "raw":
        means = np.nan_to_num(means)
    if treatment == "rounded":
        means = np.floor(means + 0.5)
    return np.where(means == 0, 1.0, means)


def rank_genes(
    counts: sparse.csr_matrix, means: np.ndarray, room: int, *, order: Literal["numba", "stable"]
) -> Tokens:
    """Genes of each cell from the highest to the lowest expression relative to the technology's mean.

    Parameters
    ----------
    counts
        (cells, genes) raw counts over the vocabulary, in its order.
    means
        (genes,) see :func:`technology_means`. A gene whose mean is no number counts as expressed everywhere.
    room
        Most genes of a cell.
    order
        See :class:`Nicheformer`.
    """
    totals = np.asarray(counts.sum(axis=1), np.float64).ravel()
    totals[totals == 0] = 1
    if order == "stable":
        ids = np.arange(len(means)) + FIRST_GENE
        return rank_tokens(counts, totals, means, ids, max_tokens=room)
    sort = _compiled_sort()
    ranked, left_out = [], np.zeros(counts.shape[0], np.int64)
    for cell, total in enumerate(totals):
        values = counts[cell].toarray()[0].astype(np.float64) * (10_000 / total) / means
        expressed = np.flatnonzero(values)
        ranked.append(expressed[sort(-values[expressed])][:room] + FIRST_GENE)
        left_out[cell] = len(expressed) - len(ranked[-1])
    offsets = np.concatenate([[0], np.cumsum([len(genes) for genes in ranked])]).astype(np.int64)
    return Tokens(np.concatenate(ranked).astype(np.int64), None, offsets, left_out)


@cache
def _compiled_sort() -> Any:
    """Compile numba's argsort, whose order of equal values is that of upstream."""
    import numba

    return numba.njit(lambda values: np.argsort(values))


def _framed(ranked: Tokens, prefix: list[int], room: int | None) -> Tokens:
    """The same genes behind the context, and padding up to ``room`` behind them."""
    lengths = ranked.lengths + len(prefix)
    lengths = lengths if room is None else np.full_like(lengths, room)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.full(offsets[-1], PAD, np.int64)
    for place, token in enumerate(prefix):
        ids[offsets[:-1] + place] = token
    starts = np.repeat(offsets[:-1] + len(prefix) - ranked.offsets[:-1], ranked.lengths)
    ids[np.arange(len(ranked.ids)) + starts] = ranked.ids
    return Tokens(ids, None, offsets, ranked.left_out)


def read_means(path: Path, n_genes: int) -> np.ndarray:
    """(genes,) mean expression in a technology, NaN where it does not measure a gene.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or of another vocabulary.
    """
    expected = f"means of {n_genes:,} genes, as numpy saves them"
    head_of(path, expected)
    try:
        means = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise WeightsError(f"{path} is damaged: {str(error)[:200]}. Expected {expected}. {REMEDY}") from None
    if not isinstance(means, np.ndarray) or means.shape != (n_genes,) or means.dtype.kind != "f":
        raise WeightsError(
            f"{path} is of another vocabulary or kind: expected {expected}, one float each. {REMEDY}"
        )
    measured = means[~np.isnan(means)]
    if not (measured > 0).any() or (measured < 0).any() or np.isinf(measured).any():
        raise WeightsError(
            f"{path} holds means that are negative or infinite, or none above 0: expected {expected}, NaN "
            f"for what is not measured. {REMEDY}"
        )
    return means.astype(np.float64)


# Heads of pretraining, and the layer that the others were copied from.
_IGNORED = ("encoder_layer.*", "*classifier_head.*", "*pooler_head.*", "*cls_head.*")
_SIZES = {
    "dim_model": (1, 2**15), "nheads": (1, 2**10), "dim_feedforward": (1, 2**17), "nlayers": (1, 512),
    "n_tokens": (FIRST_GENE + 1, 2**22), "context_length": (_CONTEXT + 1, 2**17),
}  # fmt: skip


def _read_model(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Hyperparameters and tensors of a Lightning checkpoint."""
    content = read_content(path)
    config = content.get("hyper_parameters") if isinstance(content, dict) else None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not isinstance(state, dict):
        raise WeightsError(
            f"{path} is not a checkpoint of Nicheformer: expected hyper_parameters and state_dict, as "
            f"Lightning writes them. {REMEDY}"
        )
    require_architecture(config, path, _SIZES, {}, heads="nheads", width="dim_model")
    if not config.get("learnable_pe", True):
        raise WeightsError(f"{path} has no learnt positions, which this network expects. {REMEDY}")
    return config, tensors_of(state)


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    key = key.removeprefix("nicheformer.")
    return rename_layer(key, "encoder.layers.") or key


def own_means(counts: sparse.csr_matrix) -> np.ndarray:
    """(genes,) mean of counts per 10,000 over all cells, 1 where no cell expresses a gene."""
    totals = np.asarray(counts.sum(axis=1), np.float64).ravel()
    scaled = counts.multiply((10_000 / np.where(totals == 0, 1, totals))[:, None])
    means = np.asarray(scaled.mean(axis=0)).ravel()
    return np.where(means == 0, 1.0, means)


def _draw(network: NicheformerNetwork, names: list[str], seed: int) -> None:
    """Normal weights, zero biases, norms that change nothing; embeddings of genes are drawn by name."""
    fill_normal(network, 0.02, seed)
    with torch.no_grad():
        rows = gene_rows(names, network.embeddings.weight.shape[1], seed)
        network.embeddings.weight.copy_(torch.from_numpy(rows))
        network.embeddings.weight[PAD] = 0
