"""Content-keyed artifacts on disk: computed once, written atomically, with provenance beside them.

``artifacts/<stage>/<key>/`` holds the arrays and tables of one result. The key is a hash of
everything the result depends on (the pre-image, stored in ``provenance.json``). A folder is
filled under a temporary name and renamed at the end: a folder that exists is complete, and a
process killed at any moment leaves nothing that could be taken for a result.

``provenance.json`` also holds the sha256 of every other file and of itself. Nothing is read that does
not have the hash it was written with; a damaged artifact is computed again.
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from zeroshot.runtime import paths
from zeroshot.store.costs import measure, reset_peak_memory
from zeroshot.store.hashing import sha256
from zeroshot.store.values import READERS, write_value
from zeroshot.store.writing import StoreError, writing

if TYPE_CHECKING:
    from anndata import AnnData  # imported when a value is one: a page of tables must not pay for it

Policy = Literal["reuse", "recompute", "only-stored"]
PROVENANCE = "provenance.json"
POLICIES: tuple[Policy, ...] = ("reuse", "recompute", "only-stored")

_LARGEST_RECORD = 2**26  # bytes; a real one has some thousand


class NotStoredError(StoreError, LookupError):
    """The policy is "only-stored" and no intact artifact is there."""


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
        """Inputs, versions, device, seconds and peak memory of the computation, and hashes of the files.

        Raises
        ------
        StoreError
            If the record is damaged or belongs to another artifact.
        """
        return self._intact(None)

    def __contains__(self, name: str) -> bool:
        """Whether a value is stored under a name."""
        return any(f"{name}{suffix}" in self.provenance["files"] for suffix in READERS)

    def load(self, name: str) -> "np.ndarray | pd.DataFrame | dict | AnnData":
        """Read one value of the artifact by the name it was stored under.

        Raises
        ------
        KeyError
            If nothing is stored under the name.
        StoreError
            If the file does not have the content it was written with.
        """
        files = self.provenance["files"]
        for suffix, read in READERS.items():
            if f"{name}{suffix}" in files:
                self._intact(f"{name}{suffix}")
                return self._read(self.path / f"{name}{suffix}", read)
        names = sorted(file.rpartition(".")[0] for file in files)
        raise KeyError(f"artifact {self.path} holds no {name!r}; it holds {names}")

    def _intact(self, file: str | None) -> dict[str, Any]:
        """The record, once it and one file are known to be as they were written."""
        for last in (False, True):
            try:
                record = _record(self.path)
                if file is not None:
                    _verify(self.path / file, record["files"].get(file))
            except _DamageError as problem:
                if last:
                    raise StoreError(
                        f"{self.path} is damaged: {problem}. Delete it, or run the command that made it "
                        "with policy 'reuse', which computes damaged results again."
                    ) from None
                time.sleep(0.05)  # another process may be replacing the artifact just now
            else:
                return record

    def _read(self, file: Path, read: Callable[[Path], Any]) -> Any:
        try:
            return read(file)
        except MemoryError:
            raise StoreError(
                f"{file} does not fit into memory ({file.stat().st_size / 2**20:,.0f} MiB on disk): run on a "
                "machine with more, or on fewer cells."
            ) from None
        except Exception as error:  # of numpy, pandas, json or HDF5
            raise StoreError(
                f"{file} cannot be read ({type(error).__name__}: {error}). Delete {self.path} and run the "
                "same command again."
            ) from None


class _DamageError(Exception):
    """What differs from what was written."""


def damage(folder: Path) -> str | None:
    """What is wrong with a stored artifact; None if every file is as it was written."""
    try:
        for name, written in _record(folder)["files"].items():
            _verify(folder / name, written)
    except _DamageError as error:
        return str(error)
    return None


def _record(folder: Path) -> dict[str, Any]:
    """``provenance.json`` of an artifact, if it is whole and belongs to this folder."""
    path = folder / PROVENANCE
    _require_regular(path)
    try:
        if path.stat().st_size > _LARGEST_RECORD:
            raise ValueError("too large")
        record = json.loads(path.read_bytes())
        digest, key = (_hash_of(record), _key(record)) if isinstance(record, dict) else ("", "")
    except (OSError, ValueError, RecursionError) as error:
        raise _DamageError(f"{PROVENANCE} cannot be read ({type(error).__name__})") from None
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, dict) or "record" not in record:
        raise _DamageError(f"{PROVENANCE} holds no hashes of the files: an older version wrote it")
    if record["record"] != digest:
        raise _DamageError(f"{PROVENANCE} was changed after it was written")
    if record.get("stage") != folder.parent.name or key != folder.name:
        raise _DamageError(f"{PROVENANCE} describes another artifact")
    return record


def _verify(path: Path, written: object) -> None:
    _require_regular(path)
    expected = written if isinstance(written, dict) else {}
    try:
        size = path.stat().st_size
        if size != expected.get("size"):  # before it is read: it may be of any size
            raise _DamageError(f"{path.name} has {size:,} bytes, expected {expected.get('size')}")
        seen = sha256(path)
    except OSError as error:
        raise _DamageError(f"{path.name} cannot be read ({error.strerror})") from None
    if seen != expected.get("sha256"):
        raise _DamageError(
            f"{path.name} has sha256 {seen[:12]}…, expected {str(expected.get('sha256'))[:12]}…"
        )


def _require_regular(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except NotADirectoryError:
        raise _DamageError("it is a file, not a directory") from None
    except (OSError, ValueError) as error:
        raise _DamageError(f"{path.name}: {getattr(error, 'strerror', error)}") from None
    if not stat.S_ISREG(mode):
        raise _DamageError(f"{path.name} is a link or no regular file")


def _hash_of(record: Mapping[str, Any]) -> str:
    """Hash of a record without its own."""
    content = {name: value for name, value in record.items() if name != "record"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _key(record: Mapping[str, Any]) -> str | None:
    try:
        return key_of(record.get("inputs"))
    except (TypeError, ValueError):
        return None


def key_of(inputs: Mapping[str, Any]) -> str:
    """20 hexadecimal digits that name a pre-image; order of keys does not matter.

    Raises
    ------
    TypeError
        If an input is not plain JSON (numbers, strings, booleans, None, lists, dicts with string keys).
    """
    canonical = _canonical(inputs)
    if _canonical(json.loads(canonical)) != canonical:
        raise TypeError("keys of dicts must be strings: others come back from JSON in another order")
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]


def _canonical(inputs: object) -> str:
    return json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)


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
        "reuse" computes what is missing or damaged, the latter with a message on stderr; "recompute"
        replaces what is stored; "only-stored" refuses to compute.

    Raises
    ------
    NotStoredError
        With policy "only-stored", when nothing intact is stored under the key.
    StoreError
        If the result cannot be written. What was stored before stays.
    """
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}: expected one of {', '.join(POLICIES)}")
    folder = paths.artifacts() / stage / key_of(inputs)
    name = f"{paths.artifacts().name}/{stage}/{folder.name}"
    if policy != "recompute" and os.path.lexists(folder):
        problem = damage(folder)
        if problem is None:
            return Artifact(folder, reused=True)
        if policy == "only-stored":
            raise NotStoredError(
                f"{folder} is damaged: {problem}. Compute it again: run the same command with policy 'reuse'."
            )
        print(f"{name} is damaged and computed again: {problem}", file=sys.stderr)
    if policy == "only-stored":
        raise NotStoredError(
            f"no {stage} is stored for {json.dumps(inputs, sort_keys=True)[:300]}. "
            "Compute it first: run the same command with policy 'reuse'."
        )
    _require_writable(folder.parent)
    reset_peak_memory()
    started = time.perf_counter()
    values = compute()
    seconds = time.perf_counter() - started
    record = {"stage": stage, "inputs": dict(inputs)} | measure(seconds)
    with writing(folder.parent):
        # Made only now: a day of computing would make it look like a leftover (see remove_leftovers).
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _fill(temporary, values, record)
            _publish(temporary, folder, replace=policy == "recompute" or damage(folder) is not None)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Artifact(folder, reused=False)


def _fill(folder: Path, values: Mapping[str, Any], record: dict[str, Any]) -> None:
    """Write the values and their record, with the hash of each file as it was read back."""
    for name, value in values.items():
        write_value(folder / name, value)
    record["files"] = {
        file.name: {"size": file.stat().st_size, "sha256": sha256(file)} for file in sorted(folder.iterdir())
    }
    record = json.loads(json.dumps(record))  # as it comes back: lists, not tuples
    write_value(folder / Path(PROVENANCE).stem, record | {"record": _hash_of(record)})


def _require_writable(folder: Path) -> None:
    """Refuse before computing what could not be stored."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=".writable-", dir=folder)).rmdir()


def _publish(temporary: Path, folder: Path, *, replace: bool) -> None:
    """Rename into place; what is already there is kept, or moved aside first and deleted at the end."""
    for file in temporary.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    temporary.chmod(0o755)  # mkdtemp's 0700 would hide the result from others on a shared disk
    outgoing = None
    try:
        if replace and os.path.lexists(folder):
            outgoing = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
            with contextlib.suppress(FileNotFoundError):  # another process has just moved it aside
                folder.rename(outgoing / "replaced")
        try:
            temporary.rename(folder)
        except OSError:
            # Another process finished the same work first: its result is equally good.
            if damage(folder) is not None:
                raise
    except OSError:
        if outgoing is not None and not os.path.lexists(folder):
            with contextlib.suppress(OSError):
                (outgoing / "replaced").rename(folder)
        raise
    finally:
        if outgoing is not None:
            shutil.rmtree(outgoing, ignore_errors=True)


def remove_leftovers(older_than_seconds: float = 86_400) -> None:
    """Delete unfinished artifacts of processes that were killed long enough ago to be surely gone."""
    for folder in paths.artifacts().glob("*/.*"):
        with contextlib.suppress(OSError):  # another process may have finished or removed it meanwhile
            if folder.is_dir() and time.time() - folder.stat().st_mtime > older_than_seconds:
                shutil.rmtree(folder)
