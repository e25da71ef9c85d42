"""Pages of the reading list: one of all papers, to search and filter, and one per section.

What entries say is written as HTML, escaped: a title may hold what Markdown would read as marks.
"""

from reading_list import entries, export, search
from reading_list.records import Paper
from zeroshot import markup

# What the pages offer to download: file name to format.
DOWNLOADS = {
    "reading_list.bib": "bibtex",
    "reading_list.ris": "ris",
    "reading_list.csv": "csv",
    "reading_list.json": "json",
}
_NAMES = {"bibtex": "BibTeX", "ris": "RIS", "csv": "CSV", "json": "JSON"}


def downloads() -> dict[str, str]:
    """The whole list in every format, by file name."""
    papers = list(entries.load().values())
    return {name: export.FORMATS[form](papers) for name, form in DOWNLOADS.items()}


def pages() -> dict[str, str]:
    """All pages as Markdown, by their path below ``book/``, without suffix."""
    return {"reading_list": _table_page()} | {
        f"reading_list/{name}": _section_page(name) for name in entries.sections()
    }


def _table_page() -> str:
    papers, sections = list(entries.load().values()), entries.sections()
    years = [paper.year for paper in papers]
    with_authors = sum(bool(paper.authors) for paper in papers)
    opened = sum(paper.checked != "never" for paper in papers)
    chosen_by = {
        "section": {name: section.title for name, section in sections.items()},
        "kind": {kind: kind for kind in sorted({paper.kind for paper in papers if paper.kind})},
    }
    selects = "\n".join(_select(name, choices) for name, choices in chosen_by.items())
    rows = "\n".join(_row(paper, sections[paper.section].title) for paper in papers)
    table = markup.table(
        ("Paper", "Venue", "Year", "Section", "Cite"),
        f"<tbody>\n{rows}\n</tbody>",
        'class="table" id="papers"',
    )
    files = ", ".join(
        f'<a href="../downloads/{name}" download>{_NAMES[form]}</a>' for name, form in DOWNLOADS.items()
    )
    return _page(
        "Reading list",
        f"{len(papers)} papers, {min(years)} to {max(years)}, on foundation models for single cells and what "
        "surrounds them. Every word of a search must occur in a title, a short name, the venue, the year, an "
        "author or a tag. A click on a head sorts; the name of a paper is a link to its row. One entry in a "
        "file adds a paper: [Contributing](contributing.md) shows it.\n\n"
        f"Authors are recorded of {with_authors} of the papers, those that chapters cite among them. The "
        f"addresses of {opened} were opened by hand; `zeroshot reading-list check` asks them all.",
        f"""<p>All of it: {files}.</p>
<form class="filters" role="search" data-table="papers" data-noun="paper">
<label>Search <input type="search" name="query" autocomplete="off"></label>
{selects}
<output aria-live="polite">{len(papers)} papers</output>
</form>
{table}
<script defer src="../_static/reading_list.js"></script>""",
    )


def _select(name: str, choices: dict[str, str]) -> str:
    options = "".join(
        f'<option value="{markup.escape(value)}">{markup.escape(text)}</option>'
        for value, text in choices.items()
    )
    return (
        f'<label>{name.title()} <select name="{name}"><option value="">all</option>{options}</select></label>'
    )


def _row(paper: Paper, section: str) -> str:
    said = [*paper.titles, paper.short_name, paper.venue, str(paper.year), *paper.authors, *paper.tags]
    facts = {
        "id": f"paper-{paper.name}",
        "data-search": " ".join(filter(None, said)).casefold(),
        "data-section": " ".join(name for name, _ in paper.places),
        "data-kind": paper.kind or "",
    }
    attributes = " ".join(f'{name}="{markup.escape(value)}"' for name, value in facts.items())
    cells = [_escape(paper.venue), str(paper.year), markup.escape(section)]
    label = markup.escape(f"Copy BibTeX of {paper.short_name or paper.title}")
    cite = f'class="cite" aria-label="{label}" data-cite="{markup.escape(export.to_bibtex([paper]))}"'
    return (
        f'<tr {attributes}><th scope="row">{_title(paper, f"#paper-{paper.name}")}'
        f' <span class="minor">{markup.escape(", ".join(paper.tags))}</span></th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + f'<td><button type="button" {cite}>BibTeX</button></td></tr>'
    )


def _section_page(name: str) -> str:
    section, shown_here = entries.sections()[name], search.matching_papers(section=name)
    parts = []
    for of_section, subsection, papers in search.papers_by_place(shown_here):
        if of_section.name == name:
            items = "\n".join(f"<li>{_entry(paper)}</li>" for paper in papers)
            heading = [f"## {markup.verbatim(subsection)}"] if subsection else []
            parts += [*heading, markup.raw(f'<ul class="papers">\n{items}\n</ul>')]
    about = f"{len(shown_here)} papers of the [reading list](../reading_list.md), newest first."
    return "\n\n".join([f"# {markup.verbatim(section.title)}", about, *parts]) + "\n"


def _entry(paper: Paper) -> str:
    """A paper in a list: title, authors, where and when, and every address."""
    where = " ".join(filter(None, [paper.venue, str(paper.year)]))
    links = {"preprint": paper.preprint.url if paper.preprint and paper.url else None, "code": paper.code}
    links |= {f"link {number}": url for number, url in enumerate(paper.other_urls, start=1)}
    shown = "".join(f" {markup.link(url, text)}" for text, url in links.items() if url)
    title = _title(paper, f"../reading_list.html#paper-{paper.name}")
    return f"{title} {_escape(where)}.{shown}"


def _title(paper: Paper, row: str) -> str:
    """Title, a link to the paper; short name, or a mark, a link to its row in the table; authors."""
    named = f'<a class="entry" href="{markup.escape(row)}">{markup.escape(paper.short_name or "¶")}</a>'
    title = markup.link(paper.link, paper.title, "data-key")
    *most, last = paper.authors or [""]
    authors = "; ".join(most) + " and others" if last == "others" else "; ".join(paper.authors)
    said = f' <span class="minor">{markup.escape(authors.removesuffix("."))}.</span>' if authors else ""
    return (f"{named} {title}" if paper.short_name else f"{title} {named}") + said


def _escape(text: str | None) -> str:
    return markup.escape(text or "–")


def _page(title: str, about: str, body: str) -> str:
    return f"# {title}\n\n{about}\n\n{markup.raw(body)}\n"
