"""CSV files of tables: how each is written, and read strictly, each error with file and line.

Scores, what belongs to them, and the tables of ablations and of the trial of the metrics go through here.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroshot import store

_LONGEST = 15  # characters of a whole number: more do not fit into a column of numbers
_LONGEST_PLACE = 4  # characters of a column that :attr:`Table.across` numbers
LINE = "line"  # column with the line of the file that a row stands on


class TableFileError(ValueError):
    """A file does not hold the table that it should."""


def text(cell: str) -> str:
    """Any text, also an empty one."""
    return cell


def number(cell: str) -> float:
    """A finite number, every digit of it; NaN for an empty cell."""
    if not cell:
        return math.nan
    value = float(cell)
    # Python also reads 1_0, other scripts' digits, and spaces around them.
    if not math.isfinite(value) or not cell.isascii() or "_" in cell or cell != cell.strip():
        raise ValueError
    return value


def whole(cell: str) -> int:
    """A whole number, written as such."""
    if not cell.isascii() or not cell.removeprefix("-").isdecimal() or len(cell) > _LONGEST:
        raise ValueError
    return int(cell)


_DTYPES = {text: object, number: float, whole: int}
# What the columns of all tables hold; those that are not named here hold numbers.
_KINDS = {
    **dict.fromkeys(
        ("dataset", "model", "recipe", "method", "ablation", "metric", "group", "statistic", "subset", "note",
         "seen_in_pretraining", "key", "device", "same_as", "first", "second", "convention", "also",
         "changes", "source", "embedding", "scores", "error", "ladder", "variant", "network", "corpus",
         "decoder", "predictor", "split", "classifier", "reference"),
        text,
    ),
    **dict.fromkeys(
        ("n_cells", "seed", "seeds", "cells", "subsample", "rung", "step", "tokens", "per_type", "draw"),
        whole,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """How one table is written.

    Attributes
    ----------
    title
        What it holds, in a few words: the text of its download link.
    key
        Columns that name a row, of which no two rows agree in all.
    columns
        The other columns, in their order.
    optional
        Those of them that a file lacks where no row has a value: tables that were committed before the column
        was added are read, and written again as they are.
    across
        A column whose values become columns of the file, each holding ``value``: one line for what is one row
        for each of its values in memory, and none where all of them are NaN.
    digits
        After the point, so that differences in rounding between machines stay below them; None for all.
    is_sorted
        Whether rows are sorted by the key; if not, their order says something and stays.
    may_be_absent
        Whether a study whose scores were committed before the table was added lacks the file: no rows then.
    """

    title: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    across: str | None = None
    digits: int | None = 6
    is_sorted: bool = True
    may_be_absent: bool = False

    @property
    def all_columns(self) -> list[str]:
        """Key and other columns, as they stand in a file."""
        return [*self.key, *self.columns]

    def empty(self) -> pd.DataFrame:
        """The table without rows, as it is in memory."""
        names = [*self.all_columns, *([self.across, "value"] if self.across else [])]
        return pd.DataFrame({name: pd.Series(dtype=_DTYPES[_KINDS.get(name, number)]) for name in names})

    def to_csv(self, table: pd.DataFrame) -> str:
        """Rows as they are written."""
        if self.across is None:
            left_out = [column for column in self.optional if table[column].isna().all()]
            rows = table[self.all_columns].drop(columns=left_out)
        else:
            values = table.dropna(subset="value")
            rows = values.pivot(index=list(self.key), columns=self.across, values="value").reset_index()
        if self.is_sorted:
            rows = rows.sort_values(list(self.key), kind="stable")
        return rows.to_csv(index=False, float_format=None if self.digits is None else f"%.{self.digits}f")


def write(directory: Path, layouts: Mapping[str, Table], tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as ``<name>.csv``; a file appears whole or not at all."""
    for name, layout in layouts.items():
        store.write_text(directory / f"{name}.csv", layout.to_csv(tables[name]))


def concatenate(output: Path, layouts: Mapping[str, Table], directories: Iterable[Path]) -> None:
    """Join the files that :func:`write` has written into several directories, digit by digit."""
    directories = list(directories)
    for name, layout in layouts.items():
        parts = [
            pd.read_csv(directory / f"{name}.csv", dtype=str, keep_default_na=False)
            for directory in directories
        ]
        parts = [part for part in parts if len(part)] or parts[:1]
        table = pd.concat(parts, ignore_index=True).fillna("")
        if layout.is_sorted:
            table = table.sort_values(list(layout.key), kind="stable")
        if layout.optional:  # parts without them come first or last
            table = table[[column for column in layout.all_columns if column in table]]
        store.write_text(output / f"{name}.csv", table.to_csv(index=False))


def read(file: Path, layout: Table, remedy: str) -> pd.DataFrame:
    """Read a table as it was written.

    Parameters
    ----------
    file
        CSV in UTF-8 with a header, as :func:`write` writes it.
    layout
        Of the table.
    remedy
        The end of every error: what to do about it.

    Returns
    -------
    pandas.DataFrame
        The columns of the file in their order, optional ones that it lacks without values, and :data:`LINE`.
        Of a table with ``across`` a row still holds all its values.

    Raises
    ------
    TableFileError
        If the file is empty, cut off or not a CSV, a column is missing, unknown or there twice, a row has
        more or fewer cells, a cell is not of its type, or two rows have the same key.
    """

    def refuse(what: str) -> TableFileError:
        return TableFileError(f"{file}{what}. {remedy}")

    try:
        with file.open(encoding="utf-8", newline="") as handle:
            content = handle.read()
    except UnicodeDecodeError:
        raise refuse(" is not a text in UTF-8") from None
    if not content.endswith("\n"):
        raise refuse(" is empty" if not content else ": the last line has no end, so the file is cut off")
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        header = next(reader)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise refuse(f", line {reader.line_num}: {error}") from None
    types = {name: _kind_of(name, layout) for name in header}
    required = [name for name in layout.all_columns if name not in layout.optional]
    for names, what in (
        ([name for name in required if name not in header], "is missing"),
        ([name for name, type_ in types.items() if type_ is None], "is not known"),
        (sorted({name for name in header if header.count(name) > 1}), "is there twice"),
    ):
        if names:
            raise refuse(f", line 1: the column {', '.join(map(repr, names))} {what}")
    values: dict[str, list[Any]] = {name: [] for name in header}
    for line, row in rows:
        if len(row) != len(header):
            raise refuse(f", line {line}: {len(row)} cells instead of {len(header)}")
        for name, cell in zip(header, row, strict=True):
            try:
                values[name].append(types[name](cell))
            except ValueError:
                kind = "a whole number" if types[name] is whole else "a number, or nothing"
                raise refuse(f", line {line}: {name} is {cell!r} instead of {kind}") from None
    table = pd.DataFrame(values).astype({name: _DTYPES[types[name]] for name in header})
    for column in set(layout.optional) - set(table):
        table[column] = np.nan
    table[LINE] = pd.Series([line for line, _ in rows], dtype=int)
    repeated = table[table.duplicated(list(layout.key), keep="first")]
    if len(repeated):
        line = int(repeated[LINE].iloc[0])
        same = ", ".join(str(value) for value in repeated.iloc[0][list(layout.key)])
        raise refuse(f", line {line}: a row of {same} is there already")
    return table


def _kind_of(name: str, layout: Table) -> Callable[[str], Any] | None:
    """What a column of a table holds; None for one that may not be there."""
    if layout.across is not None and name.isascii() and name.isdecimal() and len(name) <= _LONGEST_PLACE:
        return number
    return _KINDS.get(name, number) if name in layout.all_columns else None


def where(file: Path, table: pd.DataFrame, mask: Iterable[bool]) -> str:
    """The file and the first line for which the mask holds."""
    return f"{file}, line {int(table.loc[mask, LINE].iloc[0])},"
