"""One ``draw_<what>`` per figure: tidy table in, matplotlib Figure out.

Colours are the colour-blind-safe palette of seaborn; every figure has an opaque white ground, so
that it reads the same on a light and a dark page.
"""

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from zeroshot import catalog

KIND_COLOURS = {"baseline": "#0173b2", "control": "#949494", "foundation": "#de8f05"}
DATASET_MARKERS = "oXsDPv^<>*"
TIE_COLOUR = "#949494"
# Controls that bound an axis, and how the line at their median is drawn.
CONTROL_LINES = {"random": ":", "label-oracle": "--"}


def draw_umap(coordinates: np.ndarray, obs: pd.DataFrame, title: str) -> Figure:
    """UMAP of one embedding, coloured by cell type and by batch.

    Parameters
    ----------
    coordinates
        (cells, 2).
    obs
        Rows in the same order, columns ``cell_type`` and ``batch``.
    title
        What is shown, for example "PCA on PBMC 68k".
    """
    _style()
    figure, axes = plt.subplots(2, 1, figsize=(7.2, 9.2), layout="constrained")
    # Drawn in random order, so that no batch covers another because of its place in the file.
    order = np.random.default_rng(0).permutation(len(coordinates))
    for axis, column, name in zip(axes, ["cell_type", "batch"], ["cell type", "batch"], strict=True):
        groups = obs[column].astype("category").cat.remove_unused_categories()
        sns.scatterplot(
            x=coordinates[order, 0],
            y=coordinates[order, 1],
            hue=groups.iloc[order].to_numpy(),
            hue_order=list(groups.cat.categories),
            palette=_palette(len(groups.cat.categories)),
            s=max(3, min(18, 12000 / len(coordinates))),
            linewidth=0,
            ax=axis,
        )
        axis.set(title=f"coloured by {name}", xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        sns.move_legend(
            axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None, fontsize=8, markerscale=3
        )
    figure.suptitle(title)
    return figure


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
    _style()
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
        _draw_points(axis, values, "value", order, datasets, colours)
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
    _draw_legend(figure, scores, order, datasets, lines)
    return figure


def draw_differences(differences: pd.DataFrame, label: str) -> Figure:
    """Difference of each method to a reference with its 95 % interval; ties are grey and hollow.

    Parameters
    ----------
    differences
        As :func:`zeroshot.results.differences` returns it.
    label
        Of the axis, for example "AvgBIO minus that of HVG".
    """
    _style()
    medians = differences.groupby("method")["difference"].median()
    order = list(medians.sort_values(ascending=False).index)
    datasets = list(differences["dataset"].unique())
    figure, axis = plt.subplots(figsize=(7.2, 0.42 * len(order) + 2.4), layout="constrained")
    axis.axvline(0, color="#444444", linewidth=1.2, zorder=0)
    ties = differences["verdict"].eq("tie")
    shown = differences.assign(hollow=ties)
    colours = _colours_of_methods(differences)
    _draw_points(axis, shown[~ties], "difference", order, datasets, colours)
    _draw_points(axis, shown[ties], "difference", order, datasets, dict.fromkeys(order, TIE_COLOUR))
    axis.set(xlabel=label)
    tie = plt.Line2D([], [], marker="o", linestyle="", color=TIE_COLOUR, markerfacecolor="white", label="tie")
    _draw_legend(figure, differences, order, datasets, [tie])
    return figure


def _draw_points(
    axis: plt.Axes,
    table: pd.DataFrame,
    column: str,
    order: list[str],
    datasets: list[str],
    colours: dict[str, str],
) -> None:
    """A row per method; in it a point per data set with its interval, each at a height of its own."""
    for point in table.to_dict("records"):
        shift = (datasets.index(point["dataset"]) + 0.5) / len(datasets) - 0.5
        height = order.index(point["method"]) + 0.6 * shift
        colour = colours[point["method"]]
        axis.plot([point["low"], point["high"]], [height, height], color=colour, linewidth=1, alpha=0.7)
        hollow = point.get("hollow", point.get("seen_in_pretraining") in ("seen", "partly"))
        axis.plot(
            point[column],
            height,
            marker=_marker(datasets, point["dataset"]),
            color=colour,
            markerfacecolor="white" if hollow else colour,
            markersize=6,
            linestyle="",
        )
    axis.set(ylabel="", ylim=(len(order) - 0.5, -0.5))
    axis.set_yticks(range(len(order)), order)
    axis.xaxis.set_major_locator(plt.MaxNLocator(4))


def _draw_legend(
    figure: Figure, table: pd.DataFrame, order: list[str], datasets: list[str], others: list[plt.Line2D]
) -> None:
    handles = [
        plt.Line2D([], [], marker=_marker(datasets, name), linestyle="", color="#444444", label=name)
        for name in datasets
    ]
    models = dict(zip(table["method"], table["model"], strict=True))
    kinds = dict.fromkeys(catalog.model(models[method]).kind for method in order)
    handles += [
        plt.Line2D([], [], marker="s", linestyle="", color=KIND_COLOURS[kind], label=kind) for kind in kinds
    ]
    if "seen_in_pretraining" in table and table["seen_in_pretraining"].isin(["seen", "partly"]).any():
        handles.append(
            plt.Line2D(
                [], [], marker="o", linestyle="", color="#444444", markerfacecolor="white",
                label="seen in pretraining, at least partly",
            )
        )  # fmt: skip
    figure.legend(handles=[*handles, *others], loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def _colours_of_methods(table: pd.DataFrame) -> dict[str, str]:
    models = dict(zip(table["method"], table["model"], strict=True))
    return {method: KIND_COLOURS[catalog.model(model).kind] for method, model in models.items()}


def _marker(datasets: list[str], name: str) -> str:
    return DATASET_MARKERS[datasets.index(name) % len(DATASET_MARKERS)]


def draw_composition(obs: pd.DataFrame, title: str) -> Figure:
    """Cells of each type in each batch, as a heat map of counts."""
    _style()
    table = pd.crosstab(obs["cell_type"], obs["batch"])
    table = table.loc[table.sum(axis=1).sort_values(ascending=False).index]
    figure, axis = plt.subplots(
        figsize=(1.1 * table.shape[1] + 3.4, 0.34 * table.shape[0] + 1.5), layout="constrained"
    )
    sns.heatmap(
        np.log10(table + 1), annot=table, fmt="d", cmap="cividis", cbar=False, linewidths=0.5, ax=axis
    )
    axis.set(title=title, xlabel="batch", ylabel="")
    axis.tick_params(axis="x", rotation=30)
    return figure


def draw_depth(tables: dict[str, pd.DataFrame]) -> Figure:
    """Distribution of counts per cell by batch, one panel per data set.

    Parameters
    ----------
    tables
        Data set name to its ``obs``, with ``library_size`` and ``batch``.
    """
    _style()
    figure, axes = plt.subplots(
        len(tables), 1, figsize=(7.5, 1.9 * len(tables) + 0.6), layout="constrained", squeeze=False
    )
    for axis, (name, obs) in zip(axes[:, 0], tables.items(), strict=True):
        sns.kdeplot(
            data=obs, x="library_size", hue="batch", log_scale=True, common_norm=False, fill=True,
            alpha=0.25, palette=_palette(obs["batch"].nunique()), warn_singular=False, ax=axis,
        )  # fmt: skip
        axis.set(title=name, xlabel="counts per cell", ylabel="density", yticks=[])
        if axis.get_legend() is not None:
            sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    return figure


def draw_umaps(coordinates: dict[str, np.ndarray], obs: pd.DataFrame, title: str) -> Figure:
    """UMAPs of several embeddings of the same cells: a row per method, by cell type and by batch.

    Parameters
    ----------
    coordinates
        Method to (cells, 2).
    obs
        Rows in the same order, columns ``cell_type`` and ``batch``.
    title
        The data set.
    """
    _style()
    figure, axes = plt.subplots(
        len(coordinates), 2, figsize=(7.2, 3.1 * len(coordinates) + 1.6), layout="constrained", squeeze=False
    )
    order = np.random.default_rng(0).permutation(len(obs))
    for column, (key, name) in enumerate([("cell_type", "cell type"), ("batch", "batch")]):
        groups = obs[key].astype("category").cat.remove_unused_categories()
        palette = _palette(len(groups.cat.categories))
        colours = np.asarray(palette)[groups.cat.codes.to_numpy()]
        for axis, (method, points) in zip(axes[:, column], coordinates.items(), strict=True):
            size = max(2, min(12, 8000 / len(points)))
            axis.scatter(*points[order].T, c=colours[order], s=size, linewidth=0)
            axis.set(xticks=[], yticks=[], ylabel=method if column == 0 else "")
        axes[0, column].set_title(f"by {name}")
        handles = [
            plt.Line2D([], [], marker="o", linestyle="", color=colour, label=group)
            for colour, group in zip(palette, groups.cat.categories, strict=True)
        ]
        axes[-1, column].legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.04), frameon=False, fontsize=7,
            ncols=2, columnspacing=0.8, handletextpad=0.1,
        )  # fmt: skip
    figure.suptitle(title)
    return figure


def draw_reconstruction_errors(errors: pd.DataFrame, label: str) -> Figure:
    """Error of each predictor against the share of values that were masked; a panel per data set and model.

    Parameters
    ----------
    errors
        Columns ``panel``, ``masked_fraction``, ``predictor``, ``error``.
    label
        Of the axis, for example "MSE (bins squared)".
    """
    _style()
    panels = list(dict.fromkeys(errors["panel"]))
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7.2, 3.4 * len(panels) + 0.6), layout="constrained", squeeze=False
    )
    predictors = list(dict.fromkeys(errors["predictor"]))
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        sns.lineplot(
            data=errors[errors["panel"] == panel], x="masked_fraction", y="error", hue="predictor",
            style="predictor", hue_order=predictors, style_order=predictors, markers=True, errorbar=None,
            palette=_palette(len(predictors)), ax=axis,
        )  # fmt: skip
        axis.set(title=panel, xlabel="share of values masked", ylabel=label)
        axis.set_ylim(bottom=0)
        sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    return figure


def draw_rank_correlations(correlations: pd.DataFrame) -> Figure:
    """Correlation of input and output ranks per cell, beside the mean rank; a panel per data set and model.

    Parameters
    ----------
    correlations
        One row per cell: columns ``panel``, ``masked_fraction``, ``predictor``, ``correlation``.
    """
    _style()
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
                hue="predictor", hue_order=predictors, palette=_palette(len(predictors)), fliersize=1.5,
                linewidth=0.8, ax=axis,
            )  # fmt: skip
        axis.set(
            title=panel, xlabel="share of genes masked", ylabel="correlation of ranks", ylim=(-1.02, 1.02)
        )
        sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    return figure


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
    _style()
    figure, axes = plt.subplots(
        1, len(tables), figsize=(3.5 * len(tables) + 0.9, 3.7), layout="constrained", squeeze=False
    )
    for axis, (title, counts) in zip(axes[0], tables.items(), strict=True):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(
            shares.T, origin="lower", cmap="cividis", extent=(*extent, *extent), aspect="equal"
        )
        axis.plot(extent, extent, color="white", linewidth=0.8, linestyle="--")
        axis.set(title=title, xlabel=x, ylabel=y)
        axis.grid(False)
        figure.colorbar(image, ax=axis, shrink=0.8, label="share of the column")
    return figure


def draw_published(compared: pd.DataFrame) -> Figure:
    """How far ours are from published numbers, in tolerances; within the grey band they agree.

    Parameters
    ----------
    compared
        Rows of :func:`zeroshot.published.ledger` that have a value of ours, at least one.
    """
    _style()
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
    return figure


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
    _style()
    figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    distinct, first = np.unique(values, return_index=True)
    axis.vlines(distinct, lowest[first] - 0.4, highest[first] + 0.4, linewidth=3)
    axis.set(xscale="log", xlabel="count of the gene", ylabel="bin", ylim=(0, None), title=title)
    axis.xaxis.set_major_formatter("{x:g}")
    return figure


def _palette(n_colours: int) -> list:
    return sns.color_palette("colorblind" if n_colours <= 10 else "husl", n_colours)


def _style() -> None:
    sns.set_theme(
        context="notebook", style="whitegrid", rc={"figure.facecolor": "white", "savefig.facecolor": "white"}
    )
