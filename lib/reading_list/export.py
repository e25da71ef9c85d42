"""Papers of the reading list as BibTeX, RIS, CSV and JSON: papers in, text out."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from typing import Any, get_args

from reading_list.records import Paper, PreprintVenue

# Venues whose papers stand in proceedings; all others are journals, servers or sites.
CONFERENCES = ("AAAI", "ACL", "ICLR", "ICML", "NeurIPS", "RECOMB", "WSDM")
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)
# Columns of the table; several values in a cell are separated by "; ".
COLUMNS = (
    "id", "title", "short_name", "authors", "year", "venue", "link", "doi", "arxiv", "preprint", "code",
    "section", "subsection", "kind", "modality", "tokenisation", "objective", "editions", "supersedes",
    "builds_on", "checked", "other_titles", "other_urls", "corrections",
)  # fmt: skip


def to_bibtex(papers: Iterable[Paper]) -> str:
    """BibTeX in UTF-8, keyed by the names of the entries.

    Letters beyond ASCII stay as they are, what LaTeX would interpret is escaped, and titles keep their
    capitals. Addresses and DOIs are verbatim, as the ``url`` and ``doi`` fields want them.
    """
    return "\n".join(map(_bibtex_entry, papers))


def preprint_of(paper: Paper) -> Paper:
    """The preprint of a paper as a record of its own, named ``<name>-preprint``."""
    preprint = paper.preprint
    fields = {field: getattr(preprint, field) for field in ("venue", "year", "url", "doi", "arxiv")}
    fields |= {"name": f"{paper.name}-preprint", "title": preprint.title or paper.title, "preprint": None}
    return paper.model_copy(update=fields)


def _bibtex_entry(paper: Paper) -> str:
    kind, place = "misc", "howpublished"
    if _in_proceedings(paper):
        kind, place = "inproceedings", "booktitle"
    elif paper.venue:
        kind, place = "article", "journal"
    preprint = paper.preprint
    arxiv = paper.arxiv or (preprint.arxiv if preprint else None)
    fields = {
        "author": " and ".join(map(_bibtex_author, paper.authors)),
        "title": f"{{{_latex(paper.title)}}}",  # the second braces keep capitals
        place: _latex(paper.venue or ""),
        "year": str(paper.year),
        "doi": paper.doi,
        "eprint": arxiv,
        "archiveprefix": "arXiv" if arxiv else None,
        "url": paper.link,
        "keywords": _latex(", ".join(paper.tags)),
        "note": f"Preprint: {preprint.venue}, {preprint.year}" if preprint else None,
    }
    lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
    return f"@{kind}{{{paper.name},\n{''.join(lines)}}}\n"


def _bibtex_author(name: str) -> str:
    """A name without a comma is one word, as a consortium's, unless it is the last one, "others"."""
    return _latex(name) if "," in name or name == "others" else f"{{{_latex(name)}}}"


def _latex(text: str) -> str:
    return text.translate(_LATEX)


def _in_proceedings(paper: Paper) -> bool:
    return bool(paper.venue) and paper.venue.split()[0] in CONFERENCES


def to_ris(papers: Iterable[Paper]) -> str:
    """RIS, one record a paper, ID the name of the entry."""
    return "\n".join(map(_ris_record, papers))


def _ris_record(paper: Paper) -> str:
    kind = "JOUR" if paper.venue else "GEN"
    if _in_proceedings(paper):
        kind = "CPAPER"
    elif paper.venue in get_args(PreprintVenue):
        kind = "UNPB"
    preprint = paper.preprint.url if paper.preprint else None
    lines = [
        ("TY", kind),
        ("ID", paper.name),
        ("TI", paper.title),
        *(("AU", name) for name in paper.authors if name != "others"),
        ("PY", str(paper.year)),
        ("T2", paper.venue),
        ("DO", paper.doi),
        ("UR", paper.link),
        ("N1", f"Preprint: {preprint}" if preprint and preprint != paper.link else None),
        *(("KW", tag) for tag in paper.tags),
    ]
    return "".join(f"{tag}  - {value}\n" for tag, value in lines if value) + "ER  - \n"


def to_csv(papers: Iterable[Paper]) -> str:
    """Table with the columns :data:`COLUMNS`; an empty cell is an unknown value."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    for paper in papers:
        row = _plain(paper) | {
            "preprint": paper.preprint.url if paper.preprint else None,
            "builds_on": [f"{descent.paper} ({descent.takes})" for descent in paper.builds_on],
        }
        cells = {name: row.get(name) for name in COLUMNS}
        table.writerow({name: "; ".join(v) if isinstance(v, list) else v for name, v in cells.items()})
    return text.getvalue()


def to_json(papers: Iterable[Paper]) -> str:
    """JSON list of all fields of the entries with ``id`` and ``link``; unknown values are left out."""
    return json.dumps([_plain(paper) for paper in papers], indent=1, ensure_ascii=False) + "\n"


def _plain(paper: Paper) -> dict[str, Any]:
    fields = paper.model_dump(mode="json", exclude_defaults=True)
    return {"id": fields.pop("name"), **fields, "link": paper.link}


# What `zeroshot reading-list --format` and the pages offer.
FORMATS: dict[str, Callable[[Iterable[Paper]], str]] = {
    "bibtex": to_bibtex,
    "ris": to_ris,
    "csv": to_csv,
    "json": to_json,
}
