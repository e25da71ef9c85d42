"""The units of a study's ablations: all ablations of one model on one data set, computed in one process.

Imports and compilation take seconds in a fresh process, about as long as the ablations of a small model.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from zeroshot import catalog, data, store
from zeroshot.runtime import failures

from .comparison import Variant, compare
from .conventions import Convention, convention_variants, conventions, describe
from .parameters import limit_tokens
from .sensitivity import (
    FITTED,
    depth_variants,
    gene_variants,
    n_genes_variants,
    readout_variants,
    readouts,
)
from .tables import Tables, write

# Its scores are the floor of the others: what no embedding of the cells falls below but by chance.
FLOOR = "random"
# Conventions are compared with the floor by this metric.
FLOOR_METRIC = "avg_bio"


@dataclass(frozen=True)
class Unit:
    """One model on one data set.

    Attributes
    ----------
    dataset, model
        Names in the registries.
    recipe
        The one that the study runs; ablations change one thing of it.
    """

    dataset: str
    model: str
    recipe: str

    @property
    def path(self) -> str:
        """Folder of its tables, such as "simulated-atlas/pca"."""
        return f"{self.dataset}/{self.model}"


def study_units(pairs: Iterable[tuple[str, str]]) -> list[Unit]:
    """The units of a study, sorted by data set and model.

    They are the baselines that start from variable genes and the models that read tokens, each under its
    first recipe by name, and random numbers on each data set, the floor.

    Parameters
    ----------
    pairs
        Data sets and models (``name`` or ``name@recipe``) that the study runs.
    """
    by_run: dict[tuple[str, str], Unit] = {}
    runs = []
    for dataset, reference in pairs:
        card, recipe = catalog.split_reference(reference)
        runs.append((dataset, card.name, recipe))
    for dataset, model, recipe in sorted(runs):
        if _can_be_varied(catalog.model(model)):
            by_run.setdefault((dataset, model), Unit(dataset, model, recipe))
    if by_run:
        for dataset, _, _ in runs:
            by_run[dataset, FLOOR] = Unit(dataset, FLOOR, catalog.model(FLOOR).recipe)
    return [by_run[run] for run in sorted(by_run)]


def omitted_models(study: catalog.StudyCard) -> list[str]:
    """Titles of the models that have ablations, and that ``ablation_models`` of the study does not name."""
    if study.ablation_models is None:
        return []
    cards = {card.name: card for card, _ in map(catalog.split_reference, study.models)}
    return [
        card.title
        for name, card in cards.items()
        if _can_be_varied(card) and name not in study.ablation_models
    ]


def n_cells(study: catalog.StudyCard) -> int:
    """How many cells of each data set its ablations embed, at most."""
    return min(study.ablation_cells, study.subset or study.ablation_cells)


def compute(study: catalog.StudyCard, unit: Unit, policy: store.Policy = "reuse") -> Tables:
    """Every ablation of a unit; one that fails is named in ``failures`` and does not stop the others.

    Parameters
    ----------
    study
        Its settings of ablations are used.
    unit
        A model and its data set.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Raises
    ------
    Exception
        What the machine lacks (memory, disk, a download) is no result: the next run tries again.
    """
    several = _conventions(study, unit)
    ablations = _ablations(study, unit, several)
    description = describe(unit.model, several).assign(dataset=unit.dataset) if several else None
    parts = [Tables.of(conventions=description)]
    try:
        adata = data.load(unit.dataset, subset=n_cells(study), seed=study.seed)
    except Exception as error:
        raise_if_of_machine(error)
        return Tables.join(parts + [_failure(unit, one.name, error) for one in ablations])
    for one in ablations:
        try:
            how = {"seed": study.seed, "precision": study.precision, "policy": policy}
            parts.append(compare(one.variants(adata), one.name, names=one.metrics, **how))
        except Exception as error:
            raise_if_of_machine(error)
            parts.append(_failure(unit, one.name, error))
    return Tables.join(parts)


def compute_unit(parameters: Mapping[str, Any], directory: Path, policy: store.Policy) -> None:
    """Compute one unit of a study and write its tables.

    Parameters
    ----------
    parameters
        ``study``, ``dataset``, ``model`` and ``recipe``.
    directory
        Gets a file for each table in :data:`zeroshot.study.ablations.TABLES`.
    policy
        As for :func:`zeroshot.store.load_or_compute`.
    """
    unit = Unit(*(parameters[name] for name in ("dataset", "model", "recipe")))
    tables = compute(catalog.study(parameters["study"]), unit, policy)
    write(tables, directory)
    for failure in tables.failures.itertuples():
        print(f"{failure.ablation} of {failure.model} on {failure.dataset}: {failure.error}", file=sys.stderr)


def _can_be_varied(card: catalog.ModelCard) -> bool:
    return card.name in FITTED or bool(card.max_tokens)


@dataclass(frozen=True)
class _Ablation:
    """What is varied, the variants of some cells, and the metrics; None for all."""

    name: str
    variants: Callable[[AnnData], Iterable[Variant]]
    metrics: tuple[str, ...] | None


def _ablations(study: catalog.StudyCard, unit: Unit, several: Sequence[Convention]) -> list[_Ablation]:
    model, recipe, metrics, seed = unit.model, unit.recipe, study.ablation_metrics, study.seed
    if model == FLOOR:
        names = tuple(dict.fromkeys((*metrics, FLOOR_METRIC)))
        return [_Ablation("floor", lambda adata: [Variant(FLOOR, adata, model, recipe)], names)]
    limit = limit_tokens(model, recipe, study.ablation_tokens)
    ablations = [
        _Ablation("depth", lambda adata: depth_variants(model, recipe, adata, limit, seed), metrics),
        _Ablation("genes", lambda adata: gene_variants(model, recipe, adata, limit, seed), metrics),
    ]
    if model in FITTED:
        by_number = partial(n_genes_variants, model, recipe)
        ablations.append(_Ablation("n_genes", by_number, metrics))
    if readouts(model, recipe):
        by_readout = _Ablation(
            "readout", lambda adata: readout_variants(model, recipe, adata, limit), metrics
        )
        ablations.append(by_readout)
    if several:
        ablations.append(
            _Ablation("convention", lambda adata: convention_variants(model, adata, several), None)
        )
    return ablations


def _conventions(study: catalog.StudyCard, unit: Unit) -> list[Convention]:
    """Conventions of a model that reads tokens; none where there is only one."""
    if not catalog.model(unit.model).max_tokens:
        return []
    several = conventions(unit.model, study.ablation_tokens)
    return several if len(several) > 1 else []


def raise_if_of_machine(error: Exception) -> None:
    """Raise what the machine lacks again: it is no result, and the next run tries again."""
    if isinstance(error, OSError | store.StoreError) or failures.out_of_memory(error):
        raise error


def _failure(unit: Unit, ablation: str, error: Exception) -> Tables:
    row = {
        "ablation": ablation,
        "dataset": unit.dataset,
        "model": unit.model,
        "error": " ".join(f"{type(error).__name__}: {error}".split()),
    }
    return Tables.of(failures=pd.DataFrame([row]))
