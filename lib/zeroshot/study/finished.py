"""Finished files of a study, remembered by their content, so that damaged ones are made again."""

import json
import os
import shutil
import sys
from pathlib import Path

from zeroshot import results, store
from zeroshot.notebooks import stamp
from zeroshot.store import hashing


def remember(folder: Path) -> None:
    """Write down the content hashes of what a study has finished in its folder."""
    if folder.is_dir():
        files = [file for file in _files(folder) if file.is_file()]
        hashes = {_name(folder, file): hashing.short_sha256(file) for file in files}
        store.write_text(_record(folder), json.dumps(hashes, indent=1, sort_keys=True) + "\n")


class DamagedError(ValueError):
    """A table of a study is not the one that was finished."""


def require_whole(folder: Path) -> None:
    """Refuse a study one of whose tables is not what was finished: its numbers come from nowhere.

    Raises
    ------
    DamagedError
        If one is not.
    """
    expected = {file: digest for file, digest in _expected(folder).items() if file.parent == folder}
    if tables := _damaged(expected):
        raise DamagedError(
            f"{', '.join(map(str, tables))}: not as written by the run of the study, but damaged or edited. "
            f"Run it again, `zeroshot run {folder.name}`: it makes the file again."
        )
    if not all(expected.values()):
        raise DamagedError(
            f"{_record(folder)} does not list the tables of the study: expected one with the hash of each, "
            f"as its run writes it. {_remedy(folder)}"
        )


def remove_damaged(folder: Path) -> None:
    """Delete executed pages and tables of a study that are not what was finished; a run makes them again.

    A page is damaged if it cannot be read to its stamp, and any file whose content is not the one that
    :func:`remember` has seen. What notebooks that were killed had not finished is deleted too. Nobody else
    writes there during a run. Files that a killed run has finished stay, with a message: they are not listed.

    Raises
    ------
    DamagedError
        If a directory stands in the place of a file.
    """
    for unfinished in (folder / "executed").glob("**/.*"):
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
    expected = _expected(folder)
    for file in _damaged(expected):
        if file.is_dir() and not file.is_symlink():
            raise DamagedError(
                f"{file} is a directory, expected a file of the study. Delete it or move it away, and run "
                "the same command again."
            )
        print(f"{file} is not as it was written: it is made again", file=sys.stderr)
        file.unlink()
        del expected[file]
    if unlisted := [file for file, digest in expected.items() if not digest]:
        print(
            f"{_record(folder)} does not list {len(unlisted)} tables and pages, such as {unlisted[0]}: an "
            f"interrupted run made them, or the record was damaged. They are used as they are. "
            f"{_remedy(folder)}",
            file=sys.stderr,
        )


def _expected(folder: Path) -> dict[Path, str | None]:
    """What a study has in its folder, with the hash of what was finished; None where nobody remembers it."""
    hashes = _remembered(folder)
    return {file: hashes.get(_name(folder, file)) for file in _files(folder)}


def _damaged(expected: dict[Path, str | None]) -> list[Path]:
    """Pages that cannot be read, and files whose content is not that of the finished ones."""
    return [
        file
        for file, digest in expected.items()
        if not file.is_file() or (digest and digest != hashing.short_sha256(file)) or _is_cut_off(file)
    ]


def _remedy(folder: Path) -> str:
    return f"Delete {folder} to have `zeroshot run {folder.name}` make all of it again from what is stored."


def _files(folder: Path) -> list[Path]:
    directories = [folder, *sorted(folder.glob("runs/*/*"))]
    tables = [directory / f"{name}.csv" for directory in directories for name in results.TABLES]
    parts = ("ablations/**/*.csv", "trial/*/*.csv", "mappings/*/*/*.csv")
    tables += sorted(file for part in parts for file in folder.glob(part))
    pages = [page for page in sorted(folder.glob("executed/**/*.ipynb")) if ".failed" not in page.suffixes]
    return [file for file in [*tables, *pages] if os.path.lexists(file)]


def _record(folder: Path) -> Path:
    return folder / "finished.json"


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _remembered(folder: Path) -> dict[str, str]:
    record = _record(folder)
    try:
        hashes = json.loads(record.read_bytes()) if record.is_file() else {}
    except (OSError, ValueError, RecursionError):  # damaged itself
        return {}
    return hashes if isinstance(hashes, dict) else {}


def _is_cut_off(file: Path) -> bool:
    if file.suffix != ".ipynb":
        return False
    try:
        stamp.read(file)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return True
    return False
