"""How well cells are labelled from a few labelled cells of each type, and whether a type without is seen."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..distances import scaled
from .votes import N_NEIGHBORS, vote

PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl")

PER_TYPE = (1, 3, 10, 30, 100)  # labelled cells of each type
DRAWS = 5
COLUMNS = ["split", "classifier", "per_type", "statistic", "draw", "value"]
# Cells that are predicted in a draw, and batches that are held out, the largest: more cost time and change
# little beside the draw of the labelled cells.
_MOST_TEST_CELLS = 600
_MOST_BATCHES = 2
_FEWEST_TEST_CELLS = 10
_COMPONENTS = 50


@dataclass(frozen=True)
class _Split:
    """Cells to learn from and cells to predict.

    ``labelled`` (n_labelled,) and ``test`` (n_test,) are rows; ``place`` (n_labelled,) is the place of a cell
    among those of its type, from 0: a smaller number per type takes the first.
    """

    labelled: np.ndarray
    place: np.ndarray
    test: np.ndarray


def few_label_scores(
    embedding: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Scores of labels that are predicted from few labelled cells of each type.

    Parameters
    ----------
    embedding
        (n_cells, n_dims), finite.
    labels
        (n_cells,). Types of one cell are left out.
    batches
        (n_cells,); None where there are none.
    seed, draws
        The same seed draws the same cells, whatever the embedding; how many draws.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`. ``split`` is "random" (labelled cells of any batch; half of the cells of each
        type are kept for the test), "batch-out" (labelled cells of all batches but the one that is predicted,
        each of the two largest in turn; types that both have) or "type-out". ``classifier`` is "knn" (votes
        of as many neighbours as there are labelled cells per type, at most 15) or "logistic" (L2 penalty,
        C=1, on standardised dimensions, of more than 50 the first principal components of all cells). Of both
        ``statistic`` is "accuracy" or "macro_f1", on the same cells for every ``per_type``; range 0 to 1,
        higher is better. A type gives all labelled cells that it can where it has fewer than ``per_type``;
        numbers that fewer than half of the types can give are left out.

        Of "type-out", "novelty_auroc": each type in turn loses its labelled cells, and cells are ordered by
        the mean distance to the 15 nearest labelled ones. How often a cell of the type is farther than one
        of another type, mean over types; chance is 0.5, higher is better.

    Source
    ------
    scikit-learn's LogisticRegression; novelty as in :func:`zeroshot.metrics.label_transfer.transfer_labels`.
    """
    points = scaled(np.asarray(embedding))[0]
    points = points - points.mean(axis=0)
    features = _standardized(points)
    _, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    rows: list[tuple[str, str, int, str, int, float]] = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        for split in _random_splits(codes, rng):
            distances = _squared_distances(points, split)
            order = np.argsort(distances, axis=1, kind="stable")
            rows += _rows("random", draw, [_accuracies(split, codes, features, order)])
            novelty = _novelty(split, codes, distances, order)
            rows += [("type-out", "distance", PER_TYPE[-1], "novelty_auroc", draw, novelty)]
        of_batches = []
        for split in _batch_splits(codes, batches, rng):
            order = np.argsort(_squared_distances(points, split), axis=1, kind="stable")
            of_batches.append(_accuracies(split, codes, features, order))
        rows += _rows("batch-out", draw, of_batches)
    return pd.DataFrame(rows, columns=COLUMNS)


def _random_splits(codes: np.ndarray, rng: np.random.Generator) -> Iterator[_Split]:
    """One split, none where fewer than two types have two cells."""
    shuffled = rng.permutation(len(codes))
    place, size = _places(codes[shuffled])
    is_first_half = place < size // 2
    if len(np.unique(codes[shuffled[is_first_half]])) >= 2:
        has_both = size >= 2
        yield _split(codes, shuffled[is_first_half], shuffled[~is_first_half & has_both])


def _batch_splits(
    codes: np.ndarray, batches: np.ndarray | None, rng: np.random.Generator
) -> Iterator[_Split]:
    """A split for each of the largest batches that share two types with the others."""
    if batches is None:
        return
    names, of_cell, sizes = np.unique(
        np.asarray(batches).astype(str), return_inverse=True, return_counts=True
    )
    shuffled = rng.permutation(len(codes))
    n_splits = 0
    for batch in np.argsort(-sizes, kind="stable") if len(names) > 1 else ():
        is_held_out = of_cell[shuffled] == batch
        pool, test = shuffled[~is_held_out], shuffled[is_held_out]
        shared = np.intersect1d(codes[pool], codes[test])
        pool, test = pool[np.isin(codes[pool], shared)], test[np.isin(codes[test], shared)]
        if len(shared) >= 2 and len(test) >= _FEWEST_TEST_CELLS and n_splits < _MOST_BATCHES:
            n_splits += 1
            yield _split(codes, pool, test)


def _split(codes: np.ndarray, pool: np.ndarray, test: np.ndarray) -> _Split:
    """Of cells in random order the first of each type; of the test one of each type, then any."""
    place, _ = _places(codes[pool])
    is_labelled = place < PER_TYPE[-1]
    of_test, _ = _places(codes[test])
    places = np.argsort(of_test > 0, kind="stable")[:_MOST_TEST_CELLS]
    return _Split(pool[is_labelled], place[is_labelled], test[places])


def _places(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place of each cell among those of its type, in the order given, and how many there are."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=1)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(codes), dtype=np.int64)
    place[order] = np.arange(len(codes)) - starts[codes[order]]
    return place, sizes[codes]


def _squared_distances(points: np.ndarray, split: _Split) -> np.ndarray:
    """(n_test, n_labelled)."""
    from sklearn.metrics import pairwise_distances

    return pairwise_distances(points[split.test], points[split.labelled], metric="sqeuclidean")


def _accuracies(
    split: _Split, codes: np.ndarray, features: np.ndarray, order: np.ndarray
) -> dict[tuple[str, int, str], float]:
    """Accuracy and macro F1 by classifier and number of labelled cells."""
    of_labelled, truth = codes[split.labelled], codes[split.test]
    available = np.unique(of_labelled, return_counts=True)[1]
    values = {}
    for per_type in PER_TYPE:
        if np.mean(available >= per_type) < 0.5:
            continue
        is_used = split.place < per_type
        rows = split.labelled[is_used]
        neighbors = _first(order, is_used, min(per_type, N_NEIGHBORS))
        predictions = {
            "knn": vote(of_labelled[neighbors], codes.max() + 1),
            "logistic": _logistic(features[rows], codes[rows], features[split.test]),
        }
        for classifier, predicted in predictions.items():
            values[classifier, per_type, "accuracy"] = float(np.mean(predicted == truth))
            values[classifier, per_type, "macro_f1"] = _macro_f1(truth, predicted)
    return values


def _first(order: np.ndarray, mask: np.ndarray, k: int) -> np.ndarray:
    """(n_test, k) the first k columns of each row for which a mask holds, all where it holds for fewer."""
    is_used = mask[order]
    k = min(k, int(mask.sum()))
    is_first = is_used & (np.cumsum(is_used, axis=1) <= k)
    return order[is_first].reshape(len(order), k)


def _logistic(train: np.ndarray, codes: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Many small products; and that each class has one cell is what is asked, of which scikit-learn warns.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        return LogisticRegression(max_iter=1000).fit(train, codes).predict(test)


def _macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the types of the test cells."""
    n_labels = int(max(truth.max(), predicted.max())) + 1
    table = np.bincount(truth * n_labels + predicted, minlength=n_labels**2).reshape(n_labels, n_labels)
    cells, votes = table.sum(axis=1), table.sum(axis=0)
    present = cells > 0
    return float(np.mean(2 * np.diag(table)[present] / (cells + votes)[present]))


def _novelty(split: _Split, codes: np.ndarray, distances: np.ndarray, order: np.ndarray) -> float:
    """Mean AUROC over types without labelled cells."""
    from scipy.stats import rankdata

    of_labelled, truth = codes[split.labelled], codes[split.test]
    # A type has at most that many labelled cells: behind them are enough of others.
    nearest = order[:, : PER_TYPE[-1] + N_NEIGHBORS]
    lengths = np.sqrt(np.maximum(np.take_along_axis(distances, nearest, axis=1), 0))
    areas = []
    for code in np.unique(truth):
        others = of_labelled != code
        is_used = others[nearest]
        is_used &= np.cumsum(is_used, axis=1) <= min(N_NEIGHBORS, int(others.sum()))
        score = (lengths * is_used).sum(axis=1) / is_used.sum(axis=1)
        is_new = truth == code
        n_new, n_known = int(is_new.sum()), int((~is_new).sum())
        ranks = rankdata(score)[is_new].sum()
        areas.append((ranks - n_new * (n_new + 1) / 2) / (n_new * n_known))
    return float(np.mean(areas))


def _standardized(points: np.ndarray) -> np.ndarray:
    """Dimensions, of more than 50 the principal components, with mean 0 and spread 1."""
    from sklearn.decomposition import PCA

    # PCA divides by the total variance and warns where it is 0.
    if points.shape[1] > _COMPONENTS and (points != points[0]).any():
        pca = PCA(min(_COMPONENTS, len(points)), svd_solver="randomized", random_state=0).fit(points)
        # Beyond the rank of the data there is rounding noise, which standardising would blow up.
        real = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
        points = pca.transform(points)[:, real]
    spread = points.std(axis=0)
    return (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _rows(
    split: str, draw: int, of_splits: list[dict[tuple[str, int, str], float]]
) -> list[tuple[str, str, int, str, int, float]]:
    """Rows of the table: means over splits, of what all of them have."""
    keys = [key for key in of_splits[0] if all(key in one for one in of_splits)] if of_splits else []
    return [
        (split, classifier, per_type, statistic, draw, float(np.mean([one[key] for one in of_splits])))
        for key in keys
        for classifier, per_type, statistic in [key]
    ]
