"""Whether a file can be what its name says: its first bytes, its end where the format tells, no web page.

Servers answer with pages where a file was asked for (limits, logins, checks for robots), and say 200.
"""

import gzip
import re
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

_HEAD = 2**16  # bytes looked at
_MOST_UNPACKED = 2**34  # bytes; a few that unpack to endlessly many are no reason to wait
_PAGE = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|title|script|meta|iframe|center|h1)\b", re.IGNORECASE
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HDF5 = (b"\x89HDF\r\n\x1a\n",)
_ZIP = (b"PK\x03\x04",)
_GZIP = (b"\x1f\x8b\x08",)
_PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
# R writes its data compressed in one of three ways, or plain.
_R_DATA = (*_GZIP, b"BZh", b"\xfd7zXZ\x00", b"RDX", b"RDA", b"X\n", b"A\n")
_FIRST_BYTES: dict[str, tuple[bytes, ...]] = {
    ".h5ad": _HDF5, ".h5": _HDF5, ".hdf5": _HDF5, ".h5mu": _HDF5, ".loom": _HDF5,
    ".zip": _ZIP, ".npz": _ZIP, ".xlsx": _ZIP,
    ".gz": _GZIP, ".tgz": _GZIP, ".bz2": (b"BZh",), ".xz": (b"\xfd7zXZ\x00",),
    ".pkl": (*_ZIP, *_PICKLE), ".pickle": (*_ZIP, *_PICKLE), ".pt": (*_ZIP, *_PICKLE),
    ".pth": (*_ZIP, *_PICKLE), ".ckpt": (*_ZIP, *_PICKLE),
    ".rda": _R_DATA, ".rdata": _R_DATA, ".rds": _R_DATA,
    ".npy": (b"\x93NUMPY",), ".parquet": (b"PAR1",), ".pdf": (b"%PDF",), ".mtx": (b"%%MatrixMarket",),
}  # fmt: skip
_HDF5_SUFFIXES = tuple(suffix for suffix, first in _FIRST_BYTES.items() if first is _HDF5)
_TABLES = (".csv", ".tsv")
_TEXT = (*_TABLES, ".txt")
_PAGES = (".html", ".htm")
_TAR_BLOCK = 512


def page_problem(content_type: str, name: str) -> str | None:
    """Why an answer of this media type is not the file of that name; None if it can be."""
    kind, suffix = content_type.partition(";")[0].strip().lower(), PurePosixPath(name).suffix.lower()
    if kind in ("text/html", "application/xhtml+xml") and suffix not in _PAGES:
        return "a web page came instead of the file"
    if (kind == "application/json" or kind.endswith("+json")) and suffix not in (".json", ".ipynb"):
        return "a message in JSON came instead of the file"
    if (kind in ("application/xml", "text/xml")) and suffix not in (".xml", *_PAGES):
        return "a message in XML came instead of the file"
    return None


def problem(path: Path, name: str | None = None) -> str | None:
    """Why a file cannot be what its name says, None if it can.

    Parameters
    ----------
    path
        The file.
    name
        What it is called where that is not the name of ``path``.
    """
    size = path.stat().st_size
    if size == 0:
        return "it is empty"
    with path.open("rb") as handle:
        head = handle.read(_HEAD)
    suffixes = [suffix.lower() for suffix in PurePosixPath(name or path.name).suffixes]
    suffix = suffixes[-1] if suffixes else ""
    text = _as_ascii(head)
    if suffix not in _PAGES and _is_page(text):
        return "it is a web page"
    if suffix in _FIRST_BYTES:
        first = _FIRST_BYTES[suffix]
        if not head.startswith(first):
            return f"it does not begin as a {suffix} file ({head[:8]!r} instead of {first[0]!r})"
    if suffix in _HDF5_SUFFIXES and _end_of_hdf5(head) > size:
        return f"it is cut: {size:,} of {_end_of_hdf5(head):,} bytes"
    if suffix == ".zip" and not zipfile.is_zipfile(path):
        return "it is cut: the list of its files is missing"
    if suffix in (".gz", ".tgz"):
        return _gzip_problem(path, is_tar=suffix == ".tgz" or suffixes[-2:-1] == [".tar"])
    if suffix == ".tar" and not _is_tar(head):
        return "it does not begin as a .tar file"
    if suffix == ".safetensors":
        return _safetensors_problem(head, size)
    if suffix == ".json" and text.lstrip()[:1] not in (b"{", b"["):
        return "it does not begin as JSON, with { or ["
    if suffix in _TEXT and _CONTROL.search(text):
        return "it is not text"
    if suffix in _TABLES and text.lstrip()[:1] in (b"<", b"{"):
        return "it does not begin as a table"
    return None


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


def _as_ascii(head: bytes) -> bytes:
    """The text without its mark of encoding, for comparisons with ASCII."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if head.startswith(mark):
            return head.removeprefix(mark).decode(encoding, "replace").encode("ascii", "replace")
    return head


def _gzip_problem(path: Path, *, is_tar: bool) -> str | None:
    """Read it to its end, where its checksum is."""
    try:
        with gzip.open(path) as handle:
            inside = handle.read(_HEAD)
            n_read = len(inside)
            while n_read < _MOST_UNPACKED and (piece := handle.read(2**20)):
                n_read += len(piece)
    except EOFError:
        return "it is cut: its end is missing"
    except (OSError, zlib.error) as error:
        return f"it is damaged: {error}"
    if inside.startswith(_GZIP):
        return "it is compressed twice"
    if _is_page(_as_ascii(inside)):
        return "it is a compressed web page"
    if is_tar and not _is_tar(inside):
        return "what is compressed in it does not begin as a .tar file"
    return None


def _end_of_hdf5(head: bytes) -> int:
    """Bytes of a complete file by its superblock; 0 for versions that are not known."""
    version, n_bytes = head[8], head[13] if head[8] < 2 else head[9]  # size of an address
    start = {0: 24, 1: 28, 2: 12, 3: 12}.get(version)
    if start is None or len(head) < 64:
        return 0
    # Base address, another address, end of the file.
    return int.from_bytes(head[start + 2 * n_bytes : start + 3 * n_bytes], "little")


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
    return None
