"""Lists of registered things, as several commands print them."""

from collections.abc import Mapping
from typing import Any

from zeroshot import catalog
from zeroshot.runtime import printing


def entries(cards: Mapping[str, catalog.Card], name: str | None, kind: str) -> list[dict[str, Any]]:
    """All entries of a registry, or the one of a name."""
    selected = cards.values() if name is None else [catalog.find(cards, name, kind)]
    return [card.model_dump(mode="json") for card in selected]


def at_a_glance(card: catalog.ModelCard | catalog.OtherModel) -> dict[str, Any]:
    """What the list of models says of one in a line; whether it runs, and with which weights, comes last."""
    if isinstance(card, catalog.OtherModel):
        facts = {"kind": "foundation", "recipe": None, "needs": ()}
        return {"name": card.name} | facts | {"weights": f"not possible: {card.not_possible}"}
    others = len(card.recipes) - 1
    recipe = card.recipe + (f" +{others}" if others else "")
    weights = ": ".join([card.access, *([whereabouts(card)] if card.weights else [])])
    return {"name": card.name, "kind": card.kind, "recipe": recipe, "needs": card.uses, "weights": weights}


def whereabouts(card: catalog.ModelCard) -> str:
    """Where the weights of a model are, how large, and under which licence."""
    source, size = card.weights, card.weights.files["weights"].size
    package = f"package {source.package}" if source.package else None
    package = "this repository" if source.in_repository else package
    drive = "Google Drive" if source.drive else None
    place = package or source.hub or drive or source.page or "addresses of the card"
    return f"{place}; {printing.size_text(size) if size else 'size not stated'}; {card.weights_licence}"


def show(rows: list[dict[str, Any]], columns: list[str], name: str | None, as_json: bool) -> None:
    """Print entries as lines, the one of a name in full, or JSON."""
    if as_json:
        printing.show_json(rows)
    elif name is None:
        printing.show_lines(rows, columns)
    else:
        printing.show_fields(rows[0])
