"""The reading list: the file, the tables it was made from, search and exports."""

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_string
from pybtex.richtext import Text

import reading_list
from reading_list import export
from reading_list.records import Paper, identifiers
from zeroshot.catalog import CatalogError

CHECKOUT = Path(__file__).resolve().parents[1]
SURVEY = CHECKOUT.parent / "shared" / "survey"
PAPERS = reading_list.load()
PAPER = {
    "title": "A paper",
    "year": 2025,
    "venue": "Nature Methods",
    "url": "https://www.nature.com/articles/s41592-025-00001-0",
    "section": "surveys",
    "editions": ["ours"],
    "checked": "never",
}


@pytest.fixture
def listed(home):
    """Replace the list by entries, each PAPER with some fields changed, and read it."""

    def write(**changes: dict) -> dict[str, Paper]:
        entries = {
            name.replace("_", "-"): {k: v for k, v in (PAPER | change).items() if v is not None}
            for name, change in changes.items()
        }
        (home / "data" / "literature" / "reading_list.yml").write_text(
            yaml.safe_dump(entries, sort_keys=False)
        )
        return reading_list.load()

    return write


# -- the file --------------------------------------------------------------------------------------


def test_every_paper_has_a_clean_link_and_no_two_share_one():
    addresses = [address for paper in PAPERS.values() for address in paper.addresses]
    assert all(paper.link for paper in PAPERS.values())
    assert len(set(addresses)) == len(addresses)
    assert not [a for a in addresses if re.search(r"utm_|#|noteId|_returnURL|via%3D|\.pdf\+html", a)]
    for kind in ("doi", "arxiv"):
        identifiers_of_kind = [getattr(p, kind) for p in PAPERS.values() if getattr(p, kind)]
        assert len(set(identifiers_of_kind)) == len(identifiers_of_kind) > 40


def test_sections_are_those_of_the_public_list_in_its_order():
    assert [section.title for section in reading_list.sections().values()] == [
        "Single-Cell Foundation Models",
        "Genetic Perturbation: Models, Atlases and Benchmarks",
        "Virtual Cell, World Models and Digital Human",
        "Benchmarks and Evaluation",
        "Surveys and Perspectives",
        "Pretraining Datasets and Resources",
        "Infrastructure, Platforms and AI Agents",
        "Foundation Models for Bulk Transcriptome",
        "Foundation Models for Pathology (related work)",
    ]
    groups = [(s.name, sub) for s, sub, _ in reading_list.papers_by_place(PAPERS.values())]
    assert len(set(groups)) == len(groups) == 22  # every group has a paper
    counts = Counter(p.name for _, _, papers in reading_list.papers_by_place(PAPERS.values()) for p in papers)
    assert counts == {paper.name: len(paper.places) for paper in PAPERS.values()}


@pytest.mark.parametrize(
    ("url", "doi", "arxiv"),
    [
        ("https://doi.org/10.1016/j.cell.2016.11.038", "10.1016/j.cell.2016.11.038", None),
        ("https://www.nature.com/articles/s41586-024-08411-y", "10.1038/s41586-024-08411-y", None),
        ("https://www.nature.com/articles/d41586-026-01731-1", "10.1038/d41586-026-01731-1", None),
        ("https://www.nature.com/articles/nmeth.1234", None, None),
        ("https://www.biorxiv.org/content/10.1101/2025.10.23.683759v1", "10.1101/2025.10.23.683759", None),
        ("https://www.biorxiv.org/content/10.64898/2026.01.09.698608v12", "10.64898/2026.01.09.698608", None),
        ("https://www.medrxiv.org/content/10.64898/2026.06.19.26356060v1",
         "10.64898/2026.06.19.26356060", None),
        ("https://www.science.org/doi/10.1126/science.aec8514", "10.1126/science.aec8514", None),
        ("https://onlinelibrary.wiley.com/doi/full/10.1002/qub2.70010", "10.1002/qub2.70010", None),
        ("https://dl.acm.org/doi/10.1145/3701551.3708811", "10.1145/3701551.3708811", None),
        ("https://dl.acm.org/doi/10.5555/3692070.3694600", None, None),  # no registered DOI
        ("https://link.springer.com/chapter/10.1007/978-1-0716-3989-4_57",
         "10.1007/978-1-0716-3989-4_57", None),
        ("https://genomebiology.biomedcentral.com/articles/10.1186/s13059-025-03574-x",
         "10.1186/s13059-025-03574-x", None),
        ("https://www.the-innovation.org/article/doi/10.59717/j.xinn-oncol.2026.100002",
         "10.59717/j.xinn-oncol.2026.100002", None),
        ("https://www.researchsquare.com/article/rs-7917089/v1", "10.21203/rs.3.rs-7917089/v1", None),
        ("https://aclanthology.org/2025.acl-long.26/", "10.18653/v1/2025.acl-long.26", None),
        ("https://academic.oup.com/nsr/article/12/10/nwaf255/8172492", "10.1093/nsr/nwaf255", None),
        ("https://academic.oup.com/nar/article/53/D1/D1099/7815638", None, None),  # pages hold no DOI
        ("https://www.cell.com/cell/fulltext/S0092-8674(24)01332-1", None, None),
        ("https://arxiv.org/abs/2306.04371", None, "2306.04371"),
    ],
)  # fmt: skip
def test_identifiers_are_read_from_addresses(url, doi, arxiv):
    assert identifiers(url) == (doi, arxiv)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "x"}, "unknown field 'titel'. Did you mean title?"),
        ({"preprint": {"venue": "arXiv", "year": 2025, "adress": "x"}}, "unknown field 'preprint.adress'"),
        ({"section": "survey"}, "Did you mean surveys?"),
        ({"section": "models"}, "no subsection of models is called 'None'"),
        ({"section": "surveys", "subsection": "x"}, "no subsection of surveys"),
        ({"also_in": [{"section": "nowhere"}]}, "no section is called 'nowhere'"),
        ({"supersedes": "nothing"}, "no paper is called 'nothing'"),
        ({"kind": "paper"}, "kind"),
        ({"tokenisation": ["bins"]}, "tokenisation"),
        ({"editions": []}, "editions"),
        ({"checked": "yesterday"}, "checked"),
        ({"title": "=1+1"}, "title"),
        ({"url": None}, "needs a `url`"),
        ({"url": "http://example.org/x"}, "is not https"),
        ({"url": "https://example.org/x?utm_source=y"}, "leave out the parameters utm_source"),
        ({"url": "https://openreview.net/forum?id=x&noteId=y"}, "leave out the parameters noteId"),
        ({"url": "https://example.org/x#Sec1"}, "fragment"),
        ({"url": "https://arxiv.org/pdf/2306.04371.pdf", "venue": "arXiv"}, "https://arxiv.org/abs/NUMBER"),
        ({"url": "https://www.biorxiv.org/content/10.1101/2024.01.01.123456v1.full.pdf", "venue": "bioRxiv"},
         "not a file of it"),
        ({"url": "https://arxiv.org/abs/2306.04371", "venue": "bioRxiv"}, "is on arXiv, not in bioRxiv"),
        ({"url": "https://arxiv.org/abs/2306.04371"}, "is on arXiv, not in Nature Methods"),
        ({"doi": "10.1038/other"}, "`doi` is 10.1038/other, but `url` says 10.1038/s41592-025-00001-0"),
    ],
)  # fmt: skip
def test_wrong_entries_are_refused_with_the_reason(listed, change, message):
    with pytest.raises(CatalogError, match=re.escape(message)) as error:
        listed(wrong=change)
    assert "'wrong'" in str(error.value)


@pytest.mark.parametrize(
    ("other", "mark"),
    [
        ({"title": "Another"}, "10.1038/s41592-025-00001-0"),
        ({"title": "Another", "url": "https://doi.org/10.1038/s41592-025-00001-0"},
         "10.1038/s41592-025-00001-0"),
        ({"title": "A Paper", "url": "https://example.org/x"}, "a paper"),
    ],
)  # fmt: skip
def test_the_same_paper_twice_is_refused(listed, other, mark):
    with pytest.raises(CatalogError, match=re.escape(f"{mark} is in two entries, one and two")):
        listed(one={}, two=other)


def test_an_entry_in_the_wrong_place_is_refused(listed):
    newer = {"title": "Newer", "year": 2026, "url": "https://example.org/newer"}
    assert list(listed(newer=newer, older={})) == ["newer", "older"]
    with pytest.raises(CatalogError, match="'newer' must stand before 'older'"):
        listed(older={}, newer=newer)


def test_the_example_of_the_contributing_guide_is_a_valid_entry(home):
    guide = (CHECKOUT / "CONTRIBUTING.md").read_text()
    example = re.search(r"## A paper\n.*?```yaml\n(.*?)```", guide, re.DOTALL)[1]
    (home / "data" / "literature" / "reading_list.yml").write_text(example)
    (paper,) = reading_list.load().values()
    assert paper.editions == ("ours",) and paper.doi and paper.preprint.doi and paper.code


# -- search ----------------------------------------------------------------------------------------


def test_search_wants_every_word_in_any_field():
    def match(*query):
        return [paper.name for paper in reading_list.matching_papers(*query)]

    assert match("ZERO-shot limitations kedzierska") == ["zero-shot-limitations"]
    assert match("metric mirages") == ["drifting-islands"]  # the title of the preprint
    assert match("rank value 2023 nature") == ["geneformer"]
    assert match("conch", "pathology") == ["conch"] and match("conch", "bulk") == []
    assert match("nicheformer", "datasets") == ["nicheformer"]  # its corpus is shown there
    assert match() == list(PAPERS)
    with pytest.raises(CatalogError, match="Did you mean surveys"):
        match("", "survey")


# -- the sources -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources():
    if not SURVEY.is_dir():
        pytest.skip("the tables that the list was made from are not beside this checkout")
    return {
        name: list(csv.DictReader((SURVEY / f"{name}.csv").open()))
        for name in ("reading_list", "reading_list_newer")
    }


# Source titles that are another paper's data, preprint or earlier title, and where they went.
MERGED = {
    "SpatialCorpus-110M (Nicheformer pretraining corpus)": "nicheformer",
    "SToCorpus-88M (SToFM pretraining corpus)": "stofm",
    "SCARF / X-Omics: a 2.7M-cell scRNA-seq/scATAC-seq pretraining corpus": "scarf",
    "Biomni: A general-purpose biomedical AI agent": "biomni",
    "Evaluating the role of pre-training dataset size and diversity on single-cell foundation model "
    "performance":
        "pretraining-size-and-diversity",
    "Metric Mirages in Cell Embeddings": "drifting-islands",
}  # fmt: skip


def test_every_source_row_is_in_exactly_one_entry(sources):
    owners = {title: paper.name for paper in PAPERS.values() for title in paper.titles}
    rows = [*sources["reading_list"], *sources["reading_list_newer"]]
    listed = {name for name, paper in PAPERS.items() if paper.editions != ("ours",)}
    assert (len(rows), len(listed)) == (301 + 16, 301 + 16 - len(MERGED))
    owner = {row["title"]: owners[row["title"].replace("OCOO-T :", "OCOO-T:")] for row in rows}
    assert {title: name for title, name in owner.items() if title in MERGED} == MERGED
    alone = Counter(name for title, name in owner.items() if title not in MERGED)
    assert set(alone.values()) == {1} and set(alone) | {"biomni"} == listed
    assert all(PAPERS[name].corrections for name in MERGED.values())
    for row in sources["reading_list"]:
        paper = PAPERS[owner[row["title"]]]
        assert set(row["editions"].split(";")) <= set(paper.editions), row["title"]
        assert not row["upstream_url"] or "2026-07" in paper.editions


def work(url: str) -> str:
    """What an address names: arXiv number, DOI without a preprint's version, else the bare address."""
    arxiv = re.search(r"arxiv\.org/\w+/(\d{4}\.\d{5})", url)
    biorxiv = re.search(r"(20\d\d\.\d\d\.\d\d\.\d{6,8})", url)
    review = re.search(r"openreview\.net/\w+\?id=([\w-]+)", url)
    match = arxiv or biorxiv or review
    bare = url.split("#")[0].split("?")[0]
    return (
        match[1] if match else bare.replace("advance-article/doi/10.1093/nsr/", "article/12/10/").rstrip("/")
    )


def test_every_link_of_the_sources_is_kept(sources):
    works = {work(address) for paper in PAPERS.values() for address in paper.addresses}
    printed = {
        url
        for row in [*sources["reading_list"], *sources["reading_list_newer"]]
        for url in (
            row["url"],
            row.get("upstream_url"),
            *re.findall(r"other url: (\S+)", row.get("note", "")),
        )
        if url
    }
    assert len(printed) > 297
    assert {url for url in printed if work(url) not in works} == set()


def test_year_and_venue_are_those_of_the_newest_source(sources):
    differs = set()
    for row in sources["reading_list"]:
        newest = (row["upstream_year"], row["upstream_venue"])
        newest = newest if row["upstream_url"] else (row["year"], row["venue"])
        owner = next(p for p in PAPERS.values() if row["title"].replace("T :", "T:") in p.titles)
        if (str(owner.year), owner.venue or "") != newest:
            differs.add(owner.name)
            assert owner.corrections, owner.name
    assert differs == {
        "biollm", "overcoming-barriers", "biomni", "stpath", "celllm", "schyena", "mechanistic-reasoning",
        "parameter-free-representations",
    }  # fmt: skip


def test_known_errors_of_the_editions_are_corrected():
    assert (PAPERS["biollm"].year, PAPERS["biollm"].venue) == (2025, "Patterns")
    assert PAPERS["overcoming-barriers"].venue == "Nature Biotechnology"
    cell = "https://www.cell.com/cell/fulltext/S0092-8674(24)01332-1"
    assert [p.name for p in PAPERS.values() if cell in p.addresses] == ["how-to-build-the-virtual-cell"]
    assert PAPERS["perturbation-mini-review"].doi == "10.1016/j.csbj.2024.04.058"
    biomni = PAPERS["biomni"]
    assert (biomni.doi, biomni.venue, biomni.preprint.url) == ("10.1126/science.adz4351", "Science", None)
    tagged = [p.name for p in PAPERS.values() if any("the arXiv link as bioRxiv" in c for c in p.corrections)]
    assert len(tagged) == 11 + 2  # those of e2, and two of e3
    for name in ("biollm", "overcoming-barriers", "perturbation-mini-review", "biomni", "uce"):
        assert PAPERS[name].corrections, name
    versions = {p.name: p.supersedes for p in PAPERS.values() if p.supersedes}
    assert versions == {"geneformer-v2": "geneformer", "scprint-2": "scprint", "heca-v2": "heca"}


# -- exports ---------------------------------------------------------------------------------------


def decoded(field: str) -> str:
    return str(Text.from_latex(field))


def test_bibtex_is_read_back_by_a_library():
    entries = parse_string(export.to_bibtex(PAPERS.values()), "bibtex").entries
    assert list(entries) == list(PAPERS)
    for name, paper in PAPERS.items():
        fields = entries[name].fields
        assert decoded(fields["title"]) == paper.title
        assert (fields["url"], fields.get("doi"), fields["year"]) == (paper.link, paper.doi, str(paper.year))
        place = next((fields[f] for f in ("journal", "booktitle") if f in fields), "")
        assert decoded(place) == (paper.venue or "")
        people = [str(person).strip("{}") for person in entries[name].persons.get("author", [])]
        assert people == list(paper.authors)
    assert entries["sccello"].type == "inproceedings" and entries["scgpt"].type == "article"
    assert entries["stofm"].fields["eprint"] == "2507.11588"


def test_bibtex_escapes_what_latex_would_interpret(listed):
    title = r"50% of R&D_1 in {braces} for $5 \ #1 ~ ^ über ‘virtual’ β-cells"
    papers = listed(odd={"title": title, "authors": ["Müller, Zoë", "The R&D Consortium", "others"]})
    text = export.to_bibtex(papers.values())
    assert (
        r"50\% of R\&D\_1 in \{braces\} for \$5 \textbackslash{} \#1" in text and "über ‘virtual’ β" in text
    )
    assert "author = {Müller, Zoë and {The R\\&D Consortium} and others}" in text
    assert parse_string(text, "bibtex").entries["odd"].persons["author"][2].last_names == ["others"]


def test_ris_is_read_back():
    records = []
    for line in export.to_ris(PAPERS.values()).splitlines():
        if line.startswith("TY  - "):
            records.append({})
        if line:
            tag, value = re.fullmatch(r"([A-Z][A-Z0-9])  - (.*)", line).groups()
            records[-1].setdefault(tag, []).append(value)
    assert [record["ID"][0] for record in records] == list(PAPERS)
    for record, paper in zip(records, PAPERS.values(), strict=True):
        assert next(iter(record)) == "TY" and list(record)[-1] == "ER"
        assert (record["TI"], record["PY"], record["UR"]) == ([paper.title], [str(paper.year)], [paper.link])
        assert record.get("DO", [None])[0] == paper.doi
        assert record.get("AU", []) == [name for name in paper.authors if name != "others"]
        assert record.get("KW", []) == list(paper.tags)
    assert {record["TY"][0] for record in records} == {"JOUR", "CPAPER", "UNPB", "GEN"}


def test_csv_and_json_are_read_back():
    rows = list(csv.DictReader(io.StringIO(export.to_csv(PAPERS.values()))))
    assert [row["id"] for row in rows] == list(PAPERS) and tuple(rows[0]) == export.COLUMNS
    for row, paper in zip(rows, PAPERS.values(), strict=True):
        assert (row["title"], row["link"], row["doi"] or None) == (paper.title, paper.link, paper.doi)
        assert row["tokenisation"].split("; ") == [*paper.tokenisation] or not paper.tokenisation
        descents = [f"{descent.paper} ({descent.takes})" for descent in paper.builds_on]
        assert [text for text in row["builds_on"].split("; ") if text] == descents
    assert any(row["builds_on"] for row in rows)
    for fields in json.loads(export.to_json(PAPERS.values())):
        name, link = fields.pop("id"), fields.pop("link")
        assert Paper.model_validate({"name": name, **fields}) == PAPERS[name]
        assert link == PAPERS[name].link
