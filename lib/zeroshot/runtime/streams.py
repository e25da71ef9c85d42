"""Standard streams that are closed, or that take no more; the encoding of files."""

import contextlib
import locale
import os
import sys
from pathlib import Path
from typing import TextIO


def use_utf8() -> None:
    """Start this program again in Python's UTF-8 mode, where the locale has another encoding.

    Our files, and most names of files, are UTF-8. What this program starts inherits the mode.
    """
    is_utf8 = sys.flags.utf8_mode or locale.getencoding().lower() in ("utf-8", "utf8")
    if not is_utf8 and os.environ.get("PYTHONUTF8") != "1":  # which python -E does not read
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same program


def open_closed() -> None:
    """Let standard streams that are closed (``>&-``, some schedulers) lead nowhere.

    Python has None for them, and the first file that is opened would get their number, so that what a
    library prints ends in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open("r" if number == 0 else "w")  # noqa: SIM115 - to the end
            if stream.fileno() != number and not _is_open(number):
                os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)


def drop(stream: TextIO) -> None:
    """Let what is still to be written to a stream go nowhere: Python would try again, and complain."""
    with contextlib.suppress(OSError, ValueError):  # of a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
