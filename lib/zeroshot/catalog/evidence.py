"""Entries of ``data/evidence``: the sources of published scores, and one name for each method and metric."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from zeroshot.catalog.fields import Address, FileName, Line, Record, Sha256, Size, as_dict, read_only
from zeroshot.catalog.records import Card, CitedCard

Area = Literal[
    "clustering", "batch mixing", "annotation", "gene-level", "perturbation", "patient-level",
    "pretraining objective", "overall", "reference", "cost",
]  # fmt: skip
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
# Names of files and of the column `source`, as the tables have them.
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", max_length=100)]


class EvidenceTable(Record):
    """The table of a source in ``data/evidence``, and how it is recognised."""

    name: FileName
    sha256: Sha256
    rows: Size


class EvidenceFile(Record):
    """A file of the source from which the table was made; ``commit`` where it is not that of the entry."""

    path: Line
    sha256: Sha256
    commit: Commit | None = None
    licence: Line | None = None
    note: Line | None = None


class EvidenceSource(CitedCard):
    """One source of ``data/evidence/sources.yml``: who measured what, under which terms, and how well."""

    name: SourceName
    title: Line
    repository: Address
    commit: Commit | None = None
    table: EvidenceTable
    licence: Line
    licence_basis: Line
    taken: Literal["table", "values"]  # the table as published, or measured values as facts
    grade: Literal["A", "B", "C", "D"]
    reason: Line
    measured: Line
    replicates: Line
    unit: Line = "data set"  # what a name in the column `dataset` stands for
    compared_with: tuple[SourceName, ...] = ()  # sources whose baselines were scored in the same way
    repeats: tuple[Line, ...] = ()  # models whose values it took over from another source
    latest: Line | None = None  # the replicate to compare where replicates are successive runs of a benchmark
    faults: tuple[Line, ...] = ()
    leakage: Line
    areas: Annotated[Mapping[str, Area], read_only, as_dict]  # of each task, up to a "|" in its name
    files: tuple[EvidenceFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _table_has_the_name_of_the_entry(self) -> "EvidenceSource":
        if self.table.name not in (f"{self.name}.csv", f"{self.name}.csv.gz"):
            raise ValueError(f"the table must be called {self.name}.csv or {self.name}.csv.gz")
        return self

    @model_validator(mode="after")
    def _only_open_tables_are_copied(self) -> "EvidenceSource":
        if self.taken == "table" and self.licence.startswith(("GPL", "AGPL", "none")):
            raise ValueError(
                f"with the licence {self.licence!r} only measured values are taken: `taken: values`"
            )
        return self


class EvidenceMethod(Card):
    """One method of ``data/evidence/methods.yml``, with all that sources call it."""

    title: Line
    kind: Literal["foundation", "text", "baseline", "control", "other"]
    bound: Literal["lower", "upper"] | None = None  # the end of a scale that a control marks
    sees_labels: bool = False  # fitted with the labels that it is scored by
    models: tuple[Line, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _only_controls_mark_an_end(self) -> "EvidenceMethod":
        if self.bound and self.kind != "control":
            raise ValueError("`bound` goes with `kind: control`")
        return self


class EvidenceMeasure(Card):
    """One metric of ``data/evidence/measures.yml``, with all that sources call it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", max_length=100)]
    title: Line
    area: Area | None = None  # None if the task of a row says it
    higher_is_better: bool
    headline: bool = False  # the mean of these stands for their area
    metrics: tuple[Line, ...] = Field(min_length=1)

    @field_validator("metrics")
    @classmethod
    def _without_variants(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if with_variant := [name for name in names if "|" in name]:
            raise ValueError(f"name the metric up to its '|' only: {', '.join(with_variant)}")
        return names
