"""Entries of ``data/claims.yml`` and ``data/claim_sources.yml``: what a paper states, whose numbers test it.

A predicate is data: names of metrics, models and data sets in a few fixed forms, which
:mod:`zeroshot.results.claims` evaluates. Nothing in it is executed.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from zeroshot.catalog.evidence import SourceName
from zeroshot.catalog.fields import Line, Record, as_dict, read_only
from zeroshot.catalog.records import Card

# Who states a claim: the preprint of the paper, or what Genome Biology published.
Version = Literal["preprint", "publication"]
Topic = Literal["cell types", "pretraining", "batches", "reconstruction", "conclusion"]
Relation = Literal["higher", "lower", "tied", "not higher", "not lower"]
Over = Literal["every data set", "all but one", "most data sets", "median"]
Position = Literal["first", "second", "last"]
# A name, or a list of names, each of which must fulfil the relation.
Names = Annotated[
    tuple[Line, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1),
]
_texts = Field(default_factory=lambda: MappingProxyType({}))


class _OverDatasets(Record):
    """What forms of predicates over data sets share."""

    metric: Line
    statistic: Line = "value"
    over: Over
    datasets: tuple[Line, ...] = ()  # all of a source if left out
    tie: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # differences up to it are ties


class Compare(_OverDatasets):
    """Each of some models against each of others: HVG is higher than Geneformer on every data set.

    ``right_metric`` compares two metrics instead, of the same model where ``right`` is left out. ``at_most``
    bounds the difference, as a share of the right side.
    """

    left: Names
    relation: Relation
    right: Names = ()
    right_metric: Line | None = None
    at_most: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _same_models(cls, fields: Mapping) -> Mapping:
        if isinstance(fields, Mapping) and "right" not in fields:
            if "right_metric" not in fields:
                raise ValueError("give `right`, the models to compare with, or `right_metric`")
            return {**fields, "right": fields.get("left")}
        return fields


class Place(_OverDatasets):
    """The place of a model among others by the value of a metric, the highest first."""

    model: Line
    among: tuple[Line, ...] = Field(min_length=2)
    place: Position

    @model_validator(mode="after")
    def _is_among_them(self) -> "Place":
        if self.model not in self.among:
            raise ValueError(f"`among` must name {self.model} too")
        return self


class Value(Record):
    """A number of the text: the value of a metric on a data set, or its median over some."""

    metric: Line
    statistic: Line = "value"
    model: Line
    dataset: Line | None = None
    datasets: tuple[Line, ...] = ()  # of a median, which needs all of them
    equals: float = Field(allow_inf_nan=False)
    within: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _on_one_or_over_some(self) -> "Value":
        if (self.dataset is None) != bool(self.datasets):
            raise ValueError("give `dataset`, or in `datasets` those of a median")
        return self


class Widest(Record):
    """The model whose metric differs most between data sets (highest minus lowest), among some."""

    metric: Line
    model: Line
    among: tuple[Line, ...] = Field(min_length=2)
    datasets: tuple[Line, ...] = ()


class Predicate(Record):
    """Exactly one form; of ``all`` each must hold."""

    compare: Compare | None = None
    place: Place | None = None
    value: Value | None = None
    widest: Widest | None = None
    all: tuple["Predicate", ...] = ()

    @model_validator(mode="after")
    def _one_form(self) -> "Predicate":
        forms = [name for name in type(self).model_fields if getattr(self, name)]
        if len(forms) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def parts(self) -> tuple["Predicate", ...]:
        """The predicates that it is made of, itself if it is a single one."""
        return tuple(part for of in self.all for part in of.parts) or (self,)

    @property
    def form(self) -> Compare | Place | Value | Widest:
        """The single form of a predicate that is not made of others."""
        return self.compare or self.place or self.value or self.widest


class Claim(Card):
    """One sentence of the paper's results, in our words.

    Attributes
    ----------
    stated
        Which versions state it, each with its place.
    predicate
        The sentence over tidy scores; None with a reason in ``untestable``.
    opposed_by
        The claim of the other version that says otherwise.
    """

    statement: Line
    topic: Topic
    stated: Annotated[Mapping[Version, Line], read_only, as_dict] = Field(min_length=1)
    predicate: Predicate | None = None
    untestable: Line | None = None
    opposed_by: Line | None = None
    note: Line | None = None

    @model_validator(mode="after")
    def _predicate_or_reason(self) -> "Claim":
        if (self.predicate is None) == (self.untestable is None):
            raise ValueError("give a `predicate`, or in `untestable` the reason why there is none")
        return self


class ClaimSource(Card):
    """Whose numbers test the claims: published numbers, a source of evidence, or both.

    Attributes
    ----------
    published
        Sources of entries of ``data/published.yml``.
    evidence
        A source of ``data/evidence/sources.yml``; of successive runs the latest counts.
    datasets, models, metrics
        Names there, with ours; other models and metrics are left out, other data sets keep their names.
    from_minus_one
        Metrics that it gives from -1 to 1 and we from 0 to 1.
    about
        Data sets that its statements are about: a statement on every one of them needs all.
    version
        The version of the paper that it is.
    """

    title: Line
    description: Line
    published: tuple[Line, ...] = ()
    evidence: SourceName | None = None
    datasets: Annotated[Mapping[str, Line], read_only, as_dict] = _texts
    models: Annotated[Mapping[str, Line], read_only, as_dict] = _texts
    metrics: Annotated[Mapping[str, Line], read_only, as_dict] = _texts
    from_minus_one: tuple[Line, ...] = ()
    about: tuple[Line, ...] = ()
    version: Version | None = None

    @model_validator(mode="after")
    def _has_numbers(self) -> "ClaimSource":
        if not self.published and self.evidence is None:
            raise ValueError("give `published`, `evidence` or both")
        if self.evidence is not None and not (self.models and self.metrics):
            raise ValueError("`evidence` needs `models` and `metrics`")
        return self
