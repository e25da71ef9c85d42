"""The symbols that HGNC approves for human genes today, whatever they were called."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zeroshot.catalog.gene_tables import read_gene_table

if TYPE_CHECKING:
    import numpy as np

SYMBOLS = "gene-symbols"
_REPEAT = re.compile(r"(--?|\.)\d+$")  # what makes a name that comes again unique: A-1, A.1, A--1


def approved_symbols(names: Sequence[str]) -> "np.ndarray":
    """The approved symbol of each gene, its name where there is none.

    A name that only repeats another one of the list with a number behind it means the same gene.

    Parameters
    ----------
    names
        (n_genes,) of human genes: approved symbols, previous ones or aliases that mean one gene only, or
        Ensembl ids without version.

    Returns
    -------
    numpy.ndarray
        (n_genes,) str; several genes may have the same.
    """
    import numpy as np

    table = read_gene_table(SYMBOLS)
    symbols = dict(zip(table["ensembl_id"], table["symbol"], strict=True))
    symbols.update(zip(table["symbol"], table["symbol"], strict=True))
    for symbol, others in zip(table["symbol"], table["others"], strict=True):
        symbols.update((other, symbol) for other in others.split("|") if other)
    symbols.pop("", None)  # of genes without an id
    own = set(names)

    def approved(name: str) -> str:
        stem = _REPEAT.sub("", name)
        repeats = name not in symbols and stem != name and stem in own
        return symbols.get(stem if repeats else name, stem if repeats else name)

    return np.array([approved(str(name)) for name in names], dtype=str)
