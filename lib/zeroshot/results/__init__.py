"""The tidy scores of a study, one row per data set, model, recipe and metric, and comparisons of methods."""

from .benchmarker import BENCHMARKER_NAMES, from_benchmarker, to_benchmarker
from .comparisons import differences, every, tally, wide, winners
from .study_tables import (
    COLUMNS,
    COST_COLUMNS,
    SUBSAMPLE_COLUMNS,
    TABLES,
    Tables,
    collect,
    keep,
    load,
    load_costs,
    load_subsamples,
    tables,
)

__all__ = [
    "BENCHMARKER_NAMES",
    "COLUMNS",
    "COST_COLUMNS",
    "SUBSAMPLE_COLUMNS",
    "TABLES",
    "Tables",
    "collect",
    "differences",
    "every",
    "from_benchmarker",
    "keep",
    "load",
    "load_costs",
    "load_subsamples",
    "tables",
    "tally",
    "to_benchmarker",
    "wide",
    "winners",
]
