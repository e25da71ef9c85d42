"""Whether a file can be what its name says: its first bytes, its end, its own checksums; and is no web page.

Servers answer with pages where a file was asked for (limits, logins, checks for robots), and say 200.
"""

import bz2
import gzip
import json
import lzma
import pickletools
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_HEAD = 2**16  # bytes looked at
_MOST_UNPACKED = 2**34  # bytes; a few that unpack to endlessly many are no reason to wait
_LARGEST_JSON = 2**27  # bytes that are read as a whole
_PAGE = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|title|script|meta|iframe|center|h[1-6]|error|svg|div|p|a|b|br|img|"
    rb"form|link|pre|span|style|table)\b[^<>]*>",
    re.IGNORECASE,
)
_LFS = b"version https://git-lfs.github.com/spec/"
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HDF5 = (b"\x89HDF\r\n\x1a\n",)
_ZIP = (b"PK\x03\x04",)
_GZIP = (b"\x1f\x8b\x08",)
_PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
# A torch file from before 1.6: several pickles, the first of which is this number, and bytes behind them.
_OLD_TORCH = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
_R_DATA = {
    ".rda": (b"RDX", b"RDA", b"RDB"),
    ".rdata": (b"RDX", b"RDA", b"RDB"),
    ".rds": (b"X\n", b"A\n", b"B\n"),
}
_FIRST_BYTES: dict[str, tuple[bytes, ...]] = {
    ".h5ad": _HDF5, ".h5": _HDF5, ".hdf5": _HDF5, ".h5mu": _HDF5, ".loom": _HDF5,
    ".zip": _ZIP, ".npz": _ZIP, ".xlsx": _ZIP,
    ".gz": _GZIP, ".tgz": _GZIP, ".bz2": (b"BZh",), ".xz": (b"\xfd7zXZ\x00",),
    ".pkl": (*_PICKLE, *_ZIP), ".pickle": (*_PICKLE, *_ZIP),
    ".pt": (*_ZIP, *_PICKLE), ".pth": (*_ZIP, *_PICKLE), ".ckpt": (*_ZIP, *_PICKLE),
    ".npy": (b"\x93NUMPY",), ".parquet": (b"PAR1",), ".pdf": (b"%PDF",), ".mtx": (b"%%MatrixMarket",),
}  # fmt: skip
_COMPRESSED: tuple[tuple[bytes, Callable[[Path], BinaryIO]], ...] = (
    (b"\x1f\x8b\x08", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_TABLES = {".csv": (b",", b";", b"\t"), ".tsv": (b"\t",)}  # with what parts their columns
_TEXT = (*_TABLES, ".txt")
_PAGES = (".html", ".htm")
_PICKLES = (".pkl", ".pickle")
_TAR_BLOCK = 512
# The messages with which servers answer in JSON have one of the first, and nothing beside all of these.
_ERROR = {
    "detail",
    "details",
    "error",
    "error_description",
    "errors",
    "exception",
    "fault",
    "message",
    "msg",
    "reason",
}
_ERROR_KEYS = _ERROR | {
    "code", "documentation_url", "error_code", "errorcode", "help", "hint", "instance", "method", "ok",
    "path", "request_id", "requestid", "status", "status_code", "statuscode", "success", "timestamp",
    "title", "trace", "type",
}  # fmt: skip


def page_problem(content_type: str, name: str) -> str | None:
    """Why an answer of this media type is not the file of that name; None if it can be."""
    kind, suffix = content_type.partition(";")[0].strip().lower(), PurePosixPath(name).suffix.lower()
    if kind in ("text/html", "application/xhtml+xml") and suffix not in _PAGES:
        return "a web page came instead of the file"
    if (kind == "application/json" or kind.endswith("+json")) and suffix not in (".json", ".ipynb"):
        return "a message in JSON came instead of the file"
    if kind in ("application/xml", "text/xml") and suffix not in (".xml", *_PAGES):
        return "a message in XML came instead of the file"
    return None


def problem(path: Path, name: str | None = None) -> str | None:
    """Why a file cannot be what its name says, None if it can.

    Parameters
    ----------
    path
        The file. What is compressed is read to its end, where its checksum is.
    name
        What it is called where that is not the name of ``path``.
    """
    size = path.stat().st_size
    if size == 0:
        return "it is empty"
    with path.open("rb") as handle:
        head = handle.read(_HEAD)
        handle.seek(-1, 2)
        last = handle.read(1)
    suffixes = [suffix.lower() for suffix in PurePosixPath(name or path.name).suffixes]
    suffix = suffixes[-1] if suffixes else ""
    text = _without_mark(head)
    if suffix not in _PAGES and _is_page(text):
        return "it is a web page"
    if head.startswith(_LFS):
        return "it is a pointer of Git LFS, not the file that this points to"
    first = _FIRST_BYTES.get(suffix)
    if suffix in _PICKLES and last == b"." and _is_old_pickle(head):
        return (
            "it is a pickle of protocol 0 or 1, which does not begin with a mark of its format; 2 to 5 "
            "are expected"
        )
    if first and not head.startswith(first):
        return f"it does not begin as a {suffix} file ({head[:8]!r} instead of {first[0]!r})"
    if first is _HDF5 and _end_of_hdf5(head) > size:
        return f"it is cut: {size:,} of {_end_of_hdf5(head):,} bytes"
    if first and head.startswith(_PICKLE) and not head.startswith(_OLD_TORCH) and last != b".":
        return "it is cut: its last byte does not end a pickle"
    if first and head.startswith(_ZIP):
        return _zip_problem(path, with_checksums=first is _ZIP)  # torch can leave them out
    if suffix in (".gz", ".tgz", ".bz2", ".xz"):
        is_tar = suffix == ".tgz" or suffixes[-2:-1] == [".tar"]
        return _compressed_problem(path, head, is_right=_is_tar if is_tar else None, what="a .tar file")
    if suffix in _R_DATA:
        return _compressed_problem(
            path, head, is_right=lambda inside: inside.startswith(_R_DATA[suffix]), what="data of R"
        )
    if suffix == ".tar" and not _is_tar(head):
        return "it does not begin as a .tar file"
    if suffix == ".safetensors":
        return _safetensors_problem(head, size)
    if suffix == ".json":
        return _json_problem(path, text, size)
    if suffix in _TEXT and (wrong := _text_problem(text)):
        return wrong
    if suffix in _TABLES:
        return _table_problem(text, _TABLES[suffix])
    return None


def _without_mark(head: bytes) -> bytes:
    """Text without the mark of its encoding, in ASCII as far as it goes."""
    marks = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
    for mark, encoding in marks:
        if head.startswith(mark):
            return head.removeprefix(mark).decode(encoding, "replace").encode("ascii", "replace")
    return head


def _is_page(text: bytes) -> bool:
    """Whether HTML begins here, behind comments and declarations."""
    while True:
        text = text.lstrip()
        for begin, end in ((b"<?xml", b"?>"), (b"<!--", b"-->")):
            if text.startswith(begin):
                _, ended, text = text.partition(end)
                if not ended:
                    return True
                break
        else:
            return _PAGE.match(text) is not None


def _is_old_pickle(head: bytes) -> bool:
    """Whether bytes without the mark of a protocol read as the first instructions of a pickle."""
    instructions = pickletools.genops(head)
    try:
        first = next(instructions)[0].name
        next(instructions)
    except (ValueError, StopIteration):
        return False
    return first != "PROTO"


def _end_of_hdf5(head: bytes) -> int:
    """Bytes of a complete file by its superblock; 0 where that does not tell."""
    if len(head) < 64:
        return 2**63 - 1
    version = head[8]
    start, n_bytes = {0: (24, head[13]), 1: (28, head[13]), 2: (12, head[9]), 3: (12, head[9])}.get(
        version, (0, 0)
    )
    # Base address, another address, end of the file.
    return int.from_bytes(head[start + 2 * n_bytes : start + 3 * n_bytes], "little")


def _zip_problem(path: Path, *, with_checksums: bool) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if not archive.namelist():
                return "it holds no file"
            if with_checksums and sum(entry.file_size for entry in archive.infolist()) <= _MOST_UNPACKED:
                damaged = archive.testzip()
                return f"{damaged} in it is damaged" if damaged else None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        return f"it is cut or damaged: {error}"
    return None


def _compressed_problem(
    path: Path, head: bytes, *, is_right: Callable[[bytes], bool] | None, what: str
) -> str | None:
    """Why a compressed file is wrong; one of R may also be not compressed."""
    inside = head
    for begin, opened in _COMPRESSED:
        if head.startswith(begin):
            try:
                with opened(path) as handle:
                    inside = handle.read(_HEAD)
                    n_read = len(inside)
                    while n_read < _MOST_UNPACKED and (piece := handle.read(2**20)):
                        n_read += len(piece)
            except EOFError:
                return "it is cut: its end is missing"
            except (OSError, zlib.error, lzma.LZMAError, ValueError) as error:
                return f"it is damaged: {error}"
            if inside.startswith(begin):
                return "it is compressed twice"
            if _is_page(_without_mark(inside)):
                return "it is a compressed web page"
            break
    return None if is_right is None or is_right(inside) else f"what is in it does not begin as {what}"


def _is_tar(head: bytes) -> bool:
    """Whether the first block is a header whose checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head[:_TAR_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _safetensors_problem(head: bytes, size: int) -> str | None:
    length = int.from_bytes(head[:8], "little")
    if len(head) < 10 or head[8:9] != b"{" or not 2 <= length <= size - 8:
        return "it does not begin as a .safetensors file, with the length of a header in JSON"
    if length <= len(head) - 8:
        ends = [
            int(end)
            for end in re.findall(rb'"data_offsets"\s*:\s*\[\s*\d+\s*,\s*(\d{1,18})', head[: 8 + length])
        ]
        if ends and max(ends) != size - 8 - length:
            return f"it has {size:,} bytes, its header describes {max(ends) + 8 + length:,}"
    return None


def _json_problem(path: Path, text: bytes, size: int) -> str | None:
    if text.lstrip()[:1] not in (b"{", b"["):
        return "it does not begin as JSON, with { or ["
    if size > _LARGEST_JSON:
        return None
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f"it is not complete JSON: {error}"
    return "it is a message about an error" if _is_error(value) else None


def _is_error(value: object) -> bool:
    names = set(map(str.lower, value)) if isinstance(value, dict) else set()
    return bool(names & _ERROR) and names <= _ERROR_KEYS


def _text_problem(text: bytes) -> str | None:
    if _CONTROL.search(text):
        return "it is not text"
    try:
        is_error = text.lstrip()[:1] == b"{" and _is_error(json.loads(text))
    except (ValueError, RecursionError):
        return None
    return "it is a message about an error" if is_error else None


def _table_problem(text: bytes, separators: tuple[bytes, ...]) -> str | None:
    start = text.lstrip()
    if start[:1] in (b"<", b"{"):
        return "it does not begin as a table"
    if len(start.splitlines()) < 2 and (b" " in start or not any(mark in start for mark in separators)):
        return "it is one line without columns, a message rather than a table"
    return None
