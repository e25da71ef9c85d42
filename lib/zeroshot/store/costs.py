"""What a computation cost, and with what code, packages and device it was made."""

import contextlib
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zeroshot.runtime import paths

# Packages whose version can change a number in the book.
RECORDED_PACKAGES = (
    "zeroshot", "torch", "scanpy", "anndata", "scvi-tools", "harmonypy", "igraph", "umap-learn",
    "scib-metrics", "jax", "transformers", "tokenizers", "numpy", "pandas", "scipy", "scikit-learn",
)  # fmt: skip


def measure(seconds: float) -> dict[str, Any]:
    """What a reader needs to judge where a number came from: code, versions, device, cost."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "device": device_name(),
        "commit": commit(),
        "python": platform.python_version(),
        "packages": versions(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that can change a number."""
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}


def peak_memory_mb() -> float:
    """Largest resident memory of this process, in MiB; on Linux, since the last computation began."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would start from the peak of the parent process
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), flags=re.MULTILINE)
        if peak:
            return int(peak[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def reset_peak_memory() -> None:
    """Let the next computation have a peak of its own, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def device_name() -> str:
    """The accelerator if torch sees one, else the processor."""
    torch = sys.modules.get("torch")  # a page that needs no torch must not pay for its import
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def commit() -> str:
    """Commit of the project, "-dirty" appended when tracked files differ, "unknown" outside git."""
    try:
        revision = _git("rev-parse", "HEAD")
        return revision[:12] + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(paths.home()), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
