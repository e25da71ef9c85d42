"""Files written whole or not at all, and plain words where one cannot be written."""

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Of numpy, which says how much was written and not why, and of others that leave the number out.
_FULL = re.compile(r"\d+ requested and \d+ written|No space left")


class StoreError(ValueError):
    """A stored result that is damaged, or one that cannot be written."""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Name the folder, and the disk if it is full, when something cannot be written."""
    try:
        yield
    except OSError as error:
        raise StoreError(_unwritten(folder, error)) from error


def _unwritten(folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(str(error)):
        where = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(where).free / 2**20
        return (
            f"the disk of {folder} is full ({free:,.1f} MiB free), or takes no file so large: nothing was "
            "written, and what was there stays. Free some space and run the same command again."
        )
    return (
        f"{folder} cannot be written: {error}. Expected a place where files can be made: correct its "
        "permissions, or choose another one (ZEROSHOT_HOME names the project's)."
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; leave it untouched, with its time, when nothing changed.

    Raises
    ------
    StoreError
        If it cannot be written. What was there before stays.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a directory: expected the name of a file. Choose another one.")
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{path} cannot be written: {error}. Expected text that UTF-8 has.") from None
    with writing(path):
        if path.is_file() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own length would be too long where the target's just fits.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
        try:
            os.close(handle)
            Path(name).write_bytes(content)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
