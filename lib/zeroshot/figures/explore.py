"""UMAPs that a reader of the book can point at; the script ``umap.js`` of the book draws them."""

import base64
import bisect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex

from zeroshot.runtime import escaping, templates

from .style import OTHERS_COLOUR, Groups
from .text import short_text

# Bytes of a page's data: with the script and its style sheet a page stays below a megabyte.
BUDGET = 900_000
# Points of a data set that a browser redraws without delay.
POINTS = 24_000
# Cells of a rare type that are shown, where there are as many.
CELLS_PER_TYPE = 10
# Cell types or batches that can be pointed at; those beyond, of fewest cells, are one entry. The first number
# whose names leave half of the budget to the cells.
MOST_LABELS = (1000, 300, 100, 30)
LONGEST = 300  # letters of a label
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
        sets = ", ".join(
            f"{part['title']}: {len(part['methods'])} methods, {part['shown']:,} of {part['cells']:,} cells"
            for part in self.record["sets"]
        )
        return f"UmapExplorer({sets})"

    def _repr_html_(self) -> str:
        return templates.render("notebooks/umap_explorer.html", sentence=FALLBACK, record=self.record)


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
    from zeroshot.data import draws  # costs anndata

    if set(coordinates) != set(cells):
        raise ValueError(f"coordinates of {sorted(coordinates)}, but cells of {sorted(cells)}")
    for title, methods in coordinates.items():
        for method, points in methods.items():
            if points.shape != (len(cells[title]), 2):
                raise ValueError(
                    f"{method} on {title}: coordinates {points.shape} of {len(cells[title])} cells"
                )
    for most_labels in MOST_LABELS:
        parts = [_fixed(title, methods, cells[title], most_labels) for title, methods in coordinates.items()]
        record = {"ramps": _ramps(), "sets": parts}
        if len(escaping.script_data(record)) <= budget / 2:
            break
    most = [min(part["cells"], POINTS // max(len(part["methods"]), 1)) for part in parts]
    # A 16-bit word per coordinate, group and depth, as base64.
    width = [(4 * len(part["methods"]) + 2 * len(part["groups"]) + 2) * 4 / 3 for part in parts]
    left = budget - len(escaping.script_data(record))

    def size(n: int) -> float:
        return sum(min(n, m) * w for m, w in zip(most, width, strict=True))

    n_cells = bisect.bisect_right(range(max(most) + 1), left, key=size) - 1
    if n_cells < 1:
        raise ValueError(f"no cell fits into {budget:,} bytes beside the names of types and batches")
    for title, part, m in zip(coordinates, parts, most, strict=True):
        types = cells[title]["cell_type"]
        rows = draws.draw_in_proportion(types, min(n_cells, m), seed, least=CELLS_PER_TYPE)
        rows = np.random.default_rng(seed).permutation(rows)  # so that none is covered by its place
        _fill(part, rows, coordinates[title], cells[title], most_labels)
    return UmapExplorer(record)


def _fixed(
    title: str, methods: Mapping[str, np.ndarray], obs: pd.DataFrame, most_labels: int
) -> dict[str, Any]:
    """What the script needs of a data set, apart from its cells."""
    groups = []
    for column, name, several in (("cell_type", "cell type", "cell types"), ("batch", "batch", "batches")):
        of = Groups(obs[column])
        labelled = _labelled(of, most_labels)
        entries = [(of.labels[place], of.cells[place], of.colours[place]) for place in labelled]
        rest, others = len(obs) - of.cells[labelled].sum(), len(of.labels) - len(labelled)
        if rest:
            text = f"{others:,} other {several}" if others else f"no {name}"
            entries.append((text, rest, OTHERS_COLOUR))
        groups.append(
            {
                "name": name,
                "labels": [short_text(label, LONGEST) for label, _, _ in entries],
                "cells": [int(cells) for _, cells, _ in entries],
                "colours": [to_hex(colour) for _, _, colour in entries],
            }
        )
    names = {"title": short_text(title, LONGEST), "methods": [short_text(name, LONGEST) for name in methods]}
    part = names | {"cells": len(obs), "groups": groups}
    logs = _depths(obs)
    if logs is not None:
        part["depth"] = {"low": float(logs.min()), "high": float(logs.max())}
    return part


def _labelled(groups: Groups, most: int) -> np.ndarray:
    """Positions of the groups that are entries of their own, those with most cells, ascending."""
    return np.sort(np.argsort(-groups.cells, kind="stable")[:most])


def _codes(column: pd.Series, most: int) -> np.ndarray:
    """(cells,) the entry of each cell."""
    groups = Groups(column)
    labelled = _labelled(groups, most)
    entry = np.full(len(groups.labels) + 1, len(labelled))
    entry[labelled] = np.arange(len(labelled))
    return entry[groups.codes]


def _depths(obs: pd.DataFrame) -> np.ndarray | None:
    """(cells,) logarithms of the counts, if every cell has some."""
    if "library_size" not in obs:
        return None
    logs = np.log1p(obs["library_size"].to_numpy(float))
    return logs if len(logs) and np.isfinite(logs).all() else None


def _fill(
    part: dict[str, Any],
    rows: np.ndarray,
    methods: Mapping[str, np.ndarray],
    obs: pd.DataFrame,
    most_labels: int,
) -> None:
    """Put some cells into the record of a data set."""
    part["shown"] = len(rows)
    part["coordinates"] = [_words(_quantised(points[rows])) for points in methods.values()]
    for group, column in zip(part["groups"], ("cell_type", "batch"), strict=True):
        group["codes"] = _words(_codes(obs[column], most_labels)[rows])
    if "depth" in part:
        part["depth"]["codes"] = _words(_quantised(_depths(obs))[rows])


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
