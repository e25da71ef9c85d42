"""Rows of the tables under ``data/literature`` as records, with file and line in every message."""

import csv
import io
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from zeroshot import catalog
from zeroshot.catalog import CatalogError
from zeroshot.runtime import paths

AnyRow = TypeVar("AnyRow", bound=BaseModel)


def read(name: str, kind: type[AnyRow]) -> list[tuple[str, AnyRow]]:
    """Rows of a table, each after the words that say where it stands; an empty cell is not given.

    Raises
    ------
    CatalogError
        If the file is absent, cut off or not a CSV in UTF-8, or a row is not a record of this kind.
    """
    path = paths.catalog(f"literature/{name}").with_suffix(".csv")
    rows = []
    for line, cells in _lines(path):
        where = f"{path}, line {line}"
        try:
            row = kind.model_validate({column: cell for column, cell in cells.items() if cell})
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
            raise CatalogError(f"{where}: {'; '.join(problems)}") from None
        rows.append((where, row))
    return rows


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Cells by column of each line, after its number."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            content = file.read()
        if not content.endswith("\n"):
            raise ValueError("it is empty" if not content else "the last line has no end: it is cut off")
        lines = io.StringIO(content, newline="")  # str.splitlines would also part texts at other characters
        table = csv.DictReader(lines, restkey="beyond the last column", strict=True)
        rows = [(table.line_num, cells) for cells in table]
        if len(set(table.fieldnames)) < len(table.fieldnames):
            raise ValueError("a column is there twice")
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise CatalogError(
            f"{path} cannot be read: {reason}. Expected a table with a header, CSV in UTF-8: restore it with "
            "`git checkout`."
        ) from None
    return rows


def find(where: str, registered: dict, name: str, kind: str) -> None:
    """Refuse a name that is not registered, with the nearest one in the message."""
    try:
        catalog.find(registered, name, kind)
    except CatalogError as error:
        raise CatalogError(f"{where}: {error}") from None


def require_new(where: str, rows: dict, key: object) -> None:
    """Refuse a key that stands in an earlier row."""
    if key in rows:
        raise CatalogError(f"{where}: {key} is there twice")
