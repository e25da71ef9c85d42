"""The tables of a study as git keeps them: sorted text, so that a number that changes is a line of a diff.

``data/scores/<study>.csv`` holds the scores, ``data/scores/<study>.<table>.csv`` every other table of
:data:`TABLES`. Chapters that need nothing but tables can be built from them, see :func:`zeroshot.book.stage`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot import catalog, paths, store, table_files
from zeroshot.metrics import METRICS
from zeroshot.table_files import number

_RUN = ("dataset", "model", "recipe")


class KeptError(ValueError):
    """Scores were not kept, or what was kept does not fit the study any more."""


@dataclass(frozen=True)
class Table:
    """How one table is written.

    Attributes
    ----------
    title
        What it holds, in a few words: the text of its download link.
    key
        Columns that name a row; rows are sorted by them.
    columns
        The other columns, in their order.
    across
        A column whose values become columns, holding ``value``: one line of the file for what is one row
        for each of its values in the table of the study.
    digits
        After the point. Rounding on another machine stays below them.
    """

    title: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    across: str | None = None
    digits: int = 6


# Every table that is kept; all but the notes are tables of a study, see `zeroshot.results.Tables`.
TABLES = {
    "scores": Table(
        "scores",
        ("study", *_RUN, "metric", "subset"),
        ("value", "low", "high", "n_cells", "seed", "seeds", "seed_sd", "seen_in_pretraining", "artifact"),
    ),
    # What the run said beside a score, such as the resolution that was chosen; part of the table of scores.
    "notes": Table("notes on scores", (*_RUN, "metric"), ("note",)),
    "subsamples": Table("scores on subsamples", (*_RUN, "metric", "cells"), across="subsample"),
    "costs": Table("costs", _RUN, ("n_cells", "seconds", "peak_memory_mb", "device"), digits=3),
}
_TEXTS = {
    "study", *_RUN, "metric", "group", "subset", "note", "seen_in_pretraining", "artifact", "device",
}  # fmt: skip
_WHOLE = {"n_cells", "seed", "seeds", "cells", "subsample"}
# Rounding moves the ends of an interval and a score at the end of its range.
_ROUNDING = 1.5e-6


def path(study: str, name: str) -> Path:
    """The file of a kept table, ``name`` a key of :data:`TABLES`."""
    return paths.scores() / (f"{study}.csv" if name == "scores" else f"{study}.{name}.csv")


def write(study: str, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Keep the tables of a study.

    Parameters
    ----------
    study
        Name of the study.
    tables
        By their names in :data:`TABLES`, as the functions of :mod:`zeroshot.results` load them.

    Returns
    -------
    list of pathlib.Path
        The files; those in which nothing changed are untouched.
    """
    texts = as_text(tables)
    for name, text in texts.items():
        store.write_text(path(study, name), text)
    return [path(study, name) for name in texts]


def as_text(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The tables of a study as CSV, by their names in :data:`TABLES`; the notes are taken from the scores."""
    scores = tables["scores"]
    tables = {**tables, "notes": scores[scores["note"] != ""]}
    return {name: to_csv(name, tables[name]) for name in TABLES}


def to_csv(name: str, table: pd.DataFrame) -> str:
    """Rows of one table as they are kept, ``name`` a key of :data:`TABLES`."""
    layout = TABLES[name]
    key = list(layout.key)
    if layout.across is None:
        written = table[[*key, *layout.columns]]
    else:
        written = table.pivot(index=key, columns=layout.across, values="value").reset_index()
    return written.sort_values(key, kind="stable").to_csv(index=False, float_format=f"%.{layout.digits}f")


def read(study: str, name: str) -> pd.DataFrame:
    """A table of a study as it was kept: the columns, the rows and the order that the study gave it.

    Raises
    ------
    KeptError
        If it was not kept, or holds what the study does not name.
    """
    table = _of_study(catalog.study(study), _read(study, name), name).drop(columns=table_files.LINE)
    across = TABLES[name].across
    if across is not None:
        table = table.melt(list(TABLES[name].key), var_name=across, value_name="value").astype({across: int})
    if name == "scores":
        notes = _read(study, "notes").drop(columns=table_files.LINE)
        table = table.merge(notes, how="left", on=[*_RUN, "metric"]).fillna({"note": ""})
        table["group"] = [METRICS[metric].group for metric in table["metric"]]
    order = [column for column in (*_RUN, across, "metric") if column in table]
    places = {metric: place for place, metric in enumerate(METRICS)}
    return table.sort_values(
        order, key=lambda column: column.map(places) if column.name == "metric" else column, ignore_index=True
    )


def _read(study: str, name: str) -> pd.DataFrame:
    file, layout = path(study, name), TABLES[name]
    if not file.is_file():
        raise KeptError(
            f"{file} does not exist: no {layout.title} of the study {study} were kept. Where the study has "
            f"been run (`zeroshot run {study}`), `zeroshot keep {study}` writes the file."
        )
    remedy = (
        f"Restore the file from git (`git checkout -- {file.name}` in its folder), or write it again: "
        f"`zeroshot run {study}`, `zeroshot keep {study}`."
    )
    return read_csv(file, [*layout.key, *layout.columns], layout.key, remedy, numbered=bool(layout.across))


def read_csv(
    file: Path, columns: Sequence[str], key: Sequence[str], remedy: str, *, numbered: bool = False
) -> pd.DataFrame:
    """A table of a study, kept or computed, with every digit and every text as it was written.

    Parameters
    ----------
    file
        The file.
    columns
        Names of its columns.
    key
        Columns that name a row.
    remedy
        What to do about a damaged file.
    numbered
        Whether there may be columns of numbers with a number as their name.

    Returns
    -------
    pandas.DataFrame
        With :data:`zeroshot.table_files.LINE` as the last column.

    Raises
    ------
    KeptError
        If the file is damaged or was edited: not the columns, a cell of another type, a repeated row, a
        model, data set or metric that does not exist, a score out of its range or interval.
    """
    types = {name: _type_of(name) for name in columns}
    try:
        table = table_files.read(
            file, types, key, remedy, lambda name: number if numbered and name.isdecimal() else None
        )
        for check in (_check_names, _check_complete, _check_ranges):
            check(file, table)
    except table_files.TableFileError as error:
        raise KeptError(str(error)) from None
    except (catalog.CatalogError, _ImpossibleError) as error:
        raise KeptError(f"{error}. {remedy}".replace("..", ".").replace("?.", "?")) from None
    return table


class _ImpossibleError(ValueError):
    """No run can have had these numbers."""


def _type_of(name: str) -> Callable[[str], Any]:
    return table_files.text if name in _TEXTS else table_files.whole if name in _WHOLE else number


def _check_names(file: Path, table: pd.DataFrame) -> None:
    """Refuse what no registry knows, with the line."""
    known = {"dataset": catalog.datasets(), "model": catalog.models(), "metric": METRICS}
    kinds = {"dataset": "data set", "model": "model", "metric": "metric"}
    for column in known.keys() & set(table):
        for value in table[column].unique():
            try:
                catalog.find(known[column], value, kinds[column])
            except catalog.CatalogError as error:
                place = table_files.where(file, table, table[column] == value)
                raise catalog.CatalogError(f"{place} holds the {column} {value}: {error}") from None
    for model, recipe in table[["model", "recipe"]].drop_duplicates().itertuples(index=False):
        if recipe not in known["model"][model].recipes:
            place = table_files.where(file, table, table["model"].eq(model) & table["recipe"].eq(recipe))
            raise catalog.CatalogError(f"{place} holds a recipe that {model} does not have: {recipe!r}")


def _check_complete(file: Path, table: pd.DataFrame) -> None:
    """Refuse a run that lacks metrics which others have, with its first line: rows were lost."""
    if "metric" not in table or ("note" in table and "value" not in table):
        return  # only some scores have notes
    metrics = table.groupby(list(_RUN), sort=False)["metric"].agg(set)
    every = set(table["metric"])
    for run, of_run in metrics.items():
        if of_run != every:
            place = table_files.where(file, table, table[list(_RUN)].eq(list(run)).all(axis="columns"))
            raise _ImpossibleError(
                f"{place} begins the rows of {', '.join(run)}, which lack {', '.join(sorted(every - of_run))}"
            )


def _check_ranges(file: Path, table: pd.DataFrame) -> None:
    """Refuse numbers that no run can have had, with the line."""
    columns = [column for column in table if column == "value" or str(column).isdecimal()]
    for name, rows in table.groupby("metric", sort=False) if "metric" in table and columns else ():
        lowest, highest = sorted([METRICS[name].worst, METRICS[name].best])
        for column in columns:
            strange = rows[column].lt(lowest - _ROUNDING) | rows[column].gt(highest + _ROUNDING)
            if strange.any():
                value = rows.loc[strange, column].iloc[0]
                place = table_files.where(file, rows, strange)
                raise _ImpossibleError(
                    f"{place} holds the {name} {value:g}: it lies between {lowest:g} and {highest:g}"
                )
    if {"low", "high"} <= set(table):
        strange = table["value"].lt(table["low"] - _ROUNDING) | table["value"].gt(table["high"] + _ROUNDING)
        if strange.any():
            place = table_files.where(file, table, strange)
            raise _ImpossibleError(f"{place} holds a value outside of its interval, low to high")
    for column in {"n_cells", "cells", "seeds", "seconds", "peak_memory_mb", "seed_sd"} & set(table):
        strange = table[column] < (1 if column in ("n_cells", "cells", "seeds") else 0)
        if strange.any():
            place = table_files.where(file, table, strange)
            raise _ImpossibleError(
                f"{place} holds the {column} {table.loc[strange, column].iloc[0]:g}: too low"
            )


def missing(study: str) -> list[tuple[str, str]]:
    """Data sets and models (``name`` or ``name@recipe``) of a study without kept scores."""
    card = catalog.study(study)
    runs = set(_read(study, "scores")[list(_RUN)].itertuples(index=False, name=None))
    pairs = [(dataset, reference) for dataset in card.datasets for reference in card.models]
    return [(dataset, reference) for dataset, reference in pairs if (dataset, *_split(reference)) not in runs]


def require(study: str) -> None:
    """Read every table of a study.

    Raises
    ------
    KeptError
        If one was not kept, or holds what the study does not name.
    """
    for name in TABLES:
        read(study, name)


def _of_study(card: catalog.StudyCard, table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table, refused if it is of other data sets, models, metrics, cells or seeds than the study."""
    known = {
        "dataset": set(card.datasets),
        "model and recipe": set(map(_split, card.models)),
        "metric": set(METRICS),
        "subset": {str(card.subset or "all")},
        "seed": {card.seed},
    }
    if name != "scores":  # other tables may be of other seeds
        del known["seed"], known["subset"]
    found = {column: table[column] for column in known if column in table}
    found["model and recipe"] = pd.Series(
        list(zip(table["model"], table["recipe"], strict=True)), dtype=object
    )
    for what, values in found.items():
        mask = ~values.isin(known[what])
        if mask.any():
            strange = ", ".join(sorted({str(value) for value in values[mask]}))
            place = table_files.where(path(card.name, name), table, mask)
            raise KeptError(
                f"{place} holds the {what} {strange}, which the study {card.name} does not have. Run the "
                f"study and keep its scores again: `zeroshot run {card.name}`, `zeroshot keep {card.name}`."
            )
    return table


def _split(reference: str) -> tuple[str, str]:
    model, recipe = catalog.split_reference(reference)
    return model.name, recipe
