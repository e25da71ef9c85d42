"""Metrics of batch mixing: does the embedding forget which batch a cell came from?

None of them is to be read without an annotation metric beside it: an embedding that has forgotten
everything mixes batches perfectly.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from .distances import scaled
from .lisi import median_lisi
from .neighbors import Neighbors, require_neighborhoods
from .registry import NotApplicable, metric, require_two
from .silhouette import silhouette_widths

PACKAGES = ("numpy", "scikit-learn", "scipy", "torch")

# scib.metrics.pc_regression: n_comps=50.
PRINCIPAL_COMPONENTS = 50
# kBET: p-values below this say that a neighbourhood has another composition.
REJECTED = 0.05


@metric(group="integration", label="ASW label/batch")
def batch_integration_score(embedding: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    r"""One minus the absolute batch silhouette within each label, averaged over labels.

    .. math::

        \frac{1}{|M|}\sum_{l \in M} \frac{1}{n_l}\sum_{i \in l} \big(1 - |s_i^\mathrm{batch}|\big)

    over the labels M that hold more than one batch; each label counts the same, whatever its size.

    Parameters
    ----------
    embedding
        (cells, dim), all dimensions, euclidean distance.
    labels
        (cells,).
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; pure noise in 50 dimensions gives more than 0.9.

    Raises
    ------
    NotApplicable
        If there is one batch, or no label holds more than one.

    Known failure
    -------------
    Rewards noise: Gaussian noise scores 0.97 to 0.99 on real data, above PCA, Harmony and scVI, and 2,000
    genes score 0.90 to 0.96, because silhouettes shrink with the dimension. Never show it without AvgBIO and
    a random control. The absolute value is taken cell by cell, so even perfect mixing loses in few
    dimensions. Batches that overlap in pairs score high although the pairs are far apart (only the nearest
    other batch counts): `bras` is the repair.

    Source
    ------
    Kedzierska et al. 2025, eq. of the batch integration score; theislab/scib, scib/metrics/silhouette.py,
    `silhouette_batch` (its table name is ASW_label/batch).
    """
    return _batch_silhouette(embedding, labels, batches, distance="euclidean", between="nearest")


@metric(group="integration", label="BRAS")
def bras(embedding: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    r"""Batch removal adapted silhouette: the batch silhouette against all other batches, cosine distance.

    .. math::

        \frac{1}{|M|}\sum_{l \in M} \frac{1}{n_l}\sum_{i \in l}
        \Big(1 - \Big|\frac{\bar b_i - a_i}{\max(a_i, \bar b_i)}\Big|\Big)

    with :math:`\bar b_i` the mean distance to the cells of all other batches of the label.

    Parameters
    ----------
    embedding
        (cells, dim), cosine distance.
    labels
        (cells,).
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; pure noise in 50 dimensions gives more than 0.9.

    Raises
    ------
    NotApplicable
        If there is one batch, or no label holds more than one.

    Known failure
    -------------
    Rewards many dimensions and noise as `batch_integration_score` does, and punishes few: a label oracle of
    4 labels in 4 dimensions, perfectly mixed, scores 0.85. It sees directions only, and they change when the
    origin moves: an embedding of one positive dimension, such as depth alone, scores 1 whatever it holds.

    Source
    ------
    Rautenstrauch and Ohler 2025; scib_metrics.bras 0.5.10 with its defaults, to which it agrees to 1e-4.

    Differs
    -------
    Computed here in float64: the original compiles anew for every label size, seconds for a small data set.
    A row of zeros is at distance 1 from the others; there it turns every width of its label into 0, hence
    the score of that label into 1.
    """
    return _batch_silhouette(embedding, labels, batches, distance="cosine", between="mean_other")


@metric(group="integration", label="Graph connectivity")
def graph_connectivity(graph: sparse.spmatrix, labels: np.ndarray) -> float:
    r"""Share of each label's cells in the largest connected piece of its neighbour graph, averaged.

    .. math::

        \frac{1}{|L|}\sum_{l \in L} \frac{|\mathrm{LCC}(G_l)|}{n_l}

    Parameters
    ----------
    graph
        (cells, cells), the 15-neighbour graph.
    labels
        (cells,).

    Returns
    -------
    float
        Range 0 to 1, higher is better; with B separated batches of equal size it is 1/B, not 0.

    Known failure
    -------------
    One bridging cell joins two batches, so partly separated batches score 1. It does not look at the batches:
    a label in two real subtypes is punished, and a graph without any structure is connected.

    Source
    ------
    Luecken et al. 2022; theislab/scib, scib/metrics/graph_connectivity.py.

    Differs
    -------
    As scib, the graph is undirected. scib_metrics.graph_connectivity 0.5.10 asks for strong connection in the
    directed graph of nearest neighbours and is lower, more so for sparse data.
    """
    shares = []
    graph = graph.tocsr()
    for label in np.unique(labels):
        cells = np.flatnonzero(np.asarray(labels) == label)
        pieces = connected_components(graph[cells][:, cells], directed=False)[1]
        shares.append(np.bincount(pieces).max() / len(cells))
    return np.mean(shares)


@metric(group="integration", label="PCR", best=0.0, worst=1.0, higher_is_better=False)
def pcr(embedding: np.ndarray, batches: np.ndarray) -> float:
    r"""Share of the embedding's variance that the batches explain, over up to 50 principal components.

    .. math::

        \mathrm{PCR} = \frac{\sum_k \mathrm{Var}_k\, R^2(\mathrm{PC}_k \mid \mathrm{batch})}
        {\sum_k \mathrm{Var}_k}

    Parameters
    ----------
    embedding
        (cells, dim).
    batches
        (cells,), at least 2 distinct values, always taken as categories.

    Returns
    -------
    float
        Range 0 to 1, lower is better; B batches without effect give about (B - 1) / cells.

    Raises
    ------
    NotApplicable
        If there is one batch, or all cells have the same embedding.

    Known failure
    -------------
    Linear: batches that differ in shape but not in mean go unseen. Batches with different cell types explain
    variance that is no batch effect, so a label oracle does not reach 0 there. Noise scores 0, the best.

    Source
    ------
    Buettner et al. 2019; theislab/scib, scib/metrics/pcr.py, `pc_regression`.

    Differs
    -------
    The raw share, as in the paper's tables; scib's and scib-metrics' `pcr_comparison` scores the change
    against the uncorrected data. Exact PCA; scib takes integer batch codes for a number, here never.
    """
    from sklearn.decomposition import PCA

    require_two(batches, "batch")
    embedding = scaled(embedding)[0]  # neither a scale nor a shift changes the share
    if (embedding == embedding[0]).all():
        raise NotApplicable("all cells have the same embedding")
    embedding = scaled(embedding - embedding.mean(axis=0))[0]
    if embedding.shape[1] > PRINCIPAL_COMPONENTS:
        # Both solvers are exact; the covariance is the cheaper where there are more cells than dimensions.
        solver = "covariance_eigh" if len(embedding) >= embedding.shape[1] else "full"
        pca = PCA(min(PRINCIPAL_COMPONENTS, len(embedding)), svd_solver=solver)
        scores = pca.fit_transform(embedding)
    else:
        # All components are kept, and the ratio below does not depend on the axes.
        scores = embedding
    # R^2 on categories is between-batch over total sum of squares, so sum_k Var_k R^2_k is the former.
    sizes = np.bincount(codes := np.unique(batches, return_inverse=True)[1])
    between = sum(size * (scores[codes == b].mean(axis=0) ** 2).sum() for b, size in enumerate(sizes))
    return between / (scores**2).sum()


@metric(group="integration", label="PCR comparison")
def pcr_comparison(pcr: float, pcr_before: float) -> float:
    r"""Share of the batches' variance that integration has removed: PCR before and after.

    .. math::

        \max\Big(0,\ \frac{\mathrm{PCR}_\mathrm{before} - \mathrm{PCR}}{\mathrm{PCR}_\mathrm{before}}\Big)

    Parameters
    ----------
    pcr
        The metric of this name, of the embedding.
    pcr_before
        The same of the cells before integration, as a rule of principal components of their log-normalised
        counts.

    Returns
    -------
    float
        Range 0 to 1, higher is better; 0 also where the batches explain more than before.

    Raises
    ------
    NotApplicable
        If there is one batch, no embedding before integration was given, or batches explain nothing of it.

    Known failure
    -------------
    A ratio: where the batches explained little to begin with, it is chance that decides between 0 and 1. All
    that has become worse looks alike, at 0. It depends on what was taken for "before", so compare values with
    the same. Noise scores best.

    Source
    ------
    Luecken et al. 2022; theislab/scib, `pcr_comparison` with scale=True; scib_metrics.pcr_comparison 0.5.10.

    Differs
    -------
    Over up to 50 principal components of each, as `pcr`; scib-metrics takes all of them.
    """
    if pcr_before <= 0:
        raise NotApplicable("the batches explain nothing before integration")
    return max(0.0, (pcr_before - pcr) / pcr_before)


@metric(group="integration", label="Average Batch")
def average_batch(batch_integration_score: float, pcr_comparison: float) -> float:
    r"""Mean of the batch integration score and the PCR comparison.

    .. math::

        \frac{1}{2}\big(\mathrm{ASW}_\mathrm{label/batch} + \mathrm{PCR}_\mathrm{comparison}\big)

    Parameters
    ----------
    batch_integration_score, pcr_comparison
        The two metrics of these names.

    Returns
    -------
    float
        Range 0 to 1, higher is better; pure noise scores about 1.

    Raises
    ------
    NotApplicable
        If one of the two is not applicable.

    Known failure
    -------------
    Both parts reward noise, so their mean does. The batch integration score seldom leaves 0.8 to 1 while the
    PCR comparison fills 0 to 1, so it is the latter that ranks.

    Source
    ------
    Kedzierska et al. 2025, Average Batch score.

    Differs
    -------
    The authors' released code computes no such mean; "before" and the cut at 0 are those of scib.
    """
    return (batch_integration_score + pcr_comparison) / 2


@metric(group="integration", label="iLISI")
def ilisi(neighbors_90: Neighbors, batches: np.ndarray) -> float:
    r"""Integration LISI: how many batches a cell's neighbourhood holds, median over cells, scaled to 0..1.

    .. math::

        \mathrm{iLISI} = \frac{\mathrm{median}_i \big(\sum_b p_{ib}^2\big)^{-1} - 1}{B - 1}

    with :math:`p_{ib}` the weighted share of batch b around cell i (perplexity 30) and B batches.

    Parameters
    ----------
    neighbors_90
        90 nearest neighbours, the cell itself included (fewer if there are fewer cells).
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; 1 needs batches of equal size in every neighbourhood.

    Raises
    ------
    NotApplicable
        If there is one batch, or fewer than 10 cells.

    Known failure
    -------------
    The top cannot be reached with unequal batches: six batches, one with half the cells, mix perfectly at
    0.47. Compare embeddings of one data set only. Noise scores best.

    Source
    ------
    Korsunsky et al. 2019; Luecken et al. 2022; scib_metrics.ilisi_knn 0.5.10.

    Differs
    -------
    Exact neighbours in place of approximate ones, and float64: float32 misses the perplexity where neighbours
    lie at nearly the same distance.
    """
    require_two(batches, "batch")
    lisi, n_batches = median_lisi(neighbors_90, batches)
    return (lisi - 1) / (n_batches - 1)


@metric(group="integration", label="kBET")
def kbet(neighbors_50: Neighbors, batches: np.ndarray) -> float:
    r"""Share of cells whose neighbourhood has the batch composition of the whole data set.

    .. math::

        \mathrm{kBET} = \frac{1}{n}\sum_i \big[\,p_i \ge 0.05\,\big], \qquad
        \chi^2_i = \sum_b \frac{(k_{ib} - k f_b)^2}{k f_b}

    with :math:`k_{ib}` cells of batch b among the k neighbours and :math:`f_b` its share of all cells.

    Parameters
    ----------
    neighbors_50
        50 nearest neighbours, the cell itself included (fewer if there are fewer cells).
    batches
        (cells,), at least 2 distinct values.

    Returns
    -------
    float
        Range 0 to 1, higher is better; batches without effect give about 0.95.

    Raises
    ------
    NotApplicable
        If there is one batch, or fewer than 10 cells.

    Known failure
    -------------
    Very strict: a small effect rejects most cells. Batches with different cell types are rejected even where
    each type is mixed perfectly, so a label oracle can score 0. Noise scores best.

    Source
    ------
    Buettner et al. 2019; scib_metrics.kbet 0.5.10, with which it agrees.

    Differs
    -------
    Over all cells. The scib-metrics benchmark reports `kbet_per_label`, on the same 50 neighbours: it goes
    through diffusion maps and approximate neighbours in each label, and compiles for tens of seconds in every
    fresh process (30 s for 700 cells on 2 busy cores).
    """
    from scipy.stats import chi2  # half a second of a command that computes nothing

    require_two(batches, "batch")
    require_neighborhoods(neighbors_50)
    codes, sizes = np.unique(batches, return_inverse=True, return_counts=True)[1:]
    near = codes[neighbors_50.indices]
    found = np.zeros((len(codes), len(sizes)))
    np.add.at(found, (np.arange(len(codes))[:, None], near), 1)
    expected = near.shape[1] * sizes / len(codes)
    statistic = ((found - expected) ** 2 / expected).sum(axis=1)
    return np.mean(chi2.sf(statistic, len(sizes) - 1) >= REJECTED)


def _batch_silhouette(
    embedding: np.ndarray, labels: np.ndarray, batches: np.ndarray, **options: str
) -> float:
    """1 - |batch silhouette| within each label, averaged; options are those of silhouette_widths."""
    require_two(batches, "batch")
    embedding, labels, batches = np.asarray(embedding), np.asarray(labels), np.asarray(batches)
    scores, several = [], False
    for label in np.unique(labels):
        cells = labels == label
        n_batches = len(np.unique(batches[cells]))
        several |= n_batches > 1
        # scib skips a label with one batch, and one where every cell is a batch of its own.
        if 1 < n_batches < cells.sum():
            widths = silhouette_widths(embedding[cells], batches[cells][None], **options)[0]
            scores.append(1 - np.abs(widths).mean())
    if not scores:
        reason = (
            "no label with several batches has two cells of one"
            if several
            else "no label has more than one batch"
        )
        raise NotApplicable(reason)
    return np.mean(scores)
