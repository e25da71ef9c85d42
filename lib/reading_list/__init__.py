"""The reading list under ``data/literature``: papers read into frozen records, searched and exported.

What a file may say is checked when it is read: closed lists of words, clean addresses, every paper once,
every reference alive. DOI and arXiv number are read from the address, not typed. The list is a package
beside ``zeroshot``: it needs its registries and paths, and nothing that computes.
"""

from reading_list.entries import load, sections
from reading_list.records import Paper, Section
from reading_list.search import matching_papers, papers_by_place

__all__ = [
    "Paper", "Section", "editions", "export", "lineage", "links", "load", "matching_papers", "pages",
    "papers_by_place", "sections", "survey", "tables",
]  # fmt: skip
