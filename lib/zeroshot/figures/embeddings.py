"""Pictures of embeddings and of the cells they are made of."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .files import drawn
from .style import group_colours, heat_map, set_style


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
    set_style()
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
            palette=group_colours(len(groups.cat.categories)),
            s=max(3, min(18, 12000 / len(coordinates))),
            linewidth=0,
            ax=axis,
        )
        axis.set(title=f"coloured by {name}", xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        sns.move_legend(
            axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None, fontsize=8, markerscale=3
        )
    figure.suptitle(title)
    cells = obs[["cell_type", "batch"]].assign(umap_1=coordinates[:, 0], umap_2=coordinates[:, 1])
    return drawn(figure, cells.reset_index(names="cell"))


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
    set_style()
    figure, axes = plt.subplots(
        len(coordinates), 2, figsize=(7.2, 3.1 * len(coordinates) + 1.6), layout="constrained", squeeze=False
    )
    order = np.random.default_rng(0).permutation(len(obs))
    for column, (key, name) in enumerate([("cell_type", "cell type"), ("batch", "batch")]):
        groups = obs[key].astype("category").cat.remove_unused_categories()
        palette = group_colours(len(groups.cat.categories))
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
    places = {
        f"{method} UMAP {axis + 1}": points[:, axis]
        for method, points in coordinates.items()
        for axis in (0, 1)
    }
    cells = pd.concat([obs[["cell_type", "batch"]], pd.DataFrame(places, obs.index)], axis="columns")
    return drawn(figure, cells.reset_index(names="cell"))


def draw_composition(obs: pd.DataFrame, title: str) -> Figure:
    """Cells of each type in each batch, as a heat map of counts."""
    set_style()
    table = pd.crosstab(obs["cell_type"], obs["batch"])
    table = table.loc[table.sum(axis=1).sort_values(ascending=False).index]
    figure, axis = plt.subplots(
        figsize=(1.1 * table.shape[1] + 3.4, 0.34 * table.shape[0] + 1.5), layout="constrained"
    )
    heat_map(np.log10(table + 1), axis, annot=table, fmt="d", vmin=0)
    axis.set(title=title, xlabel="batch", ylabel="")
    axis.tick_params(axis="x", rotation=30)
    axis.tick_params(axis="y", rotation=0)  # seaborn turns the names of few types
    return drawn(figure, table.reset_index().melt("cell_type", value_name="cells"))


def draw_depth(tables: dict[str, pd.DataFrame]) -> Figure:
    """Distribution of counts per cell by batch, one panel per data set.

    Parameters
    ----------
    tables
        Data set name to its ``obs``, with ``library_size`` and ``batch``.
    """
    set_style()
    figure, axes = plt.subplots(
        len(tables), 1, figsize=(7.5, 1.9 * len(tables) + 0.6), layout="constrained", squeeze=False
    )
    for axis, (name, obs) in zip(axes[:, 0], tables.items(), strict=True):
        sns.kdeplot(
            data=obs, x="library_size", hue="batch", log_scale=True, common_norm=False, fill=True,
            alpha=0.25, palette=group_colours(obs["batch"].nunique()), warn_singular=False, ax=axis,
        )  # fmt: skip
        axis.set(title=name, xlabel="counts per cell", ylabel="density", yticks=[])
        if axis.get_legend() is not None:
            sns.move_legend(axis, "upper left", bbox_to_anchor=(1, 1), frameon=False, title=None)
    cells = [obs[["batch", "library_size"]].assign(dataset=name) for name, obs in tables.items()]
    return drawn(figure, pd.concat(cells).reset_index(names="cell"))
