"""What a reader gets: every page of the built book, in a browser without a network."""

import functools
import html
import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pandas as pd
import pybtex.database
import pytest
from conftest import ROOT, book_folder, both_widths, html_pages, parsed

from zeroshot.notebooks import stamp
from zeroshot.store import dependencies

pytestmark = pytest.mark.book

# Elements beside or in the article that reach past the right edge and cannot be scrolled to.
CUT_OFF = """() => {
  const scrolls = element => {
    for (let e = element; e && e !== document.body; e = e.parentElement) {
      if (['auto', 'scroll'].includes(getComputedStyle(e).overflowX)) return true;
    }
    return false;
  };
  return [...document.querySelectorAll('.bd-article-container *')]
    .filter(e => e.checkVisibility({visibilityProperty: true}))
    .filter(e => !e.closest('mjx-assistive-mml, .headerlink'))
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e))
    .slice(0, 5)
    .map(e => e.tagName.toLowerCase() + '.' + e.className + ': ' + (e.textContent || '').trim().slice(0, 60));
}"""

# Text whose colour is too close to what lies behind it (WCAG asks for 4.5; large text may have 3).
UNREADABLE = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => channels(colour).slice(0, 3)
    .map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((channels(colour)[3] ?? 1) > 0.5) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('.bd-article :is(p, li, td, th, dt, dd, summary, h1, h2, h3)')]
    .filter(e => e.checkVisibility() && e.textContent.trim())
    .filter(e => {
      const [dark, light] = [getComputedStyle(e).color, behind(e)].map(luminance).sort((a, b) => a - b);
      return (light + 0.05) / (dark + 0.05) < 3;
    })
    .slice(0, 5)
    .map(e => e.tagName.toLowerCase() + ': ' + e.textContent.trim().slice(0, 60));
}"""


@functools.lru_cache(maxsize=512)
def anchors(path: Path) -> frozenset[str]:
    """Names that a link can end in; not by parsing: sources of modules are half of what a book weighs."""
    names = re.findall(r'\s(?:id|name)="([^"]+)"', path.read_text("utf-8"))
    return frozenset(map(html.unescape, names))


@both_widths
def test_page_opens_cleanly(html_page, viewport, book, open_tab):
    """No console error, failed request or request to another host; nothing wider than the window."""
    tab = open_tab(viewport)
    tab.open(html_page)
    for scheme in ("light", "dark"):
        tab.set_scheme(scheme)
        wide, window = tab.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= window + 1, f"{scheme}: the page is {wide} px wide in a window of {window} px"
        assert tab.page.evaluate(CUT_OFF) == [], f"{scheme}: cut off at the right edge"
        assert tab.page.evaluate(UNREADABLE) == [], f"{scheme}: too little contrast"
    assert tab.problems == []


def test_page_has_one_title_and_described_images(html_page, book):
    page = parsed(book / html_page)
    # The theme repeats the title for paper, hidden on screens.
    titles = [title.get_text() for title in page.find_all("h1") if not title.find_parent(class_="onlyprint")]
    assert len(titles) == 1, f"expected one h1, found {titles}"
    for image in page.find_all("img"):
        described = (image.get("alt") or "").strip()
        # Sphinx puts the file name where a figure says nothing: no better than silence to a listener.
        assert described and not re.search(r"\.(png|svg|jpe?g|gif)$", described), (
            f"{image.get('src')} has no description. In a notebook, set the cell's metadata "
            'to {"mystnb": {"image": {"alt": "what the figure shows"}}}'
        )


def test_links_lead_somewhere(html_page, book):
    """Every address on the page that stays in the book exists, down to the anchor."""
    path, broken = book / html_page, []
    for tag in parsed(path).find_all(lambda tag: tag.has_attr("href") or tag.has_attr("src")):
        address = urlsplit(tag.get("href") or tag.get("src") or "")
        if address.scheme or address.netloc:
            if tag.name not in ("a", "area"):
                assert address.scheme == "data", f"<{tag.name}> loads {address.geturl()}"
            continue
        within = unquote(urlsplit(urljoin(f"http://book/{html_page}", address.path)).path).lstrip("/")
        target = path if not address.path else book / within
        if target.is_dir():
            target /= "index.html"
        fragment = address.fragment and target.suffix == ".html" and unquote(address.fragment)
        if not target.is_file() or (fragment and fragment not in anchors(target)):
            broken.append(address.geturl())
    assert broken == []


def test_no_text_of_a_failed_build(html_page, book):
    """No traceback, unresolved reference or leaked markup in what the reader sees."""
    article = parsed(book / html_page).find("article") or parsed(book / html_page)
    prose = " ".join(
        piece for piece in article.find_all(string=True) if not piece.find_parents(["pre", "code", "script"])
    )
    traces = ("{glue:", "{cite", "{doc}", "Traceback (most recent call last)", "system-message")
    for trace in (*traces, "<a href", "+nan"):
        assert trace not in prose, f"{trace!r} in the text"
    assert "<IPython.core.display." not in article.get_text(), "an output without anything to show"
    assert not article.select(".system-message, .problematic")


def test_no_file_holds_a_path_of_the_builder(book):
    """Warnings, metadata of notebooks and tables would name folders of whoever built the book."""
    folders = {Path(folder).as_posix() for folder in (ROOT, ROOT.resolve(), Path.home(), sys.prefix)}
    # A folder right below the root ("/root") is a word that scripts may hold for their own reasons.
    marks = [f"{folder}/".encode() for folder in sorted(folders) if folder.count("/") > 1]
    marks += [f"{folder}/.".encode() for folder in sorted(folders) if folder.count("/") == 1]
    held = {
        path.relative_to(book).as_posix(): mark.decode()
        for path in book.rglob("*")
        if path.is_file()
        for mark in marks
        if mark in path.read_bytes()
    }
    assert held == {}


def test_sources_shown_are_those_of_the_libraries(book):
    assert {path.stem for path in (book / "_modules").iterdir()} == {"index", *dependencies.LIBRARIES}


def test_intro_shows_the_numbers_of_the_build(book):
    article = parsed(book / "book/intro.html").find("article")
    glued = [value.get_text(strip=True) for value in article.select(".pasted-text")]
    assert len(glued) >= 9, f"expected the glued values of the headline table, found {glued}"
    assert all(glued)
    assert not [value for value in glued if value.lower() in ("nan", "none", "inf", "<na>")]


def test_index_leads_to_the_introduction(book, open_tab):
    tab = open_tab()
    tab.page.goto(f"{tab.site}/index.html")
    tab.page.wait_for_url("**/book/intro.html", wait_until="load")
    tab.settle()
    assert tab.problems == []


@both_widths
def test_search_works_without_a_network(viewport, book, open_tab):
    tab = open_tab(viewport)
    tab.open("search.html?q=Harmony")
    tab.page.wait_for_selector("#search-results ul.search li a")
    tab.page.wait_for_load_state("networkidle")
    excerpts = [text.casefold() for text in tab.page.locator("#search-results p.context").all_inner_texts()]
    assert sum("harmony" in text for text in excerpts) > len(excerpts) / 2 > 2
    assert not [text for text in excerpts if ".ipynb" in text or not text.strip(" .")]
    assert tab.problems == []


@both_widths
def test_theme_switch(viewport, book, new_tab):
    tab = new_tab(viewport)  # the choice is remembered: not in a tab that others use
    tab.open("book/intro.html")
    tab.set_scheme("light")
    seen = set()
    for _ in range(3):
        tab.page.locator("button.theme-switch-button:visible").first.click()
        background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        seen.add((tab.page.evaluate("document.documentElement.dataset.theme"), background))
    themes = {theme for theme, _ in seen}
    assert themes == {"light", "dark"}
    assert len({background for _, background in seen}) == 2, "the switch changes no colour"


def test_formulas_are_drawn_from_the_site(book, open_tab):
    # Sources of modules, most of the pages, have none; reading all of them would take long.
    pages = (name for name in html_pages(book) if not name.startswith("_modules/"))
    with_formula = next((name for name in pages if parsed(book / name).select(".math")), None)
    if with_formula is None:
        pytest.skip("no page of this book has a formula")
    tab = open_tab()
    tab.open(with_formula)
    tab.page.wait_for_selector("mjx-container svg", state="attached")
    assert tab.problems == []


@functools.lru_cache(maxsize=512)
def held_by(file: Path) -> int:
    """Rows of a table, or code cells of a notebook whose last one has left a stamp."""
    if file.suffix == ".csv":
        return len(pd.read_csv(file))
    stamp.read(file)
    return sum(cell["cell_type"] == "code" for cell in json.loads(file.read_text())["cells"])


def test_page_offers_its_data(html_page, book):
    """The tables of the study, of an executed page also its notebook, and of a run its scores."""
    if html_page == "search.html" or html_page.startswith("_modules/"):
        return  # made by Sphinx, with no article
    links = [link["href"] for link in parsed(book / html_page).select(".downloads a[download]")]
    files = [book / urljoin(f"http://book/{html_page}", link).removeprefix("http://book/") for link in links]
    assert all(file.is_file() and held_by(file) for file in files), links
    names = [file.relative_to(book).as_posix() for file in files]
    assert len([name for name in names if re.fullmatch(r"downloads/[^/]+\.csv", name)]) >= 4
    page = html_page.removesuffix(".html")
    executed = page.startswith(("notebooks/", "runs/"))
    assert (f"_sources/{page}.ipynb" in names) == executed
    assert (f"downloads/{page}.csv" in names) == page.startswith("runs/")


@pytest.fixture
def reading_list(viewport, book, new_tab):
    """The table of the reading list in a tab that may use the clipboard."""
    tab = new_tab(viewport)
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.open("book/reading_list.html")
    return tab


def shown_papers(tab):
    return tab.page.locator("#papers tbody tr:visible")


@both_widths
def test_a_paper_is_searched_and_filtered(reading_list):
    tab, papers = reading_list, pd.read_json(reading_list_file("json"))
    assert shown_papers(tab).count() == len(papers)
    tab.page.fill("form.filters input", "geneformer NATURE")
    ids = {row.get_attribute("id") for row in shown_papers(tab).all()}
    assert "paper-geneformer" in ids and len(ids) < 10
    assert tab.page.inner_text("form.filters output") == f"{len(ids)} papers"
    tab.page.fill("form.filters input", "")
    tab.page.select_option("select[name=section]", "pathology")
    tab.page.select_option("select[name=kind]", "model")
    chosen = (papers["section"] == "pathology") & (papers["kind"] == "model")
    assert shown_papers(tab).count() == chosen.sum() > 0
    tab.page.fill("form.filters input", "no such words")
    assert shown_papers(tab).count() == 0 and tab.problems == []


@both_widths
def test_papers_are_sorted(reading_list):
    head = reading_list.page.locator("#papers thead th", has_text="Year")
    for order in ("ascending", "descending"):
        head.locator("button").click()
        years = [
            int(cell)
            for cell in reading_list.page.locator("#papers tbody td:nth-of-type(2)").all_inner_texts()
        ]
        assert (
            years == sorted(years, reverse=order == "descending") and head.get_attribute("aria-sort") == order
        )


@both_widths
def test_a_link_leads_to_a_paper_that_filters_hide(reading_list):
    reading_list.page.fill("form.filters input", "no such words")
    reading_list.page.evaluate("location.hash = 'paper-geneformer'")
    # Scrolling there is smooth, so it takes a moment.
    reading_list.page.wait_for_function(
        """() => {
          const row = document.getElementById('paper-geneformer').getBoundingClientRect();
          return row.height > 0 && row.top > 0 && row.top < innerHeight;
        }"""
    )
    assert reading_list.problems == []


@both_widths
def test_bibtex_is_copied(reading_list):
    button = reading_list.page.locator("#paper-geneformer button.cite")
    button.click()
    reading_list.page.wait_for_function("b => b.textContent === 'copied'", arg=button.element_handle())
    copied = pybtex.database.parse_string(
        reading_list.page.evaluate("navigator.clipboard.readText()"), "bibtex"
    )
    assert list(copied.entries) == ["geneformer"]
    assert copied.entries["geneformer"].fields["year"] == "2023"


def test_the_reading_list_can_be_downloaded(book):
    papers = pd.read_json(reading_list_file("json"))
    assert len(pd.read_csv(reading_list_file("csv"))) == len(papers)
    assert len(pybtex.database.parse_file(reading_list_file("bib"), "bibtex").entries) == len(papers)
    assert reading_list_file("ris").read_text("utf-8").count("\nER  - ") == len(papers)
    offered = {link["href"] for link in parsed(book / "book/reading_list.html").select("article a[download]")}
    assert {f"../downloads/reading_list.{form}" for form in ("bib", "ris", "csv", "json")} <= offered


def reading_list_file(suffix):
    return book_folder() / "downloads" / f"reading_list.{suffix}"


def test_chapters_state_their_conclusions(book):
    """First, as lists, on the page and in its notebook, with no mark that only the book fills in."""
    for page in sorted((book / "notebooks").glob("*.html")):
        section = parsed(page).select_one("article section section")
        assert section is not None and section["id"] == "key-takeaways", page.name
        assert section.select(".cell_output li"), page.name
        source = (book / "_sources" / "notebooks" / page.with_suffix(".ipynb").name).read_text()
        assert "{glue:" not in source and "text/markdown" in source, page.name


def test_run_page_carries_its_stamp(run_page, book):
    if "Runs whose scores are committed" in (book / "book/status.html").read_text("utf-8"):
        pytest.skip("a book from committed scores has no run pages")
    assert (book / run_page).is_file(), "the book has no run page"
    assert "Re-run this page" in parsed(book / run_page).find("article").get_text()


def test_every_run_page_is_listed(book):
    listed = {
        urlsplit(urljoin("http://book/book/runs.html", link["href"])).path.lstrip("/")
        for link in parsed(book / "book/runs.html").find("article").find_all("a", href=True)
    }
    assert {name for name in html_pages(book) if name.startswith("runs/")} <= listed


@pytest.mark.parametrize("scheme", ["light", "dark"])
@both_widths
def test_screenshots(viewport, scheme, book, open_tab):
    """Pictures of a few pages beside the book, for a human to look at."""
    runs = [name for name in html_pages(book) if name.startswith("runs/")]
    folder = book.parent / "screenshots"
    for name in ["book/intro.html", "notebooks/02_cell_types.html", "notebooks/03_batches.html", *runs[:1]]:
        tab = open_tab(viewport)
        tab.open(name)
        tab.set_scheme(scheme)
        picture = folder / f"{Path(name).stem}-{viewport['width']}-{scheme}.png"
        tab.page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 5_000
