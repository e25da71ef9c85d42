"""The atlas of models: who uses what, how much is recorded, and the paper's overview of its set-up."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .files import drawn
from .style import draws
from .text import distinct_texts, nothing_to_draw, subplots

INK, LINE, POINT = "#222222", "#8c8c8c", "#0173b2"


@draws
def draw_membership(pairs: pd.DataFrame, rows: str, columns: str) -> Figure:
    """Who has what: a point per pair, with the number of pairs in it where there are several.

    Parameters
    ----------
    pairs
        A row per pair, with the two columns named.
    rows
        Column whose values are rows, in the order in which they first come.
    columns
        Column whose values are columns, those with most rows first; their numbers of rows stand above them.
    """
    if pairs.empty:
        return drawn(nothing_to_draw("no pairs"), pairs)
    counts = pd.crosstab(pairs[rows], pairs[columns]).loc[list(dict.fromkeys(pairs[rows]))]
    n_rows = (counts > 0).sum().sort_values(ascending=False, kind="stable")
    counts = counts[n_rows.index]
    names = [f"{name} ({n_rows[name]})" for name in counts.columns]
    figure, axis = subplots(figsize=(0.42 * len(names) + 2.6, 0.29 * len(counts) + 2.4))
    y, x = np.nonzero(counts.to_numpy())
    axis.plot(x, y, linestyle="", marker="o", markersize=13, color=POINT)
    for row, column in zip(y, x, strict=True):
        number = counts.iloc[row, column]
        if number > 1:
            axis.text(column, row, str(number), ha="center", va="center", fontsize=8.5, color="white")
    axis.set(xlim=(-0.7, len(names) - 0.3), ylim=(len(counts) - 0.4, -0.6))
    axis.set_xticks(range(len(names)), distinct_texts(names), rotation=40, ha="left", rotation_mode="anchor")
    axis.set_yticks(range(len(counts)), distinct_texts(counts.index))
    axis.tick_params(top=False, labeltop=True, labelbottom=False, labelsize=9)
    return drawn(figure, counts.melt(value_name="pairs", ignore_index=False).reset_index())


@draws
def draw_coverage(coverage: pd.DataFrame) -> Figure:
    """Of how many models each fact is recorded.

    Parameters
    ----------
    coverage
        A row per fact, columns ``fact``, ``models`` (how many have it) and ``share`` (of all, 0 to 1).
    """
    figure, axis = subplots(figsize=(7.2, 0.3 * len(coverage) + 1))
    places = np.arange(len(coverage))
    axis.barh(places, coverage["share"], color=POINT, height=0.7)
    for place, row in enumerate(coverage.to_dict("records")):
        axis.annotate(
            str(row["models"]), (row["share"], place), (4, 0), textcoords="offset points", va="center",
            fontsize=9, color=INK,
        )  # fmt: skip
    axis.set(xlim=(0, 1), xlabel="share of the models of the list")
    axis.set_yticks(places, distinct_texts(coverage["fact"]), fontsize=9)
    axis.invert_yaxis()
    axis.yaxis.grid(False)
    return drawn(figure, coverage)


@draws
def draw_overview(steps: pd.DataFrame) -> Figure:
    """The set-up of a study from left to right: columns of boxes, each a title and what belongs to it.

    Parameters
    ----------
    steps
        A row per thing, columns ``step`` (a column of the picture), ``box`` (its title) and ``item``; all in
        the order in which they are drawn.
    """
    if steps.empty:
        return drawn(nothing_to_draw("no steps"), steps)
    columns = list(dict.fromkeys(steps["step"]))
    lines = {
        step: sum(len(items) + 2.2 for _, items in of_step.groupby("box", sort=False))
        for step, of_step in steps.groupby("step", sort=False)
    }
    height = max(lines.values())
    figure, axis = subplots(figsize=(3.1 * len(columns), 0.21 * height + 0.8))
    axis.set(xlim=(0, len(columns)), ylim=(height + 0.2, -1.6))
    axis.axis("off")
    for place, step in enumerate(columns):
        axis.text(
            place + 0.46, -0.9, step, ha="center", va="center", fontsize=11, fontweight="bold", color=INK
        )
        top = (height - lines[step]) / 2
        for box, items in steps[steps["step"] == step].groupby("box", sort=False)["item"]:
            corner = (place + 0.02, top)
            axis.add_patch(
                Rectangle(corner, 0.88, len(items) + 1.7, facecolor="#eef3f8", edgecolor=POINT, linewidth=1)
            )
            axis.text(place + 0.46, top + 0.7, box, ha="center", va="center", fontsize=9.5, color=INK)
            texts = distinct_texts(items, 34)
            for line, text in enumerate(texts, start=1):
                axis.text(place + 0.06, top + 0.7 + line, text, va="center", fontsize=8.5, color=INK)
            top += len(items) + 2.2
        if place:
            axis.annotate(
                "", (place + 0.02, height / 2), (place - 0.1, height / 2),
                arrowprops={"arrowstyle": "-|>", "color": LINE, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
    return drawn(figure, steps)
