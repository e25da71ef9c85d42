"""Every model's card in one table, with an address each, for the page of models."""

from collections.abc import Iterable

import reading_list
from zeroshot import catalog, markup, study
from zeroshot.book import citations
from zeroshot.catalog import ModelCard

_HEADS = ("Model", "Recipes", "Weights", "Licence of weights", "Papers", "Runs in this build")
WITHOUT_FAMILY = "Baselines and controls"


def table(pages: Iterable[study.Page] = ()) -> str:
    """Models by family, as HTML in Markdown.

    A family has the address ``family-<name>``, a model that of its name. The default recipe comes first.

    Parameters
    ----------
    pages
        The pages of a build: its run pages are linked.
    """
    runs = [page for page in pages if page.notebook == "run"]
    families: dict[str, list[ModelCard]] = {}
    for card in catalog.models().values():
        families.setdefault(card.family or WITHOUT_FAMILY, []).append(card)
    bodies = "".join(_family(name, cards, runs) for name, cards in families.items())
    return markup.raw(markup.table(_HEADS, bodies, 'class="table cards"'))


def _family(name: str, cards: list[ModelCard], runs: list[study.Page]) -> str:
    rows = "".join(
        _row(card, [page for page in runs if page.parameters["model"] == card.name]) for card in cards
    )
    anchor = markup.escape(catalog.family_anchor(name))
    return (
        f'<tbody id="{anchor}"><tr><th scope="rowgroup" colspan="{len(_HEADS)}">'
        f"{markup.escape(name)}</th></tr>{rows}</tbody>"
    )


def _row(card: ModelCard, runs: list[study.Page]) -> str:
    recipes = sorted(card.recipes, key=lambda name: name != card.recipe)
    linked = ", ".join(
        f'<a href="../{markup.escape(page.path)}.html">{markup.escape(_run(card, page))}</a>' for page in runs
    )
    cells = (markup.escape(", ".join(recipes)), _weights(card), markup.escape(card.weights_licence or "–"),
             _papers(card), linked or "–")  # fmt: skip
    about = f'<span class="minor">{markup.escape(card.description)}</span>'
    return (
        f'<tr id="{markup.escape(card.name)}"><th scope="row">{markup.escape(card.title)} {about}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _run(card: ModelCard, page: study.Page) -> str:
    recipe, title = page.parameters["recipe"], catalog.dataset(page.parameters["dataset"]).title
    return title if recipe == card.recipe else f"{title} ({recipe})"


def _weights(card: ModelCard) -> str:
    """Where released weights come from; a twin says whose architecture it has."""
    if card.twin_of:
        return f'random; <a href="#{markup.escape(card.twin_of)}">trained</a>'
    if card.weights is None:
        return "–"
    if card.weights.hub:
        return markup.escape(f"{card.weights.hub} at {card.weights.revision[:8]}")
    return "folder of the authors" if card.weights.drive else "addresses of the card"


def _papers(card: ModelCard) -> str:
    """Links into the reading list; what is not in it is on the page of references."""
    cited, listed = card.cited, reading_list.load()
    titles = {key: listed[key].short_name or listed[key].title for key in cited if key in listed}
    known = [markup.paper_link(key, title, "reading_list.html") for key, title in titles.items()]
    others = ['<a href="references.html">references</a>'] if set(cited) & citations.other_works() else []
    return ", ".join(known + others) or "–"
