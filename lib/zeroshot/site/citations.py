"""What the book cites: papers of the reading list, and works of ``book/references.bib``.

A paper is cited by the name of its entry. The preprint of one that appeared elsewhere is cited apart, as
``<name>-preprint``.
"""

import re
from collections.abc import Iterable

import reading_list
from reading_list import Paper, export
from zeroshot import catalog
from zeroshot.catalog import CatalogError, DatasetCard, ModelCard
from zeroshot.results import evidence, published
from zeroshot.runtime import escaping, paths

# A role that is shown as code, with a mark before it, cites nothing.
_ROLE = re.compile(r"(?<!`)\{cite(?::\w+)?\}`([^`]+)`")


def papers() -> dict[str, Paper]:
    """Papers of the reading list by the keys they are cited with, preprints apart."""
    entries = reading_list.load()
    preprints = [export.preprint_of(paper) for paper in entries.values() if paper.preprint]
    return entries | {preprint.name: preprint for preprint in preprints}


def other_works() -> set[str]:
    """Keys of ``book/references.bib``: what is cited and is no paper of the reading list."""
    return set(catalog.citations.keys_of_works(_references()))


def in_text(text: str) -> set[str]:
    """Keys that a page cites, for example ``{cite:p}`scgpt,geneformer```."""
    return {key.strip() for keys in _ROLE.findall(text) for key in keys.split(",")}


def cited_title(card: DatasetCard | ModelCard) -> str:
    """Title of a card and the role that cites its works, as Markdown; what is no key is left out."""
    keys = [key for key in card.cited if re.fullmatch(r"[\w-]+", key)]
    return escaping.verbatim(card.title) + (f" {{cite:p}}`{','.join(keys)}`" if keys else "")


def in_registries() -> set[str]:
    """Keys that data sets, models, published numbers and sources of evidence name."""
    cards = [
        *catalog.datasets().values(),
        *catalog.corpus_sources().values(),
        *catalog.models().values(),
        *catalog.other_models().values(),
        *evidence.sources().values(),
    ]
    keys = {key for card in cards for key in card.cited}
    return keys | {number.source for number in published.load()}


def bibliography(texts: Iterable[str]) -> str:
    """BibTeX of all that pages and registries cite, and of the rest of ``book/references.bib``.

    Parameters
    ----------
    texts
        Pages, as Markdown or as notebooks.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If a cited key is in neither place, or a cited paper has no authors: it would be cited by its title.
    """
    works, others = papers(), other_works()
    keys = sorted(in_registries().union(*map(in_text, texts)) - others)
    for key in keys:
        if not catalog.find(works | dict.fromkeys(others), key, "cited work").authors:
            raise CatalogError(f"{key} is cited and has no `authors` in data/literature/reading_list.yml")
    return _references() + "\n" + export.to_bibtex(works[key] for key in keys)


def _references() -> str:
    return (paths.home() / "book" / "references.bib").read_text()
