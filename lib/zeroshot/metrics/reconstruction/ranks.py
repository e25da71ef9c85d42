"""Predicted gene rankings (Geneformer): correlation with the true ranks, and its baseline, the mean rank."""

import numpy as np
import pandas as pd

from ..registry import NotApplicable
from .positions import cells_of, parts


def scaled_ranks(offsets: np.ndarray) -> np.ndarray:
    """Rank of each position in its cell: 1 for the first, 0 for the last.

    Parameters
    ----------
    offsets
        (cells + 1,).

    Returns
    -------
    numpy.ndarray
        (tokens,) float64, (n - 1 - i) / (n - 1) at position i of n; NaN in a cell with one token.

    Source
    ------
    Kedzierska et al. 2025; microsoft/zero-shot-scfoundation at d1091e8, `model_output.GeneExprPredEval`.
    """
    offsets = np.asarray(offsets)
    cell = cells_of(offsets, offsets[-1])
    steps = (np.diff(offsets) - 1.0)[cell]
    from_the_end = offsets[cell + 1] - 1 - np.arange(len(cell))
    return np.divide(from_the_end, steps, out=np.full(len(cell), np.nan), where=steps > 0)


def joined_ranks(input_tokens: np.ndarray, output_tokens: np.ndarray, offsets: np.ndarray) -> pd.DataFrame:
    """Rank of every gene of a cell in the input and in the output, 0 where it is missing from one of them.

    Parameters
    ----------
    input_tokens
        (tokens,) gene ids as ranked in the cells, without special tokens (`gene_positions`), before masking.
    output_tokens
        (tokens,) most likely id at each position, over the whole vocabulary.
    offsets
        (cells + 1,).

    Returns
    -------
    pandas.DataFrame
        One row per cell and gene that is in either; columns cell (row number), token, input_rank, output_rank
        (the mean, if the model repeats a gene; both 0..1) and in_cell. Cells with one token have no ranks and
        no rows.

    Raises
    ------
    ValueError
        If the three do not fit, or ids are not whole numbers from 0.

    Source
    ------
    As `scaled_ranks`.
    """
    input_tokens, output_tokens = _checked_ids(input_tokens, "input"), _checked_ids(output_tokens, "output")
    if input_tokens.shape != output_tokens.shape:
        raise ValueError(f"{len(input_tokens)} input tokens but {len(output_tokens)} output tokens.")
    cell = cells_of(offsets, len(input_tokens))
    ranks = scaled_ranks(offsets)
    ranked = ~np.isnan(ranks)
    width = 1 + max(input_tokens.max(initial=0), output_tokens.max(initial=0))
    keys = np.stack([input_tokens, output_tokens])[:, ranked] + width * cell[ranked]
    pairs, code = np.unique(keys, return_inverse=True)
    code = code.reshape(keys.shape)
    counts = [np.bincount(row, minlength=len(pairs)) for row in code]
    sums = [np.bincount(row, ranks[ranked], minlength=len(pairs)) for row in code]
    means = [total / np.maximum(count, 1) for total, count in zip(sums, counts, strict=True)]
    return pd.DataFrame(
        {
            "cell": pairs // width,
            "token": pairs % width,
            "input_rank": means[0],
            "output_rank": means[1],
            "in_cell": counts[0] > 0,
        }
    )


def rank_correlation(input_tokens: np.ndarray, output_tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    r"""Correlation, in each cell, of the ranks of its genes with their ranks in the model's output.

    .. math::

        \rho_c = \mathrm{Pearson}_{g \in I_c \cup O_c}\big(r^{\mathrm{in}}_{cg},\, r^{\mathrm{out}}_{cg}\big),
        \qquad r_i = \frac{n - 1 - i}{n - 1}

    over the genes of the input and the output, with rank 0 for a gene that is missing from one of them.

    Parameters
    ----------
    input_tokens, output_tokens, offsets
        As for `joined_ranks`.

    Returns
    -------
    numpy.ndarray
        (cells,) float64. Range -1 to 1, higher is better. NaN where it is undefined: a cell with one token,
        or whose ranks are all the same; `correlation_summary` counts these.

    Raises
    ------
    ValueError
        As `joined_ranks`.

    Known failure
    -------------
    Nothing is masked, so a model that copies its input has 1. Genes tend to the same rank in every cell, so
    the mean rank, which knows no cell, can beat the model: see `mean_rank_correlation`. The last gene of a
    cell has rank 0, as if it were missing.

    Source
    ------
    As `scaled_ranks`.

    Differs
    -------
    All cells at once, rows in input order; the paper draws 500 cells without a seed.
    """
    joined = joined_ranks(input_tokens, output_tokens, offsets)
    return _pearson(joined["input_rank"], joined["output_rank"], joined["cell"], len(offsets) - 1)


def mean_ranks(
    input_tokens: np.ndarray, offsets: np.ndarray, *, last_rank_is_absent: bool = True
) -> pd.DataFrame:
    """Mean rank of each gene over the cells.

    Parameters
    ----------
    input_tokens, offsets
        As for `joined_ranks`.
    last_rank_is_absent
        Leave out the last gene of each cell, whose rank is 0: the paper takes it for missing. False counts
        it.

    Returns
    -------
    pandas.DataFrame
        One row per gene, index token, columns mean_rank (0..1; 0 where no cell counts), sum, and cells, the
        number that count.

    Source
    ------
    As `scaled_ranks`.
    """
    ranks = scaled_ranks(offsets)
    # A comparison with NaN is false: cells with one token count under neither rule.
    counted = ranks > 0 if last_rank_is_absent else ranks >= 0
    seen = pd.DataFrame({"token": input_tokens, "sum": np.where(counted, ranks, 0.0), "cells": counted})
    genes = seen.groupby("token").sum()
    genes.insert(0, "mean_rank", genes["sum"] / genes["cells"].clip(lower=1))
    return genes


def mean_rank_correlation(
    input_tokens: np.ndarray,
    output_tokens: np.ndarray | None,
    offsets: np.ndarray,
    *,
    last_rank_is_absent: bool = True,
    leave_one_out: bool = False,
) -> np.ndarray:
    r"""Correlation, in each cell, of the ranks of its genes with their mean ranks over all cells.

    .. math::

        \rho_c = \mathrm{Pearson}_{g \in I_c \cup O_c}\big(r^{\mathrm{in}}_{cg},\, \bar r_g\big)

    Parameters
    ----------
    input_tokens, offsets
        As for `joined_ranks`.
    output_tokens
        (tokens,) output of the model, to correlate over the same genes as `rank_correlation`, as the paper;
        None to correlate over the genes of the cell, which does not depend on a model.
    last_rank_is_absent
        As for `mean_ranks`.
    leave_one_out
        Leave the cell itself out of the means that predict it; a gene found nowhere else then has 0.

    Returns
    -------
    numpy.ndarray
        (cells,) float64. Range -1 to 1, higher is better; NaN as in `rank_correlation`.

    Raises
    ------
    ValueError
        As `joined_ranks`.

    Known failure
    -------------
    As the paper has it, genes that the model names but the cell lacks lower the baseline: it changes with the
    model and is weakest beside the worst one. With few cells a cell's own ranks carry its means, which
    flatters the baseline unless they are left out.

    Source
    ------
    As `scaled_ranks`.

    Differs
    -------
    Counting the last gene, leaving the cell out and the genes of the cell alone are ours.
    """
    joined = joined_ranks(input_tokens, input_tokens if output_tokens is None else output_tokens, offsets)
    genes = mean_ranks(input_tokens, offsets, last_rank_is_absent=last_rank_is_absent)
    genes = genes.reindex(joined["token"], fill_value=0)
    rank, sums, cells = joined["input_rank"].to_numpy(), genes["sum"].to_numpy(), genes["cells"].to_numpy()
    if leave_one_out:
        # A rank of 0 adds nothing to the sum; whether the cell itself was counted follows the same rule.
        sums = sums - rank
        cells = cells - (joined["in_cell"].to_numpy() & ((rank > 0) | (not last_rank_is_absent)))
    return _pearson(
        rank, np.where(cells > 0, sums / np.maximum(cells, 1), 0.0), joined["cell"], len(offsets) - 1
    )


def correlation_summary(correlations: np.ndarray) -> pd.Series:
    """Summary of the correlations of all cells.

    Parameters
    ----------
    correlations
        (cells,), NaN where undefined.

    Returns
    -------
    pandas.Series
        cells, undefined (cells without a correlation, left out of the rest), mean, std (of a sample), min,
        25%, 50%, 75%, max.
    """
    correlations = pd.Series(np.asarray(correlations, dtype=np.float64))
    counts = pd.Series({"cells": len(correlations), "undefined": correlations.isna().sum()}, dtype=np.float64)
    return pd.concat([counts, correlations.describe().drop("count")])


def gene_recovery(
    input_tokens: np.ndarray,
    output_tokens: np.ndarray,
    offsets: np.ndarray,
    scored: np.ndarray | None = None,
) -> dict[str, float]:
    r"""How often, and how nearly, the model names the gene that stands at a position.

    .. math::

        \mathrm{accuracy} = \frac{1}{|S|}\sum_{i \in S} [o_i = t_i], \qquad
        \mathrm{rank\ error} = \frac{1}{|S|}\sum_{i \in S} |r_i - r(o_i)|

    with :math:`r(o_i)` the true rank of the named gene in this cell, 0 if the cell lacks it.

    Parameters
    ----------
    input_tokens, output_tokens, offsets
        As for `joined_ranks`: `input_tokens` are the true genes, also where the model saw a mask.
    scored
        (tokens,) bool, the positions that count; all by default.

    Returns
    -------
    dict
        accuracy: Range 0 to 1, higher is better. in_cell, the share of named genes that the cell holds:
        Range 0 to 1, higher is better. rank_error: Range 0 to 1, lower is better; a random gene of the cell
        gives about 1/3, one that the cell lacks 1/2; NaN where no scored cell has two tokens. positions, the
        number scored.

    Raises
    ------
    NotApplicable
        If no position is scored.
    ValueError
        As `joined_ranks`.

    Known failure
    -------------
    Where the input is not masked, accuracy measures copying. In masked positions a model may name a gene that
    the cell holds elsewhere in plain sight, which in_cell rewards.

    Source
    ------
    This book; accuracy is that of masked language models.

    Differs
    -------
    The paper masks nothing here.
    """
    input_tokens, output_tokens = _checked_ids(input_tokens, "input"), _checked_ids(output_tokens, "output")
    joined = joined_ranks(input_tokens, output_tokens, offsets)
    scored = np.ones(len(input_tokens), dtype=bool) if scored is None else np.asarray(scored, dtype=bool)
    if scored.shape != input_tokens.shape:
        raise ValueError(f"scored has shape {scored.shape} for {len(input_tokens)} tokens.")
    if not scored.any():
        raise NotApplicable("no position to score")
    hit = (input_tokens == output_tokens)[scored]
    named = pd.MultiIndex.from_arrays([cells_of(offsets, len(input_tokens))[scored], output_tokens[scored]])
    found = joined.set_index(["cell", "token"]).reindex(named)
    error = np.abs(scaled_ranks(offsets)[scored] - found["input_rank"].to_numpy())
    ranked = ~np.isnan(error)
    # A cell with one token has no ranks, but its one gene can still be named.
    in_cell = np.where(ranked, found["in_cell"].eq(True).to_numpy(), hit)
    return {
        "accuracy": float(hit.mean()),
        "in_cell": float(in_cell.mean()),
        "rank_error": float(error[ranked].mean()) if ranked.any() else np.nan,
        "positions": len(hit),
    }


def gene_recovery_table(
    input_tokens: np.ndarray,
    output_tokens: np.ndarray,
    offsets: np.ndarray,
    masked: np.ndarray | None = None,
) -> pd.DataFrame:
    """Recovery of genes over all, masked and unmasked positions.

    Parameters
    ----------
    input_tokens, output_tokens, offsets
        As for `gene_recovery`.
    masked
        (tokens,) bool, positions whose gene the model did not see; none by default.

    Returns
    -------
    pandas.DataFrame
        One row per positions ("all", "masked", "unmasked"), columns positions, accuracy, in_cell, rank_error,
        count and note. Where a value is NaN, `note` says why, and only there.

    Raises
    ------
    ValueError
        As `joined_ranks`.

    Source
    ------
    As `gene_recovery`.
    """
    rows = []
    for positions, where in parts(np.ones(np.shape(input_tokens), dtype=bool), masked):
        row = {"positions": positions, "count": int(where.sum()), "note": ""}
        try:
            found = gene_recovery(input_tokens, output_tokens, offsets, where)
            row |= {key: found[key] for key in ("accuracy", "in_cell", "rank_error")}
            row["note"] = "no cell with two tokens for rank_error" if np.isnan(found["rank_error"]) else ""
        except NotApplicable as reason:
            row["note"] = f"not applicable: {reason}"
        rows.append(row)
    return pd.DataFrame(rows, columns=["positions", "accuracy", "in_cell", "rank_error", "count", "note"])


def _pearson(x: np.ndarray, y: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """(cells,) Pearson correlation in each cell; rows come sorted by cell; NaN where one side is constant."""
    x, y, cell = (np.asarray(values) for values in (x, y, cell))

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(cell, values, minlength=cells)

    first = np.searchsorted(cell, cell)
    # Compared exactly: a sum of squares of a constant column can be off 0 by rounding.
    varies = (total(x != x[first]) > 0) & (total(y != y[first]) > 0)
    counts = np.maximum(total(np.ones(len(cell))), 1)
    x, y = x - (total(x) / counts)[cell], y - (total(y) / counts)[cell]
    scale = np.sqrt(total(x * x) * total(y * y))
    return np.divide(total(x * y), scale, out=np.full(cells, np.nan), where=varies & (scale > 0))


def _checked_ids(tokens: np.ndarray, what: str) -> np.ndarray:
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or tokens.min(initial=0) < 0:
        raise ValueError(f"{what} tokens must be a flat array of whole ids from 0, without pads.")
    return tokens.astype(np.int64)
