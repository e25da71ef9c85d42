"""From a study to its jobs: which runs, pages and chapters there are, and what each depends on.

For every job a plan file is written that holds its parameters and the hashes of all it depends on: notebook,
cards, code, packages. It changes only when one of them does, and Snakemake repeats a job whose plan has
changed. ``plan.json`` lists the jobs.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zeroshot import catalog, models, notebooks, pipeline, results, store
from zeroshot.results import mappings, trial
from zeroshot.runtime import paths, templates
from zeroshot.store import dependencies, hashing
from zeroshot.study import ablations

from .declarations import Declaration, declaration

Source = Literal["computed", "committed"]
Code = dict[str, dict[str, str]]  # of the modules and packages that something is computed with
# Makes the cells before integration, which scores of every run compare with.
_BASELINE = ("zeroshot.models.baselines",)
# Parameters that a chapter gets of its study if its notebook declares them, and the fields that they are.
_OF_STUDY = {"study": "name", "subset": "subset"}
# Fields of a study that its ablations depend on.
_ABLATION_SETTINGS = ("seed", "subset", "precision", "ablation_cells", "ablation_tokens", "ablation_metrics")


@dataclass(frozen=True)
class Job:
    """Something that a build does.

    Attributes
    ----------
    path
        Relative, without suffix: "runs/pbmc68k-reduced/pca" or "notebooks/01_data".
    parameters
        What it is done with.
    inputs
        Hashes of everything that it depends on besides its parameters.
    """

    path: str
    parameters: dict[str, Any]
    inputs: dict[str, Any]


@dataclass(frozen=True)
class Page(Job):
    """One executed notebook.

    Attributes
    ----------
    notebook
        Its name.
    declared
        What the notebook says that it needs and reads.
    """

    notebook: str
    declared: Declaration


@dataclass(frozen=True)
class Skipped:
    """A pair of the grid that cannot be run, and why."""

    dataset: str
    model: str
    reason: str


def pairs(card: catalog.StudyCard) -> list[tuple[str, str]]:
    """The grid: every data set with every model (``name`` or ``name@recipe``)."""
    return [(dataset, reference) for dataset in card.datasets for reference in card.models]


def run_path(dataset: str, reference: str) -> str:
    """Path of a run and its page, for example "runs/simulated-atlas/scvi--short" for "scvi@short"."""
    return f"runs/{dataset}/{reference.replace('@', '--')}"


def available_pairs(card: catalog.StudyCard) -> list[tuple[str, str]]:
    """The part of the grid that can be run here."""
    return [pair for pair in pairs(card) if _reason_against(*pair) is None]


def skipped(card: catalog.StudyCard) -> list[Skipped]:
    """The part of the grid that cannot be run here, each pair with its reason."""
    reasons = [Skipped(*pair, _reason_against(*pair)) for pair in pairs(card)]
    return [pair for pair in reasons if pair.reason is not None]


def cells(card: catalog.StudyCard) -> list[Job]:
    """The data sets of a study, each prepared once."""
    code = _code({"zeroshot.data", "zeroshot.pipeline", *_BASELINE})
    return [
        Job(
            f"cells/{dataset}",
            {"dataset": dataset, "subset": card.subset, "seed": card.seed},
            {"data set": _hash_of(catalog.dataset(dataset)), **code},
        )
        for dataset in card.datasets
    ]


def runs(card: catalog.StudyCard) -> list[Job]:
    """One run per data set and model that fit together."""
    pairs_here = available_pairs(card)
    names = [catalog.split_reference(reference)[0].name for _, reference in pairs_here]
    code = _code_by_model({"zeroshot.study.computing", *_BASELINE}, names)
    return [_run(card, *pair, code[name]) for pair, name in zip(pairs_here, names, strict=True)]


def umaps(card: catalog.StudyCard) -> list[Job]:
    """The projections of all embeddings of each data set."""
    code = _code({"zeroshot.study.computing"})
    by_dataset: dict[str, list[Any]] = {}
    for dataset, reference in available_pairs(card):
        model, recipe = catalog.split_reference(reference)
        by_dataset.setdefault(dataset, []).append((model.name, recipe))
    settings = {"subset": card.subset, "seed": card.seed, "precision": card.precision}
    return [
        Job(
            f"umaps/{dataset}",
            {"dataset": dataset, **settings, "runs": models_of},
            code,
        )
        for dataset, models_of in by_dataset.items()
    ]


def mapping_jobs(card: catalog.StudyCard) -> list[Job]:
    """A job for each pair of data sets that a study maps, with all models that can."""
    return [_mapping(card, *pair) for pair in card.mappings]


def ablation_units(card: catalog.StudyCard) -> list[ablations.Unit]:
    """The units of the ablations that the chapters of a study read; none where no chapter does."""
    if not any(declaration(chapter).ablations for chapter in card.chapters):
        return []
    datasets = card.datasets if card.ablation_datasets is None else card.ablation_datasets
    named = card.ablation_models
    return ablations.study_units(
        (dataset, reference)
        for dataset, reference in available_pairs(card)
        if dataset in datasets and (named is None or catalog.split_reference(reference)[0].name in named)
    )


def trials(card: catalog.StudyCard) -> list[Job]:
    """The parts of the trial of the metrics, where a chapter of the study reads it."""
    if not any(declaration(chapter).trial for chapter in card.chapters):
        return []
    code = _code({"zeroshot.results.trial", *_BASELINE})
    parts = trial.parts(card)
    ladders = [
        Job(f"trial/ladders/{seed}", {"table": "ladders", "seed": int(seed)}, code)
        for seed in parts["ladders"]
    ]
    perceptron = [
        Job(
            f"trial/perceptron/{dataset}",
            {"table": "perceptron", "dataset": dataset, "seed": card.seed},
            {"data set": _hash_of(catalog.dataset(dataset)), **code},
        )
        for dataset in parts["perceptron"]
    ]
    return [*ladders, *perceptron]


def run_pages(card: catalog.StudyCard) -> list[Page]:
    """The page of each run."""
    inputs = _inputs_of_notebook(catalog.RUN_PAGE, store.versions())
    declared = declaration(catalog.RUN_PAGE)
    return [
        Page(run_path(*pair), _parameters_of_run(card, *pair), inputs, catalog.RUN_PAGE, declared)
        for pair in available_pairs(card)
    ]


def chapters(card: catalog.StudyCard) -> list[Page]:
    """The chapters of a study; those that declare ``study`` or ``subset`` get its name or number of cells."""
    packages = store.versions()
    return [_chapter(card, name, packages) for name in card.chapters]


def pages(card: catalog.StudyCard, source: Source) -> list[Page]:
    """The pages that a build executes: run pages first, then chapters.

    From committed scores they are the chapters that need nothing else.
    """
    if source == "committed":
        return [page for page in chapters(card) if not _needs_computing(page)]
    return run_pages(card) + chapters(card)


def absent_chapters(card: catalog.StudyCard, source: Source) -> list[Page]:
    """Chapters of a study that a build does not have."""
    return [page for page in chapters(card) if _needs_computing(page)] if source == "committed" else []


def source_of(study: str) -> Source:
    """Whether the build that was planned last computes the tables of a study, or takes the committed ones."""
    return json.loads(plan_file(study, "tables").read_text())["parameters"]["source"]


def plan(study: str, source: Source = "computed") -> None:
    """Write the plan file of every job of a build, and ``plan.json``; unchanged files keep their time."""
    card = catalog.study(study)
    all_pages = pages(card, source)
    run_jobs, maps, umap_jobs, units, trial_jobs = [], [], [], [], []
    if source == "computed":
        run_jobs, maps, umap_jobs = runs(card), mapping_jobs(card), umaps(card)
        units, trial_jobs = ablation_units(card), trials(card)
    code = _code_by_model({"zeroshot.study.ablations.units", *_BASELINE}, [unit.model for unit in units])
    ablation_jobs = [_ablation(card, unit, code[unit.model]) for unit in units]
    jobs: list[tuple[str, Job]] = [
        ("", job) for job in (*cells(card), *run_jobs, *maps, *umap_jobs, *ablation_jobs, *trial_jobs)
    ]
    jobs += [("pages/", page) for page in all_pages]
    files = _hashes_of_files(results.committed_files(study)) if source == "committed" else {}
    origin = {"study": study, "source": source}
    origin |= {"runs": [run.path for run in run_jobs], "mappings": [job.path for job in maps]}
    jobs.append(("", Job("tables", origin, files)))
    jobs.append(("", Job("ablations", {"study": study, "units": [unit.path for unit in units]}, {})))
    for folder, job in jobs:
        content = {"parameters": job.parameters, "inputs": job.inputs}
        if isinstance(job, Page):
            content["notebook"] = job.notebook
        _write_json(plan_file(study, f"{folder}{job.path}"), content)
    summary = {
        "source": source,
        "tables": list(results.TABLES),
        "run_tables": list(results.RUN_TABLES),
        "ablation_tables": list(ablations.TABLES),
        "datasets": list(card.datasets),
        "runs": {run.path: {"slow": _is_slow(run)} for run in run_jobs},
        "mappings": [job.path for job in maps],
        "ablations": [unit.path for unit in units],
        "trial": [job.path for job in trial_jobs],
        "chapters": {
            page.notebook: {
                "reads": page.declared.reads,
                "cells": page.declared.cells,
                "ablations": page.declared.ablations,
                "trial": page.declared.trial,
                "umaps": _reads_stored(page),
            }
            for page in all_pages
            if page.notebook != catalog.RUN_PAGE
        },
    }
    _write_json(paths.study(study) / "plan.json", summary)


def plan_file(study: str, job: str) -> Path:
    """Where the plan of a job is written."""
    return paths.study(study) / "plans" / f"{job}.json"


def _write_json(file: Path, content: dict[str, Any]) -> None:
    store.write_text(file, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _needs_computing(chapter: Page) -> bool:
    """Whether the tables of a study are not enough for a chapter."""
    declared = chapter.declared
    return declared.cells or declared.ablations or declared.trial


def _parameters_of_run(study: catalog.StudyCard, dataset: str, reference: str) -> dict[str, Any]:
    card, recipe = catalog.split_reference(reference)
    return {
        "dataset": dataset,
        "model": card.name,
        "recipe": recipe,
        "seed": study.seed,
        "seeds": study.seeds_of.get(card.name) or (card.twin_of and study.twin_seeds) or study.seeds,
        "subset": study.subset,
        "precision": study.precision,
        "reconstruction_cells": study.reconstruction_cells,
    }


def _run(study: catalog.StudyCard, dataset: str, reference: str, code: Code) -> Job:
    card, recipe = catalog.split_reference(reference)
    inputs = {
        "data set": _hash_of(catalog.dataset(dataset)),
        "model": _hash_of(card),
        "weights": _hashes_of_weights(card, recipe),
        **code,
    }
    return Job(run_path(dataset, reference), _parameters_of_run(study, dataset, reference), inputs)


def _code_by_model(modules: set[str], names: Iterable[str]) -> dict[str, Code]:
    """Code of some modules and of each model, once a model: following its imports takes 0.1 s."""
    return {name: _code(modules | pipeline.modules_of_model(catalog.model(name))) for name in set(names)}


def _code(modules: set[str]) -> Code:
    """What a job that computes depends on: the code of some modules, and the packages that they declare."""
    closure = dependencies.closure(modules)
    return {
        "code": dependencies.source_hashes(closure),
        "packages": dependencies.package_versions(closure),
    }


def _ablation(study: catalog.StudyCard, unit: ablations.Unit, code: Code) -> Job:
    card = catalog.model(unit.model)
    cards = [card, *([catalog.model(card.twin_of)] if card.twin_of else [])]  # a twin is used as it is
    inputs = {
        "data set": _hash_of(catalog.dataset(unit.dataset)),
        "models": [_hash_of(one) for one in cards],
        "weights": _hashes_of_weights(card, unit.recipe),
        "settings": study.model_dump(include=set(_ABLATION_SETTINGS), mode="json"),
        **code,
    }
    parameters = {"study": study.name, "dataset": unit.dataset, "model": unit.model, "recipe": unit.recipe}
    return Job(f"ablations/{unit.path}", parameters, inputs)


def _mapping(study: catalog.StudyCard, reference: str, query: str) -> Job:
    names = [
        name
        for name in study.models
        if mappings.reason_against(study, name) is None
        and _unreadable_genes(reference, name) is None
        and models.unavailable(*catalog.split_reference(name)) is None
    ]
    cards = [catalog.split_reference(name) for name in names]
    modules = {"zeroshot.study.mappings"}.union(*(pipeline.modules_of_model(card) for card, _ in cards))
    inputs = {
        "data sets": [_hash_of(catalog.dataset(name)) for name in (reference, query)],
        "cell types": [catalog.cell_types(name) for name in (reference, query)],
        "models": [_hash_of(card) for card, _ in cards],
        "weights": [_hashes_of_weights(card, recipe) for card, recipe in cards],
        **_code(modules),
    }
    parameters = {
        "reference": reference,
        "query": query,
        "models": names,
        "subset": mappings.n_cells(study),
        "seed": study.seed,
        "precision": study.precision,
    }
    return Job(f"mappings/{reference}/{query}", parameters, inputs)


def _is_slow(run: Job) -> bool:
    """Whether a run is likely to take far longer than its process needs to start."""
    card = catalog.model(run.parameters["model"])
    return card.max_tokens is not None or (card.kind == "baseline" and card.trained_on_target and card.seeded)


def _chapter(study: catalog.StudyCard, name: str, packages: dict[str, str]) -> Page:
    takes = notebooks.declared_parameters(paths.notebooks() / f"{name}.ipynb")
    cards = [catalog.dataset(dataset) for dataset in study.datasets]
    cards += [catalog.split_reference(reference)[0] for reference in study.models]
    declared = declaration(name)
    inputs = _inputs_of_notebook(name, packages) | _hashes_of_files(declared.files)
    if "study" in takes:
        inputs |= {"study": _hash_of(study), "cards": [_hash_of(card) for card in cards]}
    parameters = {one: getattr(study, field) for one, field in _OF_STUDY.items() if one in takes}
    return Page(f"notebooks/{name}", parameters, inputs, name, declared)


def _reads_stored(chapter: Page) -> bool:
    """Whether a chapter reads what the runs of a study have stored: it waits for them, and for their UMAPs.

    A chapter that embeds cells by itself takes the study's number of them where it can, and then finds most
    of what it would compute.
    """
    return chapter.declared.cells and bool(chapter.declared.reads or "subset" in chapter.parameters)


def _inputs_of_notebook(name: str, packages: dict[str, str]) -> dict[str, Any]:
    """What every page depends on: its notebook, the code that it calls, the packages."""
    file = paths.notebooks() / f"{name}.ipynb"
    return {
        "notebook": hashing.short_sha256(file),
        "code": dependencies.source_hashes(dependencies.modules_of_notebook(file)),
        "templates": [hashing.short_sha256(template) for template in templates.of_notebooks()],
        "packages": packages,
    }


def _hashes_of_files(files: Iterable[str]) -> dict[str, str]:
    return {file: hashing.short_sha256(paths.home() / file) for file in files}


def _hashes_of_weights(card: catalog.ModelCard, recipe: str) -> dict[str, str]:
    checkpoint = models.find_checkpoint(card, recipe, None)  # on this machine: see _reason_against
    return dict(checkpoint.hashes) if checkpoint else {}


def _hash_of(card: catalog.Card) -> str:
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()[:20]


def _reason_against(dataset: str, reference: str) -> str | None:
    """Why a model cannot embed a data set here, None if it can."""
    return misfit(dataset, reference) or models.unavailable(*catalog.split_reference(reference))


def misfit(dataset: str, reference: str) -> str | None:
    """Why a model (``name`` or ``name@recipe``) cannot embed a data set on any machine, None if it can."""
    card, _ = catalog.split_reference(reference)
    cells = catalog.dataset(dataset)
    if cells.batches is not None and cells.batches < card.min_batches:
        return f"needs {card.min_batches} batches, the data set has {cells.batches}"
    return _unreadable_genes(dataset, reference)


def _unreadable_genes(dataset: str, reference: str) -> str | None:
    """Why a model cannot read the names of a data set's genes, None if it can."""
    card, recipe = catalog.split_reference(reference)
    cells = catalog.dataset(dataset)
    own_vocabulary = card.recipes[recipe].parameters.get("vocabulary") == "data-set"
    has_symbols = cells.gene_names == "symbol" or cells.organism == "human"  # HGNC names human genes only
    if card.gene_ids == "symbol" and not has_symbols and not own_vocabulary:
        return (
            f"reads gene symbols, the data set names genes of {cells.organism} by {cells.gene_names} id, and "
            "only human ids are translated"
        )
    return None
