"""What models predict of masked genes, and how a tokeniser bins them."""

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .files import drawn
from .style import group_colours, set_style


def draw_reconstruction_errors(errors: pd.DataFrame, label: str) -> Figure:
    """Error of each predictor against the share of values that were masked; a panel per data set and model.

    Parameters
    ----------
    errors
        Columns ``panel``, ``masked_fraction``, ``predictor``, ``error``.
    label
        Of the axis, for example "MSE (bins squared)".
    """
    set_style()
    panels = list(dict.fromkeys(errors["panel"]))
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7.2, 3.4 * len(panels) + 0.6), layout="constrained", squeeze=False
    )
    predictors = list(dict.fromkeys(errors["predictor"]))
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        sns.lineplot(
            data=errors[errors["panel"] == panel], x="masked_fraction", y="error", hue="predictor",
            style="predictor", hue_order=predictors, style_order=predictors, markers=True, errorbar=None,
            palette=group_colours(len(predictors)), ax=axis,
        )  # fmt: skip
        axis.set(title=panel, xlabel="share of values masked", ylabel=label)
        axis.set_ylim(bottom=0)
        sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    return drawn(figure, errors[["panel", "masked_fraction", "predictor", "error"]])


def draw_rank_correlations(correlations: pd.DataFrame) -> Figure:
    """Correlation of input and output ranks per cell, beside the mean rank; a panel per data set and model.

    Parameters
    ----------
    correlations
        One row per cell: columns ``panel``, ``masked_fraction``, ``predictor``, ``correlation``.
    """
    set_style()
    panels = list(dict.fromkeys(correlations["panel"]))
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7.2, 3.4 * len(panels) + 0.6), layout="constrained", squeeze=False
    )
    predictors = list(dict.fromkeys(correlations["predictor"]))
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        with warnings.catch_warnings():
            # seaborn 0.13 draws boxes with an argument that matplotlib 3.11 will replace.
            warnings.simplefilter("ignore", mpl.MatplotlibDeprecationWarning)
            sns.boxplot(
                data=correlations[correlations["panel"] == panel], x="masked_fraction", y="correlation",
                hue="predictor", hue_order=predictors, palette=group_colours(len(predictors)), fliersize=1.5,
                linewidth=0.8, ax=axis,
            )  # fmt: skip
        axis.set(
            title=panel, xlabel="share of genes masked", ylabel="correlation of ranks", ylim=(-1.02, 1.02)
        )
        sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    return drawn(figure, correlations[["panel", "masked_fraction", "predictor", "correlation"]])


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
    set_style()
    figure, axes = plt.subplots(
        1, len(tables), figsize=(3.5 * len(tables) + 0.9, 3.7), layout="constrained", squeeze=False
    )
    cells = []
    for axis, (title, counts) in zip(axes[0], tables.items(), strict=True):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(
            shares.T, origin="lower", cmap="cividis", extent=(*extent, *extent), aspect="equal"
        )
        axis.plot(extent, extent, color="white", linewidth=0.8, linestyle="--")
        axis.set(title=title, xlabel=x, ylabel=y)
        axis.grid(False)
        figure.colorbar(image, ax=axis, shrink=0.8, label="share of the column")
        edges = np.linspace(*extent, len(counts) + 1)
        across, up = np.meshgrid((edges[:-1] + edges[1:]) / 2, (edges[:-1] + edges[1:]) / 2, indexing="ij")
        shown = {"true": across, "predicted": up, "count": counts, "share": shares}
        cells.append(
            pd.DataFrame({name: values.ravel() for name, values in shown.items()}).assign(panel=title)
        )
    return drawn(figure, pd.concat(cells))


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
    set_style()
    figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    distinct, first = np.unique(values, return_index=True)
    bins = pd.DataFrame({"value": distinct, "lowest": lowest[first], "highest": highest[first]})
    axis.vlines(distinct, bins["lowest"] - 0.4, bins["highest"] + 0.4, linewidth=3)
    axis.set(xscale="log", xlabel="count of the gene", ylabel="bin", ylim=(0, None), title=title)
    axis.xaxis.set_major_formatter("{x:g}")
    return drawn(figure, bins)
