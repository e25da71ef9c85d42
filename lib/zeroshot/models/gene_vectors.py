"""Vectors of genes, and the protocol by which a family offers its own."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from zeroshot import catalog
from zeroshot.models import Cells
from zeroshot.tokens.genes import ensembl_id

PACKAGES = ("numpy", "pandas")


@dataclass(frozen=True)
class GeneVectors:
    """A vector for each gene.

    Attributes
    ----------
    names
        (genes,) as the model or the data set names them, each once.
    vectors
        (genes, dim) float32.
    origin
        What they are, in words.
    """

    names: pd.Index
    vectors: np.ndarray
    origin: str

    def symbols(self) -> np.ndarray:
        """(genes,) approved symbol of each gene, also of Ensembl ids and former symbols; empty if unknown."""
        columns = catalog.read_gene_table("gene-texts")
        approved = set(columns["symbol"])
        others = dict(zip(columns["ensembl_id"], columns["symbol"], strict=True))
        for previous, symbol in zip(columns["previous"], columns["symbol"], strict=True):
            for name in previous.split("|"):
                others[name] = symbol
        others[""] = ""
        names = [name if name in approved else ensembl_id(name) or name for name in map(str, self.names)]
        return np.array([name if name in approved else others.get(name, "") for name in names], object)

    def by_symbol(self) -> pd.DataFrame:
        """Rows of the genes with an approved symbol, by it; of several with the same the first."""
        symbols = self.symbols()
        table = pd.DataFrame(self.vectors, index=symbols)
        return table[(symbols != "") & ~table.index.duplicated()]


@runtime_checkable
class HasGeneVectors(Protocol):
    """A family that makes gene vectors itself."""

    def gene_vectors(self, cells: Cells | None, seed: int) -> GeneVectors:
        """Return vectors of the genes of a data set, without one of all genes that the model knows."""
        ...
