"""The registries under ``data/``: data sets, models and studies, read into frozen records.

Unknown fields are rejected and names that do not exist are answered with the nearest one, so
that a typing error in a card never turns into a silent default.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from zeroshot.catalog import citations
from zeroshot.catalog.cell_types import CellType, mapping_problem, types_of_label
from zeroshot.catalog.corpora import Corpus
from zeroshot.catalog.evidence import EvidenceSource
from zeroshot.catalog.fields import Parameters, address_problem
from zeroshot.catalog.gene_symbols import SYMBOLS, approved_symbols
from zeroshot.catalog.gene_tables import GeneTable, gene_tables, read_gene_table
from zeroshot.catalog.ladders import Ladder, LadderNetwork
from zeroshot.catalog.names import CatalogError, did_you_mean, find
from zeroshot.catalog.parameters import RANGES, require_types
from zeroshot.catalog.records import (
    MEDIAN_OVER_DATASETS,
    Card,
    CitedCard,
    CorpusSource,
    DatasetCard,
    ModelCard,
    OtherModel,
    Pretraining,
    PublishedNumber,
    Recipe,
    Seen,
    SourceFile,
    StudyCard,
    WeightsFile,
    WeightsSource,
)
from zeroshot.catalog.yaml_files import checked_once, read
from zeroshot.runtime import paths

# The notebook behind the page of each run: no chapter.
RUN_PAGE = "run"
CitingCard = TypeVar("CitingCard", DatasetCard, ModelCard, OtherModel, PublishedNumber, EvidenceSource)

__all__ = [
    "MEDIAN_OVER_DATASETS", "RANGES", "RUN_PAGE", "SYMBOLS", "Card", "CatalogError", "CellType", "CitedCard",
    "Corpus", "CorpusSource", "DatasetCard", "GeneTable", "Ladder", "LadderNetwork", "ModelCard",
    "OtherModel", "Parameters", "Pretraining", "PublishedNumber", "Recipe", "Seen", "SourceFile", "StudyCard",
    "WeightsFile", "WeightsSource", "address_problem", "approved_symbols", "cell_types", "corpora", "corpus",
    "corpus_sources", "dataset", "datasets", "did_you_mean", "family_anchor", "find", "gene_tables",
    "ladder", "ladders", "loadable", "model", "models", "other_models", "read", "read_gene_table",
    "require_types", "seen_in_pretraining", "sources_of", "split_reference", "studies", "study",
    "with_known_citations",
]  # fmt: skip


@checked_once
def datasets() -> dict[str, DatasetCard]:
    """All data sets by name, in the order of the file; works and data sets that they name must exist."""
    cards = with_known_citations("datasets", read("datasets", DatasetCard))
    _check_left_out("datasets", cards, cards)
    return cards


@checked_once
def corpus_sources() -> dict[str, CorpusSource]:
    """Unlabelled cells to pretrain on, by name, in the order of the file; none has the name of a data set."""
    cards, labelled = with_known_citations("corpus_sources", read("corpus_sources", CorpusSource)), datasets()
    for card in cards.values():
        if card.name in labelled:
            with _entry("corpus_sources", card):
                raise CatalogError("data/datasets.yml has an entry of this name; remove one of them")
    _check_left_out("corpus_sources", cards, labelled | cards)
    return cards


def loadable(name: str) -> DatasetCard | None:
    """What can be loaded under a name: a data set, else a source of corpora, else None."""
    return datasets().get(name) or corpus_sources().get(name)


def _check_left_out(
    registry: str, cards: Mapping[str, DatasetCard], others: Mapping[str, DatasetCard]
) -> None:
    """Refuse a card that leaves out the cells of what does not exist, or of what leaves out cells itself."""
    for card in cards.values():
        with _entry(registry, card):
            for name in card.without_cells_of:
                if find(others, name, "data set").without_cells_of:
                    raise CatalogError(f"without_cells_of: {name} leaves out cells itself; name another")


@checked_once
def models() -> dict[str, ModelCard]:
    """All models by name, in the order of the file; twins, data sets and works they name must exist."""
    cards = with_known_citations("models", read("models", ModelCard))
    registered = datasets()
    for card in cards.values():
        with _entry("models", card):
            if card.twin_of:
                find(cards, card.twin_of, "model")
            for dataset_name in card.pretrained_on.datasets if card.pretrained_on else ():
                find(registered, dataset_name, "data set")
    return cards


@checked_once
def other_models() -> dict[str, OtherModel]:
    """Models that cannot be run here, by name; none may have the name of one that can."""
    cards, runnable = with_known_citations("other_models", read("other_models", OtherModel)), models()
    for card in cards.values():
        with _entry("other_models", card):
            if card.name in runnable:
                raise CatalogError("data/models.yml has an entry of this name; remove one of them")
            for dataset_name in card.pretrained_on.datasets if card.pretrained_on else ():
                find(datasets(), dataset_name, "data set")
    return cards


def seen_in_pretraining(model_name: str, dataset_name: str) -> Seen:
    """Whether a model was trained on cells of a data set before it was used on them.

    A model without pretraining has seen nothing, and nobody has seen what is simulated. What its card says of
    a data set by name holds before what follows from the accessions of both. A data set that is not
    registered is one of the model's other data sets. Of a corpus of this project it is known that no cell is
    in the data sets of the studies that it is kept apart from: other cells of the same study are "partly".
    """
    before, cells = model(model_name).pretrained_on, datasets().get(dataset_name)
    if before is None or (cells is not None and cells.source == "simulate"):
        return "unseen"
    if dataset_name in before.datasets:
        return before.datasets[dataset_name]
    accessions = set(cells.accessions) if cells else set()
    if before.corpus:
        return _seen_in_corpus(corpus(before.corpus), dataset_name, accessions)
    if accessions & set(before.accessions):
        return "seen" if accessions <= set(before.accessions) else "partly"
    return before.other_datasets


def _seen_in_corpus(card: Corpus, dataset_name: str, accessions: set[str]) -> Seen:
    sources = sources_of(card)
    if dataset_name in sources:
        return "seen" if card.share == 1 else "partly"
    of_sources = {accession for source in sources for accession in loadable(source).accessions}
    if accessions & of_sources:
        return "partly"
    kept_apart = {name for study_name in card.apart_from for name in study(study_name).datasets}
    return "unseen" if dataset_name in kept_apart else "unknown"


@checked_once
def studies() -> dict[str, StudyCard]:
    """All studies by name; the data sets, models, recipes and chapters they name must exist."""
    cards, known_datasets, known_models = read("studies", StudyCard), datasets(), models()
    for card in cards.values():
        with _entry("studies", card):
            _check_names(card, known_datasets, known_models)
    return cards


def _check_names(
    card: StudyCard, known_datasets: Mapping[str, DatasetCard], known_models: Mapping[str, ModelCard]
) -> None:
    """Refuse a study that names what does not exist, or one run under two names."""
    for dataset_name in card.datasets:
        find(known_datasets, dataset_name, "data set")
    types = read("cell_types", CellType) if card.mappings else {}
    for pair in card.mappings:
        if problem := mapping_problem(*(known_datasets[name] for name in pair), types):
            raise CatalogError(f"mappings: {' and '.join(pair)}: {problem}")
    names: dict[tuple[str, str], str] = {}
    for reference in card.models:
        model_card, recipe = _split(reference, known_models)
        other = names.setdefault((model_card.name, recipe), reference)
        if other != reference:
            raise CatalogError(f"models: {other} and {reference} are the same recipe; keep one of them")
    chapters = {file.stem: file for file in sorted(paths.notebooks().glob("*.ipynb"))}
    chapters.pop(RUN_PAGE, None)
    for chapter in card.chapters:
        find(chapters, chapter, "chapter (a notebook of notebooks/)")


def cell_types(dataset_name: str) -> dict[str, str | None]:
    """The type of each label of a data set, under one name for all data sets.

    None for a label that may be of several types; empty for a data set whose labels are not in
    ``data/cell_types.yml``.
    """
    return types_of_label(dataset_name, read("cell_types", CellType))


@checked_once
def corpora() -> dict[str, Corpus]:
    """All named corpora; the sources, corpora and studies that they name must exist."""
    cards, sources, known_studies = read("corpora", Corpus), datasets() | corpus_sources(), studies()
    for card in cards.values():
        with _entry("corpora", card):
            for name in card.sources:
                find(sources, name, "source")
            for name in card.corpora:
                if find(cards, name, "corpus").corpora:
                    raise CatalogError(f"corpora: {name} is made of corpora itself; name those")
            for name in card.apart_from:
                tests = set(find(known_studies, name, "study").datasets)
                if shared := sorted(tests & set(_sources_of(card, cards))):
                    raise CatalogError(
                        f"{', '.join(shared)} is a test set of the study {name}: leave it out of the corpus"
                    )
    return cards


def corpus(name: str) -> Corpus:
    """One corpus by name."""
    return find(corpora(), name, "corpus")


@checked_once
def ladders() -> dict[str, Ladder]:
    """All ladders by name; the models, corpora and data sets that they name must exist and fit together."""
    cards, known_models, known_corpora = read("ladders", Ladder), models(), corpora()
    for card in cards.values():
        with _entry("ladders", card):
            for network in card.networks.values():
                before = find(known_models, network.model, "model")
                is_fitted = before.kind == "baseline" and before.weights is not None
                if before.architecture is None and not is_fitted:
                    raise CatalogError(f"{network.model} cannot be trained: name an untrained twin")
            for name in card.baselines:
                find(known_models, name, "model")
            for name in card.corpora:
                apart_from = find(known_corpora, name, "corpus").apart_from
                tests = {dataset for one in apart_from for dataset in study(one).datasets}
                for dataset_name in card.datasets:
                    if dataset_name not in tests:
                        raise CatalogError(
                            f"{dataset_name} is a data set of none of the studies that the corpus {name} is "
                            f"apart from ({', '.join(apart_from)}): its cells may be in the corpus"
                        )
    return cards


def ladder(name: str) -> Ladder:
    """One ladder by name."""
    return find(ladders(), name, "ladder")


def sources_of(card: Corpus) -> tuple[str, ...]:
    """Names of the sources of a corpus, also of those that it is made of, each once."""
    return _sources_of(card, corpora())


def _sources_of(card: Corpus, cards: Mapping[str, Corpus]) -> tuple[str, ...]:
    of_parts = [name for part in card.corpora for name in cards[part].sources]
    return tuple(dict.fromkeys([*card.sources, *of_parts]))


def dataset(name: str) -> DatasetCard:
    """One data set by name."""
    return find(datasets(), name, "data set")


def model(name: str) -> ModelCard:
    """One model by name.

    Raises
    ------
    CatalogError
        If there is none; of one that cannot be run here, with the reason.
    """
    runnable = models()
    if name not in runnable and name in (others := other_models()):
        raise CatalogError(
            f"{others[name].title} cannot be run here: {others[name].not_possible}. `zeroshot models {name}` "
            "says what is known of it; choose another model"
        )
    return find(runnable, name, "model")


def study(name: str) -> StudyCard:
    """One study by name."""
    return find(studies(), name, "study")


def split_reference(reference: str) -> tuple[ModelCard, str]:
    """Turn "scvi" or "scvi@short" into the card and the name of the recipe."""
    return _split(reference, models())


def _split(reference: str, known: Mapping[str, ModelCard]) -> tuple[ModelCard, str]:
    name, _, recipe = reference.partition("@")
    card = known[name] if name in known else model(name)
    recipe = recipe or card.recipe
    find(card.recipes, recipe, f"recipe of {name}")
    return card, recipe


def family_anchor(family: str) -> str:
    """Where the cards of a family of models stand on the page of models; a card's own anchor is its name."""
    return "family-" + family.lower().replace(" ", "-")


def with_known_citations(registry: str, cards: dict[str, CitingCard]) -> dict[str, CitingCard]:
    """The entries of a registry, each of whose cited works is in the reading list or the references.

    Raises
    ------
    CatalogError
        If one is not, with the file, the entry and the nearest keys.
    """
    keys = citations.keys()
    for card in cards.values() if keys is not None else ():
        for key in card.cited:
            if key not in keys:
                with _entry(registry, card):
                    find(dict.fromkeys(sorted(keys)), key, "cited work")
    return cards


@contextmanager
def _entry(registry: str, card: Card) -> Iterator[None]:
    """Put file and entry before what is wrong with a name in it."""
    try:
        yield
    except CatalogError as error:
        raise CatalogError(f"{paths.catalog(registry)}: entry {card.name!r}: {error}") from None
