"""Flows of models from tokens over type to paradigm: where each band of the picture lies."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .style import group_colours

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
    """Stack the models in each column so that bands cross little.

    Parameters
    ----------
    models
        Columns ``tokens`` (a tuple of words), ``model_type`` and ``paradigm``, a row per model.
    """
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
