"""From a study to its book: which runs, pages and chapters there are, and what computes them."""

from .declarations import NEEDS, Declaration, RequirementError, declaration, require
from .grid import (
    Job,
    Page,
    Skipped,
    Source,
    absent_chapters,
    chapters,
    misfit,
    pages,
    pairs,
    plan,
    plan_file,
    run_pages,
    run_path,
    runs,
    skipped,
    source_of,
)
from .running import StudyError, run

__all__ = [
    "NEEDS",
    "Declaration",
    "Job",
    "Page",
    "RequirementError",
    "Skipped",
    "Source",
    "StudyError",
    "absent_chapters",
    "chapters",
    "declaration",
    "misfit",
    "pages",
    "pairs",
    "plan",
    "plan_file",
    "require",
    "run",
    "run_pages",
    "run_path",
    "runs",
    "skipped",
    "source_of",
]
