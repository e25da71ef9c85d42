"""Predicted expression bins (scGPT): errors, baselines and the floor that random ties put under them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..registry import NotApplicable
from .positions import parts

# What the paper's code adds to a prediction before dividing by it.
DIVISOR_SLACK = 1e-6
RELATIVE_TO = ("target", "prediction", "|prediction|")


def value_errors(
    predicted: np.ndarray,
    target: np.ndarray,
    scored: np.ndarray | None = None,
    *,
    relative_to: str = "target",
) -> dict[str, float]:
    r"""Errors of predicted expression bins, pooled over the positions of all cells.

    .. math::

        \mathrm{MSE} = \frac{1}{|S|}\sum_{i \in S} (p_i - b_i)^2, \quad
        \mathrm{MAE} = \frac{1}{|S|}\sum_{i \in S} |p_i - b_i|, \quad
        \mathrm{MRE} = \frac{1}{|S|}\sum_{i \in S} \frac{|p_i - b_i|}{b_i}

    Parameters
    ----------
    predicted, target
        Predictions and bins (1..50, 0 for a zero count), of any one shape: flat or padded.
    scored
        Positions that count, boolean of the same shape. By default those with a bin above 0, as the paper,
        which leaves out ``<cls>`` and pads. Its "all" variants are the non-pad positions without ``<cls>``.
    relative_to
        "target"; or, to reproduce the paper's numbers, ``"prediction"`` (its MRE) or ``"|prediction|"`` (its
        MRE_all).

    Returns
    -------
    dict
        mse, mae, mre and positions, their number. Range 0 to infinity, lower is better. With "prediction" mre
        can be negative and has no direction. A mre relative to the target skips bins of 0; NaN if all are.

    Raises
    ------
    NotApplicable
        If no position is scored.
    ValueError
        If shapes differ, or a scored prediction is not finite, or a scored target is negative: not a bin.

    Known failure
    -------------
    Bins are near uniform on 1..50 in every cell of every data set, so a constant has a MSE of about
    (50² - 1)/12 = 208, and ties are binned at random, which puts a floor under the error of masked
    positions (the rows "tie-noise floor" of `value_error_table`). A model that is shown the bin that it must
    predict can copy it; only masked positions show what it has learnt.

    Source
    ------
    Kedzierska et al. 2025; microsoft/zero-shot-scfoundation at d1091e8, `utils.calculate_losses`.

    Differs
    -------
    Computed in float64. MRE divides by the target; the paper swaps the two, so a model is rewarded for
    overshooting and a negative prediction lowers its error.
    """
    predicted, target = np.asarray(predicted), np.asarray(target)
    scored = target > 0 if scored is None else np.asarray(scored, dtype=bool)
    if not predicted.shape == target.shape == scored.shape:
        raise ValueError(
            f"predicted {predicted.shape}, target {target.shape} and scored {scored.shape} differ in shape."
        )
    if relative_to not in RELATIVE_TO:
        raise ValueError(f"relative_to must be one of {', '.join(RELATIVE_TO)}; got {relative_to!r}.")
    if not scored.any():
        raise NotApplicable("no position to score")
    predicted, target = predicted[scored].astype(np.float64), target[scored].astype(np.float64)
    if not np.isfinite(predicted).all():
        raise ValueError(f"{(~np.isfinite(predicted)).sum()} scored predictions are NaN or infinite.")
    if target.min() < 0:
        raise ValueError(
            f"A scored target is {target.min():g}, not a bin; leave pads and <cls> out of `scored`."
        )
    away = np.abs(predicted - target)
    if relative_to == "target":
        relative = away[target > 0] / target[target > 0]
    else:
        relative = away / (predicted + DIVISOR_SLACK)
        relative = np.abs(relative) if relative_to == "|prediction|" else relative
    return {
        "mse": float(np.mean(away**2)),
        "mae": float(away.mean()),
        "mre": float(relative.mean()) if len(relative) else np.nan,
        "positions": len(away),
    }


def grand_mean(target: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Predict every position as the one mean of all bins above 0: what the paper calls the mean.

    Parameters
    ----------
    target
        Bins, of any shape.
    known
        Positions that the baseline may learn from; all by default. Leave out what is masked for the model.

    Returns
    -------
    numpy.ndarray
        float64 of the same shape, one value throughout.

    Raises
    ------
    NotApplicable
        If no known bin is above 0.

    Source
    ------
    As `value_errors`.
    """
    target = np.asarray(target, dtype=np.float64)
    return np.full(target.shape, target[_bins_to_learn_from(target, known)].mean())


def gene_mean(
    target: np.ndarray, genes: np.ndarray, known: np.ndarray | None = None, *, leave_one_out: bool = True
) -> np.ndarray:
    """Predict each position as the mean of its gene's bins above 0 over the cells.

    Parameters
    ----------
    target, genes
        Bins and token ids, of one shape.
    known
        As for `grand_mean`.
    leave_one_out
        Leave a position's own bin out of the mean that predicts it. Otherwise a gene found in one cell
        predicts itself.

    Returns
    -------
    numpy.ndarray
        float64 of the same shape. A gene without another known bin gets the grand mean, of the others too.

    Raises
    ------
    NotApplicable
        If no known bin is above 0, or there is one and it is left out.

    Source
    ------
    This book.

    Differs
    -------
    The paper shows the grand mean only, under the name of mean expression.
    """
    target = np.asarray(target, dtype=np.float64)
    learn = _bins_to_learn_from(target, known)
    bins = np.where(learn, target, 0.0)
    itself = learn if leave_one_out else np.zeros_like(learn)
    own = np.where(itself, bins, 0.0)
    others = learn.sum() - itself
    if not others.all():
        raise NotApplicable("one known bin")
    gene = np.unique(genes, return_inverse=True)[1].reshape(target.shape)
    sums = np.bincount(gene.ravel(), bins.ravel())[gene] - own
    counts = np.bincount(gene.ravel(), learn.ravel())[gene] - itself
    return np.divide(sums, counts, out=(bins.sum() - own) / others, where=counts > 0)


def value_error_table(
    predictions: Mapping[str, np.ndarray],
    target: np.ndarray,
    masked: np.ndarray | None = None,
    scored: np.ndarray | None = None,
    *,
    noise: np.ndarray | None = None,
    relative_to: str = "target",
) -> pd.DataFrame:
    """Errors of several predictions of the same bins, over all, masked and unmasked positions.

    Parameters
    ----------
    predictions
        By name, for example GEP, GEPC, grand mean and gene mean; each of the shape of `target`.
    target, scored, relative_to
        As for `value_errors`.
    masked
        Positions whose bin the model did not see; none by default.
    noise
        (tokens,) variance of each bin that comes from the random binning of ties alone, (w² - 1)/12 where a
        value can fall into w bins; adds the rows "tie-noise floor". A predictor that does not see the bins
        cannot have a lower MSE; a model that sees them can copy the noise, so compare at masked positions.

    Returns
    -------
    pandas.DataFrame
        One row per prediction and positions ("all", "masked", "unmasked"), columns prediction, positions,
        mse, mae, mre, count and note. Where a value is NaN, `note` says why, and only there.

    Raises
    ------
    ValueError
        As `value_errors`.

    Source
    ------
    As `value_errors`; variance of the discrete uniform distribution.
    """
    scored = np.asarray(target) > 0 if scored is None else np.asarray(scored, dtype=bool)
    rows = []
    for positions, where in parts(scored, masked):
        for name, predicted in predictions.items():
            row = {"prediction": name, "positions": positions, "count": int(where.sum()), "note": ""}
            try:
                errors = value_errors(predicted, target, where, relative_to=relative_to)
                row |= {key: errors[key] for key in ("mse", "mae", "mre")}
                row["note"] = "no bin above 0 for mre" if np.isnan(errors["mre"]) else ""
            except NotApplicable as reason:
                row["note"] = f"not applicable: {reason}"
            rows.append(row)
        if noise is not None:
            floor = {"mse": np.asarray(noise)[where].mean()} if where.any() else {}
            note = "expected mse only" if floor else "not applicable: no position to score"
            rows.append(
                {"prediction": "tie-noise floor", "positions": positions, "count": int(where.sum())}
                | floor
                | {"note": note}
            )
    return pd.DataFrame(rows, columns=["prediction", "positions", "mse", "mae", "mre", "count", "note"])


def joint_counts(
    target: np.ndarray, predicted: np.ndarray, edges: np.ndarray, scored: np.ndarray | None = None
) -> np.ndarray:
    """Count pairs of target and prediction on a square grid, for a heat map.

    Parameters
    ----------
    target, predicted
        Of one shape. Values beyond the edges count in the outermost cells, so that none is lost.
    edges
        (n + 1,) increasing edges of both axes: ``np.arange(51) + 0.5`` for bins 1..50.
    scored
        Positions that count, boolean; all by default.

    Returns
    -------
    numpy.ndarray
        (n targets, n predictions) int64; its sum is the number of positions.

    Raises
    ------
    ValueError
        If a counted value is NaN.
    """
    scored = np.ones(np.shape(target), dtype=bool) if scored is None else np.asarray(scored, dtype=bool)
    pairs = [np.clip(np.asarray(values)[scored], edges[0], edges[-1]) for values in (target, predicted)]
    if np.isnan(pairs).any():
        raise ValueError("target or predicted has NaN; leave these positions out of `scored`.")
    return np.histogram2d(*pairs, bins=[edges, edges])[0].astype(np.int64)


def _bins_to_learn_from(target: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    learn = target > 0 if known is None else (target > 0) & np.asarray(known, dtype=bool)
    if not learn.any():
        raise NotApplicable("no known bin above 0")
    return learn
