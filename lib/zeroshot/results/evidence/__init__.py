"""Scores that others have published, and what they say about foundation models and baselines."""

from .differences import TIE, headline, latest, paired, summarise
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
    "TIE",
    "EvidenceError",
    "faults",
    "headline",
    "latest",
    "load",
    "measures",
    "methods",
    "paired",
    "select",
    "sources",
    "summarise",
    "table_path",
]
