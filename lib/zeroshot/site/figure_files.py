"""The files of a page's figures: taken out of its executed notebook, offered below each figure."""

import base64
import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from zeroshot import store
from zeroshot.runtime import templates

# What is taken out: MIME type to the suffix of the file, in the order of the links; and what a link says.
FORMATS = {"image/svg+xml": "svg", "text/csv": "csv"}
_TEXTS = {"png": "PNG", "svg": "SVG", "csv": "CSV of the data"}


def stage(notebook: Path, page: str, folder: Path) -> None:
    """Move vector forms and tables out of a staged notebook and put links to them below the figures.

    The notebook keeps every PNG, so that it can still be opened elsewhere. A figure without other forms,
    of a page executed before there were any, is left as it is.

    Parameters
    ----------
    notebook
        The staged copy of an executed notebook; it is written anew.
    page
        Its path in the book without suffix, for example "notebooks/02_cell_types".
    folder
        Where downloads are staged: the files go to ``<folder>/<page>/figure-<number>.<suffix>``.
    """
    content = json.loads(notebook.read_text())
    content["cells"] = [part for cell in content["cells"] for part in _figures_apart(cell)]
    number = 0
    for cell in content["cells"]:
        outputs = [output["data"] for output in cell.get("outputs", ()) if "data" in output]
        options = cell["metadata"].get("mystnb", {}).get("figure", {})
        if not any("image/png" in data for data in outputs):
            cell["metadata"].get("mystnb", {}).pop("figure", None)  # a caption of nothing
        for data in filter(_is_figure, outputs):
            number += 1
            line = _links(data, page, number, folder)
            caption = "\n\n".join(filter(None, [options.get("caption"), line]))
            cell["metadata"].setdefault("mystnb", {})["figure"] = options | {"caption": caption}
    notebook.write_text(json.dumps(content, ensure_ascii=False))


def _links(data: dict[str, Any], page: str, number: int, folder: Path) -> str:
    """Write the files of a figure, which leave its output; return the line that links to them."""
    png = base64.b64decode("".join(data["image/png"]))
    # The PNG lies where MyST-NB puts the image of the page: a copy would double the weight of the book.
    places = {"png": f"_images/{hashlib.sha256(png).hexdigest()}.png"}
    for mime, suffix in FORMATS.items():
        if mime in data:
            places[suffix] = f"downloads/{page}/figure-{number}.{suffix}"
            store.write_text(folder / page / f"figure-{number}.{suffix}", "".join(data.pop(mime)))
    up = "../" * (len(PurePosixPath(page).parts) - 1)
    name = "-".join([*PurePosixPath(page).parts[1:], f"figure-{number}"])
    files = [
        {"address": f"{up}{place}", "name": f"{name}.{suffix}", "text": _TEXTS[suffix]}
        for suffix, place in places.items()
    ]
    return templates.render("pages/figure_files.html", files=files)


def _figures_apart(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """A cell per figure, where one cell drew several: a caption, and so the links, are those of a cell."""
    outputs = cell.get("outputs", [])
    starts = [place for place, output in enumerate(outputs) if _is_figure(output.get("data", {}))]
    if len(starts) < 2:
        return [cell]
    parts = [cell | {"outputs": outputs[: starts[1]]}]
    for place, end in zip(starts[1:], [*starts[2:], len(outputs)], strict=True):
        part = json.loads(json.dumps(cell | {"outputs": outputs[place:end]}))
        part["metadata"]["tags"] = [*part["metadata"].get("tags", []), "remove-input"]
        part |= {"id": f"{cell['id']}-{len(parts) + 1}", "source": "# Drawn by the cell above."}
        parts.append(part)
    return parts


def _is_figure(data: dict[str, Any]) -> bool:
    return "image/png" in data and not FORMATS.keys().isdisjoint(data)
