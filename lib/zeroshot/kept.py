"""The tables of a study as git keeps them: sorted text, so that a number that changes is a line of a diff.

``data/scores/<study>.csv`` holds the scores, ``data/scores/<study>.<table>.csv`` every other table of
:data:`TABLES`. Chapters that need nothing but tables can be built from them, see :func:`zeroshot.book.stage`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zeroshot import catalog, paths, store
from zeroshot.metrics import METRICS

_RUN = ("dataset", "model", "recipe")


class KeptError(ValueError):
    """Scores were not kept, or what was kept does not fit the study any more."""


@dataclass(frozen=True)
class Table:
    """How one table is written.

    Attributes
    ----------
    title
        What it holds, in a few words: the text of its download link.
    key
        Columns that name a row; rows are sorted by them.
    columns
        The other columns, in their order.
    across
        A column whose values become columns, holding ``value``: one line of the file for what is one row
        for each of its values in the table of the study.
    digits
        After the point. Rounding on another machine stays below them.
    """

    title: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    across: str | None = None
    digits: int = 6


# Every table that is kept; all but the notes are tables of a study, see `zeroshot.results.Tables`.
TABLES = {
    "scores": Table(
        "scores",
        ("study", *_RUN, "metric", "subset"),
        ("value", "low", "high", "n_cells", "seed", "seeds", "seed_sd", "seen_in_pretraining", "artifact"),
    ),
    # What the run said beside a score, such as the resolution that was chosen; part of the table of scores.
    "notes": Table("notes on scores", (*_RUN, "metric"), ("note",)),
    "subsamples": Table("scores on subsamples", (*_RUN, "metric", "cells"), across="subsample"),
    "costs": Table("costs", _RUN, ("n_cells", "seconds", "peak_memory_mb", "device"), digits=3),
}
# Columns of texts, some of which may be digits only; in all others an empty cell is a missing number.
_TEXTS = {
    "study", *_RUN, "metric", "group", "subset", "note", "seen_in_pretraining", "artifact", "device",
}  # fmt: skip


def path(study: str, name: str) -> Path:
    """The file of a kept table, ``name`` a key of :data:`TABLES`."""
    return paths.scores() / (f"{study}.csv" if name == "scores" else f"{study}.{name}.csv")


def write(study: str, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Keep the tables of a study.

    Parameters
    ----------
    study
        Name of the study.
    tables
        By their names in :data:`TABLES`, as the functions of :mod:`zeroshot.results` load them.

    Returns
    -------
    list of pathlib.Path
        The files; those in which nothing changed are untouched.
    """
    texts = as_text(tables)
    for name, text in texts.items():
        store.write_text(path(study, name), text)
    return [path(study, name) for name in texts]


def as_text(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The tables of a study as CSV, by their names in :data:`TABLES`; the notes are taken from the scores."""
    scores = tables["scores"]
    tables = {**tables, "notes": scores[scores["note"] != ""]}
    return {name: to_csv(name, tables[name]) for name in TABLES}


def to_csv(name: str, table: pd.DataFrame) -> str:
    """Rows of one table as they are kept, ``name`` a key of :data:`TABLES`."""
    layout = TABLES[name]
    key = list(layout.key)
    if layout.across is None:
        written = table[[*key, *layout.columns]]
    else:
        written = table.pivot(index=key, columns=layout.across, values="value").reset_index()
    return written.sort_values(key, kind="stable").to_csv(index=False, float_format=f"%.{layout.digits}f")


def read(study: str, name: str) -> pd.DataFrame:
    """A table of a study as it was kept: the columns, the rows and the order that the study gave it.

    Raises
    ------
    KeptError
        If it was not kept, or holds what the study does not name.
    """
    table = _of_study(catalog.study(study), _read(study, name), name)
    if name == "scores":
        notes = _read(study, "notes")
        table = table.merge(notes, how="left", on=[*_RUN, "metric"]).fillna({"note": ""})
        table["group"] = [METRICS[metric].group for metric in table["metric"]]
    order = [column for column in (*_RUN, TABLES[name].across, "metric") if column in table]
    places = {metric: place for place, metric in enumerate(METRICS)}
    return table.sort_values(
        order, key=lambda column: column.map(places) if column.name == "metric" else column, ignore_index=True
    )


def _read(study: str, name: str) -> pd.DataFrame:
    file, layout = path(study, name), TABLES[name]
    if not file.is_file():
        raise KeptError(
            f"{file} does not exist: no {layout.title} of the study {study} were kept. Where the study has "
            f"been run (`zeroshot run {study}`), `zeroshot keep {study}` writes the file."
        )
    table = read_csv(file)
    if layout.across is None:
        return table
    long = table.melt(list(layout.key), var_name=layout.across, value_name="value")
    return long.astype({layout.across: int})


def read_csv(file: Path) -> pd.DataFrame:
    """A table of a study, kept or computed, with every digit and every text as it was written."""
    header = pd.read_csv(file, nrows=0).columns
    return pd.read_csv(
        file,
        keep_default_na=False,
        na_values={column: [""] for column in header if column not in _TEXTS},
        dtype={column: str for column in header if column in _TEXTS},
        float_precision="round_trip",
    )


def missing(study: str) -> list[tuple[str, str]]:
    """Data sets and models (``name`` or ``name@recipe``) of a study without kept scores."""
    card = catalog.study(study)
    runs = set(_read(study, "scores")[list(_RUN)].itertuples(index=False, name=None))
    pairs = [(dataset, reference) for dataset in card.datasets for reference in card.models]
    return [(dataset, reference) for dataset, reference in pairs if (dataset, *_split(reference)) not in runs]


def require(study: str) -> None:
    """Read every table of a study.

    Raises
    ------
    KeptError
        If one was not kept, or holds what the study does not name.
    """
    for name in TABLES:
        read(study, name)


def _of_study(card: catalog.StudyCard, table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table, refused if it is of other data sets, models, metrics, cells or seeds than the study."""
    known = {
        "dataset": set(card.datasets),
        "model and recipe": set(map(_split, card.models)),
        "metric": set(METRICS),
        "subset": {str(card.subset or "all")},
        "seed": {card.seed},
    }
    if name != "scores":  # other tables may be of other seeds
        del known["seed"], known["subset"]
    found = {column: set(table[column]) for column in known if column in table}
    found["model and recipe"] = set(table[["model", "recipe"]].itertuples(index=False, name=None))
    for what, values in found.items():
        strange = sorted(str(value) for value in values - known[what])
        if strange:
            raise KeptError(
                f"{path(card.name, name)} holds the {what} {', '.join(strange)}, which the study {card.name} "
                f"does not have. Run the study and keep its scores again: `zeroshot run {card.name}`, "
                f"`zeroshot keep {card.name}`."
            )
    return table


def _split(reference: str) -> tuple[str, str]:
    model, recipe = catalog.split_reference(reference)
    return model.name, recipe
