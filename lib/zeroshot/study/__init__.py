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
    plan,
    plan_file,
    run_pages,
    run_path,
    score_files,
    skipped,
)
from .running import StudyError, run

__all__ = [
    "Page",
    "Skipped",
    "StudyError",
    "chapters",
    "compute",
    "left_out",
    "misfit",
    "needs_cells",
    "pages",
    "plan",
    "plan_file",
    "run",
    "run_pages",
    "run_path",
    "score_files",
    "skipped",
]
