"""Tables and cards as the command line prints them: to be read at 80 columns, or as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zeroshot.runtime.failures import printable


class _Output(Console):
    """Standard output; that nobody reads it any more is for the program to answer."""

    def on_broken_pipe(self) -> None:
        """Let the error pass that rich would end the program for."""
        raise


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str | None = None) -> None:
    """Print rows as a table; long texts take several lines, those of the first column from half a line on."""
    output, table = _Output(), Table(box=None, pad_edge=False, title=title, title_justify="left")
    texts = [[_text(row[column]) for column in columns] for row in rows]
    longest = max((len(row[0]) for row in texts), default=0)
    for number, column in enumerate(columns):
        no_wrap = number == 0 and longest <= output.width // 2  # else it takes the width of the others
        table.add_column(column, no_wrap=no_wrap, overflow="fold")
    for row in texts:
        table.add_row(*map(escape, row))
    output.print(table)


def show_notes(notes: Iterable[str], file: TextIO | None = None) -> None:
    """Print notes to a stream, by default standard output; equal ones once."""
    for note in dict.fromkeys(notes):
        print(f"note: {printable(note)}", file=file)


def show_lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table of one line each; the last column is cut where the terminal ends."""
    output, table = _Output(), Table(box=None, pad_edge=False)
    texts = {column: [_text(row[column]) for row in rows] for column in columns}
    left = output.width
    for column in columns:
        width = max(map(len, (column, *texts[column])))
        if column == columns[-1]:  # else a long text takes the width of the others
            width = max(min(width, left), len(column))
        table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=width, max_width=width)
        left -= width + 2
    for cells in zip(*texts.values(), strict=True):
        table.add_row(*map(escape, cells))
    output.print(table)


def show_fields(fields: Mapping[str, Any]) -> None:
    """Print the fields of one entry that say something, one below the other."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(fields):
        table.add_row(name, escape(_text(value)))
    _Output().print(table)


def show_json(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as JSON."""
    print(json.dumps(rows, indent=1))


def size_text(n_bytes: int) -> str:
    """A size in decimal units, as the hub and archives state theirs: "417.6 MB"."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.1f} {name}"
    return f"{n_bytes} bytes"


def _flat(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values of the fields that are not empty, those of inner mappings as "outer.inner"."""
    flat_fields = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat_fields += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            for number, item in enumerate(value, 1):
                flat_fields += _flat(item, f"{prefix}{name}.{number}.")
        elif value not in (None, [], ()):
            flat_fields.append((f"{prefix}{name}", value))
    return flat_fields


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value))) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return "–" if value is None else printable(str(value))
