"""The jobs of a study that compute: the cells of a data set, one run on them, the UMAPs of its embeddings."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from zeroshot import catalog, data, pipeline, results, store
from zeroshot.metrics import label_transfer
from zeroshot.results import published


def prepare_cells(parameters: dict[str, Any], output: Path, policy: store.Policy) -> None:
    """Prepare the cells of a data set, and what the scores of every run on them need.

    So the runs, each in a process of its own, do not all do it at once.

    Parameters
    ----------
    parameters
        ``dataset``, ``subset`` and ``seed``.
    output
        Gets the content hash of the cells, as JSON.
    policy
        As for :func:`zeroshot.store.load_or_compute`.
    """
    cells = _load(parameters)
    if cells.obs["batch"].nunique() > 1:
        pipeline.embed(cells, "pca", seed=parameters["seed"], policy=policy)
    _write_result(output, parameters, cells=cells.uns["dataset"]["content_hash"])


def compute_run(parameters: dict[str, Any], directory: Path, policy: store.Policy) -> None:
    """Embed and score one data set with one model, and write the tables of the run.

    Parameters
    ----------
    parameters
        Those of the page of the run: see ``notebooks/run.ipynb``.
    directory
        Gets a file for each table in :data:`zeroshot.results.RUN_TABLES`.
    policy
        As for :func:`zeroshot.store.load_or_compute`.
    """
    settings = {name: parameters[name] for name in ("seed", "seeds", "precision", "reconstruction_cells")}
    model, recipe = parameters["model"], parameters["recipe"]
    cells = _load(parameters)
    run = pipeline.run(cells, model, recipe, **settings, policy=policy)
    about = {name: parameters[name] for name in ("dataset", "model", "recipe", "seed", "subset")}
    results.write(directory, tables_of_run(run, cells.n_obs, **about))


def tables_of_run(
    run: pipeline.Run, n_cells: int, *, dataset: str, model: str, recipe: str, seed: int, subset: int | None
) -> dict[str, pd.DataFrame]:
    """The rows of one run for every table in :data:`zeroshot.results.RUN_TABLES`."""
    about = {"dataset": dataset, "model": model, "recipe": recipe}
    scores, cost = run.final_scores, run.embedded.provenance
    row = {
        "subset": str(subset or "all"),
        "n_cells": n_cells,
        "seed": seed,
        "seeds": int(scores["seeds"].max()),
        "seen_in_pretraining": catalog.seen_in_pretraining(model, dataset),
        **{name: cost[name] for name in ("seconds", "peak_memory_mb", "device")},
        "key": run.scored.key,
    }
    # An embedding that failed the integrity gate has none.
    nothing = pd.DataFrame(columns=["metric", "cells", "subsample", "value"])
    subsamples = run.scored.load("subsamples") if "subsamples" in run.scored else nothing
    few_labels = pd.DataFrame(columns=label_transfer.COLUMNS)  # as before
    if run.few_labels is not None:
        few_labels = run.few_labels.load("labels")
    return {
        "scores": scores.assign(**about),
        "subsamples": subsamples.assign(**about),
        "reconstruction": published.summarise(model, run.reconstruction).assign(**about),
        "labels": few_labels.assign(**about),
        "runs": pd.DataFrame([row | about]),
    }


def compute_umaps(parameters: dict[str, Any], output: Path, policy: store.Policy) -> None:
    """Project every embedding of a data set, and score the projections.

    All in one process: importing and compiling UMAP takes longer than projecting some thousand cells.

    Parameters
    ----------
    parameters
        ``dataset``, ``subset``, ``seed``, ``precision`` and ``runs``, models with their recipes.
    output
        Gets the keys of the stored scores, as JSON.
    policy
        As for :func:`zeroshot.store.load_or_compute`.
    """
    keys = []
    cells, seed = _load(parameters), parameters["seed"]
    for model, recipe in parameters["runs"]:
        embedded = pipeline.embed(cells, model, recipe, seed=seed, precision=parameters["precision"])
        pipeline.project(embedded, seed=seed, policy=policy)
        keys.append(pipeline.score_umap(cells, embedded, seed=seed, policy=policy).key)
    _write_result(output, parameters, umaps=keys)


def _write_result(output: Path, parameters: dict[str, Any], **result: Any) -> None:
    content = {"dataset": parameters["dataset"], **result}
    store.write_text(output, json.dumps(content, indent=1) + "\n")


def _load(parameters: dict[str, Any]) -> AnnData:
    return data.load(parameters["dataset"], subset=parameters["subset"], seed=parameters["seed"])
