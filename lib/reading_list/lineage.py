"""Which models descend from which, as far as the tables say: branches by tokens, years, and stated descent.

A model of the survey stands on the branch of its tokens. A model that the survey does not have is here only
if its entry says from which one it descends (``supersedes`` or ``builds_on``), and stands on the branch of
that one. No descent is read from likeness: without an entry that states it, there is none.
"""

from dataclasses import dataclass

from reading_list import entries, survey
from reading_list.records import Paper
from zeroshot import catalog
from zeroshot.catalog import ModelCard

TRUNKS = {"PLM": "pretrained on cells", "LLM": "language models that read cells as text"}
WITHOUT_TOKENS = "no tokens of its own"


@dataclass(frozen=True)
class Descent:
    """A stated descent: from which model of the tree, what was taken of it, and who says so."""

    parent: str
    takes: str  # "supersedes", or a word of records.Descent
    source: str


@dataclass(frozen=True)
class Node:
    """A model in the tree."""

    name: str
    trunk: str  # a title of TRUNKS
    branch: str  # the first word of its tokens
    year: int  # the earliest that the list or the survey knows
    paper: str | None  # entry of the reading list
    base_model: str | None  # the language model that it uses, where it does
    descents: tuple[Descent, ...]
    cards: tuple[ModelCard, ...]  # of this project, those with trained weights

    @property
    def here(self) -> bool:
        """Whether this book has trained weights of it."""
        return bool(self.cards)


def nodes() -> list[Node]:
    """All models of the tree, branch by branch, within a branch by year.

    Trunks and branches come in the order in which the survey first names them.
    """
    papers, models = entries.load(), survey.models()
    names = {model.paper: model.name for model in models.values() if model.paper}
    places = {
        model.name: (TRUNKS[model.model_type], model.tokens[0] if model.tokens else WITHOUT_TOKENS)
        for model in models.values()
    }
    result = [_node_of_survey(model, places[model.name], papers, names) for model in models.values()]
    waiting = [p for p in papers.values() if p.kind == "model" and p.name not in names and _parents(p)]
    while ready := [paper for paper in waiting if set(_parents(paper)) & set(names)]:
        for paper in ready:
            name = paper.short_name or paper.name
            parent = next(parent for parent in _parents(paper) if parent in names)
            names[paper.name], places[name] = name, places[names[parent]]
            result.append(_node(name, places[name], paper.first_year, paper, None, names))
        waiting = [paper for paper in waiting if paper not in ready]
    order = list(dict.fromkeys(places.values()))
    return sorted(result, key=lambda node: (order.index((node.trunk, node.branch)), node.year))


def _node_of_survey(
    model: survey.SurveyModel, place: tuple[str, str], papers: dict[str, Paper], names: dict[str, str]
) -> Node:
    paper = papers.get(model.paper or "")
    year = min(model.year, paper.first_year) if paper else model.year
    return _node(model.name, place, year, paper, model.base_model, names)


def _node(
    name: str,
    place: tuple[str, str],
    year: int,
    paper: Paper | None,
    base_model: str | None,
    names: dict[str, str],
) -> Node:
    parents = _parents(paper) if paper else {}
    descents = tuple(Descent(names[parent], *facts) for parent, facts in parents.items() if parent in names)
    cards = tuple(
        card for card in catalog.models().values() if card.weights and paper and paper.name in card.cited
    )
    return Node(name, *place, year, paper.name if paper else None, base_model, descents, cards)


def _parents(paper: Paper) -> dict[str, tuple[str, str]]:
    """Entries from which a paper descends: what was taken of each, and the source of that."""
    newer = {paper.supersedes: ("supersedes", "its entry in the list")} if paper.supersedes else {}
    return newer | {descent.paper: (descent.takes, descent.source) for descent in paper.builds_on}
