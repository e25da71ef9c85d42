"""Tables for chapters: the papers of the list, and the survey's models with links to papers and cards.

Links are HTML, relative to a page in ``notebooks/``, and the text beside them is escaped.
"""

import pandas as pd
from markupsafe import Markup

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


def papers_by_section(listed: pd.DataFrame) -> pd.DataFrame:
    """Numbers of papers (rows of :func:`papers`) by section, linked to its page, and year, with sums."""
    numbers = pd.crosstab(listed["section"], listed["year"], margins=True, margins_name="all")
    numbers = numbers.reindex([*dict.fromkeys(listed["section"]), "all"]).rename_axis(columns=None)
    link = templates.macros("notebooks/links.html").section_link
    links = {section.title: link(name, section.title) for name, section in entries.sections().items()}
    return numbers.rename(index=links).replace(0, "").reset_index()


def extremes(values: pd.Series) -> dict[str, tuple[str, int]]:
    """The most and the least frequent values (``top`` and ``rare``), and how often each of them occurs.

    Several are one text, such as "2024 and 2025".
    """
    counts = values.value_counts()
    return {
        place: (" and ".join(sorted(map(str, counts[counts == number].index))), int(number))
        for place, number in {"top": counts.max(), "rare": counts.min()}.items()
    }


def surveyed_models() -> pd.DataFrame:
    """The survey's models and what it says of them, a row each, linked to papers and cards; HTML."""
    links, papers = templates.macros("notebooks/links.html"), entries.load()

    def row(model: survey.SurveyModel) -> dict[str, str | int]:
        runs = "yes" if survey.cards(model) else "no"
        card = links.family_link(catalog.family_anchor(model.card), runs) if model.card else "–"
        paper = papers.get(model.paper)
        return {
            "model": escaping.escape(model.name),
            "paper": str(links.paper_link(paper.name, paper.short_name or paper.name) if paper else "–"),
            "in this book": str(card),
            "year": model.year,
            "type": model.model_type,
            "tokens or text": escaping.escape(", ".join(model.tokens)) or "–",
            "paradigm": escaping.escape(model.paradigm or "") or "–",
            "millions": "–" if model.size_millions is None else f"{model.size_millions:g}",
            "of": escaping.escape(model.size_unit or "") or "–",
            "base model": escaping.escape(model.base_model or "") or "–",
        }

    return _of_html([row(model) for model in survey.models().values()])


def other_base_models() -> list[str]:
    """Sentences on models of which a card here loads another language model than the survey names."""
    sentences = []
    for name, model in survey.models().items():
        others = []
        for card in survey.cards(model):
            if model.base_model and card.weights:
                place = card.weights.hub or card.weights.page.removeprefix("https://huggingface.co/")
                same = model.base_model in f"{place} {card.description}" and not card.authors_encoder
                others += [] if same or place in others else [place]
        if others:
            sentences.append(
                f"{name}: the survey names {model.base_model} as its language model; "
                f"here it is {' or '.join(others)}."
            )
    return sentences


def models_in_book() -> pd.DataFrame:
    """What this book has of the survey's models, a row per family, linked to cards and papers."""
    return _of_html([_links(survey.models()[row["model"]], row) for row in survey.families_in_book()])


def _of_html(rows: list[dict[str, str | int]]) -> pd.DataFrame:
    """A table whose texts are HTML, made from escaped values, and shown as such."""
    return pd.DataFrame(rows).map(
        lambda value: Markup(value) if isinstance(value, str) else value  # noqa: S704 - escaped above
    )


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
    return _of_html(
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


def tree() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nodes of the tree of models, and its lines: model, parent and what it takes."""
    nodes = lineage.nodes()
    lines = [(node.name, descent.parent, descent.takes) for node in nodes for descent in node.descents]
    return (
        pd.DataFrame(map(vars, nodes)).assign(here=[node.here for node in nodes]),
        pd.DataFrame(lines, columns=["model", "parent", "takes"]),
    )


def marks_by_verdict(compared: pd.DataFrame) -> pd.DataFrame:
    """Marks of the survey's table beside its text, those on which they disagree first.

    Parameters
    ----------
    compared
        Rows of :func:`reading_list.survey.tasks` with a verdict.
    """
    sequence = [*survey.DISAGREE, "supported"]
    rows = compared.assign(
        in_table=compared["in_table"].map({True: "yes", False: "no"}),
        verdict=pd.Categorical(compared["verdict"], sequence),
    ).sort_values("verdict", kind="stable")
    columns = {"model": "model", "task": "task", "in_table": "in the table", "verdict": "verdict"}
    columns |= {"note": "what the text says"}
    return rows[list(columns)].rename(columns=columns)


def members(rows: pd.DataFrame, levels: list[str]) -> pd.DataFrame:
    """The models at each place, a row a place: the columns ``levels``, and ``model`` with their names."""
    return rows.groupby(levels, sort=False)["model"].agg(", ".join).reset_index()


def _name(node: lineage.Node) -> str:
    """The name of a model, a link to its paper where the list has it."""
    if not node.paper:
        return escaping.escape(node.name)
    return str(templates.macros("notebooks/links.html").paper_link(node.paper, node.name))
