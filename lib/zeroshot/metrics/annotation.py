"""Metrics of cell type separation: does the embedding keep the labels apart?"""

import numpy as np

from .lisi import median_lisi
from .neighbors import Neighbors
from .registry import metric, require_two

PACKAGES = ("numpy", "scikit-learn", "scipy", "torch")


@metric(group="annotation", label="ASW", chance=0.5)
def asw_label(label_widths: np.ndarray) -> float:
    r"""Average silhouette width of the labels, scaled to 0..1.

    .. math::

        \mathrm{ASW} = \frac{1}{2}\Big(1 + \frac{1}{n}\sum_i \frac{b_i - a_i}{\max(a_i, b_i)}\Big)

    with :math:`a_i` the mean distance to the cell's own label and :math:`b_i` to the nearest other label.

    Parameters
    ----------
    label_widths
        (cells,) silhouette widths of the labels, over all dimensions, euclidean distance; of the function of
        this name.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about 0.5.

    Known failure
    -------------
    Distances even out in many dimensions, so the 2,000 genes of HVG sit near 0.5 whatever they know. It also
    rewards round, equally sized clusters: a cell type that is a gradient scores low however pure it is.

    Source
    ------
    Kedzierska et al. 2025; theislab/scib, scib/metrics/silhouette.py, `silhouette` with scale=True.
    """
    return (1 + np.mean(label_widths)) / 2


@metric(group="annotation", label="NMI", chance=0.0)
def nmi(labels: np.ndarray, clusters: np.ndarray) -> float:
    r"""Normalised mutual information of the labels and the Louvain clusters chosen with the labels.

    .. math::

        \mathrm{NMI} = \frac{2\, I(L; C)}{H(L) + H(C)}

    Parameters
    ----------
    labels
        (cells,).
    clusters
        (cells,), from the resolution among 0.1, 0.2 .. 2.0 with the highest NMI.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about 0.

    Known failure
    -------------
    Optimistic: the resolution is chosen by the labels it is scored on. Not corrected for chance: many small
    clusters raise it, and with few cells even shuffled labels score well above 0. See `nmi_label_free`.

    Source
    ------
    Kedzierska et al. 2025; theislab/scib, `opt_louvain` and `nmi` (arithmetic mean of the entropies).

    Differs
    -------
    Exact neighbours and igraph's Louvain; scib takes approximate neighbours and the louvain package.
    """
    from sklearn.metrics import normalized_mutual_info_score

    return normalized_mutual_info_score(labels, clusters)


@metric(group="annotation", label="ARI", worst=-0.5, chance=0.0)
def ari(labels: np.ndarray, clusters: np.ndarray) -> float:
    r"""Adjusted Rand index of the labels and the Louvain clusters chosen with the labels.

    .. math::

        \mathrm{ARI} = \frac{\mathrm{RI} - E[\mathrm{RI}]}{1 - E[\mathrm{RI}]}

    with RI the share of cell pairs on which labels and clusters agree.

    Parameters
    ----------
    labels
        (cells,).
    clusters
        (cells,), from the resolution among 0.1, 0.2 .. 2.0 with the highest NMI (not the highest ARI).

    Returns
    -------
    float
        Range -0.5 to 1, higher is better; shuffled labels give about 0.

    Known failure
    -------------
    Pairs are dominated by the largest labels: splitting one of them costs more than losing every rare type.
    Optimistic through the choice of the resolution; see `ari_label_free`.

    Source
    ------
    Kedzierska et al. 2025; theislab/scib, `opt_louvain` and `ari`.

    Differs
    -------
    Exact neighbours and igraph's Louvain; scib takes approximate neighbours and the louvain package.
    """
    from sklearn.metrics import adjusted_rand_score

    return adjusted_rand_score(labels, clusters)


@metric(group="annotation", label="NMI, label-free", chance=0.0)
def nmi_label_free(labels: np.ndarray, clusters_label_free: np.ndarray) -> float:
    r"""Normalised mutual information of the labels and Louvain clusters chosen without the labels.

    .. math::

        \mathrm{NMI} = \frac{2\, I(L; C)}{H(L) + H(C)}

    Parameters
    ----------
    labels
        (cells,).
    clusters_label_free
        (cells,), from the resolution whose clusters have the highest silhouette on the embedding; resolution
        1.0 if every clustering is a single cluster.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about 0.

    Known failure
    -------------
    The silhouette prefers few, far apart clusters, so broad lineages can win over cell types, and the chosen
    resolution can jump between two subsamples of the same data.

    Source
    ------
    This book; the choice by silhouette follows Rousseeuw 1987.

    Differs
    -------
    The paper has no label-free choice.
    """
    return nmi(labels, clusters_label_free)


@metric(group="annotation", label="ARI, label-free", worst=-0.5, chance=0.0)
def ari_label_free(labels: np.ndarray, clusters_label_free: np.ndarray) -> float:
    r"""Adjusted Rand index of the labels and Louvain clusters chosen without the labels.

    .. math::

        \mathrm{ARI} = \frac{\mathrm{RI} - E[\mathrm{RI}]}{1 - E[\mathrm{RI}]}

    with RI the share of cell pairs on which labels and clusters agree.

    Parameters
    ----------
    labels
        (cells,).
    clusters_label_free
        (cells,), as for `nmi_label_free`.

    Returns
    -------
    float
        Range -0.5 to 1, higher is better; shuffled labels give about 0.

    Known failure
    -------------
    As `ari` and `nmi_label_free`: dominated by the largest labels, and the chosen resolution can jump.

    Source
    ------
    This book; the choice by silhouette follows Rousseeuw 1987.

    Differs
    -------
    The paper has no label-free choice.
    """
    return ari(labels, clusters_label_free)


@metric(group="annotation", label="NMI, Leiden", chance=0.0)
def nmi_leiden(labels: np.ndarray, clusters_leiden: np.ndarray) -> float:
    r"""Normalised mutual information of the labels and the Leiden clusters chosen with the labels.

    .. math::

        \mathrm{NMI} = \frac{2\, I(L; C)}{H(L) + H(C)}

    Parameters
    ----------
    labels
        (cells,).
    clusters_leiden
        (cells,), from the resolution among 0.1, 0.2 .. 2.0 with the highest NMI.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about 0.

    Known failure
    -------------
    As `nmi`. What differs from it is the algorithm alone: where the two disagree, neither is to be trusted to
    that digit.

    Source
    ------
    Traag et al. 2019; scib_metrics.nmi_ari_cluster_labels_leiden, with the resolutions of scib's sweep.

    Differs
    -------
    Exact neighbours and no edge weights, as for `nmi`; scib-metrics weights the edges.
    """
    return nmi(labels, clusters_leiden)


@metric(group="annotation", label="ARI, Leiden", worst=-0.5, chance=0.0)
def ari_leiden(labels: np.ndarray, clusters_leiden: np.ndarray) -> float:
    r"""Adjusted Rand index of the labels and the Leiden clusters chosen with the labels.

    .. math::

        \mathrm{ARI} = \frac{\mathrm{RI} - E[\mathrm{RI}]}{1 - E[\mathrm{RI}]}

    with RI the share of cell pairs on which labels and clusters agree.

    Parameters
    ----------
    labels
        (cells,).
    clusters_leiden
        (cells,), as for `nmi_leiden`: the resolution with the highest NMI, not the highest ARI.

    Returns
    -------
    float
        Range -0.5 to 1, higher is better; shuffled labels give about 0.

    Known failure
    -------------
    As `ari`.

    Source
    ------
    Traag et al. 2019; scib_metrics.nmi_ari_cluster_labels_leiden, with the resolutions of scib's sweep.

    Differs
    -------
    Exact neighbours and no edge weights, as for `ari`; scib-metrics weights the edges.
    """
    return ari(labels, clusters_leiden)


@metric(group="annotation", label="AvgBIO", worst=-1 / 6, chance=1 / 6)
def avg_bio(asw_label: float, nmi: float, ari: float) -> float:
    r"""Mean of ASW, NMI and ARI, the paper's headline number.

    .. math::

        \mathrm{AvgBIO} = \frac{1}{3}(\mathrm{ASW} + \mathrm{NMI} + \mathrm{ARI})

    Parameters
    ----------
    asw_label, nmi, ari
        The three metrics of these names.

    Returns
    -------
    float
        Range -1/6 to 1, higher is better; shuffled labels give about 1/6, because ASW alone gives 1/2.

    Known failure
    -------------
    Three scales with three zero points in one mean: an embedding without information still gets 0.17, and
    the failures of ASW (dimension) and of NMI and ARI (resolution chosen by the labels) are averaged in.

    Source
    ------
    Cui et al. 2024 (scGPT); Kedzierska et al. 2025.
    """
    return (asw_label + nmi + ari) / 3


@metric(group="annotation", label="AvgBIO, label-free", worst=-1 / 6, chance=1 / 6)
def avg_bio_label_free(asw_label: float, nmi_label_free: float, ari_label_free: float) -> float:
    r"""Mean of ASW and the label-free NMI and ARI.

    .. math::

        \frac{1}{3}(\mathrm{ASW} + \mathrm{NMI}_\mathrm{free} + \mathrm{ARI}_\mathrm{free})

    Parameters
    ----------
    asw_label, nmi_label_free, ari_label_free
        The three metrics of these names.

    Returns
    -------
    float
        Range -1/6 to 1, higher is better; shuffled labels give about 1/6, because ASW alone gives 1/2.

    Known failure
    -------------
    As `avg_bio`, with the jumps of the label-free resolution in place of its optimism.

    Source
    ------
    This book.

    Differs
    -------
    AvgBIO with clusters that never saw the labels.
    """
    return (asw_label + nmi_label_free + ari_label_free) / 3


@metric(group="annotation", label="cLISI")
def clisi(neighbors_90: Neighbors, labels: np.ndarray) -> float:
    r"""Cell-type LISI: how few labels a cell's neighbourhood holds, median over cells, scaled to 0..1.

    .. math::

        \mathrm{cLISI} = \frac{L - \mathrm{median}_i \big(\sum_l p_{il}^2\big)^{-1}}{L - 1}

    with :math:`p_{il}` the weighted share of label l around cell i (perplexity 30) and L labels.

    Parameters
    ----------
    neighbors_90
        90 nearest neighbours, the cell itself included (fewer if there are fewer cells).
    labels
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; the value of shuffled labels depends on the label sizes.

    Raises
    ------
    NotApplicable
        If there is one label, or fewer than 10 cells.

    Known failure
    -------------
    Saturates: the median is close to 1 on most data sets and most embeddings, so it seldom ranks them. Types
    rarer than the neighbourhood cannot be pure, and the median never sees them.

    Source
    ------
    Korsunsky et al. 2019; Luecken et al. 2022; scib_metrics.clisi_knn 0.5.10.

    Differs
    -------
    Exact neighbours in place of approximate ones, and float64: float32 misses the perplexity where neighbours
    lie at nearly the same distance.
    """
    require_two(labels, "label")
    lisi, n_labels = median_lisi(neighbors_90, labels)
    return (n_labels - lisi) / (n_labels - 1)


@metric(group="annotation", label="Isolated labels", chance=0.5)
def isolated_labels(label_widths: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    r"""Average silhouette width of the labels found in the fewest batches, scaled to 0..1.

    .. math::

        \frac{1}{|I|}\sum_{l \in I} \frac{1}{n_l}\sum_{i \in l} \frac{1 + s_i}{2}, \qquad
        I = \{\,l : B_l = \min\nolimits_k B_k\,\}

    with :math:`s_i` the silhouette width of `asw_label` and :math:`B_l` the number of batches that hold l.

    Parameters
    ----------
    label_widths
        (cells,) silhouette widths of the labels, as for `asw_label`.
    labels
        (cells,), at least 2 distinct values.
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; shuffled labels give about 0.5.

    Raises
    ------
    NotApplicable
        If there is one batch or one label.

    Known failure
    -------------
    One cell that strays into another batch makes a label common. If every batch holds every label, all are
    "isolated" and this is ASW with labels of any size counted alike. An embedding that sets the batches
    apart is rewarded: a label of one batch then lies far from all others.

    Source
    ------
    Luecken et al. 2022; scib_metrics.isolated_labels 0.5.10, to which it agrees to 1e-4.

    Differs
    -------
    From our own silhouette: the original compiles anew for every shape.
    """
    require_two(batches, "batch")
    require_two(labels, "label")
    codes = np.unique(labels, return_inverse=True)[1]
    held = np.unique(np.column_stack([codes, np.unique(batches, return_inverse=True)[1]]), axis=0)
    in_batches = np.bincount(held[:, 0])
    isolated = np.flatnonzero(in_batches == in_batches.min())
    return np.mean([(1 + label_widths[codes == label].mean()) / 2 for label in isolated])
