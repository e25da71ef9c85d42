"""The built book, served on 127.0.0.1 and opened in headless Chromium.

``ZEROSHOT_BOOK`` names the folder of the built HTML; it must then exist. Without it ``build/html``
is read, and the tests are skipped where nothing has been built yet.
"""

import functools
import http.server
import os
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
both_widths = pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
# Folders whose pages are made by one template each, and the page in them that is not: Sphinx puts its list of
# module sources together with lists right within lists.
ALIKE = ("_modules", "book/api", "book/reading_list", "runs")
OF_SPHINX = "_modules/index.html"


def book_folder() -> Path:
    return Path(os.environ.get("ZEROSHOT_BOOK") or ROOT / "build" / "html").resolve()


def html_pages(folder: Path) -> list[str]:
    """Every page a reader can open, relative to the book; pages that only redirect are left out."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html"))]
    return [
        name
        for name in names
        if not name.startswith("_static/")
        and 'http-equiv="refresh"' not in (folder / name).read_text("utf-8")[:500].lower()
    ]


@functools.lru_cache(maxsize=512)
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def one_of_each_kind(pages: list[str]) -> list[str]:
    """The first page of every kind, where looking at all would take long."""
    chosen = {}
    for page in pages:
        if page == OF_SPHINX:
            continue
        kind = next((folder for folder in ALIKE if page.startswith(f"{folder}/")), page)
        chosen.setdefault(kind, page)
    return list(chosen.values())


def with_few_sources(pages: list[str]) -> list[str]:
    """All pages, but of the highlighted sources of modules, more than half of a book and all alike, three."""
    sources = [page for page in pages if page.startswith("_modules/") and page != OF_SPHINX]
    return [page for page in pages if page not in sources[3:]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per page; a test that asks for ``run_page`` or ``page_of_a_kind`` sees only those."""
    for argument in ("html_page", "run_page", "page_of_a_kind"):
        if argument in metafunc.fixturenames:
            pages = with_few_sources(html_pages(book_folder())) if book_folder().is_dir() else []
            if argument == "run_page":
                pages = [page for page in pages if page.startswith("runs/")]
            if argument == "page_of_a_kind":
                pages = one_of_each_kind(pages)
            # Without a book the one test that is left says so when it asks for `book`.
            metafunc.parametrize(argument, pages or ["(no page)"])


@pytest.fixture(scope="session")
def book() -> Path:
    folder = book_folder()
    if not (folder / "index.html").is_file():
        if os.environ.get("ZEROSHOT_BOOK"):
            pytest.fail(f"ZEROSHOT_BOOK={folder} holds no index.html")
        pytest.skip(f"no book in {folder}: run `make book` first")
    return folder


@pytest.fixture(scope="session")
def site(book: Path):
    """Address of the book on a free port of 127.0.0.1."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=book)
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def chromium(book: Path):
    """Debian's Chromium, driven by Playwright; no browser is downloaded."""
    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if executable is None:
        reason = "no Chromium on this machine: apt-get install chromium"
        (pytest.fail if os.environ.get("ZEROSHOT_BOOK") else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@dataclass
class Tab:
    """A browser tab that remembers everything that went wrong in it."""

    page: object
    site: str
    problems: list[str] = field(default_factory=list)

    def open(self, name: str) -> None:
        self.page.goto(f"{self.site}/{name}", wait_until="load")
        self.settle()

    def settle(self) -> None:
        """Wait for fonts, formulas and one frame: what is measured before may still move."""
        self.page.evaluate(
            """async () => {
              await document.fonts.ready;
              await window.MathJax?.startup?.promise;
              await new Promise(requestAnimationFrame);
            }"""
        )

    def set_scheme(self, scheme: str) -> None:
        """What the reader's system asks for: "light" or "dark"."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")


@pytest.fixture(scope="session")
def new_tab(chromium, site: str):
    """Make tabs of a given size; nothing outside the site can be reached from them."""
    here = urlsplit(site).netloc

    def new(viewport: dict) -> Tab:
        context = chromium.new_context(viewport=viewport)
        context.set_default_timeout(20_000)
        page = context.new_page()
        tab = Tab(page, site)

        def watch(request):
            url = urlsplit(request.url)
            if url.scheme in ("http", "https", "ws", "wss") and url.netloc != here:
                tab.problems.append(f"request to another host: {request.url}")

        # The guard is asked only about other hosts: asking it about each file would be slow.
        context.route(lambda url: urlsplit(url).netloc not in (here, ""), lambda route: route.abort())
        page.on("request", watch)
        page.on("console", lambda m: m.type == "error" and tab.problems.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: tab.problems.append(f"script: {error}"))
        page.on("requestfailed", lambda r: tab.problems.append(f"failed: {r.url} {r.failure}"))
        page.on("response", lambda r: r.status >= 400 and tab.problems.append(f"status {r.status}: {r.url}"))
        return tab

    return new


@pytest.fixture(scope="session")
def shared_tabs() -> dict[int, Tab]:
    return {}


@pytest.fixture
def open_tab(new_tab, shared_tabs: dict[int, Tab]):
    """A tab of a given width, kept from test to test: a cold cache would cost a second a page."""

    def shared(viewport: dict = DESKTOP) -> Tab:
        tab = shared_tabs.get(viewport["width"]) or new_tab(viewport)
        shared_tabs[viewport["width"]] = tab
        tab.page.goto("about:blank")
        tab.page.emulate_media(color_scheme="light")
        tab.problems.clear()
        return tab

    return shared
