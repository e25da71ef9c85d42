"""scPRINT: a transformer over genes, each a protein embedding with its value and place in the genome.

The released checkpoint is read as it is; the network is native.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear, TransformerEncoder
from zeroshot.models.geneformer_files import read_names
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.released_names import rename_in_layer, rename_part
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_content, tensors_of
from zeroshot.models.weights.files import REMEDY, shortened
from zeroshot.tokens.genes import (
    Alignment,
    align_ensembl,
    align_symbols,
    note_silent_cells,
    over_vocabulary,
    require_overlap,
)
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import cell_keys, uniform

PACKAGES = ("numpy", "pandas", "scipy", "torch")

CLASSES = ("cell_type_ontology_term_id", "disease_ontology_term_id",
           "self_reported_ethnicity_ontology_term_id", "sex_ontology_term_id")  # fmt: skip
_LARGEST = 1e5  # of a value or of a logarithm of depth
_EPS = 1e-6
_CELLS_AT_ONCE = 64  # of which a number is drawn for each gene of the vocabulary


@dataclass(frozen=True, kw_only=True)
class Scprint:
    """Mean of the tokens that stand for some of the predicted classes, after the last layer.

    Attributes
    ----------
    checkpoint
        Role "weights" (a Lightning checkpoint whose ``hyper_parameters`` hold the Ensembl ids of its genes);
        "gene_names" (symbol to Ensembl id) if genes are named by symbols.
    architecture
        ``nlayers``, ``nhead`` and ``d_model``: makes the model an untrained one, its weights drawn by the
        seed.
    genes
        "drawn": ``n_genes`` of each cell, expressed ones without replacement first, then others at random.
        "expressed": all expressed genes and no others.
    n_genes
        How many are drawn.
    classes
        Names of the predicted classes whose tokens are averaged.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Kalfon et al. 2025; cantinilab/scPRINT at 4acc1a4 with simpler_flash 1.3.5: tasks/cell_emb.py,
    model/model.py, model/encoders.py. Read there, not executed: no output of the reference was at hand to
    compare with.

    Differs
    -------
    Genes are drawn by seed, cell and gene: upstream sets no seed. Computed in float32; upstream in half
    precision unless told otherwise. Of a gene without Ensembl id the symbol is looked up; upstream asks for
    ids. Checkpoints with cell-specific blocks, grouped keys, metacells or a bottleneck are refused.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    genes: Literal["drawn", "expressed"] = "drawn"
    n_genes: int = 2000
    classes: Sequence[str] = CLASSES
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.genes not in ("drawn", "expressed"):
            raise ValueError(f"unknown genes {self.genes!r}: drawn or expressed")
        if self.n_genes < 1:
            raise ValueError(f"n_genes is {self.n_genes}: at least 1 is needed")
        if not self.classes:
            raise ValueError("classes is empty: the embedding is a mean over tokens of classes")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what draws genes of any rows.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        """
        config = self._config(cells)
        n_known = len(config["genes"])
        alignment = self._align(cells, config["genes"])
        require_overlap(alignment, "scPRINT", cells.counts)
        counts = over_vocabulary(cells.counts, alignment.targets, n_known)

        def tokenize(rows: np.ndarray) -> Tokens:
            selected = counts[rows]
            if self.genes == "drawn":
                genes, values = draw_genes(selected, cell_keys(cells.ids[rows]), seed, self.n_genes)
                lengths = np.full(len(rows), genes.shape[1])
            else:
                genes, values, lengths = selected.indices, selected.data, np.diff(selected.indptr)
            return with_depth(
                genes.ravel(), values.ravel(), lengths, cells.library_size[rows], config["normalization"]
            )

        overlap = None if self.vocabulary == "data-set" else alignment.report(cells.counts)
        return Tokenizer(tokenize, pad_id=0, overlap=overlap, notes=note_silent_cells(counts))

    def network(self, cells: Cells, seed: int) -> "ScprintNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If they are not those of a scPRINT that can be read, or lack one of the classes.
        """
        if self.architecture is not None:
            config = self._config(cells)
            build = partial(ScprintNetwork, config, self.classes)
            return untrained_network(build, partial(_draw, genes=config["genes"], seed=seed))
        path, (config, state) = self.checkpoint.files["weights"], self._release
        return trained_network(partial(ScprintNetwork, config, self.classes), state, rename, _IGNORED, path)

    @cached_property
    def _release(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What the checkpoint holds: the network takes its tensors, so that they are in memory once."""
        return read_release(self.checkpoint.files["weights"], self.classes)

    def _config(self, cells: Cells) -> Mapping[str, Any]:
        if self.architecture is None:
            return self._release[0]
        genes = [str(name) for name in cells.genes]
        facts = {"genes": genes, "classes": list(CLASSES), "normalization": "sum", "depth_atinput": True}
        return facts | self.architecture

    def _align(self, cells: Cells, genes: list[str]) -> Alignment:
        numbers = {name: number for number, name in enumerate(genes)}
        if self.vocabulary == "data-set":
            return align_symbols(cells.genes, numbers)
        names = self.checkpoint.files.get("gene_names")
        symbols = None if names is None else read_names(names)
        return align_ensembl(cells.genes, cells.ensembl_ids, numbers, ensembl_of_symbol=symbols)


class ScprintNetwork(nn.Module):
    """Genes, values and places embedded and summed after tokens of depth and classes, and a transformer.

    Parameters
    ----------
    config
        ``nlayers``, ``nhead``, ``d_model``, ``genes``, ``classes`` and ``depth_atinput``.
    classes
        Those whose tokens are averaged.

    Source
    ------
    Kalfon et al. 2025; model/model.py at 4acc1a4.
    """

    def __init__(self, config: Mapping[str, Any], classes: Sequence[str]) -> None:
        super().__init__()
        dim, n_genes = config["d_model"], len(config["genes"])
        self.depth_atinput = config["depth_atinput"]
        self.places = [config["classes"].index(name) + 1 for name in classes]  # 0 is the token of the cell
        self.genes = nn.Embedding(n_genes, dim)
        self.register_buffer("positions", torch.empty(n_genes, dim))
        self.value = _Value(dim)
        if self.depth_atinput:
            self.depth = _Value(dim)
        self.class_tokens = nn.Embedding(len(config["classes"]) + 1, dim)
        self.encoder = TransformerEncoder(
            config["nlayers"], dim, config["nhead"], 4 * dim, activation="gelu", eps=_EPS, norm="pre"
        )
        self.norm = nn.LayerNorm(dim, eps=_EPS)

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32.

        Parameters
        ----------
        ids, values
            (cells, tokens) the depth, whose id is not read, then genes with their values.
        lengths
            (cells,) tokens that are no padding.
        """
        values = values.to(self.positions.dtype)
        genes = self.genes(ids[:, 1:]) + self.value(values[:, 1:]) + self.positions[ids[:, 1:]]
        tokens = self.class_tokens.weight.expand(len(ids), -1, -1)
        first = [self.depth(values[:, :1]), tokens] if self.depth_atinput else [tokens]
        hidden = torch.cat([*first, genes], dim=1)
        special = hidden.shape[1] - genes.shape[1]
        hidden = self.norm(self.encoder(hidden, lengths - 1 + special)[:, :special])
        return hidden[:, [place + self.depth_atinput for place in self.places]].mean(dim=1).float()


class _Value(nn.Module):
    """A number as a vector."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear1, self.norm, self.linear2 = Linear(1, dim), nn.LayerNorm(dim), Linear(dim, dim)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        widened = self.linear1(values.clamp(0, _LARGEST)[..., None])
        return self.linear2(nn.functional.relu(self.norm(widened)))


def draw_genes(
    counts: sparse.csr_matrix, keys: np.ndarray, seed: int, n_genes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(cells, n_genes) genes drawn of each cell, in order, and their counts.

    Expressed genes come first; where they are too few, others complete them.

    Parameters
    ----------
    counts
        (cells, vocabulary); a gene that the data set lacks has no counts.
    keys
        (cells,) that stand for the names of the cells.
    seed
        Of the draws.
    n_genes
        All, if the vocabulary has fewer.
    """
    n_cells, n_known = counts.shape
    n_genes = min(n_genes, n_known)
    genes, values = np.empty((n_cells, n_genes), np.int64), np.empty((n_cells, n_genes))
    for start in range(0, n_cells, _CELLS_AT_ONCE):
        block = slice(start, start + _CELLS_AT_ONCE)
        dense = counts[block].toarray()
        draws = uniform(seed, keys[block, None], np.arange(n_known, dtype=np.uint64)) + (dense == 0)
        genes[block] = np.sort(np.argpartition(draws, n_genes - 1, axis=1)[:, :n_genes], axis=1)
        values[block] = np.take_along_axis(dense, genes[block], axis=1)
    return genes, values


def with_depth(
    genes: np.ndarray, values: np.ndarray, lengths: np.ndarray, totals: np.ndarray, normalization: str
) -> Tokens:
    """Genes of each cell with their values, after a token for its depth.

    Parameters
    ----------
    genes, values
        (tokens,) numbers and counts, cell after cell.
    lengths
        (cells,) genes of each.
    totals
        (cells,) counts of each cell over all its genes; the value of depth is log2(1 + total).
    normalization
        "sum": counts as shares of those of the cell's genes here. "log": log2(1 + count).
    """
    offsets = np.concatenate([[0], np.cumsum(lengths + 1)]).astype(np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    if normalization == "sum":
        sums = np.bincount(row, values, minlength=len(lengths))
        scaled = values / np.where(sums > 0, sums, 1)[row]
    else:
        scaled = np.log2(1 + values)
    ids, filled = np.zeros(offsets[-1], np.int64), np.empty(offsets[-1], np.float32)
    places = np.arange(len(genes)) + row + 1
    ids[places], filled[places] = genes, scaled
    filled[offsets[:-1]] = np.log2(1 + totals)
    return Tokens(ids, filled, offsets, np.zeros(len(lengths), np.int64))


_CLASSES = "class_encoder.embedding.weight"
_BLOCKS = "transformer.blocks."


def read_release(path: Path, classes: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Genes, classes and sizes of a released scPRINT, and its tensors.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file holds no such model, one that this network does not compute, or lacks one of the classes.
    """
    content = read_content(path)
    parts = [
        content.get(name) if isinstance(content, dict) else None
        for name in ("hyper_parameters", "state_dict")
    ]
    config, state = (part if isinstance(part, dict) else {} for part in parts)
    state = tensors_of(state)
    numbers = {key.split(".")[2] for key in state if key.startswith(_BLOCKS)}
    if not numbers or _CLASSES not in state or state[_CLASSES].ndim != 2:
        raise WeightsError(
            f"{path} holds no hyper_parameters beside a state_dict with {_CLASSES} and {_BLOCKS}*: it is "
            f"not a checkpoint of scPRINT. {REMEDY}"
        )
    genes, heads = config.get("genes"), config.get("nhead")
    if isinstance(genes, dict):  # by organism
        genes = [gene for of_organism in genes.values() for gene in of_organism]
    if not isinstance(genes, list) or not genes or not all(type(gene) is str for gene in genes):
        raise WeightsError(f"{path} does not name its genes in hyper_parameters. {REMEDY}")
    dim = state[_CLASSES].shape[1]
    if type(heads) is not int or heads < 1 or dim % heads:
        raise WeightsError(f"{path} asks for {shortened(heads)} heads in a width of {dim}. {REMEDY}")
    usual = {
        "cell_specific_blocks": (False,), "use_metacell_token": (False,), "compress_class_dim": (None,),
        "num_heads_kv": (None, heads), "expr_emb_style": ("continuous",), "normalization": ("sum", "log"),
    }  # fmt: skip
    asked = [
        f"{name} {shortened(config[name])}"
        for name, expected in usual.items()
        if name in config and config[name] not in expected
    ]
    if asked:
        raise WeightsError(
            f"{path} describes another network ({', '.join(asked)}). This one has one set of blocks with as "
            f"many heads for keys as for queries, values of single cells and no bottleneck. {REMEDY}"
        )
    names = list(map(str, config.get("classes") or ()))
    if absent := [name for name in classes if name not in names]:
        raise WeightsError(f"{path} predicts no {', '.join(absent)}: choose classes among {', '.join(names)}")
    if _PLACES in state and state[_PLACES].ndim == 3:
        state[_PLACES] = state[_PLACES].squeeze(1)
    facts = {
        "genes": genes, "classes": names, "nhead": heads, "d_model": dim, "nlayers": len(numbers),
        "normalization": config.get("normalization", "sum"),
        "depth_atinput": any(key.startswith("depth_encoder.") for key in state),
    }  # fmt: skip
    return facts, state


_PLACES = "pos_encoder.pe"
# What predicts expression and classes in training.
_IGNORED = (
    "expr_decoder.*", "cls_decoders.*", "mvc_decoder.*", "splicing_head.*", "grad_reverse*", "attn.*",
    "mat_labels_hierarchy.*",
)  # fmt: skip
_NAMES = {
    "gene_encoder.embeddings": "genes", "class_encoder.embedding": "class_tokens", "transformer.norm": "norm",
    **{f"{part}_encoder.encoder.{place}": f"{name}.{inner}"
       for part, name in (("expr", "value"), ("depth", "depth"))
       for place, inner in ((0, "linear1"), (1, "norm"), (4, "linear2"))},
}  # fmt: skip
_NAMES_IN_LAYER = {
    "mixer.Wqkv": "qkv", "mixer.out_proj": "out", "mlp.fc1": "linear1", "mlp.fc2": "linear2",
    "norm1": "norm1", "norm2": "norm2",
}  # fmt: skip


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    if key == _PLACES:
        return "positions"
    return rename_in_layer(key, _BLOCKS, _NAMES_IN_LAYER) or rename_part(key, _NAMES)


def _draw(network: ScprintNetwork, genes: list[str], seed: int) -> None:
    """Normal weights, zero biases; genes drawn by their names, without places in a genome nobody names."""
    fill_normal(network, 0.02, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.genes.weight.copy_(torch.from_numpy(gene_rows(genes, network.genes.embedding_dim, seed)))
        network.class_tokens.weight.normal_(generator=generator)
        network.positions.zero_()
