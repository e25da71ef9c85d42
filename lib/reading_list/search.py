"""Papers of the reading list by the words they hold, and by the sections they are shown in."""

from collections.abc import Iterable, Iterator

from reading_list import entries
from reading_list.records import Paper, Section
from zeroshot import catalog


def matching_papers(query: str = "", section: str | None = None) -> list[Paper]:
    """Papers that hold every word of a query, in the order of the list.

    Parameters
    ----------
    query
        Words, upper or lower case; parts of words count. Looked for in titles, short name, venue,
        year, authors and tags.
    section
        Name of a section; papers that are also shown there are included.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If there is no such section.
    """
    if section is not None:
        catalog.find(entries.sections(), section, "section")
    words = query.casefold().split()
    return [
        paper
        for paper in entries.load().values()
        if (section is None or section in {name for name, _ in paper.places})
        and all(word in searchable_text(paper) for word in words)
    ]


def searchable_text(paper: Paper) -> str:
    """What a search of a paper looks through, in lower case."""
    fields = (*paper.titles, paper.short_name, paper.venue, str(paper.year), *paper.authors, *paper.tags)
    return " ".join(filter(None, fields)).casefold()


def papers_by_place(papers: Iterable[Paper]) -> Iterator[tuple[Section, str | None, list[Paper]]]:
    """Groups for a page: section, title of the subsection or None, and the papers shown there.

    Empty groups are left out; a paper with several places comes in each. In a group the newest come first.
    """
    papers = sorted(papers, key=lambda paper: -paper.year)
    for section in entries.sections().values():
        for subsection in section.subsections or [None]:
            group = [paper for paper in papers if (section.name, subsection) in paper.places]
            if group:
                yield section, section.subsections.get(subsection), group
