"""Variants of a model on the same cells: how far from the first, how alike, and along a scale."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zeroshot import catalog

from .files import drawn
from .scores import with_direction
from .style import TIE_COLOUR, dataset_entries, draws, group_colours, heat_map, place_point
from .text import TALLEST, add_legend, distinct_texts, fit, make_room, nothing_to_draw, short_text, subplots

VERDICT_COLOURS = {"better": "#0173b2", "worse": "#de8f05", "tie": TIE_COLOUR}
LINE_MARKERS = "osD^vPX*<>"
MOST_VARIANTS = 20  # in a panel of similarities
MOST_LINES = 20  # in a panel of curves


@draws
def draw_effects(effects: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """Difference of each variant to the first of its model; a panel per metric, ties grey and hollow.

    A point is a data set, a thin line its 95 % interval.

    Parameters
    ----------
    effects
        As :func:`zeroshot.study.ablations.effects` returns it.
    metrics
        Metric name to the title of its panel, in the order of the panels.
    """
    table = effects[effects["metric"].isin(list(metrics))]
    if table.empty:
        return drawn(nothing_to_draw("no variants were compared"), table)
    variants = effects[["model", "method"]].drop_duplicates()
    every: list[tuple[str, str]] = []  # of a model first its title, which has no points
    for model, methods in variants.groupby("model", sort=False)["method"]:
        every += [(model, ""), *((model, method) for method in methods)]
    datasets = list(effects["dataset"].unique())
    n_panels, panel = fit(len(metrics), 0.3 * len(every) + 0.9, 4.0, TALLEST - 0.9)
    n_rows, step = fit(len(every), 0.3, 0.18, panel - 0.9)
    rows = every[:n_rows]
    figure, axes = subplots(n_panels, 1, figsize=(7.2, (step * n_rows + 0.9) * n_panels + 0.9), squeeze=False)
    for axis, (metric, label) in zip(axes[:, 0], metrics.items(), strict=False):
        axis.axvline(0, color="#444444", linewidth=1.2, zorder=0)
        for point in effects[effects["metric"] == metric].to_dict("records"):
            if (point["model"], point["method"]) not in rows:
                continue
            row, verdict = rows.index((point["model"], point["method"])), point["verdict"]
            colour = VERDICT_COLOURS[verdict]
            place_point(axis, point, "difference", row, datasets, colour, hollow=verdict == "tie")
        for height, (model, method) in enumerate(rows):
            if not method:
                axis.text(
                    0.01, height, short_text(catalog.model(model).title),
                    transform=axis.get_yaxis_transform(), va="center", fontsize=9, fontweight="bold",
                    backgroundcolor="white",
                )  # fmt: skip
        axis.set(title=with_direction(metric, label), ylim=(len(rows) - 0.5, -0.5))
        axis.set_yticks(range(len(rows)), [short_text(method) for _, method in rows])
        axis.margins(x=0.08)
        axis.xaxis.set_major_locator(plt.MaxNLocator(5))
    entries = dataset_entries(datasets)
    for verdict, colour in VERDICT_COLOURS.items():
        face = "white" if verdict == "tie" else colour
        point = plt.Line2D([], [], marker="o", linestyle="", color=colour, markerfacecolor=face)
        entries.append((point, verdict))
    left_out = {"variants": len(every) - n_rows, "metrics": len(metrics) - n_panels}
    notes = [f"{number} more {what} are not shown" for what, number in left_out.items() if number]
    legend = add_legend(figure, entries, not_shown=notes, loc="outside lower center", ncols=3, fontsize=9)
    make_room(figure, legend, 3)
    return drawn(figure, table)


@draws
def draw_similarity(similarity: pd.DataFrame) -> Figure:
    """How alike the variants of each model are, a panel per model: CKA below the diagonal, overlap above.

    Medians over the data sets.

    Parameters
    ----------
    similarity
        As :class:`zeroshot.study.ablations.Tables` holds it.
    """
    every = list(similarity["model"].unique())
    medians = similarity.groupby(["model", "first", "second"], sort=False)[["cka", "overlap"]].median()
    if not every:
        return drawn(nothing_to_draw("no variants were compared"), medians.reset_index())
    # Of many variants those that were compared first.
    names = {model: _variants_of(similarity[similarity["model"] == model])[:MOST_VARIANTS] for model in every}
    heights = [0.52 * len(names[model]) + 1.3 for model in every]
    models = [model for model, below in zip(every, np.cumsum(heights), strict=True) if below <= TALLEST]
    heights = heights[: len(models)]
    figure, axes = subplots(len(models), 1, figsize=(7.2, sum(heights)), height_ratios=heights, squeeze=False)
    for axis, model in zip(axes[:, 0], models, strict=True):
        order = names[model]
        table = pd.DataFrame(np.nan, index=order, columns=order)
        pairs = medians.loc[model]
        for (first, second), pair in pairs.iterrows():
            if first not in order or second not in order:
                continue
            row, column = sorted([order.index(first), order.index(second)])
            table.iloc[column, row], table.iloc[row, column] = pair["cka"], pair["overlap"]
        heat_map(table, axis, annot=True, fmt=".2f", vmin=0, vmax=1, annot_kws={"fontsize": 9})
        more = len(_variants_of(similarity[similarity["model"] == model])) - len(order)
        note = f"\n{more} more variants are not shown" if more else ""
        axis.set(title=short_text(catalog.model(model).title) + note)
        axis.grid(False)
        axis.tick_params(axis="x", rotation=35)
        plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
    if len(models) < len(every):
        figure.suptitle(f"{len(every) - len(models)} more models are not shown", fontsize=9)
    return drawn(figure, medians.reset_index())


@draws
def draw_curves(curves: pd.DataFrame, x: str, y: str, chance: Mapping[str, float] | None = None) -> Figure:
    """A value along a scale of steps with its 95 % intervals: a panel per data set, a line per method.

    Parameters
    ----------
    curves
        Columns ``dataset``, ``line``, ``step`` (text, in the order of the table), ``value``, ``low`` and
        ``high``; the last two are NaN without an interval.
    x, y
        Labels of the axes.
    chance
        The value of random numbers by data set, drawn as a dotted line.
    """
    if chance is not None:
        curves = curves.assign(random_numbers=curves["dataset"].map(dict(chance)))
    if curves.empty:
        return drawn(nothing_to_draw("no values"), curves)
    datasets, every, steps = (list(dict.fromkeys(curves[name])) for name in ("dataset", "line", "step"))
    lines, entries = every[:MOST_LINES], []
    n_panels, height = fit(len(datasets), 2.5, 1.6, TALLEST - 1.3)
    figure, axes = subplots(n_panels, 1, figsize=(7.2, height * n_panels + 1.3), sharex=True, squeeze=False)
    for axis, dataset in zip(axes[:, 0], datasets, strict=False):
        entries = []
        for number, (name, colour) in enumerate(zip(lines, group_colours(len(lines)), strict=True)):
            line = curves[(curves["dataset"] == dataset) & (curves["line"] == name)]
            # Side by side, so that no interval hides another.
            shift = 0.5 * ((number + 0.5) / len(lines) - 0.5)
            # A value may lie outside the interval that subsamples give.
            below, above = (
                part.fillna(0).clip(lower=0).to_numpy()
                for part in (line["value"] - line["low"], line["high"] - line["value"])
            )
            drawing = axis.errorbar(
                [steps.index(step) + shift for step in line["step"]], line["value"].to_numpy(),
                yerr=[below, above], color=colour, linewidth=1.5, elinewidth=0.9,
                marker=LINE_MARKERS[number % len(LINE_MARKERS)], markersize=5,
            )  # fmt: skip
            entries.append((drawing, name))
        if chance is not None and dataset in chance:
            level = axis.axhline(chance[dataset], color="#666666", linestyle=":", linewidth=1.5)
            entries.append((level, "random numbers"))
        axis.set(title=short_text(dataset, 60), ylabel=short_text(y))
        axis.set_xticks(range(len(steps)), distinct_texts(steps))
        axis.xaxis.grid(False)
    axes[-1, 0].set(xlabel=short_text(x, 80))
    left_out = {"lines": len(every) - len(lines), "data sets": len(datasets) - n_panels}
    notes = [f"{number} more {what} are not shown" for what, number in left_out.items() if number]
    legend = add_legend(figure, entries, not_shown=notes, loc="outside lower center", ncols=2, fontsize=9)
    make_room(figure, legend, 2)
    return drawn(figure, curves)


def _variants_of(similarity: pd.DataFrame) -> list[str]:
    """Names in the order in which they were compared."""
    return list(dict.fromkeys([*similarity["first"], *similarity["second"]]))
