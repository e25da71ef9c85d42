"""Where an executed notebook may be written: nowhere that something else is lost."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zeroshot.runtime import outputs, paths

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
    templates = paths.notebooks()
    if templates.resolve() in output.resolve().parents:
        raise NotebookError(
            f"the output {output} is among the notebooks to execute, in {templates}: choose another folder"
        )
    files = [value for value in values if isinstance(value, str)]
    try:
        outputs.require_new(output, notebook, *templates.rglob("*.ipynb"), *files)
        outputs.require_new(_failed(output, 2))  # the longest name that may be needed
    except outputs.OutputError as error:
        raise NotebookError(str(error)) from None
    if output.suffix != ".ipynb":
        raise NotebookError(f"the output {output} is an executed notebook: its name must end in .ipynb")


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


def keep_failed(executed: Path, output: Path) -> str:
    """Move a notebook with a failed cell beside its output, ``<name>.failed.ipynb``, and say so.

    Replaces an earlier copy of that kind. A file of the user's that has the name stays; the copy then
    gets a number. Where the disk takes none, this is said, and why the cell failed is not lost.
    """
    try:
        content = json.loads(executed.read_text())
        content["metadata"][_FAILED] = True
        executed.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        number = 1
        while _failed(output, number).exists() and not is_failed_copy(_failed(output, number)):
            number += 1
        copy = executed.replace(_failed(output, number))
    except OSError as error:
        return f"The cells up to there could not be kept beside {output}: {error.strerror}"
    return f"The cells up to there are in {copy}"


def is_failed_copy(path: Path) -> bool:
    """Whether a file is what :func:`keep_failed` writes."""
    try:
        return json.loads(path.read_text())["metadata"][_FAILED] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _failed(output: Path, number: int) -> Path:
    return output.with_suffix(".failed.ipynb" if number == 1 else f".failed-{number}.ipynb")
