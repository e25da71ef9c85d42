"""The tidy scores of a study, one row per data set, model, recipe and metric, and comparisons of methods."""

from .benchmarker import BENCHMARKER_NAMES, from_benchmarker, to_benchmarker
from .comparisons import differences, every, tally, wide, winners
from .schema import TABLES, TableError, read_csv
from .summaries import best, candidates, heading, interval, median, readable, reference, two_digits
from .tables import (
    COLUMNS,
    committed_files,
    concatenate,
    copy_committed,
    keep,
    load,
    load_labels,
    load_reconstruction,
    load_runs,
    load_subsamples,
    require_committed,
    without_committed_scores,
    write,
)

__all__ = [
    "BENCHMARKER_NAMES",
    "COLUMNS",
    "TABLES",
    "TableError",
    "best",
    "candidates",
    "committed_files",
    "concatenate",
    "copy_committed",
    "cross_check",
    "differences",
    "every",
    "from_benchmarker",
    "heading",
    "interval",
    "keep",
    "load",
    "load_labels",
    "load_reconstruction",
    "load_runs",
    "load_subsamples",
    "median",
    "published",
    "read_csv",
    "readable",
    "reference",
    "require_committed",
    "tally",
    "to_benchmarker",
    "two_digits",
    "wide",
    "winners",
    "without_committed_scores",
    "write",
]
