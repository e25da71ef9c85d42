"""How much of a cell's expression its tokens keep: read back from them, and compared with what it was.

Tokens give each gene a reading: a bin, a place in an order, how often it was drawn. What a reading stands for
is learnt from other cells. Where a cell is one vector, the reading of a gene is its value in the profile of
least norm that has this vector.
"""

import numpy as np
import pandas as pd


def decode_readings(
    readings: np.ndarray,
    other_readings: np.ndarray,
    other_expression: np.ndarray,
    scales: np.ndarray | None = None,
) -> np.ndarray:
    """Expression that readings stand for, by a monotone curve through those of other cells.

    Parameters
    ----------
    readings
        (cells, genes) what the tokens of a cell say of each gene, NaN where they do not name it.
    other_readings, other_expression
        (other cells, genes) readings of other cells and their log-normalised expression.
    scales
        (genes,) above zero: what the tokeniser divides the expression of each gene by, in counts per 10,000,
        and therefore knows. The curve is that of the divided expression; None for 1.

    Returns
    -------
    numpy.ndarray
        (cells, genes) log-normalised expression; 0 for a gene that is not named.

    Source
    ------
    This book. The curve is scikit-learn's isotonic regression, rising or falling as the covariance says;
    between readings it is linear, beyond them constant.
    """
    from sklearn.isotonic import IsotonicRegression

    factors = np.ones(readings.shape[1]) if scales is None else np.asarray(scales, np.float64)
    divided = np.log1p(np.expm1(other_expression.astype(np.float64)) / factors)
    named, other_named = ~np.isnan(readings), ~np.isnan(other_readings)
    decoded = np.zeros(readings.shape)
    if named.any() and other_named.any():
        others, target = other_readings[other_named].astype(np.float64), divided[other_named]
        rises = bool((others - others.mean()) @ (target - target.mean()) >= 0)
        curve = IsotonicRegression(increasing=rises, out_of_bounds="clip").fit(others, target)
        decoded[named] = curve.predict(readings[named].astype(np.float64))
    return np.log1p(np.expm1(decoded) * factors)


def readings_of_vectors(vectors: np.ndarray, gene_vectors: np.ndarray) -> np.ndarray:
    """Profile of least norm whose weighted sum of gene vectors is the vector of a cell.

    Parameters
    ----------
    vectors
        (cells, dim) sums of gene vectors, weighted by expression, up to a factor of each cell.
    gene_vectors
        (genes, dim).

    Returns
    -------
    numpy.ndarray
        (cells, genes) the weights themselves, to four decimals, where the gene vectors are linearly
        independent, which needs at least as many dimensions as genes.

    Source
    ------
    This book; numpy's ``lstsq``. Directions that float32 cannot tell from zero are left out.
    """
    matrix = gene_vectors.T.astype(np.float64)
    precision = np.finfo(np.float32).eps * max(matrix.shape)
    weights = np.linalg.lstsq(matrix, vectors.T.astype(np.float64), rcond=precision)[0].T
    return np.round(weights, 4)  # beyond them is what float32 sums leave: equal counts stay equal


def expression_recovery(decoded: np.ndarray, expression: np.ndarray) -> pd.DataFrame:
    """Agreement of decoded and true expression over the expressed genes of each cell.

    Parameters
    ----------
    decoded, expression
        (cells, genes) log-normalised.

    Returns
    -------
    pandas.DataFrame
        A row per cell, higher is better: ``spearman`` (-1 to 1; 0 if all decoded values are the same) and
        ``r2``, the share of the variance over its expressed genes that is explained (1 at most, below 0 where
        the mean of the cell would have done better). NaN for a cell whose expressed genes have one value.
    """
    from scipy.stats import rankdata

    rows = []
    for guess, truth in zip(decoded, expression, strict=True):
        expressed = truth > 0
        guess, truth = guess[expressed].astype(np.float64), truth[expressed].astype(np.float64)
        if len(np.unique(truth)) < 2:
            rows.append((np.nan, np.nan))
            continue
        variance = np.square(truth - truth.mean()).sum()
        varies = np.ptp(guess) > 0
        spearman = np.corrcoef(rankdata(guess), rankdata(truth))[0, 1] if varies else 0.0
        rows.append((spearman, 1 - np.square(truth - guess).sum() / variance))
    return pd.DataFrame(rows, columns=["spearman", "r2"])
