"""Tokens and places of genes on the genome, as UCE's sentences need them: released ones, or random ones."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from zeroshot.models.weights import WeightsError, read_dictionary, read_genes
from zeroshot.models.weights.files import REMEDY, read_bytes, shortened
from zeroshot.tokens.tokenizers import cell_keys, uniform

PACKAGES = ("numpy", "pandas", "scipy", "torch")

SPECIAL = ("<pad>", "<start>", "<end>", "<cls>")  # "<start>", of a chromosome, is in no sentence
CHROMOSOMES = tuple(f"<chromosome {number}>" for number in range(24))  # of a genome that no file tells

_MOST_TOKENS = 2**24  # that a table may have; the released one has 145,469
_PLACE = 2**32 + np.arange(2)  # draws of a gene beyond those of its vector


def read_genome(files: Mapping[str, Path], species: str) -> pd.DataFrame:
    """Genes of a species that have a protein and a position, by upper-case symbol.

    Returns
    -------
    pandas.DataFrame
        ``token``, ``code`` (of the chromosome) and ``start``.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If a file is damaged, or does not know the species.
    """
    offsets = read_dictionary(files["species_offsets"])
    positions = _read_positions(files["gene_positions"])
    of_species = positions[positions["species"] == species]
    offset = offsets.get(species)
    if offset is not None and (type(offset) is not int or not 0 < offset < _MOST_TOKENS):
        raise WeightsError(
            f"{files['species_offsets']}: {species} begins at token {shortened(offset)}; a whole number from "
            f"1 to {_MOST_TOKENS:,} is expected. {REMEDY}"
        )
    if offset is None or not len(of_species):
        raise WeightsError(
            f"species {species!r} is not in {files['species_offsets']} and {files['gene_positions']}: "
            f"they know {', '.join(sorted(map(str, offsets)))[:200]}"
        )
    symbols = list(dict.fromkeys(gene.upper() for gene in read_genes(files["vocabulary"])))
    tokens = pd.Series(np.arange(len(symbols)) + offsets[species], index=symbols, name="token")
    of_species = of_species.drop_duplicates("gene_symbol").set_index("gene_symbol")
    return of_species.join(tokens, how="inner")[["token", "code", "start"]]


def random_genome(genes: Sequence[str], seed: int) -> pd.DataFrame:
    """The same of genes that no file knows: tokens in their order, places drawn by seed and symbol.

    Returns
    -------
    pandas.DataFrame
        ``token``, ``code`` (of one of 24 chromosomes, equally likely) and ``start``, as :func:`read_genome`.
    """
    symbols = list(dict.fromkeys(gene.upper() for gene in genes))
    code, start = uniform(seed, cell_keys(pd.Index(symbols))[:, None], _PLACE).T
    places = {
        "token": len(SPECIAL) + np.arange(len(symbols)),
        "code": (code * len(CHROMOSOMES)).astype(np.int64),
        "start": (start * 2**53).astype(np.int64),
    }
    return pd.DataFrame(places, index=pd.Index(symbols))


def _read_positions(path: Path) -> pd.DataFrame:
    """Chromosome and start of the genes of all species, the chromosomes of all of them numbered by name."""
    expected = "species_chrom.csv with species, gene_symbol, chromosome and start"
    content = read_bytes(path, expected)
    try:
        positions = pd.read_csv(BytesIO(content), usecols=["species", "gene_symbol", "chromosome", "start"],
                                dtype={"chromosome": str, "start": np.int64},
                                keep_default_na=False)  # fmt: skip
    except ValueError as error:  # of decoding, of absent columns, of numbers
        raise WeightsError(f"{path} is damaged: {str(error)[:200]}. Expected {expected}. {REMEDY}") from None
    names = positions["species"] + "_" + positions["chromosome"]
    return positions.assign(code=pd.Categorical(names).codes.astype(np.int64))
