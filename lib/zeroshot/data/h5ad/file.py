"""An .h5ad file opened for reading: its faults are named before anything is read."""

import mmap
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroshot.data.error import DataError

if TYPE_CHECKING:
    import h5py


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a path has one slash of https://
# HDF5 keeps texts in heaps: this mark and version, the bytes of the heap, and objects, each with a header.
_HEAP = b"GCOL\x01\0\0\0"
_HEAP_HEADER = 16
_OBJECT = struct.Struct("<HxxxxxxQ")  # number, 0 for free space; bytes, with the header only for free space


def open_h5ad(path: Path) -> "h5py.File":
    """The file opened for reading; close it, or use it in a ``with`` statement.

    Raises
    ------
    DataError
        If it is missing, locked, truncated, not HDF5, or takes anything from other files.
    """
    import h5py

    path = Path(path)
    try:
        str(path).encode()
        _require_hdf5(path)
        file = h5py.File(path, "r")
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: a name that is text in UTF-8 is expected. Rename the file.") from error
    except PermissionError as error:
        raise DataError(f"{path} may not be read: ask for the permission, or read a copy.") from error
    except OSError as error:
        text = str(error)
        # Not "lock" alone: HDF5 speaks of the superblock ("sblock") of a truncated file.
        if isinstance(error, BlockingIOError) or "lock file" in text or "already open for write" in text:
            raise DataError(
                f"{path} is locked: another program has it open for writing. Close it there, or read a copy. "
                f"({text})"
            ) from error
        raise DataError(
            f"{path} cannot be opened ({text}); it is likely truncated. Copy it again."
        ) from error
    try:
        status = path.stat()
        _require_heaps(path, status.st_size, status.st_mtime_ns)
        require_self_contained(file, path)
    except DataError:
        file.close()
        raise
    return file


def _require_hdf5(path: Path) -> None:
    """Say what a file is that is no HDF5, and what to do with it."""
    import h5py

    if not os.path.exists(path):  # noqa: PTH110 - of a name that is too long, pathlib raises
        remedy = "Correct the path."
        if _ADDRESS.match(str(path)):
            remedy = "It is an address, and only files are read: download it, and name the file."
        raise DataError(f"there is no file {path}: an .h5ad file is expected. {remedy}")
    if path.is_dir():
        zarr = any((path / name).exists() for name in (".zgroup", ".zattrs", "zarr.json"))
        raise DataError(
            f"{path} is a {'zarr store' if zarr else 'directory'}; an .h5ad file is expected. "
            + ("Convert it: anndata.read_zarr(path).write_h5ad(new_path)." if zarr else "Name a file in it.")
        )
    if not path.is_file():
        raise DataError(f"{path} is not a regular file; an .h5ad file is expected. Name one.")
    with path.open("rb") as binary:
        first = binary.read(8)
    if h5py.is_hdf5(path):
        return
    if first[:2] == b"\x1f\x8b":
        remedy = "It is compressed with gzip: unpack it first (gunzip), or convert it if it is an .rds file."
    elif first[:2] == b"PK":
        remedy = "It is a zip archive: unpack it first."
    elif not first:
        remedy = "It is empty (0 bytes). Download or write it again."
    else:
        remedy = "Download or write it again."
    raise DataError(f"{path} is not an HDF5 file, so it is no .h5ad. {remedy}")


@lru_cache(maxsize=8)
def _require_heaps(path: Path, n_bytes: int, modified: int) -> None:
    """Refuse a file with a hole of zeros among its texts: HDF5 takes it for free space and never passes it.

    As after a download that was interrupted. Size and time are those of the file: it is read once while they
    are the same.

    Source
    ------
    HDF5 2.0, H5HGcache.c, ``H5HG__cache_heap_deserialize``.
    """
    private = {"flags": mmap.MAP_PRIVATE, "prot": mmap.PROT_READ}  # some network disks share no pages
    with path.open("rb") as binary, mmap.mmap(binary.fileno(), 0, **private) as image:
        heap = image.find(_HEAP)
        while heap >= 0:
            end = min(heap + int.from_bytes(image[heap + 8 : heap + _HEAP_HEADER], "little"), len(image))
            place = heap + _HEAP_HEADER
            while place + _OBJECT.size <= end:
                number, size = _OBJECT.unpack_from(image, place)
                if number == size == 0:
                    raise DataError(
                        f"{path} is damaged: zeros stand in the place of texts, as after a download that was "
                        "interrupted. Download or write it again."
                    )
                place += _OBJECT.size + -(-size // 8) * 8 if number else size
            heap = image.find(_HEAP, heap + len(_HEAP))


@contextmanager
def reading(path: Path, place: str) -> Iterator[None]:
    """Turn whatever h5py, anndata or pandas trip over in a broken file into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        # anndata says in a note which element it was reading.
        notes = " ".join([str(error), *getattr(error, "__notes__", ())])
        if (key := re.search(r"reading key '([^']+)'", notes)) and key[1] not in (place, message):
            place = f"{key[1]!r} of {place}"
        remedy = "Download or write the file again."
        if "filter" in message or "plugin" in message:
            remedy = (
                "It is compressed with a filter that is not installed here (such as zstd or blosc): where it "
                "can be read, write it again with adata.write_h5ad(new_path, compression='gzip')."
            )
        raise DataError(f"{path}: {place} cannot be read ({message}). {remedy}") from error


def require_self_contained(file: "h5py.File", path: Path) -> None:
    """Refuse a file that takes anything from another one, or holds a link that leads nowhere.

    HDF5 can name other files: external links, external storage and virtual datasets. Reading or copying
    them would put local files of the reader's machine into results.

    Parameters
    ----------
    file
        The open file; every group of it is visited, no values are read.
    path
        Named in messages.

    Raises
    ------
    DataError
        If there is an external link, a dataset stored elsewhere, a virtual dataset, or a soft link that
        does not resolve.
    """
    try:
        for place, problem in _foreign_parts(file):
            raise DataError(
                f"{path}: {place!r} is {problem}. Only files that hold all their data are read: remove it, "
                "or copy what it refers to into the file."
            )
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read ({error}); it is likely damaged. Copy or write it again."
        ) from error


def _foreign_parts(file: "h5py.File") -> Iterator[tuple[str, str]]:
    """Place and description of everything that a file does not hold itself."""
    import h5py

    visited = set()
    groups, soft_links = [file["/"]], []
    while groups:
        group = groups.pop()
        for name in group:
            place = f"{group.name.rstrip('/')}/{name}"
            try:
                link = group.get(name, getlink=True)
            except TypeError:
                yield place, "a link of a kind that HDF5 does not define"
                continue
            if isinstance(link, h5py.ExternalLink):
                yield place, f"an external link to another file ({link.filename})"
            elif isinstance(link, h5py.SoftLink):
                soft_links.append((group, name, place, link.path))
            else:
                node = group[name]
                # A group may be linked from several places, also from inside itself.
                address = h5py.h5o.get_info(node.id).addr
                if address in visited:
                    continue
                visited.add(address)
                if isinstance(node, h5py.Group):
                    groups.append(node)
                elif isinstance(node, h5py.Dataset) and node.external:
                    yield place, f"stored in another file ({node.external[0][0]})"
                elif isinstance(node, h5py.Dataset) and node.is_virtual:
                    yield place, "a virtual dataset, put together from other datasets or files"
    # Only now: what they pass through is known to lie inside this file.
    for group, name, place, target in soft_links:
        try:
            group[name]
        except (KeyError, OSError, RuntimeError):
            yield place, f"a link to {target!r}, which leads nowhere"


def elements(file: "h5py.File", place: str) -> list[str]:
    """Names of what a group such as obsm or layers holds; a slash in a name is a group inside the group."""
    import h5py

    names, visited = [], set()
    waiting = [("", file.get(place))]
    while waiting:
        prefix, group = waiting.pop()
        if not isinstance(group, h5py.Group) or h5py.h5o.get_info(group.id).addr in visited:
            continue
        visited.add(h5py.h5o.get_info(group.id).addr)
        for name in group:
            node = group[name]
            plain = isinstance(node, h5py.Group) and attribute(node, "encoding-type") in (None, "dict")
            if plain and "indptr" not in node:
                waiting.append((f"{prefix}{name}/", node))
            elif not isinstance(node, h5py.Datatype):
                names.append(prefix + name)
    return sorted(names)


def origin(file: "h5py.File") -> str:
    """What a file is that was made by other tools, for messages."""
    if "row_attrs" in file and "col_attrs" in file:
        return "It is a loom file: convert it with anndata.io.read_loom(path).write_h5ad(new_path). "
    if "mod" in file:
        return "It is a MuData file: write its RNA with mudata.read(path)['rna'].write_h5ad(new_path). "
    if "matrix/barcodes" in file or any(f"{name}/barcodes" in file for name in file):
        return "It is a 10x file: convert it with scanpy.read_10x_h5(path).write_h5ad(new_path). "
    return ""


def attribute(node: Any, name: str) -> str | None:
    """An attribute that is text; None if it is missing or something else."""
    value = node.attrs.get(name)
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return value if isinstance(value, str) else None


def require_memory(node: "h5py.Dataset", what: str) -> None:
    """Refuse a dataset that this machine could not hold: a few bytes can announce terabytes."""
    needed = node.size * node.dtype.itemsize
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise DataError(
            f"{what} announces {needed / 1e9:,.0f} GB; this machine has {memory / 1e9:,.0f} GB of memory. "
            "The file is damaged, or needs a larger machine."
        )
