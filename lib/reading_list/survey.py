"""22 models as a survey describes them: how they read cells, their training, the tasks of their evaluation.

Three tables under ``data/literature``: ``survey_models.csv``, ``survey_tasks.csv`` and ``taxonomy.csv``.
They are checked when they are read: closed lists of words, and every model, paper and card they name exists.

Source
------
"A survey on foundation language models for single-cell biology", the entry :data:`PAPER` of the reading
list: its tables 1 to 4, the tree of its figure 1, and what its text says of the marks of table 3.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from reading_list import csv_rows, entries
from reading_list.records import Text, Tokenisation, Year
from zeroshot import catalog
from zeroshot.catalog import CatalogError, ModelCard

PAPER = "foundation-language-model-survey"

Paradigm = Literal[
    "masked language modelling", "next token prediction", "multi-task",
    "instruction tuning", "embedding-based", "tuning-free",
]  # fmt: skip
Unit = Literal["cells", "scRNA-seq profiles", "transcriptomes", "pairs of cell and text"]
# A mark stands in the table (`in_table`) or not; the verdict is what the survey's text says of it.
Verdict = Literal["not compared", "supported", "text only", "table only", "contradicted"]
DISAGREE = ("text only", "table only", "contradicted")


def _split(cell: str | None) -> list[str]:
    return cell.split("; ") if cell else []


class SurveyModel(BaseModel):
    """One row of ``survey_models.csv``: a model as the survey describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Text
    model_type: Literal["PLM", "LLM"]  # pretrained on cells, or a language model that reads cells as text
    year: Year  # of the version that the survey cites, often a preprint
    tokens: Annotated[tuple[Tokenisation, ...], BeforeValidator(_split)] = ()
    paradigm: Paradigm  # of pretraining for a PLM, of tuning for an LLM
    size_millions: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # pretraining data
    size_unit: Unit | None = None
    base_model: Text | None = None
    paper: str | None = None  # entry of the reading list
    card: str | None = None  # family in the catalog of models, of those that cannot be run too

    @model_validator(mode="after")
    def _facts_fit_the_type(self) -> "SurveyModel":
        pretrained = (self.size_millions is not None, self.size_unit is not None, self.base_model is None)
        if set(pretrained) != {self.model_type == "PLM"}:
            raise ValueError("a PLM has `size_millions` and `size_unit`, an LLM has `base_model` instead")
        return self


class Mark(BaseModel):
    """One row of ``survey_tasks.csv``: a model and a task that the survey's tables or its text connect."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    task: Text
    level: Literal["cell", "gene", "drug", "spatial", "other"]
    table: Literal["3", "4"]
    in_table: bool
    verdict: Verdict = "not compared"
    note: Text | None = None  # what the text says, where it was compared

    @model_validator(mode="after")
    def _verdict_fits_the_mark(self) -> "Mark":
        if self.in_table == (self.verdict == "text only"):
            raise ValueError("`text only` is the verdict where `in_table` is no, and nowhere else")
        if (self.note is None) != (self.verdict == "not compared"):
            raise ValueError("`verdict` and `note` go together")
        return self


class Leaf(BaseModel):
    """One row of ``taxonomy.csv``: a place in the survey's tree and a model that stands there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    level1: Text
    level2: Text
    level3: Text
    model: str


def models() -> dict[str, SurveyModel]:
    """Models by name, in the order of the survey's tables 1 and 2.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the file is not valid, with file, line and field in the message.
    """
    papers = entries.load()
    cards_of_all = (catalog.models() | catalog.other_models()).values()
    families = {card.family: card for card in cards_of_all if card.family}
    result: dict[str, SurveyModel] = {}
    for where, row in csv_rows.read("survey_models", SurveyModel):
        csv_rows.require_new(where, result, row.name)
        if row.paper:
            csv_rows.find(where, papers, row.paper, "paper")
        if row.card:
            csv_rows.find(where, families, row.card, "family of models")
        result[row.name] = row
    return result


def tasks() -> list[Mark]:
    """Marks of the survey's tables 3 and 4, and pairs that only its text names; errors as :func:`models`."""
    registered, marks, levels = models(), {}, {}
    for where, row in csv_rows.read("survey_tasks", Mark):
        csv_rows.find(where, registered, row.model, "model of the survey")
        csv_rows.require_new(where, marks, (row.model, row.task))
        if levels.setdefault(row.task, (row.level, row.table)) != (row.level, row.table):
            raise CatalogError(f"{where}: {row.task} has another level or table in a row above")
        marks[row.model, row.task] = row
    return list(marks.values())


def taxonomy() -> list[Leaf]:
    """Leaves of the survey's tree, in its order; errors as :func:`models`."""
    registered, leaves = models(), {}
    for where, row in csv_rows.read("taxonomy", Leaf):
        csv_rows.find(where, registered, row.model, "model of the survey")
        csv_rows.require_new(where, leaves, tuple(dict(row).values()))
        leaves[tuple(dict(row).values())] = row
    return list(leaves.values())


def cards(model: SurveyModel) -> list[ModelCard]:
    """Cards of this project's models of the same family, untrained twins included; empty if none runs."""
    return [card for card in catalog.models().values() if model.card and card.family == model.card]


def families_in_book() -> list[dict[str, str]]:
    """The survey's models that this project has, a row per family: checkpoints, recipes, licence, studies.

    Studies with trained weights of the family and studies with an untrained twin are separate columns. Not
    every machine can run all that a study names.
    """
    return [_family_in_book(model) for model in models().values() if cards(model)]


def _family_in_book(model: SurveyModel) -> dict[str, str]:
    trained = [card for card in cards(model) if card.weights]
    twins = [card for card in cards(model) if card.twin_of]
    facts = {
        "checkpoints": [card.title for card in trained],
        "recipes": [recipe for card in trained for recipe in card.recipes],
        "licence of weights": [card.weights_licence for card in trained],
        "trained weights in studies": _studies_with(trained),
        "untrained twin in studies": _studies_with(twins),
    }
    cells = {column: "; ".join(dict.fromkeys(words)) for column, words in facts.items()}
    return {"model": model.name} | cells


def _studies_with(of_family: list[ModelCard]) -> list[str]:
    names = {card.name for card in of_family}
    return [
        name
        for name, study in catalog.studies().items()
        if names & {catalog.split_reference(reference)[0].name for reference in study.models}
    ]
