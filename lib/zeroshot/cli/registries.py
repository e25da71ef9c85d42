"""Lists of registered things, as several commands print them."""

from collections.abc import Iterable, Mapping
from typing import Any

from zeroshot import catalog
from zeroshot.runtime import printing


def entries(cards: Mapping[str, catalog.Card], name: str | None, kind: str) -> list[dict[str, Any]]:
    """All entries of a registry, or the one of a name."""
    selected = cards.values() if name is None else [catalog.find(cards, name, kind)]
    return [card.model_dump(mode="json") for card in selected]


# How a model's weights come here, and what the list of models says above those that it holds for.
_ACCESS = {
    "none": "run here, without weights",
    "installed": "run here with real weights, which are installed",
    "download": "run with real weights, which are downloaded",
    "bring": "run with weights that you bring (--weights)",
    "untrained": "untrained twins, whose weights are drawn by the seed",
    "not possible": "cannot be run here",
}


def show_models(cards: Iterable[catalog.ModelCard | catalog.OtherModel]) -> None:
    """Print a table of models for each way in which weights come here."""
    groups: dict[str, list[dict[str, Any]]] = {access: [] for access in _ACCESS}
    for card in cards:
        access, row = _at_a_glance(card)
        groups[access].append(row)
    for access, rows in groups.items():
        if rows:
            printing.show(rows, list(rows[0]), title=_ACCESS[access])
            print()


def _at_a_glance(card: catalog.ModelCard | catalog.OtherModel) -> tuple[str, dict[str, Any]]:
    """How a model's weights come here, and its row of the list: its default recipe, and how many others."""
    if isinstance(card, catalog.OtherModel):
        return "not possible", {"name": card.name, "why": card.not_possible}
    others = len(card.recipes) - 1
    row = {"name": card.name, "recipe": card.recipe + (f" +{others}" if others else "")}
    if card.twin_of:
        reads_files = card.architecture.get("config") == "released"
        needs_folder = reads_files and catalog.model(card.twin_of).access == "bring"
        return "untrained", row | {"needs": "--weights" if needs_folder else "–"}
    if card.access == "none":
        return "none", row | {"needs": card.uses}
    return card.access, row | {"weights": whereabouts(card)}


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
