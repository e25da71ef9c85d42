"""The evolutionary tree of models: three trunks, height is the date, colour the modality.

On pages a reader can point at a model, filter and follow it to its entry: the script ``tree.js`` of the book
does it. Without it there is the picture, whose names are links. :func:`draw_tree` is the same for paper.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from zeroshot.runtime import templates

from .files import drawn
from .style import draws, group_colours
from .text import add_legend, short_text, subplots

LONGEST_NAME = 18  # letters of a name beside its point
INK, LINE = "#222222", "#8c8c8c"

# The picture of a trunk, in units of its viewBox; a row is as high as a finger needs (WCAG 2.2: 24).
_WIDTH, _ROW, _REACH = 320, 24, 20  # _REACH: from the trunk to the point of a model


@dataclass(frozen=True)
class TreeLayout:
    """Places of models: rows are counted from the top and mean the same year in every trunk.

    Attributes
    ----------
    models
        The models with ``row`` and ``side`` (-1 left of the trunk, 1 right of it).
    years
        Year to the row above its first models, the newest year first.
    n_rows
        Rows of every trunk.
    """

    models: pd.DataFrame
    years: dict[int, int]
    n_rows: int


def lay_out_tree(models: pd.DataFrame) -> TreeLayout:
    """Stack the models of each trunk and year, the newest on top, two in a row.

    A year takes as many rows as the trunk that has most models in it, and one for its name. A date without
    month is below those of the same year that have one.

    Parameters
    ----------
    models
        A row per model, columns ``trunk``, ``date`` ("2024-11-09", "2025-04" or "2023") and ``name``.
    """
    year = models["date"].str[:4].astype(int)
    rows = models.assign(year=year).sort_values(["date", "name"], ascending=[False, True], kind="stable")
    place = rows.groupby(["trunk", "year"], sort=False).cumcount()
    years, row = {}, 0
    for of_year, n_models in (place.groupby(rows["year"]).max() + 1)[::-1].items():
        years[int(of_year)] = row
        row += 1 + -(-int(n_models) // 2)
    side = (place % 2).map({0: -1, 1: 1})
    nodes = rows.assign(row=rows["year"].map(years) + 1 + place // 2, side=side)
    return TreeLayout(nodes.loc[models.index], years, row + 1)


class TreeExplorer:
    """The tree as pictures in HTML, one per trunk, to be pointed at in the book.

    Attributes
    ----------
    models
        The models, as :func:`explore_tree` takes them.
    layout
        Their places.
    """

    def __init__(self, models: pd.DataFrame):
        self.models = models.reset_index(drop=True)
        self.layout = lay_out_tree(self.models)

    def __repr__(self) -> str:
        return f"TreeExplorer({len(self.models)} models)"

    def _repr_html_(self) -> str:
        colours = _colours(self.models)
        trunks = [self._trunk(trunk, colours) for trunk in dict.fromkeys(self.models["trunk"])]
        words = ["modality", "objective", "tokenisation", "reads"]
        record = {
            "filters": words,
            "models": [
                {word: list(_listed(model[word])) for word in words}
                | {"name": model["name"], "date": model["date"], "reviewed": bool(model["peer_reviewed"])}
                for model in self.models.to_dict("records")
            ],
        }
        return templates.render(
            "notebooks/tree.html",
            trunks=trunks,
            colours=colours,
            record=record,
            width=_WIDTH,
            height=_ROW * self.layout.n_rows,
        )

    def _trunk(self, trunk: str, colours: dict[str, str]) -> dict[str, Any]:
        """One trunk: its title, its years and its models as paths and texts."""
        nodes = self.layout.models
        of_trunk = nodes[nodes["trunk"] == trunk].sort_values(["row", "side"])
        return {
            "title": trunk,
            "years": [{"text": year, "y": _ROW * (row + 0.5)} for year, row in self.layout.years.items()],
            "leaves": [
                _drawn_leaf(place, leaf, colours[leaf["modality"]])
                for place, leaf in zip(of_trunk.index, of_trunk.to_dict("records"), strict=True)
            ],
        }


def explore_tree(models: pd.DataFrame) -> TreeExplorer:
    """Models on three trunks, to point at.

    Parameters
    ----------
    models
        A row per model: ``name``, ``paper`` (its entry in the reading list), ``trunk``, ``date``,
        ``modality``, ``peer_reviewed`` and, as tuples of words, ``reads``, ``objective`` and
        ``tokenisation``. Trunks come in the order of the rows.
    """
    return TreeExplorer(models)


@draws
def draw_tree(models: pd.DataFrame) -> Figure:
    """The tree as a picture for paper; columns as :func:`explore_tree`."""
    layout, colours = lay_out_tree(models), _colours(models)
    trunks = list(dict.fromkeys(models["trunk"]))
    figure, axes = subplots(1, len(trunks), figsize=(11, 0.19 * layout.n_rows + 1.6), sharey=True)
    for trunk, axis in zip(trunks, axes, strict=True):
        axis.set(xlim=(-1, 1), ylim=(layout.n_rows, 0), title=trunk)
        axis.axvline(0, color=LINE, linewidth=4, zorder=0)
        for year, row in layout.years.items():
            box = {"facecolor": "white", "edgecolor": LINE, "boxstyle": "round,pad=0.25"}
            axis.text(0, row + 0.5, str(year), ha="center", va="center", fontsize=9, color=INK, bbox=box)
        for leaf in layout.models[layout.models["trunk"] == trunk].to_dict("records"):
            side, y, colour = leaf["side"], leaf["row"] + 0.5, colours[leaf["modality"]]
            axis.plot([0, 0.12 * side], [y + 0.4, y], color=LINE, linewidth=0.8, zorder=0)
            face = colour if leaf["peer_reviewed"] else "white"
            axis.plot(0.12 * side, y, "o", markersize=5, color=colour, markerfacecolor=face)
            align = "left" if side > 0 else "right"
            axis.text(0.17 * side, y, _label(leaf), ha=align, va="center", fontsize=8, color=INK)
        axis.set(xticks=[], yticks=[])
        sns.despine(ax=axis, left=True, bottom=True)
    entries = [
        (plt.Line2D([], [], linestyle="", marker="o", color=colour), text) for text, colour in colours.items()
    ]
    entries += [
        (plt.Line2D([], [], linestyle="", marker="o", color=INK), "* peer-reviewed"),
        (plt.Line2D([], [], linestyle="", marker="o", color=INK, markerfacecolor="white"), "preprint"),
    ]
    add_legend(figure, entries, loc="outside lower center", ncols=4, fontsize=9)
    columns = ["name", "trunk", "date", "modality", "peer_reviewed", "paper"]
    return drawn(figure, models[columns])


def _colours(models: pd.DataFrame) -> dict[str, str]:
    """A colour per modality, the commonest first."""
    groups = list(
        models["modality"].value_counts(sort=False).sort_values(ascending=False, kind="stable").index
    )
    return {group: to_hex(colour) for group, colour in zip(groups, group_colours(len(groups)), strict=True)}


def _listed(words: str | tuple[str, ...]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words)


def _label(leaf: dict[str, Any]) -> str:
    return short_text(leaf["name"], LONGEST_NAME) + ("*" if leaf["peer_reviewed"] else "")


def _drawn_leaf(place: int, leaf: dict[str, Any], colour: str) -> dict[str, Any]:
    """A model: the branch to its point, the point, its name, and what can be pointed at."""
    side, centre, y = leaf["side"], _WIDTH / 2, _ROW * (leaf["row"] + 0.5)
    x = centre + side * _REACH
    return {
        "place": place,
        "paper": leaf["paper"],
        "colour": colour,
        "state": "reviewed" if leaf["peer_reviewed"] else "preprint",
        "title": f"{leaf['name']}, {leaf['date']}, {leaf['modality']}",
        "branch": f"M{centre} {y + 12}Q{centre} {y} {x} {y}",
        "point": f"M{x - 5} {y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
        "text": {"x": x + side * 9, "y": y, "anchor": "start" if side > 0 else "end", "label": _label(leaf)},
        "reach": {"x": centre if side > 0 else 0, "y": y - _ROW / 2, "width": centre, "height": _ROW},
    }
