"""Flows of models from tokens over type to paradigm, that a reader of the book can point at.

The script ``flows.js`` of the book follows the pointer. Without it there is the picture and the list of all
models beneath it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from zeroshot import catalog
from zeroshot.runtime import templates

from .style import group_colours

COLUMNS = {"tokens": "tokens or text", "type": "type", "paradigm": "paradigm"}  # from left to right
STEPS = (("tokens", "type"), ("type", "paradigm"))
# Gaps between the words of a column, in bands.
GAPS = {"tokens": 0.7, "type": 1.5, "paradigm": 1.5}

# The picture, in units of its viewBox.
_BAND, _HALF_BAR = 20, 6  # thickness of a band, half the width of a node's bar
_X = {"tokens": 250, "type": 420, "paradigm": 590}  # of the columns
_WIDTH, _TOP = 840, 34
_HALF_LABEL = 10  # of its height


@dataclass(frozen=True)
class FlowNode:
    """A word of a column: where its bar begins, in bands from the top, and which rows of models it holds."""

    column: str
    name: str
    top: float
    models: tuple[int, ...]

    @property
    def label(self) -> str:
        """The word, and how many models have it."""
        return f"{self.name} ({len(self.models)})"


@dataclass(frozen=True)
class Flows:
    """Places of a picture of flows: a band per model, one unit thick, that has a height in every column."""

    nodes: list[FlowNode]
    # A row per model: its words, `rank` of its paradigm, `y_tokens`, `y_type`, `y_paradigm`.
    bands: pd.DataFrame
    height: float

    @property
    def colours(self) -> list[str]:
        """A colour per paradigm, in the order of ``rank``."""
        return [to_hex(colour) for colour in group_colours(self.bands["rank"].nunique())]


class FlowExplorer:
    """Flows as a picture in HTML, to be pointed at in the book.

    Attributes
    ----------
    models
        The models, as :func:`explore_flows` takes them.
    flows
        Their places in the picture.
    """

    def __init__(self, models: pd.DataFrame):
        self.models = models
        self.flows = lay_out_flows(models)

    def __repr__(self) -> str:
        return f"FlowExplorer({len(self.models)} models)"

    def _repr_html_(self) -> str:
        return templates.render(
            "notebooks/flow_explorer.html",
            width=_WIDTH,
            height=f"{_TOP + _BAND * self.flows.height + 10:.0f}",
            heads=[{"x": _X[column], "text": text} for column, text in COLUMNS.items()],
            bands=_drawn_bands(self.models, self.flows),
            nodes=[_drawn_node(node) for node in self.flows.nodes],
        )


def explore_flows(models: pd.DataFrame) -> FlowExplorer:
    """A band per model from its tokens over its type to its paradigm, which gives the colour.

    Parameters
    ----------
    models
        A row per model: ``name``, ``tokens`` (a tuple of words), ``model_type``, ``paradigm`` and, for links,
        ``paper`` (its entry in the reading list) and ``card`` (its family on the page of models), or missing.
    """
    return FlowExplorer(models)


def lay_out_flows(models: pd.DataFrame) -> Flows:
    """Stack the models in each column so that bands cross little; as :func:`explore_flows`."""
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
    height = len(bands) + GAPS["tokens"] * (bands["tokens"].nunique() - 1)
    orders = {
        "tokens": ["first", "tokens", "rank"],
        "type": ["rank", "first", "tokens"],
        "paradigm": ["rank", "first", "tokens"],
    }
    nodes = []
    for column, by in orders.items():
        rows = bands.sort_values(by, kind="stable")
        n_words_above = rows[column].ne(rows[column].shift()).cumsum() - 1
        y = pd.Series(np.arange(len(rows)) + GAPS[column] * n_words_above, index=rows.index)
        bands[f"y_{column}"] = y + (height - y.max() - 1) / 2
        stacked = bands.sort_values(f"y_{column}")
        for name, heights in stacked.groupby(column, sort=False)[f"y_{column}"]:
            nodes.append(FlowNode(column, str(name), float(heights.min()), tuple(map(int, heights.index))))
    return Flows(nodes, bands, height)


def _drawn_bands(models: pd.DataFrame, flows: Flows) -> list[dict[str, Any]]:
    """One model each: a path for each step, its way in words, and where its name leads."""
    links = models.reindex(columns=["name", "paper", "card"]).to_dict("records")
    return [
        {
            "place": place,
            "name": model["name"],
            "paper": model["paper"] if isinstance(model["paper"], str) else None,
            "anchor": catalog.family_anchor(model["card"]) if isinstance(model["card"], str) else None,
            "way": " → ".join(band[column] for column in COLUMNS),
            "colour": flows.colours[band["rank"]],
            "paths": [_path(step, (band[f"y_{step[0]}"], band[f"y_{step[1]}"])) for step in STEPS],
        }
        for place, (model, band) in enumerate(zip(links, flows.bands.to_dict("records"), strict=True))
    ]


def _path(step: tuple[str, str], heights: tuple[float, float]) -> str:
    """A band between two columns, bent like an S, as the path of SVG."""
    left, right = _X[step[0]] + _HALF_BAR, _X[step[1]] - _HALF_BAR
    middle, gap = (left + right) / 2, 0.06 * _BAND  # the gap is between bands that touch
    start, end = (_TOP + _BAND * height + gap for height in heights)
    thickness = _BAND - 2 * gap
    corners = [
        *((left, start), (middle, start), (middle, end), (right, end)),
        *((right, end + thickness), (middle, end + thickness)),
        *((middle, start + thickness), (left, start + thickness)),
    ]
    points = [f"{x:.1f} {y:.1f}" for x, y in corners]
    return f"M{points[0]}C{' '.join(points[1:4])}L{points[4]}C{' '.join(points[5:8])}Z"


def _drawn_node(node: FlowNode) -> dict[str, Any]:
    """A word of a column: its bar, its label beside it, and what can be pointed at, which holds both."""
    x, y, size = _X[node.column], _TOP + _BAND * node.top, _BAND * len(node.models)
    anchor, shift = {"tokens": ("end", -12), "type": ("middle", 0), "paradigm": ("start", 12)}[node.column]
    middle = y - 11 if anchor == "middle" else y + size / 2  # between two bars a label would lie on the bands
    left, right = {
        "tokens": (6, x + _HALF_BAR),
        "type": (x - 30, x + 30),
        "paradigm": (x - _HALF_BAR, _WIDTH - 6),
    }[node.column]
    top, bottom = min(y, middle - _HALF_LABEL), max(y + size, middle + _HALF_LABEL)
    return {
        "name": node.name,
        "models": node.models,
        "label": node.label,
        "reach": {"x": left, "y": f"{top:.1f}", "width": right - left, "height": f"{bottom - top:.1f}"},
        "bar": {"x": x - _HALF_BAR, "y": f"{y:.1f}", "width": 2 * _HALF_BAR, "height": size},
        "text": {"x": x + shift, "y": f"{middle:.1f}", "anchor": anchor},
    }
