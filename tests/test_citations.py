"""Citations: every key has one place, every cited work its authors and its year."""

import re

import nbformat
import pytest
from pybtex.database import parse_string

import reading_list
from zeroshot import site
from zeroshot.catalog import CatalogError
from zeroshot.runtime import paths
from zeroshot.site import citations, pages


def sources() -> list[str]:
    """The texts of the book as they stand in the repository, and the generated page that cites."""
    home = paths.home()
    files = [*(home / "book").rglob("*.md"), *paths.notebooks().glob("*.ipynb")]
    files += [home / name for name in site.PROSE if name.endswith(".md")]
    return [file.read_text() for file in files] + [pages.models_page()]


def bare(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def test_no_work_stands_in_both_places(home):
    others = parse_string((home / "book" / "references.bib").read_text(), "bibtex").entries
    assert set(others) == citations.other_works() and not set(others) & set(citations.papers())
    listed = citations.papers().values()
    dois = {paper.doi for paper in listed if paper.doi}
    titles = {bare(title) for paper in listed for title in paper.titles}
    titles |= {bare(title.partition(": ")[2]) for paper in listed for title in paper.titles}
    for key, entry in others.items():
        assert entry.fields.get("doi") not in dois, key
        assert bare(entry.fields["title"]) not in titles, key


def test_every_reference_has_authors_and_a_year():
    entries = parse_string(citations.bibliography(sources()), "bibtex").entries
    cited = citations.in_registries().union(*map(citations.in_text, sources()))
    assert cited <= set(entries) and {"geneformer", "zero-shot-limitations"} <= cited
    assert set(entries) == cited | citations.other_works()
    for key, entry in entries.items():
        assert entry.persons.get("author"), key
        assert re.fullmatch(r"\d{4}", entry.fields["year"]), key


def test_a_preprint_is_cited_apart_from_the_paper():
    text = citations.bibliography(["{cite:p}`cellama, cellama-preprint`"])
    paper, preprint = (parse_string(text, "bibtex").entries[key] for key in ("cellama", "cellama-preprint"))
    of = reading_list.load()["cellama"]
    assert (paper.fields["journal"], paper.fields["year"]) == (of.venue, str(of.year))
    assert (preprint.fields["journal"], preprint.fields["year"]) == ("bioRxiv", str(of.preprint.year))
    assert preprint.fields["doi"] == of.preprint.doi != of.doi
    assert paper.persons["author"] == preprint.persons["author"]
    assert not [name for name in reading_list.load() if name.endswith("-preprint")]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("scgtp", "no cited work is called 'scgtp'. Did you mean scgpt"),
        ("wolf2018", "no cited work is called 'wolf2018'"),
        ("maxtoki", "maxtoki is cited and has no `authors`"),
    ],
)
def test_what_cannot_be_cited_is_refused(key, message):
    with pytest.raises(CatalogError, match=re.escape(message)):
        citations.bibliography([f"as {{cite:t}}`{key}` says"])


def test_notebooks_cite_by_links_that_the_bibliography_has():
    works = parse_string(citations.bibliography(sources()), "bibtex").entries.values()
    by_address = {citations.DOI + work.fields["doi"]: work for work in works if "doi" in work.fields}
    by_address |= {work.fields["url"]: work for work in works if "url" in work.fields}
    n_links = 0
    for file in paths.notebooks().glob("*.ipynb"):
        cells = nbformat.read(file, as_version=4)["cells"]
        text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
        assert "{cite" not in text, f"{file.name}: a reader outside of the book sees the role"
        for authors, year, address in citations.links(text):
            work = by_address[address]
            assert (authors, year) == (names(work.persons["author"]), work.fields["year"]), file.name
            n_links += 1
    assert n_links >= 30


def names(people: list) -> str:
    last = [" ".join(map(str, [*one.rich_prelast_names, *one.rich_last_names])) for one in people]
    return " and ".join(last) if len(last) < 3 and "others" not in last else f"{last[0]} et al."


def test_a_link_to_a_paper_cites_it():
    address = "https://doi.org/10.1038/s41592-026-03120-y"
    text = (
        f"[DenAdel et al. (2026)]({address}), or [DenAdel et al., 2026]({address}); not [2026](https://a.b/c)"
    )
    assert citations.links(text) == [("DenAdel et al.", "2026", address)] * 2
    assert citations.in_text(text) == {"pretraining-size-and-diversity"}
    assert "pretraining-size-and-diversity" in parse_string(citations.bibliography([text]), "bibtex").entries
