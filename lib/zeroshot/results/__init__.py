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
from .summaries import best, candidates, heading, median, readable, reference

__all__ = [
    "BENCHMARKER_NAMES",
    "COLUMNS",
    "COST_COLUMNS",
    "SUBSAMPLE_COLUMNS",
    "TABLES",
    "Tables",
    "best",
    "candidates",
    "collect",
    "differences",
    "every",
    "from_benchmarker",
    "heading",
    "keep",
    "load",
    "load_costs",
    "load_subsamples",
    "median",
    "readable",
    "reference",
    "tables",
    "tally",
    "to_benchmarker",
    "wide",
    "winners",
]
