"""What is recorded of each model of the list: facts, each with its source.

A fact stands in one place. The card of a model of this project says what it says; the entry in the reading
list has tokens, objective and code; the survey's tables have tasks and corpora; everything else is a row of
``data/literature/model_facts.csv``. A row there that repeats another place is refused, and a fact that
nobody states is absent: nothing is guessed.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from reading_list import corpora, csv_rows, entries, survey
from reading_list.records import Address, Paper, Text
from zeroshot import catalog
from zeroshot.catalog import CatalogError, ModelCard, OtherModel
from zeroshot.runtime import escaping

Name = Literal[
    "input embedding", "architecture", "objective", "parameters", "corpus", "corpus size", "organisms",
    "tasks", "zero shot", "code", "licence of code", "weights", "licence of weights",
]  # fmt: skip
Use = Literal["permitted", "not permitted", "not stated"]
NAMES: tuple[Name, ...] = get_args(Name)
# Facts that are lists of words, written with "; " between them.
LISTS = ("input embedding", "objective", "corpus", "organisms", "tasks")


class Row(BaseModel):
    """One row of ``model_facts.csv``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    paper: str  # entry of the reading list
    fact: Name
    value: Text
    source: Text

    @model_validator(mode="after")
    def _value_fits_the_fact(self) -> "Row":
        if self.fact == "code" and not escaping.is_web_address(self.value):
            raise ValueError(f"`code` is {self.value!r}; write the address of the repository")
        if self.fact == "zero shot" and self.value != "yes":
            raise ValueError("`zero shot` is `yes`, or the row is left out: nobody can state the opposite")
        return self


@dataclass(frozen=True)
class Fact:
    """A value and who states it; an address where it has one."""

    value: str
    source: str
    url: Address | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The value word by word, where it is a list."""
        return tuple(self.value.split("; "))


def of_models() -> dict[str, dict[Name, Fact]]:
    """Facts of every model of the list, by the name of its entry; one without facts has none.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If a row names no model of the list, or repeats what another place says, with file and line.
    """
    models = {name: paper for name, paper in entries.load().items() if paper.kind == "model"}
    stated = {name: _stated_elsewhere(paper) for name, paper in models.items()}
    added: dict[str, dict[Name, Fact]] = defaultdict(dict)
    for where, row in csv_rows.read("model_facts", Row):
        csv_rows.find(where, models, row.paper, "model of the reading list")
        elsewhere = stated[row.paper].get(row.fact) or added[row.paper].get(row.fact)
        if elsewhere:
            raise CatalogError(
                f"{where}: `{row.fact}` of {row.paper} is {elsewhere.value!r} already, by "
                f"{elsewhere.source}; correct it there, and leave out this row"
            )
        address = row.value.split(" ")[0]  # what it takes to get there may follow
        url = address if escaping.is_web_address(address) else None
        added[row.paper][row.fact] = Fact(row.value, row.source, url)
    return {name: _in_order(stated[name] | added.get(name, {})) for name in models}


def cards(paper: Paper) -> list[ModelCard]:
    """Cards of this project with trained weights of a paper's model."""
    foundation = [card for card in catalog.models().values() if card.weights and card.kind == "foundation"]
    return [c for c in foundation if paper.name in {key.removesuffix("-preprint") for key in c.cited}]


def cards_of_others(paper: Paper) -> list[OtherModel]:
    """Cards of a paper's model where it cannot be run here: they say why."""
    return [card for card in catalog.other_models().values() if paper.name in card.cited]


def use_of_weights(of_model: dict[Name, Fact]) -> Use | None:
    """What the licence of a model's weights says of commercial use, None for one without known weights."""
    if "weights" not in of_model:
        return None
    licence = of_model.get("licence of weights")
    return commercial_use(licence.value) if licence else "not stated"


def commercial_use(licence: str) -> Use:
    """What the name of a licence says of commercial use; a licence has to be read all the same.

    >>> commercial_use("Apache-2.0"), commercial_use("CC BY-NC-ND 4.0"), commercial_use("no licence file")
    ('permitted', 'not permitted', 'not stated')
    """
    if re.search(r"\bNC\b|non-commercial|research use only", licence, re.IGNORECASE):
        return "not permitted"
    if re.match(r"(MIT|Apache-2\.0|BSD-[23]-Clause|GPL-3\.0|CC BY 4\.0)(\s*[(,]|$)", licence):
        return "permitted"
    return "not stated"


def _in_order(facts: dict[Name, Fact]) -> dict[Name, Fact]:
    return {name: facts[name] for name in NAMES if name in facts}


def _stated_elsewhere(paper: Paper) -> dict[Name, Fact]:
    """Facts of the cards, or else of the survey, or else of the entry itself."""
    facts = _of_entry(paper)
    for model in survey.models().values():
        if model.paper == paper.name:
            facts |= _of_survey(model)
    return facts | _of_cards(cards(paper))


def _of_entry(paper: Paper) -> dict[Name, Fact]:
    values = {"input embedding": "; ".join(paper.tokenisation), "objective": "; ".join(paper.objective)}
    facts: dict[Name, Fact] = {
        name: Fact(value, "the reading list") for name, value in values.items() if value
    }
    return facts | ({"code": Fact(paper.code, "the reading list", paper.code)} if paper.code else {})


def _of_survey(model: survey.SurveyModel) -> dict[Name, Fact]:
    facts: dict[Name, Fact] = {}
    if tasks := [mark.task for mark in survey.tasks() if mark.model == model.name and mark.in_table]:
        facts["tasks"] = Fact("; ".join(tasks), "the survey, tables 3 and 4")
    if corpus := corpora.of_models().get(model.name):
        facts["corpus"] = Fact(
            "; ".join(dict.fromkeys((corpus.corpus, *corpus.sources))), "the survey, appendix C.1"
        )
    if model.size_millions:
        facts["corpus size"] = Fact(
            f"{model.size_millions:g} million {model.size_unit}", "the survey, table 1"
        )
    if model.base_model:
        facts["architecture"] = Fact(model.base_model, "the survey, table 2")
    return facts


def _of_cards(of_paper: list[ModelCard]) -> dict[Name, Fact]:
    """What the cards of a paper say; where they differ, everything they say.

    Cards whose weights are not those that the authors use say nothing of the authors' weights.
    """
    values: dict[Name, str | None] = {
        "organisms": "; ".join(dict.fromkeys(card.organism.replace(" and ", "; ") for card in of_paper)),
        "licence of code": "; ".join(dict.fromkeys(card.licence for card in of_paper)),
    }
    place = None
    if own := [card for card in of_paper if card.authors_encoder is None]:
        source = own[0].weights
        place = f"https://huggingface.co/{source.hub}" if source.hub else source.page
        counts = sorted({card.parameter_count for card in own if card.parameter_count})
        millions = ", ".join(f"{count / 1e6:.0f}" for count in counts)
        values |= {
            "parameters": f"{millions} million" if counts else None,
            "corpus": "; ".join(dict.fromkeys(c for card in own for c in card.pretrained_on.corpora)),
            "weights": place or "folder of the authors",
            "licence of weights": "; ".join(dict.fromkeys(card.weights_licence for card in own)),
        }
    return {
        name: Fact(value, "its card here", place if name == "weights" else None)
        for name, value in values.items()
        if value
    }
