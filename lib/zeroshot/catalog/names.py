"""Names of entries: found, or answered with the nearest one."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

_MOST_NAMES = 50  # in a message


class CatalogError(ValueError):
    """A registry file is wrong, or a name is not in it."""


def find(entries: Mapping[str, Any], name: str, kind: str) -> Any:
    """Look a name up, or say which names are close.

    Raises
    ------
    CatalogError
        If the name is not an entry.
    """
    if name in entries:
        return entries[name]
    raise CatalogError(f"no {kind} is called {name!r}.{suggestion(name, entries)}")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The names that are near an unknown one, as the next sentence of an error; empty if none is."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def suggestion(name: str, names: Iterable[str]) -> str:
    """The end of an error about an unknown name: those that are near, else all of them."""
    names = list(names)
    if near := did_you_mean(name, names):
        return near
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f" Known: {', '.join(names[:_MOST_NAMES])}{more}."
