"""The evolutionary tree of models: three trunks, height is the date, colour the modality.

Drawn from the reading list alone. The trunk and the inputs of a model follow from its place in the list (the
subsections of *Single-Cell Foundation Models* name them), and stand in its entry only where the place says
neither. :mod:`reading_list.lineage` is the other tree, of stated descents.

Source
------
The newest edition of the list has such a tree as a picture, in the form of the evolutionary tree of language
models of Mooler0410/LLMsPracticalGuide.
"""

from dataclasses import dataclass
from typing import get_args

from reading_list import entries
from reading_list.records import Input, Paper, PreprintVenue, Trunk
from zeroshot.catalog import CatalogError

FIRST_YEAR = 2022
TRUNKS: tuple[Trunk, ...] = get_args(Trunk)
# What a place in the list says of the models there; that of multi-omics does not say which of them.
PLACES: dict[tuple[str, str | None], tuple[Trunk, tuple[Input, ...]]] = {
    ("models", "scrna-seq"): ("unimodality", ("RNA",)),
    ("models", "scatac-seq"): ("unimodality", ("ATAC",)),
    ("models", "spatial"): ("multi-modality", ("RNA", "space")),
    ("models", "multi-omics"): ("multi-modality", ("several omics",)),
    ("models", "perturbation"): ("multi-modality", ("RNA", "perturbation")),
    ("models", "language"): ("LLM-enhanced", ("RNA", "text")),
    ("perturbation", "models"): ("multi-modality", ("RNA", "perturbation")),
}


@dataclass(frozen=True)
class Leaf:
    """A model in the tree."""

    paper: str  # entry of the reading list
    name: str
    trunk: Trunk
    date: str  # "2024-11-09", "2025-04" or "2023"
    inputs: tuple[Input, ...]
    peer_reviewed: bool

    @property
    def year(self) -> int:
        """The year of the date."""
        return int(self.date[:4])

    @property
    def modality(self) -> str:
        """The group of its inputs that gives the colour: the first of :data:`MODALITIES` that holds."""
        return next(group for group, needed in MODALITIES.items() if needed <= set(self.inputs))


# Groups by the inputs that they need at least, the richer ones first. Every input is in one of them.
MODALITIES: dict[str, set[Input]] = {
    "space and text": {"RNA", "space", "text"},
    "spatial transcriptomics": {"RNA", "space"},
    "RNA and text": {"RNA", "text"},
    "RNA and ATAC": {"RNA", "ATAC"},
    "RNA and protein": {"RNA", "protein"},
    "RNA and perturbation": {"RNA", "perturbation"},
    "several omics": {"several omics"},
    "RNA": {"RNA"},
    "ATAC": {"ATAC"},
    "protein": {"protein"},
    "histology, other images or DNA": set(),
}


def leaves() -> list[Leaf]:
    """Every model of the list since :data:`FIRST_YEAR`: trunk by trunk, within a trunk by date and name.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If an entry must say its trunk or its inputs and does not.
    """
    models = [_leaf(paper) for paper in entries.load().values() if paper.kind == "model"]
    models = [leaf for leaf in models if leaf.year >= FIRST_YEAR]
    return sorted(models, key=lambda leaf: (TRUNKS.index(leaf.trunk), leaf.date, leaf.name.casefold()))


def _leaf(paper: Paper) -> Leaf:
    trunk, inputs = PLACES.get((paper.section, paper.subsection), (None, ()))
    trunk, inputs = paper.trunk or trunk, paper.inputs or inputs
    if trunk is None or not inputs:
        lacking = "`trunk`" if trunk is None else "`inputs`"
        raise CatalogError(
            f"entry {paper.name!r} of the reading list lacks {lacking}: its place "
            f"{paper.section}/{paper.subsection} does not say it, so the entry of a model there must"
        )
    return Leaf(
        paper=paper.name,
        name=paper.short_name or paper.name,
        trunk=trunk,
        date=paper.first_date,
        inputs=inputs,
        peer_reviewed=bool(
            paper.peer_reviewed or (paper.venue and paper.venue not in get_args(PreprintVenue))
        ),
    )
