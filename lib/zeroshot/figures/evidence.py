"""Published scores of others: differences from baselines, outcomes, noise, cost and controls."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .files import drawn
from .style import TIE_COLOUR, draws
from .text import TALLEST, WIDEST, add_legend, distinct_texts, fit, label_log_axis, nothing_to_draw, subplots

BETTER, WORSE = "#0173b2", "#de8f05"
KINDS = {
    "foundation": ("foundation model", "#de8f05", "o"),
    "baseline": ("baseline", "#0173b2", "s"),
    "other": ("other method", "#029e73", "D"),
    "control": ("control", "#949494", "X"),
}


@draws
def draw_forest(summary: pd.DataFrame) -> Figure:
    """Mean difference of each model from a baseline, a row for each source, a panel for each baseline.

    A line is the 95 % interval. Hollow points are of data that the model probably saw in pretraining, at
    least in part; points without a line have too few data sets for an interval. A row of several variants of
    a model is their mean, and says of how many.

    Parameters
    ----------
    summary
        Columns method, source and baseline (titles), mean, low, high, n, n_leak and n_variants, as
        :func:`zeroshot.results.evidence.summarise` returns them. Baselines in the order of their first row.
    """
    if summary.empty:
        return drawn(nothing_to_draw("no model stands beside a baseline"), summary)
    rows = summary.groupby(["method", "source"], sort=False)[["n", "n_variants"]].max().reset_index()
    rows = rows.sort_values(["method", "source"], kind="stable")
    every = list(zip(rows["method"], rows["source"], strict=True))
    n_rows, height = fit(len(every), 0.26, 0.17, TALLEST - 2)
    places = {key: place for place, key in enumerate(every[:n_rows])}
    baselines = list(dict.fromkeys(summary["baseline"]))
    # Narrow panels: a page is 7 inches wide, and letters shrink with the picture.
    n_panels, width = fit(len(baselines), 1.5, 1.2, WIDEST - 3)
    size = (max(6.0, width * n_panels + 3), height * n_rows + 1.8)
    figure, axes = subplots(1, n_panels, figsize=size, squeeze=False)
    for axis, baseline in zip(axes[0], baselines, strict=False):
        axis.axvline(0, color="#444444", linewidth=1.0, zorder=0)
        # One artist instead of a tick for each row in each panel, which would take most of the time.
        across = axis.get_yaxis_transform()
        axis.hlines(range(n_rows), 0, 1, color="#dddddd", linewidth=0.8, zorder=0, transform=across)
        axis.set_yticks([])
        axis.set_ylim(n_rows - 0.5, -0.5)
        for row in summary[summary["baseline"].eq(baseline)].itertuples():
            if (row.method, row.source) in places:
                _draw_difference(axis, row, places[row.method, row.source])
        axis.set_title(f"minus\n{baseline}", fontsize=10)
        axis.tick_params(axis="x", labelsize=9)
        axis.locator_params(axis="x", nbins=3)
    names = [
        f"{m}{f', mean of {variants}' if variants > 1 else ''}: {s} (n = {n})"
        for m, s, n, variants in rows.head(n_rows).itertuples(index=False)
    ]
    axes[0][0].set_yticks(range(n_rows), distinct_texts(names, 60), fontsize=10)
    axes[0][0].grid(visible=False, axis="y")
    axes[0][n_panels // 2].set_xlabel("mean difference (right of 0: the model is better)", fontsize=9)
    more = [f"{len(every) - n_rows} more rows are not shown"] if n_rows < len(every) else []
    more += [f"{len(baselines) - n_panels} more baselines are not shown"] if n_panels < len(baselines) else []
    marks = [
        (_mark("o", colour), text)
        for colour, text in ((BETTER, "better"), (TIE_COLOUR, "tied, or no interval"), (WORSE, "worse"))
    ]
    hollow = plt.Line2D([], [], marker="o", linestyle="", color="#444444", markerfacecolor="white")
    entries = [*marks, (hollow, "some data seen in pretraining")]
    add_legend(figure, entries, not_shown=more, loc="outside lower center", ncols=4, fontsize=8)
    return drawn(figure, summary)


def _draw_difference(axis: plt.Axes, row: tuple, place: int) -> None:
    colour = BETTER if row.low > 0 else WORSE if row.high < 0 else TIE_COLOUR
    if np.isfinite(row.low):
        axis.plot([row.low, row.high], [place, place], color=colour, linewidth=1.4)
    face = "white" if row.n_leak else colour
    axis.plot(row.mean, place, marker="o", color=colour, markerfacecolor=face, markersize=5, linestyle="")


@draws
def draw_outcomes(outcomes: pd.DataFrame) -> Figure:
    """Share of data sets on which models are better than a baseline, tied with it or worse.

    Parameters
    ----------
    outcomes
        Columns area and baseline (titles), wins, ties, losses and n, a bar for each row, as
        :func:`zeroshot.results.evidence.outcomes` returns them.
    """
    if outcomes.empty:
        return drawn(nothing_to_draw("no model stands beside a baseline"), outcomes)
    n_rows, height = fit(len(outcomes), 0.3, 0.2, TALLEST - 2)
    table = outcomes.head(n_rows)
    figure, axis = subplots(figsize=(7.2, height * n_rows + 1.6))
    left, entries = np.zeros(n_rows), []
    for column, colour, text in (
        ("wins", BETTER, "model better"), ("ties", TIE_COLOUR, "tied"), ("losses", WORSE, "baseline better"),
    ):  # fmt: skip
        share = (table[column] / table["n"]).to_numpy()
        bars = axis.barh(range(n_rows), share, left=left, color=colour, height=0.7)
        left += share
        entries.append((bars[0], text))
    for place, row in enumerate(table.itertuples()):
        axis.text(1.01, place, f"{row.wins} / {row.ties} / {row.losses}", va="center", fontsize=8)
    names = [f"{row.area}: minus {row.baseline}" for row in table.itertuples()]
    axis.set_yticks(range(n_rows), distinct_texts(names, 50), fontsize=8)
    axis.set(xlim=(0, 1.22), ylim=(n_rows - 0.5, -0.5), xlabel="share of data sets, over models and sources")
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    more = [f"{len(outcomes) - n_rows} more rows are not shown"] if n_rows < len(outcomes) else []
    add_legend(figure, entries, not_shown=more, loc="outside lower center", ncols=3, fontsize=9)
    return drawn(figure, outcomes)


@draws
def draw_noise(noise: pd.DataFrame) -> Figure:
    """Spread of one method's score over replicates beside the differences between methods.

    Parameters
    ----------
    noise
        Columns source (title), area, spread and effect, as :func:`zeroshot.results.evidence.noise` returns
        them.
    """
    table = noise[(noise["spread"] > 0) & (noise["effect"] > 0)]
    if table.empty:
        return drawn(nothing_to_draw("no source has replicates"), noise)
    figure, axis = subplots(figsize=(7.2, 0.32 * len(table) + 1.6))
    places = range(len(table))
    axis.hlines(places, table["spread"], table["effect"], color="#cccccc", linewidth=2, zorder=0)
    (spread,) = axis.plot(table["spread"], places, marker="s", linestyle="", color=TIE_COLOUR)
    (effect,) = axis.plot(table["effect"], places, marker="o", linestyle="", color=BETTER)
    axis.set_xscale("log")
    label_log_axis(axis.xaxis)
    names = [f"{row.source}, {row.area}" for row in table.itertuples()]
    axis.set_yticks(places, distinct_texts(names, 60), fontsize=10)
    axis.set(ylim=(len(table) - 0.5, -0.5), xlabel="in units of the score")
    entries = [
        (spread, "standard deviation between replicates (median)"),
        (effect, "difference between model and baseline (median)"),
    ]
    add_legend(figure, entries, longest=60, loc="outside lower center", ncols=1, fontsize=9)
    return drawn(figure, noise)


@draws
def draw_profiles(profiles: pd.DataFrame, areas: dict[str, str]) -> Figure:
    """Methods of one source: mixing of batches and seconds against clustering, controls beside them.

    The line joins the methods that no other one beats in both clustering and seconds (Pareto front).

    Parameters
    ----------
    profiles
        Columns number (written beside the mark), kind, clustering, batch_mixing, seconds and front, as
        :func:`zeroshot.results.evidence.profiles` returns them, of one source.
    areas
        Labels of the columns ``clustering`` and ``batch_mixing``.
    """
    if profiles.empty:
        return drawn(nothing_to_draw("no method has both scores"), profiles)
    figure, axes = subplots(1, 2, figsize=(9.6, 4.6), sharey=True)
    timed = profiles[profiles["seconds"].notna() & profiles["kind"].ne("control")]
    for axis, x, table in ((axes[0], "batch_mixing", profiles), (axes[1], "seconds", timed)):
        for kind, (_, colour, marker) in KINDS.items():
            points = table[table["kind"].eq(kind)]
            axis.plot(
                points[x], points["clustering"], marker=marker, color=colour, linestyle="", markersize=6
            )
        for row in table.itertuples():
            place = (getattr(row, x), row.clustering)
            axis.annotate(str(row.number), place, xytext=(4, 3), textcoords="offset points", fontsize=8)
    front = timed[timed["front"]].sort_values("seconds")
    (line,) = axes[1].plot(front["seconds"], front["clustering"], color="#444444", linewidth=1, zorder=0)
    axes[1].set_xscale("log")
    label_log_axis(axes[1].xaxis)
    axes[0].set(xlabel=areas["batch_mixing"], ylabel=areas["clustering"])
    axes[1].set(xlabel="seconds (lower is better)")
    kinds = [KINDS[kind] for kind in KINDS if kind in set(profiles["kind"])]
    entries = [(_mark(marker, colour), text) for text, colour, marker in kinds]
    entries.append((line, "Pareto front"))
    add_legend(figure, entries, loc="outside lower center", ncols=5, fontsize=8)
    return drawn(figure, profiles)


def _mark(marker: str, colour: str) -> plt.Line2D:
    return plt.Line2D([], [], marker=marker, linestyle="", color=colour)
