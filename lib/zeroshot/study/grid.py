"""From a study to its pages: which notebook runs with which parameters, and what each depends on.

For every page a plan file is written that holds the parameters and the hashes of all it depends
on: notebook, cards, library modules, package versions. It changes only when one of them does, and
Snakemake re-runs a page when its plan has changed.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroshot import (
    catalog,
    dependencies,
    kept,
    models,
    notebooks,
    paths,
    pipeline,
    published,
    results,
    store,
)

# Files of the project that chapters show through a module.
_READ_BY = {
    "zeroshot.published": ("data/published.yml",),
    "zeroshot.cross_check": ("data/references/scib.json",),
    "zeroshot.variants": ("data/models.yml",),  # an untrained twin is used as its trained model is
    "zeroshot.literature": ("data/literature/reading_list.yml", "data/literature/sections.yml"),
    "zeroshot.literature.survey": (
        "data/literature/survey_models.csv",
        "data/literature/survey_tasks.csv",
        "data/literature/taxonomy.csv",
        "data/models.yml",  # which models are here, and which studies run them
        "data/studies.yml",
    ),
}
# Chapters that read the cells of some runs only, and which of a study's those are.
_READS_CELLS_OF = {"published": published.reconstructed_runs}


@dataclass(frozen=True)
class Page:
    """One notebook with its parameters, as part of a study."""

    path: str  # relative, without suffix: "runs/pbmc68k-reduced/pca" or "notebooks/01_data"
    notebook: str
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    reads_scores: bool = False


@dataclass(frozen=True)
class Skipped:
    """A pair of the grid that cannot be run, and why."""

    dataset: str
    model: str
    reason: str


def run_pages(card: catalog.StudyCard) -> list[Page]:
    """One page per data set and model that fit together."""
    return [
        _run_page(card, dataset, reference)
        for dataset, reference in pairs(card)
        if _reason_against(dataset, reference) is None
    ]


def pairs(card: catalog.StudyCard) -> list[tuple[str, str]]:
    """The grid: every data set with every model (``name`` or ``name@recipe``)."""
    return [(dataset, reference) for dataset in card.datasets for reference in card.models]


def run_path(dataset: str, reference: str) -> str:
    """Path of a run page, for example "runs/simulated-atlas/scvi--short" for "scvi@short"."""
    return f"runs/{dataset}/{reference.replace('@', '--')}"


def skipped(card: catalog.StudyCard) -> list[Skipped]:
    """Pairs of the grid left out, each with its reason."""
    reasons = [Skipped(*pair, _reason_against(*pair)) for pair in pairs(card)]
    return [pair for pair in reasons if pair.reason is not None]


def chapters(card: catalog.StudyCard) -> list[Page]:
    """The chapters of a study; those that read scores get its name as a parameter."""
    return [_chapter(card, name) for name in card.chapters]


def pages(card: catalog.StudyCard) -> list[Page]:
    """The pages that a build executes: run pages first, then chapters.

    From kept scores (``ZEROSHOT_SCORES=kept``) they are the chapters that need nothing else.
    """
    if paths.reads_kept_scores():
        return [page for page in chapters(card) if not needs_cells(card, page)]
    return run_pages(card) + chapters(card)


def needs_cells(card: catalog.StudyCard, chapter: Page) -> bool:
    """Whether a chapter reads cells or embeddings, so that the scores of a study are not enough for it."""
    if chapter.notebook in _READS_CELLS_OF:
        return bool(_READS_CELLS_OF[chapter.notebook](results.load(card.name)))
    needed = dependencies.modules_of_notebook(paths.notebooks() / f"{chapter.notebook}.ipynb")
    return "zeroshot.data" in needed


def left_out(card: catalog.StudyCard) -> list[Page]:
    """Chapters of a study that this build does not have."""
    built = {page.path for page in pages(card)}
    return [page for page in chapters(card) if page.path not in built]


def score_files(study: str) -> list[str]:
    """Files with the scores that chapters read, relative to the project."""
    if paths.reads_kept_scores():
        files = [kept.path(study, name) for name in kept.TABLES]
    else:
        files = [paths.study(study) / f"{name}.csv" for name in results.TABLES]
    return [str(file.relative_to(paths.home())) for file in files]


def plan(study: str) -> list[Page]:
    """Write the plan file of every page of a build; unchanged files keep their time.

    Returns
    -------
    list of Page
        As :func:`pages` returns them.
    """
    planned = pages(catalog.study(study))
    for page in planned:
        content = {"notebook": page.notebook, "parameters": page.parameters, "inputs": page.inputs}
        store.write_text(plan_file(study, page.path), json.dumps(content, indent=1, sort_keys=True) + "\n")
    return planned


def plan_file(study: str, page: str) -> Path:
    """Where the plan of a page is written."""
    return paths.study(study) / "plans" / f"{page}.json"


def _run_page(study: catalog.StudyCard, dataset: str, reference: str) -> Page:
    card, recipe = catalog.split_reference(reference)
    parameters = {
        "dataset": dataset,
        "model": card.name,
        "recipe": recipe,
        "seed": study.seed,
        "seeds": study.seeds,
        "subset": study.subset,
        "precision": study.precision,
        "reconstruction_cells": study.reconstruction_cells,
    }
    return Page(
        path=run_path(dataset, reference),
        notebook="run",
        parameters=parameters,
        inputs=_inputs("run", pipeline.modules_of_model(card))
        | {
            "data set": _hash_of(catalog.dataset(dataset)),
            "model": _hash_of(card),
            "weights": _hashes_of_weights(card, recipe),
        },
    )


def _chapter(study: catalog.StudyCard, name: str) -> Page:
    notebook = paths.notebooks() / f"{name}.ipynb"
    cards = [catalog.dataset(dataset) for dataset in study.datasets]
    cards += [catalog.split_reference(reference)[0] for reference in study.models]
    takes_study = "study" in notebooks.declared_parameters(notebook)
    modules = dependencies.modules_of_notebook(notebook)
    return Page(
        path=f"notebooks/{name}",
        notebook=name,
        parameters={"study": study.name} if takes_study else {},
        inputs=_inputs(name, set())
        | ({"study": _hash_of(study), "cards": [_hash_of(card) for card in cards]} if takes_study else {})
        | {
            file: dependencies.file_hash(paths.home() / file)
            for module, files in _READ_BY.items()
            if module in modules
            for file in files
        },
        reads_scores="zeroshot.results" in modules,
    )


def _inputs(notebook: str, modules: set[str]) -> dict[str, Any]:
    """What every page depends on: its notebook, the library modules it needs, the packages."""
    path = paths.notebooks() / f"{notebook}.ipynb"
    needed = dependencies.modules_of_notebook(path) | dependencies.closure(modules)
    return {
        "notebook": dependencies.file_hash(path),
        "modules": dependencies.source_hashes(needed),
        "packages": store.versions(),
    }


def _hashes_of_weights(card: catalog.ModelCard, recipe: str) -> dict[str, str]:
    checkpoint = models.find_checkpoint(card, recipe, None)  # on this machine: see _reason_against
    return dict(checkpoint.hashes) if checkpoint else {}


def _hash_of(card: catalog.Card) -> str:
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()[:20]


def _reason_against(dataset: str, reference: str) -> str | None:
    """Why a model cannot embed a data set here, None if it can."""
    return misfit(dataset, reference) or models.unavailable(*catalog.split_reference(reference))


def is_available(reference: str) -> bool:
    """Whether a model (``name`` or ``name@recipe``) can be run on this machine: its weights are here."""
    return models.unavailable(*catalog.split_reference(reference)) is None


def misfit(dataset: str, reference: str) -> str | None:
    """Why a model (``name`` or ``name@recipe``) cannot embed a data set on any machine, None if it can."""
    card, recipe = catalog.split_reference(reference)
    cells = catalog.dataset(dataset)
    if cells.batches is not None and cells.batches < card.min_batches:
        return f"needs {card.min_batches} batches, the data set has {cells.batches}"
    own_vocabulary = card.recipes[recipe].parameters.get("vocabulary") == "data-set"
    if card.gene_ids == "symbol" and cells.gene_names != "symbol" and not own_vocabulary:
        return f"reads gene symbols, the data set names its genes by {cells.gene_names} id"
    return None
