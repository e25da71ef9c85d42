"""The tables of ablations as CSV files: written by each unit, concatenated for a study, read by chapters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from zeroshot.results import table_files
from zeroshot.results.table_files import Table
from zeroshot.runtime import paths

_UNIT = ("dataset", "model")
_VARIANT = ("ablation", *_UNIT, "method")
# The first variant is the one that others are compared with, so that the order of rows stays.
_AS_COMPUTED = {"digits": None, "is_sorted": False}
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "scores": Table(
            "scores of variants",
            (*_VARIANT, "metric"),
            ("group", "value", "low", "high", "note", "seeds", "seed_sd", "cluster_sd", "n_cells", "same_as"),
            **_AS_COMPUTED,
        ),
        "subsamples": Table(
            "scores of variants on subsamples",
            (*_VARIANT, "metric", "subsample"),
            ("value", "cells"),
            **_AS_COMPUTED,
        ),
        "similarity": Table(
            "similarity of variants",
            ("ablation", *_UNIT, "first", "second"),
            ("cka", "overlap"),
            **_AS_COMPUTED,
        ),
        "conventions": Table(
            "conventions", (*_UNIT, "convention"), ("also", "changes", "source"), **_AS_COMPUTED
        ),
        "artifacts": Table("stored results of variants", _VARIANT, ("embedding", "scores"), **_AS_COMPUTED),
        "failures": Table("ablations that failed", ("ablation", *_UNIT), ("error",), **_AS_COMPUTED),
    }
)


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
                name: pd.DataFrame(columns=layout.all_columns)
                if parts.get(name) is None or parts[name].empty
                else parts[name][layout.all_columns].reset_index(drop=True)
                for name, layout in TABLES.items()
            }
        )

    @classmethod
    def join(cls, parts: Iterable["Tables"]) -> "Tables":
        """The rows of several, in their order."""
        parts = list(parts)
        return cls.of(
            **{
                name: pd.concat(rows, ignore_index=True)
                for name in TABLES
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


def folder(study: str) -> Path:
    """Where the tables of a study's ablations are; those of a unit in ``<dataset>/<model>`` below it."""
    return paths.study(study) / "ablations"


def write(tables: Tables, directory: Path) -> None:
    """Write each table as ``<name>.csv``, all digits; a file appears whole or not at all."""
    table_files.write(directory, TABLES, vars(tables))


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
    return Tables.of(
        **{
            name: table_files.read(directory / f"{name}.csv", layout, remedy)
            for name, layout in TABLES.items()
        }
    )


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


def concatenate(study: str, units: Iterable[str]) -> None:
    """Write the tables of a study from those of its units (their ``path``), sorted by data set and model."""
    directory = folder(study)
    table_files.concatenate(directory, TABLES, sorted(directory / unit for unit in units))
