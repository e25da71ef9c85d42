"""Where the survey leads: each of its parts beside the page here that runs or measures it, or that none does.

Source
------
Sections 3 to 6 of the survey, as :mod:`reading_list.survey` cites it; challenges are those of section 6.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from reading_list import csv_rows, survey
from reading_list.records import Text
from zeroshot.catalog import CatalogError
from zeroshot.runtime import escaping, paths, templates

# Pages that are written when the book is staged.
GENERATED = ("book/models", "book/corpora")


class Destination(BaseModel):
    """One row of ``survey_sections.csv``: a part of the survey, and where it leads."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    section: Literal["3.1", "3.2", "4.1", "4.2", "5.1", "5.2", "5.3", "5.4", "6.1", "6.2", "6.3"]
    part: Text
    item: Text
    page: str | None = None  # its path without suffix; None where no page runs or measures it
    anchor: str | None = None
    what: Text

    @model_validator(mode="after")
    def _anchor_goes_with_a_page(self) -> "Destination":
        if self.anchor and self.page != "book/models":
            raise ValueError("`anchor` is that of a family of models, and goes with the page book/models")
        return self


def destinations() -> list[Destination]:
    """All rows, in the order of the survey.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If a page does not exist, with file and line in the message.
    """
    rows = {}
    for where, row in csv_rows.read("survey_sections", Destination):
        csv_rows.require_new(where, rows, (row.section, row.item))
        notebook = paths.home() / f"{row.page}.ipynb"
        if row.page and row.page not in GENERATED and not notebook.is_file():
            raise CatalogError(
                f"{where}: there is no {notebook.name} in {notebook.parent}: name a chapter, or "
                "leave `page` empty"
            )
        rows[row.section, row.item] = row
    return list(rows.values())


def page() -> str:
    """The page as Markdown, so that links to chapters which a book lacks lead to its status page."""
    rows = destinations()
    measured = sum(row.page is not None for row in rows)
    links = templates.macros("notebooks/links.html")
    link = links.paper_link(survey.PAPER, "survey of foundation language models", "../reading_list.html")
    parts = [
        "# Where does the survey lead?",
        f"The parts of a {link}, each with the page of this book that runs or measures it. Of {len(rows)} "
        f"parts {measured} have one; of the others it is said why not.",
    ]
    for section, part in dict.fromkeys((row.section, row.part) for row in rows):
        of_part = [row for row in rows if row.section == section]
        parts += [f"## {section} {escaping.verbatim(part)}"]
        parts += ["\n".join(f"- {_line(row)}" for row in of_part)]
    return "\n\n".join(parts) + "\n"


def _line(row: Destination) -> str:
    item, what = escaping.verbatim(row.item), escaping.verbatim(row.what)
    if row.page is None:
        return f"**{item}**: none. {what}."
    if row.anchor:
        links = templates.macros("notebooks/links.html")
        cards = links.family_link(row.anchor, "cards of the models", "../models.html")
        return f"**{item}**: {cards}. {what}."
    suffix = ".md" if row.page in GENERATED else ".ipynb"
    return f"**{item}**: [{_title(row.page)}](../../{row.page}{suffix}). {what}."


def _title(chapter: str) -> str:
    """The name of a chapter in words: "02_cell_types" is "cell types"."""
    return chapter.rpartition("/")[2].lstrip("0123456789_").replace("_", " ")
