"""Content-keyed artifacts on disk, and text files written atomically.

``load_or_compute`` returns a stored result whose files are as they were written, or computes and
stores it. ``measure`` says what a computation cost and what it was made with.
"""

from zeroshot.store.artifacts import (
    POLICIES,
    Artifact,
    NotStoredError,
    Policy,
    damage,
    key_of,
    load_or_compute,
    remove_leftovers,
)
from zeroshot.store.costs import RECORDED_PACKAGES, commit, device_name, measure, peak_memory_mb, versions
from zeroshot.store.values import write_cells
from zeroshot.store.writing import StoreError, write_text

__all__ = [
    "POLICIES", "RECORDED_PACKAGES", "Artifact", "NotStoredError", "Policy", "StoreError", "commit", "damage",
    "device_name", "key_of", "load_or_compute", "measure", "peak_memory_mb", "remove_leftovers", "versions",
    "write_cells", "write_text",
]  # fmt: skip
