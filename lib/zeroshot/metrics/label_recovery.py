"""Which labels an embedding finds again: neighbourhoods of one label, clusters that are a label."""

import numpy as np

from .neighbors import Neighbors
from .registry import metric, require_two

PACKAGES = ("numpy", "scipy", "torch")

# pegasus.calc_kSIM: share of a cell's neighbours, itself included, that must have its label.
LEAST_SHARE = 0.9


@metric(group="annotation", label="kSIM")
def ksim(neighbors_25: Neighbors, labels: np.ndarray) -> float:
    r"""Share of cells whose neighbours nearly all have their label (kSIM acceptance rate).

    .. math::

        \mathrm{kSIM} = \frac{1}{n}\sum_i \Big[\frac{1}{k}\sum_{j \in N_i} [\,l_j = l_i\,] \ge 0.9\Big]

    with :math:`N_i` the :math:`k = \min(25, \lfloor\sqrt n\rfloor)` nearest cells, the cell itself included.

    Parameters
    ----------
    neighbors_25
        25 nearest neighbours, the cell itself included.
    labels
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about 0 unless one label has nearly all cells.

    Raises
    ------
    NotApplicable
        If there is one label.

    Known failure
    -------------
    A label with fewer than 0.9 k cells is never accepted, however well set apart. It says nothing of how far
    apart labels are, nor whether a label is in one piece.

    Source
    ------
    Li et al. 2020; pegasus 1.10.2, `calc_kSIM`, second value, which openproblems reports.

    Differs
    -------
    Exact neighbours; pegasus takes approximate ones (hnswlib) of more than 1,000 cells.
    """
    require_two(labels, "label")
    labels = np.asarray(labels)
    near = labels[neighbors_25.first(int(np.sqrt(len(labels)))).indices]
    return np.mean((near == labels[:, None]).mean(axis=1) >= LEAST_SHARE)


@metric(group="annotation", label="Isolated label F1")
def isolated_labels_f1(leiden: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    r"""How well some cluster matches each label found in the fewest batches, mean of the best F1.

    .. math::

        \frac{1}{|I|}\sum_{l \in I} \max_{r, c} \frac{2\,|c \cap l|}{|c| + |l|}, \qquad
        I = \{\,l : B_l = \min\nolimits_k B_k\,\}

    over the clusters c of the Leiden clusterings at all resolutions r, with :math:`B_l` the number of batches
    that hold label l.

    Parameters
    ----------
    leiden
        (resolutions, cells) clusters at resolutions 0.1, 0.2 .. 2.0.
    labels
        (cells,), at least 2 distinct values.
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; not 0 by chance: one cluster of all cells already has 2 s / (1 + s) of
        a label with the share s of the cells.

    Raises
    ------
    NotApplicable
        If there is one batch or one label.

    Known failure
    -------------
    Optimistic: resolution and cluster are chosen by the label, anew for each. One cell that strays into
    another batch makes a label common. An embedding that sets the batches apart is rewarded: a label of one
    batch is then a cluster.

    Source
    ------
    Luecken et al. 2022; theislab/scib 1.1.7, `isolated_labels_f1`, to which it agrees on the same clusters.

    Differs
    -------
    Resolutions 0.1 to 2.0 in steps of 0.1, scib's are 0.2 to 2.0 in steps of 0.2; exact neighbours without
    edge weights. If every batch holds every label, all are "isolated", as for `isolated_labels`; scib then
    has no score.
    """
    require_two(batches, "batch")
    require_two(labels, "label")
    codes, batch_codes = (np.unique(values, return_inverse=True)[1] for values in (labels, batches))
    pairs = np.unique(np.column_stack([codes, batch_codes]), axis=0)
    in_batches = np.bincount(pairs[:, 0])
    isolated = in_batches == in_batches.min()
    sizes = np.bincount(codes)
    best = np.zeros(len(sizes))
    for clusters in leiden:
        shared = np.zeros((len(sizes), clusters.max() + 1))
        np.add.at(shared, (codes, clusters), 1)
        f1 = 2 * shared / (sizes[:, None] + shared.sum(axis=0).clip(min=1))
        best = np.maximum(best, f1.max(axis=1))
    return best[isolated].mean()
