"""The rows of ``data/evidence``, each with the name that its method and its metric have here."""

import hashlib
import io
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from zeroshot import catalog
from zeroshot.catalog.evidence import EvidenceMeasure, EvidenceMethod, EvidenceSource
from zeroshot.runtime import paths

# As the tables have them.
TABLE_COLUMNS = (
    "source", "task", "dataset", "model", "checkpoint", "setting", "metric", "value", "higher_is_better",
    "n_cells", "replicate", "note", "path_in_source",
)  # fmt: skip
# What is read from the registries and from `note`.
COLUMNS = (*TABLE_COLUMNS, "method", "kind", "sees_labels", "measure", "area", "fault", "leak", "typed")
SETTINGS = ("zero-shot", "fine-tuned", "trained-on-target", "control")
_MARKS = {"fault": "FAULT", "leak": "LEAK", "typed": "TYPED"}  # in `note`
_REQUIRED = ("source", "task", "dataset", "model", "setting", "metric", "path_in_source")


class EvidenceError(ValueError):
    """A table of ``data/evidence`` is missing, damaged, or names what no registry knows."""


def sources() -> dict[str, EvidenceSource]:
    """All sources by name; the works they cite must exist."""
    return catalog.with_known_citations("evidence/sources", catalog.read("evidence/sources", EvidenceSource))


def methods() -> dict[str, EvidenceMethod]:
    """All methods by name; no model name stands under two of them."""
    cards = catalog.read("evidence/methods", EvidenceMethod)
    _require_unique("methods", [model for card in cards.values() for model in card.models])
    return cards


def measures() -> dict[str, EvidenceMeasure]:
    """All metrics by name; no spelling stands under two of the same direction."""
    cards = catalog.read("evidence/measures", EvidenceMeasure)
    spellings = [(metric, card.higher_is_better) for card in cards.values() for metric in card.metrics]
    _require_unique("measures", spellings)
    return cards


def table_path(source: EvidenceSource) -> Path:
    """The table of a source."""
    return paths.catalog("evidence/sources").parent / source.table.name


def load(source: str | None = None, *, faults: bool = False) -> pd.DataFrame:
    """Return published scores, a row each.

    Parameters
    ----------
    source
        Name of a source in ``data/evidence/sources.yml``; all of them if None.
    faults
        Whether to return rows that are known to be wrong too (``fault`` is true there). Never put them into
        a summary.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, in the order of the files. The first 13 are those of the tables, with ""
        where a text is empty; ``n_cells`` is NaN where the source does not say it. ``method`` (name in
        ``methods.yml``), its ``kind`` and ``sees_labels``; ``measure`` (name in ``measures.yml``) and
        ``area``, what it measures; ``fault``, ``leak`` (the model probably saw the data in pretraining) and
        ``typed`` (not read by a program from the source's own file) are what ``note`` marks.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If there is no such source, or an entry is not valid.
    EvidenceError
        If a table is not the one that its entry describes.
    """
    cards = sources()
    names = [catalog.find(cards, source, "source of evidence").name] if source else list(cards)
    rows = pd.concat([_rows(cards[name]) for name in names], ignore_index=True)
    return rows if faults else rows[~rows["fault"]].reset_index(drop=True)


def faults() -> pd.DataFrame:
    """Return the rows that are known to be wrong and stand in no summary, as :func:`load` does."""
    rows = load(faults=True)
    return rows[rows["fault"]].reset_index(drop=True)


def select(
    rows: pd.DataFrame,
    *,
    model: str | None = None,
    task: str | None = None,
    metric: str | None = None,
) -> pd.DataFrame:
    """Return the rows of a method, an area or task, and a metric.

    Parameters
    ----------
    rows
        As :func:`load` returns them.
    model
        A method of ``methods.yml``, or a model as its source calls it.
    task
        An area (``clustering``), or a task as its source calls it, up to a "|".
    metric
        A metric of ``measures.yml``, or as its source calls it, up to a "|".

    Raises
    ------
    zeroshot.catalog.CatalogError
        If no row of any source has such a name.
    """
    for text, own, theirs, kind in (
        (model, "method", "model", "model"),
        (task, "area", "task", "task"),
        (metric, "measure", "metric", "metric"),
    ):
        if text is None:
            continue
        spelled = rows[theirs].str.split("|").str[0]
        catalog.find(dict.fromkeys([*rows[own].unique(), *spelled.unique()]), text, f"{kind} in these rows")
        rows = rows[rows[own].eq(text) | spelled.eq(text)]
    return rows.reset_index(drop=True)


def _rows(card: EvidenceSource) -> pd.DataFrame:
    """The rows of one source, read once as long as no file changes."""
    file = table_path(card)
    registries = [file.parent / f"{name}.yml" for name in ("sources", "methods", "measures")]
    try:
        times = tuple(path.stat().st_mtime_ns for path in (file, *registries))
    except OSError as error:
        raise EvidenceError(
            f"{error.filename} cannot be read: {error.strerror}. Restore it from the repository."
        ) from None
    return _read(card.name, file, times)


@lru_cache(maxsize=64)
def _read(name: str, file: Path, _changed: tuple[int, ...]) -> pd.DataFrame:
    card = sources()[name]
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != card.table.sha256:
        raise EvidenceError(
            f"{file} has the sha256 {sha256}, and its entry says {card.table.sha256}. Restore the file, or "
            "correct `table` of the entry if the table was changed on purpose."
        )
    try:
        rows = pd.read_csv(
            io.BytesIO(content),
            compression="gzip" if file.suffix == ".gz" else None,
            dtype={
                name: str for name in TABLE_COLUMNS if name not in ("value", "n_cells", "higher_is_better")
            },
            keep_default_na=False,
            na_values={"value": [""], "n_cells": [""]},
            float_precision="round_trip",  # the values of the file, not their neighbours in the last digit
        )
    except (ValueError, OSError, EOFError, zlib.error) as error:  # of gzip, UTF-8 and CSV
        raise EvidenceError(
            f"{file} cannot be read ({error}): a CSV file in UTF-8 is expected, compressed with gzip if its "
            "name ends in .gz. Write it again."
        ) from None
    _require_valid(card, file, rows)
    return _with_names(card, file, rows)


def _require_valid(card: EvidenceSource, file: Path, rows: pd.DataFrame) -> None:
    """Refuse a table that is not what its entry says."""
    if tuple(rows.columns) != TABLE_COLUMNS:
        raise EvidenceError(f"{file} must have the columns {', '.join(TABLE_COLUMNS)}, in this order")
    problems = {
        f"`source` is not {card.name}": rows["source"].ne(card.name),
        "`value` is not a finite number": ~np.isfinite(pd.to_numeric(rows["value"], errors="coerce")),
        "`higher_is_better` is not True or False": ~rows["higher_is_better"].isin([True, False]),
        f"`setting` is none of {', '.join(SETTINGS)}": ~rows["setting"].isin(SETTINGS),
        **{f"`{name}` is empty": rows[name].eq("") for name in _REQUIRED},
    }
    for problem, mask in problems.items():
        if mask.any():
            raise EvidenceError(f"{file}, line {int(np.argmax(mask)) + 2}: {problem}. Correct the row.")
    if len(rows) != card.table.rows:
        raise EvidenceError(
            f"{file} has {len(rows)} rows, and its entry says {card.table.rows}. Correct one."
        )


def _with_names(card: EvidenceSource, file: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that the registries and the notes say."""
    of_model = {model: method for method in methods().values() for model in method.models}
    of_metric = {(name, m.higher_is_better): m for m in measures().values() for name in m.metrics}
    metrics = list(zip(rows["metric"].str.split("|").str[0], rows["higher_is_better"], strict=True))
    tasks = rows["task"].str.split("|").str[0]
    for what, names, registry in (
        ("models", rows["model"], of_model),
        ("metrics (with higher_is_better)", metrics, of_metric),
        ("tasks", tasks, card.areas),
    ):
        if unknown := sorted(set(names) - set(registry)):
            place = "`areas` of the entry" if what == "tasks" else f"data/evidence/{_REGISTRY[what]}.yml"
            raise EvidenceError(f"{file} names {what} that {place} lacks: {unknown}. Add them there.")
    of_row = [of_metric[metric] for metric in metrics]
    return rows.assign(
        method=[of_model[model].name for model in rows["model"]],
        kind=[of_model[model].kind for model in rows["model"]],
        sees_labels=[of_model[model].sees_labels for model in rows["model"]],
        measure=[measure.name for measure in of_row],
        area=[measure.area or card.areas[task] for measure, task in zip(of_row, tasks, strict=True)],
        **{name: rows["note"].str.contains(rf"\b{mark}\b") for name, mark in _MARKS.items()},
    )


_REGISTRY = {"models": "methods", "metrics (with higher_is_better)": "measures"}


def _require_unique(registry: str, names: list) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise EvidenceError(f"data/evidence/{registry}.yml: listed twice: {repeated}. Keep one.")
