"""How well labels of a reference fit the cells of a query, over draws of the labelled cells."""

import numpy as np
import pandas as pd

from ..distances import scaled
from .votes import N_NEIGHBORS, vote

PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy")

MAPPING_COLUMNS = ["statistic", "draw", "value"]


def mapping_scores(
    reference: np.ndarray,
    labels: np.ndarray,
    query: np.ndarray,
    truth: np.ndarray,
    *,
    seed: int = 0,
    draws: int = 5,
) -> pd.DataFrame:
    """Scores of labels that the cells of a query get from those of a reference.

    In each draw half of the reference's cells of each type are labelled, one at least, and label all cells of
    the query, as in :func:`zeroshot.metrics.label_transfer.transfer_labels`.

    Parameters
    ----------
    reference, query
        (n_reference, n_dims) and (n_query, n_dims), finite, of the same embedding.
    labels, truth
        (n_reference,) and (n_query,) types under the same names.
    seed, draws
        The same seed draws the same cells, whatever the embedding; how many draws.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`MAPPING_COLUMNS`. ``statistic`` is "accuracy" (share of cells with the right label) and
        "macro_f1" (mean F1 over their types), both of the query's cells of types that the reference has;
        and "novelty_auroc", where the query has other types too: how often a cell of these is farther from
        its nearest labelled cells, in the mean, than one of the others; chance is 0.5. Range 0 to 1, higher
        is better. A statistic that no cell can be used for has no rows.

    Source
    ------
    scikit-learn's ``f1_score`` and ``roc_auc_score``. Differs from ``Transfer.novelty``, a percentile of this
    distance, which is 1 for all cells of a query that lies apart.
    """
    from sklearn.metrics import f1_score, roc_auc_score
    from sklearn.neighbors import NearestNeighbors

    points, _ = scaled(np.concatenate([reference, query]))
    points = points - points[: len(reference)].mean(axis=0)  # rounding errors of distances shrink
    reference, query = np.split(points, [len(reference)])
    names, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    truth = np.asarray(truth).astype(str)
    is_new = ~np.isin(truth, names)
    expected = truth[~is_new]
    rows: list[tuple[str, int, float]] = []
    for draw in range(draws if len(expected) else 0):
        labelled = _half_of_each_type(codes, np.random.default_rng([seed, draw]))
        n_neighbors = min(N_NEIGHBORS, len(labelled))
        search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(reference[labelled])
        distances, nearest = search.kneighbors(query)
        predicted = names[vote(codes[labelled][nearest], len(names))][~is_new]
        f1 = f1_score(expected, predicted, labels=np.unique(expected), average="macro", zero_division=0)
        rows += [("accuracy", draw, np.mean(predicted == expected)), ("macro_f1", draw, f1)]
        if is_new.any():
            rows.append(("novelty_auroc", draw, roc_auc_score(is_new, distances.mean(axis=1))))
    return pd.DataFrame(rows, columns=MAPPING_COLUMNS).astype({"value": float})


def _half_of_each_type(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of half of the cells of each type, rounded up, in their order."""
    shuffled = rng.permutation(len(codes))
    of_types = [shuffled[codes[shuffled] == code] for code in np.unique(codes)]
    return np.sort(np.concatenate([rows[: (len(rows) + 1) // 2] for rows in of_types]))
