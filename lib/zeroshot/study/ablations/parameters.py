"""The parameters of a recipe, complete, and what an ablation puts in their place."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from anndata import AnnData

from zeroshot import catalog, models


def defaults(card: catalog.ModelCard) -> dict[str, Any]:
    """Parameters of a model's class with their defaults, without those that the card itself fills in."""
    of_the_card = {"checkpoint", "architecture"}
    return {
        one.name: None if one.default is MISSING else one.default
        for one in fields(models.implementation(card))
        if one.name not in of_the_card
    }


def complete(card: catalog.ModelCard, recipe: catalog.Recipe) -> dict[str, Any]:
    """Every parameter of a model under a recipe, those that the recipe leaves at their default too."""
    return defaults(card) | dict(recipe.parameters)


def token_limit(card: catalog.ModelCard, recipe: str, max_tokens: int | None) -> dict[str, int]:
    """``max_tokens`` as a parameter, at most what the recipe allows; empty for None and without tokens."""
    parameters = complete(card, card.recipes[recipe])
    if max_tokens is None or "max_tokens" not in parameters:
        return {}
    longest = parameters["max_tokens"] or card.max_tokens
    return {"max_tokens": min(longest, max_tokens)}


def limit_tokens(model: str, recipe: str, max_tokens: int | None) -> dict[str, Any]:
    """Parameters that keep every cell within ``max_tokens``; none for None, or a model without tokens.

    They also replace a choice of variable genes, which needs more counts than few cells, or thinned ones,
    have: a sample of all expressed genes of a cell is read.
    """
    card = catalog.model(model)
    limit = token_limit(card, recipe, max_tokens)
    all_genes = {"n_genes": None, "selection": None} if "selection" in defaults(card) else {}
    return limit and limit | all_genes


def effective(parameters: Mapping[str, Any], adata: AnnData) -> dict[str, Any]:
    """The parameters, without a choice of genes that has nothing to choose from.

    If a recipe asks for more variable genes than there are, all of them are read, and how they would be
    chosen does not matter. So conventions that are the same on a data set have one key in the store, and are
    computed once.
    """
    parameters = dict(parameters)
    if parameters.get("selection") and parameters["n_genes"] >= adata.n_vars:
        parameters |= {"n_genes": None, "selection": None}
    # Bins depend on the order of the values of a cell: the input matters to the choice of genes only.
    if "selection" in parameters and parameters["selection"] is None:
        parameters |= {"input": "counts"}
    return parameters
