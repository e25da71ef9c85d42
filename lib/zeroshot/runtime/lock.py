"""One run of the project at a time, and what a killed one has left behind."""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from zeroshot.runtime import outputs, paths, processes


class LockedError(RuntimeError):
    """Another run of the project is going on."""


@contextlib.contextmanager
def only_run() -> Iterator[str]:
    """Hold the project's run lock; gives the mark of the run, see :data:`zeroshot.runtime.processes.MARK`.

    The system frees the lock when its holder dies, however it dies. Processes of an earlier run whose command
    was killed are stopped first: what they had not finished is run again.

    Raises
    ------
    LockedError
        If another run is going on.
    OSError
        If the lock file cannot be written.
    """
    path = paths.build() / "run.lock"
    record = path.with_suffix(".json")
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            owner, _ = _read_owner(record)
            who = f" (process {owner}). Wait for it or stop it: kill {owner}" if owner else ". Wait for it."
            raise LockedError(f"another run is going on here{who}") from None
        except OSError as error:
            raise OSError(
                f"{path} cannot be written ({error.strerror}). A run writes its pages and tables there: "
                "make the folder writable, or set ZEROSHOT_HOME to a copy of the project elsewhere."
            ) from None
        owner, mark = _read_owner(record)
        if mark is not None and not processes.stop(mark):
            raise LockedError(
                f"jobs of an interrupted run (process {owner}) are still alive. Stop them: kill -9 "
                f"{' '.join(map(str, processes.marked(mark)))}"
            )
        mark = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        _write_owner(record, mark)
        yield mark
        _write_owner(record, None)  # nothing of it is left


def _write_owner(record: Path, mark: str | None) -> None:
    """Write down who holds the lock: this process, and the mark of those it starts."""
    with outputs.named_if_full(record, "Free some space and run the same command again."):
        record.write_text(json.dumps({"owner": os.getpid(), "mark": mark}))


def _read_owner(record: Path) -> tuple[int | None, str | None]:
    try:
        content = json.loads(record.read_text())
        return content["owner"], content.get("mark")
    # No run yet, or written by hand.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, None
