"""Every model's card in one table, with an address each, for the page of models."""

from collections.abc import Iterable
from typing import Any

import reading_list
from zeroshot import catalog, study
from zeroshot.catalog import ModelCard, OtherModel
from zeroshot.runtime import escaping, templates
from zeroshot.site import citations

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
    families: dict[str, list[dict[str, Any]]] = {}
    for card in (catalog.models() | catalog.other_models()).values():
        of_card = [page for page in runs if page.parameters["model"] == card.name]
        families.setdefault(card.family or WITHOUT_FAMILY, []).append(_row(card, of_card))
    anchored = [(catalog.family_anchor(family), family, rows) for family, rows in families.items()]
    return escaping.raw(templates.render("pages/models.html", families=anchored))


def _row(card: ModelCard | OtherModel, runs: list[study.Page]) -> dict[str, Any]:
    """What the table says of a model: papers of the reading list and runs are named by what they lead to."""
    papers, runnable = reading_list.load(), isinstance(card, ModelCard)
    return {
        "card": card,
        "runnable": runnable,
        "recipes": sorted(card.recipes, key=lambda name: name != card.recipe) if runnable else (),
        "papers": {key: papers[key].short_name or papers[key].title for key in card.cited if key in papers},
        "has_references": not citations.other_works().isdisjoint(card.cited),
        "runs": {page.path: _run_title(card, page) for page in runs},
    }


def _run_title(card: ModelCard, page: study.Page) -> str:
    recipe, title = page.parameters["recipe"], catalog.dataset(page.parameters["dataset"]).title
    return title if recipe == card.recipe else f"{title} ({recipe})"
