"""Entries of the registries as frozen records: data sets, models, studies, published numbers.

Unknown fields are rejected, so that a typing error in a card never turns into a silent default.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WrapSerializer,
    field_validator,
    model_validator,
)

# Cards are shared by the whole process: a mapping inside one must be as immutable as the card.
_read_only = AfterValidator(MappingProxyType)
_as_dict = WrapSerializer(lambda mapping, serialize: serialize(dict(mapping)))  # pydantic knows no proxies
Parameters = Annotated[Mapping[str, Any], _read_only, _as_dict]


class Card(BaseModel):
    """Base of every entry: immutable, no field beyond the declared ones."""

    nested: ClassVar[Mapping[str, type[BaseModel]]] = {}  # fields whose values are records of their own
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")


class CitedCard(Card):
    """An entry that names the works to cite for it."""

    citation: str | None = None  # keys that zeroshot.book.citations knows, with commas between them

    @property
    def cited(self) -> tuple[str, ...]:
        """The keys one by one."""
        return tuple(key.strip() for key in self.citation.split(",")) if self.citation else ()


class SourceFile(BaseModel):
    """One published file: where it is and how it is recognised."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    url: str
    size: int | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")


class DatasetCard(CitedCard):
    """One data set of ``data/datasets.yml``."""

    title: str
    description: str
    organism: str
    tissue: str
    source: Literal["builtin", "simulate", "files"]
    files: tuple[SourceFile, ...] = ()
    licence: str
    label_key: str
    batch_key: str | None = None
    counts: str = "X"
    gene_names: Literal["symbol", "Ensembl"] = "symbol"
    prepare: str | None = None
    parameters: Parameters = {}
    cells: int | None = None
    genes: int | None = None
    labels: int | None = None
    batches: int | None = None
    verified: bool = True
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _files_match_source(self) -> "DatasetCard":
        if (self.source == "files") != bool(self.files):
            raise ValueError("`files` go with `source: files`, and with nothing else")
        if self.verified and any(not (f.sha256 or f.md5) for f in self.files):
            raise ValueError("a verified data set needs sha256 or md5 for each file")
        if self.source != "files" and self.prepare is None:
            raise ValueError(f"`source: {self.source}` needs a `prepare` step")
        return self


class Recipe(BaseModel):
    """A published convention for the same model: parameters and where they come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    source: str
    parameters: Parameters = {}


class WeightsFile(BaseModel):
    """One file of a released model: where it stands in its source and how it is recognised."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class WeightsSource(BaseModel):
    """Where the released files of a model are: a hub repository, a Drive folder, or one address a file.

    A hub repository may have the authors' Drive folder beside it, for places that cannot reach the hub.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    drive: str | None = Field(default=None, pattern=r"^[\w-]+$")  # id of the folder
    package: str | None = None  # an installed distribution that carries the same files
    files: Annotated[Mapping[str, WeightsFile], _read_only, _as_dict]

    @model_validator(mode="after")
    def _sources_agree(self) -> "WeightsSource":
        addressed = [file.url is not None for file in self.files.values()]
        listed = self.hub is not None or self.drive is not None
        if any(addressed) if listed else not all(addressed):
            raise ValueError("files come from `hub` or `drive`, or each from its `url`, not from both")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("`hub` goes with a pinned `revision`")
        if "weights" not in self.files or "config" not in self.files:
            raise ValueError("`files` must name at least `config` and `weights`")
        if self.package and not all(file.sha256 for file in self.files.values()):
            raise ValueError("`package` is trusted by hash alone: each file needs its sha256")
        return self


# Whether cells of a data set were in a model's training data: all, some, none, or nobody has said.
Seen = Literal["seen", "partly", "unseen", "unknown"]


class Pretraining(BaseModel):
    """What a model saw before, and what is known of each data set's part in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    corpora: tuple[str, ...]
    cells: bool = True  # False where it read no counts, but texts
    datasets: Annotated[Mapping[str, Seen], _read_only, _as_dict] = Field(
        default_factory=lambda: MappingProxyType({})
    )
    other_datasets: Literal["unseen", "unknown"] = "unknown"
    source: str


class ModelCard(CitedCard):
    """One model of ``data/models.yml``."""

    title: str
    kind: Literal["baseline", "control", "foundation"]
    implementation: str | None = Field(default=None, pattern=r"^[a-z_]+:[A-Za-z]+$")
    description: str
    licence: str
    family: str | None = None
    weights: WeightsSource | None = None
    weights_licence: str | None = None
    architecture: Parameters | None = None  # of a model that is run untrained
    twin_of: str | None = None  # the trained model whose architecture it has
    organism: str | None = None
    gene_ids: Literal["symbol", "Ensembl"] | None = None
    max_tokens: int | None = Field(default=None, gt=0)
    layers: int | None = Field(default=None, gt=0)
    dim: int | None = Field(default=None, gt=0)
    parameter_count: int | None = Field(default=None, gt=0)
    pretrained_on: Pretraining | None = None
    verified: str | None = None  # what has been run, in words
    uses: tuple[Literal["batch", "label"], ...] = ()
    min_batches: int = Field(default=1, ge=1)
    trained_on_target: bool
    seeded: bool = False  # another seed gives another embedding
    recipe: str
    recipes: Annotated[Mapping[str, Recipe], _read_only, _as_dict]
    version: int = 1

    def method(self, recipe: str) -> str:
        """Title of the model under a recipe: "PCA", or "scVI (short)" where it is not the default."""
        return self.title if recipe == self.recipe else f"{self.title} ({recipe})"

    @model_validator(mode="after")
    def _default_recipe_exists(self) -> "ModelCard":
        if self.recipe not in self.recipes:
            raise ValueError(f"default recipe {self.recipe!r} is not among recipes {sorted(self.recipes)}")
        if "label" in self.uses and self.kind != "control":
            raise ValueError("only a control may see labels")
        if self.kind == "foundation":
            needed = ("family", "weights", "weights_licence", "organism", "gene_ids", "max_tokens", "layers",
                      "dim", "pretrained_on", "verified")  # fmt: skip
            absent = [field for field in needed if getattr(self, field) is None]
            if absent:
                raise ValueError(f"a foundation model's card must say {', '.join(absent)}")
        if (self.architecture is None) != (self.twin_of is None):
            raise ValueError("`architecture` and `twin_of` go together: an untrained twin has both")
        if ("label" in self.uses) != (self.implementation is None):
            raise ValueError("every model has an `implementation`, except the control made from the labels")
        return self


class StudyCard(Card):
    """One study of ``data/studies.yml``: a grid of data sets and models, and the chapters to build."""

    title: str
    description: str
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    chapters: tuple[str, ...]
    seed: int = 0
    seeds: int = Field(default=3, ge=1)  # under how many a model is scored whose embedding depends on it
    subset: int | None = Field(default=None, gt=1)
    reconstruction_cells: int = Field(default=24, ge=2)  # of each data set, for the pretraining objective
    variant_cells: int = Field(default=200, ge=20)  # of each data set, where variants of a model are compared
    variant_tokens: int | None = Field(default=None, ge=16)  # most of a cell there; None for the model's own
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @field_validator("datasets", "models", "chapters")
    @classmethod
    def _no_repeats(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"listed twice: {', '.join(repeated)}")
        return names


# The statistic of a number over several data sets.
MEDIAN_OVER_DATASETS = "median over data sets"


class PublishedNumber(Card):
    """One number of ``data/published.yml``, and the conditions under which it was computed.

    What is not in a registry of this project (a data set, a model, a metric) has a title instead.
    """

    value: float = Field(allow_inf_nan=False)
    dataset: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    dataset_title: str | None = None
    over: tuple[str, ...] = ()  # data sets of a median
    model: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    model_title: str | None = None
    recipe: str
    metric: str = Field(pattern=r"^[a-z]+(_[a-z]+)*$")
    metric_title: str | None = None
    statistic: Literal[
        "value", "median over data sets", "mean over positions", "mean over cells", "std over cells",
        "lowest over cells", "lower quartile over cells", "median over cells", "upper quartile over cells",
        "highest over cells",
    ]  # fmt: skip
    cells: str  # on which the number was computed
    batch_key: str | None = None
    tolerance: float = Field(gt=0, allow_inf_nan=False)
    source: str  # a key that zeroshot.book.citations knows
    where: str  # in the source
    caveat: str | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that the number needs."""
        return self.over or (self.dataset,)

    @model_validator(mode="after")
    def _median_says_over_what(self) -> "PublishedNumber":
        if bool(self.over) != (self.statistic == MEDIAN_OVER_DATASETS):
            raise ValueError(f"`over` goes with `statistic: {MEDIAN_OVER_DATASETS}`, and with nothing else")
        return self
