"""One entry of the reading list as a frozen record: the fields, the closed lists of words, clean addresses.

Not among the pages made from docstrings: autodoc loads a module twice, and a record whose base stands
in another module does not survive that.
"""

import re
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from zeroshot.catalog import Card, Parameters

Modality = Literal[
    "scRNA-seq", "scATAC-seq", "spatial and histology", "multi-omics", "perturbation", "language",
    "bulk RNA-seq", "pathology",
]  # fmt: skip
Tokenisation = Literal[
    "binning", "rank value encoding", "ranking", "protein-coding", "cells as tokens", "downsampling",
    "metadata", "padding", "MLP", "cell sentence", "gene embeddings from text",
]  # fmt: skip
Objective = Literal[
    "masked language modelling", "next token prediction", "multi-task", "contrastive learning",
    "classification", "cell-text matching", "bottleneck learning", "metadata prediction", "denoising",
    "cell ontology alignment", "cell generation", "instruction tuning", "embedding-based", "tuning-free",
]  # fmt: skip
# What a model reads of a cell or a sample, or of a condition that it is asked about.
Input = Literal[
    "RNA", "ATAC", "protein", "several omics", "DNA", "space", "histology", "images", "perturbation", "text",
]  # fmt: skip
Trunk = Literal["LLM-enhanced", "multi-modality", "unimodality"]
Kind = Literal["model", "benchmark", "dataset", "review", "software", "agent"]
# e1 to e3 are three editions of a public reading list, 2026-07 is its public version of July 2026,
# and `ours` marks what was added here.
Edition = Literal["e1", "e2", "e3", "2026-07", "ours"]
PreprintVenue = Literal["arXiv", "bioRxiv", "medRxiv", "Research Square"]

_SERVERS: dict[str, PreprintVenue] = {
    "arxiv.org": "arXiv",
    "www.biorxiv.org": "bioRxiv",
    "www.medrxiv.org": "medRxiv",
    "www.researchsquare.com": "Research Square",
}
_ARXIV = re.compile(r"https://arxiv\.org/abs/(\d{4}\.\d{4,5})")
# DOIs of bioRxiv and medRxiv hold the day of submission, numbers of arXiv the month.
_DAY = re.compile(r"10\.(?:1101|64898)/(20\d\d)\.(\d\d)\.(\d\d)\.\d+")
_MONTH = re.compile(r"(\d\d)(\d\d)\.\d{4,5}")
# Addresses that hold a DOI by a rule of the publisher, and how it is written from the match.
_DOIS = (
    (r"https://doi\.org/(10\.\d{4,9}/.+)", r"\1"),
    (r"https://www\.nature\.com/articles/([sd]\d{5}-\d{3}-\d{5}-\w)", r"10.1038/\1"),
    (r"https://www\.(?:bio|med)rxiv\.org/content/(10\.\d{4,9}/[\d.]+\d)(?:v\d+)?", r"\1"),
    (r"https://www\.researchsquare\.com/article/(rs-\d+/v\d+)", r"10.21203/rs.3.\1"),
    (r"https://aclanthology\.org/(\d{4}\.[\w-]+\.\d+)/?", r"10.18653/v1/\1"),
    (r"https://academic\.oup\.com/(\w+)/article/[\w/]+/([a-z]{4}\d+)/\d+", r"10.1093/\1/\2"),
    # 10.5555 is where publishers put what has no registered DOI.
    (r"https://[\w.-]+/(?:[\w-]+/)?(?:doi(?:/full)?|articles?|chapter)/(10\.(?!5555/)\d{4,9}/.+)", r"\1"),
)
# The only addresses whose page is named by a parameter; anywhere else one is there to track readers.
_PARAMETERS = {"openreview.net": {"id"}}


def _clean_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        raise ValueError(f"{url} is not https")  # http from this machine is for tests
    # Braces would end a field of BibTeX, a line end a field of RIS.
    if not parts.hostname or re.search(r"[\s\x00-\x1f\x7f{}<>\"\\]", url):
        raise ValueError(f"{url!r} is no address")
    if parts.fragment:
        raise ValueError(f"{url}: leave out the fragment, from '#' on")
    extra = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
                   - _PARAMETERS.get(parts.hostname, set()))  # fmt: skip
    if extra:
        raise ValueError(f"{url}: leave out the parameters {', '.join(extra)}: they do not name the page")
    if parts.hostname == "arxiv.org" and not _ARXIV.fullmatch(url):
        raise ValueError(f"{url}: write https://arxiv.org/abs/NUMBER, without version")
    if parts.hostname in _SERVERS and not any(identifiers(url)):
        raise ValueError(f"{url}: name the preprint's page, not a file of it")
    return url


Address = Annotated[str, AfterValidator(_clean_address)]
Doi = Annotated[str, Field(pattern=r"^10\.\d{4,9}/[^\s{}]+$")]
ArxivNumber = Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
# A spreadsheet takes a cell that begins with = + - @ for a formula.
Text = Annotated[str, Field(pattern=r"^[^\s=+\-@](.*\S)?$")]
Year = Annotated[int, Field(ge=1990, le=2100)]


def identifiers(url: str) -> tuple[str | None, str | None]:
    """DOI and arXiv number that an address holds, by rules of the publishers; None where it holds none.

    >>> identifiers("https://www.nature.com/articles/s41592-024-02201-0")
    ('10.1038/s41592-024-02201-0', None)
    >>> identifiers("https://arxiv.org/abs/2306.04371")
    (None, '2306.04371')
    """
    if match := _ARXIV.fullmatch(url):
        return None, match[1]
    for pattern, doi in _DOIS:
        if match := re.fullmatch(pattern, url):
            return unquote(match.expand(doi)), None
    return None, None


def posting_date(doi: str | None, arxiv: str | None) -> str | None:
    """When a preprint was submitted, as far as its DOI or number says: a day, a month or None.

    >>> posting_date("10.1101/2024.11.09.622759", None), posting_date(None, "2504.16956")
    ('2024-11-09', '2025-04')
    """
    if match := _DAY.fullmatch(doi or ""):
        return "-".join(match.groups())
    if match := _MONTH.fullmatch(arxiv or ""):
        return f"20{match[1]}-{match[2]}"
    return None


class _Addressed(BaseModel):
    """A publication with an address: DOI and arXiv number are read from it where it holds them."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _read_identifiers(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(fields.get("url"), str):
            return fields
        in_address = dict(zip(("doi", "arxiv"), identifiers(fields["url"]), strict=True))
        for name, value in in_address.items():
            if value and fields.get(name, value) != value:
                raise ValueError(f"`{name}` is {fields[name]}, but `url` says {value}")
        return fields | {name: value for name, value in in_address.items() if value}


class Preprint(_Addressed):
    """The preprint of a paper that has appeared elsewhere, or whose published address is not known."""

    venue: PreprintVenue
    year: Year
    title: Text | None = None  # where it differs
    url: Address | None = None
    doi: Doi | None = None
    arxiv: ArxivNumber | None = None
    source: Text | None = None  # who names its address, where no edition of the list does

    @model_validator(mode="after")
    def _server_is_the_venue(self) -> "Preprint":
        _require_venue_of(self.url, self.venue)
        return self


class Place(BaseModel):
    """A further place in the list where a paper is shown, for example its data set under data sets."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    section: str
    subsection: str | None = None
    title: Text | None = None  # under which it is shown there


class Descent(BaseModel):
    """What a model takes of an earlier one, and where that is stated. Likeness alone is no descent."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    paper: str  # entry of the earlier model
    takes: Literal["tokens", "weights"]
    source: Text


class Section(Card):
    """One section of ``data/literature/sections.yml``, with its subsections in their order."""

    title: str
    subsections: Parameters = Field(default_factory=dict)  # name to title


class Paper(Card, _Addressed):
    """One paper of ``data/literature/reading_list.yml``.

    ``url`` is the published version; a paper known by its preprint alone, but published elsewhere, has
    ``preprint`` and no ``url``. A paper that only ever was a preprint has its server as ``venue``.
    """

    title: Text
    short_name: Text | None = None
    other_titles: tuple[Text, ...] = ()  # under which it has been listed
    authors: tuple[Text, ...] = ()  # "Family, Given"; the last may be "others"; empty where unknown
    authors_source: Text | None = None  # who names them, where it is not the paper itself
    year: Year
    venue: Text | None = None
    url: Address | None = None
    doi: Doi | None = None
    arxiv: ArxivNumber | None = None
    preprint: Preprint | None = None
    other_urls: tuple[Address, ...] = ()
    code: Address | None = None
    section: str
    subsection: str | None = None
    also_in: tuple[Place, ...] = ()
    kind: Kind | None = None
    modality: tuple[Modality, ...] = ()
    inputs: tuple[Input, ...] = ()  # of a model, where its place in the list does not say it
    trunk: Trunk | None = None  # of the tree of models, likewise
    peer_reviewed: Text | None = None  # who says that it is, where `venue` is a preprint server
    tokenisation: tuple[Tokenisation, ...] = ()
    objective: tuple[Objective, ...] = ()
    editions: tuple[Edition, ...] = Field(min_length=1)
    supersedes: str | None = None  # the entry of which this is a newer version
    builds_on: tuple[Descent, ...] = ()
    checked: Literal["never"] | date  # when somebody last saw that the addresses lead to the paper
    corrections: tuple[Text, ...] = ()  # what was wrong in a source, and is not here

    @property
    def link(self) -> str | None:
        """The address to show, that of the published version or else of the preprint."""
        return self.url or (self.preprint.url if self.preprint else None)

    @property
    def first_year(self) -> int:
        """The year in which it was first posted or published, as far as the entry knows."""
        return min(self.year, self.preprint.year if self.preprint else self.year)

    @property
    def first_date(self) -> str:
        """The first year, with month and day where an identifier of that year holds them."""
        preprint = self.preprint or self
        dates = [posting_date(self.doi, self.arxiv), posting_date(preprint.doi, preprint.arxiv)]
        return min(
            (d for d in dates if d and d.startswith(str(self.first_year))), default=str(self.first_year)
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of the entry, the published version's first."""
        preprint = self.preprint.url if self.preprint else None
        return tuple(url for url in (self.url, preprint, *self.other_urls, self.code) if url)

    @property
    def titles(self) -> tuple[str, ...]:
        """Every title the paper is or was listed under, its own first."""
        preprint = self.preprint.title if self.preprint else None
        places = [place.title for place in self.also_in]
        return tuple(title for title in (self.title, *self.other_titles, preprint, *places) if title)

    @property
    def author_line(self) -> str:
        """The authors in one line; "and others" where the entry does not name them all."""
        if self.authors[-1:] == ("others",):
            return f"{'; '.join(self.authors[:-1])} and others"
        return "; ".join(self.authors)

    @property
    def places(self) -> tuple[tuple[str, str | None], ...]:
        """(section, subsection) of every place where it is shown, its own first."""
        return (self.section, self.subsection), *((p.section, p.subsection) for p in self.also_in)

    @property
    def tags(self) -> tuple[str, ...]:
        """Kind, modality, tokenisation and objective in one row."""
        return (*([self.kind] if self.kind else []), *self.modality, *self.tokenisation, *self.objective)

    @model_validator(mode="after")
    def _server_is_the_venue(self) -> "Paper":
        _require_venue_of(self.url, self.venue)
        if self.link is None:
            raise ValueError("needs a `url`, or a `preprint` with one")
        return self


def _require_venue_of(url: str | None, venue: str | None) -> None:
    """Refuse an arXiv link tagged as bioRxiv, and a preprint's link as that of the published paper."""
    server = _SERVERS.get(urlsplit(url).hostname) if url else None
    if server not in (None, venue):
        raise ValueError(f"{url} is on {server}, not in {venue}: correct one, or move it to `preprint`")
