"""One request for one file: what may be answered, how long, how much and how slowly.

The answer is written as it comes. Whether it is the right file is for the caller to check.
"""

import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

from zeroshot.catalog import address_problem
from zeroshot.data import content
from zeroshot.data.validate import DataError

if TYPE_CHECKING:
    from requests import Response

MOST_HOPS = 10
MOST_BYTES = 64 * 2**30  # of a file whose size nobody has registered; the largest of ours has 10 GiB
LEAST_BYTES, SLOW_SECONDS = 60_000, 60.0  # fewer bytes in that time, and the request is given up
LONGEST_WAIT_SECONDS = 30.0  # that a server may ask for
_LONGEST_REASON = 400  # characters of an error, in which a server's bytes may stand
_HERE = "127.0.0.1"
_REDIRECTS = (301, 302, 303, 307, 308)
_TEMPORARY = (408, 425, 429)  # and all from 500 on

Result = TypeVar("Result")


class TransferError(Exception):
    """A request that did not bring the file.

    Attributes
    ----------
    again
        Whether another attempt may help.
    restart
        Whether what has arrived so far is of no use.
    wait
        Seconds that the server asked to wait.
    """

    def __init__(
        self, reason: str, *, again: bool = False, restart: bool = False, wait: float | None = None
    ) -> None:
        super().__init__(reason)
        self.again, self.restart, self.wait = again, restart, wait


def request(
    url: str,
    part: Path,
    *,
    name: str,
    size: int | None,
    http_host: str | None,
    checked: bool,
    timeout: float,
    chunk: int,
) -> None:
    """Write what an address answers to a file, behind what an earlier request left in it.

    Parameters
    ----------
    url
        The address.
    part
        The file; of what is in it already only the rest is asked for.
    name
        What the file is called when it is complete: for the progress bar and for what it can be.
    size
        Its bytes, if they are known.
    http_host
        The one host that plain http is allowed to; by default none, or this machine if the address is on it.
    checked
        Whether its hash is known, so that an answer that does not say its length can be checked.
    timeout
        Seconds without any byte after which it is given up.
    chunk
        Bytes that are written at once, at most.

    Raises
    ------
    TransferError
        If the answer is not the file, or ends too early, or comes from an address that is not fetched.
    DataError
        If the disk cannot be written.
    """
    # A server elsewhere has no business with this machine: only an address on it may lead on to it.
    http_host = http_host or (_HERE if url.startswith(f"http://{_HERE}") else "")
    transfer = _Transfer(url, part, name, size, http_host, checked, timeout, chunk)
    try:
        watched(transfer.run, lambda: transfer.n_received)
    finally:
        transfer.abandon()


def watched(work: Callable[[], Result], n_received: Callable[[], int]) -> Result:
    """Result of a download, which is given up where it brings too little in a time.

    It runs in a thread of its own: a server that sends a byte now and then keeps any call waiting for ever.

    Parameters
    ----------
    work
        The download.
    n_received
        How many bytes it has brought so far.

    Raises
    ------
    TransferError
        If it brings too little, or more than the most; else what the download raises.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    before = 0
    while True:
        thread.join(SLOW_SECONDS)
        if not thread.is_alive():
            break
        received = n_received()
        if received - before < LEAST_BYTES:
            raise TransferError(
                f"only {received - before:,} bytes came in {SLOW_SECONDS:g} seconds, not {LEAST_BYTES:,}",
                again=True,
            )
        if received > MOST_BYTES:
            raise TransferError(f"{received:,} bytes have come, at most {MOST_BYTES:,} are fetched")
        before = received
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


@dataclass
class _Transfer:
    """A request, shared by the thread that makes it and the one that watches it."""

    url: str
    part: Path
    name: str
    size: int | None
    http_host: str
    checked: bool
    timeout: float
    chunk: int
    n_received: int = 0
    _abandoned: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def abandon(self) -> None:
        """Write nothing from now on: the file belongs to the next attempt."""
        with self._lock:
            self._abandoned = True

    def run(self) -> None:
        import requests

        try:
            with requests.Session() as session:
                # To prepare the next request, it would read the body of a redirect however long that is.
                session.get_redirect_target = lambda _: None
                self._receive(self._ask(session))
        except (TransferError, DataError):
            raise
        except Exception as error:  # of requests, of urllib3 and the library below them, of the system
            raise TransferError(reason(error), again=True) from None

    def _ask(self, session: Any) -> "Response":
        """The answer behind all redirects, each of which must lead to an address that may be fetched."""
        from requests.utils import requote_uri

        present = self.part.stat().st_size if self.part.is_file() else 0
        # Compressed in transit, byte ranges would count other bytes than those on disk.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={present}-"} if present else {})
        url = self.url
        for _ in range(MOST_HOPS + 1):
            if problem := address_problem(url, http_host=self.http_host):
                raise TransferError(f"it leads to {url[:300]!r}, which is not fetched: {problem}")
            response = session.get(
                url, headers=headers, stream=True, allow_redirects=False, timeout=self.timeout
            )
            if response.status_code not in _REDIRECTS:
                return response
            location = response.headers.get("Location")
            response.close()
            if not location:
                raise TransferError(f"the server answered {response.status_code} without an address to go to")
            try:
                # Spaces and letters of any language as requests sends them; headers come as Latin-1.
                location = location.encode("latin-1", "replace").decode("utf-8", "replace")
                url = urljoin(url, requote_uri(location))
            except ValueError as error:
                raise TransferError(f"it leads to {location[:300]!r}, which is no address: {error}") from None
        raise TransferError(f"the address leads on more than {MOST_HOPS} times")

    def _receive(self, response: "Response") -> None:
        """Check what the answer announces, and write it."""
        present = self.part.stat().st_size if self.part.is_file() else 0
        _check_status(response)
        said = "" if self.checked else response.headers.get("Content-Type", "")  # a hash says more
        if wrong := content.page_problem(said, self.name):
            raise TransferError(f"{wrong}, with status {response.status_code}")
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        own = encoding in ("gzip", "x-gzip") and self.name.lower().endswith((".gz", ".tgz"))  # the file's
        # "aws-chunked" stays on objects that some clients have uploaded; their content is as it is.
        if encoding not in ("", "identity", "aws-chunked") and not own:
            raise TransferError(f"the answer is compressed ({encoding}), although it was asked for as it is")
        sent_as = response.headers.get("Transfer-Encoding", "").strip().lower()
        if sent_as not in ("", "chunked"):  # the client takes nothing else apart
            raise TransferError(f"the answer is sent as {sent_as[:40]!r}, expected is chunked, or as it is")
        length = _announced_length(response)
        if response.status_code == 206:
            total = _total_of_range(response, present, length)
        else:
            present, total = 0, length
        if total is None and self.size is None and not sent_as and not self.checked:
            raise TransferError("the answer does not say how long it is, so that its end cannot be known")
        if total is not None and self.size is not None and total != self.size:
            raise TransferError(
                f"the server announces {total:,} bytes, {self.size:,} are expected",
                again=present > 0,
                restart=True,
            )
        expected = self.size if self.size is not None else total
        if expected == 0:
            raise TransferError("the server announces an empty file")
        self._check_room(expected, present)
        self._write(response, present, expected)

    def _check_room(self, expected: int | None, present: int) -> None:
        if expected is None:
            return
        if expected > MOST_BYTES:
            raise TransferError(
                f"the server announces {expected:,} bytes, at most {MOST_BYTES:,} are fetched"
            )
        free = shutil.disk_usage(self.part.parent).free
        if expected - present > free:
            raise DataError(
                f"{self.name} does not fit: {expected - present:,} bytes are to come from {self.url} and the "
                f"disk of {self.part.parent} has {free:,} free. Free some, and try again."
            )

    def _write(self, response: "Response", present: int, expected: int | None) -> None:
        from tqdm import tqdm

        limit = MOST_BYTES if expected is None else expected
        total = present
        try:
            handle = self.part.open("ab" if present else "wb")
        except OSError as error:
            raise _disk_error(self.part, self.name, error) from None
        with handle, tqdm(desc=self.name, unit="B", unit_scale=True, total=expected, initial=present) as bar:
            # What has come is handed on at once; the size of a piece is only its limit.
            while piece := response.raw.read1(self.chunk, decode_content=False):
                total += len(piece)
                if total > limit:
                    raise TransferError(
                        f"more than the {limit:,} bytes came that were expected", restart=True
                    )
                with self._lock:
                    if self._abandoned:
                        return
                    try:
                        handle.write(piece)
                        handle.flush()  # nothing is left to be written when another attempt has the file
                    except OSError as error:
                        raise _disk_error(self.part, self.name, error) from None
                self.n_received += len(piece)
                bar.update(len(piece))
        if total == 0:
            raise TransferError("the answer was empty")
        if expected is not None and total < expected:
            raise TransferError(f"the transfer ended after {total:,} of {expected:,} bytes", again=True)


def _check_status(response: "Response") -> None:
    status = response.status_code
    if status == 200 or (status == 206 and "Range" in response.request.headers):
        return
    if status == 416 or status == 206:
        raise TransferError(f"the server answered {status}", again=True, restart=True)
    wait = _asked_wait(response)
    again = status in _TEMPORARY or status >= 500
    if wait is not None and wait > LONGEST_WAIT_SECONDS:
        raise TransferError(f"the server answered {status} and asks to come again in {wait:,.0f} seconds")
    extra = " without the file, as it does to programs it takes for robots" if status == 202 else ""
    raise TransferError(f"the server answered {status}{extra}", again=again, wait=wait if again else None)


def _asked_wait(response: "Response") -> float | None:
    """Seconds of a ``Retry-After``, which may also be a date; None if there is none that can be read."""
    asked = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", asked, re.ASCII):
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _announced_length(response: "Response") -> int | None:
    """Bytes of the body by its header, None if there is none."""
    announced = response.headers.get("Content-Length")
    if announced is None:
        return None
    if not re.fullmatch(r"\d{1,18}", announced.strip(), re.ASCII):
        raise TransferError(f"the server announces a length of {announced[:40]!r}")
    return int(announced)


def _total_of_range(response: "Response", present: int, length: int | None) -> int | None:
    """Bytes of the whole file by the header of a part of it, which must go on where we are."""
    stated = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", stated.strip(), re.ASCII)
    if match:
        first, last = int(match[1]), int(match[2])
        total = last + 1 if match[3] == "*" else int(match[3])
        if first == present and first <= last < total and length in (None, last - first + 1):
            return total
    raise TransferError(
        f"the server sent the part {stated[:60]!r} where bytes from {present:,} on were asked for",
        again=True,
        restart=True,
    )


def _disk_error(path: Path, name: str, error: OSError) -> DataError:
    try:
        free = f" (free: {shutil.disk_usage(path.parent).free:,} bytes)"
    except OSError:
        free = ""
    return DataError(
        f"{name} cannot be written to {path.parent}{free}: {error.strerror}. "
        "Make room or correct the permissions there, and try again."
    )


def reason(error: BaseException) -> str:
    """The innermost cause in a few words; requests and urllib3 wrap it several times over."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return one_line(error)


def one_line(error: BaseException) -> str:
    """Class and text of an error, without what a server may have put into it for the terminal."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    line = " ".join(text.split())[:_LONGEST_REASON].rstrip(".")
    return line if isinstance(error, TransferError) else f"{type(error).__name__}: {line}"
