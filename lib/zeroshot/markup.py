"""HTML that pages of the book share: blocks within Markdown, tables, data for scripts, links to papers."""

import html
import json
from collections.abc import Iterable
from typing import Any


def raw(body: str) -> str:
    """HTML as a block of Markdown, which is shown as it is."""
    return f"```{{raw}} html\n{body}\n```"


def table(heads: Iterable[str], bodies: str, attributes: str = 'class="table"', caption: str = "") -> str:
    """A table that scrolls in its own box where it is wider than the page.

    Parameters
    ----------
    heads
        Of the columns, escaped.
    bodies
        One ``<tbody>`` or several.
    attributes
        Of the table, as they stand in its tag.
    caption
        As HTML with its tag, or nothing.
    """
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        f'<div class="pst-scrollable-table-container" tabindex="0">\n<table {attributes}>{caption}'
        f"<thead><tr>{columns}</tr></thead>\n{bodies}</table>\n</div>"
    )


def script_data(data: Any) -> str:
    """JSON for the text of a script element: a name of a user's cannot end the element."""
    text = json.dumps(data, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def paper_link(name: str, text: str, reading_list: str) -> str:
    """Link to the row of a paper; ``reading_list`` is the way to that page from the page of the link."""
    return f'<a href="{reading_list}#paper-{html.escape(name)}">{html.escape(text)}</a>'
