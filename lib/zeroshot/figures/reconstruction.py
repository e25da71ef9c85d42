"""What models predict of masked genes, and how a tokeniser bins them."""

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from .files import drawn
from .style import draws, group_colours
from .text import TALLEST, WIDEST, add_legend, fit, label_log_axis, nothing_to_draw, short_text, subplots

MOST_IN_LEGEND = 20  # predictors


@draws
def draw_reconstruction_errors(errors: pd.DataFrame, label: str) -> Figure:
    """Error of each predictor against the share of values that were masked; a panel per data set and model.

    Parameters
    ----------
    errors
        Columns ``panel``, ``masked_fraction``, ``predictor``, ``error``.
    label
        Of the axis, for example "MSE (bins squared)".
    """
    table = errors[["panel", "masked_fraction", "predictor", "error"]]
    if table.empty:
        return drawn(nothing_to_draw("nothing was predicted"), table)
    figure, axes, predictors = _panels(table)
    for axis, panel in axes.items():
        sns.lineplot(
            data=errors[errors["panel"] == panel], x="masked_fraction", y="error", hue="predictor",
            style="predictor", hue_order=predictors, style_order=predictors, markers=True, errorbar=None,
            palette=group_colours(len(predictors)), legend=False, ax=axis,
        )  # fmt: skip
        axis.set(title=short_text(panel, 60), xlabel="share of values masked", ylabel=short_text(label))
        axis.set_ylim(bottom=0)
        # Seaborn leaves out the line of a predictor without values: each is looked up by its colour.
        styles = {to_hex(line.get_color()): line for line in axis.lines}
        _draw_legend(
            axis,
            [
                (styles.get(to_hex(colour), _line(colour)), name)
                for name, colour in zip(predictors, group_colours(len(predictors)), strict=True)
            ],
        )
    return drawn(figure, table)


@draws
def draw_rank_correlations(correlations: pd.DataFrame) -> Figure:
    """Correlation of input and output ranks per cell, beside the mean rank; a panel per data set and model.

    Parameters
    ----------
    correlations
        One row per cell: columns ``panel``, ``masked_fraction``, ``predictor``, ``correlation``.
    """
    table = correlations[["panel", "masked_fraction", "predictor", "correlation"]]
    if table.empty:
        return drawn(nothing_to_draw("nothing was predicted"), table)
    figure, axes, predictors = _panels(table)
    colours = group_colours(len(predictors))
    for axis, panel in axes.items():
        here = table[(table["panel"] == panel) & table["correlation"].notna()]
        with warnings.catch_warnings():
            # seaborn 0.13 draws boxes with an argument that matplotlib 3.11 will replace.
            warnings.simplefilter("ignore", mpl.MatplotlibDeprecationWarning)
            sns.boxplot(
                data=here, x="masked_fraction", y="correlation",
                hue="predictor", hue_order=predictors, palette=colours, fliersize=1.5, linewidth=0.8,
                legend=False, ax=axis,
            )  # fmt: skip
        axis.set(
            title=short_text(panel, 60),
            xlabel="share of genes masked",
            ylabel="correlation of ranks",
            ylim=(-1.02, 1.02),
        )
        boxes = [plt.Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor="#444444") for colour in colours]
        _draw_legend(axis, list(zip(boxes, predictors, strict=True)))
    return drawn(figure, table)


@draws
def draw_joint(tables: dict[str, np.ndarray], *, x: str, y: str, extent: tuple[float, float]) -> Figure:
    """Heat maps of how often a true value (across) met a predicted one (up); columns add up to one.

    Parameters
    ----------
    tables
        Title to (bins, bins) counts: first axis true, second axis predicted.
    x, y
        Labels of the true and the predicted values.
    extent
        Lowest and highest value, on both axes.
    """
    if not tables:
        return drawn(nothing_to_draw("nothing was predicted"), pd.DataFrame(columns=["panel", "count"]))
    n_panels, width = fit(len(tables), 3.5, 2.6, WIDEST - 0.9)
    figure, axes = subplots(1, n_panels, figsize=(width * n_panels + 0.9, 3.7), squeeze=False)
    cells = []
    for axis, (title, counts) in zip(axes[0], tables.items(), strict=False):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(
            shares.T, origin="lower", cmap="cividis", extent=(*extent, *extent), aspect="equal"
        )
        axis.plot(extent, extent, color="white", linewidth=0.8, linestyle="--")
        axis.set(title=short_text(title), xlabel=short_text(x), ylabel=short_text(y))
        axis.grid(False)
        figure.colorbar(image, ax=axis, shrink=0.8, label="share of the column")
        edges = np.linspace(*extent, len(counts) + 1)
        across, up = np.meshgrid((edges[:-1] + edges[1:]) / 2, (edges[:-1] + edges[1:]) / 2, indexing="ij")
        values = {"true": across, "predicted": up, "count": counts, "share": shares}
        cells.append(
            pd.DataFrame({name: array.ravel() for name, array in values.items()}).assign(panel=title)
        )
    if len(tables) > n_panels:
        figure.suptitle(f"{len(tables) - n_panels} more panels are not shown", fontsize=9)
    return drawn(figure, pd.concat(cells))


@draws
def draw_bins(values: np.ndarray, lowest: np.ndarray, highest: np.ndarray, title: str) -> Figure:
    """Bins that each distinct value of a cell can be put into, as a vertical line.

    Parameters
    ----------
    values
        (genes,) values of one cell, above zero.
    lowest, highest
        (genes,) first and last bin of each.
    title
        Which cell it is.
    """
    figure, axis = subplots(figsize=(7.2, 3.6))
    distinct, first = np.unique(values, return_index=True)
    bins = pd.DataFrame({"value": distinct, "lowest": lowest[first], "highest": highest[first]})
    colour = group_colours(1)[0]  # matplotlib's own would be that of the reader's style
    axis.vlines(distinct, bins["lowest"] - 0.4, bins["highest"] + 0.4, color=colour, linewidth=3)
    axis.set(
        xscale="log", xlabel="count of the gene", ylabel="bin", ylim=(0, None), title=short_text(title, 60)
    )
    label_log_axis(axis.xaxis)
    return drawn(figure, bins)


def _panels(table: pd.DataFrame) -> tuple[Figure, dict[plt.Axes, str], list[str]]:
    """A figure with a panel below another, which panel each shows, and the predictors of all."""
    panels = list(dict.fromkeys(table["panel"]))
    predictors = list(dict.fromkeys(table["predictor"]))
    beside = 0.22 * min(len(predictors), MOST_IN_LEGEND) + 1
    n_panels, height = fit(len(panels), max(3.4, beside), max(2.4, beside), TALLEST - 0.6)
    figure, axes = subplots(n_panels, 1, figsize=(7.2, height * n_panels + 0.6), squeeze=False)
    if len(panels) > n_panels:
        figure.suptitle(f"{len(panels) - n_panels} more panels are not shown", fontsize=9)
    return figure, dict(zip(axes[:, 0], panels, strict=False)), predictors


def _line(colour: tuple) -> plt.Line2D:
    return plt.Line2D([], [], color=colour)


def _draw_legend(axis: plt.Axes, entries: list) -> None:
    add_legend(
        axis, entries, longest=26, most=MOST_IN_LEGEND, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9
    )
