"""One run of the project at a time, and what a killed one has left behind."""

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from zeroshot import paths, processes


class LockedError(RuntimeError):
    """Another run of the project is going on."""


@dataclass(frozen=True)
class Run:
    """The run that holds the lock.

    Attributes
    ----------
    handle
        The open lock file, for processes that must hold the lock as well.
    mark
        What its processes carry in their environment, see :data:`zeroshot.processes.MARK`.
    """

    handle: int
    mark: str


@contextlib.contextmanager
def only_run() -> Iterator[Run]:
    """Hold the project's run lock.

    The lock is a kernel lock on an open file that Snakemake inherits, so it is free as soon as both
    are gone, however they died. Processes of an earlier run whose command was killed are stopped first:
    what they had not finished is run again.

    Raises
    ------
    LockedError
        If another run is going on.
    OSError
        If the lock file cannot be written.
    """
    path = paths.build() / "run.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}). A run writes its pages and tables there: "
            "make the folder writable, or set ZEROSHOT_HOME to a copy of the project elsewhere."
        ) from None
    try:
        locked = _try_lock(handle)
        owner, mark = _read_owner(handle)
        if not locked and (owner is None or _alive(owner)):
            who = f" (process {owner}). Wait for it or stop it: kill {owner}" if owner else ". Wait for it."
            raise LockedError(f"another run is going on here{who}")
        if mark is not None and not processes.stop(mark):
            raise LockedError(
                f"jobs of an interrupted run (process {owner}) are still alive. Stop them: kill -9 "
                f"{' '.join(map(str, processes.marked(mark)))}"
            )
        if not locked and not _try_lock(handle):
            raise LockedError(f"jobs of an interrupted run still hold {path}. Stop them, then start again.")
        run = Run(handle, f"{os.getpid()}-{uuid.uuid4().hex[:12]}")
        _write_owner(handle, run.mark)
        yield run
        _write_owner(handle, None)  # nothing of it is left
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_owner(handle: int, mark: str | None) -> None:
    """Write into the lock file who holds it: this process, and the mark of those it starts."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"owner": os.getpid(), "mark": mark}).encode(), 0)


def _read_owner(handle: int) -> tuple[int | None, str | None]:
    try:
        record = json.loads(os.pread(handle, 1000, 0))
        return record["owner"], record.get("mark")
    except (ValueError, KeyError, TypeError, AttributeError):  # empty, or written by hand
        return None, None


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
