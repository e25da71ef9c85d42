"""Embeddings inside .h5ad files: written beside what a file holds, read back for scoring."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot.data.columns import MissingLabels, alike_note, categories, drop_note
from zeroshot.data.error import DataError
from zeroshot.data.h5ad import elements, open_h5ad, read_array, read_obs, require_self_contained
from zeroshot.runtime import outputs

if TYPE_CHECKING:
    import h5py

# What a group of HDF5 with a provenance takes beside the embedding, generously.
SPACE_FOR_PROVENANCE = 2**18
LONGEST_KEY = 200  # HDF5 takes more, people and file names do not


def require_place(source: str | Path, key: str, *, overwrite: bool = False) -> None:
    """Refuse a file that cannot take an embedding under a key; to be called before it is computed.

    Parameters
    ----------
    source
        An .h5ad file; the name of a data set takes any key.
    key
        Key of ``obsm``, for example "X_pca"; ``uns[f"{key}_provenance"]`` must be free as well.
    overwrite
        Whether an embedding that the file holds under this key may be replaced.

    Raises
    ------
    DataError
        If the key is not one, or is taken; if the file cannot be read, has no groups ``obsm`` and ``uns``, or
        points to other files.
    """
    if not key.isprintable() or "/" in key or key.strip() in ("", ".", "..") or len(key) > LONGEST_KEY:
        raise DataError(f"{key!r} cannot be a key of obsm: use a name without slashes, for example X_pca")
    path = _own_file(source)
    if path is None:
        return
    with open_h5ad(path) as file:
        require_self_contained(file, path)
        taken = [f"{place}[{name!r}]" for place, name in _places(key) if name in _names(file, place, path)]
    if taken and not overwrite:
        raise DataError(
            f"{path} holds {' and '.join(taken)} already: choose another name with --key, or replace it with "
            "--overwrite"
        )


def require_same_cells(source: str | Path, cells: AnnData) -> None:
    """Refuse cells that are not those of the file, in its order.

    Raises
    ------
    DataError
        If number or names differ, for instance because the file was written again meanwhile.
    """
    path = _own_file(source)
    if path is not None:
        with open_h5ad(path) as file:
            _require_cells(file, cells, path)


def write_embedding(
    source: str | Path,
    cells: AnnData,
    key: str,
    embedding: np.ndarray,
    provenance: Mapping[str, Any],
    output: Path,
) -> None:
    """Write all that the source holds, with the embedding added, to a new .h5ad file.

    Of a user's file the bytes are copied and two elements are added: nothing else of it is read, so that
    whatever it holds stays as it is, compression included.

    Parameters
    ----------
    source
        The .h5ad file or name that ``cells`` were loaded from; never changed.
    cells
        The loaded cells, rows as in the embedding.
    key
        Key of ``obsm``, see :func:`require_place`; what the file holds under it is replaced.
    embedding
        (cells, dim) float32.
    provenance
        Numbers, strings, lists of strings, and dicts of them.
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

    path = _own_file(source)
    values = {"obsm": embedding, "uns": _storable(provenance)}
    if path is None:
        written = cells.copy()
        for place, name in _places(key):
            getattr(written, place)[name] = values[place]
        with outputs.replacing(output) as temporary:
            written.write_h5ad(temporary)
        return
    with outputs.replacing(output) as temporary:
        shutil.copyfile(path, temporary)
        outputs.reserve(temporary, temporary.stat().st_size + embedding.nbytes + SPACE_FOR_PROVENANCE)
        # No lock: nobody else knows the file, and some shared disks have none.
        with h5py.File(temporary, "r+", locking=False) as file:
            _require_cells(file, cells, path)
            for place, name in _places(key):
                if name in _names(file, place, path):
                    del file[place][name]
                if place not in file:
                    write_elem(file, place, {})
                write_elem(file[place], name, values[place])


def _own_file(source: str | Path) -> Path | None:
    """The user's file that a source is; None for the name of a data set, by the rule of `load`."""
    path = Path(source).expanduser()
    return path if path.suffix == ".h5ad" else None


def _places(key: str) -> list[tuple[str, str]]:
    """Groups and names under which an embedding and its provenance are written."""
    return [("obsm", key), ("uns", f"{key}_provenance")]


def _names(file: "h5py.File", place: str, path: Path) -> list[str]:
    """Names in a group, links that lead nowhere included; none if there is no such group."""
    import h5py

    try:
        if place not in file:
            return []
        group = file[place]
        names = list(group) if isinstance(group, h5py.Group) else None
    except Exception as error:  # whatever h5py trips over in a broken file
        raise DataError(f"{path}: {place} cannot be read ({error}). Download or write it again.") from error
    if names is None:
        raise DataError(
            f"{path}: {place} is not a group, so nothing can be added to it; the file may be of an anndata "
            "older than 0.7. Rewrite it once with anndata.read_h5ad(path).write_h5ad(new_path)."
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


@dataclass(frozen=True)
class EmbeddedCells:
    """Cells of a file with their embeddings, labels and batches.

    Attributes
    ----------
    matrices
        (cells of the file, dim) float32 or float64 by key of ``obsm``, as the file holds them.
    scored_mask
        (cells of the file,) False for cells that are left out because they have no label or batch.
    labels, batches
        (scored cells,); batches are None where no column was named.
    """

    matrices: dict[str, np.ndarray]
    scored_mask: np.ndarray
    labels: pd.Categorical
    batches: pd.Categorical | None

    def scored(self, key: str) -> np.ndarray:
        """(scored cells, dim) of one embedding, finite."""
        matrix = self.matrices[key]
        return matrix if self.scored_mask.all() else matrix[self.scored_mask]


def read_embeddings(
    path: Path,
    keys: Iterable[str],
    *,
    label_key: str,
    batch_key: str | None,
    missing_labels: MissingLabels = "refuse",
    notes: list[str] | None = None,
) -> EmbeddedCells:
    """Embeddings of a file with the labels and batches of its cells.

    Parameters
    ----------
    path
        The .h5ad file; not changed.
    keys
        Keys of ``obsm``, for example "X_pca"; repeated ones are read once.
    label_key, batch_key
        Columns of ``obs``; None where no batches are known.
    missing_labels
        What to do with cells without label or batch, see :func:`zeroshot.data.columns.categories`:
        "refuse", "drop" (leave these cells out) or "keep" (take texts such as "NA" as names).
    notes
        A list that receives a sentence on cells that are left out.

    Raises
    ------
    DataError
        If the file, a key or a column is missing or damaged, a label or batch is missing, or an embedding
        is not a matrix with one row for each cell, finite for those that are scored.
    """
    path = Path(path)
    with open_h5ad(path) as file:
        names = elements(file, "obsm")
        matrices = {}
        for key in dict.fromkeys(keys):
            if key not in names:
                raise DataError(
                    f"{path} has no obsm[{key!r}]. It holds {', '.join(names) or 'no embedding'}: "
                    "choose with --embedding or --before, or make one with `zeroshot embed`."
                )
            matrices[key] = read_array(file, path, f"obsm/{key}")
        obs = read_obs(file, path)
    labels = categories(obs, label_key, "label", path.name, missing_labels)
    batches = categories(obs, batch_key, "batch", path.name, missing_labels) if batch_key else None
    scored_mask = labels.codes >= 0 if batches is None else (labels.codes >= 0) & (batches.codes >= 0)
    note = drop_note(scored_mask, pd.Series(labels), path.name)
    if notes is not None:
        remarks = [note, alike_note(labels, label_key), alike_note(batches, batch_key) if batch_key else None]
        notes += [text for text in remarks if text]
    if note is not None:
        labels = labels[scored_mask].remove_unused_categories()
        batches = None if batches is None else batches[scored_mask].remove_unused_categories()
    cells = EmbeddedCells(matrices, scored_mask, labels, batches)
    for key in matrices:
        broken = int((~np.isfinite(cells.scored(key))).any(axis=1).sum())
        if broken:
            raise DataError(
                f"{path}: {broken:,} of {len(labels):,} cells have NaN or infinite values in obsm[{key!r}]. "
                "Remove these cells, or make the embedding again."
            )
    return cells
