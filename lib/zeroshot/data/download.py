"""Source files of a data set: found locally by name and hash, or downloaded and checked.

:func:`fetch_file` gets any one file the same way; weights are fetched with it too.

A file is used only when its hash is the one in the registry. Where the registry knows none (sets
marked ``verified: false``), the hash seen first is written beside the file and holds ever after.
"""

import fcntl
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zeroshot import paths
from zeroshot.catalog import DatasetCard, SourceFile
from zeroshot.data.validate import DataError
from zeroshot.store import write_text

ATTEMPTS = 4
WAIT_SECONDS = 2.0  # before the second attempt, doubled before each further one
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 2**16  # what a cut connection costs at most

Hash = tuple[str, str]  # algorithm and hexadecimal digest


def fetch(card: DatasetCard) -> dict[str, Path]:
    """Paths of all source files of a data set by file name, downloading what is not there.

    The folder named by ``ZEROSHOT_DATA`` comes first, then ``data/downloads/<data set>``, then the
    network. Several processes may fetch the same file at once: one downloads, the others wait.

    Raises
    ------
    DataError
        If a file cannot be had, or is not the one the registry describes.
    """
    folder = paths.downloads() / card.name
    return {
        file.name: _local(file)
        or fetch_file(
            file,
            folder / file.name,
            f"put {file.name} into a folder and name that folder in ZEROSHOT_DATA",
        )
        for file in card.files
    }


def _local(file: SourceFile) -> Path | None:
    """The file in ``ZEROSHOT_DATA``, or None; one of that name with other content is passed over, aloud."""
    folder = paths.local_sources()
    if folder is None:
        return None
    if not folder.is_dir():
        raise DataError(f"ZEROSHOT_DATA names {folder}, which is no folder. Correct it or unset it.")
    expected = _registered_hash(file)
    for path in sorted(folder.rglob(file.name)):
        if not path.is_file():
            continue
        if expected is None:
            warnings.warn(
                f"{path} is used unchecked: the registry knows no hash of it (sha256 here: {_digest(path)}).",
                stacklevel=2,
            )
            return path
        seen = _digest(path, expected[0])
        if seen == expected[1]:
            return path
        warnings.warn(
            f"{path} is not used: its {expected[0]} is {seen}, the registry says {expected[1]}.", stacklevel=2
        )
    return None


def fetch_file(file: SourceFile, target: Path, otherwise: str) -> Path:
    """One file at its place, fetched if it is absent or damaged, resuming what an earlier call left.

    Parameters
    ----------
    file
        Address, and what the file is recognised by.
    target
        Where it shall be; the partial file and a lock file stand beside it.
    otherwise
        What a reader can do who cannot download it, for the error: "put it into …".

    Raises
    ------
    DataError
        If it cannot be had, or what arrives is not the file that was described.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with lock(target.with_name(f".{target.name}.lock")):
        expected = _registered_hash(file) or _first_seen(target)
        if target.is_file():
            if expected and _digest(target, expected[0]) == expected[1]:
                return target
            warnings.warn(f"{target} is damaged and is downloaded again.", stacklevel=2)
            target.unlink()
        _download(file, target, expected, otherwise)
    return target


def _download(file: SourceFile, target: Path, expected: Hash | None, otherwise: str) -> None:
    """Download to ``<name>.part``, resuming what an earlier call left, and rename once it is right."""
    import requests

    part = target.with_name(f"{target.name}.part")
    if expected is None:
        warnings.warn(
            f"{file.name} comes unchecked from {file.url}: the registry knows no hash of it. "
            "The hash of what arrives is recorded and checked from now on.",
            stacklevel=2,
        )
        part.unlink(missing_ok=True)  # only a hash can tell that two halves belong together
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT_SECONDS * 2 ** (attempt - 1))
        resumed = part.is_file() and part.stat().st_size > 0
        try:
            if not (resumed and expected and _digest(part, expected[0]) == expected[1]):
                _transfer(file, part)
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", None)
            problem = f"the server answered {status}" if status else reason(error)
            if status == 416 or expected is None:
                part.unlink(missing_ok=True)
            elif status and 400 <= status < 500 and status not in (408, 429):
                break  # the address is wrong or forbidden: asking again does not help
            continue
        size = part.stat().st_size
        if file.size is not None and size < file.size:
            problem = f"the transfer ended after {size:,} of {file.size:,} bytes"
            continue
        seen = _digest(part, expected[0] if expected else "sha256")
        if expected is None:
            write_text(_sidecar(target), f"{seen}  {target.name}\n")
        elif seen != expected[1]:
            part.unlink()
            if resumed:
                problem = "an interrupted download could not be completed"
                continue
            raise DataError(
                f"{file.url} is not the file the registry describes: its {expected[0]} is {seen}, expected "
                f"{expected[1]}. It was removed. Try again; if it stays so, the source has changed."
            )
        part.replace(target)
        return
    raise DataError(
        f"could not download {file.url}: {problem}. Check the network and try again, or {otherwise}."
    )


def _transfer(file: SourceFile, part: Path) -> None:
    """One request, continuing a partial file if the server agrees to."""
    from pooch import HTTPDownloader
    from tqdm import tqdm

    check_scheme(file.url)
    # pooch asks for the truth of the bar, which tqdm has only with a total; it sets the real one itself.
    bar = tqdm(desc=file.name, unit="B", unit_scale=True, total=file.size or 1)
    with part.open("ab") as handle, bar as progress:
        # Compressed in transit, byte ranges would count other bytes than those on disk.
        headers = {"Accept-Encoding": "identity"}
        if handle.tell():
            headers["Range"] = f"bytes={handle.tell()}-"

        def inspect(response: Any, **_: Any) -> None:
            check_scheme(response.url)
            if response.status_code == 200:  # the whole file, whatever was asked for
                handle.truncate(0)

        download = HTTPDownloader(
            progressbar=progress,
            chunk_size=CHUNK_BYTES,
            timeout=TIMEOUT_SECONDS,
            headers=headers,
            hooks={"response": inspect},
        )
        download(file.url, handle, None)


def check_scheme(url: str) -> None:
    """Raise DataError for an address that is neither https nor on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        raise DataError(f"{url} is not fetched: only https is (and http from 127.0.0.1, for tests).")


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Exclusive between processes; the system frees it when its holder dies, however it dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _registered_hash(file: SourceFile) -> Hash | None:
    if file.sha256:
        return "sha256", file.sha256
    return ("md5", file.md5) if file.md5 else None


def _sidecar(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _first_seen(target: Path) -> Hash | None:
    sidecar = _sidecar(target)
    return ("sha256", sidecar.read_text().split()[0]) if sidecar.is_file() else None


def _digest(path: Path, algorithm: str = "sha256") -> str:
    from pooch import file_hash

    return file_hash(str(path), alg=algorithm)


def reason(error: Exception) -> str:
    """The innermost cause in a few words; requests and urllib3 wrap it several times over."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"
