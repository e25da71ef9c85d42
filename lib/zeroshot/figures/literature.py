"""The field: papers counted, and what a survey says of models, as trees and as a matrix."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .files import drawn
from .style import draws, group_colours
from .text import add_legend, distinct_texts, label_log_axis, nothing_to_draw, short_text, subplots

INK, LINE = "#222222", "#8c8c8c"
# What the survey's text says of a mark in its table: how it is drawn, and what the legend says.
MARKS = {
    "in the table": {"marker": "o", "color": "#0173b2"},
    "table only": {"marker": "o", "color": "#de8f05", "markerfacecolor": "white"},
    "text only": {"marker": "^", "color": "#de8f05", "markerfacecolor": "white"},
    "contradicted": {"marker": "X", "color": "#d55e00"},
}
SIZE_MARKERS = "osD^vPX"


@draws
def draw_papers_by_year(papers: pd.DataFrame) -> Figure:
    """Papers of each year, stacked by section; a year without a paper has its place.

    Parameters
    ----------
    papers
        A row per paper, columns ``year`` and ``section``.
    """
    if papers.empty:
        return drawn(nothing_to_draw("no papers"), papers)
    counts = pd.crosstab(papers["year"], papers["section"])
    counts = counts.reindex(range(papers["year"].min(), papers["year"].max() + 1), fill_value=0)
    return _draw_stacks(counts[list(dict.fromkeys(papers["section"]))], "bar")


@draws
def draw_papers_by_venue(papers: pd.DataFrame, n_venues: int) -> Figure:
    """Papers of the venues that have most, stacked by section, the largest on top.

    Parameters
    ----------
    papers
        A row per paper, columns ``venue`` and ``section``; papers without venue are left out.
    n_venues
        Venues shown; of venues with as many papers, those that come first in the alphabet.
    """
    counts = pd.crosstab(papers["venue"], papers["section"])
    if counts.empty:
        return drawn(nothing_to_draw("no papers with a venue"), papers)
    largest = counts.sum(axis="columns").sort_values(ascending=False, kind="stable").index[:n_venues]
    sections = [name for name in dict.fromkeys(papers["section"]) if name in counts]
    return _draw_stacks(counts.loc[largest[::-1], sections], "barh")


@draws
def draw_editions(editions: pd.DataFrame) -> Figure:
    """Papers of each edition: retained from the one before it, added, and removed.

    Parameters
    ----------
    editions
        A row per edition in their order, columns ``title`` and, as counts, ``retained``, ``added`` and
        ``removed``.
    """
    if editions.empty:
        return drawn(nothing_to_draw("no editions"), editions)
    figure, axis = subplots(figsize=(7.2, 0.45 * len(editions) + 1.3))
    rows = np.arange(len(editions))
    parts = {"retained": "#0173b2", "added": "#de8f05", "removed": "#949494"}
    bars = {}
    start = {"retained": 0, "added": editions["retained"], "removed": -editions["removed"]}
    for part, colour in parts.items():
        bars[part] = axis.barh(rows, editions[part], left=start[part], color=colour, height=0.7)
    for row, edition in enumerate(editions.to_dict("records")):
        total = edition["retained"] + edition["added"]
        axis.annotate(
            f"{total}" + (f": {edition['added']} added, {edition['removed']} removed" if row else ""),
            (total, row), (4, 0), textcoords="offset points", va="center", fontsize=9, color=INK,
        )  # fmt: skip
    axis.set(xlabel="papers", xlim=(None, 1.5 * (editions["retained"] + editions["added"]).max()))
    axis.set_yticks(rows, distinct_texts(editions["title"]), fontsize=9)
    axis.invert_yaxis()
    axis.yaxis.grid(False)
    entries = [(bar, part) for part, bar in bars.items()]
    add_legend(figure, entries, loc="outside lower center", ncols=3, fontsize=9)
    return drawn(figure, editions)


@draws
def draw_workflow() -> Figure:
    """From counts to tasks in five steps: two ways to read a cell, two ways to use what was learnt."""
    steps = [
        ["Counts of cells and genes"],
        [
            "Tokens: genes ranked, binned\nor embedded, with metadata",
            "Text: a sentence of gene names,\nor what is written of genes",
        ],
        [
            "Pretraining on cells:\nmasked, next token, several tasks",
            "A language model, tuned\nor taken as it is",
        ],
        [
            "Zero-shot: embeddings as they come\n(what this book measures)",
            "Fine-tuning on labels\nor instructions",
        ],
        ["Tasks: cells, genes, drugs, space"],
    ]
    figure, axis = subplots(figsize=(7.2, 5.4))
    axis.set(xlim=(0, 2), ylim=(len(steps) - 0.5, -0.5))
    axis.axis("off")
    places = [[1.0] if len(boxes) == 1 else [0.5, 1.5] for boxes in steps]
    for row, (boxes, centres) in enumerate(zip(steps, places, strict=True)):
        for centre, text in zip(centres, boxes, strict=True):
            face, edge, width = ("#eef3f8", "#0173b2", 1)
            if text.startswith("Zero-shot"):
                face, edge, width = ("#fdf0d9", "#de8f05", 2)
            corner = (centre - 0.46, row - 0.3)
            axis.add_patch(Rectangle(corner, 0.92, 0.6, facecolor=face, edgecolor=edge, linewidth=width))
            axis.text(centre, row, text, ha="center", va="center", fontsize=9.5, color=INK)
            # What was pretrained is used in both ways; until then the two columns stay apart.
            for target in places[row + 1] if row + 1 < len(steps) else []:
                if row != 1 or target == centre:
                    axis.annotate(
                        "", (target, row + 0.69), (centre, row + 0.31),
                        arrowprops={"arrowstyle": "-|>", "color": LINE, "shrinkA": 0, "shrinkB": 0},
                    )  # fmt: skip
    rows = [(number, text) for number, boxes in enumerate(steps, start=1) for text in boxes]
    return drawn(figure, pd.DataFrame(rows, columns=["step", "text"]))


@draws
def draw_taxonomy(taxonomy: pd.DataFrame) -> Figure:
    """A tree read from left to right: branches, their parts, and the models at each part.

    Parameters
    ----------
    taxonomy
        Columns ``level1`` (a heading), ``level2``, ``level3`` and ``model``, a row per leaf, in order.
    """
    places = taxonomy.groupby(["level1", "level2", "level3"], sort=False)["model"].agg(", ".join)
    at, line = (0.0, 0.2, 0.5), 0.0  # columns as shares of the width; lines of text from the top
    texts, elbows, branches = [], [], {}
    for (first, second, third), models in places.items():
        if first not in branches:
            line += 1.0 if branches else 0.0
            branches[first] = {}
            texts.append((at[0], line, first, {"fontweight": "bold", "fontsize": 10.5}))
            line += 1.5
        part, names = textwrap.wrap(third, 25), textwrap.wrap(models, 56)
        if second not in branches[first]:
            branches[first][second] = line
            line += 0.35
            texts.append((at[0], line, "\n".join(textwrap.wrap(second, 18)), {"fontweight": "bold"}))
        texts += [(at[1] + 0.02, line, "\n".join(part), {}), (at[2], line, "\n".join(names), {"color": INK})]
        elbows.append((branches[first][second], line + 0.4))
        line += 0.85 * max(len(part), len(names)) + 0.5
    figure, axis = subplots(figsize=(7.2, 0.165 * line + 0.2))
    for x, y, text, style in texts:
        axis.text(x, y, text, va="top", linespacing=1.15, **{"fontsize": 8.5} | style)
    for top, y in elbows:
        axis.plot([at[1] - 0.01, at[1] - 0.01, at[1] + 0.012], [top, y, y], color=LINE, linewidth=1)
    axis.set(xlim=(0, 1), ylim=(line, -0.3))
    axis.axis("off")
    return drawn(figure, taxonomy)


@draws
def draw_lineage(models: pd.DataFrame, descents: pd.DataFrame) -> Figure:
    """A tree of models over years: trunks, branches, a row per model, and lines of stated descent.

    A model hangs on the model it descends from, where that is stated, and else on its branch. Models that
    are here are orange squares with names in bold.

    Parameters
    ----------
    models
        A row per model, those of a branch together and an earlier model before those that descend from it;
        columns ``name``, ``trunk``, ``branch``, ``year``, ``base_model`` (or missing) and ``here``.
    descents
        Columns ``model``, ``parent`` and ``takes``; what takes tokens only is a dashed line.
    """
    spine, root = models["year"].min() - 0.3, models["year"].min() - 3.0
    figure, axis = subplots(figsize=(7.2, 0.27 * len(models) + 1.9))
    hanging, points, line = set(descents["model"]), {}, 0.0
    for trunk, of_trunk in models.groupby("trunk", sort=False):
        axis.text(root, line, short_text(trunk), fontweight="bold", fontsize=10, va="center", color=INK)
        top, joints, line = line + 0.4, [], line + 1.2
        for branch, of_branch in of_trunk.groupby("branch", sort=False):
            rows = line + np.arange(len(of_branch))
            points |= dict(zip(of_branch["name"], zip(of_branch["year"], rows, strict=True), strict=True))
            on_spine = [row for row, name in zip(rows, of_branch["name"], strict=True) if name not in hanging]
            joints.append(rows[0])
            axis.plot([root, spine], [rows[0]] * 2, color=LINE, linewidth=1.2, zorder=1)
            axis.plot(
                [spine] * 2, [rows[0], max(on_spine, default=rows[0])], color=LINE, linewidth=1.2, zorder=1
            )
            axis.text(root + 0.12, rows[0] - 0.08, short_text(branch), va="bottom", fontsize=8.5, color=INK)
            line = rows[-1] + 1.35
        axis.plot([root] * 2, [top, max(joints)], color=LINE, linewidth=1.2, zorder=1)
        line += 0.5
    for model in models.to_dict("records"):
        x, y = points[model["name"]]
        if model["name"] not in hanging:
            axis.plot([spine, x], [y, y], color=LINE, linewidth=1.2, zorder=1)
        style = {"marker": "s", "color": "#de8f05"} if model["here"] else {"marker": "o", "color": "#0173b2"}
        axis.plot(x, y, markersize=7, markerfacecolor=style["color"] if model["here"] else "white", **style)
        base = model["base_model"]
        label = short_text(f"{model['name']} (on {base})" if isinstance(base, str) else model["name"], 60)
        weight = "bold" if model["here"] else "normal"
        axis.text(x + 0.1, y, label, va="center", fontsize=9, color=INK, fontweight=weight)
    for descent in descents.to_dict("records"):
        (x0, y0), (x1, y1) = points[descent["parent"]], points[descent["model"]]
        dash = "--" if descent["takes"] == "tokens" else "-"
        axis.plot([x0, x0, x1], [y0, y1, y1], dash, color="#0173b2", linewidth=1.6, zorder=1.5)
    years = range(models["year"].min(), models["year"].max() + 1)
    axis.set(xlim=(root - 0.1, years[-1] + 1.3), ylim=(line - 0.7, -0.8))
    axis.set_xticks(years, [str(year) for year in years])
    axis.set_yticks([])
    axis.tick_params(top=True, labeltop=True)
    sns.despine(ax=axis, left=True, bottom=True)
    here = plt.Line2D([], [], linestyle="", marker="s", color="#de8f05")
    lines = {"-": "newer version, or continued from its weights", "--": "takes its tokens"}
    entries = [(plt.Line2D([], [], linestyle=dash, color="#0173b2"), text) for dash, text in lines.items()]
    entries.insert(0, (here, "in this book"))
    add_legend(figure, entries, longest=60, loc="outside lower center", ncols=3, fontsize=8.5)
    table = models.merge(descents, how="left", left_on="name", right_on="model").drop(columns="model")
    return drawn(figure, table)


@draws
def draw_task_matrix(marks: pd.DataFrame, models: list[str]) -> Figure:
    """Models and tasks: a point where the table has a mark, other symbols where table and text disagree.

    Parameters
    ----------
    marks
        Columns ``model``, ``task``, ``level`` and ``verdict``, a row per pair that is named. Tasks of a level
        stand together, those with most marks first.
    models
        Rows from top to bottom; one without a mark keeps its row.
    """
    levels = marks["level"].map(list(dict.fromkeys(marks["level"])).index)
    counts = marks.assign(place=levels).groupby(["place", "task"]).size().reset_index(name="n")
    tasks = list(counts.sort_values(["place", "n", "task"], ascending=[True, False, True])["task"])
    figure, axis = subplots(figsize=(0.48 * len(tasks) + 2.4, 0.29 * len(models) + 2.2))
    kinds = marks["verdict"].where(marks["verdict"].isin(list(MARKS)), "in the table")
    entries = []
    for kind, style in MARKS.items():
        of_kind = marks[kinds == kind]
        (points,) = axis.plot(
            of_kind["task"].map(tasks.index), of_kind["model"].map(models.index), linestyle="",
            markersize=8, markeredgewidth=1.6, label=kind, **style,
        )  # fmt: skip
        entries.append((points, kind))
    axis.set(xlim=(-0.6, len(tasks) - 0.4), ylim=(len(models) - 0.4, -0.6))
    axis.set_xticks(range(len(tasks)), distinct_texts(tasks), rotation=40, ha="left", rotation_mode="anchor")
    axis.set_yticks(range(len(models)), distinct_texts(models))
    axis.tick_params(top=False, labeltop=True, labelbottom=False, labelsize=9)
    add_legend(figure, entries, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, marks)


@draws
def draw_pretraining_sizes(models: pd.DataFrame) -> Figure:
    """Millions of cells that each model was pretrained on, by year; the axis is logarithmic.

    Parameters
    ----------
    models
        Columns ``name``, ``year``, ``size_millions`` and ``size_unit``, a row per model.
    """
    figure, axis = subplots(figsize=(7.2, 5.2))
    units = list(dict.fromkeys(models["size_unit"]))
    colours = dict(zip(units, group_colours(len(units)), strict=True))
    markers = {unit: SIZE_MARKERS[place % len(SIZE_MARKERS)] for place, unit in enumerate(units)}
    for year, of_year in models.sort_values("size_millions").groupby("year"):
        heights = _spread(np.log10(of_year["size_millions"].to_numpy()), 0.085)
        for place, (model, height) in enumerate(zip(of_year.to_dict("records"), heights, strict=True)):
            x, size, unit = year + 0.05 * (place % 2), model["size_millions"], model["size_unit"]
            label = f"{short_text(model['name'])} {size:g}"
            axis.plot([x, year + 0.18], [size, 10**height], color=LINE, linewidth=0.7, zorder=1)
            axis.plot(x, size, markers[unit], color=colours[unit], markersize=7)
            axis.text(year + 0.2, 10**height, label, va="center", fontsize=8.5, color=INK)
    years = range(models["year"].min(), models["year"].max() + 1)
    axis.set(yscale="log", ylabel="pretraining data (millions)", xlim=(years[0] - 0.15, years[-1] + 0.85))
    label_log_axis(axis.yaxis)
    axis.set_xticks(years, [str(year) for year in years])
    axis.xaxis.grid(False)
    entries = [
        (plt.Line2D([], [], linestyle="", marker=markers[unit], color=colours[unit]), unit) for unit in units
    ]
    add_legend(figure, entries, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, models[["name", "year", "size_millions", "size_unit"]])


def _draw_stacks(counts: pd.DataFrame, kind: str) -> Figure:
    """Bars of counts, a part per column, with the sum at the end of each."""
    height = 4.4 if kind == "bar" else 0.3 * len(counts) + 1.9
    figure, axis = subplots(figsize=(7.2, height))
    colours = group_colours(counts.shape[1])
    names = distinct_texts(counts.columns)
    bars = counts.set_axis(range(counts.shape[1]), axis="columns").set_axis(distinct_texts(counts.index))
    bars.plot(kind=kind, stacked=True, ax=axis, color=colours, width=0.8, legend=False, linewidth=0.4)
    for place, total in enumerate(counts.sum(axis="columns")):
        if total == 0:
            continue
        x, y = (place, total) if kind == "bar" else (total, place)
        offset, align = ((0, 3), "center") if kind == "bar" else ((4, -3), "left")
        axis.annotate(f"{total}", (x, y), offset, textcoords="offset points", ha=align, fontsize=9, color=INK)
    _label_counts(axis, kind)
    entries = list(zip(axis.containers, names, strict=True))
    add_legend(
        figure, entries, loc="outside lower center", ncols=2, fontsize=8, handlelength=1.2, columnspacing=1.2
    )
    return drawn(figure, counts.melt(value_name="papers", ignore_index=False).reset_index())


def _label_counts(axis: Axes, kind: str) -> None:
    if kind == "bar":
        axis.set(xlabel="", ylabel="papers")
        years = [label.get_text() for label in axis.get_xticklabels()]
        step = -(-len(years) // 10)  # counted from the newest, so that ten at most have room
        ticks = range(len(years) - 1, -1, -step)
        axis.set_xticks(ticks, [years[place] for place in ticks], rotation=0)
        axis.xaxis.grid(False)
    else:
        axis.set(xlabel="papers", ylabel="")
        axis.yaxis.grid(False)
        axis.tick_params(axis="y", labelsize=9)
    axis.margins(**{"y" if kind == "bar" else "x": 0.08})


def _spread(heights: np.ndarray, least: float) -> np.ndarray:
    """Sorted heights pushed apart to a least distance, around where they were."""
    result = heights.astype(float).copy()
    for _ in range(200):
        for place in range(1, len(result)):
            lack = least - (result[place] - result[place - 1])
            if lack > 1e-9:
                result[place - 1] -= lack / 2
                result[place] += lack / 2
    return result
