"""scELMo: texts about genes, averaged by the share of a cell's expression that each gene has."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zeroshot.models import Cells
from zeroshot.models.gene_texts import GeneTexts

PACKAGES = ("numpy", "pandas", "scipy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True, kw_only=True)
class ScElmo(GeneTexts):
    """Mean of the gene vectors of a cell.

    Attributes
    ----------
    average
        "weighted" (wa): weights are log-normalised expression divided by its sum over all genes of the cell.
        "arithmetic" (aa): the sum weighted by log-normalised expression, divided by the number of genes.

    Source
    ------
    Liu et al. 2023; HelloWorldLTY/scELMo: ``wa`` and ``aa`` of a table of gene vectors.

    Differs
    -------
    The texts are names and RefSeq summaries, upstream's are written by GPT-3.5; the encoder is an open one,
    upstream's is OpenAI's ada-002. No description of a cell type or state is added: that would show the model
    the labels.
    """

    average: Literal["weighted", "arithmetic"] = "weighted"

    def __post_init__(self) -> None:
        """Refuse an average that there is not."""
        super().__post_init__()
        if self.average not in ("weighted", "arithmetic"):
            raise ValueError(f"unknown average {self.average!r}: weighted or arithmetic")

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, dim of the encoder) float32; the seed is that of an untrained model.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the genes with a text are fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If the files of the encoder do not fit.
        """
        vectors, _ = self.vectors_of(cells, "scELMo", seed)
        values = cells.log_normalized()
        if self.average == "arithmetic":
            return (values @ vectors / np.float32(len(vectors))).astype(np.float32)
        sums = np.asarray(values.sum(axis=1, dtype=np.float64))
        return ((values @ vectors) / np.maximum(sums, np.finfo(np.float32).tiny)).astype(np.float32)

    def notes(self, cells: Cells) -> tuple[str, ...]:
        """Which genes have no part in it."""
        return (self.note(cells),)
