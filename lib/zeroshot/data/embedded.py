"""Embeddings inside .h5ad files: written beside what a file holds, read back for scoring."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot.data.columns import MissingLabels, categories
from zeroshot.data.error import DataError
from zeroshot.data.h5ad import elements, open_h5ad, read_array, read_obs


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
        Key of ``obsm``, for example "X_pca"; the provenance goes to ``uns[f"{key}_provenance"]``.
    embedding
        (cells, dim) float32.
    provenance
        Numbers, strings and dicts of them.
    output
        Appears only when it is complete.
    """
    import anndata

    # The rule of `load`: what does not end in .h5ad is the name of a data set.
    path = Path(source).expanduser()
    written = anndata.read_h5ad(path) if path.suffix == ".h5ad" else cells.copy()
    written.obsm[key] = embedding
    written.uns[f"{key}_provenance"] = dict(provenance)
    handle, temporary = tempfile.mkstemp(prefix=f".{output.name}-", suffix=".h5ad", dir=output.parent)
    os.close(handle)
    try:
        written.write_h5ad(temporary)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(output)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_embedding(
    path: Path,
    key: str,
    *,
    label_key: str,
    batch_key: str | None,
    missing_labels: MissingLabels = "refuse",
    notes: list[str] | None = None,
) -> tuple[np.ndarray, pd.Categorical, pd.Categorical | None]:
    """An embedding of a file with the labels and batches of its cells.

    Parameters
    ----------
    path
        The .h5ad file; not changed.
    key
        Key of ``obsm``, for example "X_pca".
    label_key, batch_key
        Columns of ``obs``; None where no batches are known.
    missing_labels
        What to do with cells without label or batch, see :func:`zeroshot.data.columns.categories`:
        "refuse", "drop" (leave these cells out) or "keep" (take texts such as "NA" as names).
    notes
        A list that receives a sentence on cells that are left out.

    Returns
    -------
    tuple
        (cells, dim) float32 or float64 embedding, (cells,) labels, (cells,) batches or None.

    Raises
    ------
    DataError
        If the file, the key or a column is missing or damaged, a label or batch is missing, or the embedding
        is not a matrix of finite numbers with one row for each cell.
    """
    path = Path(path)
    with open_h5ad(path) as file:
        held = elements(file, "obsm")
        if key not in held:
            raise DataError(
                f"{path} has no obsm[{key!r}]. It holds {', '.join(held) or 'no embedding'}: "
                "choose with --embedding, or make one with `zeroshot embed`."
            )
        obs = read_obs(file, path)
        embedding = read_array(file, path, f"obsm/{key}")
    labels = categories(obs, label_key, "label", path.name, missing_labels)
    batches = categories(obs, batch_key, "batch", path.name, missing_labels) if batch_key else None
    stays = labels.codes >= 0 if batches is None else (labels.codes >= 0) & (batches.codes >= 0)
    if not stays.any():
        raise DataError(f"{path}: no cell has both a label and a batch. Name other columns.")
    if not stays.all():
        if notes is not None:
            notes.append(
                f"{int((~stays).sum()):,} of {len(stays):,} cells are left out: they have no label or batch."
            )
        embedding, labels = embedding[stays], labels[stays].remove_unused_categories()
        batches = None if batches is None else batches[stays].remove_unused_categories()
    lost = int((~np.isfinite(embedding)).any(axis=1).sum())
    if lost:
        raise DataError(
            f"{path}: {lost:,} of {len(embedding):,} cells have NaN or infinite values in obsm[{key!r}]. "
            "Remove these cells, or make the embedding again."
        )
    return embedding, labels, batches
