"""What lies between the cell types: does an embedding keep related types close and others far?"""

import numpy as np

from .registry import NotApplicable, metric, require_two

PACKAGES = ("numpy", "scikit-learn", "scipy")

# scgraph-eval: `trim_rate` at each end, `thres_batch`, `thres_celltype`, components of a batch.
TRIMMED = 0.05
MIN_CELLS_OF_BATCH = 100
MIN_CELLS_OF_LABEL = 10
COMPONENTS = 10
# With two labels there is one distance, and nothing to correlate.
MIN_LABELS = 3


@metric(group="annotation", label="scGraph", worst=-1.0, oracle_is_best=False)
def scgraph(embedding: np.ndarray, baseline: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    r"""Agreement of the distances between cell types with those inside the single batches.

    .. math::

        \frac{1}{L}\sum_l \mathrm{corr}_w\big(d_{l\cdot},\ \bar d_{l\cdot}\big), \qquad
        w_{lm} = 1 / \bar d_{lm}

    with :math:`d_{lm}` the distance between the trimmed mean positions of labels l and m in the embedding,
    divided by the largest of label l, and :math:`\bar d_{lm}` the same among the first 10 principal
    components of each batch before integration, averaged over batches. Near types weigh most.

    Parameters
    ----------
    embedding
        (cells, dim), euclidean distance.
    baseline
        (cells, dim) the same cells before integration.
    labels
        (cells,); those with fewer than 10 cells are left out.
    batches
        (cells,), at least 2 distinct values; those with fewer than 100 cells are left out.

    Returns
    -------
    float
        Range -1 to 1, higher is better; about 0 if all types are equally far apart, as for a label oracle.

    Raises
    ------
    NotApplicable
        If there is one batch or label, no embedding before integration was given, no batch has 100 cells, or
        fewer than 3 labels remain.

    Known failure
    -------------
    What counts as truth are the principal components of single batches, so it favours what resembles PCA and
    does not see what PCA misses. It looks at the centres of types only: mixing within and overlap between
    them go unseen. Few types mean few distances and a jumpy value.

    Source
    ------
    Wang et al. 2025; scgraph-eval 0.1.2, column Corr-Weighted, to which it agrees to 1e-6 on the same
    components.

    Differs
    -------
    The components of a batch are of its rows of the baseline; the original selects 1,000 variable genes in
    each batch. A label that is only in left-out batches is left out, where the original stops.
    """
    require_two(batches, "batch")
    require_two(labels, "label")
    if baseline is None:
        raise NotApplicable("no embedding before integration was given")
    codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    kept = sizes >= MIN_CELLS_OF_LABEL
    of_batches = []
    for batch in np.unique(batches):
        cells = np.asarray(batches) == batch
        if cells.sum() >= MIN_CELLS_OF_BATCH:
            of_batches.append(_relative_distances(_components(baseline[cells]), codes[cells], kept))
    if not of_batches:
        raise NotApplicable(f"no batch has {MIN_CELLS_OF_BATCH} cells")
    reference = _relative(_mean_of_known(np.stack(of_batches)))
    of_embedding = _relative_distances(np.asarray(embedding, dtype=np.float64), codes, kept)
    present = np.isfinite(np.diag(reference))
    if present.sum() < MIN_LABELS:
        raise NotApplicable(f"fewer than {MIN_LABELS} labels have enough cells")
    correlations = [
        _weighted_correlation(of_embedding[:, label], reference[:, label])
        for label in np.flatnonzero(present)
    ]
    if np.isnan(correlations).all():
        raise NotApplicable("all labels are equally far apart")
    return np.nanmean(correlations)


def _components(values: np.ndarray) -> np.ndarray:
    """Scores of the cells of a batch on their own first principal components."""
    from sklearn.decomposition import PCA

    return PCA(min(COMPONENTS, *values.shape), svd_solver="full").fit_transform(values.astype(np.float64))


def _relative_distances(points: np.ndarray, codes: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(labels, labels) distances of trimmed means, each column over its largest; NaN for absent labels."""
    from scipy.spatial.distance import cdist
    from scipy.stats import trim_mean

    centres = np.full((len(kept), points.shape[1]), np.nan)
    for label in np.flatnonzero(kept & (np.bincount(codes, minlength=len(kept)) > 0)):
        centres[label] = trim_mean(points[codes == label], TRIMMED, axis=0)
    return _relative(cdist(centres, centres))


def _relative(distances: np.ndarray) -> np.ndarray:
    largest = np.where(np.isnan(distances), 0, distances).max(axis=0)
    return distances / np.where(largest > 0, largest, np.nan)


def _mean_of_known(distances: np.ndarray) -> np.ndarray:
    """Mean over batches of (batches, labels, labels), of each pair over those that hold both labels."""
    known = np.isfinite(distances)
    sums, number = np.where(known, distances, 0).sum(axis=0), known.sum(axis=0)
    return np.divide(sums, number, out=np.full(sums.shape, np.nan), where=number > 0)


def _weighted_correlation(values: np.ndarray, reference: np.ndarray) -> float:
    """Pearson correlation, each pair weighted by one over its reference distance; NaN where undefined."""
    both = np.isfinite(values) & np.isfinite(reference) & (reference > 0)
    values, reference = values[both], reference[both]
    if len(values) < 2:
        return np.nan
    weights = (1 / reference) / (1 / reference).sum()
    values, reference = values - weights @ values, reference - weights @ reference
    spread = np.sqrt((weights @ values**2) * (weights @ reference**2))
    # Distances that are all the same but for rounding have no correlation.
    return (weights @ (values * reference)) / spread if spread > 1e-12 else np.nan
