"""How far a command is: a live line in a terminal, and in a log a line every half minute."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console
from rich.markup import escape

from zeroshot.runtime import streams

SECONDS_BETWEEN_LINES = 30.0


@contextlib.contextmanager
def status(
    title: str, console: Console, seconds: float = SECONDS_BETWEEN_LINES
) -> Iterator[Callable[[str], None]]:
    """Show what is done while the block runs; what it yields is called with the present step.

    Parameters
    ----------
    title
        What the block does.
    console
        Where it is shown.
    seconds
        If that is no terminal, a line with the title, the step and the time so far is printed that often: a
        log shows life and stays short.
    """
    if console.is_terminal:
        with console.status(escape(title)) as live:
            yield lambda step: live.update(escape(f"{title}: {step}"))
        return
    steps, end, start = [""], threading.Event(), time.monotonic()

    def print_lines() -> None:
        while not end.wait(seconds):
            minutes, rest = divmod(round(time.monotonic() - start), 60)
            step = f": {steps[-1]}" if steps[-1] else ""
            console.print(f"[{minutes:2d}:{rest:02d}] {title}{step}", markup=False, highlight=False,
                          soft_wrap=True)  # fmt: skip

    printer = threading.Thread(target=print_lines, daemon=True)
    printer.start()
    try:
        yield steps.append
    finally:
        end.set()
        printer.join()


@contextlib.contextmanager
def bars_as_lines() -> Iterator[None]:
    """Let progress bars be lines of a log where stderr is no terminal; to be entered before tqdm is loaded.

    A bar is first written after :data:`SECONDS_BETWEEN_LINES`, and then as often, also by child processes.
    """
    if sys.stderr is None or sys.stderr.isatty():
        yield
        return
    settings = [f"TQDM_{setting}" for setting in ("DELAY", "MININTERVAL", "MAXINTERVAL")]
    absent = {name: str(SECONDS_BETWEEN_LINES) for name in settings if name not in os.environ}
    os.environ.update(absent)
    try:
        with contextlib.redirect_stderr(_Lines(sys.stderr)):
            yield
    finally:
        for name in absent:
            os.environ.pop(name, None)


class _Lines:
    """A stream in which what would be written over begins a line of its own.

    A log that takes no more, because its disk is full or its reader has gone, ends no computation.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, carriage returns as ends of lines."""
        try:
            return self._stream.write(text.replace("\r", "\n"))
        except OSError:
            streams.drop(self._stream)
            return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            self._stream.flush()
        except OSError:
            streams.drop(self._stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
