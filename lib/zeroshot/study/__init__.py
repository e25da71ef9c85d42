"""From a study to its pages: which notebook runs with which parameters, and what runs them."""

from .computing import compute
from .grid import (
    Page,
    Skipped,
    chapters,
    left_out,
    misfit,
    needs_cells,
    pages,
    pairs,
    plan,
    plan_file,
    run_pages,
    run_path,
    score_files,
    skipped,
)
from .requirements import NEEDS, RequirementError, needs, require
from .running import StudyError, run

__all__ = [
    "NEEDS",
    "Page",
    "RequirementError",
    "Skipped",
    "StudyError",
    "chapters",
    "compute",
    "left_out",
    "misfit",
    "needs",
    "needs_cells",
    "pages",
    "pairs",
    "plan",
    "plan_file",
    "require",
    "run",
    "run_pages",
    "run_path",
    "score_files",
    "skipped",
]
