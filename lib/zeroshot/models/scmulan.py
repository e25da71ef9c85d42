"""scMulan: a causal transformer that reads a cell as a sentence of genes with levels, and names its type.

The released checkpoint is read as it is; the network is native.
"""

from collections.abc import Mapping
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
from zeroshot.models.networks import require_genes, require_vocabulary, trained_network, untrained_network
from zeroshot.models.released_names import rename_gpt_layer, rename_part
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_content, tensors_of
from zeroshot.models.weights.files import REMEDY, require_whole
from zeroshot.tokens.genes import GeneOverlapError, align_symbols, note_silent_cells, over_vocabulary
from zeroshot.tokens.sequences import Tokenizer, Tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")

_END, _TASK = "<E>", "<PCT>"  # end of a sentence; what asks for the type of the cell
_HIGHEST_LEVEL = 10  # of a token that is generated, whatever the levels of the genes
_LEAST_COVERAGE = 0.1  # of the model's genes; upstream asks for all of them


@dataclass(frozen=True, kw_only=True)
class ScMulan:
    """The first word that the model generates after a cell: its coarse type, in the usual case.

    Attributes
    ----------
    checkpoint
        Roles "weights" (``ckpt_scMulan.pt``) and "vocabulary" (``meta_info.pt`` with ``gene_set`` and
        ``token_set``).
    architecture
        ``n_layer``, ``n_head``, ``n_embd`` and ``expression_level``: makes the model an untrained one, its
        weights drawn by the seed.
    place
        "generated": the token before the last, once the model has generated until the end of the sentence or
        three words. "task": the token that asks for the type, before anything is generated.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Bian et al. 2024; SuperBianC/scMulan at d64da5e: scMulan.py and model/model.py. Read there, not executed:
    no output of the reference was at hand to compare with.

    Differs
    -------
    Upstream unifies the symbols of genes with a list of 42,117 before it normalises over these; here counts
    are normalised over all genes of the data set, whose symbols are taken as they are. A tenth of the genes
    that the model reads have to be there, and a note says how many are; upstream asks for all of them. Of
    equally likely words the first is generated; upstream draws one.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    place: Literal["generated", "task"] = "generated"
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.place not in ("generated", "task"):
            raise ValueError(f"unknown place {self.place!r}: generated or task")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what writes sentences of any rows. Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the data set has fewer than a tenth of the genes that the model reads.
        """
        genes, tokens = self._words(cells)
        alignment = align_symbols(cells.genes, {name: number for number, name in enumerate(genes)})
        n_matched = len(np.unique(alignment.targets[alignment.targets >= 0]))
        if n_matched < _LEAST_COVERAGE * len(genes):
            raise GeneOverlapError(
                f"scMulan reads {len(genes):,} genes, of which the data set has {n_matched:,}; at least "
                f"{_LEAST_COVERAGE:.0%} are needed. Name human genes by symbol (var_names), and give all "
                "genes that were measured."
            )
        values = over_vocabulary(cells.log_normalized(), alignment.targets, len(genes)).astype(np.float32)
        numbers = {token: number for number, token in enumerate(tokens)}
        ids, task = np.array([numbers[gene] for gene in genes]), numbers[_TASK]
        n_levels = self._config()["expression_level"]
        notes = note_silent_cells(values)
        if n_matched < len(genes):
            notes += (f"the data set has {n_matched:,} of the {len(genes):,} genes that scMulan reads",)
        overlap = None if self.vocabulary == "data-set" else alignment.report(cells.counts)
        return Tokenizer(
            lambda rows: sentences(values[rows], ids, task, n_levels),
            pad_id=numbers[_END],
            overlap=overlap,
            notes=notes,
        )

    def network(self, cells: Cells, seed: int) -> "ScMulanNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If tokens and weights do not belong together.
        """
        _, tokens = self._words(cells)
        build = partial(ScMulanNetwork, n_tokens=len(tokens), end=tokens.index(_END), place=self.place)
        if self.architecture is not None:
            draw = partial(_draw, tokens=tokens, seed=seed)
            return untrained_network(partial(build, self.architecture), draw)
        path, (config, state) = self.checkpoint.files["weights"], self._release
        require_genes(len(tokens), config["vocab_size"], self.checkpoint, "tokens")
        return trained_network(partial(build, config), state, rename, (), path)

    @cached_property
    def _release(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What the checkpoint holds: the network takes its tensors, so that they are in memory once."""
        return read_release(self.checkpoint.files["weights"])

    def _config(self) -> Mapping[str, Any]:
        return self._release[0] if self.architecture is None else self.architecture

    def _words(self, cells: Cells) -> tuple[list[str], list[str]]:
        """Genes in the order of the model's list, and all tokens by number."""
        if self.vocabulary == "data-set":
            genes = [str(name) for name in cells.genes]
            return genes, [_END, *genes, _TASK]
        return read_words(self.checkpoint.files["vocabulary"])


class ScMulanNetwork(nn.Module):
    """Tokens and levels embedded and summed, causal layers, and what predicts the next token and its level.

    Parameters
    ----------
    config
        ``n_layer``, ``n_head``, ``n_embd``, ``expression_level``.
    n_tokens
        Of the vocabulary.
    end
        Token that ends a sentence.
    place
        See :class:`ScMulan`.

    Source
    ------
    Bian et al. 2024; model/model.py at d64da5e. There are no positions: order acts through the causal mask.
    """

    def __init__(
        self, config: Mapping[str, Any], *, n_tokens: int, end: int, place: Literal["generated", "task"]
    ) -> None:
        super().__init__()
        dim = config["n_embd"]
        self.end, self.place = end, place
        self.tokens = nn.Embedding(n_tokens, dim)
        self.levels = nn.Embedding(config["expression_level"] + 1, dim)
        self.encoder = TransformerEncoder(
            config["n_layer"], dim, config["n_head"], 4 * dim, activation="gelu-tanh", norm="pre", causal=True
        )
        self.norm = nn.LayerNorm(dim)
        self.next_token = Linear(dim, n_tokens, bias=False)
        self.next_level = Linear(dim, n_tokens, bias=False)

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32.

        Parameters
        ----------
        ids, values
            (cells, tokens) sentences with the task at their end, and levels.
        lengths
            (cells,) tokens that are no padding.
        """
        row, levels = torch.arange(len(ids), device=ids.device), values.long()
        hidden = self._read(ids, levels)
        task = hidden[row, lengths - 1]
        if self.place == "task":
            return task.float()
        # A token may come again only while it is the last one: at first the task, then the first word.
        used = torch.zeros(len(ids), self.tokens.num_embeddings, dtype=torch.bool, device=ids.device)
        is_gene = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None] - 1
        used[row[:, None].expand_as(ids)[is_gene], ids[is_gene]] = True
        first = self._next(task, used)
        used[row, ids[row, lengths - 1]] = True
        ids, levels = (nn.functional.pad(part, (0, 1)) for part in (ids, levels))
        ids[row, lengths], levels[row, lengths] = first, self._level(task, first)
        generated = self._read(ids, levels)[row, lengths]
        second = self._next(generated, used)
        # Upstream takes the state before the last one of its last pass: sentences that end early have others.
        last_gene = hidden[row, (lengths - 2).clamp(min=0)]
        ended = torch.where((second == self.end)[:, None], task, generated)
        return torch.where((first == self.end)[:, None], last_gene, ended).float()

    def _read(self, ids: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        return self.norm(self.encoder(self.tokens(ids) + self.levels(levels)))

    def _next(self, hidden: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        """(cells,) most likely next token among those not used."""
        return self.next_token(hidden).masked_fill(used, -torch.inf).argmax(dim=1)

    def _level(self, hidden: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        level = self.next_level(hidden).gather(1, token[:, None])[:, 0].round()
        return level.clamp(0, min(_HIGHEST_LEVEL, self.levels.num_embeddings - 1)).long()


def sentences(values: sparse.csr_matrix, ids: np.ndarray, task: int, n_levels: int) -> Tokens:
    """Expressed genes in reversed order with levels 1 to ``n_levels``, and the task with level 0.

    Parameters
    ----------
    values
        (cells, genes) log-normalised.
    ids
        (genes,) token of each gene.
    task
        Token at the end.
    n_levels
        Levels of equal width between 0 and the largest value of the cell; a value on an edge has the lower.
    """
    n_expressed = np.diff(values.indptr).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(n_expressed + 1)])
    tokens, levels = np.full(offsets[-1], task, np.int64), np.zeros(offsets[-1], np.float32)
    row = np.repeat(np.arange(len(n_expressed)), n_expressed)
    place = np.arange(values.nnz) - values.indptr[row]
    targets = offsets[row] + n_expressed[row] - 1 - place
    largest = values.max(axis=1).toarray().ravel().astype(np.float64)
    edges = np.linspace(0, largest, n_levels + 1, axis=1)
    tokens[targets] = ids[values.indices]
    levels[targets] = (edges[row] < values.data[:, None]).sum(axis=1)
    return Tokens(tokens, levels, offsets, np.zeros(len(n_expressed), np.int64))


_SIZES = {
    "n_layer": (1, 512), "n_head": (1, 512), "n_embd": (1, 2**15), "expression_level": (1, 1000),
    "vocab_size": (3, 2**20),
}  # fmt: skip


def read_release(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Architecture and tensors of a released scMulan.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file holds no such model.
    """
    content = read_content(path)
    parts = [content.get(name) if isinstance(content, dict) else None for name in ("model_args", "model")]
    if not all(isinstance(part, dict) for part in parts):
        raise WeightsError(
            f"{path} holds no model_args and model: it is not a checkpoint of scMulan. {REMEDY}"
        )
    config, state = parts
    require_whole(config, path, _SIZES)
    if config["n_embd"] % config["n_head"]:
        raise WeightsError(
            f"{path} asks for {config['n_head']} heads in a width of {config['n_embd']}. {REMEDY}"
        )
    return config, tensors_of(state)


def read_words(path: Path) -> tuple[list[str], list[str]]:
    """Genes in the order of the model's list, and all tokens by number.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is not ``meta_info.pt``, or its lists do not fit each other.
    """
    content = read_content(path)
    lists = [content.get(name) if isinstance(content, dict) else None for name in ("gene_set", "token_set")]
    if not all(isinstance(words, list) and all(type(word) is str for word in words) for words in lists):
        raise WeightsError(f"{path} holds no gene_set and token_set, lists of names. {REMEDY}")
    genes, tokens = lists
    if len(set(genes)) < len(genes) or len(set(tokens)) < len(tokens):
        raise WeightsError(f"{path} names a gene or a token twice. {REMEDY}")
    if not genes or not {_END, _TASK, *genes} <= set(tokens):
        raise WeightsError(f"{path} lacks {_END}, {_TASK} or genes among its tokens. {REMEDY}")
    return genes, tokens


_NAMES = {
    "transformer.wte": "tokens", "transformer.wee": "levels", "transformer.ln_f": "norm",
    "lm_head": "next_token", "epx_head": "next_level",
}  # fmt: skip


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    return rename_part(key, _NAMES) or rename_gpt_layer(key, "transformer.h.")


def _draw(network: ScMulanNetwork, tokens: list[str], seed: int) -> None:
    """Normal weights as GPT-2 draws them, zero biases; the embedding of a token is drawn by its name."""
    fill_normal(network, 0.02, seed)
    with torch.no_grad():
        rows = torch.from_numpy(gene_rows(tokens, network.tokens.embedding_dim, seed))
        network.tokens.weight.copy_(0.02 * rows)
