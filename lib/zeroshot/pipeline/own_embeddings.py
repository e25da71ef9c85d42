"""Embeddings of a user's file: do their rows belong to the cells, and their scores as a table."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from zeroshot import data, metrics, models, store
from zeroshot.data.embedded import EmbeddedCells
from zeroshot.embedding import alignment
from zeroshot.models import Cells

from .scores import single

# Of what `zeroshot evaluate` writes. Not those of seeds: of an embedding from elsewhere none is known.
_COLUMNS = (
    "metric", "group", "value", "note", "low", "high", "file", "embedding", "label", "higher_is_better",
    "cluster_sd", "warning",
)  # fmt: skip


def doubts_of_file(
    path: Path,
    cells: EmbeddedCells,
    keys: Iterable[str],
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
    cells
        What :func:`zeroshot.data.embedded.read_embeddings` read from it. Those that are scored are compared
        with the reference; a column that counts the rows is sought among all.
    keys
        Of the embeddings to examine.
    before
        Key of the embedding before integration, if there is one.
    seed
        Draws the cells that are compared.
    notes
        A list that receives a sentence where there is no reference.

    Returns
    -------
    dict
        Each key with its doubts, see :func:`zeroshot.embedding.alignment.doubts`.
    """
    rows, reference, reason = _components_of_counts(path, len(cells.scored_mask), seed)
    if reference is None and before is not None:
        reference = single(cells.matrices[before])[rows]
    elif reference is None and notes is not None:
        notes.append(f"the order of the rows was not compared with counts: {reason}")
    is_scored = cells.scored_mask[rows]
    rows, reference = rows[is_scored], None if reference is None else reference[is_scored]
    labels = np.asarray(cells.labels)[(np.cumsum(cells.scored_mask) - 1)[rows]]
    doubts = {}
    for key in keys:
        matrix = single(cells.matrices[key])
        of_order = alignment.doubts(matrix[rows], reference, labels, seed=seed)
        doubts[key] = list(dict.fromkeys([*alignment.doubts(matrix), *of_order]))
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


def _components_of_counts(path: Path, n_cells: int, seed: int) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Rows of some cells, their principal components, or why there are none."""
    try:
        adata = data.load(path, require_labels=False)
    except data.DataError as error:
        return np.arange(n_cells), None, str(error)
    rows = np.sort(np.random.default_rng(seed).permutation(n_cells)[: alignment.SAMPLE])
    try:
        cells = Cells.of(adata[rows], with_batches=False)
        return rows, models.load("pca").embed(cells, seed), ""
    except ValueError as error:
        return rows, None, str(error)
