"""Variants of a model on the same cells: how far from the first, how alike, and along a scale."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zeroshot import catalog

from .files import drawn
from .style import TIE_COLOUR, dataset_handles, group_colours, heat_map, place_point, set_style

VERDICT_COLOURS = {"better": "#0173b2", "worse": "#de8f05", "tie": TIE_COLOUR}
LINE_MARKERS = "osD^vPX*<>"


def draw_effects(effects: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """Difference of each variant to the first of its model; a panel per metric, ties grey and hollow.

    A point is a data set, a thin line its 95 % interval.

    Parameters
    ----------
    effects
        As :func:`zeroshot.variants.effects` returns it.
    metrics
        Metric name to the title of its panel, in the order of the panels.
    """
    set_style()
    variants = effects[["model", "method"]].drop_duplicates()
    rows: list[tuple[str, str]] = []  # of a model first its title, which has no points
    for model, methods in variants.groupby("model", sort=False)["method"]:
        rows += [(model, ""), *((model, method) for method in methods)]
    datasets = list(effects["dataset"].unique())
    figure, axes = plt.subplots(
        len(metrics),
        1,
        figsize=(7.2, (0.3 * len(rows) + 0.9) * len(metrics) + 0.9),
        layout="constrained",
        squeeze=False,
    )
    for axis, (metric, label) in zip(axes[:, 0], metrics.items(), strict=True):
        axis.axvline(0, color="#444444", linewidth=1.2, zorder=0)
        for point in effects[effects["metric"] == metric].to_dict("records"):
            row, verdict = rows.index((point["model"], point["method"])), point["verdict"]
            colour = VERDICT_COLOURS[verdict]
            place_point(axis, point, "difference", row, datasets, colour, hollow=verdict == "tie")
        for height, (model, method) in enumerate(rows):
            if not method:
                axis.text(
                    0.01, height, catalog.model(model).title, transform=axis.get_yaxis_transform(),
                    va="center", fontsize=9, fontweight="bold", backgroundcolor="white",
                )  # fmt: skip
        axis.set(title=label, ylim=(len(rows) - 0.5, -0.5))
        axis.set_yticks(range(len(rows)), [method for _, method in rows])
        axis.margins(x=0.08)
        axis.xaxis.set_major_locator(plt.MaxNLocator(5))
    handles = dataset_handles(datasets)
    for verdict, colour in VERDICT_COLOURS.items():
        face = "white" if verdict == "tie" else colour
        handles.append(
            plt.Line2D([], [], marker="o", linestyle="", color=colour, markerfacecolor=face, label=verdict)
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return drawn(figure, effects[effects["metric"].isin(list(metrics))])


def draw_similarity(similarity: pd.DataFrame) -> Figure:
    """How alike the variants of each model are, a panel per model: CKA below the diagonal, overlap above.

    Medians over the data sets.

    Parameters
    ----------
    similarity
        As :class:`zeroshot.variants.Compared` holds it.
    """
    set_style()
    models = list(similarity["model"].unique())
    medians = similarity.groupby(["model", "first", "second"], sort=False)[["cka", "overlap"]].median()
    names = {model: _variants_of(similarity[similarity["model"] == model]) for model in models}
    heights = [0.52 * len(names[model]) + 1.3 for model in models]
    figure, axes = plt.subplots(
        len(models),
        1,
        figsize=(7.2, sum(heights)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axis, model in zip(axes[:, 0], models, strict=True):
        order = names[model]
        table = pd.DataFrame(np.nan, index=order, columns=order)
        for (first, second), pair in medians.loc[model].iterrows():
            row, column = sorted([order.index(first), order.index(second)])
            table.iloc[column, row], table.iloc[row, column] = pair["cka"], pair["overlap"]
        heat_map(table, axis, annot=True, fmt=".2f", vmin=0, vmax=1, annot_kws={"fontsize": 9})
        axis.set(title=catalog.model(model).title)
        axis.grid(False)
        axis.tick_params(axis="x", rotation=35)
        plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
        axis.tick_params(axis="y", rotation=0)
    return drawn(figure, medians.reset_index())


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
    set_style()
    datasets, lines, steps = (list(dict.fromkeys(curves[name])) for name in ("dataset", "line", "step"))
    figure, axes = plt.subplots(
        len(datasets),
        1,
        figsize=(7.2, 2.5 * len(datasets) + 1.3),
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, dataset in zip(axes[:, 0], datasets, strict=True):
        for number, (name, colour) in enumerate(zip(lines, group_colours(len(lines)), strict=True)):
            line = curves[(curves["dataset"] == dataset) & (curves["line"] == name)]
            # Side by side, so that no interval hides another.
            shift = 0.5 * ((number + 0.5) / len(lines) - 0.5)
            below, above = line["value"] - line["low"], line["high"] - line["value"]
            axis.errorbar(
                [steps.index(step) + shift for step in line["step"]], line["value"],
                yerr=[below.fillna(0), above.fillna(0)], color=colour, linewidth=1.5, elinewidth=0.9,
                marker=LINE_MARKERS[number % len(LINE_MARKERS)], markersize=5, label=name,
            )  # fmt: skip
        if chance is not None:
            axis.axhline(
                chance[dataset], color="#666666", linestyle=":", linewidth=1.5, label="random numbers"
            )
        axis.set(title=dataset, ylabel=y)
        axis.set_xticks(range(len(steps)), steps)
        axis.xaxis.grid(False)
    axes[-1, 0].set(xlabel=x)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False,
                  fontsize=9)  # fmt: skip
    if chance is not None:
        curves = curves.assign(random_numbers=curves["dataset"].map(chance))
    return drawn(figure, curves)


def _variants_of(similarity: pd.DataFrame) -> list[str]:
    """Names in the order in which they were compared."""
    return list(dict.fromkeys([*similarity["first"], *similarity["second"]]))
