"""What all figures share: an opaque white ground and colour-blind-safe colours."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from zeroshot import catalog

from .text import MOST_ENTRIES, distinct_texts, fonts, no_warning_of_glyphs

DATASET_MARKERS = "oXsDPv^<>*pdhH8"
TIE_COLOUR = "#949494"
OTHERS_COLOUR = (0.8, 0.8, 0.8)  # of groups beyond those that a legend has room for

Parameters = ParamSpec("Parameters")


def draws(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Decorator of every ``draw_<what>``: our style, and no text of its figure is read as mathematics."""

    @functools.wraps(draw)
    def drawing(*arguments: Parameters.args, **options: Parameters.kwargs) -> Figure:
        set_style()
        before = plt.rcParams["text.parse_math"]
        # A text keeps what was set when it was made. Not `rc_context`: it would also take back that a
        # notebook shows figures after their cell, which matplotlib sets when it makes the first.
        plt.rcParams["text.parse_math"] = False
        try:
            with no_warning_of_glyphs():
                return draw(*arguments, **options)
        finally:
            plt.rcParams["text.parse_math"] = before

    return drawing


def dataset_marker(datasets: list[str], name: str) -> str:
    """Marker of a data set among those of a figure: a registered one has the same in all figures."""
    order = [*catalog.datasets(), *datasets]
    return DATASET_MARKERS[order.index(name) % len(DATASET_MARKERS)]


def dataset_entries(datasets: list[str]) -> list[tuple[plt.Line2D, str]]:
    """Entries of a legend that say which marker is which data set."""
    return [
        (plt.Line2D([], [], marker=dataset_marker(datasets, name), linestyle="", color="#444444"), name)
        for name in datasets
    ]


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever stands out more from a colour (red, green, blue from 0 to 1).

    Relative luminance is as WCAG 2 defines it; at 0.179 both have the same contrast, 4.58.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if luminance > 0.179 else "#ffffff"


def heat_map(table: pd.DataFrame, axis: plt.Axes, **options: Any) -> None:
    """A heat map with numbers that can be read: seaborn writes white on colours that are too pale for it.

    Rows and columns are named as the table names them, each of them.
    """
    names = {"xticklabels": distinct_texts(table.columns), "yticklabels": distinct_texts(table.index)}
    sns.heatmap(table, cmap="cividis", cbar=False, linewidths=0.5, ax=axis, **names, **options)
    axis.tick_params(axis="y", rotation=0)  # seaborn turns the names of few rows
    fields = axis.collections[0]
    fields.update_scalarmappable()
    colours = fields.get_facecolors().reshape(*table.shape, 4)
    for text in axis.texts:
        x, y = text.get_position()  # of the middle of a field
        text.set_color(ink_on(colours[int(y), int(x)]))


def place_point(
    axis: plt.Axes,
    point: dict[str, Any],
    column: str,
    row: int,
    datasets: list[str],
    colour: str,
    *,
    hollow: bool,
) -> None:
    """A value of a data set with its interval, in a row of points, at a height of its own."""
    shift = (datasets.index(point["dataset"]) + 0.5) / len(datasets) - 0.5
    height = row + 0.6 * shift
    axis.plot([point["low"], point["high"]], [height, height], color=colour, linewidth=1, alpha=0.7)
    axis.plot(
        point[column],
        height,
        marker=dataset_marker(datasets, point["dataset"]),
        color=colour,
        markerfacecolor="white" if hollow else colour,
        markersize=6,
        linestyle="",
    )


def group_colours(n_colours: int) -> list[tuple[float, float, float]]:
    """Colours (red, green, blue from 0 to 1) for groups, which up to 30 also the colour-blind can tell apart.

    Ten colours, then the same ten darkened, then the ten made paler: who sees few hues sees lightness. More
    than 30 are evenly spaced hues, of which some will look alike to everybody.
    """
    base = sns.color_palette("colorblind", 10)
    if n_colours > 3 * len(base):
        return list(sns.color_palette("husl", n_colours))
    darker, paler = ([_mixed(colour, *other) for colour in base] for other in ((0.0, 0.4), (1.0, 0.35)))
    return [*base, *darker, *paler][:n_colours]


class Groups:
    """Cell types or batches as a figure shows them.

    As many groups as a legend has entries have a colour each. Of more, those with most cells have one, and
    all others are grey.

    Attributes
    ----------
    labels
        Of the groups that have cells, in the order of the categories.
    cells
        (groups,) cells of each.
    colours
        (groups, 3) red, green and blue from 0 to 1.
    codes
        (cells,) group of each cell, -1 for none.
    named
        Positions of the groups that have a colour of their own, ascending.
    """

    def __init__(self, column: pd.Series):
        groups = column.astype("category").cat.remove_unused_categories()
        self.labels = list(groups.cat.categories)
        self.codes = groups.cat.codes.to_numpy()
        self.cells = np.bincount(self.codes[self.codes >= 0], minlength=len(self.labels))
        self.named = np.sort(np.argsort(-self.cells, kind="stable")[:MOST_ENTRIES])
        self.colours = np.full((len(self.labels), 3), OTHERS_COLOUR)
        self.colours[self.named] = np.reshape(group_colours(len(self.named)), (-1, 3))

    def of_cells(self) -> np.ndarray:
        """(cells, 3) colours, grey for a cell of no group."""
        return np.vstack([self.colours, OTHERS_COLOUR])[self.codes]

    def entries(self) -> list[tuple[plt.Line2D, str]]:
        """Entries of a legend."""
        return [
            (plt.Line2D([], [], marker="o", linestyle="", color=self.colours[place]), self.labels[place])
            for place in self.named
        ]

    def not_shown(self, several: str) -> list[str]:
        """What the legend leaves out, for example "922 other batches (grey)"."""
        others = len(self.labels) - len(self.named)
        return [f"{others:,} other {several} (grey)"] if others else []


def _mixed(colour: Sequence[float], grey: float, share: float) -> tuple[float, float, float]:
    """A colour mixed with black (0), white (1) or a grey between them."""
    red, green, blue = ((1 - share) * value + share * grey for value in colour)
    return red, green, blue


def set_style() -> None:
    """Set seaborn's style, whatever the reader's own settings are."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        rc={"figure.facecolor": "white", "savefig.facecolor": "white", "font.family": fonts()},
    )
