"""The page of what changed between editions: its counts are those of the entries."""

from collections import Counter
from itertools import pairwise
from typing import get_args

from bs4 import BeautifulSoup

import reading_list
from reading_list import editions, entries, pages, tables
from reading_list.records import Edition

PAPERS = reading_list.load()


def test_every_edition_has_a_title():
    assert tuple(editions.TITLES) == get_args(Edition)


def test_changes_add_up():
    listed = Counter(edition for paper in PAPERS.values() for edition in paper.editions)
    changes = editions.changes()
    *ours, added = [len(change.listed) for change in changes]
    assert [change.edition for change in changes] == list(editions.TITLES)
    assert ours == [listed[change.edition] for change in changes[:-1]]
    assert added == len(changes[-2].listed) + listed["ours"] and not changes[-1].removed
    assert changes[0].added == changes[0].listed and not changes[0].removed
    for before, change in pairwise(changes):
        if change.edition != "ours":
            assert len(change.listed) == len(before.listed) + len(change.added) - len(change.removed)
        assert set(change.added) <= set(change.listed) and not set(change.removed) & set(change.listed)


def test_what_was_added_here_takes_nothing_away(monkeypatch):
    first, second = list(PAPERS.values())[:2]
    earlier = first.model_copy(update={"editions": ("2026-07",)})
    new = second.model_copy(update={"editions": ("ours",)})
    monkeypatch.setattr(entries, "load", lambda: {earlier.name: earlier, new.name: new})
    assert [(c.edition, len(c.added), len(c.removed)) for c in editions.changes()] == [
        ("2026-07", 1, 0),
        ("ours", 1, 0),
    ]


def test_the_page_has_every_change_once():
    page = BeautifulSoup(pages.pages()["reading_list/editions"], "html.parser")
    counts = [[cell.text for cell in row.find_all("td")] for row in page.select("table.counts tbody tr")]
    changes = editions.changes()
    assert counts[0] == [str(len(changes[0].listed)), "–", "–"]
    assert counts[1:] == [[str(len(n)) for n in (c.listed, c.added, c.removed)] for c in changes[1:]]
    for word in ("added", "removed"):
        names = [link["href"].partition("#paper-")[2] for link in page.select(f"table.{word} tbody th a")]
        assert names == [paper.name for change in changes[1:] for paper in getattr(change, word)]
    corrected = page.select("table.corrected tbody tr")
    assert len(corrected) == len(editions.papers_with_corrections()) > 0


def test_titles_are_escaped(monkeypatch):
    paper = next(iter(PAPERS.values())).model_copy(update={"title": "<b>x</b> & y", "editions": ("e2",)})
    old = paper.model_copy(update={"name": "old", "editions": ("e1",)})
    monkeypatch.setattr(entries, "load", lambda: {old.name: old, paper.name: paper})
    assert not BeautifulSoup(pages.pages()["reading_list/editions"], "html.parser").find("b")


def test_the_table_of_editions_counts_what_was_retained_added_and_removed(monkeypatch):
    paper = next(iter(PAPERS.values()))
    listed_in = {"a": ("e1",), "b": ("e1", "e2"), "c": ("e2",), "d": ("e2",)}
    listed = {name: paper.model_copy(update={"name": name, "editions": e}) for name, e in listed_in.items()}
    monkeypatch.setattr(entries, "load", lambda: listed)
    first, second = tables.papers_by_edition().to_dict("records")
    assert first == {"title": "First edition", "retained": 0, "added": 2, "removed": 0}
    assert second == {"title": "Second edition", "retained": 1, "added": 2, "removed": 1}


def test_the_table_of_papers_has_the_titles_of_their_sections():
    table = tables.papers()
    name, paper = next(iter(PAPERS.items()))
    row = table.iloc[0].to_dict()
    assert len(table) == len(PAPERS)
    assert row["section"] == entries.sections()[paper.section].title
    assert (row["year"], row["venue"], row["kind"]) == (paper.year, paper.venue, paper.kind), name
