"""Conventions: every way in which published recipes use the weights of a model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from anndata import AnnData

from zeroshot import catalog

from .comparison import Variant
from .parameters import complete, token_limit


@dataclass(frozen=True)
class Convention:
    """How the weights of a model are used somewhere.

    Attributes
    ----------
    name, source
        Of the recipe, as its card has them.
    also
        Other recipes with the same parameters.
    parameters
        Every parameter of the model, those the recipe leaves at their default too.
    """

    name: str
    source: str
    also: tuple[str, ...]
    parameters: Mapping[str, Any]


def conventions(model: str, max_tokens: int | None = None) -> list[Convention]:
    """Every way in which the recipes use the weights of a model; the card's default first.

    An untrained twin is also used as the recipes of its trained model say, with the vocabulary of its own
    default: another vocabulary would draw other weights. Recipes with the same parameters are one convention.

    Parameters
    ----------
    model
        Name in ``data/models.yml``.
    max_tokens
        Most tokens of a cell, where a recipe allows more; None for as many as it says.
    """
    card = catalog.model(model)
    recipes = {card.recipe: card.recipes[card.recipe], **card.recipes}
    parameters = {
        name: complete(card, recipe) | token_limit(card, name, max_tokens) for name, recipe in recipes.items()
    }
    own = parameters[card.recipe]
    own_vocabulary = {"vocabulary": own["vocabulary"]} if "vocabulary" in own else {}  # texts have none
    if card.twin_of:
        trained_card = catalog.model(card.twin_of)
        for name, recipe in trained_card.recipes.items():
            recipes.setdefault(name, recipe)
            limit = token_limit(trained_card, name, max_tokens)
            parameters.setdefault(name, complete(card, recipe) | limit | own_vocabulary)
    usable = [name for name in recipes if parameters[name].get("vocabulary") == own.get("vocabulary")]
    distinct: list[Convention] = []
    for name in usable:
        same = [other for other in usable if parameters[other] == parameters[name]]
        if same[0] == name:
            distinct.append(Convention(name, recipes[name].source, tuple(same[1:]), parameters[name]))
    return distinct


def convention_variants(model: str, adata: AnnData, members: Sequence[Convention]) -> Iterator[Variant]:
    """The cells embedded under each convention of a model, the default first."""
    for convention in members:
        yield Variant(convention.name, adata, model, parameters=convention.parameters)


def describe(model: str, members: Sequence[Convention]) -> pd.DataFrame:
    """Conventions of a model as a table: what each changes against the first, and who uses it.

    Returns
    -------
    pandas.DataFrame
        Columns model, convention, also (other recipes with the same parameters), changes and source.
    """
    first, layers = members[0].parameters, catalog.model(model).layers
    rows = []
    for convention in members:
        changes = {name: value for name, value in convention.parameters.items() if value != first[name]}
        if "layer" in changes:  # counted from the last; in figures from the first
            changes["layer"] = f"{layers + changes['layer']} of {layers}"
        rows.append(
            {
                "model": model,
                "convention": convention.name,
                "also": ", ".join(convention.also),
                "changes": ", ".join(f"{name} {value}" for name, value in changes.items()),
                "source": convention.source,
            }
        )
    return pd.DataFrame(rows)
