"""Tables for chapters: the papers of the list, and the survey's models with links to papers and cards.

Links are HTML, relative to a page in ``notebooks/``, and the text beside them is escaped.
"""

import pandas as pd

from reading_list import editions, entries, lineage, survey
from zeroshot import catalog
from zeroshot.runtime import escaping, templates

# What a descent takes, in words.
TAKES = {"supersedes": "its place: a newer version", "weights": "its weights", "tokens": "its tokens"}


def papers() -> pd.DataFrame:
    """Every paper in the order of the list: year, venue, title of its section, kind."""
    sections = entries.sections()
    return pd.DataFrame(
        [
            {
                "year": paper.year,
                "venue": paper.venue,
                "section": sections[paper.section].title,
                "kind": paper.kind,
            }
            for paper in entries.load().values()
        ]
    )


def papers_by_edition() -> pd.DataFrame:
    """Numbers of papers that each edition retained from the one before it, added and removed."""
    return pd.DataFrame(
        [
            {
                "title": editions.TITLES[change.edition],
                "retained": len(change.retained),
                "added": len(change.added),
                "removed": len(change.removed),
            }
            for change in editions.changes()
        ]
    )


def models_in_book() -> pd.DataFrame:
    """What this book has of the survey's models, a row per family, linked to cards and papers."""
    return pd.DataFrame([_links(survey.models()[row["model"]], row) for row in survey.families_in_book()])


def _links(model: survey.SurveyModel, row: dict[str, str]) -> dict[str, str]:
    links, papers = templates.macros("notebooks/links.html"), entries.load()
    trained = [card for card in survey.cards(model) if card.weights]
    keys = dict.fromkeys([model.paper, *(key for card in trained for key in card.cited)])
    names = {key: papers[key].short_name or key for key in keys if key in papers}
    texts = {column: escaping.escape(text) or "–" for column, text in row.items()}
    return (
        {"model": "", "papers": ""}
        | texts
        | {
            "model": str(links.family_link(catalog.family_anchor(model.card), model.name)),
            "papers": ", ".join(links.paper_link(key, name) for key, name in names.items()),
            "checkpoints": ", ".join(map(links.card_link, trained)),
        }
    )


def descents() -> pd.DataFrame:
    """Every stated descent of the tree of models, and who states it."""
    nodes = {node.name: node for node in lineage.nodes()}
    return pd.DataFrame(
        [
            {
                "model": _name(node),
                "descends from": _name(nodes[descent.parent]),
                "takes": TAKES[descent.takes],
                "stated by": escaping.escape(descent.source),
            }
            for node in nodes.values()
            for descent in node.descents
        ]
    )


def _name(node: lineage.Node) -> str:
    """The name of a model, a link to its paper where the list has it."""
    if not node.paper:
        return escaping.escape(node.name)
    return str(templates.macros("notebooks/links.html").paper_link(node.paper, node.name))
