"""Pages of the reading list: all papers to search and filter, the sections, the editions, the survey's parts.

Entries are shown as HTML (templates in ``book/_templates/pages``), escaped: a title may hold what Markdown
would read as marks.
"""

from reading_list import editions, entries, export, search, sections_of_survey
from zeroshot.runtime import escaping, templates

# What the pages offer to download: file name to format.
DOWNLOADS = {
    "reading_list.bib": "bibtex",
    "reading_list.ris": "ris",
    "reading_list.csv": "csv",
    "reading_list.json": "json",
}
_TITLES = {"bibtex": "BibTeX", "ris": "RIS", "csv": "CSV", "json": "JSON"}


def downloads() -> dict[str, str]:
    """The whole list in every format, by file name."""
    papers = list(entries.load().values())
    return {name: export.FORMATS[form](papers) for name, form in DOWNLOADS.items()}


def pages() -> dict[str, str]:
    """All pages as Markdown, by their path below ``book/``, without suffix."""
    sections = {f"reading_list/{name}": _section_page(name) for name in entries.sections()}
    return {
        "reading_list": _table_page(),
        **sections,
        "reading_list/editions": _editions_page(),
        "reading_list/survey_sections": sections_of_survey.page(),
    }


def _table_page() -> str:
    papers, sections = list(entries.load().values()), entries.sections()
    years = [paper.year for paper in papers]
    with_authors = sum(bool(paper.authors) for paper in papers)
    opened = sum(paper.checked != "never" for paper in papers)
    filters = {
        "section": {name: section.title for name, section in sections.items()},
        "kind": {kind: kind for kind in sorted({paper.kind for paper in papers if paper.kind})},
    }
    about = (
        f"{len(papers)} papers, {min(years)} to {max(years)}, on foundation models for single cells and what "
        "surrounds them. Every word of a search must occur in a title, a short name, the venue, the year, an "
        "author or a tag. A click on a head sorts; the name of a paper is a link to its row. One entry in a "
        "file adds a paper: [Contributing](contributing.md) shows it.\n\n"
        f"Authors are recorded of {with_authors} of the papers, those that chapters cite among them. The "
        f"addresses of {opened} were opened by hand; `zeroshot reading-list check` asks them all."
    )
    table = templates.render(
        "pages/reading_list.html",
        papers=papers,
        sections=sections,
        filters=filters,
        downloads={name: _TITLES[form] for name, form in DOWNLOADS.items()},
        searchable_text=search.searchable_text,
        to_bibtex=export.to_bibtex,
    )
    return f"# Reading list\n\n{about}\n\n{escaping.raw(table)}\n"


def _section_page(name: str) -> str:
    section, papers = entries.sections()[name], search.matching_papers(section=name)
    parts = [
        f"# {escaping.verbatim(section.title)}",
        f"{len(papers)} papers of the [reading list](../reading_list.md), newest first.",
    ]
    for of_section, subsection, group in search.papers_by_place(papers):
        if of_section.name == name:
            parts += [f"## {escaping.verbatim(subsection)}"] if subsection else []
            parts += [escaping.raw(templates.render("pages/papers.html", papers=group))]
    return "\n\n".join(parts) + "\n"


def _editions_page() -> str:
    """Counts of each edition, tables of what came and went, and what an edition said otherwise."""
    changes, tables = editions.changes(), templates.macros("pages/editions.html")
    parts = [
        "# What changed between the editions",
        "The [reading list](../reading_list.md) was made from three editions of a public list and its public "
        "version of July 2026. Every entry says in which of them it is. In which section "
        "an edition had a paper is not recorded: a paper stands here in its section of the newest.",
        escaping.raw(tables.counts(changes, editions.TITLES)),
    ]
    for number, change in enumerate(changes):
        parts += [f"(edition-{change.edition})=\n## {editions.TITLES[change.edition]}"]
        if number == 0:
            parts += [f"{len(change.listed)} papers, with which the list begins."]
            continue
        for word, papers in (("added", change.added), ("removed", change.removed)):
            if papers:
                table = tables.papers(papers, entries.sections(), word)
                parts += [f"{len(papers)} {word}.", escaping.raw(table)]
    differing = editions.papers_with_corrections()
    parts += [
        "## What an edition said otherwise",
        f"{len(differing)} papers of which an edition said something else than the list does: for example, "
        "that it is a preprint, where it has appeared since.",
        escaping.raw(tables.corrections(differing, editions.corrections_of)),
    ]
    return "\n\n".join(parts) + "\n"
