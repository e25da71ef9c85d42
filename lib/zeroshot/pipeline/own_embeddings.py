"""Embeddings of a user's file: do their rows belong to the cells, and their scores as a table."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from zeroshot import data, metrics, models, store
from zeroshot.data.embedded import read_embedding
from zeroshot.embedding import alignment
from zeroshot.models import Cells

# Of what `zeroshot evaluate` writes. Not those of seeds: of an embedding from elsewhere none is known.
_COLUMNS = (
    "metric", "group", "value", "note", "low", "high", "file", "embedding", "label", "higher_is_better",
    "cluster_sd", "warning",
)  # fmt: skip


def doubts_of_file(
    path: Path,
    keys: Iterable[str],
    label_key: str,
    *,
    before: str | None = None,
    seed: int = 0,
    notes: list[str] | None = None,
) -> dict[str, list[alignment.Doubt]]:
    """Reasons to think that embeddings of a file are not in the order of its cells.

    The reference is the principal components of the file's counts, or, where it holds none, the embedding
    before integration. With neither, only columns that count the rows are found.

    Parameters
    ----------
    path
        The .h5ad file; not changed.
    keys
        Keys of ``obsm`` that :func:`zeroshot.data.embedded.read_embedding` reads.
    label_key
        Column of ``obs`` with the cell types; missing ones count as a type.
    before
        Key of ``obsm`` before integration, if there is one.
    seed
        Draws the cells that are compared.
    notes
        A list that receives a sentence where there is no reference.

    Returns
    -------
    dict
        Each key with its doubts, see :func:`zeroshot.embedding.alignment.doubts`.
    """
    how = {"label_key": label_key, "batch_key": None, "missing_labels": "keep"}
    rows, reference, reason = _components_of_counts(path, seed)
    if reference is None and before is not None:
        reference = read_embedding(path, before, **how)[0][rows]
    elif reference is None and notes is not None:
        notes.append(f"the order of the rows was not compared with counts: {reason}")
    doubts = {}
    for key in keys:
        values, labels, _ = read_embedding(path, key, **how)
        of_columns = alignment.doubts(values)
        of_order = alignment.doubts(values[rows], reference, np.asarray(labels)[rows], seed=seed)
        doubts[key] = list(dict.fromkeys([*of_columns, *of_order]))
    return doubts


def evaluation_table(
    scored: Mapping[str, store.Artifact], file: str, doubts: Mapping[str, Iterable[alignment.Doubt]]
) -> pd.DataFrame:
    """Scores of embeddings of a file as ``zeroshot evaluate`` writes them.

    Columns metric, group, value, note, low, high, file, embedding, label, higher_is_better, cluster_sd (the
    spread over seeds of the clustering), and warning: which checks say that its rows may not be those of the
    cells; empty if none.
    """
    tables = []
    for key, artifact in scored.items():
        scores = artifact.load("scores")
        of_metrics = [metrics.METRICS[metric] for metric in scores["metric"]]
        tables.append(
            scores.assign(
                file=file,
                embedding=key,
                label=[metric.label for metric in of_metrics],
                higher_is_better=[metric.higher_is_better for metric in of_metrics],
                warning="; ".join(doubt.check for doubt in doubts[key]),
            )
        )
    return pd.concat(tables, ignore_index=True)[list(_COLUMNS)]


def evaluation_record(
    table: pd.DataFrame, doubts: Mapping[str, Iterable[alignment.Doubt]], notes: Iterable[str]
) -> list[dict]:
    """What ``zeroshot evaluate --json`` prints, an entry for each embedding.

    ``embedding``; ``warnings``: check, seen, expected and advice of each doubt; ``notes`` on the file;
    ``scores``: the rows of the table, null where there is no value.
    """
    rows = table.astype(object).where(table.notna(), None)
    return [
        {
            "embedding": key,
            "warnings": [asdict(doubt) for doubt in of_embedding],
            "notes": list(dict.fromkeys(notes)),
            "scores": rows[rows["embedding"] == key].to_dict("records"),
        }
        for key, of_embedding in doubts.items()
    ]


def _components_of_counts(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Rows of some cells, their principal components, or why there are none."""
    try:
        adata = data.load(path, require_labels=False)
    except data.DataError as error:
        return np.arange(_n_cells(path)), None, str(error)
    rows = np.sort(np.random.default_rng(seed).permutation(adata.n_obs)[: alignment.SAMPLE])
    try:
        cells = Cells.of(adata[rows], with_batches=False)
        return rows, models.load("pca").embed(cells, seed), ""
    except ValueError as error:
        return rows, None, str(error)


def _n_cells(path: Path) -> int:
    from zeroshot.data.h5ad import open_h5ad, read_obs

    with open_h5ad(path) as file:
        return len(read_obs(file, path))
