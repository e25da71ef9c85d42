"""The gate before scoring: every check fails when it should, and only then."""

import numpy as np
import pytest

from zeroshot import integrity


def embedding(cells=60, dim=8):
    return np.random.default_rng(0).normal(size=(cells, dim)).astype(np.float32)


def failed(values, n_cells=60):
    checks = integrity.check(values, n_cells)
    return list(checks.loc[~checks["passed"].astype(bool), "check"])


def with_value(value, rows=(3, 7)):
    values = embedding()
    values[list(rows), 1] = value
    return values


def test_sound_embedding_passes_every_check():
    checks = integrity.check(embedding(), 60)
    assert list(checks["check"]) == ["one row per cell", "finite values", "not constant", "not collapsed"]
    assert checks["passed"].all() and list(checks.columns) == ["check", "passed", "detail"]
    assert integrity.require(checks) is None


FAILING = {
    "one row too few": (embedding()[1:], ["one row per cell"], r"shape \(59, 8\) for 60 cells"),
    "one row too many": (embedding(61), ["one row per cell"], r"shape \(61, 8\) for 60 cells"),
    "transposed": (embedding().T, ["one row per cell"], r"shape \(8, 60\) for 60 cells"),
    "one axis": (np.ones(60, np.float32), ["one row per cell"], r"shape \(60,\)"),
    "no dimension": (np.ones((60, 0), np.float32), ["one row per cell"], r"shape \(60, 0\)"),
    "NaN": (with_value(np.nan), ["finite values"], "2 cells with NaN or infinity"),
    "infinity": (with_value(-np.inf, [3]), ["finite values"], "1 cells with NaN or infinity"),
    "constant": (np.full((60, 8), 3.7, np.float32), ["not constant", "not collapsed"], "1 distinct rows"),
    "collapsed": (
        np.outer(np.arange(60), np.arange(1, 9)).astype(np.float32),
        ["not collapsed"],
        r"effective rank 1\.0",
    ),
    "one dimension": (embedding(dim=1), ["not collapsed"], "effective rank 1.0"),
}


@pytest.mark.parametrize("case", FAILING)
def test_failing_check(case):
    values, checks, detail = FAILING[case]
    assert failed(values) == checks
    with pytest.raises(integrity.IntegrityError, match=f"is not scored: {checks[0]}: .*{detail}"):
        integrity.require(integrity.check(values, 60))


def test_two_points_are_not_constant_but_collapsed():
    values = np.zeros((60, 8), np.float32)
    values[30:] = 1
    assert failed(values) == ["not collapsed"]


def test_two_columns_as_those_of_depth_pass():
    assert failed(embedding(dim=2)) == []


def spread_along(*variances, cells=400):
    """Centred orthogonal columns with exactly these variances, turned by a random rotation."""
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(cells, len(variances)))
    columns, _ = np.linalg.qr(columns - columns.mean(axis=0))
    turn, _ = np.linalg.qr(rng.normal(size=(len(variances), len(variances))))
    return (columns * np.sqrt(variances)) @ turn + rng.normal(size=len(variances))


@pytest.mark.parametrize(
    ("variances", "rank"),
    [
        ([1, 1, 1, 1], 4),
        ([5, 5, 0, 0, 0], 2),
        ([1, 0, 0], 1),
        ([2, 1, 1], 2 * np.sqrt(2)),  # entropy of (1/2, 1/4, 1/4) is 1.5 log 2
        ([0.9, 0.1], np.exp(-0.9 * np.log(0.9) - 0.1 * np.log(0.1))),
    ],
)
def test_effective_rank_of_known_spectra(variances, rank):
    assert integrity.effective_rank(spread_along(*variances)) == pytest.approx(rank, abs=1e-6)
    assert integrity.effective_rank(1000 * spread_along(*variances)) == pytest.approx(rank, abs=1e-6)


def test_effective_rank_with_more_dimensions_than_cells():
    values = np.eye(5, 40)
    assert integrity.effective_rank(values) == pytest.approx(4)
    assert integrity.effective_rank(np.full((5, 40), 0.1, np.float32)) < 1.01
    assert integrity.effective_rank(np.zeros((5, 3), np.float32)) == 0
