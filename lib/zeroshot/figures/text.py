"""Text and sizes of figures: what data and cards say is shown as it is, however much of it there is.

A figure reads no text as mathematics, has legends of its own (matplotlib leaves labels out that begin with an
underscore), and stays within bounds: long texts are shortened in the figure and stand in full in its table,
and what does not fit is counted below it.
"""

import functools
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import LogFormatter

from zeroshot.runtime.escaping import UNPRINTABLE

LONGEST = 40  # letters of a label
LONGEST_TITLE = 80
MOST_LINES = 3  # of a label
MOST_ENTRIES = 60  # of a legend
WIDEST, TALLEST = 24.0, 60.0  # inches
# Have letters that the sans-serif fonts of matplotlib lack; those that are installed are used for these.
WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo",
    "Microsoft YaHei", "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Emoji", "Segoe UI Emoji", "Arial Unicode MS",
)  # fmt: skip


class QuietFigure(Figure):
    """A figure that draws a box for a letter that no installed font has, without a warning for each."""

    def draw(self, renderer: Any) -> None:
        """As matplotlib's."""
        with no_warning_of_glyphs():
            super().draw(renderer)

    def get_tightbbox(self, *arguments: Any, **options: Any) -> Any:
        """As matplotlib's."""
        with no_warning_of_glyphs():
            return super().get_tightbbox(*arguments, **options)


@contextmanager
def no_warning_of_glyphs() -> Iterator[None]:
    """Within it a letter that no font has is drawn as a box without a word."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
        yield


def subplots(*arguments: int, figsize: tuple[float, float], **options: Any) -> tuple[Figure, Any]:
    """As :func:`matplotlib.pyplot.subplots`, no larger than a figure may be."""
    size = (min(figsize[0], WIDEST), min(figsize[1], TALLEST))
    return plt.subplots(*arguments, figsize=size, layout="constrained", FigureClass=QuietFigure, **options)


def fit(number: int, wanted: float, least: float, room: float) -> tuple[int, float]:
    """How many rows, columns or panels fit into the room, and the size of each, all in inches.

    Each is as large as wanted where all fit, and smaller, but not below the least, where they do not.
    """
    n_fitting = max(min(number, int(room / least)), 1)
    return n_fitting, min(wanted, room / n_fitting)


@functools.cache
def fonts() -> list[str]:
    """Families to draw with, each where those before it lack a letter."""
    installed = set(font_manager.get_font_names())
    return ["sans-serif", *(name for name in WIDE_FONTS if name in installed)]


def short_text(text: object, longest: int = LONGEST) -> str:
    """A text as a figure shows it: shortened in its middle where it is long, and otherwise as it is.

    A letter of a script that is twice as wide counts as two. Characters that no figure can hold are U+FFFD.
    """
    text = UNPRINTABLE.sub("\ufffd", str(text))
    if len(text.splitlines()) > MOST_LINES:
        text = " ↵ ".join(text.splitlines())
    if _width(text) <= longest:
        return text
    end = _first(text[::-1], longest // 3)[::-1]
    return _first(text, longest - 1 - _width(end)) + "…" + end


def distinct_texts(texts: Iterable[object], longest: int = LONGEST) -> list[str]:
    """As :func:`short_text`; texts that are the same once they are shortened are numbered."""
    texts = list(texts)
    short, of = [short_text(text, longest) for text in texts], {}
    for text, label in zip(texts, short, strict=True):
        of.setdefault(label, {}).setdefault(str(text), len(of[label]) + 1)
    return [
        label if len(of[label]) == 1 else f"{label} ({of[label][str(text)]})"
        for text, label in zip(texts, short, strict=True)
    ]


def inches(texts: Iterable[str], fontsize: float) -> float:
    """About how wide the widest of some texts is drawn."""
    return max(map(_width, texts), default=0) * 0.58 * fontsize / 72


def make_room(figure: Figure, legend: Legend, ncols: int, usual: int = 4) -> None:
    """Make a figure taller by what a legend below it has in lines beyond the usual."""
    texts = legend.get_texts()
    lines = -(-len(texts) // ncols) + sum(text.get_text().count("\n") for text in texts)
    more = 0.21 * max(lines - usual, 0)
    figure.set_figheight(min(figure.get_figheight() + more, TALLEST))


def _width(text: str) -> float:
    wide = {letter: 1.5 for letter in "MWmw@%"}
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else wide.get(letter, 1) for letter in text)


def _first(text: str, width: float) -> str:
    """The beginning of a text that is no wider."""
    end = 0
    while end < len(text) and _width(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def add_legend(
    target: Any,
    entries: Sequence[tuple[Artist, object]],
    *,
    not_shown: Iterable[str] = (),
    longest: int = LONGEST,
    most: int = MOST_ENTRIES,
    **options: Any,
) -> Legend:
    """A legend whose entries are shown whatever they begin with.

    Parameters
    ----------
    target
        The axes or the figure.
    entries
        What is drawn, and its text.
    not_shown
        Sentences on what the figure leaves out, as last entries.
    longest
        Letters of an entry.
    most
        Entries that are shown; of more the first, and how many they are.
    options
        Of matplotlib's legend.
    """
    entries, nothing = list(entries), plt.Line2D([], [], linestyle="")
    left_out = len(entries) - most
    notes = [*([f"{left_out:,} more" if left_out > 0 else ""]), *not_shown]
    notes = [note for note in notes if note]
    texts = distinct_texts((text for _, text in entries[:most]), longest) + notes
    handles = [handle for handle, _ in entries[:most]] + [nothing] * len(notes)
    # Matplotlib never sees a text of ours as a label.
    legend = target.legend(handles, ["x"] * len(texts), frameon=False, **options)
    for entry, text in zip(legend.get_texts(), texts, strict=True):
        entry.set_text(text)
    return legend


class PlainLog(LogFormatter):
    """Ticks of a logarithmic axis as plain numbers: what matplotlib writes there is mathematics."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The number, where matplotlib has room for one."""
        return f"{x:,.12g}".replace("-", "−") if super().__call__(x, pos) else ""


def label_log_axis(axis: Axis, linthresh: float | None = None) -> None:
    """Plain numbers on a logarithmic axis; ``linthresh`` as of matplotlib's ``symlog``."""
    axis.set_major_formatter(PlainLog(linthresh=linthresh))
    axis.set_minor_formatter(PlainLog(minor_thresholds=(1, 0.4), linthresh=linthresh))
    axis.set_tick_params(which="minor", labelsize=8)  # numbers between two powers of ten stand close


def nothing_to_draw(what: str) -> Figure:
    """A small figure that says so."""
    figure, axis = subplots(figsize=(7.2, 1.2))
    axis.axis("off")
    axis.text(0.5, 0.5, f"Nothing to draw: {what}", ha="center", va="center", transform=axis.transAxes)
    return figure
