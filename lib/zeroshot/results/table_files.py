"""CSV files of tables, read strictly: each cell by the type of its column, each error with file and line."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

_LONGEST = 15  # characters of a whole number: more do not fit into a column of numbers
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


def read(
    file: Path,
    columns: Mapping[str, Callable[[str], Any]],
    key: Sequence[str],
    remedy: str,
    others: Callable[[str], Callable[[str], Any] | None] = lambda name: None,
) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    file
        CSV in UTF-8 with a header, as pandas writes it.
    columns
        What each column holds: :func:`text`, :func:`number` or :func:`whole`.
    key
        Columns that no two rows may agree in.
    remedy
        The end of every error: what to do about it.
    others
        What a column holds that ``columns`` does not name; None for a column that may not be there.

    Returns
    -------
    pandas.DataFrame
        The columns of the file in their order, and :data:`LINE`.

    Raises
    ------
    TableFileError
        If the file is empty, cut off or no CSV, a column is missing, unknown or there twice, a row has
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
    types = {name: columns.get(name) or others(name) for name in header}
    for names, what in (
        ([name for name in columns if name not in header], "is missing"),
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
    table[LINE] = pd.Series([line for line, _ in rows], dtype=int)
    repeated = table[table.duplicated(list(key), keep="first")]
    if len(repeated):
        line = int(repeated[LINE].iloc[0])
        same = ", ".join(str(value) for value in repeated.iloc[0][list(key)])
        raise refuse(f", line {line}: a row of {same} is there already")
    return table


def where(file: Path, table: pd.DataFrame, mask: Iterable[bool]) -> str:
    """The file and the first line for which the mask holds."""
    return f"{file}, line {int(table.loc[mask, LINE].iloc[0])},"
