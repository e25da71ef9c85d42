"""Errors as a reader of the command line meets them: one line, an exit code, and no traceback."""

import contextlib
import os
import pickle
import shlex
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator

from zeroshot.runtime import outputs

BAD_INPUT = 2
UNEXPECTED = 3

# What libraries raise for input that is damaged or does not fit; anything else is taken for a bug.
OF_INPUT = (
    ValueError, OSError, RuntimeError, ArithmeticError, EOFError,
    zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, struct.error,
)  # fmt: skip

_NO_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory", "RESOURCE_EXHAUSTED")


def explain(error: BaseException) -> tuple[str, int]:
    """What to print for an error, and the exit code: 2 for bad input, 3 for what nobody expected."""
    text = _text(error)
    if out_of_memory(error):
        text = f"not enough memory ({text}): give fewer cells"
        fewer = ", or for a network fewer --chunk-tokens" if "embed" in sys.argv else ""
        return f"{text}{fewer}.{_notes(error, text)}", BAD_INPUT
    if reason := outputs.full_disk(error):
        return f"a disk {reason} ({text}): free some space.{_notes(error, text)}", BAD_INPUT
    if isinstance(error, OF_INPUT) or (isinstance(error, LookupError) and " " in text):
        return text + _notes(error, text), BAD_INPUT
    command = shlex.join(["zeroshot", "--debug", *sys.argv[1:]])
    return (
        f"{type(error).__name__}: {text}{_notes(error, text)}; this is likely a bug, or damaged input that "
        f"is not recognised: `{command}` shows the traceback for a report",
        UNEXPECTED,
    )


def _text(error: BaseException) -> str:
    """Message of an error as one that can be printed, without what Python puts around it."""
    text = str(error)
    if isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str):
        text = error.args[0]
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return printable(text.strip() or type(error).__name__)


def printable(text: str) -> str:
    """Text for a terminal, which nothing in a file must steer: control characters as Python writes them."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _notes(error: BaseException, text: str) -> str:
    notes = [note for note in getattr(error, "__notes__", ()) if note not in text]
    return f" ({'; '.join(notes)})" if notes else ""


@contextlib.contextmanager
def about(what: object) -> Iterator[None]:
    """Note what was worked on, for errors of libraries that do not know it."""
    try:
        yield
    except Exception as error:
        error.add_note(str(what))
        raise


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of a GPU, did not suffice."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY)


@contextlib.contextmanager
def output_handed_over() -> Iterator[None]:
    """Hand over at the end what was printed; a reader that has gone away (``| head``) is no error."""
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()


def drop_output() -> None:
    """Let what is still to be printed go nowhere: Python would try again at its end, and complain."""
    with contextlib.suppress(OSError, ValueError):  # of a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
