"""Executed notebooks as they are given to others: one parameters cell, no paths of the machine."""

import json
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from zeroshot.runtime import paths

from .parameters import with_values


def clean(executed: Path, values: Iterable[Any] = ()) -> None:
    """Rewrite an executed notebook as one that can be given to others.

    The parameters cell holds the values that ran, and the cell that papermill added for them is gone: a
    reader sees no default that was not used, and the notebook can be executed again as any other.
    papermill's bookkeeping is dropped, which holds paths. In outputs, paths below the project are relative
    to it, and those below other folders of this machine begin with a word for the folder.

    Parameters
    ----------
    executed
        The notebook; it is overwritten.
    values
        Of its parameters: paths among them are what the page is about, and stay.
    """
    content = json.loads(executed.read_text())
    content["metadata"].pop("papermill", None)
    content["cells"] = _with_one_parameters_cell(content["cells"])
    relative = relative_paths(value for value in values if isinstance(value, str))
    for cell in content["cells"]:
        cell["metadata"].pop("papermill", None)
        for output in cell.get("outputs", ()):
            for field in ("text", "data", "traceback", "evalue"):
                if field in output:
                    output[field] = _in_texts(output[field], relative)
    executed.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _with_one_parameters_cell(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tagged = {tag: cell for cell in cells for tag in cell["metadata"].get("tags", ())}
    if not {"parameters", "injected-parameters"} <= set(tagged):
        return cells
    own, injected = tagged["parameters"], tagged["injected-parameters"]
    try:
        source = with_values("".join(own["source"]), "".join(injected["source"]))
    except ValueError:  # of another's notebook, whose cell computes: both are needed to say what ran
        return cells
    merged = own | {
        "source": source.splitlines(keepends=True),
        "execution_count": injected["execution_count"],
    }
    return [merged if cell is own else cell for cell in cells if cell is not injected]


def relative_paths(exceptions: Iterable[str] = ()) -> Callable[[str], str]:
    """A function that takes the paths of this machine out of a text, with exceptions."""
    names = _folders()
    # The longest first: the environment may be below the project, the project below the home folder.
    folders = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    texts = sorted((text for text in exceptions if os.sep in text), key=len, reverse=True)
    untouched = "|".join(map(re.escape, texts))
    kernel = re.escape(tempfile.gettempdir()) + r"/ipykernel_\d+/\d+\.py"
    pattern = re.compile(
        rf"(?P<untouched>{untouched or '(?!)'})|(?P<cell>{kernel})"
        rf"|(?<![\w./~-])(?P<folder>{folders})(?![\w.-])(?P<slash>/?)"
    )

    def replacement(match: re.Match) -> str:
        if match["untouched"] is not None:
            return match["untouched"]
        if match["cell"] is not None:
            return "a cell of this notebook"
        name = names[match["folder"]]
        return f"{name}{match['slash']}" if name else ("" if match["slash"] else ".")

    return lambda text: pattern.sub(replacement, text)


def _folders() -> dict[str, str]:
    """Folders of this machine, each with what stands for it in a page."""
    by_name = {
        "~": [Path.home()],
        "PYTHON": [sys.base_prefix, sys.prefix],
        "site-packages": [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")],
        "TMPDIR": [tempfile.gettempdir()],
        "ZEROSHOT_DATA": paths.local_sources(),
        "ZEROSHOT_WEIGHTS": [paths.local_weights()],
        "": [paths.PACKAGE.parents[1], Path.cwd(), paths.home()],
    }
    folders = {}
    for name, places in by_name.items():
        for place in places:
            for path in () if place is None else (Path(place), Path(place).resolve()):
                if len(path.parts) > 1:  # the root is above everything
                    folders[str(path)] = name
    return folders


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Change every text in a part of an output; pictures have none."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_in_texts(part, change) for part in value]
    if isinstance(value, dict):
        pictures = ("image/png", "image/jpeg", "image/gif", "application/pdf")
        return {key: part if key in pictures else _in_texts(part, change) for key, part in value.items()}
    return value
