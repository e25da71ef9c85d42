"""Embeddings inside .h5ad files: written beside what a file holds, read back for scoring."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot.data import remarks
from zeroshot.data.columns import MissingLabels, categories, drop_note, notes_on
from zeroshot.data.copies import Place, require_free, write_copy
from zeroshot.data.error import DataError
from zeroshot.data.h5ad import elements, open_h5ad, read_array, read_obs

if TYPE_CHECKING:
    import h5py

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
    require_free(source, _places(key), overwrite=overwrite)


def write_embedding(
    source: str | Path,
    cells: AnnData,
    key: str,
    embedding: np.ndarray,
    provenance: Mapping[str, Any],
    output: Path,
) -> None:
    """Write all that the source holds, with the embedding added, to a new .h5ad file.

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
        As :func:`zeroshot.data.copies.write_copy` takes it for ``uns``.
    output
        Appears only when it is complete.

    Raises
    ------
    DataError, zeroshot.runtime.outputs.OutputError
        As :func:`zeroshot.data.copies.write_copy` does.
    """
    obsm, uns = _places(key)
    write_copy(source, cells, {obsm: embedding, uns: provenance}, output)


def _places(key: str) -> list[Place]:
    """Groups and names under which an embedding and its provenance are written."""
    return [("obsm", key), ("uns", f"{key}_provenance")]


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
        A list that receives sentences on cells that are left out, and on the genes behind each embedding that
        `zeroshot embed` wrote.

    Raises
    ------
    DataError
        If the file, a key or a column is missing or damaged, a label or batch is missing, or an embedding
        is not a matrix with one row for each cell, finite for those that are scored.
    """
    path = Path(path)
    if path.is_file() and path.suffix != ".h5ad":
        raise DataError(
            f"{path} does not end in .h5ad: embeddings are read from obsm of such a file, and labels from "
            "its obs. Put yours there: adata.obsm['X_mine'] = matrix; adata.write_h5ad(new_path)."
        )
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
        shares = [share for key in matrices if (share := _share_of_genes(file, key))]
        obs = read_obs(file, path)
    labels = categories(obs, label_key, "label", path.name, missing_labels)
    batches = categories(obs, batch_key, "batch", path.name, missing_labels) if batch_key else None
    scored_mask = labels.codes >= 0 if batches is None else (labels.codes >= 0) & (batches.codes >= 0)
    note = drop_note(scored_mask, pd.Series(labels), path.name)
    of_names = notes_on(labels, label_key) + (notes_on(batches, batch_key) if batch_key else [])
    if note is not None:
        labels = labels[scored_mask].remove_unused_categories()
        batches = None if batches is None else batches[scored_mask].remove_unused_categories()
    if notes is not None:
        design = [] if batches is None else remarks.of_design(labels, batches)
        notes += [text for text in (note, *of_names, *design, *shares) if text]
    cells = EmbeddedCells(matrices, scored_mask, labels, batches)
    for key in matrices:
        broken = int((~np.isfinite(cells.scored(key))).any(axis=1).sum())
        if broken:
            raise DataError(
                f"{path}: {broken:,} of {len(labels):,} cells have NaN or infinite values in obsm[{key!r}]. "
                "Remove these cells, or make the embedding again."
            )
    return cells


def _share_of_genes(file: "h5py.File", key: str) -> str | None:
    """A sentence on the genes behind an embedding; None of one that `zeroshot embed` did not write."""
    place = f"uns/{key}_provenance/genes"
    try:
        values = [file[f"{place}/{name}"] for name in ("n_read", "n_genes", "counts")]
        n_read, n_genes, counts = (float(value[()]) for value in values if value.shape == ())
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return None
    return (
        f"obsm[{key!r}] was made of {n_read:,.0f} of {n_genes:,.0f} genes, with {counts:.1%} of the counts, "
        f"as uns[{key + '_provenance'!r}] says."
    )
