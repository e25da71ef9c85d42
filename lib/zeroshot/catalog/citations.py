"""Keys that an entry may cite: papers of the reading list, and works of ``book/references.bib``.

Names alone are looked for in the text of these files: that is quick at the start of a command, and the
registries do not depend on the reading list, which depends on them. What else a citation needs is checked by
the bibliography (``zeroshot.site.citations``).
"""

import re
from functools import lru_cache
from pathlib import Path

from zeroshot.runtime import paths

_PAPER = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)
_WORK = re.compile(r"^@\w+\{([^,\s]+),", re.MULTILINE)


def keys() -> frozenset[str] | None:
    """All keys that can be cited, preprints of papers among them; None where these files are not here."""
    home = paths.home()
    files = (home / "data" / "literature" / "reading_list.yml", home / "book" / "references.bib")
    if not all(file.is_file() for file in files):
        return None
    return _keys(*files, *(file.stat().st_mtime_ns for file in files))


def keys_of_works(bibtex: str) -> list[str]:
    """Keys of the entries of a BibTeX file, in its order."""
    return _WORK.findall(bibtex)


@lru_cache(maxsize=4)
def _keys(papers: Path, works: Path, *_modified: int) -> frozenset[str]:
    names = _PAPER.findall(papers.read_text(encoding="utf-8", errors="replace"))
    others = keys_of_works(works.read_text(encoding="utf-8", errors="replace"))
    return frozenset([*names, *(f"{name}-preprint" for name in names), *others])
