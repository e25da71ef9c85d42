"""The page of all runs: a grid of methods and data sets, each cell a score and a link to the run's page.

The grid shows AvgBIO. A script (``book/_static/run_grid.js``) shows another metric from the data in the page:
what each cell says and its colour are decided here, for every metric.
"""

from collections.abc import Collection
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from zeroshot import catalog, study
from zeroshot.figures.style import ink_on
from zeroshot.metrics import METRICS, Metric
from zeroshot.runtime import escaping, templates

Run = tuple[str, str, str]  # data set, model, recipe

SHOWN_FIRST = "avg_bio"
NOT_SCORED, LEFT_OUT = "not scored", "–"
_GROUPS = {"annotation": "Cell types", "integration": "Batches"}
# What a model may have seen of a data set in pretraining, where a reader must know it.
_TRAINED_ON = ("†", "The model was trained on these cells, wholly or in part: no zero-shot score.")
_MARKS = {
    "seen": _TRAINED_ON,
    "partly": _TRAINED_ON,
    "unknown": ("?", "Nobody knows whether the model was trained on these cells."),
}
_STEPS = 64  # colours of the scale; neighbouring ones cannot be told apart


def page(card: catalog.StudyCard, pages: list[study.Page], scores: pd.DataFrame) -> str:
    """The page as Markdown.

    Parameters
    ----------
    card
        The study.
    pages
        What this build executes: a run among them is linked to, others have no page.
    scores
        As :func:`zeroshot.results.load` returns them.
    """
    page_paths = {page.path for page in pages if page.notebook == "run"}
    methods = [catalog.split_reference(reference) for reference in card.models]
    grid = [(dataset, model.name, recipe) for model, recipe in methods for dataset in card.datasets]
    metrics = {name: record_of(grid, scores, metric) for name, metric in METRICS.items()}
    each = (
        "One page per method and data set: a score is a link to it"
        if page_paths
        else "The [status page](status.md) says why the runs have no pages here"
    )
    table = templates.render(
        "pages/run_grid.html",
        groups={
            title: [metric for metric in METRICS.values() if metric.group == group]
            for group, title in _GROUPS.items()
        },
        selected=SHOWN_FIRST,
        datasets=[catalog.dataset(name).title for name in card.datasets],
        rows=_rows(card, page_paths, scores, metrics[SHOWN_FIRST]),
        first=metrics[SHOWN_FIRST],
        data={"palette": palette(), "metrics": metrics},
    )
    return (
        f"# All runs\n\n{each}. The colour runs from the worst to the best value that a score can have; the "
        "[glossary](glossary.md) says what each asks.\n\n"
        f"{escaping.raw(table)}\n\n{_explained(scores)}\n"
    )


def record_of(grid: list[Run], scores: pd.DataFrame, metric: Metric) -> dict[str, Any]:
    """What the grid shows of one metric.

    Returns
    -------
    dict
        ``label``, with the direction; ``worst`` and ``best``, the ends of the scale as text; ``cells``, in
        the order of the grid, each its text and the number of its colour in :func:`palette` or None;
        ``reasons``, why cells that were run have no score.
    """
    runs, of_metric = set(_runs(scores)), scores[scores["metric"] == metric.name]
    values, notes = (dict(zip(_runs(of_metric), of_metric[name], strict=True)) for name in ("value", "note"))
    cells: list[tuple[str, int | None]] = []
    reasons = set()
    for run in grid:
        value = values.get(run, float("nan"))
        if run not in runs:
            cells.append((LEFT_OUT, None))
        elif pd.isna(value):
            cells.append((NOT_SCORED, None))
            reasons.add(notes.get(run) or "these scores do not hold it")
        else:
            cells.append((f"{value:.2f}", colour_of(value, metric)))
    return {
        "label": metric.titled,
        "worst": _number(metric.worst),
        "best": _number(metric.best),
        "cells": cells,
        "reasons": sorted(reasons),
    }


def _runs(table: pd.DataFrame) -> list[Run]:
    return list(zip(table["dataset"], table["model"], table["recipe"], strict=True))


def colour_of(value: float, metric: Metric) -> int:
    """Number of the colour of a value: 0 for the metric's worst, the last for its best."""
    share = (value - metric.worst) / (metric.best - metric.worst)
    return round(min(max(share, 0.0), 1.0) * (_STEPS - 1))


def palette() -> list[tuple[str, str]]:
    """The colours, worst first, each with that of text on it: black or white, whichever is further from it.

    The map is cividis: its lightness grows evenly, also for readers who see no red or no green.
    """
    colours = [tuple(colormaps["cividis"](step / (_STEPS - 1))[:3]) for step in range(_STEPS)]
    return [(to_hex(colour), ink_on(colour)) for colour in colours]


def _rows(
    card: catalog.StudyCard, page_paths: Collection[str], scores: pd.DataFrame, first: dict[str, Any]
) -> list[dict[str, Any]]:
    """The grid, a row per method: what each cell says of the first metric, and where it leads."""
    marks = dict(zip(_runs(scores), scores["seen_in_pretraining"], strict=True))
    colours, cells, rows = palette(), iter(first["cells"]), []
    for reference in card.models:
        model, recipe = catalog.split_reference(reference)
        row = {"method": model.method(recipe), "is_control": model.kind == "control", "cells": []}
        for dataset in card.datasets:
            text, colour = next(cells)
            mark, meaning = _MARKS.get(marks.get((dataset, model.name, recipe)), ("", ""))
            path = study.run_path(dataset, reference)
            name = f"{row['method']} on {catalog.dataset(dataset).title}"
            row["cells"].append(
                {
                    "text": text,
                    "colour": None if colour is None else colours[colour],
                    "mark": mark,
                    "meaning": meaning,
                    "name": f"{name} ({meaning})" if meaning else name,
                    "path": path if path in page_paths else None,
                }
            )
        rows.append(row)
    return rows


def _explained(scores: pd.DataFrame) -> str:
    """What the marks and the words in the grid mean; only those of marks that occur."""
    marks = dict(_MARKS[seen] for seen in scores["seen_in_pretraining"].unique() if seen in _MARKS)
    return "\n\n".join(
        [
            *(f"{mark}\n: {meaning}" for mark, meaning in sorted(marks.items())),
            f"{NOT_SCORED}\n: The method was run, but this score does not exist for these cells, the "
            "embedding did not pass the checks before scoring, or the scores are older than the metric.",
            f"{LEFT_OUT}\n: Left out; the [status page](status.md) says why.",
            "control\n: Not a method to use: it shows what a score gives for nothing (random numbers) or at "
            "most (labels).",
        ]
    )


def _number(value: float) -> str:
    """At most two digits after the point, with a real minus sign."""
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−")
