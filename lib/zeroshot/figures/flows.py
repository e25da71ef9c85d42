"""Flows of models from tokens over type to paradigm: one layout, drawn by matplotlib and as SVG."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from .files import drawn
from .style import draws, group_colours
from .text import shown, subplots

INK = "#222222"
COLUMNS = {"tokens": "tokens or text", "type": "type", "paradigm": "paradigm"}  # from left to right
STEPS = (("tokens", "type"), ("type", "paradigm"))


@dataclass(frozen=True)
class FlowNode:
    """A word of a column: where its bar begins, in bands from the top, and which rows of models it holds."""

    column: str
    name: str
    top: float
    models: tuple[int, ...]


@dataclass(frozen=True)
class Flows:
    """Places of a picture of flows: a band per model, one unit thick, that has a height in every column."""

    nodes: list[FlowNode]
    # A row per model: its words, `rank` of its paradigm, `y_tokens`, `y_type`, `y_paradigm`.
    bands: pd.DataFrame
    height: float

    @property
    def colours(self) -> list:
        """A colour per paradigm, in the order of ``rank``."""
        return group_colours(self.bands["rank"].nunique())


def lay_out_flows(models: pd.DataFrame) -> Flows:
    """Stack the models in each column so that bands cross little; as :func:`draw_flows`."""
    paradigms = list(dict.fromkeys(models["paradigm"]))
    bands = pd.DataFrame(
        {
            "tokens": [", ".join(words) or "none" for words in models["tokens"]],
            "type": models["model_type"].to_list(),
            "paradigm": models["paradigm"].to_list(),
        }
    )
    rank = bands["paradigm"].map(paradigms.index)
    bands = bands.assign(rank=rank, first=rank.groupby(bands["tokens"]).transform("min"))
    height = len(bands) + 0.7 * (bands["tokens"].nunique() - 1)
    orders = {
        "tokens": ["first", "tokens", "rank"],
        "type": ["rank", "first", "tokens"],
        "paradigm": ["rank", "first", "tokens"],
    }
    nodes = []
    for column, by in orders.items():
        ordered = bands.sort_values(by, kind="stable")
        new = ordered[column].ne(ordered[column].shift()).cumsum() - 1
        gap = 0.7 if column == "tokens" else 1.5
        y = pd.Series(np.arange(len(ordered)) + gap * new, index=ordered.index)
        bands[f"y_{column}"] = y + (height - y.max() - 1) / 2
        stacked = bands.sort_values(f"y_{column}")
        for name, held in stacked.groupby(column, sort=False)[f"y_{column}"]:
            nodes.append(FlowNode(column, str(name), float(held.min()), tuple(map(int, held.index))))
    return Flows(nodes, bands, height)


def band_corners(
    x: tuple[float, float], y: tuple[float, float], thickness: float = 1.0
) -> list[tuple[float, float]]:
    """Points of a band between two heights, bent like an S: four of its upper edge, four of its lower."""
    (left, right), middle, (start, end) = x, sum(x) / 2, y
    gap = 0.06 * thickness  # between bands that touch
    start, end, thick = start + gap, end + gap, thickness - 2 * gap
    upper = [(left, start), (middle, start), (middle, end), (right, end)]
    lower = [(right, end + thick), (middle, end + thick), (middle, start + thick), (left, start + thick)]
    return [*upper, *lower]


@draws
def draw_flows(models: pd.DataFrame) -> Figure:
    """A band per model from its tokens over its type to its paradigm, which gives the colour.

    Parameters
    ----------
    models
        Columns ``tokens`` (a tuple of words), ``model_type`` and ``paradigm``, a row per model.
    """
    flows = lay_out_flows(models)
    figure, axis = subplots(figsize=(7.2, 0.19 * flows.height + 0.7))
    columns = {"tokens": 0.0, "type": 1.0, "paradigm": 2.0}
    for node in flows.nodes:
        count = len(node.models)
        axis.add_patch(Rectangle((columns[node.column] - 0.03, node.top), 0.06, count, color=INK))
        side = {"tokens": "right", "type": "center", "paradigm": "left"}[node.column]
        x = columns[node.column] + {"right": -0.05, "center": 0, "left": 0.05}[side]
        frame = {"facecolor": "white", "edgecolor": INK, "pad": 2} if side == "center" else None
        label = f"{shown(node.name, 30)} ({count})"
        axis.text(x, node.top + count / 2, label, ha=side, va="center", fontsize=9, bbox=frame)
    for start, end in STEPS:
        for band in flows.bands.to_dict("records"):
            x, y = (columns[start] + 0.03, columns[end] - 0.03), (band[f"y_{start}"], band[f"y_{end}"])
            axis.add_patch(_band(x, y, flows.colours[band["rank"]]))
    axis.set(xlim=(-0.95, 2.85), ylim=(flows.height + 0.2, -1.4))
    for column, title in COLUMNS.items():
        axis.text(columns[column], -0.8, title, ha="center", fontsize=9.5, fontweight="bold")
    axis.axis("off")
    return drawn(figure, flows.bands[list(COLUMNS)])


def _band(x: tuple[float, float], y: tuple[float, float], colour: tuple) -> PathPatch:
    corners = band_corners(x, y)
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return PathPatch(Path([*corners, corners[0]], codes), facecolor=colour, alpha=0.75, linewidth=0)
