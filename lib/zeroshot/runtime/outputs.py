"""Files that a command writes: checked before anything is computed, and complete when they appear."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Errors of a disk that takes no more: full, over the user's quota, or over the largest size of a file.
FULL = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "has reached your quota",
    errno.EFBIG: "takes no file so large",
}


class OutputError(ValueError):
    """An output that cannot be written, or must not be: says why, and what to choose instead."""


def require_new(output: Path, *inputs: str | Path, n_bytes: int = 0) -> None:
    """Refuse an output that is an input or cannot be written; leaves nothing behind.

    An older output may be replaced.

    Parameters
    ----------
    output
        The file to write; of a symbolic link, the file that it points to.
    inputs
        What is read; an input that is no file, but a name, is equal to no output.
    n_bytes
        Space that the output needs at least.

    Raises
    ------
    OutputError
        If the output is an input by any route, a directory, a special file or write-protected; if its folder
        does not exist or takes no file of that name; if its disk has too little space.
    """
    try:
        sources = {source: Path(source).expanduser() for source in inputs}
    except RuntimeError as error:
        raise OutputError(
            f"the home of {', '.join(map(str, inputs))} is not known here: there is no such user. Write the "
            "path out"
        ) from error
    try:
        target = output.resolve()
        for source, path in sources.items():
            if _same_file(target, path):
                raise OutputError(
                    f"{output} is the input {source}: choose another --output, inputs are never changed"
                )
        if target.is_dir():
            raise OutputError(f"{output} is a directory: name a file in it with --output")
        if not target.parent.is_dir():
            raise OutputError(
                f"the folder {target.parent} of --output does not exist: create it, or choose another"
            )
        if target.exists() and not target.is_file():
            raise OutputError(f"{output} is not a regular file: choose another --output")
        if target.exists() and not os.access(target, os.W_OK):
            raise OutputError(f"{output} is write-protected: choose another --output, or remove it first")
        with _file_beside(target):
            free = shutil.disk_usage(target.parent).free
    except (OSError, RuntimeError) as error:  # RuntimeError: symbolic links in a circle
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{output} cannot be written ({reason}): choose another --output") from error
    if free < n_bytes:
        raise OutputError(
            f"the disk of {target.parent} is too full for {output.name}: {_size(n_bytes)} are needed, "
            f"{_size(free)} are free. Free some space, or choose --output on another disk."
        )


@contextlib.contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """An empty file beside an output, which takes its place once the block has ended without an error.

    Until then an older output stays as it is; after an error, or a signal that ends the program, nothing
    is left behind.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    target = output.resolve()
    advice = "Free some space, or choose an --output on another disk."
    with named_if_full(output, advice), _file_beside(target) as temporary:
        yield temporary
        # What a full disk, or one on a network, has not taken is known only now.
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)


@contextlib.contextmanager
def named_if_full(output: Path, advice: str) -> Iterator[None]:
    """Say what a full disk does not take, whatever a library raises.

    Parameters
    ----------
    output
        File or folder that is written.
    advice
        What to do.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    try:
        yield
    except ValueError:
        raise  # one of ours, which may tell of a full disk elsewhere
    except Exception as error:
        # torch says only where in a file it would write; the reason is the error before.
        reason = full_disk(error) or full_disk(error.__context__)
        if reason is None:
            raise
        folder = output.resolve().parent
        raise OutputError(f"{output} was not written: the disk of {folder} {reason}. {advice}") from error


def reserve(path: Path, n_bytes: int) -> None:
    """Let a file take up its final size, so that a full disk is an error before writing starts."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, n_bytes)


def full_disk(error: BaseException | None) -> str | None:
    """What keeps a disk from taking more, if this is what an error says; else None.

    HDF5 has the number of the error in its text only, and raises RuntimeError where closing a file fails.
    """
    for number, reason in FULL.items():
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return reason
    return None


@contextlib.contextmanager
def _file_beside(target: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB" if n_bytes >= 2**20 else f"{n_bytes / 2**10:,.1f} KiB"


def _same_file(target: Path, source: Path) -> bool:
    # Not by pathlib, which raises of a source that is a circle of links or has a name too long.
    if str(target) == os.path.realpath(source):
        return True
    return target.exists() and os.path.exists(source) and target.samefile(source)  # noqa: PTH110
