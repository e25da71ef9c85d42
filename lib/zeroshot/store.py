"""Content-keyed artifacts on disk: computed once, written atomically, with provenance beside them.

``artifacts/<stage>/<key>/`` holds the arrays and tables of one result. The key is a hash of
everything the result depends on (the pre-image, stored in ``provenance.json``). A folder is
filled under a temporary name and renamed at the end: a folder that exists is complete, and a
process killed at any moment leaves nothing that could be taken for a result.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from zeroshot import paths

if TYPE_CHECKING:
    from anndata import AnnData  # imported when a value is one: a page of tables must not pay for it

Policy = Literal["reuse", "recompute", "only-stored"]
POLICIES: tuple[Policy, ...] = ("reuse", "recompute", "only-stored")

# Packages whose version can change a number in the book.
RECORDED_PACKAGES = (
    "zeroshot", "torch", "scanpy", "anndata", "scvi-tools", "harmonypy", "igraph", "umap-learn",
    "scib-metrics", "jax", "transformers", "tokenizers", "numpy", "pandas", "scipy", "scikit-learn",
)  # fmt: skip


class NotStoredError(LookupError):
    """The policy is "only-stored" and the artifact has not been computed yet."""


@dataclass(frozen=True)
class Artifact:
    """A complete result on disk."""

    path: Path
    reused: bool

    @property
    def key(self) -> str:
        """Hash of the pre-image."""
        return self.path.name

    @property
    def provenance(self) -> dict[str, Any]:
        """Inputs, versions, device, seconds and peak memory of the computation."""
        return json.loads((self.path / "provenance.json").read_text())

    def __contains__(self, name: str) -> bool:
        """Whether a value is stored under a name."""
        return any(self.path.glob(f"{name}.*"))

    def load(self, name: str) -> "np.ndarray | pd.DataFrame | dict | AnnData":
        """Read one value of the artifact by the name it was stored under."""
        readers = {".npy": _read_array, ".csv": _read_table, ".json": _read_json, ".h5ad": _read_cells}
        for suffix, read in readers.items():
            file = self.path / f"{name}{suffix}"
            if file.exists():
                return read(file)
        held = sorted(p.stem for p in self.path.iterdir() if p.name != "provenance.json")
        raise KeyError(f"artifact {self.path} holds no {name!r}; it holds {held}")


def key_of(inputs: Mapping[str, Any]) -> str:
    """20 hexadecimal digits that name a pre-image; order of keys does not matter.

    Raises
    ------
    TypeError
        If an input is not plain JSON (numbers, strings, booleans, None, lists, dicts).
    """
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]


def load_or_compute(
    stage: str,
    inputs: Mapping[str, Any],
    compute: "Callable[[], Mapping[str, np.ndarray | pd.DataFrame | dict | AnnData]]",
    policy: Policy = "reuse",
) -> Artifact:
    """Return the artifact of ``inputs``, computing and storing it when the policy asks for it.

    Parameters
    ----------
    stage
        Kind of result, the name of a sub-folder: "embedding", "scores", …
    inputs
        Pre-image of the key: everything the result depends on, as plain JSON.
    compute
        Called without arguments; returns named arrays, tables, dicts or AnnData.
    policy
        "reuse" computes only what is missing, "recompute" replaces what is stored,
        "only-stored" refuses to compute.

    Raises
    ------
    NotStoredError
        With policy "only-stored", when nothing is stored under the key.
    """
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}: expected one of {', '.join(POLICIES)}")
    folder = paths.artifacts() / stage / key_of(inputs)
    if policy != "recompute" and folder.is_dir():
        return Artifact(folder, reused=True)
    if policy == "only-stored":
        raise NotStoredError(
            f"no {stage} is stored for {json.dumps(inputs, sort_keys=True)[:300]}. "
            "Compute it first: run the same command with policy 'reuse'."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    _reset_peak_memory()
    started = time.perf_counter()
    values = compute()
    seconds = time.perf_counter() - started
    # Made only now: a day of computing would make it look like a leftover (see remove_leftovers).
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, value in values.items():
            _write(temporary / name, value)
        _write(temporary / "provenance", {"stage": stage, "inputs": dict(inputs)} | measure(seconds))
        _publish(temporary, folder, replace=policy == "recompute")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Artifact(folder, reused=False)


def _publish(temporary: Path, folder: Path, *, replace: bool) -> None:
    """Rename into place; what is already there is kept, or moved aside first and deleted at the end."""
    for file in temporary.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    temporary.chmod(0o755)  # mkdtemp's 0700 would hide the result from others on a shared disk
    outgoing = None
    if replace and folder.exists():
        outgoing = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        with contextlib.suppress(FileNotFoundError):  # another process has just moved it aside
            folder.rename(outgoing / "replaced")
    try:
        temporary.rename(folder)
    except OSError:
        # Another process finished the same work first: its result is equally good.
        if not folder.is_dir():
            raise
    if outgoing is not None:
        shutil.rmtree(outgoing)


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


def _reset_peak_memory() -> None:
    """Let the next computation have a peak of its own, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def remove_leftovers(older_than_seconds: float = 86_400) -> None:
    """Delete unfinished artifacts of processes that were killed long enough ago to be surely gone."""
    for folder in paths.artifacts().glob("*/.*"):
        with contextlib.suppress(OSError):  # another process may have finished or removed it meanwhile
            if folder.is_dir() and time.time() - folder.stat().st_mtime > older_than_seconds:
                shutil.rmtree(folder)


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


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; leave it untouched, with its time, when nothing changed."""
    if path.is_file() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8"
    ) as handle:
        handle.write(text)
    Path(handle.name).chmod(0o644)
    Path(handle.name).replace(path)


def _write(path: Path, value: "np.ndarray | pd.DataFrame | dict | AnnData") -> None:
    if isinstance(value, np.ndarray):
        np.save(f"{path}.npy", value, allow_pickle=False)
    elif isinstance(value, pd.DataFrame):
        value.to_csv(f"{path}.csv", index=False)
    elif isinstance(value, dict):
        Path(f"{path}.json").write_text(json.dumps(value, indent=1, sort_keys=True))
    elif hasattr(value, "write_h5ad"):
        value.write_h5ad(f"{path}.h5ad", compression="gzip")
    else:
        raise TypeError(
            f"cannot store {path.name!r} of type {type(value).__name__}: array, table, dict or AnnData"
        )


def _read_array(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _read_table(path: Path) -> pd.DataFrame:
    # pandas' default parser is off in the last bit, and reads a cell type called "NA" as missing.
    return pd.read_csv(path, float_precision="round_trip", keep_default_na=False, na_values=[""])


def _read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def _read_cells(path: Path) -> "AnnData":
    import anndata

    return anndata.read_h5ad(path)
