"""Tables of human genes in ``data/genes``: names and texts, and the gene sets of the Gene Ontology."""

import hashlib
import lzma
from functools import lru_cache
from pathlib import Path

from zeroshot.catalog.fields import FileName, Line, Sha256, Size
from zeroshot.catalog.names import CatalogError, find
from zeroshot.catalog.records import Card
from zeroshot.catalog.yaml_files import read
from zeroshot.runtime import paths


class GeneTable(Card):
    """One table of ``data/genes/tables.yml``: where it comes from, its licence, and how it is recognised."""

    title: Line
    file: FileName
    sha256: Sha256
    rows: Size
    licence: Line
    source: str


def gene_tables() -> dict[str, GeneTable]:
    """The tables by name."""
    return read("genes/tables", GeneTable)


def read_gene_table(name: str) -> dict[str, tuple[str, ...]]:
    """A table as columns of text, by the name of the column.

    Parameters
    ----------
    name
        "gene-texts": ``symbol``, ``ensembl_id``, ``previous`` (symbols, with | between them), ``name`` and
        ``summary``, a row per gene. "gene-ontology": ``term``, ``ontology`` (BP, CC or MF), ``name`` and
        ``genes`` (symbols, with blanks between them), a row per term. "gene-symbols": ``symbol``,
        ``ensembl_id`` and ``others`` (previous symbols and aliases, with | between them), a row per gene.

    Raises
    ------
    CatalogError
        If there is no such table, or its file is missing or not the registered one.
    """
    card = find(gene_tables(), name, "table of genes")
    path = paths.home() / "data" / "genes" / card.file
    try:
        return _columns(path, path.stat().st_mtime_ns, card)
    except OSError as error:
        raise CatalogError(
            f"{path} cannot be read: {error.strerror}. Restore it from the repository."
        ) from None


@lru_cache(maxsize=4)
def _columns(path: Path, _modified: int, card: GeneTable) -> dict[str, tuple[str, ...]]:
    content = path.read_bytes()
    seen = hashlib.sha256(content).hexdigest()
    if seen != card.sha256:
        raise CatalogError(
            f"{path} has sha256 {seen[:12]}…, data/genes/tables.yml says {card.sha256[:12]}…. Restore it "
            "from the repository, or write the new hash if the table was made again."
        )
    head, *rows = (line.split("\t") for line in lzma.decompress(content).decode().splitlines())
    if len(rows) != card.rows:
        raise CatalogError(
            f"{path} has {len(rows):,} rows, data/genes/tables.yml says {card.rows:,}: correct that number"
        )
    return dict(zip(head, map(tuple, zip(*rows, strict=True)), strict=True))
