"""What rendering the book took and what its pages weigh, told on the status page once it is rendered."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from urllib.parse import unquote, urlsplit

from zeroshot import store
from zeroshot.runtime import templates

STATUS = "book/status.html"
PLACEHOLDER = '<div id="rendering"></div>'  # on the status page, replaced by what was measured
# What is aimed at; the status page says where it is missed.
MOST_SECONDS = 90
MOST_KB = 1000  # of a page, besides what every page loads
_LOADED = {"img": "src", "script": "src", "link": "href"}


@dataclass(frozen=True)
class Weight:
    """Bytes of a page: its HTML, and what it loads that not every page does (figures, scripts of its own)."""

    html: int
    own: int

    @property
    def total(self) -> int:
        """Both."""
        return self.html + self.own


def weigh(book: Path) -> tuple[dict[str, Weight], int]:
    """The weight of every page of a rendered book, and of what all of them load (once).

    Fonts that a style sheet names are counted only where the page names them too. Pages that only lead to
    another one are left out.
    """
    pages = {
        page: (text, _loaded(page, text, book))
        for page, text in (
            (file.relative_to(book).as_posix(), file.read_text("utf-8"))
            for file in sorted(book.rglob("*.html"))
            if not file.is_relative_to(book / "_static")
        )
        if 'http-equiv="refresh"' not in text[:500].lower()
    }
    common = set.intersection(*(files for _, files in pages.values()))
    sizes = {
        name: (book / name).stat().st_size for name in set().union(*(files for _, files in pages.values()))
    }
    weights = {
        page: Weight(len(text.encode()), sum(sizes[name] for name in files - common))
        for page, (text, files) in pages.items()
    }
    return weights, sum(sizes[name] for name in common)


def tell(book: Path, seconds: float) -> None:
    """Write onto the status page of a rendered book what rendering took and what the pages weigh.

    Parameters
    ----------
    book
        Folder of the rendered book.
    seconds
        Wall-clock time of rendering it.

    Raises
    ------
    ValueError
        If the status page does not have the placeholder exactly once.
    """
    page = book / STATUS
    text = page.read_text("utf-8")
    if text.count(PLACEHOLDER) != 1:
        raise ValueError(f"{STATUS} must hold {PLACEHOLDER} once, it does {text.count(PLACEHOLDER)} times")
    weights, common = weigh(book)
    files = [file.stat().st_size for file in book.rglob("*") if file.is_file()]
    before, report = weights[STATUS], ""
    for _ in range(2):  # the page weighs more by what it says of itself
        weights[STATUS] = Weight(before.html - len(PLACEHOLDER) + len(report.encode()), before.own)
        whole = sum(files) - before.html + weights[STATUS].html
        report = _report(weights, common, len(files), whole, seconds)
    page.write_text(text.replace(PLACEHOLDER, report), "utf-8")


def _report(weights: Mapping[str, Weight], common: int, files: int, whole: int, seconds: float) -> str:
    """What stands on the status page; ``common`` and ``whole`` in bytes."""
    pages = [
        {"name": page, "address": posixpath.relpath(page, posixpath.dirname(STATUS)), "weight": weight}
        for page, weight in sorted(weights.items(), key=lambda item: -item[1].total)
    ]
    return templates.render(
        "pages/rendering.html",
        pages=pages,
        common=common,
        n_files=files,
        whole=whole,
        seconds=seconds,
        median=median(weight.total for weight in weights.values()),
        n_heavy=sum(weight.total > MOST_KB * 1000 for weight in weights.values()),
        device=store.device_name(),
        most_seconds=MOST_SECONDS,
        most_kb=MOST_KB,
    )


def _loaded(page: str, text: str, book: Path) -> set[str]:
    """Files of the book that a browser loads with a page, relative to the book."""
    parser = _Loads()
    parser.feed(text)
    folder = posixpath.dirname(page)
    paths = [urlsplit(address) for address in parser.addresses]
    names = {
        posixpath.normpath(posixpath.join(folder, unquote(path.path)))
        for path in paths
        if path.path and not path.scheme and not path.netloc
    }
    return {name for name in names if (book / name).is_file()}


class _Loads(HTMLParser):
    """Addresses that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        loads = tag in _LOADED and (
            tag != "link" or (attributes.get("rel") or "") in ("stylesheet", "preload", "icon")
        )
        if loads and attributes.get(_LOADED[tag]):
            self.addresses.append(attributes[_LOADED[tag]])
