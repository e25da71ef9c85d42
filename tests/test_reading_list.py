"""Pages of the reading list: every paper is there, what it says is escaped, every section is listed."""

import yaml
from bs4 import BeautifulSoup

import reading_list
from reading_list import entries, pages
from zeroshot.runtime import paths


def test_the_table_holds_every_paper_once():
    table = BeautifulSoup(pages.pages()["reading_list"], "html.parser").find("table")
    rows = table.tbody.find_all("tr")
    papers = reading_list.load()
    assert [row["id"] for row in rows] == [f"paper-{name}" for name in papers]
    for row, paper in zip(rows, papers.values(), strict=True):
        entry, title = (row.th.find("a", class_=mark) for mark in ("entry", False))
        assert entry["href"] == f"#paper-{paper.name}"
        assert title.text == paper.title and title["href"] == paper.link
        assert "@" in row.find("button")["data-cite"] and paper.name in row.find("button")["data-cite"]


def test_a_section_page_holds_the_papers_shown_there():
    texts = pages.pages()
    for name in reading_list.sections():
        listed = BeautifulSoup(texts[f"reading_list/{name}"], "html.parser").select("ul.papers li")
        expected = [
            paper for paper in reading_list.load().values() for section, _ in paper.places if section == name
        ]
        assert len(listed) == len(expected) > 0, name


def test_every_page_is_in_the_table_of_contents():
    text = yaml.safe_load((paths.home() / "_toc.yml").read_text())
    (chapter,) = [
        chapter
        for part in text["parts"]
        for chapter in part["chapters"]
        if chapter.get("file") == "book/reading_list"
    ]
    assert [section["file"] for section in chapter["sections"]] == [
        f"book/reading_list/{name}" for name in (*reading_list.sections(), "editions", "survey_sections")
    ]


def test_what_a_title_says_is_shown_and_not_read_as_marks(monkeypatch):
    paper = next(iter(reading_list.load().values()))
    hostile = paper.model_copy(
        update={"title": "<script>alert(1)</script> & `code` $x$", "short_name": '"><b>'}
    )
    monkeypatch.setattr(entries, "load", lambda: {hostile.name: hostile})
    for text in pages.pages().values():
        page = BeautifulSoup(text, "html.parser")
        assert not page.find("b") and all(script.get("src") for script in page.find_all("script"))
    row = BeautifulSoup(pages.pages()["reading_list"], "html.parser").tbody.tr
    assert row.th.find("a", class_=False).text == hostile.title
    assert row.th.find("a", class_="entry").text == hostile.short_name


def test_downloads_hold_every_paper():
    files = pages.downloads()
    assert set(files) == set(pages.DOWNLOADS)
    assert all(name in text for text in files.values() for name in reading_list.load())
