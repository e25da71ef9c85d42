"""Copies of users' .h5ad files with elements added, and nothing else changed."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import store
from zeroshot.data.error import DataError
from zeroshot.data.h5ad import open_h5ad, require_self_contained
from zeroshot.runtime import outputs

if TYPE_CHECKING:
    import h5py

# What a group of HDF5 with a provenance takes beside the arrays, generously.
SPACE_FOR_PROVENANCE = 2**18

Place = tuple[str, str]  # a group of the file and a name in it: ("obsm", "X_pca")


def require_free(source: str | Path, places: Iterable[Place], *, overwrite: bool = False) -> None:
    """Refuse a file that cannot take elements; to be called before they are computed.

    Parameters
    ----------
    source
        An .h5ad file; the name of a data set has any place.
    places
        Where elements are to be added.
    overwrite
        Whether what the file holds there may be replaced.

    Raises
    ------
    DataError
        If a place is taken; if the file cannot be read, lacks one of the groups, or points to other files.
    """
    path = own_file(source)
    if path is None:
        return
    with open_h5ad(path) as file:
        require_self_contained(file, path)
        occupied = [f"{place}[{name!r}]" for place, name in places if name in _names(file, place, path)]
    if occupied and not overwrite:
        raise DataError(
            f"{path} holds {' and '.join(occupied)} already: choose another name with --key, or replace "
            "it with --overwrite"
        )


def require_same_cells(source: str | Path, cells: AnnData) -> None:
    """Refuse cells that are not those of the file, in its order.

    Raises
    ------
    DataError
        If number or names differ, for instance because the file was written again meanwhile.
    """
    path = own_file(source)
    if path is not None:
        with open_h5ad(path) as file:
            _require_cells(file, cells, path)


def write_copy(source: str | Path, cells: AnnData, elements: Mapping[Place, Any], output: Path) -> None:
    """Write all that the source holds, with elements added, to a new .h5ad file.

    Of a user's file the bytes are copied and elements are added: nothing else of it is read, so that
    whatever it holds stays as it is, compression included.

    Parameters
    ----------
    source
        The .h5ad file or name that ``cells`` were loaded from; never changed.
    cells
        The loaded cells, rows as in the elements.
    elements
        Place to what stands there, in the place of what the file holds there: arrays in ``obsm``,
        columns in ``obs``, and in ``uns`` numbers, strings, lists of strings, and dicts of them.
    output
        Appears only when it is complete.

    Raises
    ------
    DataError
        If the source no longer holds these cells.
    zeroshot.runtime.outputs.OutputError
        If the disk is full.
    """
    import h5py
    from anndata.io import write_elem

    path = own_file(source)
    values = {place: _storable(value) if place[0] == "uns" else value for place, value in elements.items()}
    if path is None:
        written = cells.copy()
        for (place, name), value in values.items():
            getattr(written, place)[name] = value
        with outputs.replacing(output) as temporary:
            store.write_cells(temporary, written)
        return
    with outputs.replacing(output) as temporary:
        shutil.copyfile(path, temporary)
        outputs.reserve(temporary, temporary.stat().st_size + sum(map(_n_bytes, values.values())))
        # No lock: nobody else knows the file, and some shared disks have none.
        with h5py.File(temporary, "r+", locking=False) as file:
            _require_cells(file, cells, path)
            for (place, name), value in values.items():
                if name in _names(file, place, path):
                    del file[place][name]
                if place not in file:
                    write_elem(file, place, {})
                write_elem(file[place], name, value)
                if place == "obs":
                    _list_column(file[place], name)


def own_file(source: str | Path) -> Path | None:
    """The user's file that a source is; None for the name of a data set, by the rule of `load`."""
    path = Path(source).expanduser()
    return path if path.suffix == ".h5ad" else None


def _list_column(obs: "h5py.Group", name: str) -> None:
    """Name a column among those that a table of .h5ad lists in their order."""
    columns = [str(column) for column in obs.attrs["column-order"]]
    obs.attrs["column-order"] = np.array([*dict.fromkeys([*columns, name])], dtype=object)


def _n_bytes(value: Any) -> int:
    """What an element takes in a file, at least."""
    return int(getattr(value, "nbytes", SPACE_FOR_PROVENANCE))


def _names(file: "h5py.File", place: str, path: Path) -> list[str]:
    """Names in a group, links that lead nowhere included; none if there is no such group."""
    import h5py

    try:
        if place not in file:
            return []
        group = file[place]
        names = list(group) if isinstance(group, h5py.Group) else None
        is_soft = isinstance(file.get(place, getlink=True), h5py.SoftLink)
        shared = is_soft or h5py.h5o.get_info(group.id).rc > 1
    except Exception as error:  # whatever h5py trips over in a broken file
        raise DataError(f"{path}: {place} cannot be read ({error}). Download or write it again.") from error
    if names is None:
        raise DataError(
            f"{path}: {place} is not a group, so nothing can be added to it; the file may be of an anndata "
            "older than 0.7. Rewrite it once with anndata.read_h5ad(path).write_h5ad(new_path)."
        )
    if shared:
        raise DataError(
            f"{path}: {place} is a link to a group that has another name as well, so what is added to it "
            "would be added there too. Rewrite it once with anndata.read_h5ad(path).write_h5ad(new_path)."
        )
    return names


def _require_cells(file: "h5py.File", cells: AnnData, path: Path) -> None:
    from anndata.io import read_elem

    try:
        obs = file["obs"]
        names = pd.Index(read_elem(obs[obs.attrs["_index"]])).astype(str)
    except Exception as error:  # as above
        raise DataError(f"{path}: the names of the cells cannot be read ({error}).") from error
    if not names.equals(pd.Index(cells.obs_names)):
        raise DataError(
            f"{path} holds {len(names):,} cells, but not the {cells.n_obs:,} that were read: it was "
            "written again meanwhile. Repeat the command, and leave the file as it is until it has ended."
        )


def _storable(value: Any) -> Any:
    """A provenance as .h5ad files can hold it: no None, and no text that is not Unicode."""
    if isinstance(value, Mapping):
        return {_storable(str(name)).replace("/", "|"): _storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return np.array([_storable(item) for item in value], dtype=None if value else str)
    if isinstance(value, str):  # the path of a file may hold bytes that are no text
        return value.encode(errors="backslashreplace").decode()
    return "none" if value is None else value
