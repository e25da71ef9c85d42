"""What the book cites: papers of the reading list, and works of ``book/references.bib``.

A paper is cited by the name of its entry. The preprint of one that appeared elsewhere is cited apart, as
``<name>-preprint``.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import reading_list
from reading_list import Paper, export
from zeroshot import catalog
from zeroshot.catalog import CatalogError, DatasetCard, ModelCard
from zeroshot.results import evidence, published
from zeroshot.runtime import escaping, paths
from zeroshot.store import write_text

if TYPE_CHECKING:
    from pybtex.database import Entry

# A role that is shown as code, with a mark before it, cites nothing.
_ROLE = re.compile(r"(?<!`)\{cite(?::(\w+))?\}`([^`]+)`")


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
    return {key.strip() for _, keys in _ROLE.findall(text) for key in keys.split(",")}


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


def write_out(notebook: Path) -> Path:
    """Put authors, years and links in the place of the roles of a notebook that is read alone."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    texts = {}
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown" and _ROLE.search(text := "".join(cell["source"])):
            texts[cell["id"]] = text
    if texts:
        from pybtex.database import parse_string

        entries = parse_string(bibliography(texts.values()), "bibtex").entries
        for cell in content["cells"]:
            if cell["id"] in texts:
                written = _ROLE.sub(lambda role: _in_words(role, entries), texts[cell["id"]])
                cell["source"] = written.splitlines(keepends=True)
        write_text(notebook, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return notebook


def _in_words(role: re.Match, entries: Mapping[str, "Entry"]) -> str:
    works, in_sentence = [], role[1] == "t"
    for key in role[2].split(","):
        entry = entries[key.strip()]
        people = entry.persons["author"]
        names = [" ".join(map(str, [*one.rich_prelast_names, *one.rich_last_names])) for one in people]
        authors = " and ".join(names) if len(names) < 3 and "others" not in names else f"{names[0]} et al."
        work = f"{authors} ({entry.fields['year']})" if in_sentence else f"{authors}, {entry.fields['year']}"
        doi, address = entry.fields.get("doi"), entry.fields.get("url")
        address = address or (f"https://doi.org/{doi}" if doi else None)
        works.append(f"[{work}]({address})" if address else work)
    return " and ".join(works) if in_sentence else f"({'; '.join(works)})"


def _references() -> str:
    return (paths.home() / "book" / "references.bib").read_text()
