"""HTML that the library writes, from the Jinja templates in ``book/_templates``.

``notebooks/`` there holds what a notebook shows by itself: a change in it re-executes pages. ``pages/`` holds
what goes into pages when the book is staged. Every value is escaped by
:func:`zeroshot.runtime.escaping.escape`.
"""

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zeroshot.runtime import escaping, paths

# Those of the checkout that holds this code, which fills them, whatever project it works on.
FOLDER = paths.PACKAGE.parents[1] / "book" / "_templates"


def render(template: str, **values: Any) -> str:
    """HTML of a template with its values.

    Parameters
    ----------
    template
        Its path below ``book/_templates``, for example "pages/models.html".
    values
        What the template names; a name that is not given is an error.
    """
    return _environment().get_template(template).render(**values).strip()


def macros(template: str) -> ModuleType:
    """The macros of a template, as functions that return HTML."""
    return _environment().get_template(template).module


def of_notebooks() -> list[Path]:
    """The files on which an executed notebook depends."""
    return sorted((FOLDER / "notebooks").glob("*.html"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=_as_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_data"] = lambda data: Markup(escaping.script_data(data))  # noqa: S704 - no tag in it
    environment.tests["web_address"] = escaping.is_web_address
    return environment


def _as_html(value: Any) -> Markup:
    """Escape as the library does elsewhere: Jinja would leave characters that no page can hold."""
    return value if hasattr(value, "__html__") else Markup(escaping.escape(value))  # noqa: S704
