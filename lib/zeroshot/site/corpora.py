"""The page of corpora that networks are pretrained on, from their registries."""

from zeroshot import catalog
from zeroshot.catalog import Corpus, DatasetCard
from zeroshot.runtime import escaping
from zeroshot.site import citations, markdown


def page() -> str:
    """Every named corpus, what it is kept apart from, and every source with its facts and licence."""
    corpora = catalog.corpora()
    sources = catalog.datasets() | catalog.corpus_sources()
    members = {name: catalog.sources_of(card) for name, card in corpora.items()}
    used = dict.fromkeys(source for names in members.values() for source in names)
    return "\n\n".join(
        [
            "# Corpora",
            "Cells that networks are pretrained on here, each corpus from its entry in `data/corpora.yml`: "
            "`zeroshot pretrain --model scgpt-untrained --corpus NAME --output FOLDER`. Cells have at least "
            "200 detected genes, and few of their counts are haemoglobin. Genes have the symbols that HGNC "
            "approves. A smaller share of a corpus is a part of a larger one.",
            "## Every corpus",
            markdown.table([_corpus(card, len(members[name])) for name, card in corpora.items()]),
            "## What is kept out",
            "No data set of the studies named above is a source. Before a training, each cell of each source "
            "is also compared with each cell of these data sets by its counts over the genes that both have; "
            "one that agrees stops the training. That recognises a copy of a cell, not another cell of the "
            "same donor or laboratory: sources and data sets that name the same accession are of one study.",
            "## Every source",
            "From `data/corpus_sources.yml`. The files are downloaded from where their authors published "
            "them and checked by hash; cells, genes and counts are asserted.",
            markdown.table([_source(sources[name]) for name in used]),
            *_notes([sources[name] for name in used]),
        ]
    ) + "\n"  # fmt: skip


def _corpus(card: Corpus, n_sources: int) -> dict[str, str]:
    return {
        "corpus": escaping.code(card.name),
        "cells": f"{card.cells:,}",
        "sources": f"{n_sources}",
        "share": f"{card.share:.0%}",
        "apart from the study": ", ".join(map(escaping.verbatim, card.apart_from)),
        "what it is": escaping.prose(card.description),
    }


def _source(card: DatasetCard) -> dict[str, str]:
    return {
        "source": citations.cited_title(card),
        "cells": _number(card.cells),
        "genes": _number(card.genes),
        "counts": _number(card.counts_sum),
        "tissue": escaping.verbatim(card.tissue),
        "technology": escaping.verbatim(card.technology or "–"),
        "accession": escaping.verbatim(", ".join(card.accessions) or "–"),
        "licence": escaping.prose(card.licence),
    }


def _number(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _notes(cards: list[DatasetCard]) -> list[str]:
    """What a reader has to know of each source, as a list."""
    lines = [
        f"- {escaping.verbatim(card.title)}: {escaping.prose(' '.join(card.notes))}"
        for card in cards
        if card.notes
    ]
    return ["## Notes on sources", "\n".join(lines)] if lines else []
