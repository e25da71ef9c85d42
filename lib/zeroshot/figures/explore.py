"""UMAPs that a reader of the book can point at; the script ``umap.js`` of the book draws them."""

import base64
import bisect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex

from zeroshot import markup, sampling

from .style import group_colours

# Bytes of a page's data: with the script and its style sheet a page stays below a megabyte.
BUDGET = 900_000
# Points of a data set that a browser redraws without delay.
POINTS = 24_000
# Cells of a rare type that are shown, where there are as many.
CELLS_PER_TYPE = 10
LEVELS = 2**16 - 1
FALLBACK = (
    "Where the script of the built book runs, cells can be pointed at here. The next picture shows all cells."
)


class UmapExplorer:
    """Linked UMAPs as data in HTML: to be pointed at in the book, a sentence wherever its script is not.

    Attributes
    ----------
    record
        What the script reads: data sets with their titles, methods, coordinates and colourings.
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{part['title']}: {len(part['methods'])} methods, {part['shown']:,} of {part['cells']:,} cells"
            for part in self.record["sets"]
        )
        return f"UmapExplorer({shown})"

    def _repr_html_(self) -> str:
        return (
            f'<div class="umap-explorer"><p>{FALLBACK}</p>'
            f'<script type="application/json">{markup.script_data(self.record)}</script></div>'
        )


def explore_umaps(
    coordinates: Mapping[str, Mapping[str, np.ndarray]],
    cells: Mapping[str, pd.DataFrame],
    *,
    seed: int = 0,
    budget: int = BUDGET,
) -> UmapExplorer:
    """UMAPs to point at: linked panels, one per method, of one data set at a time.

    The data of a whole page, so there is one call on it. Cells are drawn in proportion to their types, with
    some of each, as many as fit into the budget, and the page says how many they are. Colours are those of
    :func:`draw_umaps`.

    Parameters
    ----------
    coordinates
        Title of a data set to method to (cells, 2). The first data set is shown first.
    cells
        Title of a data set to its ``obs``: rows in the same order, columns ``cell_type``, ``batch`` and, to
        colour by it, ``library_size`` (counts of a cell).
    seed
        Decides which cells are shown, and which of them lie on top.
    budget
        Most bytes of the data.

    Raises
    ------
    ValueError
        If coordinates and cells do not belong together, or if the names of types and batches alone exceed
        the budget.
    """
    if set(coordinates) != set(cells):
        raise ValueError(f"coordinates of {sorted(coordinates)}, but cells of {sorted(cells)}")
    for title, methods in coordinates.items():
        for method, points in methods.items():
            if points.shape != (len(cells[title]), 2):
                raise ValueError(
                    f"{method} on {title}: coordinates {points.shape} of {len(cells[title])} cells"
                )
    parts = [_fixed(title, methods, cells[title]) for title, methods in coordinates.items()]
    record = {"ramps": _ramps(), "sets": parts}
    most = [min(len(cells[part["title"]]), POINTS // max(len(part["methods"]), 1)) for part in parts]
    # A 16-bit word per coordinate, group and depth, as base64.
    width = [(4 * len(part["methods"]) + 2 * len(part["groups"]) + 2) * 4 / 3 for part in parts]
    left = budget - len(markup.script_data(record))

    def size(n: int) -> float:
        return sum(min(n, m) * w for m, w in zip(most, width, strict=True))

    n_cells = bisect.bisect_right(range(max(most) + 1), left, key=size) - 1
    if n_cells < 1:
        raise ValueError(f"no cell fits into {budget:,} bytes beside the names of types and batches")
    for part, m in zip(parts, most, strict=True):
        title = part["title"]
        types = cells[title]["cell_type"]
        kept = sampling.draw_in_proportion(types, min(n_cells, m), seed, least=CELLS_PER_TYPE)
        kept = np.random.default_rng(seed).permutation(kept)  # so that none is covered by its place
        _fill(part, kept, coordinates[title], cells[title])
    return UmapExplorer(record)


def _fixed(title: str, methods: Mapping[str, np.ndarray], obs: pd.DataFrame) -> dict[str, Any]:
    """What the script needs of a data set, apart from its cells."""
    groups = []
    for column, name in (("cell_type", "cell type"), ("batch", "batch")):
        sizes = _categorical(obs[column]).value_counts(sort=False)
        groups.append(
            {
                "name": name,
                "labels": [str(label) for label in sizes.index],
                "cells": [int(n) for n in sizes],
                "colours": [to_hex(colour) for colour in group_colours(len(sizes))],
            }
        )
    part = {"title": title, "cells": len(obs), "methods": list(methods), "groups": groups}
    if "library_size" in obs:
        logs = np.log1p(obs["library_size"])
        part["depth"] = {"low": float(logs.min()), "high": float(logs.max())}
    return part


def _fill(
    part: dict[str, Any], kept: np.ndarray, methods: Mapping[str, np.ndarray], obs: pd.DataFrame
) -> None:
    """Put some cells into the record of a data set."""
    part["shown"] = len(kept)
    part["coordinates"] = [_words(_quantised(points[kept])) for points in methods.values()]
    for group, column in zip(part["groups"], ("cell_type", "batch"), strict=True):
        group["codes"] = _words(_categorical(obs[column]).cat.codes.to_numpy()[kept])
    if "depth" in part:
        logs = np.log1p(obs["library_size"].to_numpy())
        part["depth"]["codes"] = _words(_quantised(logs)[kept])


def _categorical(column: pd.Series) -> pd.Series:
    return column.astype("category").cat.remove_unused_categories()


def _quantised(values: np.ndarray) -> np.ndarray:
    """Each column from its lowest value, 0, to its highest, 65,535."""
    values = values.astype(float)
    low, high = values.min(axis=0), values.max(axis=0)
    return np.rint((values - low) / np.where(high > low, high - low, 1) * LEVELS)


def _words(values: np.ndarray) -> str:
    """Whole numbers from 0 to 65,535 as base64 of little-endian 16-bit words."""
    return base64.b64encode(values.astype("<u2").tobytes()).decode("ascii")


def _ramps() -> dict[str, list[str]]:
    """Colour-blind-safe colours from low to high, far from the ground of their theme."""
    ends = {"light": (0.65, 0.0), "dark": (0.45, 1.0)}
    ramp = sns.color_palette("cividis", as_cmap=True)
    return {theme: [to_hex(ramp(x)) for x in np.linspace(*end, 16)] for theme, end in ends.items()}
