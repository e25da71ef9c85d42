"""Cell types of ``data/cell_types.yml``: which labels of different data sets mean the same."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from zeroshot.catalog.fields import EntryName, Line, as_dict, read_only
from zeroshot.catalog.names import CatalogError
from zeroshot.catalog.records import Card, DatasetCard

_Labels = Annotated[tuple[Line, ...], Field(min_length=1)]


class CellType(Card):
    """One type: its name for readers, and the labels that data sets give it."""

    title: Line
    labels: Annotated[Mapping[EntryName, _Labels], read_only, as_dict]  # by data set
    comparable: bool = True  # False: may belong to several other types


def types_of_label(dataset: str, cards: Mapping[str, CellType]) -> dict[str, str | None]:
    """Title of the type of each label of a data set, None where it is not comparable; empty if it has none.

    Raises
    ------
    CatalogError
        If a label is of two types.
    """
    types: dict[str, str | None] = {}
    for card in cards.values():
        for label in card.labels.get(dataset, ()):
            if label in types:
                raise CatalogError(f"the label {label!r} of {dataset} is listed twice: keep one")
            types[label] = card.title if card.comparable else None
    return types


def mapping_problem(reference: DatasetCard, query: DatasetCard, cards: Mapping[str, CellType]) -> str | None:
    """Why cells of one data set cannot be scored with labels of another, None if they can."""
    if reference.name == query.name:
        return "a data set is not mapped on itself; name two"
    if reference.organism != query.organism:
        return (
            f"the first is of {reference.organism}, the second of {query.organism}; name two of one species"
        )
    titles = []
    for card in (reference, query):
        types = types_of_label(card.name, cards)
        if not types:
            return f"data/cell_types.yml has no labels of {card.name}; add all of them"
        if card.labels not in (None, len(types)):
            return (
                f"data/cell_types.yml has {len(types)} labels of {card.name}, which has {card.labels}; "
                "list each of them once"
            )
        titles.append({title for title in types.values() if title is not None})
    if not set.intersection(*titles):
        return "they have no cell type in common (data/cell_types.yml); name two of one tissue"
    return None
