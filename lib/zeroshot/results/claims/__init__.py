"""The ledger of claims: what the paper states, and whether it holds by the numbers of each source."""

from .evaluation import Fact, Outcome, evaluate
from .ledger import COLUMNS, OURS, VERDICTS, ledger, load, sources
from .numbers import Numbers, of_source, of_study

__all__ = [
    "COLUMNS", "OURS", "VERDICTS", "Fact", "Numbers", "Outcome", "evaluate", "ledger", "load", "of_source",
    "of_study", "sources",
]  # fmt: skip
