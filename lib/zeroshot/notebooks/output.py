"""Where an executed notebook may be written: nowhere that something else is lost."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zeroshot import paths

from .error import NotebookError

_FAILED = "zeroshot_failed"  # in the metadata of a notebook


def require_new(notebook: Path, output: Path, values: Iterable[Any] = ()) -> None:
    """Refuse an output that is an input, or that cannot be written.

    Parameters
    ----------
    notebook
        The notebook to be executed.
    output
        Where the executed copy would go.
    values
        Values of parameters; those that are paths of files are inputs too.

    Raises
    ------
    NotebookError
        Before anything is executed or written.
    """
    try:
        _require_new(notebook, output, values)
    except OSError as error:
        raise NotebookError(f"the output {output} cannot be written: {error.strerror}") from error


def _require_new(notebook: Path, output: Path, values: Iterable[Any]) -> None:
    folder = Path(os.path.realpath(output.parent))
    if not folder.is_dir():
        raise NotebookError(
            f"the folder {folder} of the output {output.name} does not exist: create it first"
        )
    if output.is_dir():
        raise NotebookError(
            f"the output {output} is a directory: name a file in it, such as {output}/out.ipynb"
        )
    if output.suffix != ".ipynb":
        raise NotebookError(f"the output {output} is an executed notebook: its name must end in .ipynb")
    _failed(output, 2).exists()  # an OSError if the longest name that may be needed is too long
    if output.exists() and not output.is_file():
        raise NotebookError(f"the output {output} is not a regular file: choose another one")
    templates = paths.notebooks()
    if templates.resolve() in (folder, *folder.parents):
        raise NotebookError(
            f"the output {output} is among the notebooks to execute, in {templates}: choose another folder"
        )
    for file in (
        notebook,
        *templates.rglob("*.ipynb"),
        *(value for value in values if isinstance(value, str)),
    ):
        if _same(file, output):
            raise NotebookError(
                f"the output {output} is the input {file}: choose another output, inputs are never changed"
            )


def temporary_folder(output: Path) -> tempfile.TemporaryDirectory:
    """A folder beside the output, so that the executed notebook can be moved to its place.

    Raises
    ------
    NotebookError
        If nothing can be written there.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=".notebook-", dir=output.parent)
    except OSError as error:
        raise NotebookError(
            f"nothing can be written to {output.parent.resolve()} ({error.strerror}): choose another output"
        ) from error


def keep_failed(executed: Path, output: Path) -> Path:
    """Move a notebook with a failed cell beside its output: ``<name>.failed.ipynb``.

    Replaces an earlier copy of that kind. A file of the user's that has the name stays; the copy then
    gets a number.
    """
    content = json.loads(executed.read_text())
    content["metadata"][_FAILED] = True
    executed.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    number = 1
    while _failed(output, number).exists() and not is_failed_copy(_failed(output, number)):
        number += 1
    return executed.replace(_failed(output, number))


def is_failed_copy(path: Path) -> bool:
    """Whether a file is what :func:`keep_failed` writes."""
    try:
        return json.loads(path.read_text())["metadata"][_FAILED] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _failed(output: Path, number: int) -> Path:
    return output.with_suffix(".failed.ipynb" if number == 1 else f".failed-{number}.ipynb")


def _same(first: Path | str, second: Path) -> bool:
    """Also through symbolic and hard links."""
    try:
        return Path(first).expanduser().samefile(second)
    except (OSError, ValueError, RuntimeError):  # one does not exist, or is no path at all
        return False
