"""GeneCompass: a BERT whose tokens are ranked genes with their values and four kinds of prior knowledge.

Released checkpoints are read as they are; the network is native.
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
from zeroshot.models.encoder import Linear, TransformerEncoder
from zeroshot.models.geneformer import nonzero_medians
from zeroshot.models.geneformer_files import (
    join_attention,
    read_config,
    read_names,
    read_tokens,
    rename_layer,
)
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.released_names import rename_part
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_dictionary, read_state
from zeroshot.models.weights.files import REMEDY, shortened
from zeroshot.tokens.genes import align_ensembl, collapse, note_silent_cells, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import rank_tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")

KNOWLEDGE = ("promoter", "co_exp", "gene_family", "peca_grn")
SPECIES = {"human": 0, "mouse": 1}
SPECIAL = ("<pad>", "<mask>")

_KNOWLEDGE_DIM = 768  # of each table, as the names of the authors' files say


@dataclass(frozen=True, kw_only=True)
class GeneCompass:
    """The token of the species, which stands before the genes, after the last layer.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights" (with the tables of prior knowledge), "token_dictionary" and
        "gene_medians", and "gene_names" (symbol to Ensembl id) if genes are named by symbols.
    architecture
        Fields of ``config.json`` instead of it: makes the model an untrained one, its weights and its tables
        drawn by the seed.
    species
        Of the cells: a key of ``SPECIES``.
    padding
        "attended": each cell is filled up to the longest input with padding that takes part in attention, as
        upstream, whose helper gives no mask. "masked": padding is excluded.
    max_tokens
        Most genes of a cell; None for as many as the model has positions.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set, each with its non-zero median.

    Source
    ------
    Yang et al. 2024; xCompass-AI/GeneCompass at 8323757, preprocess/preprocess.py,
    genecompass/knowledge_embeddings.py and modeling_bert.py. Read there, not executed: no output of the
    reference was at hand to compare with.

    Differs
    -------
    No cell is filtered: upstream leaves out those whose counts or mitochondrial share lie three standard
    deviations off, and those with fewer than seven genes. Equal values keep the order of the genes.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    species: str = "human"
    padding: Literal["attended", "masked"] = "attended"
    max_tokens: int | None = None
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing or contradict each other."""
        for name, allowed in (("species", tuple(SPECIES)), ("padding", ("attended", "masked"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}: {' or '.join(allowed)}")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what ranks them with their values in any rows. Nothing is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If a dictionary is damaged, or the model has too few positions.
        """
        positions = self._config()["max_position_embeddings"]
        room = positions if self.max_tokens is None else self.max_tokens
        if not 1 <= room <= positions:
            raise WeightsError(
                f"max_tokens is {room}; this model has positions for 1 to {positions} genes: choose a number "
                "in between"
            )
        overlap, notes = None, ()
        tokens = self._tokens(cells)
        if self.vocabulary == "data-set":
            counts = sparse.csr_matrix(cells.counts, dtype=np.float64)
            columns = np.array([tokens[name] for name in cells.genes])
            medians = nonzero_medians(counts, np.full(counts.shape[0], 10_000.0))  # of counts as they are
            notes = (f"the vocabulary is the {len(columns):,} genes of the data set, with their medians",)
        else:
            files = self.checkpoint.files
            genes = {name: number for name, number in tokens.items() if name not in SPECIAL}
            symbols = read_names(files["gene_names"]) if "gene_names" in files else None
            alignment = align_ensembl(cells.genes, cells.ensembl_ids, genes, ensembl_of_symbol=symbols)
            require_overlap(alignment, "GeneCompass", cells.counts)
            counts, columns = collapse(cells.counts, alignment.targets)
            overlap = alignment.report(cells.counts)
            name_of = {number: name for name, number in genes.items()}
            medians = read_medians(files["gene_medians"], [name_of[number] for number in columns])
        notes = (*notes, *note_silent_cells(counts))
        values = relative_values(counts, medians)
        fill = room if self.padding == "attended" else None
        return Tokenizer(
            lambda rows: _filled(rank_with_values(values[rows], columns, room), tokens["<pad>"], fill),
            pad_id=tokens["<pad>"],
            overlap=overlap,
            notes=notes,
        )

    def network(self, cells: Cells, seed: int) -> "GeneCompassNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, dictionary and weights do not belong together.
        """
        config, tokens = self._config(), self._tokens(cells)
        if config.get("vocab_size", len(tokens)) != len(tokens):
            raise WeightsError(
                f"the token dictionary has {len(tokens):,} entries "
                f"({self.checkpoint.files['token_dictionary']}), the model {config['vocab_size']:,} "
                f"({self.checkpoint.files['config']}): they are not of the same release. {REMEDY}"
            )
        build = partial(GeneCompassNetwork, config, len(tokens), species=SPECIES[self.species])
        if self.architecture is not None:
            names = sorted(tokens, key=tokens.get)
            draw = partial(_draw, spread=config["initializer_range"], names=names, seed=seed)
            tables = dict.fromkeys(KNOWLEDGE, (len(tokens), _KNOWLEDGE_DIM))
            return untrained_network(partial(build, tables), draw)
        path = self.checkpoint.files["weights"]
        state = join_attention(read_state(path, _IGNORED), path)
        return trained_network(partial(build, _table_shapes(state, path)), state, rename, _IGNORED, path)

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        path = self.checkpoint.files["config"]
        config = read_config(path)
        flags = [f"use_{name}" for name in (*KNOWLEDGE, "values", "cls_token")]
        absent = [flag for flag in flags if config.get(flag) is not True]
        if absent:
            raise WeightsError(
                f"{path} has {', '.join(f'{flag} {shortened(config.get(flag))}' for flag in absent)}: this "
                f"network reads values, a token of the species and all four kinds of knowledge. {REMEDY}"
            )
        return config

    def _tokens(self, cells: Cells) -> dict[str, int]:
        """Number of each token in the vocabulary, special ones included."""
        if self.vocabulary == "data-set":
            return {name: number for number, name in enumerate([*SPECIAL, *cells.genes])}
        return read_tokens(self.checkpoint.files["token_dictionary"])


class GeneCompassNetwork(nn.Module):
    """Genes, values and knowledge put together, a token of the species before them, and a BERT.

    Parameters
    ----------
    config
        Fields of ``config.json``.
    n_tokens
        Size of the vocabulary.
    tables
        Shape of each table of prior knowledge, by its name in ``KNOWLEDGE``: all have the same rows.
    species
        Number of the species.

    Source
    ------
    Yang et al. 2024; KnowledgeBertEmbeddings and BertModel at 8323757. The token of the species joins after
    the layer norm and has no position.
    """

    def __init__(
        self, config: Mapping[str, Any], n_tokens: int, tables: Mapping[str, tuple[int, int]], *, species: int
    ) -> None:
        super().__init__()
        dim, eps = config["hidden_size"], config["layer_norm_eps"]
        self.species = species
        self.words = nn.Embedding(n_tokens, dim)
        self.positions = nn.Embedding(config["max_position_embeddings"], dim)
        self.types = nn.Embedding(config.get("type_vocab_size", 2), dim)
        self.species_tokens = nn.Embedding(len(SPECIES), dim)
        for name in KNOWLEDGE:
            self.register_buffer(f"{name}_knowledge", torch.empty(tables[name]))
        self.knowledge = nn.ModuleDict({name: Linear(tables[name][1], dim) for name in KNOWLEDGE})
        # Genes of the mouse read the knowledge of the human genes that they are homologous to.
        self.register_buffer("homologous", torch.empty(tables[KNOWLEDGE[0]][0], dtype=torch.int64))
        self.joined = Linear((1 + len(KNOWLEDGE)) * dim + 1, dim)
        self.joined_norm = nn.LayerNorm(dim)
        self.projection = Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.encoder = TransformerEncoder(
            config["num_hidden_layers"], dim, config["num_attention_heads"], config["intermediate_size"],
            activation=config["hidden_act"], eps=eps,
        )  # fmt: skip

    def forward(self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32, the token of the species after the last layer.

        Parameters
        ----------
        ids, values
            (cells, tokens) genes and log2 of 1 + counts over the gene's median, padded on the right.
        lengths
            (cells,) tokens that are attended to.
        """
        first = self.species_tokens.weight[self.species].expand(len(ids), 1, -1)
        hidden = torch.cat([first, self.embedded(ids, values)], dim=1)
        return self.encoder(hidden, lengths + 1, first_only=True)[:, 0].float()

    def embedded(self, ids: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return (cells, tokens, dim) embedded genes, without the token of the species."""
        human = self.homologous[ids] if self.species == SPECIES["mouse"] else ids
        read = [self.knowledge[name](getattr(self, f"{name}_knowledge")[human]) for name in KNOWLEDGE]
        words = self.words(ids)
        joined = self.joined(torch.cat([words, values[..., None].to(words.dtype), *read], dim=-1))
        joined = self.joined_norm(joined)
        joined = self.projection(joined * torch.sigmoid(1.702 * joined))
        return self.norm(joined + self.types.weight[0] + self.positions.weight[: ids.shape[1]])


def relative_values(counts: sparse.csr_matrix, medians: np.ndarray) -> sparse.csr_matrix:
    """(cells, genes) log2 of 1 + counts over the gene's median; counts are not scaled to a depth."""
    values = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
    values.sum_duplicates()
    values.data = np.log2(1 + values.data / medians[values.indices])
    values.eliminate_zeros()
    return values


def rank_with_values(values: sparse.csr_matrix, token_ids: np.ndarray, room: int) -> Tokens:
    """Genes of each cell from the highest to the lowest value, each with its value.

    Parameters
    ----------
    values
        (cells, columns) see :func:`relative_values`.
    token_ids
        (columns,) token of each gene.
    room
        Most genes of a cell.
    """
    n_cells, n_columns = values.shape
    ones, columns = np.ones(max(n_cells, n_columns)), np.arange(n_columns)
    ranked = rank_tokens(values, ones[:n_cells], ones[:n_columns], columns, max_tokens=room, target_sum=1)
    # Where each ranked gene stands in the matrix, whose rows and columns are in order.
    stored = np.repeat(np.arange(n_cells), np.diff(values.indptr)) * n_columns + values.indices
    wanted = np.repeat(np.arange(n_cells), ranked.lengths) * n_columns + ranked.ids
    data = values.data[np.searchsorted(stored, wanted)].astype(np.float32)
    return Tokens(token_ids[ranked.ids], data, ranked.offsets, ranked.left_out)


def _filled(tokens: Tokens, pad_id: int, length: int | None) -> Tokens:
    """The same genes with padding behind them up to a length; as they are with None."""
    if length is None:
        return tokens
    lengths = tokens.lengths
    real = np.arange(length) < lengths[:, None]
    ids, values = np.full(real.shape, pad_id, np.int64), np.zeros(real.shape, np.float32)
    ids[real], values[real] = tokens.ids, tokens.values
    offsets = np.arange(len(lengths) + 1, dtype=np.int64) * length
    return Tokens(ids.ravel(), values.ravel(), offsets, tokens.left_out)


def read_medians(path: Path, genes: list[str]) -> np.ndarray:
    """(genes,) median of each gene, 1 for a gene without one, as upstream.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged, or a median is one that counts cannot be divided by.
    """
    medians = read_dictionary(path)
    if not any(gene in medians for gene in genes):
        raise WeightsError(
            f"{path} has a median for none of {len(genes):,} genes, such as {genes[0][:40]}; expected is one "
            f"for most of them, by Ensembl id. {REMEDY}"
        )
    wrong = [gene for gene in genes if gene in medians and not _is_median(medians[gene])]
    if wrong:
        raise WeightsError(
            f"{path} has the median {shortened(medians[wrong[0]])} for {wrong[0][:40]}; expected a finite "
            f"number above 0. {REMEDY}"
        )
    return np.array([float(medians.get(gene, 1)) for gene in genes])


def _is_median(value: Any) -> bool:
    return type(value) in (int, float) and 1e-9 <= value <= 1e9


# Two heads of pretraining and their warm-up, and a constant.
_IGNORED = ("cls.*", "cls4value.*", "emb_warmup*", "bert.pooler.*", "bert.embeddings.position_ids")
_NAMES = {
    "word_embeddings": "words", "position_embeddings": "positions", "token_type_embeddings": "types",
    "LayerNorm": "norm", "concat_embeddings.cat_fc": "joined", "concat_embeddings.cat_ln": "joined_norm",
    "concat_embeddings.cat_proj": "projection",
    **{f"{name}_embeddings.linear1": f"knowledge.{name}" for name in KNOWLEDGE},
}  # fmt: skip
_BUFFERS = {"homologous_index": "homologous"} | {
    f"{name}_knowledge": f"{name}_knowledge" for name in KNOWLEDGE
}


def _table_shapes(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, tuple[int, int]]:
    """Shapes of the tables of prior knowledge, which are part of the weights."""
    names = {name: f"bert.embeddings.{name}_knowledge" for name in KNOWLEDGE}
    absent = [key for key in names.values() if key not in state or state[key].ndim != 2]
    if absent:
        raise WeightsError(
            f"{path} lacks {', '.join(absent)}: it is not a checkpoint of GeneCompass. {REMEDY}"
        )
    shapes = {name: tuple(state[key].shape) for name, key in names.items()}
    words = state.get("bert.embeddings.word_embeddings.weight")
    rows = {shape[0] for shape in shapes.values()}
    if words is None or rows != {len(words)}:
        raise WeightsError(
            f"{path} has tables of knowledge for {sorted(rows)} tokens: expected as many as the model has "
            f"words, {'none' if words is None else len(words)}. {REMEDY}"
        )
    return shapes


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    if key == "bert.cls_embedding.weight":
        return "species_tokens.weight"
    if not key.startswith("bert.embeddings."):
        return rename_layer(key)
    key = key.removeprefix("bert.embeddings.")
    return _BUFFERS.get(key) or rename_part(key, _NAMES)


def _draw(network: GeneCompassNetwork, spread: float, names: list[str], seed: int) -> None:
    """Initialise as transformers does; tables of knowledge are drawn by the name of the gene."""
    fill_normal(network, spread, seed)
    with torch.no_grad():
        rows = gene_rows(names, network.words.weight.shape[1], seed)
        network.words.weight.copy_(torch.from_numpy(rows)).mul_(spread)[: len(SPECIAL)] = 0
        for number, name in enumerate(KNOWLEDGE, start=1):
            table = getattr(network, f"{name}_knowledge")
            table.copy_(torch.from_numpy(gene_rows(names, table.shape[1], seed + number)))
            table[: len(SPECIAL)] = 0
        network.homologous.copy_(torch.arange(len(names)))
