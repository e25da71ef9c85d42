"""Hashes that this project recorded itself, beside files whose published hash nobody knows.

The sha256 of the first download stands in ``<name>.sha256``, and the file must have it ever after. It is
recorded only of a file whose length and type were checked, which the record says; records without that
were made by earlier versions, which checked neither.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from zeroshot.store import write_text

_CHECKED = "# recorded by zeroshot; length and type were checked"
_LONGEST = 2000  # characters


@dataclass(frozen=True)
class Pin:
    """What is recorded of a file.

    Attributes
    ----------
    sha256
        Of its first download.
    checked
        Whether length and type of that were checked.
    """

    sha256: str
    checked: bool


def place(target: Path) -> Path:
    """Where the hash of a file is recorded."""
    return target.with_name(f"{target.name}.sha256")


def read(target: Path) -> Pin | None:
    """What is recorded of a file; a record that holds no hash is removed with a warning."""
    path = place(target)
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as handle:
        text = handle.read(_LONGEST)
    digest = (text.split() or [""])[0]
    if re.fullmatch(r"[0-9a-f]{64}", digest):
        return Pin(digest, _CHECKED in text)
    path.unlink()
    warnings.warn(f"{path} held no sha256 and was removed: the next download is recorded anew.", stacklevel=2)
    return None


def write(target: Path, sha256: str) -> None:
    """Record the hash of a file whose length and type were checked."""
    write_text(place(target), f"{sha256}  {target.name}\n{_CHECKED}\n")


def remove(target: Path) -> None:
    """Forget what is recorded of a file."""
    place(target).unlink(missing_ok=True)
