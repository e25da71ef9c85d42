"""Tables for the chapter on the atlas: models of the tree, corpora, who was compared with whom, a set-up."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reading_list import corpora, facts, tree
from zeroshot import catalog
from zeroshot.catalog import StudyCard


def tree_of_models() -> pd.DataFrame:
    """Every model of :func:`reading_list.tree.leaves`: name, paper, trunk, date, modality, words.

    ``objective`` and ``tokenisation`` are what is recorded of a model, as in the table of all models.
    """
    recorded = facts.of_models()
    rows = [
        {
            "name": leaf.name,
            "paper": leaf.paper,
            "trunk": leaf.trunk,
            "date": leaf.date,
            "modality": leaf.modality,
            "peer_reviewed": leaf.peer_reviewed,
            "reads": leaf.inputs,
            "objective": _words(recorded[leaf.paper].get("objective")),
            "tokenisation": _words(recorded[leaf.paper].get("input embedding")),
        }
        for leaf in tree.leaves()
    ]
    return pd.DataFrame(rows)


def _words(fact: facts.Fact | None) -> tuple[str, ...]:
    return fact.words if fact else ()


def corpora_and_sources() -> pd.DataFrame:
    """Pretraining data of the survey's models: ``model``, ``corpus`` and ``source``, a row per source.

    Where the survey names no source of a collection, the collection is its source.
    """
    rows = [
        {"model": row.model, "corpus": row.corpus, "source": source}
        for row in corpora.of_models().values()
        for source in row.sources or (row.corpus,)
    ]
    return pd.DataFrame(rows)


def compared(published: pd.DataFrame, methods: Mapping[str, Any]) -> pd.DataFrame:
    """Models and baselines that a source scores by the same metric on the same data.

    Parameters
    ----------
    published
        Published scores, columns ``source``, ``task``, ``dataset``, ``metric`` and ``method``.
    methods
        Cards of the methods by name, with ``title`` and ``kind``.

    Returns
    -------
    pandas.DataFrame
        Columns ``model`` and ``baseline`` (titles), ``baseline id`` and ``source``, a row per source.
    """
    keys = ["source", "task", "dataset", "metric"]
    pairs = published[[*keys, "method"]].drop_duplicates()
    kind, title = (pairs["method"].map({name: getattr(card, field) for name, card in methods.items()})
                   for field in ("kind", "title"))  # fmt: skip
    pairs = pairs.assign(title=title)
    models, baselines = pairs[kind.isin(["foundation", "text"])], pairs[kind == "baseline"]
    both = models.merge(baselines, on=keys, suffixes=(" of model", " of baseline"))
    names = {"title of model": "model", "title of baseline": "baseline", "method of baseline": "baseline id"}
    both = both.rename(columns=names)[[*names.values(), "source"]].drop_duplicates()
    return both.sort_values(
        ["model", "baseline", "source"], key=lambda c: c.str.casefold(), ignore_index=True
    )


def measured_by_others(
    published: pd.DataFrame, sources: Mapping[str, Any]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Titles of the sources of published scores by method: all of them, and those with zero-shot scores."""
    zero_shot = published[published["setting"] == "zero-shot"]
    return tuple(
        {
            method: tuple(sorted(sources[name].title for name in of_method))
            for method, of_method in rows.groupby("method")["source"].unique().items()
        }
        for rows in (published, zero_shot)
    )


def zero_shot_by_dataset(
    published: pd.DataFrame, methods: Mapping[str, Any], sources: Mapping[str, Any]
) -> pd.DataFrame:
    """Models that a source scored zero-shot on cells, a row per source and data set as the source calls it.

    Parameters
    ----------
    published
        Published scores, columns ``source``, ``area``, ``dataset``, ``method`` and ``setting``.
    methods, sources
        Cards by name: of methods with ``title`` and ``kind``, of sources with ``title`` and ``unit``.

    Returns
    -------
    pandas.DataFrame
        Columns ``data set``, ``models``, ``of`` (what was scored) and ``source`` (its title).
    """
    units = published["source"].map({name: card.unit for name, card in sources.items()})
    kinds = published["method"].map({name: card.kind for name, card in methods.items()})
    rows = published[
        published["area"].isin(["clustering", "batch mixing", "annotation"])
        & published["setting"].eq("zero-shot")
        & kinds.isin(["foundation", "text"])
        & published["dataset"].ne(units)  # a mean over the units of a source is of no data set
    ]
    named = pd.DataFrame(
        {
            # Runs of Open Problems before its newest one name how the counts were scaled.
            "data set": rows["dataset"].str.removesuffix("/log_cp10k"),
            "source": rows["source"].map({name: card.title for name, card in sources.items()}),
            "models": rows["method"].map({name: card.title for name, card in methods.items()}),
            "of": rows["area"],
        }
    )
    by = named.groupby(["data set", "source"])
    table = by.agg(lambda words: "; ".join(sorted(set(words), key=str.casefold))).reset_index()
    table = table.sort_values("data set", key=lambda names: names.str.casefold(), ignore_index=True)
    return table[["data set", "models", "of", "source"]]


def overview(study: StudyCard, registered: Mapping[str, Any]) -> pd.DataFrame:
    """Things of a study's set-up for :func:`zeroshot.figures.draw_overview`.

    Parameters
    ----------
    study
        Its data sets and models are named by their cards.
    registered
        Metrics by name, with ``group`` and ``label``.
    """
    kinds = {"foundation": "foundation models", "baseline": "baselines", "control": "controls"}
    references = [catalog.split_reference(reference) for reference in study.models]
    boxes = [("Cells", "data sets", [catalog.dataset(name).title for name in study.datasets])]
    for kind, title in kinds.items():
        methods = [card.method(recipe) for card, recipe in references if card.kind == kind]
        boxes.append(("Embeddings", title, methods))
    for group, title in (("annotation", "separation of cell types"), ("integration", "mixing of batches")):
        labels = [metric.label for metric in registered.values() if metric.group == group]
        boxes.append(("Metrics", title, labels))
    rows = [{"step": step, "box": box, "item": item} for step, box, items in boxes for item in items]
    return pd.DataFrame(rows)
