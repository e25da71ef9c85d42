"""sha256 of files of weights."""

from pathlib import Path

from zeroshot import hashing
from zeroshot.weights.error import WeightsError


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file, computed once a process, see :func:`zeroshot.hashing.sha256`.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    try:
        return hashing.sha256(path)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}. Make it readable, or name another folder."
        ) from None
