"""Errors in one line: what is told of them, and the exit code."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from zeroshot.data import DataError
from zeroshot.runtime import failures
from zeroshot.store import NotStoredError


def test_bad_input_ends_with_2_and_the_unexpected_with_3(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zeroshot", "embed", "my cells.h5ad"])
    expected = (
        DataError("x is empty"), OSError(2, "No such file", "x"), UnicodeError("bad"),
        zipfile.BadZipFile("not a zip"), RecursionError("too deep"), NotStoredError("nothing is stored"),
        EOFError("Ran out of input"), KeyError("artifact a holds no 'b'"), json.JSONDecodeError("x", "y", 0),
    )  # fmt: skip
    for error in expected:
        text, code = failures.explain(error)
        assert code == 2 and not text.startswith(("'", "[")) and "bug" not in text
    for error in (TypeError("no"), AttributeError("no"), KeyError("x"), IndexError("x"), AssertionError()):
        text, code = failures.explain(error)
        assert code == 3 and text.startswith(type(error).__name__) and "\n" not in text
        assert "likely a bug" in text and "`zeroshot --debug embed 'my cells.h5ad'`" in text


def test_too_little_memory_says_what_needs_less(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zeroshot", "embed"])
    with pytest.raises(MemoryError) as raised:
        np.empty(2**50)
    for error in (raised.value, MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")):
        text, code = failures.explain(error)
        assert (
            code == 2 and "not enough memory" in text and "fewer cells" in text and "--chunk-tokens" in text
        )


def test_a_full_disk_is_named_as_such():
    message = "No space left on device"
    for error in (OSError(28, message, "x"), RuntimeError(f"Can't write data (errno = 28, '{message}')")):
        text, code = failures.explain(error)
        assert code == 2 and text.startswith("a disk is full")


def test_what_was_worked_on_is_told_once():
    for message in ("array must not contain NaN", "a.h5ad is empty"):
        with pytest.raises(ValueError, match=message) as raised, failures.about("a.h5ad"):
            raise ValueError(message)
        assert failures.explain(raised.value)[0].count("a.h5ad") == 1


def test_messages_do_not_steer_the_terminal():
    text, _ = failures.explain(DataError("no column 'a\x1b[31mb\r\udcff'"))
    assert text == r"no column 'a\x1b[31mb\r\udcff'"


def test_closed_streams_lead_nowhere_and_not_into_a_file(tmp_path):
    source = (
        "import os, sys; from zeroshot.runtime import streams; streams.open_closed()\n"
        "file = open('out', 'w'); print('a'); print('b', file=sys.stderr); os.write(1, b'c')\n"
        "file.write(str(file.fileno() > 2))"
    )
    command = f'exec {sys.executable} -c "{source}" <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "out").read_text() == "True"


def test_another_locale_changes_neither_files_nor_arguments():
    source = (
        "import sys; from zeroshot.runtime import streams; streams.use_utf8()\n"
        "print(open(0).read(), sys.argv[1])"
    )
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for options in ([], ["-E"]):  # the latter reads no variable: it must not start itself for ever
        shown = subprocess.run(
            [sys.executable, *options, "-c", source, "ü"], input="é".encode(), env=os.environ | locale,
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert options or shown.stdout.decode() == "é ü\n"
