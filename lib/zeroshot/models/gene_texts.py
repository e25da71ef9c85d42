"""Gene vectors made of texts: what is written about a gene, read by a sentence encoder.

The texts are those of ``data/genes``: approved name and RefSeq summary. The encoder is whatever a checkpoint
holds; no released table of vectors is needed, and none is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from zeroshot import catalog, store
from zeroshot.models import Cells
from zeroshot.models.cellama import Cellama, read_word_pieces
from zeroshot.models.gene_vectors import GeneVectors
from zeroshot.models.language_models import (
    MeanState,
    read_config,
    read_network,
    read_vocabulary,
    require_length,
)
from zeroshot.models.weights import Checkpoint
from zeroshot.store import dependencies
from zeroshot.tokens.genes import Alignment, align_ensembl, align_symbols, require_overlap
from zeroshot.tokens.sentences import cut

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Vocabulary

PACKAGES = ("numpy", "pandas", "tokenizers", "torch", "transformers")

Text = Literal["summary", "name"]

# The texts that these vectors were made of: a test compares it with the registry. In the code, so that
# what is stored is computed again with other texts.
TEXTS_SHA256 = "2ee456917de45a626f034ea4c2916447a473e6d08e795a0f3e31a44803909398"
# Genes of a data set that are encoded by themselves; for more, all texts are, once for all data sets.
_FEW_GENES = 2000
_TOKENS_PER_CHUNK = 8192


@dataclass(frozen=True)
class TextEncoder:
    """A sentence encoder: text to a vector of length one."""

    vocabulary: "Vocabulary"
    network: nn.Module
    pad_id: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, max_tokens: int, *, seed: int | None = None) -> "TextEncoder":
        """Read the encoder of a folder: a BERT with its vocabulary, or any model with a ``tokenizer.json``.

        With a ``seed`` its weights are drawn by it and not read.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If the files are not those of such a model, or ``max_tokens`` is too long for it.
        """
        path, words = checkpoint.files["config"], checkpoint.files["vocabulary"]
        config = read_config(path)
        require_length(max_tokens, config, path)
        pad_id = config.pad_token_id or 0
        if config.model_type == "bert":
            architecture = None if seed is None else {"config": "released"}
            bert = Cellama(checkpoint=checkpoint, architecture=architecture, max_tokens=max_tokens)
            network = bert.network(None, seed or 0)
            return cls(read_word_pieces(words, config.vocab_size), network, pad_id)
        network = MeanState(read_network(checkpoint, seed=seed), unit_length=True).eval()
        return cls(read_vocabulary(words, config.vocab_size), network, pad_id)

    def encode(self, texts: Sequence[str], max_tokens: int) -> np.ndarray:
        """(texts, dim) float32 rows of length one, each of the first ``max_tokens`` tokens of its text."""
        tokens = cut(self.vocabulary.encode_batch(list(texts)), [()] * len(texts), max_tokens, self.pad_id)
        order = np.argsort(-tokens.lengths, kind="stable")
        rows: list[np.ndarray] = []
        start = 0
        with torch.inference_mode():
            while start < len(order):
                size = max(_TOKENS_PER_CHUNK // int(tokens.lengths[order[start]]), 1)
                chunk = tokens.select(order[start : start + size])
                ids, _ = chunk.pad(self.pad_id)
                lengths = torch.from_numpy(chunk.lengths)
                rows.append(self.network(torch.from_numpy(ids), None, lengths).numpy())
                start += size
        encoded = np.concatenate(rows)
        return encoded[np.argsort(order, kind="stable")]


@dataclass(frozen=True, kw_only=True)
class GeneTexts:
    """Vectors of genes, each of the text about it.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights" and "vocabulary" of the encoder; none for an untrained model.
    architecture
        ``dim``: makes the model an untrained one, which reads no text. The vectors of the genes that have one
        are drawn by the seed, of this width.
    text
        "summary": symbol, name and RefSeq summary; "name": symbol and name alone. Half of the genes, most of
        them of non-coding RNA, have no summary and a name in both.
    max_tokens
        First tokens of a text that are read.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    text: Text = "summary"
    max_tokens: int = 64

    def __post_init__(self) -> None:
        """Refuse a text that there is not."""
        if self.text not in ("summary", "name"):
            raise ValueError(f"unknown text {self.text!r}: summary or name")

    def align(self, cells: Cells) -> Alignment:
        """Which text each gene has: by its symbol, a former symbol, or its Ensembl id."""
        columns = catalog.read_gene_table("gene-texts")
        rows = {symbol: row for row, symbol in enumerate(columns["symbol"])}
        for row, previous in enumerate(columns["previous"]):
            for name in previous.split("|"):
                rows.setdefault(name, row)
        alignment = align_symbols(cells.genes.astype(str), rows)
        unmatched = alignment.targets < 0
        if unmatched.any():
            ids = {gene: row for row, gene in enumerate(columns["ensembl_id"]) if gene}
            by_id = align_ensembl(cells.genes.astype(str), cells.ensembl_ids, ids)
            targets = np.where(unmatched, by_id.targets, alignment.targets)
            rules = np.where(unmatched, by_id.rules, alignment.rules)
            return Alignment(targets, rules, alignment.names)
        return alignment

    def vectors_of(self, cells: Cells, title: str, seed: int = 0) -> tuple[np.ndarray, Alignment]:
        """Vectors of the genes of a data set, zeros for a gene without a text.

        Parameters
        ----------
        cells
            Whose genes are meant.
        title
            Of the model, for the error.
        seed
            Of an untrained model.

        Returns
        -------
        vectors : numpy.ndarray
            (genes, dim) float32.
        alignment : zeroshot.tokens.genes.Alignment
            How each gene was found among the texts.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the genes with a text are fewer than half of the genes and of the counts.
        """
        alignment = self.align(cells)
        require_overlap(alignment, title, cells.counts)
        has_text = alignment.targets >= 0
        encoded = self.encode(alignment.targets[has_text], seed)
        vectors = np.zeros((len(has_text), encoded.shape[1]), np.float32)
        vectors[has_text] = encoded
        return vectors, alignment

    def gene_vectors(self, cells: Cells | None, seed: int) -> GeneVectors:
        """Vectors of the genes of a data set that have a text; without one, of all genes that have."""
        symbols = np.array(catalog.read_gene_table("gene-texts")["symbol"], object)
        if cells is None:
            rows, names = np.arange(len(symbols)), symbols
        else:
            alignment = self.align(cells)
            has_text = alignment.targets >= 0
            rows, names = alignment.targets[has_text], cells.genes.astype(str).to_numpy(object)[has_text]
        text = {"summary": "names and summaries", "name": "names"}[self.text]
        return GeneVectors(pd.Index(names), self.encode(rows, seed), f"{text} of genes, read by the encoder")

    def encode(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """(genes, dim) float32 vectors of the texts in these rows of the table of texts, of length one.

        Many rows are taken from the vectors of all texts, which are computed once and stored. Those of an
        untrained model are random directions.
        """
        n_genes = len(catalog.read_gene_table("gene-texts")["symbol"])
        if self.architecture is not None:
            shape = (n_genes, self.architecture["dim"])
            vectors = np.random.default_rng(seed).standard_normal(shape, np.float32)[rows]
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        if len(rows) <= _FEW_GENES:
            return self._computed(rows)
        inputs = {
            "encoder": dict(self.checkpoint.hashes),
            "texts": catalog.gene_tables()["gene-texts"].sha256,
            "text": self.text,
            "max_tokens": self.max_tokens,
            **dependencies.computation({"zeroshot.models.gene_texts"}),
        }
        stored = store.load_or_compute(
            "gene-texts", inputs, lambda: {"vectors": self._computed(np.arange(n_genes))}
        )
        return stored.load("vectors")[rows]

    def _computed(self, rows: np.ndarray) -> np.ndarray:
        unique, place = np.unique(rows, return_inverse=True)
        texts = write_texts(self.text, unique)
        return TextEncoder.of(self.checkpoint, self.max_tokens).encode(texts, self.max_tokens)[place]

    def note(self, cells: Cells) -> str:
        """How many genes of a data set have a text, for a reader of the scores."""
        has_text = pd.Series(self.align(cells).targets >= 0)
        totals = np.asarray(cells.counts.sum(axis=0, dtype=np.float64)).ravel()
        share = totals[has_text].sum() / max(totals.sum(), 1)
        origin = "those of the encoder on the card, not of OpenAI's ada-002, which the authors used"
        if self.architecture is not None:
            origin = "random, one for each of them"
        return (
            f"{int(has_text.sum()):,} of {len(has_text):,} genes with {share:.1%} of the counts have a text; "
            f"the vectors are {origin}"
        )


def write_texts(text: Text, rows: np.ndarray) -> list[str]:
    """The texts about the genes in these rows of the table of texts."""
    columns = catalog.read_gene_table("gene-texts")
    written = []
    for row in rows.tolist():
        name = f"{columns['symbol'][row]}: {columns['name'][row]}."
        summary = columns["summary"][row] if text == "summary" else ""
        written.append(f"{name} {summary}".rstrip())
    return written
