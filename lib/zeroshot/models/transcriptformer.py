"""TranscriptFormer: a generative transformer over genes, as protein embeddings, with their counts.

Released files are read as they are; attention is computed densely, without flex attention.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear
from zeroshot.models.ensembl_names import ensembl_of_symbol
from zeroshot.models.networks import (
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.released_names import rename_in_layer, rename_part
from zeroshot.models.untrained import fill_uniform, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_genes, read_state
from zeroshot.models.weights.files import (
    REMEDY,
    read_json,
    require_architecture,
    require_numbering,
    shortened,
)
from zeroshot.tokens.genes import align_ensembl, collapse, note_silent_cells, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens

PACKAGES = ("h5py", "numpy", "pandas", "scipy", "torch")

# Before the genes of a vocabulary, where the config names no others.
SPECIAL = ("unknown", "[START]", "[END]", "[RD]", "[CELL]", "[PAD]", "[MASK]")
_IGNORED = ("mu.*", "gene_id_head.*")  # heads that predict genes and counts


@dataclass(frozen=True, kw_only=True)
class TranscriptFormer:
    """Sum of the hidden states of a cell's genes, divided by the length of the longest sequence.

    Attributes
    ----------
    checkpoint
        Roles "config" (``config.json``), "weights", "vocabulary" (``homo_sapiens_gene.h5``) and, for an
        ``assay``, "assays" (``assay_vocab.json``); if possible "gene_names" for genes named by symbols.
    architecture
        Fields of ``model_config`` with ``protein_dim``, instead of a config: makes the model an untrained
        one, its weights drawn by the seed.
    assay
        Of all cells, as the vocabulary of assays has it. None is upstream's unknown assay, whose token no
        other one attends to.
    order
        In which a cell's genes are read: "data-set", that of its columns as upstream, or "vocabulary". A gene
        attends to those before it, so that the order changes the embedding.
    clip_counts
        Largest count that is read.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Pearce et al. 2025; czi-ai/transcriptformer: model.py at 96e91e7 and dataloader.py at 177b97a. Its
    layers.py, vocab.py and utils.py were read in the copy of helicalAI/helical (1f9d01f, 0a4fcd5, 26da9dd).
    Read, not executed: no output of the reference was at hand to compare with.

    Differs
    -------
    Genes of one id are added up; upstream refuses them. Symbols are looked up, by HGNC where the files name
    none. Computed in the precision that is asked for; upstream in float16 where it can.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    assay: str | None = None
    order: Literal["data-set", "vocabulary"] = "data-set"
    clip_counts: float = 30
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.order not in ("data-set", "vocabulary"):
            raise ValueError(f"unknown order {self.order!r}: data-set or vocabulary")
        if self.clip_counts <= 0:
            raise ValueError(f"clip_counts is {self.clip_counts}: counts are positive")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what lists those of any rows with their counts. Nothing is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If a file is damaged.
        """
        tokens = self._tokens(cells)
        if self.vocabulary == "data-set":
            targets, overlap = np.arange(len(cells.genes)) + len(SPECIAL), None
        else:
            symbols = ensembl_of_symbol(self.checkpoint)
            alignment = align_ensembl(cells.genes, cells.ensembl_ids, tokens, ensembl_of_symbol=symbols)
            require_overlap(alignment, "TranscriptFormer", cells.counts)
            targets, overlap = alignment.targets, alignment.report(cells.counts)
        counts, entries = collapse(cells.counts, targets)
        if self.order == "vocabulary":
            ranked = np.argsort(entries)
            counts, entries = counts[:, ranked], entries[ranked]
        counts.eliminate_zeros()
        room, start = self._config()["seq_len"] - 1, tokens["[START]"]
        return Tokenizer(
            lambda rows: read_columns(counts[rows], entries, start, room, self.clip_counts),
            pad_id=tokens["[PAD]"],
            overlap=overlap,
            notes=note_silent_cells(counts),
        )

    def network(self, cells: Cells, seed: int) -> "TranscriptFormerNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, vocabularies and weights do not belong together.
        """
        config, tokens = self._config(), self._tokens(cells)
        if self.architecture is not None:
            build = partial(TranscriptFormerNetwork, config, len(tokens), config["protein_dim"], 1, None)
            return untrained_network(build, partial(_draw, names=sorted(tokens, key=tokens.get), seed=seed))
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        names = ("gene_embeddings.embedding.weight", "aux_embeddings.assay.weight")
        absent = [name for name in names if name not in state or state[name].ndim != 2]
        if absent:
            raise WeightsError(f"{path} lacks {', '.join(absent)}: it is not a TranscriptFormer. {REMEDY}")
        table, assays = (state[name] for name in names)
        require_genes(len(tokens), len(table), self.checkpoint, "tokens and genes")
        build = partial(TranscriptFormerNetwork, config, *table.shape, len(assays), self._assay(len(assays)))
        return trained_network(build, state, rename, _IGNORED, path)

    def _assay(self, n_assays: int) -> int | None:
        """Number of the assay of the cells; None for an unknown one."""
        if self.assay is None:
            return None
        path, expected = self.checkpoint.files["assays"], "assay_vocab.json of a TranscriptFormer"
        numbers = require_numbering(read_json(path, expected), path, expected)
        if self.assay not in numbers:
            examples = ", ".join(list(numbers)[:10])
            raise WeightsError(f"{path} has no assay {self.assay!r}: choose one of it, such as {examples}")
        if len(numbers) != n_assays:
            raise WeightsError(f"{path} has {len(numbers)} assays, the model {n_assays}. {REMEDY}")
        return None if self.assay == "unknown" else numbers[self.assay]

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        return read_config(self.checkpoint.files["config"])["model_config"]

    def _tokens(self, cells: Cells) -> dict[str, int]:
        """Number of each token in the vocabulary, special ones first."""
        if self.vocabulary == "data-set":
            return {name: number for number, name in enumerate([*SPECIAL, *map(str, cells.genes)])}
        return read_tokens(self.checkpoint)


class TranscriptFormerNetwork(nn.Module):
    """Protein embeddings through a perceptron, and layers whose residual is what the norm gave.

    Parameters
    ----------
    config
        Fields of ``model_config``.
    n_tokens, protein_dim
        Shape of the table of proteins.
    n_assays, assay
        Rows of the table of assays, and the one that stands before a cell's genes; None for none.

    Source
    ------
    Pearce et al. 2025; Transcriptformer of model.py at 96e91e7, with ``embed=True``.
    """

    def __init__(
        self, config: Mapping[str, Any], n_tokens: int, protein_dim: int, n_assays: int, assay: int | None
    ) -> None:
        super().__init__()
        dim = config["embed_dim"]
        self.assay, self.longest = assay, config["seq_len"]
        self.softcap, self.eps = config["softcap"], config["log_counts_eps"]
        self.proteins = nn.Embedding(n_tokens, protein_dim)
        self.project1, self.project2 = Linear(protein_dim, dim), Linear(dim, dim)
        self.project_norm = nn.LayerNorm(dim)
        self.assays = nn.Embedding(n_assays, dim)
        self.layers = nn.ModuleList(
            _Layer(dim, config["num_heads"], config["model_dim"]) for _ in range(config["num_layers"])
        )

    def forward(self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 embeddings.

        Parameters
        ----------
        ids, values
            (cells, tokens) ``[START]`` and genes with their counts, padded on the right.
        lengths
            (cells,) tokens that are no padding.
        """
        projected = nn.functional.relu(self.project1(self.proteins(ids)))
        hidden = self.project2(self.project_norm(projected))
        n_before = 0
        if self.assay is not None:
            n_before = 1
            hidden = torch.cat([self.assays.weight[self.assay].expand(len(ids), 1, -1), hidden], dim=1)
            values = torch.cat([torch.ones_like(values[:, :1]), values], dim=1)
        bias = torch.log1p(values.float() + self.eps).to(hidden.dtype)[:, None, None]
        for layer in self.layers:
            hidden = layer(hidden, bias, self.softcap)
        # No token attends to padding, which stands behind all others.
        real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        genes = torch.where(real[..., None], hidden[:, n_before:].float(), 0)
        return genes.sum(dim=1) / self.longest


class _Layer(nn.Module):
    def __init__(self, dim: int, n_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.out = (Linear(dim, dim, bias=False) for _ in range(4))
        self.linear1, self.linear2 = Linear(dim, ffn_dim, bias=False), Linear(ffn_dim, dim, bias=False)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, hidden: torch.Tensor, bias: torch.Tensor, softcap: float) -> torch.Tensor:
        read = self.norm1(hidden)
        query, key, value = (
            part(read).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias
        if softcap > 0:
            scores = torch.tanh(scores / softcap) * softcap
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        attended = scores.masked_fill(later, -torch.inf).softmax(dim=-1) @ value
        read = self.norm2(self.out(attended.transpose(1, 2).flatten(2)) + read)
        return self.linear2(nn.functional.gelu(self.linear1(read))) + read


def read_columns(
    counts: sparse.csr_matrix, entries: np.ndarray, start: int, room: int, clip_counts: float
) -> Tokens:
    """``[START]`` with count 1, then the first ``room`` expressed genes of each cell in the order of columns.

    Parameters
    ----------
    counts
        (cells, columns), no zeros stored.
    entries
        (columns,) token of each.
    start, room, clip_counts
        Token ``[START]``, most genes of a cell, and the largest count.
    """
    counts.sort_indices()
    expressed = np.diff(counts.indptr)
    n_genes = np.minimum(expressed, room)
    places = [slice(first, first + n) for first, n in zip(counts.indptr[:-1], n_genes, strict=True)]
    ids = chain.from_iterable(([start], entries[counts.indices[place]]) for place in places)
    values = chain.from_iterable(([1.0], np.minimum(counts.data[place], clip_counts)) for place in places)
    return Tokens(
        np.concatenate([*ids]).astype(np.int64),
        np.concatenate([*values]).astype(np.float32),
        np.concatenate([[0], np.cumsum(n_genes + 1)]).astype(np.int64),
        (expressed - n_genes).astype(np.int64),
    )


_SIZES = {
    "embed_dim": (1, 2**15), "num_heads": (1, 2**10), "num_layers": (1, 512), "model_dim": (1, 2**17),
    "seq_len": (2, 2**16),
}  # fmt: skip
_VALUES = {"softcap": (0, 1e6), "log_counts_eps": (0, 1)}
_FIXED = {"activation": "gelu", "attn_bias": False, "fw_bias": False}


def read_config(path: Path) -> dict[str, Any]:
    """``model_config`` and ``data_config`` of a released TranscriptFormer.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or describes what this network does not compute.
    """
    expected = "config.json of a TranscriptFormer"
    content = read_json(path, expected).get("model")
    names = ("model_config", "data_config")
    parts = {name: content.get(name) for name in names} if isinstance(content, dict) else {}
    if not parts or not all(isinstance(part, dict) for part in parts.values()):
        raise WeightsError(f"{path} lacks model_config and data_config. Expected {expected}. {REMEDY}")
    config = parts["model_config"]
    absent = [name for name in (*_SIZES, *_VALUES, *_FIXED) if name not in config]
    if absent:
        raise WeightsError(f"{path} lacks {', '.join(absent)}. Expected {expected}. {REMEDY}")
    require_architecture(config, path, _SIZES, _VALUES, heads="num_heads", width="embed_dim")
    other = [name for name, value in _FIXED.items() if config[name] != value]
    if other:
        asked = ", ".join(f"{name} {shortened(config[name])}" for name in other)
        raise WeightsError(f"{path} asks for {asked}, which this network does not compute. {REMEDY}")
    return parts


def read_tokens(checkpoint: Checkpoint) -> dict[str, int]:
    """Number of each special token, then of each gene in the order of its file."""
    special = read_config(checkpoint.files["config"])["data_config"].get("special_tokens") or SPECIAL
    tokens = [*special, *read_genes(checkpoint.files["vocabulary"])]
    if not {"[START]", "[PAD]"} <= set(special) or len(set(tokens)) < len(tokens):
        raise WeightsError(
            f"{checkpoint.files['config']} has special_tokens without [START] or [PAD], or one that is a "
            f"gene. {REMEDY}"
        )
    return {token: number for number, token in enumerate(tokens)}


_NAMES = {
    "gene_embeddings.embedding": "proteins",
    "gene_embeddings.mlp.layers.0": "project1",
    "gene_embeddings.mlp.layers.2": "project_norm",
    "gene_embeddings.mlp.layers.4": "project2",
    "aux_embeddings.assay": "assays",
}
_NAMES_IN_LAYER = {
    "self_attn.linears.0": "query",
    "self_attn.linears.1": "key",
    "self_attn.linears.2": "value",
    "self_attn.linears.3": "out",
    "linear1": "linear1",
    "linear2": "linear2",
    "norm1": "norm1",
    "norm2": "norm2",
}


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    prefix = "transformer_encoder.encoder_layers."
    return rename_in_layer(key, prefix, _NAMES_IN_LAYER, "layers.") or rename_part(key, _NAMES)


def _draw(network: TranscriptFormerNetwork, names: list[str], seed: int) -> None:
    """Linear layers as torch draws them; a random row for each protein, by the name of its gene."""
    fill_uniform(network, seed)
    with torch.no_grad():
        network.assays.weight.zero_()
        rows = gene_rows(names, network.proteins.weight.shape[1], seed)
        network.proteins.weight.copy_(torch.from_numpy(rows))
