"""The tables of ablations as CSV files: written by each unit, concatenated for a study, read by chapters."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot import store
from zeroshot.results import table_files
from zeroshot.results.table_files import number, text, whole
from zeroshot.runtime import paths

_UNIT = {"dataset": text, "model": text}
_VARIANT = {"ablation": text, **_UNIT, "method": text}
# What each column holds, in the order of the files.
COLUMNS: dict[str, dict[str, Callable[[str], Any]]] = {
    "scores": {
        **_VARIANT, "metric": text, "group": text, "value": number, "low": number, "high": number,
        "note": text, "seeds": whole, "seed_sd": number, "cluster_sd": number, "n_cells": whole,
        "same_as": text,
    },
    "subsamples": {**_VARIANT, "metric": text, "subsample": whole, "value": number, "cells": whole},
    "similarity": {
        "ablation": text, **_UNIT, "first": text, "second": text, "cka": number, "overlap": number,
    },
    "conventions": {**_UNIT, "convention": text, "also": text, "changes": text, "source": text},
    "artifacts": {**_VARIANT, "embedding": text, "scores": text},
    "failures": {"ablation": text, **_UNIT, "error": text},
}  # fmt: skip
_KEYS = {
    "scores": (*_VARIANT, "metric"),
    "subsamples": (*_VARIANT, "metric", "subsample"),
    "similarity": ("ablation", *_UNIT, "first", "second"),
    "conventions": (*_UNIT, "convention"),
    "artifacts": tuple(_VARIANT),
    "failures": ("ablation", *_UNIT),
}


@dataclass(frozen=True)
class Tables:
    """Scores of variants, and how alike their embeddings are.

    Attributes
    ----------
    scores
        One row per ablation, data set, model, variant (``method``) and metric: ``group``, ``value``, ``low``,
        ``high``, ``note``, ``seeds``, ``seed_sd``, ``cluster_sd``, ``n_cells``; and ``same_as``, the earlier
        variant whose embedding is the same byte for byte, or nothing. The first variant is the reference.
    subsamples
        The scores on subsamples: ``metric``, ``subsample``, ``value``, ``cells``.
    similarity
        One row per pair of variants (``first``, ``second``): ``cka`` and ``overlap``, see
        :mod:`zeroshot.metrics.similarity`.
    conventions
        One row per data set, model and convention, see :func:`describe`.
    artifacts
        Keys of the stored embedding and scores of each variant.
    failures
        Ablations that could not be computed, each with its error.
    """

    scores: pd.DataFrame
    subsamples: pd.DataFrame
    similarity: pd.DataFrame
    conventions: pd.DataFrame
    artifacts: pd.DataFrame
    failures: pd.DataFrame

    @classmethod
    def of(cls, **parts: pd.DataFrame | None) -> "Tables":
        """The given tables with their columns in order; those that are not given are empty."""
        return cls(
            **{
                name: pd.DataFrame(columns=list(columns))
                if parts.get(name) is None or parts[name].empty
                else parts[name][list(columns)].reset_index(drop=True)
                for name, columns in COLUMNS.items()
            }
        )

    @classmethod
    def join(cls, parts: Iterable["Tables"]) -> "Tables":
        """The rows of several, in their order."""
        parts = list(parts)
        return cls.of(
            **{
                name: pd.concat(rows, ignore_index=True)
                for name in COLUMNS
                if (rows := [table for part in parts if len(table := getattr(part, name))])
            }
        )

    def select(self, ablation: str, metric: str | None = None) -> "Tables":
        """The rows of one ablation, by one metric or by all.

        Raises
        ------
        LookupError
            If the ablation was scored by other metrics.
        """
        parts = {
            one.name: table[table["ablation"] == ablation] if "ablation" in table else table
            for one in fields(self)
            for table in [getattr(self, one.name)]
        }
        if metric is not None:
            metrics = list(parts["scores"]["metric"].unique())
            if metrics and metric not in metrics:
                raise LookupError(
                    f"metric is {metric!r}: the ablation {ablation} was scored by {', '.join(metrics)}. "
                    "Choose one of these, or add it to `ablation_metrics` of the study in data/studies.yml "
                    "and run the study again"
                )
            for name in ("scores", "subsamples"):
                parts[name] = parts[name][parts[name]["metric"] == metric]
        return Tables.of(**parts)


TABLES = tuple(COLUMNS)


def folder(study: str) -> Path:
    """Where the tables of a study's ablations are; those of a unit in ``<dataset>/<model>`` below it."""
    return paths.study(study) / "ablations"


def write(tables: Tables, directory: Path) -> None:
    """Write each table as ``<name>.csv``, all digits; a file appears whole or not at all."""
    for name in TABLES:
        store.write_text(directory / f"{name}.csv", getattr(tables, name).to_csv(index=False))


def read(directory: Path, remedy: str) -> Tables:
    """Read what :func:`write` has written.

    Parameters
    ----------
    directory
        Of a unit, or of a study.
    remedy
        What to do about a damaged file.

    Raises
    ------
    zeroshot.results.table_files.TableFileError
        If a file is damaged.
    FileNotFoundError
        If one is missing.
    """
    parts = {}
    for name in TABLES:
        file = directory / f"{name}.csv"
        parts[name] = table_files.read(file, COLUMNS[name], _KEYS[name], remedy).drop(
            columns=table_files.LINE
        )
    return Tables.of(**parts)


def load(study: str) -> Tables:
    """The ablations of a study.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    directory = folder(study)
    command = f"`zeroshot run {study}`"
    if not all((directory / f"{name}.csv").is_file() for name in TABLES):
        raise FileNotFoundError(f"{directory} does not hold all tables. Run the study first: {command}.")
    return read(directory, f"Delete the file and run the study again: {command}.")


def concatenate(units: Sequence[Path]) -> Tables:
    """The tables of several units as one, sorted by data set and model.

    Parameters
    ----------
    units
        Folders that :func:`write` has written to.
    """
    remedy = "Delete the file and run the study again."
    parts = [read(unit, remedy) for unit in sorted(units)]
    return Tables.join(parts)
