"""Scores of gene vectors on sets of genes."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .files import drawn
from .style import draws
from .text import TALLEST, distinct_texts, fit, nothing_to_draw, subplots

_COLOUR = "#0173b2"


@draws
def draw_gene_sets(summary: pd.DataFrame, measures: Mapping[str, str], chance: float = 0.5) -> Figure:
    """Mean AUROC over terms of each kind of vectors (down), a panel for each measure.

    Parameters
    ----------
    summary
        Columns vectors, measure, mean, low and high, as :func:`zeroshot.results.gene_sets.summarise` returns
        them; vectors in the order in which they appear.
    measures
        Measure to its title, a panel for each.
    chance
        Value that a vertical line marks.
    """
    if summary.empty:
        return drawn(nothing_to_draw("no gene vectors"), summary)
    names = list(summary["vectors"].unique())
    n_rows, height = fit(len(names), 0.3, 0.2, TALLEST - 2)
    figure, axes = subplots(
        1, len(measures), figsize=(7.2, height * n_rows + 1.3), sharey=True, squeeze=False
    )
    places = {name: place for place, name in enumerate(names[:n_rows])}
    for axis, (measure, title) in zip(axes[0], measures.items(), strict=True):
        part = summary[summary["measure"].eq(measure) & summary["vectors"].isin(list(places))]
        rows = part["vectors"].map(places)
        axis.axvline(chance, color="#444444", linewidth=1.0, zorder=0)
        axis.hlines(rows, part["low"], part["high"], color=_COLOUR, linewidth=1.6)
        axis.plot(part["mean"], rows, marker="o", linestyle="", color=_COLOUR, markersize=5)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="mean AUROC over terms", ylim=(n_rows - 0.5, -0.5))
        axis.xaxis.set_major_locator(MaxNLocator(4))  # more would touch each other
        axis.grid(visible=True, axis="y", linewidth=0.5)
    axes[0][0].set_yticks(range(n_rows), distinct_texts(places, 40), fontsize=9)
    return drawn(figure, summary)
