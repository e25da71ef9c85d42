"""Keys that an entry may cite: papers of the reading list, and works of ``book/references.bib``.

Names alone are looked for in the text of these files, which costs nothing at the start of a command. What a
citation needs besides, the bibliography checks (``zeroshot.book.citations``).
"""

import re
from functools import lru_cache
from pathlib import Path

from zeroshot import paths

_PAPER = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)
_WORK = re.compile(r"^@\w+\{([^,\s]+),", re.MULTILINE)


def keys() -> frozenset[str] | None:
    """All keys that can be cited, preprints of papers among them; None where these files are not here."""
    home = paths.home()
    files = (home / "data" / "literature" / "reading_list.yml", home / "book" / "references.bib")
    if not all(file.is_file() for file in files):
        return None
    return _keys(*files, *(file.stat().st_mtime_ns for file in files))


@lru_cache(maxsize=4)
def _keys(papers: Path, works: Path, *_modified: int) -> frozenset[str]:
    names = _PAPER.findall(papers.read_text(encoding="utf-8", errors="replace"))
    others = _WORK.findall(works.read_text(encoding="utf-8", errors="replace"))
    return frozenset([*names, *(f"{name}-preprint" for name in names), *others])
