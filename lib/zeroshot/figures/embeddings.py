"""Pictures of embeddings and of the cells they are made of."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .files import drawn
from .style import Groups, draws, heat_map
from .text import (
    LONGEST_TITLE,
    TALLEST,
    add_legend,
    distinct_texts,
    fit,
    inches,
    label_log_axis,
    nothing_to_draw,
    short_text,
    subplots,
)

MOST_IN_A_COLUMN = 26  # entries of a legend beside a panel
MOST_CURVES = 20  # batches of a panel
COLUMNS = (("cell_type", "cell type", "cell types"), ("batch", "batch", "batches"))


@draws
def draw_umap(coordinates: np.ndarray, obs: pd.DataFrame, title: str) -> Figure:
    """UMAP of one embedding, coloured by cell type and by batch.

    Of many groups, the legends name those with most cells; all others are grey.

    Parameters
    ----------
    coordinates
        (cells, 2).
    obs
        Rows in the same order, columns ``cell_type`` and ``batch``.
    title
        What is shown, for example "PCA on PBMC 68k".
    """
    grouped = [Groups(obs[column]) for column, _, _ in COLUMNS]
    rows = max(len(groups.named) + 1 for groups in grouped)
    two_columns = rows > MOST_IN_A_COLUMN
    size = (9.2, max(9.2, 0.16 * rows + 1)) if two_columns else (7.2, 9.2)
    figure, axes = subplots(2, 1, figsize=size)
    # Drawn in random order, so that no batch covers another because of its place in the file.
    order = np.random.default_rng(0).permutation(len(coordinates))
    for axis, groups, (_, name, several) in zip(axes, grouped, COLUMNS, strict=True):
        axis.scatter(
            *coordinates[order].T,
            c=groups.of_cells()[order],
            s=max(3, min(18, 12000 / max(len(order), 1))),
            linewidth=0,
        )
        axis.set(title=f"coloured by {name}", xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        add_legend(
            axis, groups.entries(), not_shown=groups.not_shown(several), loc="upper left",
            bbox_to_anchor=(1, 1), fontsize=7 if two_columns else 8, ncols=2 if two_columns else 1,
            longest=22 if two_columns else 40, columnspacing=0.8, handletextpad=0.2,
        )  # fmt: skip
    figure.suptitle(short_text(title, LONGEST_TITLE))
    cells = obs[["cell_type", "batch"]].assign(umap_1=coordinates[:, 0], umap_2=coordinates[:, 1])
    return drawn(figure, cells.reset_index(names="cell"))


@draws
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
    if not coordinates:
        return drawn(nothing_to_draw("no embedding"), obs[["cell_type", "batch"]].reset_index(names="cell"))
    grouped = [Groups(obs[column]) for column, _, _ in COLUMNS]
    entries = max(len(groups.named) + 1 for groups in grouped)
    longest = max(len(str(label)) for groups in grouped for label in [*groups.labels, ""])
    # Two columns of long labels would lie on those of the other panel.
    ncols = 1 if longest > 26 and entries <= MOST_IN_A_COLUMN else 2
    below = max(1.6, 0.15 * -(-entries // ncols) + 0.7)
    n_methods, height = fit(len(coordinates), 3.1, 2.0, TALLEST - below)
    figure, axes = subplots(n_methods, 2, figsize=(7.2, height * n_methods + below), squeeze=False)
    order = np.random.default_rng(0).permutation(len(obs))
    for place, (groups, (_, name, several)) in enumerate(zip(grouped, COLUMNS, strict=True)):
        colours = groups.of_cells()[order]
        for axis, (method, points) in zip(axes[:, place], coordinates.items(), strict=False):
            size = max(2, min(12, 8000 / max(len(points), 1)))
            axis.scatter(*points[order].T, c=colours, s=size, linewidth=0)
            axis.set(xticks=[], yticks=[], ylabel=short_text(method, 26) if place == 0 else "")
        axes[0, place].set_title(f"by {name}")
        add_legend(
            axes[-1, place], groups.entries(), not_shown=groups.not_shown(several), loc="upper center",
            bbox_to_anchor=(0.5, -0.04), fontsize=7, ncols=ncols, longest=26 if ncols == 2 else 40,
            columnspacing=0.8, handletextpad=0.1,
        )  # fmt: skip
    more = len(coordinates) - n_methods
    figure.suptitle(
        short_text(title, LONGEST_TITLE) + (f"\n{more} more methods are not shown" if more else "")
    )
    places = {
        f"{method} UMAP {axis + 1}": points[:, axis]
        for method, points in coordinates.items()
        for axis in (0, 1)
    }
    cells = pd.concat([obs[["cell_type", "batch"]], pd.DataFrame(places, obs.index)], axis="columns")
    return drawn(figure, cells.reset_index(names="cell"))


@draws
def draw_composition(obs: pd.DataFrame, title: str) -> Figure:
    """Cells of each type in each batch, as a heat map of counts.

    Of many types or batches, those with most cells. The figure's table has every pair that has cells.
    """
    pairs = obs.groupby(["cell_type", "batch"], observed=True).size().rename("cells").reset_index()
    if pairs.empty:
        return drawn(nothing_to_draw("no cells"), pairs)
    types, batches = (
        pairs.groupby(name, observed=True)["cells"].sum().sort_values(ascending=False, kind="stable")
        for name in ("cell_type", "batch")
    )
    n_types, height = fit(len(types), 0.34, 0.22, 16)
    n_batches, width = fit(len(batches), 1.1, 0.6, 18)
    columns = batches.sort_index() if n_batches == len(batches) else batches.iloc[:n_batches]
    largest = pairs["cell_type"].isin(types.index[:n_types]) & pairs["batch"].isin(columns.index)
    table = pairs[largest].pivot(index="cell_type", columns="batch", values="cells")
    table = table.reindex(index=types.index[:n_types], columns=columns.index).fillna(0).astype(int)
    beside, below = inches(distinct_texts(table.index), 11), inches(distinct_texts(table.columns), 11)
    size = (width * n_batches + max(3.4, beside + 1.5), height * n_types + max(1.5, 0.55 * below + 1))
    figure, axis = subplots(figsize=size)
    small = {} if width > 0.8 else {"annot_kws": {"fontsize": 7}}
    heat_map(np.log10(table + 1), axis, annot=table, fmt="d", vmin=0, **small)
    parts = [
        f"{n} of {len(every):,} {name}"
        for n, every, name in ((n_types, types, "cell types"), (n_batches, batches, "batches"))
        if n < len(every)
    ]
    note = f"\n{' and '.join(parts)}: those with most cells" if parts else ""
    axis.set(title=short_text(title, LONGEST_TITLE) + note, xlabel="batch", ylabel="")
    axis.tick_params(axis="x", rotation=30)
    return drawn(figure, pairs)


@draws
def draw_depth(tables: dict[str, pd.DataFrame]) -> Figure:
    """Distribution of counts per cell by batch, one panel per data set.

    Of many batches, those with most cells.

    Parameters
    ----------
    tables
        Data set name to its ``obs``, with ``library_size`` and ``batch``.
    """
    cells = [obs[["batch", "library_size"]].assign(dataset=name) for name, obs in tables.items()]
    if not cells:
        return drawn(nothing_to_draw("no data set"), pd.DataFrame(columns=["cell", "batch", "library_size"]))
    grouped = {name: Groups(obs["batch"]) for name, obs in tables.items()}
    entries = max(min(len(groups.labels), MOST_CURVES) for groups in grouped.values())
    n_panels, height = fit(len(tables), max(1.9, 0.18 * entries + 0.7), 1.5, TALLEST - 0.6)
    figure, axes = subplots(n_panels, 1, figsize=(7.5, height * n_panels + 0.6), squeeze=False)
    for axis, (name, obs) in zip(axes[:, 0], tables.items(), strict=False):
        groups = grouped[name]
        curves = np.sort(np.argsort(-groups.cells, kind="stable")[:MOST_CURVES])
        depth = obs["library_size"].to_numpy(float)
        here = np.isin(groups.codes, curves) & (depth > 0) & np.isfinite(depth)
        if here.any():
            sns.kdeplot(
                x=depth[here], hue=groups.codes[here], hue_order=list(curves), log_scale=True,
                common_norm=False, fill=True, alpha=0.25, palette=list(map(tuple, groups.colours[curves])),
                warn_singular=False, legend=False, ax=axis,
            )  # fmt: skip
            label_log_axis(axis.xaxis)
        axis.set(title=short_text(name, 60), xlabel="counts per cell", ylabel="density", yticks=[])
        patches = [
            (plt.Rectangle((0, 0), 1, 1, facecolor=(*groups.colours[place], 0.25),
                           edgecolor=groups.colours[place]), groups.labels[place])
            for place in curves
        ]  # fmt: skip
        others = len(groups.labels) - len(curves)
        add_legend(
            axis, patches, not_shown=[f"{others:,} batches are not shown"] if others else [],
            loc="upper left", bbox_to_anchor=(1, 1), fontsize=8,
        )  # fmt: skip
    if len(tables) > n_panels:
        figure.suptitle(f"{len(tables) - n_panels} more data sets are not shown")
    return drawn(figure, pd.concat(cells).reset_index(names="cell"))
