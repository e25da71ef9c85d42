"""Ranks of methods with what is significant about them, and the front of methods that none beats."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .files import drawn
from .scores import KIND_COLOURS
from .style import draws
from .text import add_legend, distinct_texts, fit, label_log_axis, nothing_to_draw, short_text, subplots


@draws
def draw_ranks(
    methods: pd.DataFrame,
    controls: pd.DataFrame,
    groups: Sequence[Sequence[str]],
    critical_difference: float | None,
    label: str,
) -> Figure:
    """Critical-difference diagram: mean ranks, the best on top, and bars that join what is not different.

    A bar at the right joins methods none of which is significantly different from another one it joins; the
    bar on top is as long as the critical difference. Thin lines are 95 % intervals. Controls stand below
    the methods, hollow.

    Parameters
    ----------
    methods, controls
        Columns method, kind, mean_rank, mean_low and mean_high, the best first, as
        :class:`zeroshot.results.ranks.Ranking` has them.
    groups
        Methods that a bar joins, each group contiguous in the order of ``methods``.
    critical_difference
        In ranks; None draws no bars.
    label
        Of the axis, for example "mean rank by AvgBIO (n = 5 data sets)".
    """
    table = pd.concat([methods.assign(ranked=True), controls.assign(ranked=False)], ignore_index=True)
    if methods.empty or methods["mean_rank"].isna().all():
        return drawn(nothing_to_draw("no data set on which methods can be ranked"), table)
    n_rows, height = fit(len(table), 0.42, 0.22, 20)
    rows = table.iloc[:n_rows]
    figure, (axis, margin) = subplots(
        1,
        2,
        figsize=(7.6, height * (n_rows + 1.5) + 1.8),
        sharey=True,
        width_ratios=(8, 0.5 + 0.35 * len(groups)),
    )
    for place, row in enumerate(rows.to_dict("records")):
        colour = KIND_COLOURS[row["kind"]]
        axis.plot([row["mean_low"], row["mean_high"]], [place, place], color=colour, linewidth=1.2)
        ground = colour if row["ranked"] else "white"
        axis.plot(row["mean_rank"], place, marker="o", color=colour, markerfacecolor=ground, linestyle="")
    if len(methods) < n_rows:
        axis.axhline(len(methods) - 0.5, color="#949494", linewidth=0.8)
    if critical_difference is not None:
        _draw_length(axis, critical_difference)
    places = {name: place for place, name in enumerate(rows["method"])}
    for column, group in enumerate(groups):
        tied = [places[name] for name in group if name in places]
        if tied:
            margin.plot([column] * 2, [min(tied) - 0.2, max(tied) + 0.2], color="#222222", linewidth=4)
    margin.set(xlim=(-0.6, max(len(groups), 1) - 0.4))
    margin.axis("off")
    axis.set_yticks(range(n_rows), distinct_texts(rows["method"]))
    axis.set(xlabel=short_text(label, 80), ylim=(n_rows - 0.5, -2.0))
    axis.set_xlim(0.7, max(len(methods) + 1.3, 1 + 1.05 * (critical_difference or 0)))
    axis.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
    _draw_kinds(figure, rows, bool(groups), len(table) - n_rows)
    return drawn(figure, table)


def _draw_length(axis: plt.Axes, critical_difference: float) -> None:
    ends = [1, 1 + critical_difference]
    axis.plot(ends, [-1.1, -1.1], color="#222222", linewidth=1.5, marker="|", markersize=9)
    text = f"critical difference {critical_difference:.2f}"
    axis.text(np.mean(ends), -1.35, text, ha="center", va="bottom", fontsize=9)


def _draw_kinds(figure: Figure, rows: pd.DataFrame, with_bars: bool, n_more: int) -> None:
    entries = [
        (
            plt.Line2D([], [], marker="o", linestyle="", color=KIND_COLOURS[kind],
                       markerfacecolor=KIND_COLOURS[kind] if ranked else "white"),
            kind if ranked else f"{kind}, the place it would take",
        )
        for kind, ranked in rows[["kind", "ranked"]].drop_duplicates().itertuples(index=False)
    ]  # fmt: skip
    if with_bars:
        entries.append((plt.Line2D([], [], color="#222222", linewidth=4), "not significantly different"))
    more = [f"{n_more} more methods are not shown"] if n_more else []
    add_legend(figure, entries, not_shown=more, loc="outside lower center", ncols=2, fontsize=9)


@draws
def draw_pareto(points: pd.DataFrame, axes: dict[str, str], cost: str, cost_label: str) -> Figure:
    """Two scores of each method, one panel against the other score and one against the cost.

    A point is a method, with the number of its entry in the legend. Filled points are on the Pareto front: no
    other method is at least as good in both scores and the cost, and better in one. Controls are squares and
    not part of the front.

    Parameters
    ----------
    points
        A row per method: columns method, kind, front (whether it is on the front) and those named below.
    axes
        Column to label of the two scores, that of the y axis first; higher is better.
    cost, cost_label
        Column of the cost, lower is better and drawn on a logarithmic axis, and its label.
    """
    points = points.dropna(subset=[*axes, cost])
    if points.empty:
        return drawn(nothing_to_draw("no method has both scores and a cost"), points)
    (y, y_label), (x, x_label) = axes.items()
    figure, panels = subplots(1, 2, figsize=(9.2, 4.6 + 0.12 * len(points)), sharey=True)
    for panel, column, label in zip(panels, (x, cost), (x_label, cost_label), strict=True):
        for number, row in enumerate(points.to_dict("records"), start=1):
            _draw_numbered(panel, row[column], row[y], number, row)
        panel.set(xlabel=short_text(label, 60))
    panels[0].set(ylabel=short_text(y_label, 60))
    panels[1].set_xscale("log")
    label_log_axis(panels[1].xaxis)
    entries = [
        (_marker(row), f"{number} {row['method']}")
        for number, row in enumerate(points.to_dict("records"), start=1)
    ]
    add_legend(figure, entries, loc="outside lower center", ncols=3, fontsize=9)
    return drawn(figure, points)


def _marker(row: dict) -> plt.Line2D:
    colour = KIND_COLOURS[row["kind"]]
    shape = "s" if row["kind"] == "control" else "o"
    ground = colour if row["front"] else "white"
    return plt.Line2D([], [], marker=shape, linestyle="", color=colour, markerfacecolor=ground)


def _draw_numbered(panel: plt.Axes, x: float, y: float, number: int, row: dict) -> None:
    like = _marker(row)
    panel.plot(x, y, marker=like.get_marker(), color=like.get_color(), linestyle="", markersize=14,
               markerfacecolor=like.get_markerfacecolor())  # fmt: skip
    ink = "white" if row["front"] and row["kind"] == "baseline" else "black"
    panel.annotate(str(number), (x, y), ha="center", va="center", fontsize=8, color=ink)
