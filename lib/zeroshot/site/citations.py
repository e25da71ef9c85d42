"""What the book cites: papers of the reading list, and works of ``book/references.bib``.

Prose cites a paper by the name of its entry; the preprint of one that appeared elsewhere is cited apart, as
``<name>-preprint``. Notebooks, which are read outside of the book too, cite by a link to its DOI or address.
"""

import re
from collections.abc import Iterable

import reading_list
from reading_list import Paper, export
from zeroshot import catalog
from zeroshot.catalog import CatalogError, DatasetCard, ModelCard
from zeroshot.results import evidence, published
from zeroshot.runtime import escaping, paths

DOI = "https://doi.org/"
# A role that is shown as code, with a mark before it, cites nothing.
_ROLE = re.compile(r"(?<!`)\{cite(?::\w+)?\}`([^`]+)`")
_LINK = re.compile(r"\[([^\[\]]+?)(?:, (\d{4})| \((\d{4})\))\]\((https://[^\s)]+)\)")


def papers() -> dict[str, Paper]:
    """Papers of the reading list by the keys they are cited with, preprints apart."""
    entries = reading_list.load()
    preprints = [export.preprint_of(paper) for paper in entries.values() if paper.preprint]
    return entries | {preprint.name: preprint for preprint in preprints}


def other_works() -> set[str]:
    """Keys of ``book/references.bib``: what is cited and is no paper of the reading list."""
    return set(catalog.citations.keys_of_works(_references()))


def links(text: str) -> list[tuple[str, str, str]]:
    """Authors, year and address of links such as ``[Cui et al. (2024)](…)`` or ``[Cui et al., 2024](…)``."""
    return [(authors, year or other, address) for authors, year, other, address in _LINK.findall(text)]


def in_text(text: str) -> set[str]:
    """Keys that a page cites, as ``{cite:p}`scgpt,geneformer```, and of the papers that its links cite."""
    keys = {key.strip() for keys in _ROLE.findall(text) for key in keys.split(",")}
    if addresses := {address for *_, address in links(text)}:
        keys |= {key for key, paper in papers().items() if addresses & {f"{DOI}{paper.doi}", paper.link}}
    return keys


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
