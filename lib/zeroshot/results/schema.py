"""The tables of a study: which there are, and what may stand in them.

Each is a CSV file, sorted and rounded, with one layout everywhere: of a run in
``build/studies/<study>/runs/<dataset>/<model>/``, of a study in ``build/studies/<study>/``, and as git keeps
it in ``data/scores/<study>/``. A changed number changes one line of its file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from zeroshot import catalog
from zeroshot.metrics import METRICS
from zeroshot.results import table_files
from zeroshot.results.table_files import Table

RUN = ("dataset", "model", "recipe")


class TableError(ValueError):
    """A table of a study is missing, damaged, or holds what the study does not name."""


# Each is read by a function of its name in `tables.py`: `load` the scores, `load_subsamples` the subsamples.
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "scores": Table(
            "scores",
            (*RUN, "metric"),
            ("value", "low", "high", "seed_sd", "cluster_sd", "note"),
            optional=("cluster_sd",),
        ),
        "subsamples": Table("scores on subsamples", (*RUN, "metric", "cells"), across="subsample"),
        # Of the pretraining objective, where a model has one.
        "reconstruction": Table("reconstruction", (*RUN, "metric", "statistic"), ("value",)),
        # Of labels predicted from few; not of studies whose scores were committed before.
        "labels": Table(
            "accuracy with few labels",
            (*RUN, "split", "classifier", "per_type", "statistic"),
            across="draw",
            digits=4,  # draws differ in the second
            may_be_absent=True,
        ),
        # Of labels that cells of a data set get from another one, the reference; of mappings, not of runs.
        "mapping": Table(
            "accuracy of labels from other data sets",
            (*RUN, "reference", "statistic"),
            across="draw",
            may_be_absent=True,
        ),
        # What belongs to a run and not to one score. `key` names the stored scores.
        "runs": Table(
            "runs",
            RUN,
            ("subset", "n_cells", "seed", "seeds", "seen_in_pretraining", "seconds", "peak_memory_mb",
             "device", "key"),
            digits=3,
        ),
    }
)  # fmt: skip
# Those that each run writes.
RUN_TABLES = tuple(name for name in TABLES if name != "mapping")
# Rounding moves the ends of an interval and a score at the end of its range.
_ROUNDING = 1.5e-6


def read_csv(name: str, file: Path, remedy: str) -> pd.DataFrame:
    """A table as it was written, with every digit and every text, in the order of the registries.

    One that may be absent and is has no rows.

    Parameters
    ----------
    name
        A key of :data:`TABLES`.
    file
        The file.
    remedy
        What to do about a damaged one.

    Returns
    -------
    pandas.DataFrame
        As :func:`zeroshot.results.table_files.read` gives it; of a table with ``across`` a row for each of
        its values, with ``value``.

    Raises
    ------
    TableError
        If the file is damaged or was edited: not the columns, a cell of another type, a repeated row, a
        model, data set or metric that does not exist, a score out of its range or interval.
    """
    layout = TABLES[name]
    if layout.may_be_absent and not file.is_file():
        return layout.empty().assign(**{table_files.LINE: pd.Series(dtype=int)})
    try:
        table = table_files.read(file, layout, remedy)
        for check in (_check_names, _check_complete, _check_ranges):
            check(file, table)
    except table_files.TableFileError as error:
        raise TableError(str(error)) from None
    except (catalog.CatalogError, _ImpossibleError) as error:
        raise TableError(f"{error}. {remedy}".replace("..", ".").replace("?.", "?")) from None
    if layout.across is not None:
        table = table.melt([*layout.key, table_files.LINE], var_name=layout.across, value_name="value")
        table = table.astype({layout.across: int, "value": float})
    return _in_order(table, layout)


def _in_order(table: pd.DataFrame, layout: Table) -> pd.DataFrame:
    """Sorted by run; within a run metrics stand as they are registered."""
    order = [column for column in (*RUN, layout.across, "metric") if column in table]
    places = {metric: place for place, metric in enumerate(METRICS)}
    return table.sort_values(
        order,
        key=lambda column: column.map(places).fillna(len(places)) if column.name == "metric" else column,
        kind="stable",
        ignore_index=True,
    )


class _ImpossibleError(ValueError):
    """No run can have had these numbers."""


def _check_names(file: Path, table: pd.DataFrame) -> None:
    """Refuse what no registry knows, with the line."""
    datasets = catalog.datasets()
    registries = {"dataset": datasets, "reference": datasets, "model": catalog.models()}
    kinds = {"dataset": "data set", "reference": "data set", "model": "model", "metric": "metric"}
    if "statistic" not in table:  # the objectives of pretraining are no registered metrics
        registries["metric"] = METRICS
    for column in registries.keys() & set(table):
        for value in table[column].unique():
            try:
                catalog.find(registries[column], value, kinds[column])
            except catalog.CatalogError as error:
                place = table_files.where(file, table, table[column] == value)
                raise catalog.CatalogError(f"{place} holds the {column} {value}: {error}") from None
    for model, recipe in table[["model", "recipe"]].drop_duplicates().itertuples(index=False):
        if recipe not in registries["model"][model].recipes:
            place = table_files.where(file, table, table["model"].eq(model) & table["recipe"].eq(recipe))
            raise catalog.CatalogError(f"{place} holds a recipe that {model} does not have: {recipe!r}")


def _check_complete(file: Path, table: pd.DataFrame) -> None:
    """Refuse a run that lacks metrics which others have, with its first line: rows were lost.

    On subsamples a metric that does not apply to a data set has no rows of it.
    """
    if "metric" not in table or "statistic" in table:
        return
    metrics = table.groupby(list(RUN), sort=False)["metric"].agg(set)
    peers = table.groupby("dataset")["metric"].agg(set) if "cells" in table else None
    for run, of_run in metrics.items():
        every = set(table["metric"]) if peers is None else peers[run[0]]
        if of_run != every:
            place = table_files.where(file, table, table[list(RUN)].eq(list(run)).all(axis="columns"))
            raise _ImpossibleError(
                f"{place} begins the rows of {', '.join(run)}, which lack {', '.join(sorted(every - of_run))}"
            )


def _check_ranges(file: Path, table: pd.DataFrame) -> None:
    """Refuse numbers that no run can have had, with the line."""
    columns = [column for column in table if column == "value" or str(column).isdecimal()]
    holds_scores = "metric" in table and "statistic" not in table and bool(columns)
    for name, rows in table.groupby("metric", sort=False) if holds_scores else ():
        lowest, highest = sorted([METRICS[name].worst, METRICS[name].best])
        for column in columns:
            strange = rows[column].lt(lowest - _ROUNDING) | rows[column].gt(highest + _ROUNDING)
            if strange.any():
                value = rows.loc[strange, column].iloc[0]
                place = table_files.where(file, rows, strange)
                raise _ImpossibleError(
                    f"{place} holds the {name} {value:g}: it lies between {lowest:g} and {highest:g}"
                )
    for column in columns if {"split", "reference"} & set(table) else ():  # shares of cells
        strange = table[column].lt(-_ROUNDING) | table[column].gt(1 + _ROUNDING)
        if strange.any():
            place = table_files.where(file, table, strange)
            raise _ImpossibleError(
                f"{place} holds the value {table.loc[strange, column].iloc[0]:g}: it lies between 0 and 1"
            )
    if {"low", "high"} <= set(table):
        strange = table["value"].lt(table["low"] - _ROUNDING) | table["value"].gt(table["high"] + _ROUNDING)
        if strange.any():
            place = table_files.where(file, table, strange)
            raise _ImpossibleError(f"{place} holds a value outside of its interval, low to high")
    positive = {"n_cells", "cells", "seeds", "per_type"}
    for column in (positive | {"seconds", "peak_memory_mb", "seed_sd", "cluster_sd"}) & set(table):
        strange = table[column] < (1 if column in positive else 0)
        if strange.any():
            place = table_files.where(file, table, strange)
            raise _ImpossibleError(
                f"{place} holds the {column} {table.loc[strange, column].iloc[0]:g}: too low"
            )


def check_study(file: Path, table: pd.DataFrame, card: catalog.StudyCard) -> None:
    """Refuse rows of other data sets, models, cells or seeds than those of a study.

    Parameters
    ----------
    file, table
        As given to and returned by :func:`read_csv`.
    card
        The study.

    Raises
    ------
    TableError
        With the file, the line and what it holds.
    """
    expected: dict[str, set[Any]] = {
        "dataset": set(card.datasets),
        "mapping": {" and ".join(pair) for pair in card.mappings},
        "model and recipe": set(map(_split, card.models)),
        "subset": {str(card.subset or "all")},
        "seed": {card.seed},
    }
    values = {column: table[column] for column in expected if column in table}
    if "reference" in table:
        values["mapping"] = table["reference"] + " and " + table["dataset"]
    values["model and recipe"] = pd.Series(
        list(zip(table["model"], table["recipe"], strict=True)), dtype=object
    )
    for what, of_rows in values.items():
        mask = ~of_rows.isin(expected[what])
        if mask.any():
            strange = ", ".join(sorted({str(value) for value in of_rows[mask]}))
            place = table_files.where(file, table, mask)
            raise TableError(
                f"{place} holds the {what} {strange}, which the study {card.name} does not have. Run the "
                f"study and keep its scores again: `zeroshot run {card.name}`, `zeroshot keep {card.name}`."
            )


def check_same_runs(folder: Path, scores: pd.DataFrame, runs: pd.DataFrame, remedy: str) -> None:
    """Refuse tables of a study of which one has runs that the other lacks: rows were lost.

    Parameters
    ----------
    folder
        Where the files of both are.
    scores, runs
        As returned by :func:`read_csv`.
    remedy
        What to do about it.

    Raises
    ------
    TableError
        With the file that lacks a run, and the run.
    """
    of_scores, of_runs = (set(t[list(RUN)].itertuples(index=False, name=None)) for t in (scores, runs))
    for name, absent in (("scores", of_runs - of_scores), ("runs", of_scores - of_runs)):
        if absent:
            other = "runs.csv" if name == "scores" else "scores.csv"
            raise TableError(
                f"{folder / name}.csv lacks {', '.join(min(absent))}, which {other} has: rows were lost. "
                f"{remedy}"
            )


def missing_runs(card: catalog.StudyCard, runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Data sets and models (``name`` or ``name@recipe``) of a study that a table of runs does not hold."""
    present = set(runs[list(RUN)].itertuples(index=False, name=None))
    pairs: Sequence[tuple[str, str]] = [
        (dataset, reference) for dataset in card.datasets for reference in card.models
    ]
    return [
        (dataset, reference) for dataset, reference in pairs if (dataset, *_split(reference)) not in present
    ]


def _split(reference: str) -> tuple[str, str]:
    model, recipe = catalog.split_reference(reference)
    return model.name, recipe
