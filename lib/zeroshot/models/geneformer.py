"""Geneformer: a BERT that reads a cell as its genes in the order of their expression.

Released checkpoints are read as they are; the network is native, without the geneformer package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import TransformerEncoder, mean_over
from zeroshot.models.geneformer_files import (
    IGNORED,
    SPECIAL,
    read_config,
    read_medians,
    read_names,
    read_tokens,
    read_weights,
    rename,
    write_release,
)
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError
from zeroshot.models.weights.files import shortened
from zeroshot.tokens.genes import align_ensembl, collapse, note_silent_cells, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import rank_tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")


@dataclass(frozen=True, kw_only=True)
class Geneformer:
    """Mean of the tokens of a layer, or its ``<cls>`` token.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights", "token_dictionary" and "gene_medians", and if possible "gene_names"
        (symbol to Ensembl id) and "ensembl_mapping" (retired to present id). Of an untrained twin only the
        dictionaries are read, and only with ``vocabulary`` "released".
    architecture
        Fields of ``config.json`` and ``special_tokens`` (whether ``<cls>`` and ``<eos>`` enclose a cell),
        instead of a config: makes the model an untrained one, its weights drawn by the seed.
    layer
        Which hidden state is pooled, counted as the reference counts: 0 is the last layer, -1 the second to
        last. Layers after it are not computed.
    pooling
        "mean" of a cell's genes, special tokens left out; or "cls", that token alone.
    exclude_ends
        Leave the first and the last token out of the mean even if they are genes.
    max_tokens
        Longest sequence; None for as many as the model has positions.
    vocabulary
        "released": dictionaries of the checkpoint. "data-set", for untrained models only: genes of the data
        set, each with its non-zero median over these cells.

    Source
    ------
    Theodoris et al. 2023; tokenizer.py and emb_extractor.py of the geneformer package, whose mean leaves
    special tokens out and whose ``emb_layer`` is ``layer`` here.

    Differs
    -------
    All cells are embedded, in input order: the package embeds 1,000 and sorts them by length. Equal
    expression keeps the order of the genes. A cell without any known gene has the zero vector as mean;
    versions of the package drop it.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    layer: int = -1
    pooling: Literal["mean", "cls"] = "mean"
    exclude_ends: bool = False
    max_tokens: int | None = None
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that contradict each other."""
        if self.pooling not in ("mean", "cls"):
            raise ValueError(f"unknown pooling {self.pooling!r}: mean or cls")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes to the vocabulary, and return what ranks them in any rows.

        Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If dictionaries and model are not of the same release.
        """
        config = self._config()
        tokens = self._tokens(cells)
        counts, columns, medians, overlap, notes = (
            self._own_genes(cells, tokens)
            if self.vocabulary == "data-set"
            else (*released_genes(cells, tokens, self.checkpoint.files, "Geneformer"), ())
        )
        room = config["max_position_embeddings"]
        max_tokens = room if self.max_tokens is None else self.max_tokens
        if not 3 <= max_tokens <= room:
            raise WeightsError(
                f"max_tokens is {max_tokens}; this model has positions for 3 to {room} tokens"
                f"{self._source('config')}: choose a number in between"
            )
        notes = (*notes, *note_silent_cells(counts))

        def tokenize(rows: np.ndarray) -> Tokens:
            return rank_tokens(
                counts[rows],
                cells.library_size[rows],
                medians,
                columns,
                max_tokens=max_tokens,
                cls_id=tokens.get("<cls>"),
                eos_id=tokens.get("<eos>"),
            )

        return Tokenizer(tokenize, pad_id=tokens["<pad>"], overlap=overlap, notes=notes)

    def tie_widths(self, cells: Cells, rows: np.ndarray, seed: int) -> None:
        """Return None: equal expression keeps the order of the genes, nothing is drawn."""

    def release(self, network: nn.Module, cells: Cells, folder: Path) -> None:
        """Write the files that :func:`zeroshot.models.weights.find` reads as a released Geneformer.

        Genes are named by Ensembl id where the cells have it, and by their name elsewhere.
        """
        tokens = self._tokens(cells)
        medians = nonzero_medians(sparse.csr_matrix(cells.counts, dtype=np.float64), cells.library_size)
        ids = np.asarray(cells.genes) if cells.ensembl_ids is None else cells.ensembl_ids
        ids = np.where(ids == "", cells.genes, ids)
        id_of = dict(zip(map(str, cells.genes), map(str, ids), strict=True))
        write_release(
            folder,
            network,
            self.architecture,
            {id_of.get(name, name): number for name, number in tokens.items()},
            dict(zip(id_of.values(), medians.tolist(), strict=True)),
            id_of,
        )

    def network(self, cells: Cells, seed: int) -> "GeneformerNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, dictionaries and weights do not belong together.
        """
        config = self._config()
        tokens = self._tokens(cells)
        if "vocab_size" in config and config["vocab_size"] != len(tokens):
            raise WeightsError(
                f"the token dictionary has {len(tokens):,} entries{self._source('token_dictionary')}, the "
                f"model {config['vocab_size']:,}{self._source('config')}: they are of different generations "
                "of Geneformer. Take the dictionaries that the card names."
            )
        if tokens["<pad>"] != config.get("pad_token_id", 0):
            raise WeightsError(
                f"<pad> is token {tokens['<pad>']:,}{self._source('token_dictionary')}, and "
                f"{shortened(config.get('pad_token_id', 0))} in the config{self._source('config')}: they are "
                "not of the same release. Take the dictionaries that the card names."
            )
        n_layers = config["num_hidden_layers"] + self.layer
        if not 0 <= n_layers <= config["num_hidden_layers"]:
            raise WeightsError(
                f"layer {self.layer} does not exist in a model of {config['num_hidden_layers']} layers"
                f"{self._source('config')}: 0 is the last, -1 the one before it"
            )
        has_ends = {"<cls>", "<eos>"} <= tokens.keys()
        if self.pooling == "cls" and not has_ends:
            raise WeightsError(
                "pooling is cls, but the vocabulary has no <cls> and <eos>"
                f"{self._source('token_dictionary')}: models of V1 have none, use mean"
            )
        special_ends = (1, 1) if has_ends else (0, 0)
        build = partial(
            GeneformerNetwork,
            config,
            len(tokens),
            mask=tokens["<mask>"],
            special_ends=special_ends,
            pooled_ends=(1, 1) if self.exclude_ends else special_ends,
            pooling=self.pooling,
            pooled_layers=n_layers,
        )
        if self.architecture is not None:
            names = sorted(tokens, key=tokens.get)
            draw = partial(draw_by_name, spread=config["initializer_range"], names=names, seed=seed)
            return untrained_network(build, draw)
        path = self.checkpoint.files["weights"]
        return trained_network(build, read_weights(path), rename, IGNORED, path)

    def _source(self, role: str) -> str:
        """The file of a role in brackets, for an error; nothing where there is none."""
        path = self.checkpoint.files.get(role) if self.checkpoint else None
        return f" ({path})" if path else ""

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        return read_config(self.checkpoint.files["config"])

    def _tokens(self, cells: Cells) -> dict[str, int]:
        """Number of each token in the vocabulary, special ones included."""
        if self.vocabulary == "data-set":
            special = SPECIAL if self.architecture["special_tokens"] else SPECIAL[:2]
            return {name: number for number, name in enumerate([*special, *cells.genes])}
        return read_tokens(self.checkpoint.files["token_dictionary"])

    def _own_genes(self, cells: Cells, tokens: Mapping[str, int]) -> tuple:
        counts = sparse.csr_matrix(cells.counts, dtype=np.float64)
        columns = np.array([tokens[name] for name in cells.genes])
        medians = nonzero_medians(counts, cells.library_size)
        note = (
            f"the vocabulary is the {len(columns):,} genes of the data set, with their medians over its cells"
        )
        return counts, columns, medians, None, (note,)


class RankNetwork(nn.Module):
    """BERT over ranked genes.

    Parameters
    ----------
    config
        Fields of ``config.json``.
    n_tokens
        Size of the vocabulary.
    pooled_ends, pooling, pooled_layers
        What ``forward`` pools: tokens left out at both ends, "mean" or "cls", and layers computed.

    Source
    ------
    Theodoris et al. 2023: BertModel of transformers with relu and an eps of 1e-12, as ``config.json`` says.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        n_tokens: int,
        *,
        pooled_ends: tuple[int, int],
        pooling: Literal["mean", "cls"],
        pooled_layers: int,
    ) -> None:
        super().__init__()
        self.pooled_ends = pooled_ends
        self.pooling = pooling
        self.pooled_layers = pooled_layers
        dim, eps = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(n_tokens, dim)
        self.positions = nn.Embedding(config["max_position_embeddings"], dim)
        self.types = nn.Embedding(config.get("type_vocab_size", 2), dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.encoder = TransformerEncoder(
            config["num_hidden_layers"],
            dim,
            config["num_attention_heads"],
            config["intermediate_size"],
            activation=config["hidden_act"],
            eps=eps,
        )

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 pooled hidden states.

        Parameters
        ----------
        ids
            (cells, tokens) padded on the right.
        values
            Not used: only the order of the genes is read.
        lengths
            (cells,) tokens that are no padding, special ones included.
        """
        if self.pooling == "cls":
            return self.hidden(ids, lengths, self.pooled_layers, first_only=True)[:, 0].float()
        # Summed in float32 whatever the network computes in: bfloat16 keeps three digits.
        hidden = self.hidden(ids, lengths, self.pooled_layers).float()
        before, after = self.pooled_ends
        place = torch.arange(ids.shape[1], device=ids.device)
        pooled = (place >= before) & (place < lengths[:, None] - after)
        return mean_over(hidden, pooled)

    def hidden(
        self,
        ids: torch.Tensor,
        lengths: torch.Tensor,
        n_layers: int | None = None,
        *,
        first_only: bool = False,
    ) -> torch.Tensor:
        """Return (cells, tokens, dim) hidden states after some layers, 0 for the embedded tokens."""
        embedded = self.words(ids) + (self.positions.weight[: ids.shape[1]] + self.types.weight[0])
        return self.encoder(
            self.norm(embedded), lengths.clamp(min=1), n_layers=n_layers, first_only=first_only
        )


class GeneformerNetwork(RankNetwork):
    """The network with a head that predicts the gene at each place.

    Parameters
    ----------
    config, n_tokens, pooled
        As for :class:`RankNetwork`.
    mask, special_ends
        As for :class:`zeroshot.models.MaskedNetwork`: a token, and the number of ``<cls>`` and ``<eos>``.

    Source
    ------
    Theodoris et al. 2023: BertForMaskedLM of transformers.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        n_tokens: int,
        *,
        mask: int,
        special_ends: tuple[int, int],
        **pooled: Any,
    ) -> None:
        super().__init__(config, n_tokens, **pooled)
        self.mask = mask
        self.special_ends = special_ends
        dim = config["hidden_size"]
        self.head = nn.Linear(dim, dim)
        self.head_norm = nn.LayerNorm(dim, eps=config["layer_norm_eps"])
        self.head_bias = nn.Parameter(torch.empty(n_tokens))
        self.activation = self.encoder.layers[0].activation

    def predict(
        self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the (cells, tokens) id of the most likely token at each place ("token")."""
        return {"token": self.logits(ids, lengths).argmax(dim=-1)}

    def logits(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, tokens, vocabulary) logits of the gene at each place."""
        return self._decode(self.hidden(ids, lengths))

    def decode(
        self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor, hidden: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return (places, vocabulary) logits at hidden places ("token"): a vocabulary's are many."""
        return {"token": self._decode(self.hidden(ids, lengths)[hidden])}

    def _decode(self, states: torch.Tensor) -> torch.Tensor:
        transformed = self.head_norm(self.activation(self.head(states)))
        return nn.functional.linear(transformed, self.words.weight, self.head_bias)


def released_genes(
    cells: Cells, tokens: Mapping[str, int], files: Mapping[str, Path], title: str
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray, pd.DataFrame]:
    """Counts of the genes that a token dictionary of Geneformer knows.

    Parameters
    ----------
    cells
        Of a data set.
    tokens
        Number of each token, special ones included.
    files
        By role: "gene_medians", "token_dictionary" and, if at hand, "gene_names" and "ensembl_mapping".
    title
        Of the model, for errors.

    Returns
    -------
    counts
        (cells, columns) raw counts of the genes.
    token_ids, medians
        (columns,) token and median of each.
    overlap
        Genes by the rule that matched them.

    Raises
    ------
    zeroshot.tokens.genes.GeneOverlapError
        If fewer than half of the genes and of the counts are known.
    zeroshot.models.weights.WeightsError
        If a dictionary is damaged or of another release.
    """
    known = {name: number for name, number in tokens.items() if name not in SPECIAL}
    medians = read_medians(files["gene_medians"], list(known), files["token_dictionary"])
    names = read_names(files["gene_names"]) if "gene_names" in files else None
    mapping = read_names(files["ensembl_mapping"]) if "ensembl_mapping" in files else {}
    alignment = align_ensembl(
        cells.genes,
        cells.ensembl_ids,
        known,
        ensembl_of_symbol=names,
        replaced_by={old: new for old, new in mapping.items() if new in known},
    )
    require_overlap(alignment, title, cells.counts)
    counts, columns = collapse(cells.counts, alignment.targets)
    name_of = {number: name for name, number in known.items()}
    medians = np.array([float(medians[name_of[number]]) for number in columns])
    return counts, columns, medians, alignment.report(cells.counts)


def nonzero_medians(counts: sparse.csr_matrix, library_size: np.ndarray) -> np.ndarray:
    """Median of each gene over the cells that express it, in counts per 10,000; 1 where none does.

    Parameters
    ----------
    counts
        (cells, genes).
    library_size
        (cells,) counts of each cell.
    """
    scaled = sparse.csc_matrix(counts.multiply((10_000 / np.asarray(library_size))[:, None]))
    scaled.eliminate_zeros()
    expressed = np.diff(scaled.indptr)
    order = np.lexsort((scaled.data, np.repeat(np.arange(len(expressed)), expressed)))
    ranked = np.append(scaled.data[order], 1.0)  # a gene at the end that no cell expresses looks there
    starts = scaled.indptr[:-1]
    low, high = starts + np.maximum(expressed - 1, 0) // 2, starts + expressed // 2
    return np.where(expressed > 0, (ranked[low] + ranked[high]) / 2, 1.0)


def draw_by_name(network: RankNetwork, spread: float, names: list[str], seed: int) -> None:
    """Initialise as transformers does: normal weights, zero biases, norms that change nothing."""
    fill_normal(network, spread, seed)
    with torch.no_grad():
        # The embedding of a gene is drawn by its name: the order of the genes is of no account.
        network.words.weight.copy_(torch.from_numpy(gene_rows(names, network.words.weight.shape[1], seed)))
        network.words.weight.mul_(spread)[names.index("<pad>")] = 0
