"""Styled tables in a notebook, whose texts are shown as they are: pandas puts them into the page as HTML.

Names of models, data sets and cell types come from registries and files that anybody may have written.
"""

import copy
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import escape

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler  # imported when a table is styled

# Where a table keeps how its cells, the names of its rows and those of its columns are written.
_FORMATS = ("_display_funcs", "_display_funcs_index", "_display_funcs_columns")


def show_texts_as_they_are() -> None:
    """In a kernel, escape the texts of styled tables whenever one is shown; ``Markup`` is what stays HTML."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type_by_name("pandas.io.formats.style", "Styler", to_html)


def to_html(table: "Styler") -> str | None:
    """HTML of a styled table, all of whose texts are escaped, apart from those that are ``Markup``."""
    safe = copy.copy(table)
    for name in _FORMATS:
        setattr(safe, name, _Escaping(getattr(table, name)))
    rows, columns = ([_escaped(name) for name in axis.names] for axis in (table.index, table.columns))
    safe.data = table.data.rename_axis(index=rows, columns=columns)
    return safe._repr_html_()


class _Escaping:
    """The formats of a table by place, each applied to the escaped text."""

    def __init__(self, formats: Mapping[tuple[int, int], Callable[[Any], Any]]) -> None:
        self.formats = formats

    def __getitem__(self, place: tuple[int, int]) -> Callable[[Any], Any]:
        as_text = self.formats[place]
        return lambda value: as_text(_escaped(value))


def _escaped(value: Any) -> Any:
    return escape(value) if isinstance(value, str) else value
