"""The page on what changed between the editions of the reading list's sources."""

from reading_list import editions, entries
from reading_list.records import Paper
from zeroshot import markup


def page() -> str:
    """Counts of each edition, tables of what came and went, and what an edition said otherwise."""
    every = editions.changes()
    counts = "".join(
        f'<tr><th scope="row"><a href="#edition-{change.edition}">{editions.TITLES[change.edition]}</a></th>'
        f"<td>{len(change.listed)}</td><td>{len(change.added) if number else '–'}</td>"
        f"<td>{len(change.gone) if number else '–'}</td></tr>"
        for number, change in enumerate(every)
    )
    sections = [
        "# What changed between the editions",
        "The [reading list](../reading_list.md) was made from three editions of a public list and its public "
        "version of July 2026. Every entry says in which of them it is. In which section "
        "an edition had a paper is not recorded: a paper stands here in its section of the newest.",
        _table(("Edition", "Papers", "Added", "Gone"), counts, "counts"),
    ]
    for number, change in enumerate(every):
        sections += [f"(edition-{change.edition})=\n## {editions.TITLES[change.edition]}"]
        for word, papers in (("added", change.added), ("gone", change.gone)) if number else ():
            if papers:
                rows = "".join(map(_row, papers))
                sections += [
                    f"{len(papers)} {word}.",
                    _table(("Paper", "Section", "Venue", "Year"), rows, word),
                ]
        if not number:
            sections += [f"{len(change.listed)} papers, with which the list begins."]
    differ = editions.told_differently()
    rows = "".join(
        f"<tr>{_named(paper)}<td>{markup.escape(' '.join(editions.about_editions(paper)))}</td></tr>"
        for paper in differ
    )
    sections += [
        "## What an edition said otherwise",
        f"{len(differ)} papers of which an edition said something else than the list does: for example, "
        "that it is a preprint, where it has appeared since.",
        _table(("Paper", "What it was"), rows, "corrected"),
    ]
    return "\n\n".join(sections) + "\n"


def _row(paper: Paper) -> str:
    section = entries.sections()[paper.section].title
    cells = (section, paper.venue or "–", str(paper.year))
    return f"<tr>{_named(paper)}{''.join(f'<td>{markup.escape(cell)}</td>' for cell in cells)}</tr>"


def _named(paper: Paper) -> str:
    return f'<th scope="row">{markup.paper_link(paper.name, paper.title, "../reading_list.html")}</th>'


def _table(heads: tuple[str, ...], rows: str, kind: str) -> str:
    return markup.raw(markup.table(heads, f"<tbody>{rows}</tbody>", f'class="table editions {kind}"'))
