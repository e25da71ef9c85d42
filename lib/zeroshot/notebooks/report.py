"""Sentences with numbers in them: Markdown on the page of a notebook, glued for other pages."""

import re
import string
from typing import Any

from zeroshot.notebooks import tables
from zeroshot.runtime import escaping

MISSING = "–"


def report(*statements: str | tuple[str, str], glued: bool = True, **numbers: Any) -> None:
    """Show statements with the numbers put in, and glue each number under its name.

    A notebook executed anywhere shows them; a page of the book that names a number by ``glue`` gets it too:
    as it is under its name, and as it is written here under ``<name>_text``.

    Parameters
    ----------
    statements
        Markdown, a paragraph or an item of a list each, with fields such as ``{best:.2f}``. Of a pair the
        second is shown where a number of the first is missing.
    glued
        False glues nothing: where the same names come again on the page.
    numbers
        Numbers and texts by the names of the fields. None and NaN are missing: they are shown as "–".
        Texts are shown as they are: nothing in them is read as Markdown, HTML or a role.

    Raises
    ------
    KeyError
        If a statement has a field that no number is given for.
    """
    from IPython.display import Markdown, display
    from myst_nb import glue

    tables.show_texts_as_they_are()  # before the first table: every page begins with its takeaways
    plain = {name: _plain(value) for name, value in numbers.items()}
    formats: dict[str, str] = {}
    lines = []
    for statement in statements:
        sentence, instead = (statement, statement) if isinstance(statement, str) else statement
        fields = dict(_fields(sentence))
        formats = fields | formats
        complete = all(plain[name] is not None for name in fields)
        lines.append(_filled(sentence if complete else instead, plain))
    for name, value in plain.items() if glued else ():
        spec = formats.get(name, "")
        glue(name, _missing(spec) if value is None else value, display=False)
        glue(f"{name}_text", MISSING if value is None else format(value, spec), display=False)
    # Items of a list and lines of a quotation stand together, paragraphs apart.
    text = "".join(f"{x}\n" if x.startswith(("- ", "> ")) else f"\n{x}\n\n" for x in lines if x)
    if text:  # without any, a page would show the name of the class
        display(Markdown(re.sub(r"\n{3,}", "\n\n", text).strip()))


def _fields(statement: str) -> list[tuple[str, str]]:
    """Names of the fields of a statement, each with its format."""
    return [
        (name, spec or "") for _, name, spec, _ in string.Formatter().parse(statement) if name is not None
    ]


def _filled(statement: str, numbers: dict[str, Any]) -> str:
    parts = []
    for literal, name, spec, _ in string.Formatter().parse(statement):
        parts.append(literal)
        if name is not None:
            value = numbers[name]
            text = MISSING if value is None else format(value, spec or "")
            parts.append(escaping.prose(text) if isinstance(value, str) else text)
    return "".join(parts)


def _plain(value: Any) -> Any:
    """A number or a text without numpy, None if it is missing."""
    value = value.item() if hasattr(value, "item") else value
    return None if value is None or value != value else value


def _missing(spec: str) -> float | str:
    """What is glued for a missing number, so that another page can still format it."""
    return float("nan") if spec[-1:] in tuple("eEfFgGn%") else MISSING
