"""Scores of methods: side by side, paired with a reference, in places, beside published ones."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zeroshot import catalog

from .files import drawn
from .style import TIE_COLOUR, dataset_handles, dataset_marker, heat_map, place_point, set_style

KIND_COLOURS = {"baseline": "#0173b2", "control": "#949494", "foundation": "#de8f05"}
# Controls that bound an axis, and how the line at their median is drawn.
CONTROL_LINES = {"random": ":", "label-oracle": "--"}


def draw_scores_by_method(
    scores: pd.DataFrame, metrics: dict[str, str], *, ascending: bool = False
) -> Figure:
    """One panel per metric: a point per data set and method, a bar at each method's median.

    A thin line through a point is its 95 % interval. Points of data that the model was trained on, wholly or
    in part, are hollow. Dotted lines mark the medians of the controls that bound the axis.

    Parameters
    ----------
    scores
        Tidy scores of a study, as :func:`zeroshot.results.load` returns them.
    metrics
        Metric name to axis label, in the order of the panels.
    ascending
        True where lower is better, so that the best method stays on top.
    """
    set_style()
    first = scores[scores["metric"] == next(iter(metrics))]
    medians = first.groupby("method")["value"].median()
    order = list(medians.sort_values(ascending=ascending, na_position="last").index)
    colours = _colours_of_methods(scores)
    height = 0.42 * len(order) + 1.6
    figure, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(max(6.0, 2.9 * len(metrics) + 1.6), height + 0.8),
        sharey=True,
        layout="constrained",
    )
    datasets = list(scores["dataset"].unique())
    for axis, (metric, label) in zip(np.atleast_1d(axes), metrics.items(), strict=True):
        values = scores[(scores["metric"] == metric) & scores["value"].notna()]
        for control, style in CONTROL_LINES.items():
            level = values.loc[values["model"] == control, "value"].median()
            if np.isfinite(level):
                axis.axvline(level, color="#949494", linestyle=style, linewidth=1.2, zorder=0)
        _draw_points(axis, values, "value", _seen(values), order, datasets, colours)
        for row, method in enumerate(order):
            median = values.loc[values["method"] == method, "value"].median()
            if np.isfinite(median):
                axis.plot([median, median], [row - 0.4, row + 0.4], color=colours[method], linewidth=2.5)
        axis.set(xlabel=label.replace(" (", "\n("))
    figure.get_layout_engine().set(w_pad=0.12)  # inches, so that neighbouring axis labels stay apart
    lines = [
        plt.Line2D([], [], color="#949494", linestyle=style, label=f"median of {control.replace('-', ' ')}")
        for control, style in CONTROL_LINES.items()
        if (scores["model"] == control).any()
    ]
    if _seen(scores).any():
        hollow = {"marker": "o", "linestyle": "", "color": "#444444", "markerfacecolor": "white"}
        lines.insert(0, plt.Line2D([], [], **hollow, label="seen in pretraining, at least partly"))
    _draw_legend(figure, scores, order, datasets, lines)
    return drawn(figure, scores[scores["metric"].isin(list(metrics))].dropna(subset="value"))


def draw_differences(differences: pd.DataFrame, label: str) -> Figure:
    """Difference of each method to a reference with its 95 % interval; ties are grey and hollow.

    Parameters
    ----------
    differences
        As :func:`zeroshot.results.differences` returns it.
    label
        Of the axis, for example "AvgBIO minus that of HVG".
    """
    set_style()
    medians = differences.groupby("method")["difference"].median()
    order = list(medians.sort_values(ascending=False).index)
    datasets = list(differences["dataset"].unique())
    figure, axis = plt.subplots(figsize=(7.2, 0.42 * len(order) + 2.4), layout="constrained")
    axis.axvline(0, color="#444444", linewidth=1.2, zorder=0)
    ties = differences["verdict"].eq("tie")
    colours = _colours_of_methods(differences)
    for hollow, of_method in ((False, colours), (True, dict.fromkeys(order, TIE_COLOUR))):
        points = differences[ties == hollow]
        _draw_points(axis, points, "difference", ties[points.index], order, datasets, of_method)
    axis.set(xlabel=label)
    tie = plt.Line2D([], [], marker="o", linestyle="", color=TIE_COLOUR, markerfacecolor="white", label="tie")
    _draw_legend(figure, differences, order, datasets, [tie])
    return drawn(figure, differences)


def draw_places(scores: pd.DataFrame, winners: dict[str, pd.DataFrame], labels: dict[str, str]) -> Figure:
    """Scores of every method on every data set, a panel per metric; ● is the best, ○ is tied with it.

    A cell is empty where there is no score.

    Parameters
    ----------
    scores
        Tidy scores of a study, as :func:`zeroshot.results.load` returns them.
    winners
        Metric name to what :func:`zeroshot.results.winners` returns for it.
    labels
        Metric name to the title of its panel, in the order of the panels.
    """
    set_style()
    first = scores[scores["metric"] == next(iter(labels))]
    order = list(first.groupby("method")["value"].median().sort_values(ascending=False).index)
    datasets = list(scores["dataset"].unique())
    figure, axes = plt.subplots(
        len(labels),
        1,
        figsize=(0.85 * len(datasets) + 3.4, (0.36 * len(order) + 0.6) * len(labels) + 1.4),
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    shown = []
    for axis, (metric, label) in zip(axes[:, 0], labels.items(), strict=True):
        table = scores[scores["metric"] == metric].pivot(index="method", columns="dataset", values="value")
        table = table.reindex(index=order, columns=datasets)
        places = winners[metric].set_index(["method", "dataset"])["place"].to_dict()
        marks = {"best": " ●", "tied with the best": " ○"}
        texts = [
            [f"{value:.2f}{marks.get(places.get((method, dataset)), '')}" for dataset, value in row.items()]
            for method, row in table.iterrows()
        ]
        heat_map(table, axis, annot=texts, fmt="", vmin=0, vmax=1, annot_kws={"fontsize": 9})
        axis.set(title=label, xlabel="", ylabel="")
        axis.grid(False)
        axis.tick_params(axis="x", rotation=60)
        rows = scores[scores["metric"] == metric].dropna(subset="value")
        shown.append(rows.assign(place=rows.set_index(["method", "dataset"]).index.map(places)))
    return drawn(figure, pd.concat(shown))


def draw_scores_on_umap(scores: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """Scores of UMAP coordinates against those of the embeddings they draw; on the line they are equal.

    Parameters
    ----------
    scores
        A row per data set, method and metric: columns dataset, method, model, metric, value and on_umap.
    metrics
        Metric name to the title of its panel, in the order of the panels.
    """
    set_style()
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(3.1 * len(metrics), 4.1), layout="constrained", squeeze=False
    )
    datasets, order = list(scores["dataset"].unique()), list(scores["method"].unique())
    colours = _colours_of_methods(scores)
    for axis, (metric, label) in zip(axes[0], metrics.items(), strict=True):
        axis.axline((0, 0), slope=1, color="#949494", linestyle="--", linewidth=1.2, zorder=0)
        points = scores[scores["metric"].eq(metric)].dropna(subset=["value", "on_umap"])
        for point in points.itertuples():
            marker = dataset_marker(datasets, point.dataset)
            axis.plot(point.value, point.on_umap, marker=marker, linestyle="", color=colours[point.method])
        axis.set(title=label, xlabel="of the embedding", ylabel="of its UMAP", aspect="equal")
        axis.set(xlim=(0, 1), ylim=(0, 1))
    equal = plt.Line2D([], [], color="#949494", linestyle="--", label="equal")
    _draw_legend(figure, scores, order, datasets, [equal])
    return drawn(figure, scores[scores["metric"].isin(list(metrics))].dropna(subset=["value", "on_umap"]))


def draw_published(compared: pd.DataFrame) -> Figure:
    """How far ours are from published numbers, in tolerances; within the grey band they agree.

    Parameters
    ----------
    compared
        Rows of :func:`zeroshot.published.ledger` that have a value of ours, at least one.
    """
    set_style()
    figure, axis = plt.subplots(figsize=(7.2, 0.34 * len(compared) + 1.6), layout="constrained")
    axis.axvspan(-1, 1, color="#949494", alpha=0.25, linewidth=0)
    axis.axvline(0, color="#444444", linewidth=0.8)
    colours = {"agrees": "#0173b2", "differs": "#de8f05"}
    markers = {"agrees": "o", "differs": "X"}
    # Linear within the tolerance, logarithmic beyond: one far number must not hide the others.
    axis.set_xscale("symlog", linthresh=1)
    for status, colour in colours.items():
        rows = np.flatnonzero(compared["status"] == status)
        far = compared["difference"].iloc[rows] / compared["tolerance"].iloc[rows]
        axis.plot(far, rows, marker=markers[status], color=colour, linestyle="", label=status)
    axis.set_yticks(range(len(compared)), compared["id"])
    farthest = max(2.0, 1.3 * (compared["difference"] / compared["tolerance"]).abs().max())
    axis.set(
        xlabel="difference, in tolerances",
        xlim=(-farthest, farthest),
        ylim=(len(compared) - 0.5, -0.5),
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return drawn(figure, compared.assign(in_tolerances=compared["difference"] / compared["tolerance"]))


def _draw_points(
    axis: plt.Axes,
    table: pd.DataFrame,
    column: str,
    hollow: pd.Series,
    order: list[str],
    datasets: list[str],
    colours: dict[str, str],
) -> None:
    """A row per method; in it a point per data set with its interval, each at a height of its own."""
    for point, empty in zip(table.to_dict("records"), hollow, strict=True):
        method = point["method"]
        place_point(axis, point, column, order.index(method), datasets, colours[method], hollow=empty)
    axis.set(ylabel="", ylim=(len(order) - 0.5, -0.5))
    axis.set_yticks(range(len(order)), order)
    axis.xaxis.set_major_locator(plt.MaxNLocator(4))


def _draw_legend(
    figure: Figure, table: pd.DataFrame, order: list[str], datasets: list[str], others: list[plt.Line2D]
) -> None:
    handles = dataset_handles(datasets)
    models = dict(zip(table["method"], table["model"], strict=True))
    kinds = dict.fromkeys(catalog.model(models[method]).kind for method in order)
    handles += [
        plt.Line2D([], [], marker="s", linestyle="", color=KIND_COLOURS[kind], label=kind) for kind in kinds
    ]
    figure.legend(handles=[*handles, *others], loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def _seen(scores: pd.DataFrame) -> pd.Series:
    return scores["seen_in_pretraining"].isin(["seen", "partly"])


def _colours_of_methods(table: pd.DataFrame) -> dict[str, str]:
    models = dict(zip(table["method"], table["model"], strict=True))
    return {method: KIND_COLOURS[catalog.model(model).kind] for method, model in models.items()}
