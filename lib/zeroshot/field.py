"""What the chapter on the field shows as HTML: flows to point at, and links from models to their cards.

Links are relative to a page in ``notebooks/``; all text is escaped.
"""

import pandas as pd
from matplotlib.colors import to_hex

import reading_list
from reading_list import lineage, survey
from zeroshot import catalog, markup
from zeroshot.catalog import ModelCard
from zeroshot.figures import flows

_UNIT, _HALF_BAR = 20, 6  # thickness of a band, half the width of a node's bar
_X = {"tokens": 250, "type": 420, "paradigm": 590}  # of the columns
_WIDTH, _TOP = 840, 34
# What a descent takes, in words.
TAKES = {"supersedes": "its place: a newer version", "weights": "its weights", "tokens": "its tokens"}


def paper_link(name: str, text: str | None = None) -> str:
    """Link to the row of a paper in the reading list."""
    return markup.paper_link(name, text or name, "../book/reading_list.html")


def card_link(card: ModelCard) -> str:
    """Link to the card of a model on the page of models."""
    return f'<a href="../book/models.html#{markup.escape(card.name)}">{markup.escape(card.title)}</a>'


def family_link(family: str, text: str) -> str:
    """Link to the cards of a family on the page of models."""
    anchor = markup.escape(catalog.family_anchor(family))
    return f'<a href="../book/models.html#{anchor}">{markup.escape(text)}</a>'


def flow_picture(models: pd.DataFrame) -> str:
    """Flows of models from tokens over type to paradigm as SVG, and beneath it the models with their links.

    ``book/_static/flows.js`` lets a reader point at a part, and shows its models only. Without the script
    it is the picture and the list of all models.

    Parameters
    ----------
    models
        The survey's models, a row each: ``name``, ``tokens`` (a tuple of words), ``model_type``, ``paradigm``
        and, where they have one, ``paper``.
    """
    placed = flows.lay_out_flows(models)
    names = list(models["name"])
    drawn = [
        _flow(place, band, names[place], to_hex(placed.colours[band["rank"]]))
        for place, band in enumerate(_records(placed.bands))
    ]
    drawn += [_node(node) for node in placed.nodes]
    titles = "".join(
        f'<text class="head" x="{_X[column]}" y="16" text-anchor="middle">{markup.escape(title)}</text>'
        for column, title in flows.COLUMNS.items()
    )
    height = _TOP + _UNIT * placed.height + 10
    label = (
        f"{len(models)} models flow from tokens or text over their type to a paradigm. "
        "Arrow keys move from part to part, Enter keeps one."
    )
    items = "".join(
        f'<li data-model="{place}">{_model(model)} '
        f'<span class="minor">{markup.escape(_way(band))}</span></li>'
        for place, (model, band) in enumerate(zip(_records(models), _records(placed.bands), strict=True))
    )
    return (
        f'<div class="flows"><div class="flows-scroll"><svg viewBox="0 0 {_WIDTH} {height:.0f}" role="group" '
        f'aria-label="{label}">{titles}{"".join(drawn)}</svg></div>'
        f'<p class="flows-said" role="status">All {len(models)} models</p>'
        f'<ul class="flows-models">{items}</ul></div>'
    )


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _way(band: dict) -> str:
    return " → ".join(band[column] for column in flows.COLUMNS)


def _flow(place: int, band: dict, name: str, colour: str) -> str:
    """One model: a band for each step, with its way as title."""
    paths = "".join(
        f'<path d="{_path(start, end, band[f"y_{start}"], band[f"y_{end}"])}"/>' for start, end in flows.STEPS
    )
    return _part("flow", name, (place,), f"{name}: {_way(band)}", paths, f' fill="{colour}"')


def _node(node: flows.FlowNode) -> str:
    """A word of a column: its bar, and beside it how many models it has."""
    x, y, size = _X[node.column], _TOP + _UNIT * node.top, _UNIT * len(node.models)
    side, shift = {"tokens": ("end", -12), "type": ("middle", 0), "paradigm": ("start", 12)}[node.column]
    middle = y - 11 if side == "middle" else y + size / 2  # between two bars a label would lie on the bands
    left, right = {"tokens": (6 - x, _HALF_BAR), "type": (-30, 30), "paradigm": (-_HALF_BAR, _WIDTH - 6 - x)}[
        node.column
    ]  # what can be pointed at, from the bar to the end of the label
    top = min(y, middle - 10)
    label = f"{node.name} ({len(node.models)})"
    shapes = (
        f'<rect class="reach" x="{x + left}" y="{top:.1f}" width="{right - left}" '
        f'height="{max(y + size, middle + 10) - top:.1f}"/>'
        f'<rect x="{x - _HALF_BAR}" y="{y:.1f}" width="{2 * _HALF_BAR}" height="{size}"/>'
        f'<text x="{x + shift}" y="{middle:.1f}" dominant-baseline="central" text-anchor="{side}">'
        f"{markup.escape(label)}</text>"
    )
    return _part("node", node.name, node.models, label, shapes)


def _part(kind: str, name: str, models: tuple[int, ...], title: str, shapes: str, more: str = "") -> str:
    held = " ".join(map(str, models))
    return (
        f'<g class="{kind}" data-models="{held}" data-name="{markup.escape(name)}"{more}>'
        f"<title>{markup.escape(title)}</title>{shapes}</g>"
    )


def _model(model: dict) -> str:
    """Name, linked to its paper where the reading list has it, and the cards of this book."""
    paper = model.get("paper")
    name = paper_link(paper, model["name"]) if isinstance(paper, str) else markup.escape(model["name"])
    family = survey.models()[model["name"]].card
    here = f" {family_link(family, 'in this book')}" if family else ""
    return f"{name}{here}"


def _path(start: str, end: str, y_start: float, y_end: float) -> str:
    x = (_X[start] + _HALF_BAR, _X[end] - _HALF_BAR)
    y = (_TOP + _UNIT * y_start, _TOP + _UNIT * y_end)
    points = [f"{px:.1f} {py:.1f}" for px, py in flows.band_corners(x, y, _UNIT)]
    return f"M{points[0]}C{' '.join(points[1:4])}L{points[4]}C{' '.join(points[5:8])}Z"


def models_here() -> pd.DataFrame:
    """What this book has of the survey's models, with links to cards and papers, as HTML."""
    return pd.DataFrame([_here(survey.models()[row["model"]], row) for row in survey.in_this_book()])


def _here(model: survey.SurveyModel, row: dict[str, str]) -> dict[str, str]:
    trained, listed = [card for card in survey.cards(model) if card.weights], reading_list.load()
    cited = [model.paper, *(key for card in trained for key in card.cited)]
    papers = [paper_link(key, listed[key].short_name) for key in dict.fromkeys(cited) if key in listed]
    linked = {
        "model": family_link(model.card, model.name),
        "papers": ", ".join(papers),
        "checkpoints": ", ".join(map(card_link, trained)),
    }
    told = {column: markup.escape(text) or "–" for column, text in row.items()}
    return {"model": "", "papers": ""} | told | linked


def descents() -> pd.DataFrame:
    """Every stated descent of the tree, and who states it, as HTML."""
    of = {node.name: node for node in lineage.nodes()}
    return pd.DataFrame(
        [
            {
                "model": _named(node),
                "descends from": _named(of[descent.parent]),
                "takes": TAKES[descent.takes],
                "stated by": markup.escape(descent.source),
            }
            for node in of.values()
            for descent in node.descents
        ]
    )


def _named(node: lineage.Node) -> str:
    return paper_link(node.paper, node.name) if node.paper else markup.escape(node.name)
