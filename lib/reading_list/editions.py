"""What changed from one edition of the reading list's sources to the next: counted."""

import re
from dataclasses import dataclass

from reading_list import entries
from reading_list.records import Paper

# Editions in their order, as records.Edition names them. `ours` is no list of its own: what was added here.
TITLES = {
    "e1": "First edition",
    "e2": "Second edition",
    "e3": "Third edition",
    "2026-07": "Public version of July 2026",
    "ours": "With what was added in this book",
}


@dataclass(frozen=True)
class Change:
    """One edition beside the one before it; papers in the order of the list."""

    edition: str
    listed: tuple[Paper, ...]
    added: tuple[Paper, ...]  # for the first edition all that it lists
    removed: tuple[Paper, ...]

    @property
    def retained(self) -> tuple[Paper, ...]:
        """What the edition before it had too."""
        return tuple(paper for paper in self.listed if paper not in self.added)


def changes() -> list[Change]:
    """Every edition that has new papers, in their order."""
    papers, result, before = list(entries.load().values()), [], ()
    for edition in TITLES:
        inherited = before if edition == "ours" else ()  # ours is the newest list and more
        listed = tuple(paper for paper in papers if edition in paper.editions or paper in inherited)
        added = tuple(paper for paper in listed if paper not in before)
        if added:
            removed = tuple(paper for paper in before if paper not in listed)
            result.append(Change(edition, listed, added, removed))
            before = listed
    return result


def papers_with_corrections() -> list[Paper]:
    """Papers of which some edition said something else than the list does, in the order of the list."""
    return [paper for paper in entries.load().values() if corrections_of(paper)]


def corrections_of(paper: Paper) -> list[str]:
    """Corrections that say what an edition had otherwise."""
    return [text for text in paper.corrections if re.search(r"\bedition", text, re.IGNORECASE)]
