"""Variants of one model on the same cells (conventions, layers, fewer counts), scored and compared.

The first variant of a model is the one that the others are compared with. All are scored on the same
subsamples, so that differences are paired, as between the methods of a study.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from itertools import combinations, groupby
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, embedding, metrics, models, pipeline, results, similarity, store

# Of the cells in each subsample. The chapters take few cells, and a tenth of few has nothing to cluster.
FRACTION = 0.5
SIMILARITY_COLUMNS = ["dataset", "model", "first", "second", "cka", "overlap"]
EFFECT_COLUMNS = [
    "dataset", "method", "model", "difference", "low", "high", "verdict", "same_as", "metric", "reference",
]  # fmt: skip
# Of the tables of nothing: a study may have no model that a comparison is about.
_EMPTY = {
    "scores": ["dataset", "model", "method", "metric", "group", "value", "low", "high", "note", "n_cells",
               "same_as"],
    "subsamples": ["dataset", "model", "method", "metric", "subsample", "value", "cells"],
}  # fmt: skip


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


@dataclass(frozen=True)
class Variant:
    """One way to embed cells.

    Attributes
    ----------
    name
        What tells it from the other variants of its model.
    adata
        The cells: of one data set the same in all variants, counts may differ.
    model, recipe
        As for :func:`zeroshot.embedding.embed`.
    parameters
        Put over those of the recipe.
    """

    name: str
    adata: AnnData
    model: str
    recipe: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """Scores of variants, and how alike their embeddings are.

    Attributes
    ----------
    scores
        One row per data set, model, variant (``method``) and metric: ``group``, ``value``, ``low``, ``high``,
        ``note``, ``n_cells``; and ``same_as``, the earlier variant whose embedding is the same byte for byte,
        or nothing.
    subsamples
        The scores on subsamples: ``dataset``, ``model``, ``method``, ``metric``, ``subsample``, ``value``,
        ``cells``.
    similarity
        One row per data set, model and pair of variants (``first``, ``second``): ``cka`` and ``overlap``, see
        :mod:`zeroshot.similarity`.
    artifacts
        The stored embeddings and scores, each once.
    """

    scores: pd.DataFrame
    subsamples: pd.DataFrame
    similarity: pd.DataFrame
    artifacts: tuple[store.Artifact, ...]


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
        name: _complete(card, recipe) | _limit(card, name, max_tokens) for name, recipe in recipes.items()
    }
    own = parameters[card.recipe]
    if card.twin_of:
        trained = catalog.model(card.twin_of)
        for name, recipe in trained.recipes.items():
            recipes.setdefault(name, recipe)
            limit = _limit(trained, name, max_tokens)
            parameters.setdefault(name, _complete(card, recipe) | limit | {"vocabulary": own["vocabulary"]})
    usable = [name for name in recipes if parameters[name].get("vocabulary") == own.get("vocabulary")]
    found: list[Convention] = []
    for name in usable:
        same = [other for other in usable if parameters[other] == parameters[name]]
        if same[0] == name:
            found.append(Convention(name, recipes[name].source, tuple(same[1:]), parameters[name]))
    return found


def describe(model: str, found: Sequence[Convention]) -> pd.DataFrame:
    """Conventions of a model as a table: what each changes against the first, and who uses it.

    Returns
    -------
    pandas.DataFrame
        Columns model (its title), convention, same parameters, changes and source.
    """
    first, layers = found[0].parameters, catalog.model(model).layers
    rows = []
    for one in found:
        changed = {name: value for name, value in one.parameters.items() if value != first[name]}
        if "layer" in changed:  # counted from the last; in figures from the first
            changed["layer"] = f"{layers + changed['layer']} of {layers}"
        changes = [f"{name} {value}" for name, value in changed.items()]
        rows.append(
            {
                "model": catalog.model(model).title,
                "convention": one.name,
                "same parameters": ", ".join(one.also) or "–",
                "changes": ", ".join(changes) or "–",
                "source": one.source,
            }
        )
    return pd.DataFrame(rows)


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
    known = _defaults(card)
    if "pooling" not in known:
        return {}
    used = [
        _complete(card, one)["pooling"] for with_recipes in cards for one in with_recipes.recipes.values()
    ]
    layers = range(card.layers + 1) if "layer" in known else [card.layers]
    found = {}
    for pooling in dict.fromkeys(used):
        for layer in layers:
            chosen = {"layer": layer - card.layers} if "layer" in known else {}
            found[f"layer {layer}, {pooling}"] = chosen | {"pooling": pooling}
    own = _complete(card, card.recipes[recipe or card.recipe])
    return dict(sorted(found.items(), key=lambda item: not item[1].items() <= own.items()))


def limit_tokens(model: str, recipe: str, max_tokens: int | None) -> dict[str, Any]:
    """Parameters that keep every cell within ``max_tokens``; none for None, or a model without tokens.

    They also take the place of a choice of variable genes, for which few cells, or thinned ones, have too
    few counts for: of all expressed genes of a cell a sample is read.
    """
    card = catalog.model(model)
    limit = _limit(card, recipe, max_tokens)
    all_genes = {"n_genes": None, "selection": None} if "selection" in _defaults(card) else {}
    return limit and limit | all_genes


def compare(
    variants: Iterable[Variant],
    *,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    names: Sequence[str] | None = None,
) -> Compared:
    """Embed, score and compare variants, each computed once and kept in the store.

    Parameters
    ----------
    variants
        Any number of models and data sets, also none; variants of the same stand together, the reference
        first.
    seed, precision
        As for :func:`zeroshot.pipeline.embed`.
    names
        Metrics; all by default.

    Raises
    ------
    ValueError
        If two variants of a model on a data set have the same name, or all failed the integrity gate.
    """
    tables: dict[str, list[pd.DataFrame]] = {"scores": [], "subsamples": []}
    pairs: list[dict[str, Any]] = []
    artifacts: dict[str, store.Artifact] = {}
    for (dataset, model), members in groupby(variants, _run):
        run = {"dataset": dataset, "model": model}
        matrices: dict[str, np.ndarray] = {}
        first_with: dict[bytes, str] = {}
        seen: set[str] = set()
        for variant in members:
            name = variant.name
            if name in seen:
                raise ValueError(f"two variants of {model} on {dataset} are called {name!r}")
            seen.add(name)
            how = {"seed": seed, "precision": precision, "parameters": _settled(variant)}
            embedded = pipeline.embed(variant.adata, model, variant.recipe, **how)
            scored = pipeline.score(variant.adata, embedded, seed=seed, names=names, fraction=FRACTION)
            artifacts |= {artifact.key: artifact for artifact in (embedded, scored)}
            matrix = embedded.load("embedding")
            earlier = first_with.setdefault(matrix.tobytes(), name)
            about = run | {"method": name}
            rest = {"n_cells": len(matrix), "same_as": "" if earlier == name else earlier}
            tables["scores"].append(scored.load("scores").assign(**about, **rest))
            if "subsamples" in scored:  # what failed the integrity gate has no scores, and is like nothing
                matrices[name] = matrix
                tables["subsamples"].append(scored.load("subsamples").assign(**about))
        pairs += _similarities(run, matrices)
    if tables["scores"] and not tables["subsamples"]:
        raise ValueError("there is nothing to compare: all variants failed the integrity gate")
    stacked = {
        name: pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_EMPTY[name])
        for name, parts in tables.items()
    }
    alike = pd.DataFrame(pairs, columns=SIMILARITY_COLUMNS)
    return Compared(**stacked, similarity=alike, artifacts=tuple(artifacts.values()))


def random_numbers(
    cells: Iterable[AnnData],
    *,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    names: Sequence[str] | None = None,
) -> Compared:
    """Random numbers on the cells of each data set, scored as :func:`compare` scores variants on them."""
    noise = (Variant("random", adata, "random") for adata in cells)
    return compare(noise, seed=seed, precision=precision, names=names)


def effects(compared: Compared) -> pd.DataFrame:
    """How far each variant is from the first of its model, and whether that is more than chance.

    Returns
    -------
    pandas.DataFrame
        Columns of :func:`zeroshot.results.differences`, ``metric``, ``reference`` and ``same_as``. Pairs
        without an interval are left out.
    """
    found = []
    for (metric, model), scores in compared.scores.groupby(["metric", "model"], sort=False):
        subsamples = compared.subsamples[compared.subsamples["model"] == model]
        reference = scores["method"].iloc[0]
        table = results.differences(scores, subsamples, metric, reference)
        table = table.merge(scores[["dataset", "method", "same_as"]], on=["dataset", "method"])
        if len(table):
            found.append(table.assign(metric=metric, reference=reference))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=EFFECT_COLUMNS)


def clear_of_chance(effects: pd.DataFrame, compared: Compared, floor: pd.DataFrame) -> pd.DataFrame:
    """Effects on what can become worse: the first variant of its model is better than random numbers.

    Parameters
    ----------
    effects
        As :func:`effects` returns it for one metric where higher is better.
    compared
        What the effects were found in.
    floor
        Scores of :func:`random_numbers` on the same cells by this metric.

    Returns
    -------
    pandas.DataFrame
        The rows of the data sets and models whose interval lies above that of random numbers.
    """
    if effects.empty:
        return effects
    scores = compared.scores[compared.scores["metric"].isin(effects["metric"])]
    first = scores.drop_duplicates(["dataset", "model"]).set_index(["dataset", "model"])["low"]
    level = floor.set_index("dataset")["high"]
    clear = first > first.index.get_level_values("dataset").map(level)
    return effects[clear.loc[pd.MultiIndex.from_frame(effects[["dataset", "model"]])].to_numpy()]


def score_curves(compared: Compared, metric: str) -> pd.DataFrame:
    """Scores of variants that are steps of a scale, as :func:`zeroshot.figures.draw_curves` takes them.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, model, line (title of the model), step (name of the variant), value, low and high.
    """
    chosen = compared.scores[compared.scores["metric"] == metric].rename(columns={"method": "step"})
    titles = [catalog.model(name).title for name in chosen["model"]]
    columns = ["dataset", "model", "line", "step", "value", "low", "high"]
    return chosen.assign(line=titles)[columns].reset_index(drop=True)


def overlap_curves(compared: Compared) -> pd.DataFrame:
    """Neighbours in common with the first variant, in the columns of :func:`score_curves`; no intervals."""
    pairs = compared.similarity.groupby(["dataset", "model"], sort=False)
    with_first = compared.similarity[compared.similarity["first"] == pairs["first"].transform("first")]
    titles = [catalog.model(name).title for name in with_first["model"]]
    named = with_first.rename(columns={"second": "step", "overlap": "value"})
    named = named.assign(line=titles, low=np.nan, high=np.nan)
    return named[["dataset", "model", "line", "step", "value", "low", "high"]].reset_index(drop=True)


def tabulate(effects: pd.DataFrame, model: str) -> pd.DataFrame:
    """Every effect of a model's variants as text: a row per data set and metric, a column per variant.

    Parameters
    ----------
    effects
        As :func:`effects` returns it.
    model
        Name of a model in it.

    Returns
    -------
    pandas.DataFrame
        "+0.012 ± 0.030": difference and half of its interval; ▲ behind it where the variant is better than
        the first, ▼ where it is worse, nothing for a tie; "–" without an interval.
    """
    marks = {"better": " ▲", "worse": " ▼", "tie": ""}
    rows = effects[effects["model"] == model]
    texts = [
        f"{round(row.difference, 3) + 0.0:+.3f} ± {row.high - row.difference:.3f}{marks[row.verdict]}"
        for row in rows.itertuples()  # + 0.0: no "-0.000"
    ]
    labels = [metrics.METRICS[name].label for name in rows["metric"]]
    table = rows.assign(metric=labels, text=texts)
    wide = table.pivot(index=["dataset", "metric"], columns="method", values="text")
    order = table[["dataset", "metric"]].drop_duplicates().sort_values("dataset", kind="stable")
    wide = wide.loc[list(order.itertuples(index=False, name=None)), list(dict.fromkeys(rows["method"]))]
    return wide.rename_axis(columns=None).fillna("–")


def verdicts(effects: pd.DataFrame) -> pd.DataFrame:
    """What :func:`effects` found of one metric: a row per data set and model, a column per variant.

    Returns
    -------
    pandas.DataFrame
        "better", "tie" or "worse", as text; "–" without an interval.
    """
    titles = [catalog.model(name).title for name in effects["model"]]
    wide = effects.assign(model=titles).pivot(index=["dataset", "model"], columns="method", values="verdict")
    return wide[list(dict.fromkeys(effects["method"]))].rename_axis(columns=None).fillna("–")


def _run(variant: Variant) -> tuple[str, str]:
    return variant.adata.uns["dataset"]["name"], variant.model


def _settled(variant: Variant) -> Mapping[str, Any]:
    """The parameters, without a choice of genes that has nothing to choose from.

    Who asks for more variable genes than there are reads all of them, and how they would be chosen is of no
    account. So conventions that are the same on a data set have one key in the store, and are computed once.
    """
    parameters = dict(variant.parameters)
    if parameters.get("selection") and parameters["n_genes"] >= variant.adata.n_vars:
        parameters |= {"n_genes": None, "selection": None}
    # Bins depend on the order of the values of a cell: the input matters to the choice of genes only.
    if "selection" in parameters and parameters["selection"] is None:
        parameters |= {"input": "counts"}
    return parameters


def _similarities(run: dict[str, str], matrices: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    return [
        {
            **run,
            "first": first,
            "second": second,
            "cka": similarity.cka(matrices[first], matrices[second]),
            "overlap": similarity.neighbor_overlap(matrices[first], matrices[second]),
        }
        for first, second in combinations(matrices, 2)
    ]


def _defaults(card: catalog.ModelCard) -> dict[str, Any]:
    """Parameters of a model's class with their defaults; what the card gives it apart."""
    given = {"checkpoint", "architecture"}
    return {
        one.name: None if one.default is MISSING else one.default
        for one in fields(models.implementation(card))
        if one.name not in given
    }


def _complete(card: catalog.ModelCard, recipe: catalog.Recipe) -> dict[str, Any]:
    return _defaults(card) | dict(recipe.parameters)


def _limit(card: catalog.ModelCard, recipe: str, max_tokens: int | None) -> dict[str, int]:
    parameters = _complete(card, card.recipes[recipe])
    if max_tokens is None or "max_tokens" not in parameters:
        return {}
    longest = parameters["max_tokens"] or card.max_tokens
    return {"max_tokens": min(longest, max_tokens)}
