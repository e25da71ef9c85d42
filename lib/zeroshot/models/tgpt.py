"""tGPT: a GPT-2 that reads the names of a cell's highest genes, as words in the order of their expression.

The released checkpoint is read as it is; the network is native.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.catalog import approved_symbols
from zeroshot.models import Cells
from zeroshot.models.encoder import TransformerEncoder, mean_over
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.released_names import rename_gpt_layer, rename_part
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import (
    REMEDY,
    read_json,
    require_architecture,
    require_numbering,
    shortened,
)
from zeroshot.tokens.genes import Alignment, align_symbols, ensembl_id, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import rank_tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")

SPECIAL = ("<pad>", "</b>", "</s>", "<unk>")
PAD, BEGIN, END, UNKNOWN = SPECIAL  # UNKNOWN stands for a gene that is no word

_SEPARATORS = re.compile(r"[-.]")


@dataclass(frozen=True, kw_only=True)
class Tgpt:
    """Mean over the genes of a cell after the last layer.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights" and "vocabulary" (``tokenizer.json``).
    architecture
        Fields of ``config.json`` instead of it: makes the model an untrained one, its weights drawn by the
        seed.
    max_tokens
        Longest sequence, its begin and end included.
    unknown_genes
        "token": a gene outside the vocabulary takes its place in the order as ``<unk>``, as upstream.
        "left-out": only known genes are ranked.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Shen et al. 2023; deeplearningplus/tGPT at 9714a98, README.md (``LineDataset`` and the loop that extracts
    features). Read there, not executed: no output of the reference was at hand to compare with.

    Differs
    -------
    Upstream reads files of ranked names and does not say how they were made: here raw counts are ranked, and
    equal counts keep the order of the genes. A name with a sign other than letters, digits, ``-``, ``.`` and
    ``_`` is one unknown word; upstream's tokeniser splits it into several. A cell without any gene has the
    zero vector; upstream gives NaN.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    max_tokens: int = 64
    unknown_genes: Literal["token", "left-out"] = "token"
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing or contradict each other."""
        if self.unknown_genes not in ("token", "left-out"):
            raise ValueError(f"unknown unknown_genes {self.unknown_genes!r}: token or left-out")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes to words, and return what ranks them in any rows. Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If a file is damaged, or the model has too few positions.
        """
        room = self._config()["n_positions"]
        if not 3 <= self.max_tokens <= room:
            raise WeightsError(
                f"max_tokens is {self.max_tokens}; this model has positions for 3 to {room} tokens: choose a "
                "number in between"
            )
        words = self._words(cells)
        alignment = align_words(cells.genes, words)
        require_overlap(alignment, "tGPT", cells.counts)
        ids = np.where(alignment.targets < 0, words[UNKNOWN], alignment.targets)
        ranked = np.arange(len(ids)) if self.unknown_genes == "token" else alignment.targets >= 0
        counts, ids = sparse.csr_matrix(cells.counts)[:, ranked], ids[ranked]
        notes = self._notes(counts, alignment)
        overlap = None if self.vocabulary == "data-set" else alignment.report(cells.counts)

        def tokenize(rows: np.ndarray) -> Tokens:
            return rank_tokens(
                counts[rows],
                np.ones(len(rows)),
                np.ones(len(ids)),
                ids,
                max_tokens=self.max_tokens,
                cls_id=words[BEGIN],
                eos_id=words[END],
                target_sum=1,
            )

        return Tokenizer(tokenize, pad_id=words[PAD], overlap=overlap, notes=notes)

    def network(self, cells: Cells, seed: int) -> "TgptNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, words and weights do not belong together.
        """
        config, words = self._config(), self._words(cells)
        if config.get("vocab_size", len(words)) != len(words):
            raise WeightsError(
                f"the vocabulary has {len(words):,} words ({self.checkpoint.files['vocabulary']}), the model "
                f"{config['vocab_size']:,} ({self.checkpoint.files['config']}): they are not of the same "
                f"release. {REMEDY}"
            )
        build = partial(TgptNetwork, config, len(words))
        if self.architecture is not None:
            names = sorted(words, key=words.get)
            draw = partial(_draw, spread=config["initializer_range"], names=names, seed=seed)
            return untrained_network(build, draw)
        path = self.checkpoint.files["weights"]
        return trained_network(build, read_weights(path), rename, IGNORED, path)

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        return read_config(self.checkpoint.files["config"])

    def _words(self, cells: Cells) -> dict[str, int]:
        """Number of each word, special ones included."""
        if self.vocabulary == "data-set":
            names = dict.fromkeys([*SPECIAL, *map(word, cells.genes)])
            return {name: number for number, name in enumerate(names)}
        return read_words(self.checkpoint.files["vocabulary"])

    def _notes(self, counts: sparse.csr_matrix, alignment: Alignment) -> tuple[str, ...]:
        notes = []
        if self.vocabulary == "data-set":
            notes.append(f"the vocabulary is the {len(alignment.targets):,} genes of the data set")
        empty = int((np.diff(counts.indptr) == 0).sum())
        if empty:
            notes.append(f"{empty:,} cells express no gene that the model reads")
        return tuple(notes)


class TgptNetwork(nn.Module):
    """GPT-2 without the head that predicts the next word.

    Parameters
    ----------
    config
        Fields of ``config.json``.
    n_words
        Size of the vocabulary.

    Source
    ------
    Shen et al. 2023: GPT2Model of transformers.
    """

    def __init__(self, config: Mapping[str, Any], n_words: int) -> None:
        super().__init__()
        dim, eps = config["n_embd"], config["layer_norm_epsilon"]
        self.words = nn.Embedding(n_words, dim)
        self.positions = nn.Embedding(config["n_positions"], dim)
        self.encoder = TransformerEncoder(
            config["n_layer"], dim, config["n_head"], config.get("n_inner") or 4 * dim,
            activation="gelu-tanh", eps=eps, norm="pre", causal=True,
        )  # fmt: skip
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 means over the genes of a cell, its begin and end left out.

        Parameters
        ----------
        ids
            (cells, tokens) padded on the right.
        values
            Not used: only the order of the genes is read.
        lengths
            (cells,) tokens that are no padding, begin and end included.
        """
        hidden = self.hidden(ids).float()
        place = torch.arange(ids.shape[1], device=ids.device)
        pooled = (place >= 1) & (place < lengths[:, None] - 1)
        return mean_over(hidden, pooled)

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (cells, tokens, dim) hidden states after the last norm."""
        return self.norm(self.encoder(self.words(ids) + self.positions.weight[: ids.shape[1]]))


def word(gene: str) -> str:
    """A gene's name as the vocabulary spells it: HLA_A for HLA-A."""
    return _SEPARATORS.sub("_", str(gene))


def align_words(genes: Any, words: Mapping[str, int]) -> Alignment:
    """Match genes to words; special ones are no genes."""
    vocabulary = {name: number for name, number in words.items() if name not in SPECIAL}
    ids = [gene_id for gene in genes if (gene_id := ensembl_id(gene))]
    # Symbols of ids too, before they are spelled as words: HLA-A has a sign that no word has.
    names = [*map(str, genes), *(approved_symbols(ids) if ids else ())]
    return align_symbols(genes, {name: vocabulary[word(name)] for name in names if word(name) in vocabulary})


_SIZES = {
    "vocab_size": (len(SPECIAL), 2**22), "n_embd": (1, 2**15), "n_layer": (1, 512), "n_head": (1, 2**10),
    "n_positions": (3, 2**17),
}  # fmt: skip


def read_config(path: Path) -> dict[str, Any]:
    """Architecture of the released tGPT.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or describes what this network does not compute.
    """
    config = read_json(path, "config.json of tGPT")
    config = {"layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "n_inner": None, **config}
    if config.get("model_type") != "gpt2" or config["activation_function"] != "gelu_new":
        raise WeightsError(
            f"{path} describes {shortened(config.get('model_type'))} with "
            f"{shortened(config['activation_function'])}: expected gpt2 with gelu_new. {REMEDY}"
        )
    require_architecture(
        config, path, _SIZES | ({"n_inner": (1, 2**17)} if config["n_inner"] is not None else {}),
        {"layer_norm_epsilon": (1e-20, 0.1)}, heads="n_head", width="n_embd",
    )  # fmt: skip
    if config.get("scale_attn_by_inverse_layer_idx") or not config.get("scale_attn_weights", True):
        raise WeightsError(f"{path} asks for another scale of attention than GPT-2's. {REMEDY}")
    return config


def read_words(path: Path) -> dict[str, int]:
    """Number of each word of a ``tokenizer.json`` whose words are whole names.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged, of another kind of tokeniser, or lacks a special word.
    """
    expected = "tokenizer.json of tGPT, whose model is WordLevel"
    model = read_json(path, expected).get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) and model.get("type") == "WordLevel" else None
    if not isinstance(vocabulary, dict):
        raise WeightsError(f"{path} holds no vocabulary of whole words. Expected {expected}. {REMEDY}")
    words = require_numbering(vocabulary, path, expected)
    absent = [name for name in SPECIAL if name not in words]
    if absent:
        raise WeightsError(f"{path} lacks {' and '.join(absent)}. Expected {expected}. {REMEDY}")
    return words


# The head, tied to the words, and masks that older versions of transformers stored as whole numbers.
IGNORED = ("lm_head.*", "*.attn.bias", "*.attn.masked_bias")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Released tensors without those that the network does not use; weights of layers as [out, in]."""
    state = read_state(path, ignored=IGNORED)
    layers = (".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight")
    return {key: tensor.T if key.endswith(layers) else tensor for key, tensor in state.items()}


_NAMES = {"wte": "words", "wpe": "positions", "ln_f": "norm"}


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    key = key.removeprefix("transformer.")
    return rename_gpt_layer(key, "h.") or rename_part(key, _NAMES)


def _draw(network: TgptNetwork, spread: float, names: list[str], seed: int) -> None:
    """Initialise as transformers does: normal weights, zero biases, norms that change nothing.

    What enters the residual sum is drawn narrower by the root of the number of such sums.
    """
    fill_normal(network, spread, seed)
    layers = network.encoder.layers
    with torch.no_grad():
        for layer in layers:
            for part in (layer.out, layer.linear2):
                part.weight.div_((2 * len(layers)) ** 0.5)
        rows = torch.from_numpy(gene_rows(names, network.words.weight.shape[1], seed))
        network.words.weight.copy_(rows).mul_(spread)
