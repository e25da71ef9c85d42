"""Networks trained on corpora of different size: their losses, and their scores by cells and by loss."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from .files import drawn
from .style import dataset_entries, dataset_marker, draws, group_colours
from .text import add_legend, fit, label_log_axis, nothing_to_draw, short_text, subplots

_TALLEST = 12.0  # inches
_PANEL = 2.4
_COLUMNS = 2
_DASHES = ("-", "--", ":", "-.")


@draws
def draw_ladder(points: pd.DataFrame, label: str) -> Figure:
    """Score by cells of the corpus, a panel per data set; untrained networks at the left, baselines as lines.

    Parameters
    ----------
    points
        Columns dataset, network (title), state ("trained", "untrained" or "baseline"), whole (title of the
        corpus that a corpus is a share of), n_cells (NaN of a baseline), value, and low and high, the ends of
        its interval, drawn for trained networks.
    label
        Of the score.
    """
    table = points.dropna(subset="value")
    if table["state"].ne("baseline").sum() == 0:
        return drawn(nothing_to_draw("no network was trained"), table)
    datasets = list(table["dataset"].unique())
    networks = list(table.loc[table["state"] != "baseline", "network"].unique())
    wholes = list(table["whole"].dropna().unique())
    baselines = list(table.loc[table["state"] == "baseline", "network"].unique())
    colours = dict(zip([*networks, *baselines], group_colours(len(networks) + len(baselines)), strict=True))
    dashes = {whole: _DASHES[place % len(_DASHES)] for place, whole in enumerate(wholes)}
    n_rows, height = fit(-(-len(datasets) // _COLUMNS), _PANEL, _PANEL, _TALLEST)
    figure, axes = subplots(
        n_rows, _COLUMNS, figsize=(7.2, height * n_rows + 1.2), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(datasets) :]:
        axis.set_visible(False)
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        _draw_panel(axis, table[table["dataset"] == dataset], colours, dashes)
        axis.set(title=short_text(dataset), xlabel="cells of the corpus")
        axis.label_outer()
    figure.supylabel(label, fontsize=plt.rcParams["axes.labelsize"])  # one a row would be longer than the row
    entries = [
        (plt.Line2D([], [], color=colours[name], linewidth=2 if name in networks else 1.5), name)
        for name in colours
    ]
    entries += [(plt.Line2D([], [], color="#444444", linestyle=dashes[whole]), whole) for whole in wholes]
    hollow = plt.Line2D([], [], marker="o", linestyle="", color="#444444", markerfacecolor="white")
    entries.append((hollow, "untrained"))
    n_left_out = max(len(datasets) - n_rows * _COLUMNS, 0)
    notes = [f"{n_left_out} more data sets are not shown"] if n_left_out else []
    add_legend(figure, entries, not_shown=notes, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, table)


def _draw_panel(
    axis: plt.Axes, rows: pd.DataFrame, colours: dict[str, tuple], dashes: dict[str, str]
) -> None:
    for row in rows[rows["state"] == "baseline"].itertuples():
        axis.axhline(row.value, color=colours[row.network], linewidth=1.5, zorder=1.5)
    for (network, whole), part in rows[rows["state"] == "trained"].groupby(["network", "whole"], sort=False):
        part = part.sort_values("n_cells")
        axis.plot(
            part["n_cells"], part["value"], marker="o", markersize=4, color=colours[network],
            linestyle=dashes[whole],
        )  # fmt: skip
        axis.vlines(
            part["n_cells"], part["low"], part["high"], color=colours[network], linewidth=1, alpha=0.6
        )
    before = rows[rows["state"] == "untrained"].groupby("network", sort=False)["value"].mean()
    left = rows["n_cells"].min() / 2
    for network, value in before.items():
        axis.plot(left, value, marker="o", markersize=5, color=colours[network], markerfacecolor="white")
    axis.set_xscale("log")
    label_log_axis(axis.xaxis)
    axis.margins(y=0.1)


@draws
def draw_loss_curves(curves: pd.DataFrame) -> Figure:
    """Loss by cells read, a panel per network, beside the best predictor without a network: a line at 1.

    Untrained networks, whose loss may be many times that, are left out.

    Parameters
    ----------
    curves
        As :func:`zeroshot.results.trainings.loss_curves` returns them.
    """
    table = curves[curves["cells"] > 0].dropna(subset="ratio")
    if table.empty:
        return drawn(nothing_to_draw("no network was trained"), table)
    networks, corpora, decoders = (list(table[name].unique()) for name in ("network", "corpus", "decoder"))
    colours = dict(zip(corpora, group_colours(len(corpora)), strict=True))
    dashes = {decoder: _DASHES[place % len(_DASHES)] for place, decoder in enumerate(decoders)}
    n_rows, height = fit(len(networks), _PANEL, 2.0, _TALLEST)
    figure, axes = subplots(n_rows, 1, figsize=(7.2, height * n_rows + 0.9), sharex=True, squeeze=False)
    for axis, network in zip(axes[:, 0], networks, strict=False):
        lines = table[table["network"] == network].groupby(["corpus", "seed", "decoder"], sort=False)
        for (corpus, _, decoder), part in lines:
            axis.plot(
                part["cells"], part["ratio"], marker="o", markersize=3, color=colours[corpus],
                linestyle=dashes[decoder],
            )  # fmt: skip
        axis.axhline(1, color="#444444", linewidth=1.5, zorder=1.5)
        axis.set(title=short_text(network), xlabel="cells read", ylabel="relative loss")
        axis.label_outer()
    entries = [(plt.Line2D([], [], color=colours[name]), name) for name in corpora]
    entries += [(plt.Line2D([], [], color="#444444", linestyle=dashes[name]), name) for name in decoders]
    notes = [f"{len(networks) - n_rows} more networks are not shown"] if len(networks) > n_rows else []
    add_legend(figure, entries, not_shown=notes, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, table)


@draws
def draw_losses_and_scores(states: pd.DataFrame, label: str) -> Figure:
    """Score against loss on held-out cells, a panel per network; a point is a state of a training.

    Parameters
    ----------
    states
        As :func:`zeroshot.results.ladders.with_losses` returns them, networks by their titles.
    label
        Of the score.
    """
    table = states.dropna(subset=["loss", "value"])
    if table.empty:
        return drawn(nothing_to_draw("no network was trained"), table)
    networks, datasets = list(table["network"].unique()), list(table["dataset"].unique())
    colours = dict(zip(datasets, group_colours(len(datasets)), strict=True))
    n_rows, height = fit(len(networks), 2.6, 2.0, _TALLEST)
    figure, axes = subplots(n_rows, 1, figsize=(7.2, height * n_rows + 0.9), squeeze=False)
    for axis, network in zip(axes[:, 0], networks, strict=False):
        for dataset, part in table[table["network"] == network].groupby("dataset", sort=False):
            axis.plot(
                part["loss"], part["value"], linestyle="", marker=dataset_marker(datasets, dataset),
                color=colours[dataset], alpha=0.8,
            )  # fmt: skip
        axis.set(title=short_text(network), xlabel="loss on held-out cells (lower is better)", ylabel=label)
    entries = [
        (plt.Line2D([], [], marker=line.get_marker(), linestyle="", color=colours[name]), name)
        for line, name in dataset_entries(datasets)
    ]
    notes = [f"{len(networks) - n_rows} more networks are not shown"] if len(networks) > n_rows else []
    add_legend(figure, entries, not_shown=notes, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, table)
