"""A book without some of its chapters: what its other pages glue from them, link to them or list of them.

A study need not have every chapter of the table of contents, and a build from committed scores has only those
that need no cells.
"""

import json
import posixpath
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from zeroshot import store
from zeroshot.runtime import paths

# A link of Markdown: it names a page by its path from its own.
_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s#]+)\.ipynb(?:#[^)\s]*)?(?=\))")
# A number of another page.
_GLUE = re.compile(r"\{glue:\w+\}`(?P<target>[^`:]+)\.ipynb::[^`]*`")
# A figure from a file beside its page.
_FIGURE = re.compile(r"^(?P<fence>`{3,}|:{3,})\{figure\} (?P<file>\S+)\n.*?^(?P=fence)\n", re.M | re.S)
# A comment of MyST above a paragraph that makes no sense without some pages, named with spaces between them.
_WITH = re.compile(r"^% with (?P<pages>.+)$", re.M)
_ITEM = re.compile(r"^\s*(?:\d+\.|[-*]) ")
_ONLY_A_LINK = re.compile(r"^\s*(?:\d+\.|[-*]) \[[^\]]*\]\((?P<target>[^)\s#]+)\.ipynb(?:#[^)\s]*)?\)\s*$")
NOTHING = "–"


def chapters_of_contents() -> list[str]:
    """Paths without suffix of the chapters that the table of contents lists: "notebooks/01_data", …."""
    files = _files(yaml.safe_load((paths.home() / "_toc.yml").read_text()))
    return [file for file in files if file.startswith("notebooks/")]


def leave_out(site: Path, absent: Collection[str]) -> None:
    """Make a site whole without some of its pages, given by their paths without suffix."""
    toc = yaml.safe_load((site / "_toc.yml").read_text())
    store.write_text(site / "_toc.yml", yaml.safe_dump(contents_without(toc, absent, site), sort_keys=False))
    for file in sorted((site / "book").rglob("*.md")):
        text = without_figures(file.read_text(), file.parent)
        store.write_text(file, without(text, file.relative_to(site).as_posix(), absent))
    for file in sorted(site.glob("notebooks/*.ipynb")):
        content = json.loads(file.read_text())
        for cell in content["cells"]:
            if cell["cell_type"] == "markdown":
                text = "".join(cell["source"])
                cell["source"] = without(text, file.relative_to(site).as_posix(), absent)
        file.write_text(json.dumps(content, ensure_ascii=False))


def contents_without(entry: Any, absent: Collection[str], site: Path) -> Any:
    """A part of the table of contents without absent pages, patterns that match none, and empty lists."""
    if isinstance(entry, list):
        rest = [
            part
            for part in entry
            if part.get("file") not in absent
            and not ("glob" in part and not any(site.glob(part["glob"] + ".*")))
        ]
        return [contents_without(part, absent, site) for part in rest]
    if isinstance(entry, dict):
        inner = {key: contents_without(value, absent, site) for key, value in entry.items()}
        return {key: value for key, value in inner.items() if value != []}
    return entry


def without(text: str, page: str, absent: Collection[str]) -> str:
    """A page's text without what it glues from absent pages; links to them lead to the status page.

    Left out are a paragraph or an item of a list that glues from an absent page, an item that is nothing
    but a link to one, and a paragraph below a comment ``% with PAGE …`` that names one. A cell of a table
    becomes "–", a row whose cells all did is left out, and so is a table without rows.
    """

    def is_absent(target: str) -> bool:
        return posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) in absent

    blocks = [_block(block, is_absent, absent) for block in re.split(r"(\n{2,})", text)]
    status = posixpath.relpath("book/status", posixpath.dirname(page))
    return _LINK.sub(
        lambda m: f"{m['before']}{status}.md#left-out" if is_absent(m["target"]) else m[0], "".join(blocks)
    )


def without_figures(text: str, folder: Path) -> str:
    """A page's text without figures whose files are not in its folder."""
    return _FIGURE.sub(lambda m: m[0] if "://" in m["file"] or (folder / m["file"]).is_file() else "", text)


def _block(block: str, is_absent: Any, absent: Collection[str]) -> str:
    """One paragraph, list or table without what an absent page held; empty if nothing is left."""
    condition = _WITH.search(block)
    if condition and not absent.isdisjoint(condition["pages"].split()):
        return ""

    def glues(part: str) -> bool:
        return any(is_absent(number["target"]) for number in _GLUE.finditer(part))

    if not glues(block) and not any(map(_ONLY_A_LINK.match, block.split("\n"))):
        return block
    lines = block.split("\n")
    if all(line.startswith("|") for line in lines if line):
        rows = [_row(line, glues) for line in lines]
        rows = [row for row in rows if row is not None]
        return "\n".join(rows) if len([row for row in rows if row]) > 2 else ""  # names and rule alone
    if not any(map(_ITEM.match, lines)):
        return "" if glues(block) else block
    rest: list[str] = []
    dropping = False
    for line in lines:
        if _ITEM.match(line):
            link = _ONLY_A_LINK.match(line)
            dropping = glues(_item(lines, line)) or (link is not None and is_absent(link["target"]))
        elif not line.startswith(" "):
            dropping = False
        if not dropping:
            rest.append(line)
    return "\n".join(rest)


def _item(lines: list[str], first: str) -> str:
    """The lines of an item of a list, which goes on where lines are indented."""
    start = lines.index(first)
    end = start + 1
    while end < len(lines) and lines[end].startswith(" ") and not _ITEM.match(lines[end]):
        end += 1
    return "\n".join(lines[start:end])


def _row(line: str, glues: Any) -> str | None:
    """A row of a table with "–" for cells that cannot be; None if they all are."""
    if not glues(line):
        return line
    head, *cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    cells = [NOTHING if glues(cell) else cell for cell in cells]
    if all(cell == NOTHING for cell in cells):
        return None
    return f"| {' | '.join([NOTHING if glues(head) else head, *cells])} |"


def _files(entry: Any) -> list[str]:
    """Every ``file`` of a part of the table of contents."""
    if isinstance(entry, list):
        return [file for part in entry for file in _files(part)]
    if isinstance(entry, dict):
        own = [entry["file"]] if "file" in entry else []
        return own + [file for value in entry.values() for file in _files(value)]
    return []
