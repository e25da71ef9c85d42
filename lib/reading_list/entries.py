"""The entries of ``data/literature``: sections and papers, checked against each other when they are read."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from reading_list.records import Paper, Section
from zeroshot import catalog
from zeroshot.catalog import CatalogError
from zeroshot.runtime import paths


def sections() -> dict[str, Section]:
    """Sections by name, in the order of the list."""
    return catalog.read("literature/sections", Section)


def load() -> dict[str, Paper]:
    """All papers by name, in the order of the list: section, subsection, newest first, name.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the file is not valid, with the entry and the field in the message.
    """
    modified = tuple(
        paths.catalog(f"literature/{name}").stat().st_mtime_ns for name in ("reading_list", "sections")
    )
    return dict(_load(paths.catalog("literature/reading_list"), modified))


@lru_cache(maxsize=4)
def _load(path: Path, _modified: tuple[int, ...]) -> dict[str, Paper]:
    papers, registered = catalog.read("literature/reading_list", Paper), sections()
    for paper in papers.values():
        try:
            _require_references(paper, papers, registered)
        except CatalogError as error:
            raise CatalogError(f"{path}: entry {paper.name!r}: {error}") from None
    _require_unique(path, papers.values())
    _require_order(path, list(papers.values()), registered)
    return papers


def _require_references(paper: Paper, papers: dict[str, Paper], registered: dict[str, Section]) -> None:
    """Sections and papers that an entry names must exist, and a paper descends from no later one."""
    for section, subsection in paper.places:
        subsections = catalog.find(registered, section, "section").subsections
        if subsection is not None or subsections:
            catalog.find(subsections, str(subsection), f"subsection of {section}")
    for earlier in filter(None, (paper.supersedes, *(descent.paper for descent in paper.builds_on))):
        if catalog.find(papers, earlier, "paper").first_year > paper.first_year:
            raise CatalogError(f"it descends from {earlier}, which is of a later year")


def _require_unique(path: Path, papers: Iterable[Paper]) -> None:
    """The same address, DOI, arXiv number or title in two entries is one paper listed twice."""
    owners: dict[str, str] = {}
    for paper in papers:
        preprint = paper.preprint or paper
        marks = {*paper.addresses, paper.doi, paper.arxiv, preprint.doi, preprint.arxiv,
                 *(title.casefold() for title in paper.titles)}  # fmt: skip
        for mark in sorted(filter(None, marks)):
            if owners.setdefault(mark, paper.name) != paper.name:
                raise CatalogError(f"{path}: {mark} is in two entries, {owners[mark]} and {paper.name}")


def _require_order(path: Path, papers: list[Paper], registered: dict[str, Section]) -> None:
    rank = {
        (section, subsection): (number, place)
        for number, (section, card) in enumerate(registered.items())
        for place, subsection in enumerate([None, *card.subsections])
    }
    expected = sorted(papers, key=lambda p: (rank[p.section, p.subsection], -p.year, p.name))
    for paper, right in zip(papers, expected, strict=True):
        if paper is not right:
            raise CatalogError(
                f"{path}: entry {right.name!r} must stand before {paper.name!r}: the list is sorted by "
                "section, subsection, year (newest first) and name"
            )
