"""How well cells are labelled by the number of labelled cells."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from zeroshot import catalog

from .files import drawn
from .scores import CONTROL_LINES
from .style import draws, group_colours
from .text import add_legend, make_room, nothing_to_draw, short_text, subplots

_MARKERS = "osD^vPX*<>"
_MOST_LINES = 20
_CONTROL_COLOUR = "#949494"


@draws
def draw_label_curves(
    curves: pd.DataFrame, splits: Mapping[str, str], classifiers: Mapping[str, str], statistic: str
) -> Figure:
    """Value by labelled cells per type, a line per method: classifiers down, splits side by side.

    A thin line through a point is its interval. Controls are grey: random numbers dotted, the label oracle
    dashed, others dash-dotted.

    Parameters
    ----------
    curves
        As :func:`zeroshot.results.few_labels.curves` returns them.
    splits, classifiers
        Names in ``curves`` to titles, in the order of the panels; those without rows are left out.
    statistic
        Label of the vertical axis.
    """
    rows = [name for name in classifiers if name in set(curves["classifier"])]
    columns = [name for name in splits if name in set(curves["split"])]
    table = curves[curves["classifier"].isin(rows) & curves["split"].isin(columns)]
    if table.empty:
        return drawn(nothing_to_draw("no labels were predicted"), table)
    models = dict(zip(table["method"], table["model"], strict=True))
    controls = [name for name, model in models.items() if catalog.model(model).kind == "control"]
    others = [name for name in models if name not in controls]
    drawn_methods = [*others, *controls][:_MOST_LINES]
    colours = dict(zip(others, group_colours(len(others)), strict=True))
    ticks = sorted(table["per_type"].unique())
    figure, axes = subplots(
        len(rows), len(columns), figsize=(7.2, 2.6 * len(rows) + 1.3), sharex=True, sharey=True, squeeze=False
    )
    entries = {}
    for axis_row, classifier in zip(axes, rows, strict=True):
        for axis, split in zip(axis_row, columns, strict=True):
            panel = table[table["classifier"].eq(classifier) & table["split"].eq(split)]
            for number, method in enumerate(drawn_methods):
                line = panel[panel["method"].eq(method)].sort_values("per_type")
                is_control = method in controls
                style = CONTROL_LINES.get(models[method], "-.") if is_control else "-"
                (drawing,) = axis.plot(
                    line["per_type"], line["value"], linestyle=style, linewidth=1.4, markersize=4,
                    color=_CONTROL_COLOUR if is_control else colours[method],
                    marker="" if is_control else _MARKERS[number % len(_MARKERS)],
                )  # fmt: skip
                axis.vlines(
                    line["per_type"], line["low"], line["high"], color=drawing.get_color(), linewidth=0.9
                )
                entries[method] = drawing
            axis.set_xscale("log")
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_title(f"{classifiers[classifier]},\n{splits[split]}", fontsize=10)
    for axis in axes[-1]:
        axis.set(xlabel="labelled cells per type")
    for axis in axes[:, 0]:
        axis.set(ylabel=short_text(statistic))
    left_out = len(models) - len(drawn_methods)
    notes = [f"{left_out} more methods are not shown"] if left_out else []
    lines = [(drawing, method) for method, drawing in entries.items()]
    legend = add_legend(figure, lines, not_shown=notes, loc="outside lower center", ncols=3, fontsize=9)
    make_room(figure, legend, 3)
    return drawn(figure, table)
