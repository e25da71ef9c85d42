"""Rows of the tables under ``data/literature`` as records, with file and line in every message."""

import csv
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from zeroshot import catalog
from zeroshot.catalog import CatalogError
from zeroshot.runtime import paths

AnyRow = TypeVar("AnyRow", bound=BaseModel)


def read(name: str, kind: type[AnyRow]) -> list[tuple[str, AnyRow]]:
    """Rows of a table, each after the words that say where it stands; an empty cell is not given."""
    path = paths.catalog(f"literature/{name}").with_suffix(".csv")
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file, restkey="beyond the last column")
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            try:
                row = kind.model_validate({column: cell for column, cell in cells.items() if cell})
            except ValidationError as error:
                problems = (f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
                raise CatalogError(f"{where}: {'; '.join(problems)}") from None
            rows.append((where, row))
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
