"""How sure a score is: the same metric on subsamples of the cells, and what their spread says of all."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from .registry import METRICS
from .scoring import neighborhood, score

# As Kedzierska et al. 2025: ten subsamples of a tenth of the cells.
REPEATS = 10
FRACTION = 0.1
# A silhouette and a neighbour within a label need two cells of it.
CELLS_PER_LABEL = 2
CONFIDENCE = 0.95
# Seeds of Louvain and Leiden, that of the score among them.
CLUSTERINGS = 5
# Subsamples of fewer cells are named in the notes.
FEW_CELLS = 100
# Scores that agree to these digits, those of a kept table, are the same.
DIGITS = 6
_NOTES = ("interval from subsamples", "no interval")


def score_with_intervals(
    embedding: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray | None = None,
    *,
    baseline: np.ndarray | None = None,
    seed: int = 0,
    names: Iterable[str] | None = None,
    fraction: float = FRACTION,
    progress: Callable[[str], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score an embedding with the registered metrics and say how sure each score is.

    Parameters
    ----------
    embedding, labels, batches, baseline, seed, names, progress
        As for :func:`zeroshot.metrics.score`; the seed also draws the subsamples.
    fraction
        Share of the cells in each subsample. Few cells need a larger one: in a tenth of two hundred there
        is nothing left to cluster, and a score that is always the same looks sure.

    Returns
    -------
    scores, subsamples : pandas.DataFrame
        What :func:`intervals` and :func:`score_subsamples` return.
    """
    labels = np.asarray(labels)
    batches = None if batches is None else np.asarray(batches)
    options = {"seed": seed, "names": None if names is None else list(names)}
    whole = {"baseline": baseline, "clusterings": CLUSTERINGS, "progress": progress}
    scores = score(embedding, labels, batches, **whole, **options)
    rows = stratified_subsamples(labels, fraction=fraction, seed=seed)
    subsamples = score_subsamples(
        embedding, labels, batches, rows, baseline=baseline, progress=progress, **options
    )
    return intervals(scores, subsamples, len(labels)), subsamples


def stratified_subsamples(
    labels: np.ndarray, *, repeats: int = REPEATS, fraction: float = FRACTION, seed: int = 0
) -> np.ndarray:
    """Rows of random subsamples that hold every label in proportion, and at least two cells of each.

    Parameters
    ----------
    labels
        (cells,), none missing.
    repeats, fraction
        How many subsamples, and the share of the cells in each, between 0 and 1.
    seed
        Of the draws. They depend on the labels and the seed alone, so that embeddings of the same cells are
        compared on the same subsamples.

    Returns
    -------
    numpy.ndarray
        (repeats, subsampled cells) int64, each row ascending, with the same number of cells of each label.

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1 or there is no repeat.
    """
    if not 0 < fraction < 1 or repeats < 1:
        raise ValueError(
            f"fraction must be between 0 and 1 and repeats at least 1, got {fraction} and {repeats}"
        )
    codes = pd.factorize(pd.Series(np.asarray(labels)).astype(str), sort=True)[0]
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    sizes = [min(max(round(fraction * len(rows)), CELLS_PER_LABEL), len(rows)) for rows in members]
    rng = np.random.default_rng(seed)
    draws = [
        np.concatenate(
            [rng.choice(rows, size, replace=False) for rows, size in zip(members, sizes, strict=True)]
        )
        for _ in range(repeats)
    ]
    return np.sort(np.stack(draws), axis=1)


def score_subsamples(
    embedding: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray | None,
    rows: np.ndarray,
    *,
    baseline: np.ndarray | None = None,
    seed: int = 0,
    names: Iterable[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Score an embedding on subsamples of its cells; nothing is embedded again.

    Parameters
    ----------
    embedding, labels, batches, baseline, seed, names
        As for :func:`zeroshot.metrics.score`.
    rows
        (subsamples, subsampled cells), see :func:`stratified_subsamples`.
    progress
        Called before each subsample ("subsample 3 of 10").

    Returns
    -------
    pandas.DataFrame
        Columns subsample (from 0), metric, value (NaN where not applicable) and cells, those of a subsample.
    """
    tables = []
    for number, chosen in enumerate(rows):
        if progress is not None:
            progress(f"subsample {number + 1} of {len(rows)}")
        given = {"batches": batches, "baseline": baseline}
        given = {name: None if values is None else values[chosen] for name, values in given.items()}
        scores = score(embedding[chosen], labels[chosen], **given, seed=seed, names=names)
        tables.append(scores.assign(subsample=number, cells=len(chosen)))
    return pd.concat(tables, ignore_index=True)[["subsample", "metric", "value", "cells"]]


def intervals(
    scores: pd.DataFrame, subsamples: pd.DataFrame, n_cells: int, other_seeds: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Put a 95 % interval beside each score, or say why there is none.

    Subsamples say nothing of how sure a score is where a neighbourhood that the metric reads holds all cells
    of a subsample: kBET of 50 neighbours is 1 on any 50 cells, and other metrics then measure something else
    than on all cells. Nor do they where the score is the same on every subsample, unless that is the score of
    all cells, too, and the best or the worst there is. Such scores have no interval, and a note says why.
    Intervals from subsamples of fewer than 100 cells are noted as well.

    Parameters
    ----------
    scores
        As :func:`zeroshot.metrics.score` returns it, of all cells, with :data:`CLUSTERINGS` seeds of the
        clusterings or one.
    subsamples
        As :func:`score_subsamples` returns it.
    n_cells
        Number of all cells.
    other_seeds
        Columns seed, metric and value: scores of all cells under the other seeds of a model whose embedding
        depends on its seed; None for other models.

    Returns
    -------
    pandas.DataFrame
        ``scores`` with ``low`` and ``high``, cut to the metric's range (NaN where there is no score or no
        interval), ``note`` extended as said above, ``seeds``, how many were scored, and ``seed_sd``, the
        standard deviation of the score over them (NaN for one).
    """
    of_seeds = pd.DataFrame({"seeds": 1, "seed_sd": np.nan}, index=scores["metric"])
    if other_seeds is not None:
        values = pd.concat([scores, other_seeds]).groupby("metric")["value"]
        # Not its `std`, which leaves out a seed without a score.
        spread = values.agg(lambda of: np.std(of.to_numpy(), ddof=1) if len(of) > 1 else np.nan)
        of_seeds = pd.DataFrame({"seeds": values.size(), "seed_sd": spread}).loc[scores["metric"]]
    parts = dict(iter(subsamples.groupby("metric")))
    half, notes = [], []
    columns = ["metric", "value", "note", "cluster_sd"]
    # An empty note is a missing one in a table that was stored and read again.
    for name, value, note, of_clusters in scores[columns].fillna({"note": ""}).itertuples(index=False):
        values, cells = parts[name]["value"].to_numpy(), int(parts[name]["cells"].iloc[0])
        seeds, deviation = of_seeds.loc[name, ["seeds", "seed_sd"]]
        spreads = [(deviation, seeds)] if seeds > 1 else []
        spreads += [] if np.isnan(of_clusters) else [(of_clusters, CLUSTERINGS)]
        width = half_width(values, cells, n_cells, spreads)
        reason = no_interval(name, value, values, cells, n_cells)
        if reason is None and np.isnan(width):
            reason = "no score under one of the seeds"
        half.append(np.nan if reason else width)
        own = [part for part in note.split("; ") if part and not part.startswith(_NOTES)]
        if not np.isnan(value):
            few = [f"interval from subsamples of {cells} cells"] if cells < FEW_CELLS else []
            own += [f"no interval: {reason}"] if reason else few
        notes.append("; ".join(own))
    ends = {name: sorted([metric.worst, metric.best]) for name, metric in METRICS.items()}
    least, most = (scores["metric"].map({name: pair[end] for name, pair in ends.items()}) for end in (0, 1))
    return scores.assign(
        note=notes,
        low=(scores["value"] - half).clip(lower=least),
        high=(scores["value"] + half).clip(upper=most),
        seeds=of_seeds["seeds"].to_numpy(),
        seed_sd=of_seeds["seed_sd"].to_numpy(),
    )


def no_interval(
    metric: str,
    value: float,
    values: np.ndarray,
    subsampled_cells: int,
    n_cells: int,
    *,
    difference: bool = False,
) -> str | None:
    """Why subsamples do not say how sure a score is, in a few words; None if they do.

    Parameters
    ----------
    metric
        Name of the metric.
    value
        Its score of all cells, or the difference of two scores.
    values
        (subsamples,) the same on each subsample.
    subsampled_cells, n_cells
        Cells of a subsample and of the whole.
    difference
        Whether they are differences of two methods.
    """
    if len(values) < 2:
        return "one subsample"
    if missing := int(np.isnan(values).sum()):
        return f"not applicable to {missing} of {len(values)} subsamples"
    if subsampled_cells >= n_cells:
        return "a subsample holds all cells"
    if subsampled_cells <= (most := neighborhood(metric)):
        return f"a neighbourhood of {most} cells holds all {subsampled_cells} of a subsample"
    worst, best = METRICS[metric].worst, METRICS[metric].best
    bounds = [0, best - worst, worst - best] if difference else [worst, best]
    first, *others, whole = np.round([*values, value], DIGITS)
    if (first == others).all() and not (whole == first and whole in np.round(bounds, DIGITS)):
        return f"the score is {first:g} on every subsample"
    return None


def half_width(
    values: np.ndarray,
    subsampled_cells: int,
    n_cells: int,
    of_seeds: Sequence[tuple[float, int]] = (),
) -> float:
    r"""Half the 95 % interval of a score of all cells, from the same score on random subsamples.

    .. math::

        t_\nu \sqrt{v + \sum_j s_j^2}, \qquad
        v = \frac{m}{n-m} \cdot \frac{1}{r-1} \sum_{k=1}^{r} (\theta_k - \bar\theta)^2

    for r subsamples of m among n cells. Subsamples of a tenth vary about three times as much as all cells
    would; the first factor of v takes that back. :math:`s_j` is the standard deviation over the seeds of
    an embedding that depends on one, or over those of its clusterings. :math:`\nu` are the degrees of
    freedom of the sum, r - 1 where no seed matters. Other cells and other embeddings are clustered
    differently as well, so v and the spread over embeddings hold some of that over clusterings: the interval
    is too wide rather than too narrow. What it covers is the choice of cells and of the seeds, not that of
    donors or of batches.

    Parameters
    ----------
    values
        (subsamples,) the score on each, or the difference of two scores on each.
    subsampled_cells, n_cells
        Cells of a subsample and of the whole.
    of_seeds
        For each embedding that depends on a seed, and for each that was clustered under several, the standard
        deviation of its score over the seeds and their number, at least two.

    Returns
    -------
    float
        In units of the score; NaN if a value is NaN, there is one subsample, or a subsample holds all cells.

    Source
    ------
    Shao and Wu 1989, the delete-d jackknife with random subsets; Kedzierska et al. 2025 for ten tenths;
    Satterthwaite 1946 for the degrees of freedom.

    Differs
    -------
    Kedzierska et al. show the subsamples' own scores. Those are of a data set a tenth as large, where some
    metrics, clustering above all, have another level; here they give the width, all cells the level.
    """
    from scipy.stats import t  # half a second of a command that computes nothing

    if len(values) < 2 or subsampled_cells >= n_cells:
        return float("nan")
    of_cells = np.var(values, ddof=1) * subsampled_cells / (n_cells - subsampled_cells)
    variances = np.array([of_cells, *(deviation**2 for deviation, _ in of_seeds)])
    freedom = np.array([len(values) - 1, *(number - 1 for _, number in of_seeds)])
    total = variances.sum()
    if total == 0:
        return 0.0
    quantile = t.ppf((1 + CONFIDENCE) / 2, total**2 / (variances**2 / freedom).sum())
    return float(quantile * np.sqrt(total))
