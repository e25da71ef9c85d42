"""Lists of registered things, as several commands print them."""

from collections.abc import Mapping
from typing import Any

from zeroshot import catalog
from zeroshot.runtime import printing


def entries(cards: Mapping[str, catalog.Card], name: str | None, kind: str) -> list[dict[str, Any]]:
    """All entries of a registry, or the one of a name."""
    selected = cards.values() if name is None else [catalog.find(cards, name, kind)]
    return [card.model_dump(mode="json") for card in selected]


def at_a_glance(model: dict[str, Any]) -> dict[str, Any]:
    """What the list of models says of one in a few characters."""
    others = len(model["recipes"]) - 1
    recipe = model["recipe"] + (f" +{others}" if others else "")
    return {"recipe": recipe, "needs": model["uses"], "weights": catalog.model(model["name"]).access}


def show(rows: list[dict[str, Any]], columns: list[str], name: str | None, as_json: bool) -> None:
    """Print entries as lines, the one of a name in full, or JSON."""
    if as_json:
        printing.show_json(rows)
    elif name is None:
        printing.show_lines(rows, columns)
    else:
        printing.show_fields(rows[0])
