"""Users' .h5ad files: what they hold is checked before anything trusts it; a file is never changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zeroshot.data.error import DataError

if TYPE_CHECKING:
    import h5py


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
