"""The tables of genes in data/genes: ``python -m benchmarks.gene_tables DIRECTORY``.

The directory holds the public files that ``data/genes/tables.yml`` names, under these names:
``hgnc_complete_set.txt.gz`` (HGNC), ``refseq_summaries_human.tsv.gz`` (NCBI RefSeq, as the package
GeneSummary carries them), ``go_direct.tsv.gz`` and ``go_terms.tsv.gz`` (Gene Ontology, as org.Hs.eg.db and
GO.db carry them). The same files give the same bytes.
"""

import csv
import gzip
import hashlib
import lzma
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from zeroshot.runtime import paths

# Direct annotations of fewer genes are too few to be split in folds; the largest terms ("protein binding")
# say nothing about a gene.
FEWEST_GENES, MOST_GENES = 20, 1000
_SOURCE_OF_SUMMARY = re.compile(r"\s*\[(provided|supplied) by [^\]]*\]\.?\s*$")


def main(directory: Path) -> None:
    """Write the tables and print what ``tables.yml`` says of them."""
    _write_symbols(directory)
    summaries = {
        row["Gene_ID"]: _SOURCE_OF_SUMMARY.sub("", row["Gene_summary"]).strip()
        for row in _rows(directory / "refseq_summaries_human.tsv.gz")
    }
    genes = [
        row
        for row in _rows(directory / "hgnc_complete_set.txt.gz")
        if row["status"] == "Approved"
        and (row["locus_group"] != "pseudogene" or row["entrez_id"] in summaries)
    ]
    current = {row["symbol"] for row in genes}
    former = Counter(name for row in genes for name in _names(row["prev_symbol"]))
    texts = [
        (
            row["symbol"],
            row["ensembl_gene_id"],
            # One that is now another gene's symbol, or was two genes', would name the wrong one.
            "|".join(n for n in _names(row["prev_symbol"]) if n not in current and former[n] == 1),
            row["name"],
            summaries.get(row["entrez_id"], ""),
        )
        for row in sorted(genes, key=lambda row: row["symbol"])
    ]
    _write("gene_texts.tsv.xz", ("symbol", "ensembl_id", "previous", "name", "summary"), texts)

    symbols = {row["entrez_id"]: row["symbol"] for row in genes if row["entrez_id"]}
    annotated = defaultdict(set)
    for row in _rows(directory / "go_direct.tsv.gz"):
        if row["evidence"] != "ND" and row["entrez"] in symbols:
            annotated[row["go_id"]].add(symbols[row["entrez"]])
    terms = [
        (row["go_id"], row["ontology"], row["term"], " ".join(sorted(annotated[row["go_id"]])))
        for row in _rows(directory / "go_terms.tsv.gz")
        if FEWEST_GENES <= len(annotated[row["go_id"]]) <= MOST_GENES
    ]
    _write("gene_ontology.tsv.xz", ("term", "ontology", "name", "genes"), sorted(terms))


def _write_symbols(directory: Path) -> None:
    """Every approved gene with the names that mean it and no other gene."""
    genes = [row for row in _rows(directory / "hgnc_complete_set.txt.gz") if row["status"] == "Approved"]
    symbols = {row["symbol"] for row in genes}
    previous = Counter(name for row in genes for name in set(_names(row["prev_symbol"])))
    aliases = Counter(name for row in genes for name in set(_names(row["alias_symbol"])))
    rows = []
    for row in sorted(genes, key=lambda row: row["symbol"]):
        own = dict.fromkeys(n for n in _names(row["prev_symbol"]) if previous[n] == 1)
        # A name that was one gene's symbol means that gene, whoever uses it as an alias.
        own |= dict.fromkeys(n for n in _names(row["alias_symbol"]) if aliases[n] == 1 and n not in previous)
        others = "|".join(name for name in own if name not in symbols)
        rows.append((row["symbol"], row["ensembl_gene_id"], others))
    _write("gene_symbols.tsv.xz", ("symbol", "ensembl_id", "others"), rows)


def _rows(file: Path) -> Iterable[dict[str, str]]:
    # HGNC quotes its lists; the others have quotation marks in their texts.
    quoting = csv.QUOTE_MINIMAL if file.name.startswith("hgnc") else csv.QUOTE_NONE
    with gzip.open(file, "rt", encoding="utf-8") as text:
        yield from csv.DictReader(text, delimiter="\t", quoting=quoting)


def _names(listed: str) -> list[str]:
    return [name for name in listed.split("|") if name]


def _write(name: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    lines = ["\t".join(" ".join(cell.split()) for cell in row) for row in [columns, *rows]]
    content = lzma.compress(("\n".join(lines) + "\n").encode(), preset=9 | lzma.PRESET_EXTREME)
    (paths.home() / "data" / "genes" / name).write_bytes(content)
    print(f"{name}: {len(rows)} rows, {len(content)} bytes, {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
