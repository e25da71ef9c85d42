"""Scores of the same cells under several variants of one embedding."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from .files import drawn
from .scores import with_direction
from .style import draws, group_colours
from .text import TALLEST, add_legend, fit, nothing_to_draw, short_text, subplots


@draws
def draw_variants(scores: pd.DataFrame, metrics: Mapping[str, str]) -> Figure:
    """Value of each metric (down) by variant (colour), a panel per data set.

    Parameters
    ----------
    scores
        Columns dataset, variant, metric and value; variants in the order in which they appear.
    metrics
        Metric name to its label, in the order of the rows.
    """
    table = scores[scores["metric"].isin(list(metrics))].dropna(subset="value")
    if table.empty:
        return drawn(nothing_to_draw("no scores"), table)
    datasets, variants = list(table["dataset"].unique()), list(table["variant"].unique())
    rows = [metric for metric in metrics if metric in set(table["metric"])]
    n_panels, panel = fit(len(datasets), 0.26 * len(rows) + 0.8, 2.0, TALLEST - 1.0)
    colours = dict(zip(variants, group_colours(len(variants)), strict=True))
    figure, axes = subplots(n_panels, 1, figsize=(7.2, panel * n_panels + 1.0), sharex=True, squeeze=False)
    for axis, dataset in zip(axes[:, 0], datasets, strict=False):
        of_dataset = table[table["dataset"] == dataset]
        for variant, part in of_dataset.groupby("variant", sort=False):
            places = part["metric"].map(rows.index)
            axis.plot(part["value"], places, marker="o", linestyle="", color=colours[variant], alpha=0.85)
        axis.set(title=short_text(dataset), ylim=(len(rows) - 0.5, -0.5))
        axis.set_yticks(range(len(rows)), [with_direction(metric, metrics[metric]) for metric in rows])
        axis.grid(True, axis="y", linewidth=0.5)
    entries = [
        (axes[0, 0].plot([], [], marker="o", linestyle="", color=colour)[0], variant)
        for variant, colour in colours.items()
    ]
    missing = [f"{len(datasets) - n_panels} more data sets are not shown"] if len(datasets) > n_panels else []
    add_legend(figure, entries, not_shown=missing, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, table)
