"""One run of the project at a time, and what a killed one has left behind."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator

from zeroshot import paths


class LockedError(RuntimeError):
    """Another run of the project is going on."""


@contextlib.contextmanager
def only_run() -> Iterator[int]:
    """Hold the project's run lock.

    The lock is a kernel lock on an open file that Snakemake inherits, so it is free as soon as both
    are gone, however they died. Where the command was killed but Snakemake lives on, its process group
    is stopped, jobs included: what they had not finished is run again.
    """
    path = paths.build() / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        if not _try_lock(handle):
            owner, group = _read_owner(handle)
            if owner is None or _alive(owner):
                raise LockedError(
                    f"another run is going on here (process {owner}). Wait for it or stop it: kill {owner}"
                )
            stop_group(group)
            if not _try_lock(handle):
                raise LockedError(f"jobs of an interrupted run are still alive (process group {group})")
        record_owner(handle, None)
        yield handle
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def record_owner(handle: int, group: int | None) -> None:
    """Write into the lock file who holds it: this process, and the process group it has started."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"owner": os.getpid(), "group": group}).encode(), 0)


def _read_owner(handle: int) -> tuple[int | None, int | None]:
    try:
        record = json.loads(os.pread(handle, 1000, 0))
    except json.JSONDecodeError:
        return None, None
    return record["owner"], record["group"]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stop_group(group: int | None, patience: float = 10) -> None:
    """End a process group and wait until its lock is free."""
    if group is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.05)
