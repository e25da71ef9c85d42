"""The folder that a training writes: nothing of somebody else's is lost, and it is complete when it appears.

Until then its files are in ``<output>.partial``.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from zeroshot.pretraining.error import TrainingError
from zeroshot.runtime import outputs

STATE = "state.pt"  # of a network that is trained, from which it continues
RELEASE = "release"  # what becomes the output
_LOCK = "lock"  # held by the process that trains
IF_FULL = (
    "Free some space and give the same command again (the training of a network continues where it was saved "
    "last), or name another --output."
)


def require_new(output: Path) -> None:
    """Refuse a folder to write that exists, or that could not be made.

    Raises
    ------
    TrainingError
        If a finished training is there, or the folder cannot be made.
    """
    if os.path.lexists(output):
        raise TrainingError(f"{output} exists: a finished training is never replaced. Name another --output.")
    if output.parts[:1] and output.parts[0].startswith("~"):
        raise TrainingError(f"{output} begins with ~, which only a shell replaces: write the path out")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise TrainingError(f"{output} cannot be made: {above} is not a directory that takes one. Name "
                            "another --output.")  # fmt: skip


def partial_path(output: Path) -> Path:
    """Where the files of a training are until it is complete."""
    return output.with_name(f"{output.name}.partial")


@contextlib.contextmanager
def partial_folder(output: Path, *, continues: bool) -> Iterator[Path]:
    """Make ``<output>.partial``, or find it as an interrupted training left it, and hold it.

    No other process trains to it meanwhile; the system frees it when this one dies, however it dies.

    Parameters
    ----------
    output
        Folder that a training will write.
    continues
        Whether the training goes on from a state that is there.

    Raises
    ------
    TrainingError
        If it cannot be made, another process trains to it, or it holds what such a training has not written:
        that would be lost at the end.
    """
    partial = partial_path(output)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in partial.iterdir())
    except OSError as error:
        raise TrainingError(f"{partial} cannot be made: {error.strerror}. Name another --output.") from error
    # Of a state that was being written when its process was killed, too.
    states = {name for name in names if name.lstrip(".").startswith("state.")}
    own = {RELEASE, _LOCK, *(states if continues else ())}
    foreign = [name for name in names if name not in own]
    if foreign:
        what = "a half-done training of a network" if STATE in foreign else f"files like {foreign[0]}"
        raise TrainingError(
            f"{partial} holds {what}, which would be lost. Name another --output, or remove that folder."
        )
    try:
        with FileLock(partial / _LOCK, timeout=0):
            yield partial
    except Timeout:
        raise TrainingError(
            f"another process trains to {output}: wait for it, or name another --output"
        ) from None


@contextlib.contextmanager
def release_folder(partial: Path, output: Path) -> Iterator[Path]:
    """A folder to fill, which becomes the output once the block has ended without an error.

    Raises
    ------
    zeroshot.runtime.outputs.OutputError
        If the disk is full. A state that was saved stays.
    """
    release = partial / RELEASE
    shutil.rmtree(release, ignore_errors=True)
    with outputs.named_if_full(output, IF_FULL):
        try:
            release.mkdir()
            yield release
            release.rename(output)
        except BaseException:
            shutil.rmtree(release, ignore_errors=True)
            raise
    shutil.rmtree(partial)
