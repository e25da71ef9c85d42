"""Metrics that classify cells: can a cell's label be told from those of other cells?"""

import numpy as np

from .distances import scaled
from .neighbors import Neighbors
from .registry import NotApplicable, metric, require_two

PACKAGES = ("numpy", "scikit-learn", "scipy", "threadpoolctl", "torch")

# Every fold needs a cell of every label.
FOLDS = 5
PRINCIPAL_COMPONENTS = 50


@metric(group="annotation", label="kNN accuracy")
def knn_accuracy(neighbors_16: Neighbors, labels: np.ndarray) -> float:
    r"""Share of cells whose label is that of most of their 15 nearest other cells.

    .. math::

        \frac{1}{n}\sum_i \big[\,\hat l_i = l_i\,\big], \qquad
        \hat l_i = \arg\max_l \big|\{j \in N_{15}(i) : l_j = l\}\big|

    with :math:`N_{15}(i)` the nearest cells of cell i, itself left out. Of labels with equally many votes the
    one with the nearest cell wins, then the one with the nearest other cell, and so on.

    Parameters
    ----------
    neighbors_16
        16 nearest neighbours, the cell itself in column 0 (fewer if there are fewer cells).
    labels
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about the share of the largest label, or less.

    Raises
    ------
    NotApplicable
        If there is one label.

    Known failure
    -------------
    The large labels decide it: on a data set that is 90 % one type, naming that type everywhere scores 0.9.
    See `knn_macro_f1`. The neighbours may all come from the cell's own batch, so a high value does not say
    that labels carry over from one batch to another.

    Source
    ------
    Cover and Hart 1967; leave-one-out, votes as sklearn.neighbors.KNeighborsClassifier with n_neighbors=15.

    Differs
    -------
    scikit-learn gives a tie to the label that sorts first; here the nearest cells decide.
    """
    require_two(labels, "label")
    return np.mean(_vote(neighbors_16, labels) == np.asarray(labels))


@metric(group="annotation", label="kNN macro F1")
def knn_macro_f1(neighbors_16: Neighbors, labels: np.ndarray) -> float:
    r"""F1 of the labels voted by the 15 nearest other cells, averaged over labels of any size alike.

    .. math::

        \frac{1}{|L|}\sum_{l \in L} \frac{2\,\mathrm{TP}_l}{2\,\mathrm{TP}_l + \mathrm{FP}_l + \mathrm{FN}_l}

    with the votes of `knn_accuracy`: cells of l voted l (TP), cells of another label voted l (FP) and cells
    of l voted otherwise (FN).

    Parameters
    ----------
    neighbors_16
        16 nearest neighbours, the cell itself in column 0 (fewer if there are fewer cells).
    labels
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about one over the number of labels, or less.

    Raises
    ------
    NotApplicable
        If there is one label.

    Known failure
    -------------
    A label with fewer than about 8 cells is outvoted by its neighbours even where it lies apart, and a label
    of one cell always scores 0, so many rare labels pull every embedding down alike.

    Source
    ------
    sklearn.metrics.f1_score with average="macro".

    Differs
    -------
    Ties go to the label of the nearest cells, as in `knn_accuracy`.
    """
    from sklearn.metrics import f1_score

    require_two(labels, "label")
    return f1_score(labels, _vote(neighbors_16, labels), average="macro", zero_division=0)


@metric(group="annotation", label="Linear probe")
def linear_probe(embedding: np.ndarray, labels: np.ndarray) -> float:
    r"""Balanced accuracy of a logistic regression, each cell predicted from the other four fifths.

    .. math::

        \frac{1}{|L|}\sum_{l \in L} \frac{1}{n_l}\sum_{i \in l} \big[\,\hat l_i = l\,\big]

    with :math:`\hat l_i` predicted by the fold of a stratified 5-fold cross-validation that holds cell i out.

    Parameters
    ----------
    embedding
        (cells, dim), standardised; of more than 50 dimensions the first 50 principal components,
        standardised in turn. Both are fitted to the training cells of each fold.
    labels
        (cells,). Labels with fewer than 5 cells are left out, and their cells with them.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about one over the number of labels.

    Raises
    ------
    NotApplicable
        If fewer than two labels have 5 cells or more.

    Known failure
    -------------
    Supervised: it says what the embedding holds, not what its distances show, and an embedding whose clusters
    are useless can score 1. Folds share their batches, so what was learnt may be a batch effect. Once
    standardised, a dimension of tiny variance counts as much as any. Labels left out are not missed.

    Source
    ------
    Alain and Bengio 2016; scikit-learn's LogisticRegression (L2 penalty, C=1), StratifiedKFold, PCA
    (randomized, fixed seed) and balanced_accuracy_score.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    require_two(labels, "label")
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kept = sizes[codes] >= FOLDS
    if len(np.unique(codes[kept])) < 2:
        raise NotApplicable(f"fewer than two labels with {FOLDS} cells")
    embedding, codes = scaled(embedding)[0][kept], codes[kept]
    predicted = np.empty_like(codes)
    # Thousands of small products: on busy cores, waiting for a second thread takes longer than computing.
    with threadpool_limits(1):
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(embedding, codes):
            seen, unseen = _components(embedding[train], embedding[test])
            scaler = StandardScaler().fit(seen)
            probe = LogisticRegression(max_iter=1000).fit(scaler.transform(seen), codes[train])
            predicted[test] = probe.predict(scaler.transform(unseen))
    return balanced_accuracy_score(codes, predicted)


def _components(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the training cells, where there are more than 50 dimensions."""
    from sklearn.decomposition import PCA

    # PCA divides by the total variance and warns where it is 0.
    if train.shape[1] <= PRINCIPAL_COMPONENTS or (train == train[0]).all():
        return train, test
    pca = PCA(min(PRINCIPAL_COMPONENTS, len(train)), svd_solver="randomized", random_state=0).fit(train)
    # Beyond the rank of the data there is rounding noise, which standardising would blow up.
    real = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
    return pca.transform(train)[:, real], pca.transform(test)[:, real]


def _vote(neighbors: Neighbors, labels: np.ndarray) -> np.ndarray:
    """Label with the most votes among each cell's neighbours, the cell itself left out."""
    others = neighbors.indices[:, 1:]
    names, codes = np.unique(labels, return_inverse=True)
    # One vote each, and a half, a quarter .. of a vote more by nearness: less than one vote in total, and no
    # sum of later parts reaches an earlier one. So they decide ties, nearest cell first, and nothing else.
    weights = 1 + 0.5 ** np.arange(1, others.shape[1] + 1)
    votes = np.zeros((len(others), len(names)))
    np.add.at(votes, (np.arange(len(others))[:, None], codes[others]), weights)
    return names[votes.argmax(axis=1)]
