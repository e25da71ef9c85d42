"""One ``draw_<what>`` per figure: tidy table in, matplotlib Figure out.

Colours are the colour-blind-safe palette of seaborn; every figure has an opaque white ground, so
that it reads the same on a light and a dark page.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from zeroshot import catalog

KIND_COLOURS = {"baseline": "#0173b2", "control": "#949494", "foundation": "#de8f05"}
DATASET_MARKERS = "oXsDPv^<>*"


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
    """One panel per metric: a point per data set and method, a line at each method's median.

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
    of_model = dict(zip(scores["method"], scores["model"], strict=True))
    kinds = {method: catalog.model(model).kind for method, model in of_model.items()}
    first = scores[scores["metric"] == next(iter(metrics))]
    medians = first.groupby("method")["value"].median()
    order = list(medians.sort_values(ascending=ascending, na_position="last").index)
    height = 0.42 * len(order) + 1.6
    figure, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(max(6.0, 2.9 * len(metrics) + 1.6), height + 0.8),
        sharey=True,
        layout="constrained",
    )
    markers = dict(zip(scores["dataset"].unique(), DATASET_MARKERS * 10, strict=False))
    for axis, (metric, label) in zip(np.atleast_1d(axes), metrics.items(), strict=True):
        values = scores[(scores["metric"] == metric) & scores["value"].notna()]
        for row, method in enumerate(order):
            of_method = values[values["method"] == method]
            colour = KIND_COLOURS[kinds[method]]
            for dataset, value in zip(of_method["dataset"], of_method["value"], strict=True):
                axis.plot(value, row, marker=markers[dataset], color=colour, markersize=7, linestyle="")
            if len(of_method):
                median = of_method["value"].median()
                axis.plot([median, median], [row - 0.36, row + 0.36], color=colour, linewidth=2.5)
        axis.set(xlabel=label.replace(" (", "\n("), ylabel="", ylim=(len(order) - 0.5, -0.5))
        axis.set_yticks(range(len(order)), order)
        axis.xaxis.set_major_locator(plt.MaxNLocator(4))
    handles = [
        plt.Line2D([], [], marker=marker, linestyle="", color="#444444", label=dataset)
        for dataset, marker in markers.items()
    ]
    handles += [
        plt.Line2D([], [], marker="s", linestyle="", color=KIND_COLOURS[kind], label=kind)
        for kind in dict.fromkeys(kinds[method] for method in order)
    ]
    figure.get_layout_engine().set(w_pad=0.12)  # inches, so that neighbouring axis labels stay apart
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


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


def _palette(n_colours: int) -> list:
    return sns.color_palette("colorblind" if n_colours <= 10 else "husl", n_colours)


def _style() -> None:
    sns.set_theme(
        context="notebook", style="whitegrid", rc={"figure.facecolor": "white", "savefig.facecolor": "white"}
    )
