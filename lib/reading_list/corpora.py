"""Appendix C of the survey: what each model was pretrained on, and on which data it was evaluated.

Two tables under ``data/literature``, ``corpora.csv`` (C.1) and ``evaluation_sets.csv`` (C.2). Names of
data are unified where they are the same set; ``group`` is ours, by what the name says.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from reading_list import csv_rows, survey
from reading_list.records import Text

Group = Literal[
    "pancreas", "blood and immune cells", "perturbation screens", "heart and vessels", "lung", "liver",
    "brain", "cancer and drugs", "whole-body atlases", "gene sets", "other tissues",
]  # fmt: skip


class Corpus(BaseModel):
    """One row of ``corpora.csv``: the pretraining data of a model and the databases it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    corpus: Text
    sources: Annotated[tuple[Text, ...], BeforeValidator(lambda cell: cell.split("; "))] = ()


class EvaluationSet(BaseModel):
    """One row of ``evaluation_sets.csv``: a model and data on which it was evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    dataset: Text
    group: Group


def of_models() -> dict[str, Corpus]:
    """Pretraining data by model of the survey; errors as :func:`reading_list.survey.models`."""
    registered, result = survey.models(), {}
    for where, row in csv_rows.read("corpora", Corpus):
        csv_rows.find(where, registered, row.model, "model of the survey")
        csv_rows.require_new(where, result, row.model)
        result[row.model] = row
    return result


def evaluation_sets() -> list[EvaluationSet]:
    """Every pair of a model and a data set; errors as :func:`reading_list.survey.models`."""
    registered, result = survey.models(), {}
    for where, row in csv_rows.read("evaluation_sets", EvaluationSet):
        csv_rows.find(where, registered, row.model, "model of the survey")
        csv_rows.require_new(where, result, (row.model, row.dataset))
        result[row.model, row.dataset] = row
    return list(result.values())
