"""The reading list under ``data/literature/``: papers, read into frozen records, and searched.

What a file may say is checked when it is read: closed lists of words, clean addresses, every paper
once, every reference alive. DOI and arXiv number are read from the address, not typed.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from zeroshot import catalog, paths
from zeroshot.catalog import CatalogError
from zeroshot.literature.records import Paper, Section


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
    changed = tuple(
        paths.catalog(f"literature/{name}").stat().st_mtime_ns for name in ("reading_list", "sections")
    )
    return dict(_checked(paths.catalog("literature/reading_list"), changed))


@lru_cache(maxsize=4)
def _checked(path: Path, _changed: tuple[int, ...]) -> dict[str, Paper]:
    papers = catalog.read("literature/reading_list", Paper)
    known = sections()
    for paper in papers.values():
        try:
            for section, subsection in paper.places:
                allowed = catalog.find(known, section, "section").subsections
                if subsection is not None or allowed:
                    catalog.find(allowed, str(subsection), f"subsection of {section}")
            for earlier in filter(None, (paper.supersedes, *(d.paper for d in paper.builds_on))):
                if catalog.find(papers, earlier, "paper").first_year > paper.first_year:
                    raise CatalogError(f"it descends from {earlier}, which is of a later year")
        except CatalogError as error:
            raise CatalogError(f"{path}: entry {paper.name!r}: {error}") from None
    _require_once(path, papers.values())
    _require_order(path, list(papers.values()), known)
    return papers


def _require_once(path: Path, papers: Iterable[Paper]) -> None:
    """The same address, DOI, arXiv number or title in two entries is one paper listed twice."""
    owners: dict[str, str] = {}
    for paper in papers:
        preprint = paper.preprint or paper
        marks = {*paper.addresses, paper.doi, paper.arxiv, preprint.doi, preprint.arxiv,
                 *(title.casefold() for title in paper.titles)}  # fmt: skip
        for mark in sorted(filter(None, marks)):
            if owners.setdefault(mark, paper.name) != paper.name:
                raise CatalogError(f"{path}: {mark} is in two entries, {owners[mark]} and {paper.name}")


def _require_order(path: Path, papers: list[Paper], known: dict[str, Section]) -> None:
    rank = {
        (section, subsection): (number, place)
        for number, (section, card) in enumerate(known.items())
        for place, subsection in enumerate([None, *card.subsections])
    }
    expected = sorted(papers, key=lambda p: (rank[p.section, p.subsection], -p.year, p.name))
    for paper, right in zip(papers, expected, strict=True):
        if paper is not right:
            raise CatalogError(
                f"{path}: entry {right.name!r} must stand before {paper.name!r}: the list is sorted by "
                "section, subsection, year (newest first) and name"
            )


def search(query: str = "", section: str | None = None) -> list[Paper]:
    """Papers that hold every word of a query, in the order of the list.

    Parameters
    ----------
    query
        Words, upper or lower case; parts of words count. Looked for in titles, short name, venue,
        year, authors and tags.
    section
        Name of a section; papers shown there as well are found too.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If there is no such section.
    """
    if section is not None:
        catalog.find(sections(), section, "section")
    words = query.casefold().split()
    return [
        paper
        for paper in load().values()
        if (section is None or section in {name for name, _ in paper.places}) and _holds(paper, words)
    ]


def _holds(paper: Paper, words: Iterable[str]) -> bool:
    said = (*paper.titles, paper.short_name, paper.venue, str(paper.year), *paper.authors, *paper.tags)
    text = "\n".join(filter(None, said)).casefold()
    return all(word in text for word in words)


def by_place(papers: Iterable[Paper]) -> Iterator[tuple[Section, str | None, list[Paper]]]:
    """Groups for a page: section, title of the subsection or None, and the papers shown there.

    Empty groups are left out; a paper with several places comes in each. In a group the newest come first.
    """
    papers = sorted(papers, key=lambda paper: -paper.year)
    for section in sections().values():
        for subsection in section.subsections or [None]:
            shown = [paper for paper in papers if (section.name, subsection) in paper.places]
            if shown:
                yield section, section.subsections.get(subsection), shown
