"""Lengths of tokenised cells, and what is recovered of their expression."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from .files import drawn
from .style import draws, group_colours
from .text import TALLEST, distinct_texts, fit, label_log_axis, nothing_to_draw, subplots


@draws
def draw_tokenisations(summary: pd.DataFrame, measures: Mapping[str, str], logarithmic: str) -> Figure:
    """Median and quartiles of each tokenisation (down), a panel for each measure.

    Parameters
    ----------
    summary
        Columns tokenisation, measure, median, low and high, as
        :func:`zeroshot.results.tokenisations.summarise` returns them; tokenisations in the order in which
        they appear.
    measures
        Measure to its title, a panel for each.
    logarithmic
        The measure whose axis is logarithmic.
    """
    table = summary[summary["measure"].isin(list(measures))]
    if table.empty:
        return drawn(nothing_to_draw("no tokens"), table)
    names = list(table["tokenisation"].unique())
    n_rows, height = fit(len(names), 0.3, 0.2, TALLEST - 2)
    figure, axes = subplots(
        1, len(measures), figsize=(7.2, height * n_rows + 1.3), sharey=True, squeeze=False
    )
    places = {name: place for place, name in enumerate(names[:n_rows])}
    colour = group_colours(1)[0]
    for axis, (measure, title) in zip(axes[0], measures.items(), strict=True):
        part = table[table["measure"].eq(measure) & table["tokenisation"].isin(list(places))]
        rows = part["tokenisation"].map(places)
        axis.hlines(rows, part["low"], part["high"], color=colour, linewidth=1.6)
        axis.plot(part["median"], rows, marker="o", linestyle="", color=colour, markersize=5)
        axis.set(xlabel=title, ylim=(n_rows - 0.5, -0.5))
        if measure == logarithmic:
            axis.set_xscale("log")
            label_log_axis(axis.xaxis)
        axis.grid(visible=True, axis="y", linewidth=0.5)
    axes[0][0].set_yticks(range(n_rows), distinct_texts(places, 40), fontsize=9)
    return drawn(figure, table)
