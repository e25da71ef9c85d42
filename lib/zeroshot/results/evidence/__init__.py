"""Scores that others have published, and what they say about foundation models and baselines."""

from .tables import (
    COLUMNS,
    TABLE_COLUMNS,
    EvidenceError,
    faults,
    load,
    measures,
    methods,
    select,
    sources,
    table_path,
)

__all__ = [
    "COLUMNS",
    "TABLE_COLUMNS",
    "EvidenceError",
    "faults",
    "load",
    "measures",
    "methods",
    "select",
    "sources",
    "table_path",
]
