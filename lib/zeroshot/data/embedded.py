"""Embeddings inside .h5ad files: written beside what a file holds, read back for scoring."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.validate import DataError, categories, open_h5ad


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
    path: Path, key: str, *, label_key: str, batch_key: str | None
) -> tuple[np.ndarray, pd.Categorical, pd.Categorical | None]:
    """An embedding of a file with the labels and batches of its cells.

    Returns
    -------
    tuple
        (cells, dim) embedding, (cells,) labels, (cells,) batches or None.

    Raises
    ------
    DataError
        If the file, the key or a column is missing, or a label or batch is.
    """
    from anndata.io import read_elem

    with open_h5ad(path) as file:
        held = sorted(file.get("obsm", ()))
        if key not in held:
            raise DataError(
                f"{path} has no obsm[{key!r}]. It holds {', '.join(held) or 'no embedding'}: "
                "choose with --embedding, or make one with `zeroshot embed`."
            )
        held = read_elem(file[f"obsm/{key}"])
        embedding = held.toarray() if sparse.issparse(held) else np.asarray(held)
        obs = read_elem(file["obs"])
    labels = categories(obs, label_key, "label", path.name)
    batches = categories(obs, batch_key, "batch", path.name) if batch_key else None
    return embedding, labels, batches
