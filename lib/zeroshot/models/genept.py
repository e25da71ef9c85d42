"""GenePT: texts about genes, averaged by expression (w), or the names of a cell's genes as a text (s)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroshot.models import Cells
from zeroshot.models.gene_texts import GeneTexts, TextEncoder
from zeroshot.models.language_models import Sentence, ends_of_names, sentence_tokenizer
from zeroshot.models.weights import Checkpoint
from zeroshot.tokens.sequences import Tokenizer

if TYPE_CHECKING:
    from torch import nn

PACKAGES = ("numpy", "pandas", "scipy", "tokenizers", "torch", "transformers")

_OPENING = "A cell with genes ranked by expression: "


@dataclass(frozen=True, kw_only=True)
class GenePtW(GeneTexts):
    """Sum of the gene vectors of a cell, weighted by log-normalised expression, scaled to length one.

    Attributes
    ----------
    normalize
        Scale to length one, as the paper does and the authors' notebook does not.

    Source
    ------
    Chen and Zou 2025; yiqunchen/GenePT at 45a36bc: (X L) / n, X log-normalised, L the gene vectors with zeros
    for genes without one, n all genes of the data set.

    Differs
    -------
    The vectors are of an open encoder and open texts, with the gene's symbol and name before the summary;
    upstream's are of OpenAI's ada-002, and zero for a gene without a summary. Former symbols and Ensembl ids
    are looked up as well.
    """

    normalize: bool = True

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, dim of the encoder) float32; the seed is that of an untrained model.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the genes with a text are fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If the files of the encoder do not fit.
        """
        vectors, _ = self.vectors_of(cells, "GenePT", seed)
        mean = cells.log_normalized() @ vectors / np.float32(len(vectors))
        if not self.normalize:
            return mean.astype(np.float32)
        lengths = np.linalg.norm(mean, axis=1, keepdims=True)
        return (mean / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)

    def notes(self, cells: Cells) -> tuple[str, ...]:
        """Which genes have no part in it."""
        return (self.note(cells),)


@dataclass(frozen=True, kw_only=True)
class GenePtS:
    """Embedding of a text that names the genes of a cell by descending expression.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights" and "vocabulary" of a sentence encoder.
    architecture
        ``config: released`` for the sizes in the file "config": makes the model an untrained one, its weights
        drawn by the seed.
    n_genes
        Most genes of the text.
    max_tokens
        Longest text; the end of a longer one is cut, and the genes in it are counted. all-MiniLM-L6-v2 reads
        256 tokens, some 60 genes; ada-002 read 8,191.

    Source
    ------
    Chen and Zou 2025; yiqunchen/GenePT at 45a36bc: the opening words and the first 1,000 names.

    Differs
    -------
    The encoder is an open one, upstream's is OpenAI's ada-002. Genes of equal counts stand in the order of
    the data set, in upstream's in the order its unstable sort leaves them, reversed.
    """

    checkpoint: Checkpoint
    architecture: Mapping[str, Any] | None = None
    n_genes: int = 1000
    max_tokens: int = 256

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Return what writes the texts of any rows, as tokens.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If more than half of the genes are named by identifiers.
        zeroshot.models.weights.WeightsError
            If the files of the encoder do not fit.
        """
        encoder = self._encoder(seed)
        return sentence_tokenizer(
            cells, encoder.vocabulary, _write,
            title="GenePT", n_genes=self.n_genes,
            max_tokens=self.max_tokens, pad_id=encoder.pad_id,
        )  # fmt: skip

    def network(self, cells: Cells, seed: int) -> "nn.Module":
        """Return the sentence encoder with the weights of the checkpoint, or with drawn ones."""
        return self._encoder(seed).network

    def _encoder(self, seed: int) -> TextEncoder:
        drawn_by = None if self.architecture is None else seed
        return TextEncoder.of(self.checkpoint, self.max_tokens, seed=drawn_by)


def _write(genes: list[str]) -> Sentence:
    return f"{_OPENING}{' '.join(genes)}", ends_of_names(genes, len(_OPENING))
