"""The tables of a study: gathered from its run pages, read back, kept in git."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot import catalog, kept, paths, stamp, store, table_files

COLUMNS = [
    "study", "dataset", "model", "recipe", "metric", "group", "value", "low", "high", "note",
    "subset", "n_cells", "seed", "seeds", "seed_sd", "seen_in_pretraining", "artifact",
]  # fmt: skip
SUBSAMPLE_COLUMNS = ["dataset", "model", "recipe", "metric", "subsample", "value", "cells"]
COST_COLUMNS = ["dataset", "model", "recipe", "n_cells", "seconds", "peak_memory_mb", "device"]


@dataclass(frozen=True)
class Tables:
    """What a study's run pages hold.

    Attributes
    ----------
    scores
        Columns :data:`COLUMNS`, sorted by data set, model, recipe and the order of the metrics.
    subsamples
        The same scores on subsamples of the cells, columns :data:`SUBSAMPLE_COLUMNS`, sorted alike.
    costs
        What each embedding took, columns :data:`COST_COLUMNS`: wall-clock seconds, and the largest
        resident memory of the process while it was computed, in MiB.
    """

    scores: pd.DataFrame
    subsamples: pd.DataFrame
    costs: pd.DataFrame


TABLES = tuple(field.name for field in fields(Tables))  # each is a CSV file of the study, and is kept


def collect(study: str, pages: Iterable[Path]) -> Tables:
    """Gather the scores that executed run pages name in their stamps, and what they cost.

    Parameters
    ----------
    study
        Name of the study the rows belong to.
    pages
        Executed run notebooks.

    Raises
    ------
    LookupError
        If a page names scores that are not in the store any more.
    """
    tables = [_of_page(study, page) for page in pages]
    return Tables(
        _stacked([of_page.scores for of_page in tables], COLUMNS),
        _stacked([of_page.subsamples for of_page in tables], SUBSAMPLE_COLUMNS),
        _stacked([of_page.costs for of_page in tables], COST_COLUMNS),
    )


def load(study: str) -> pd.DataFrame:
    """The scores of a study, read from ``build/studies/<study>/scores.csv``.

    With ``ZEROSHOT_SCORES=kept`` this and the functions below read what git keeps, see :mod:`zeroshot.kept`.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, and ``method``: the title of the model, with the recipe where it is
        not the model's default.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return _read(study, "scores")[[*COLUMNS, "method"]]


def load_subsamples(study: str) -> pd.DataFrame:
    """The scores on subsamples of the cells, read from ``build/studies/<study>/subsamples.csv``.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`SUBSAMPLE_COLUMNS` and ``method``. The subsamples of a data set are the same cells
        for every method.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return _read(study, "subsamples")[[*SUBSAMPLE_COLUMNS, "method"]]


def load_costs(study: str) -> pd.DataFrame:
    """What each embedding of a study took, read from ``build/studies/<study>/costs.csv``.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COST_COLUMNS` and ``method``.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return _read(study, "costs")[[*COST_COLUMNS, "method"]]


def tables(study: str) -> dict[str, pd.DataFrame]:
    """Every table of a study by its name in :data:`TABLES`, each with the column ``method``.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return {name: _read(study, name) for name in TABLES}


def keep(study: str) -> list[Path]:
    """Write the tables of a study to ``data/scores``, which git follows; see :mod:`zeroshot.kept`.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    return kept.write(study, tables(study))


def _stacked(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["dataset", "model", "recipe"], kind="stable", ignore_index=True)[columns]


def _of_page(study: str, page: Path) -> Tables:
    made = stamp.read(page)
    artifacts = {artifact["stage"]: artifact for artifact in made["artifacts"]}
    stored = _stored(page, artifacts["scores"])
    by_seed = _stored(page, artifacts["other-seeds"]) if "other-seeds" in artifacts else None
    parameters = made["parameters"]
    run = {
        "dataset": parameters["dataset"],
        "model": parameters["model"],
        "recipe": parameters["recipe"] or catalog.model(parameters["model"]).recipe,
    }
    final = (by_seed or stored).load("scores")  # with the spread over seeds, where there is one
    scores = final.assign(
        study=study,
        **run,
        subset=parameters["subset"] or "all",
        n_cells=made["n_cells"],
        seed=parameters["seed"],
        seen_in_pretraining=catalog.seen_in_pretraining(run["model"], run["dataset"]),
        artifact=stored.key,
    )
    # An embedding that failed the integrity gate has none.
    subsamples = stored.load("subsamples").assign(**run) if "subsamples" in stored else pd.DataFrame()
    cost = {name: artifacts["embedding"][name] for name in ("seconds", "peak_memory_mb")}
    costs = pd.DataFrame([{**run, "n_cells": made["n_cells"], **cost, "device": made["device"]}])
    return Tables(scores, subsamples, costs)


def _stored(page: Path, artifact: dict[str, Any]) -> store.Artifact:
    stored = store.Artifact(paths.artifacts() / artifact["stage"] / artifact["key"], reused=True)
    problem = store.damage(stored.path)
    if problem:
        raise LookupError(
            f"{page.name} names {artifact['stage']} {artifact['key']}, which are not in {paths.artifacts()} "
            f"as they were written: {problem}. Delete the page and run the study again."
        )
    return stored


def _read(study: str, name: str) -> pd.DataFrame:
    if paths.reads_kept_scores():
        table = kept.read(study, name)
    else:
        path = paths.study(study) / f"{name}.csv"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist. Run the study first: `zeroshot run {study}`.")
        remedy = f"Delete the file and run the study again: `zeroshot run {study}`."
        columns = {"scores": COLUMNS, "subsamples": SUBSAMPLE_COLUMNS, "costs": COST_COLUMNS}[name]
        layout = kept.TABLES[name]
        key = [*layout.key, *([layout.across] if layout.across else [])]
        table = kept.read_csv(path, columns, key, remedy).drop(columns=table_files.LINE)
    runs = list(zip(table["model"], table["recipe"], strict=True))
    titles = {run: catalog.model(run[0]).method(run[1]) for run in set(runs)}  # a look-up takes a millisecond
    return table.assign(method=[titles[run] for run in runs])
