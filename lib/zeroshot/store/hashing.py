"""Hashes of files: the one place that decides when a file has to be read again."""

import hashlib
import time
from functools import lru_cache
from pathlib import Path

# Clocks of file systems are coarse: a file changed again within this time may keep its time stamps.
_UNSETTLED_NS = 100_000_000


def digest(path: Path, algorithm: str) -> str:
    """Hexadecimal hash of a file by an algorithm that ``hashlib`` knows; "git" is the name git gives it."""
    if algorithm == "sha256":
        return sha256(path)
    with path.open("rb") as file:
        if algorithm != "git":
            return hashlib.file_digest(file, algorithm).hexdigest()
        start = b"blob %d\0" % path.stat().st_size
        return hashlib.file_digest(file, lambda: hashlib.sha1(start, usedforsecurity=False)).hexdigest()


def short_sha256(path: Path) -> str:
    """First 20 digits of a file's sha256: enough to tell that it has changed."""
    return sha256(path)[:20]


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file, computed once a process.

    A file is read again when its size, times or inode differ, or when it changed less than 0.1 s ago.
    """
    stat = path.stat()
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < _UNSETTLED_NS:
        return _read(path)
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@lru_cache(maxsize=4096)
def _sha256(path: Path, *_identity: int) -> str:
    return _read(path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
