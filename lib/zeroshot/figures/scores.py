"""Scores of methods: side by side, paired with a reference, in places, beside published ones."""

from collections.abc import Mapping, Sequence, Sized

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zeroshot import catalog
from zeroshot.metrics import METRICS

from .files import drawn
from .style import TIE_COLOUR, dataset_entries, dataset_marker, draws, heat_map, place_point
from .text import (
    TALLEST,
    WIDEST,
    add_legend,
    distinct_texts,
    fit,
    inches,
    label_log_axis,
    make_room,
    nothing_to_draw,
    short_text,
    subplots,
)

KIND_COLOURS = {"baseline": "#0173b2", "control": "#949494", "foundation": "#de8f05"}
# Controls that bound an axis, and how the line at their median is drawn.
CONTROL_LINES = {"random": ":", "label-oracle": "--"}


@draws
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
    table = scores[scores["metric"].isin(list(metrics))].dropna(subset="value")
    if not metrics or scores.empty:
        return drawn(nothing_to_draw("no scores"), table)
    every = _by_median(scores, next(iter(metrics)), ascending=ascending)
    n_methods, row = fit(len(every), 0.42, 0.2, 20)
    order, colours = every[:n_methods], _colours_of_methods(scores)
    n_panels, width = fit(len(metrics), 2.9, 1.9, WIDEST - 1.6)
    datasets = list(scores["dataset"].unique())
    figure, axes = subplots(
        1,
        n_panels,
        figsize=(max(6.0, width * n_panels + 1.6), row * n_methods + 2.4),
        sharey=True,
    )
    drawn_here = scores[scores["method"].isin(order)]
    for axis, (metric, label) in zip(np.atleast_1d(axes), metrics.items(), strict=False):
        values = drawn_here[(drawn_here["metric"] == metric) & drawn_here["value"].notna()]
        for control, style in CONTROL_LINES.items():
            level = values.loc[values["model"] == control, "value"].median()
            if np.isfinite(level):
                axis.axvline(level, color="#949494", linestyle=style, linewidth=1.2, zorder=0)
        _draw_points(axis, values, "value", _seen(values), order, datasets, colours)
        for row, method in enumerate(order):
            median = values.loc[values["method"] == method, "value"].median()
            if np.isfinite(median):
                axis.plot([median, median], [row - 0.4, row + 0.4], color=colours[method], linewidth=2.5)
        axis.set(xlabel=with_direction(metric, label).replace(" (", "\n("))
    figure.get_layout_engine().set(w_pad=0.12)  # inches, so that neighbouring axis labels stay apart
    lines = [
        (plt.Line2D([], [], color="#949494", linestyle=style), f"median of {control.replace('-', ' ')}")
        for control, style in CONTROL_LINES.items()
        if (scores["model"] == control).any()
    ]
    if _seen(scores).any():
        hollow = {"marker": "o", "linestyle": "", "color": "#444444", "markerfacecolor": "white"}
        lines.insert(0, (plt.Line2D([], [], **hollow), "seen in pretraining, at least partly"))
    _draw_legend(figure, scores, order, datasets, lines, _not_shown(every, order, metrics, n_panels))
    return drawn(figure, table)


@draws
def draw_mappings(by_pair: pd.DataFrame, statistics: Mapping[str, str]) -> Figure:
    """One panel per statistic: a point per pair of data sets and method, a bar at each method's mean.

    A thin line through a point is its 95 % interval over draws.

    Parameters
    ----------
    by_pair
        As :func:`zeroshot.results.mappings.by_pair` returns it.
    statistics
        Statistic to axis label, in the order of the panels; those without rows are left out. Methods are
        ordered by the first, the best on top.
    """
    panels = [name for name in statistics if name in set(by_pair["statistic"])]
    table = by_pair[by_pair["statistic"].isin(panels)]
    if table.empty:
        return drawn(nothing_to_draw("no data set was mapped on another"), table)
    means = table.groupby(["statistic", "method"], sort=False)["value"].mean()
    every = list(means[panels[0]].sort_values(ascending=False, kind="stable").index)
    n_methods, row = fit(len(every), 0.42, 0.2, 20)
    order, colours = every[:n_methods], _colours_of_methods(table)
    pairs = list(table["pair"].unique())
    figure, axes = subplots(
        1, len(panels), figsize=(2.9 * len(panels) + 1.6, row * n_methods + 2.4), sharey=True, squeeze=False
    )
    for axis, statistic in zip(axes[0], panels, strict=True):
        rows = table[table["statistic"].eq(statistic) & table["method"].isin(order)]
        points = rows.rename(columns={"pair": "dataset"})
        _draw_points(axis, points, "value", points["value"].isna(), order, pairs, colours)
        for method, mean in means[statistic].items():
            if method in order:
                place = order.index(method)
                axis.plot([mean, mean], [place - 0.4, place + 0.4], color=colours[method], linewidth=2.5)
        axis.set(xlabel=short_text(statistics[statistic], 60).replace(" (", "\n("))
    _draw_legend(figure, table, order, pairs, [], _not_shown(every, order))
    return drawn(figure, table)


@draws
def draw_differences(differences: pd.DataFrame, label: str) -> Figure:
    """Difference of each method to a reference with its 95 % interval; ties are grey and hollow.

    Where no pair has an interval, the figure says so.

    Parameters
    ----------
    differences
        As :func:`zeroshot.results.differences` returns it.
    label
        Of the axis, for example "AvgBIO minus that of HVG".
    """
    if differences.empty:
        return drawn(nothing_to_draw("no pair of methods has an interval"), differences)
    medians = differences.groupby("method")["difference"].median()
    every = list(medians.sort_values(ascending=False, kind="stable").index)
    n_methods, row = fit(len(every), 0.42, 0.2, 20)
    order = every[:n_methods]
    datasets = list(differences["dataset"].unique())
    figure, axis = subplots(figsize=(7.2, row * n_methods + 2.4))
    axis.axvline(0, color="#444444", linewidth=1.2, zorder=0)
    ties = differences["verdict"].eq("tie")
    colours = _colours_of_methods(differences)
    for hollow, of_method in ((False, colours), (True, dict.fromkeys(order, TIE_COLOUR))):
        points = differences[(ties == hollow) & differences["method"].isin(order)]
        _draw_points(axis, points, "difference", ties[points.index], order, datasets, of_method)
    axis.set(xlabel=short_text(label, 80))
    tie = plt.Line2D([], [], marker="o", linestyle="", color=TIE_COLOUR, markerfacecolor="white")
    _draw_legend(figure, differences, order, datasets, [(tie, "tie")], _not_shown(every, order))
    return drawn(figure, differences)


@draws
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
    if not labels or scores.empty:
        return drawn(nothing_to_draw("no scores"), scores)
    every, datasets = _by_median(scores, next(iter(labels))), list(scores["dataset"].unique())
    n_panels, panel = fit(len(labels), 0.36 * len(every) + 0.6, 4.0, TALLEST - 1.4)
    n_methods, row = fit(len(every), 0.36, 0.2, panel - 0.6)
    n_datasets, width = fit(len(datasets), 0.85, 0.6, WIDEST - 3.4)
    order = every[:n_methods]
    beside, below = (inches(distinct_texts(texts), 11) for texts in (order, datasets[:n_datasets]))
    figure, axes = subplots(
        n_panels,
        1,
        figsize=(
            width * n_datasets + max(3.4, beside + 1.5),
            (row * n_methods + 0.6) * n_panels + max(1.4, 0.9 * below + 0.8),
        ),
        sharex=True,
        squeeze=False,
    )
    rows_shown = []
    for axis, (metric, label) in zip(axes[:, 0], labels.items(), strict=False):
        table = scores[scores["metric"] == metric].pivot(index="method", columns="dataset", values="value")
        table = table.reindex(index=order, columns=datasets[:n_datasets])
        places = winners[metric].set_index(["method", "dataset"])["place"].to_dict()
        marks = {"best": " ●", "tied with the best": " ○"}
        texts = [
            [f"{value:.2f}{marks.get(places.get((method, dataset)), '')}" for dataset, value in row.items()]
            for method, row in table.iterrows()
        ]
        heat_map(table, axis, annot=texts, fmt="", vmin=0, vmax=1, annot_kws={"fontsize": 9})
        axis.set(title=with_direction(metric, label), xlabel="", ylabel="")
        axis.grid(False)
        axis.tick_params(axis="x", rotation=60)
        rows = scores[scores["metric"] == metric].dropna(subset="value")
        rows_shown.append(rows.assign(place=rows.set_index(["method", "dataset"]).index.map(places)))
    notes = _not_shown(every, order, labels, n_panels)
    if len(datasets) > n_datasets:
        notes.append(f"{len(datasets) - n_datasets} more data sets are not shown")
    if notes:
        figure.suptitle("\n".join(notes), fontsize=9)
    return drawn(figure, pd.concat(rows_shown))


@draws
def draw_scores_on_umap(scores: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """Scores of UMAP coordinates against those of the embeddings they draw; on the line they are equal.

    Parameters
    ----------
    scores
        A row per data set, method and metric: columns dataset, method, model, metric, value and on_umap.
    metrics
        Metric name to the title of its panel, in the order of the panels.
    """
    table = scores[scores["metric"].isin(list(metrics))].dropna(subset=["value", "on_umap"])
    if not metrics or scores.empty:
        return drawn(nothing_to_draw("no scores"), table)
    n_panels, width = fit(len(metrics), 3.1, 2.4, WIDEST)
    datasets, order = list(scores["dataset"].unique()), list(scores["method"].unique())
    figure, axes = subplots(1, n_panels, figsize=(width * n_panels, 4.1), squeeze=False)
    colours = _colours_of_methods(scores)
    for axis, (metric, label) in zip(axes[0], metrics.items(), strict=False):
        axis.axline((0, 0), slope=1, color="#949494", linestyle="--", linewidth=1.2, zorder=0)
        points = scores[scores["metric"].eq(metric)].dropna(subset=["value", "on_umap"])
        for point in points.itertuples():
            marker = dataset_marker(datasets, point.dataset)
            axis.plot(point.value, point.on_umap, marker=marker, linestyle="", color=colours[point.method])
        title = with_direction(metric, label).replace(" (", "\n(")
        axis.set(title=title, xlabel="of the embedding", ylabel="of its UMAP", aspect="equal")
        axis.set(xlim=(0, 1), ylim=(0, 1))
    equal = plt.Line2D([], [], color="#949494", linestyle="--")
    _draw_legend(figure, scores, order, datasets, [(equal, "equal")], _not_shown((), (), metrics, n_panels))
    return drawn(figure, table)


@draws
def draw_published(ledger: pd.DataFrame) -> Figure:
    """How far ours are from published numbers, in tolerances; within the grey band they agree.

    Parameters
    ----------
    ledger
        Rows of :func:`zeroshot.results.published.ledger` that have a value of ours, at least one.
    """
    table = ledger.assign(in_tolerances=ledger["difference"] / ledger["tolerance"])
    if ledger.empty:
        return drawn(nothing_to_draw("no published number was compared"), table)
    n_rows, height = fit(len(table), 0.34, 0.2, 40)
    rows = table.iloc[:n_rows]
    figure, axis = subplots(figsize=(7.2, height * n_rows + 1.6))
    axis.axvspan(-1, 1, color="#949494", alpha=0.25, linewidth=0)
    axis.axvline(0, color="#444444", linewidth=0.8)
    colours = {"agrees": "#0173b2", "differs": "#de8f05"}
    markers = {"agrees": "o", "differs": "X"}
    # Linear within the tolerance, logarithmic beyond: one far number must not hide the others.
    axis.set_xscale("symlog", linthresh=1)
    label_log_axis(axis.xaxis, linthresh=1)
    entries = []
    for status, colour in colours.items():
        places = np.flatnonzero(rows["status"] == status)
        far = rows["in_tolerances"].iloc[places]
        (points,) = axis.plot(far, places, marker=markers[status], color=colour, linestyle="", label=status)
        entries.append((points, status))
    axis.set_yticks(range(n_rows), distinct_texts(rows["id"]))
    far = rows["in_tolerances"].abs()
    farthest = max(2.0, 1.3 * far[np.isfinite(far)].max())
    axis.set(
        xlabel="difference, in tolerances",
        xlim=(-farthest, farthest),
        ylim=(n_rows - 0.5, -0.5),
    )
    more = [f"{len(table) - n_rows} more numbers are not shown"] if n_rows < len(table) else []
    add_legend(figure, entries, not_shown=more, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, table)


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
    axis.set_yticks(range(len(order)), distinct_texts(order))
    axis.xaxis.set_major_locator(plt.MaxNLocator(4))


def _draw_legend(
    figure: Figure,
    table: pd.DataFrame,
    order: list[str],
    datasets: list[str],
    others: list[tuple[plt.Line2D, str]],
    not_shown: list[str],
) -> None:
    models = dict(zip(table["method"], table["model"], strict=True))
    kinds = dict.fromkeys(catalog.model(models[method]).kind for method in order)
    squares = [
        (plt.Line2D([], [], marker="s", linestyle="", color=KIND_COLOURS[kind]), kind) for kind in kinds
    ]
    entries = [*dataset_entries(datasets), *squares, *others]
    ncols = 3 if all(len(str(text)) <= 36 for _, text in entries) else 2
    legend = add_legend(
        figure, entries, not_shown=not_shown, loc="outside lower center", ncols=ncols, fontsize=9
    )
    make_room(figure, legend, ncols)


def _by_median(scores: pd.DataFrame, metric: str, *, ascending: bool = False) -> list[str]:
    """All methods by their median of a metric, the best first and those without it last."""
    medians = scores[scores["metric"] == metric].groupby("method")["value"].median()
    medians = medians.reindex(scores["method"].drop_duplicates().sort_values())
    return list(medians.sort_values(ascending=ascending, na_position="last", kind="stable").index)


def _not_shown(
    every: Sequence[str], order: Sequence[str], metrics: Sized = (), n_panels: int | None = None
) -> list[str]:
    """What a figure leaves out, in words."""
    methods, panels = len(every) - len(order), len(metrics) - (n_panels or len(metrics))
    return [
        f"{number} more {what} are not shown" for number, what in ((methods, "methods"), (panels, "metrics"))
        if number
    ]  # fmt: skip


def with_direction(metric: str, label: str) -> str:
    """Label of a metric's axis with its direction, where it does not say so itself."""
    label = short_text(label, 60)
    definition = METRICS.get(metric)
    return f"{label} ({definition.direction})" if definition and "is better" not in label else label


def _seen(scores: pd.DataFrame) -> pd.Series:
    return scores["seen_in_pretraining"].isin(["seen", "partly"])


def _colours_of_methods(table: pd.DataFrame) -> dict[str, str]:
    models = dict(zip(table["method"], table["model"], strict=True))
    return {method: KIND_COLOURS[catalog.model(model).kind] for method, model in models.items()}
