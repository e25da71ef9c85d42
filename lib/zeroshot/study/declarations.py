"""What a notebook declares in its metadata: what it reads, and what of a study it cannot do without.

``"zeroshot": {"reads": ["scores"], "files": ["data/published.yml"], "cells": true}``, ``ablations``,
``trial`` and ``needs``; each optional.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zeroshot import catalog, results
from zeroshot.runtime import paths

Pair = tuple[catalog.DatasetCard, catalog.ModelCard]


class RequirementError(ValueError):
    """A study lists a chapter that cannot be made from its data sets and models."""


@dataclass(frozen=True)
class Need:
    """Something that a chapter needs of a study.

    Attributes
    ----------
    title
        What it is, as the end of the sentence "it needs …".
    met
        Whether a data set with a model that embeds it is enough.
    """

    title: str
    met: Callable[[catalog.DatasetCard, catalog.ModelCard], bool]


NEEDS = {
    "several-batches": Need(
        "a data set of several batches, for instance simulated-atlas", lambda cells, _: cells.batches != 1
    ),
    "method": Need("a model that is no control, for instance pca", lambda _, model: model.kind != "control"),
    "token-model": Need(
        "a model that reads tokens, for instance scgpt-untrained@short",
        lambda _, model: model.max_tokens is not None,
    ),
    "pretraining-objective": Need(
        "a model with a pretraining objective, for instance scgpt-untrained@short",
        lambda _, model: model.objective is not None,
    ),
}


@dataclass(frozen=True)
class Declaration:
    """What a notebook declares.

    Attributes
    ----------
    reads
        Tables of the study that it loads, names in :data:`zeroshot.results.TABLES`.
    files
        Files of the project whose content it shows, relative to the root.
    cells
        Whether it reads cells or stored arrays, so that the tables of a study are not enough for it.
    ablations
        Whether it reads the tables of :mod:`zeroshot.study.ablations`, which are computed for it.
    trial
        Whether it reads the tables of :mod:`zeroshot.results.trial`, which are computed for it.
    needs
        What a study must have, names in :data:`NEEDS`; asked before anything is computed.
    """

    reads: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    cells: bool = False
    ablations: bool = False
    trial: bool = False
    needs: tuple[str, ...] = ()


def declaration(notebook: str) -> Declaration:
    """What a notebook, given by its name, declares.

    Raises
    ------
    RequirementError
        If it declares something that there is not.
    """
    file = paths.notebooks() / f"{notebook}.ipynb"
    metadata = json.loads(file.read_text())["metadata"].get("zeroshot", {})
    try:
        for field in metadata:
            catalog.find(dict.fromkeys(Declaration.__dataclass_fields__), field, "field of zeroshot")
        for name in metadata.get("reads", ()):
            catalog.find(results.TABLES, name, "table of a study")
        for name in metadata.get("needs", ()):
            catalog.find(NEEDS, name, "need of a chapter")
    except catalog.CatalogError as error:
        raise RequirementError(f"{file}: {error} (metadata, zeroshot)") from None
    missing = [name for name in metadata.get("files", ()) if not (paths.home() / name).is_file()]
    if missing:
        raise RequirementError(
            f"{file} declares files that do not exist: {', '.join(missing)} (metadata, zeroshot)"
        )
    lists = {field: tuple(metadata.get(field, ())) for field in ("reads", "files", "needs")}
    flags = {field: bool(metadata.get(field, False)) for field in ("cells", "ablations", "trial")}
    return Declaration(**lists, **flags)


def require(study: catalog.StudyCard, pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse a study with nothing to run, or with a chapter that cannot be made of it.

    Parameters
    ----------
    study
        The study.
    pairs
        Data sets and models (``name`` or ``name@recipe``) that are run.

    Raises
    ------
    RequirementError
        Naming the chapters and what each needs.
    """
    if not pairs:
        raise RequirementError(
            f"{paths.catalog('studies')}: no model of the study {study.name} can embed any of its data sets "
            "here. Add one that can, for instance pca; `zeroshot weights MODEL` says why weights are missing."
        )
    cards = [(catalog.dataset(dataset), catalog.split_reference(model)[0]) for dataset, model in pairs]
    missing = [
        f"{chapter} needs {NEEDS[name].title}"
        for chapter in study.chapters
        for name in declaration(chapter).needs
        if not any(NEEDS[name].met(*pair) for pair in cards)
    ]
    if missing:
        raise RequirementError(
            f"{paths.catalog('studies')}: the study {study.name} cannot be made: {'; '.join(missing)}. "
            "Add that to the study, or take the chapter out of its `chapters`."
        )


def require_listed(study: catalog.StudyCard) -> None:
    """Refuse chapters that the book would execute and not show.

    Raises
    ------
    RequirementError
        If a chapter is not in the table of contents.
    """
    toc = paths.home() / "_toc.yml"
    entries = toc.read_text().split()
    absent = [chapter for chapter in study.chapters if f"notebooks/{chapter}" not in entries]
    if absent:
        lines = "; ".join(f"- file: notebooks/{chapter}" for chapter in absent)
        raise RequirementError(
            f"{toc} does not list chapters of the study {study.name}: add {lines}, or take them out of its "
            "`chapters`."
        )
