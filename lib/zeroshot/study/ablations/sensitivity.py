"""Sensitivity: less depth, fewer genes, another layer or pooling, another number of variable genes.

Each changes one thing of an embedding at a time. The first variant is the recipe of the study on all counts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from anndata import AnnData

from zeroshot import catalog, data

from .comparison import Variant
from .parameters import complete, defaults

# Shares of the counts that stay: a library sequenced once, and less deeply.
COUNTS_KEPT = (1, 0.75, 0.5, 0.25, 0.1)
# Shares of the genes that are not measured.
GENES_DROPPED = (0, 0.1, 0.25, 0.5)
# Numbers of variable genes, that of the recipes first.
VARIABLE_GENES = (2000, 500, 1000, 4000)
# Baselines that start from variable genes, and whose dimensions are those genes or components of them.
FITTED = ("hvg", "pca")


def depth_variants(
    model: str, recipe: str, adata: AnnData, parameters: Mapping[str, Any], seed: int
) -> Iterator[Variant]:
    """Binomially thinned counts, named by the share that stays, such as "75%"."""
    for share in COUNTS_KEPT:
        yield Variant(f"{share:.0%}", data.thin(adata, share, seed), model, recipe, parameters)


def gene_variants(
    model: str, recipe: str, adata: AnnData, parameters: Mapping[str, Any], seed: int
) -> Iterator[Variant]:
    """Counts without some of the genes, named by the share that is dropped, such as "25%"."""
    for share in GENES_DROPPED:
        yield Variant(f"{share:.0%}", data.drop_genes(adata, share, seed), model, recipe, parameters)


def readout_variants(
    model: str, recipe: str, adata: AnnData, parameters: Mapping[str, Any]
) -> Iterator[Variant]:
    """The embedding read from each layer by each pooling, see :func:`readouts`."""
    for name, readout in readouts(model, recipe).items():
        yield Variant(name, adata, model, recipe, {**parameters, **readout})


def n_genes_variants(model: str, recipe: str, adata: AnnData) -> Iterator[Variant]:
    """Embeddings that start from other numbers of variable genes, named by them, such as "2,000"."""
    for number in VARIABLE_GENES:
        yield Variant(f"{number:,}", adata, model, recipe, {"n_genes": number})


def readouts(model: str, recipe: str | None = None) -> dict[str, dict[str, Any]]:
    """Layers and poolings that a model's embedding can be read from, that of the recipe first.

    A pooling is one that a recipe of the model, or of the trained model of an untrained twin, uses: not every
    vocabulary has a ``<cls>`` token. A model without a choice of layers is read from its last.

    Returns
    -------
    dict
        Name, such as "layer 5, mean" (layers that were computed, 0 for the embedded tokens), to parameters;
        empty for a model with neither layers nor poolings to choose from.
    """
    card = catalog.model(model)
    cards = [card, *([catalog.model(card.twin_of)] if card.twin_of else [])]
    names = defaults(card)
    if "pooling" not in names:
        return {}
    poolings = [
        complete(card, one)["pooling"] for with_recipes in cards for one in with_recipes.recipes.values()
    ]
    layers = range(card.layers + 1) if "layer" in names else [card.layers]
    choices = {}
    for pooling in dict.fromkeys(poolings):
        for layer in layers:
            of_layer = {"layer": layer - card.layers} if "layer" in names else {}
            choices[f"layer {layer}, {pooling}"] = of_layer | {"pooling": pooling}
    own = complete(card, card.recipes[recipe or card.recipe])
    return dict(sorted(choices.items(), key=lambda item: not item[1].items() <= own.items()))
