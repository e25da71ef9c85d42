"""sha256 of files, computed once a process."""

from functools import lru_cache
from pathlib import Path


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file; a file of the same size and time is not read again."""
    stat = path.stat()
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256(path: Path, _size: int, _modified: int) -> str:
    from pooch import file_hash

    return file_hash(str(path), alg="sha256")
