"""The gate before scoring: every check fails when it should, and only then."""

import re

import numpy as np
import pytest

from zeroshot.embedding import integrity


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


# -- the part that needs the model: a few cells embedded again


def honest(values):
    """Embeds any rows as the stored embedding has them."""
    return lambda rows, tokens_per_chunk: values[rows]


def failed_probes(embed, stored, tolerance=2e-5):
    checks = integrity.probe(embed, stored, tolerance)
    return set(checks.loc[~checks["passed"], "check"])


def test_an_embedding_of_single_cells_passes_the_probe():
    checks = integrity.probe(honest(embedding()), embedding(), 2e-5)
    assert checks["passed"].all() and len(checks) == 5
    assert list(integrity.check(embedding(), 60, checks)["check"])[-5:] == list(checks["check"])


def test_rounding_is_not_taken_for_a_fault():
    noise = np.random.default_rng(1).uniform(-1e-5, 1e-5, (60, 8)).astype(np.float32)
    assert failed_probes(honest(embedding() + noise), embedding()) == set()
    # Larger values carry proportionally larger rounding errors.
    assert failed_probes(honest(1000 * (embedding() + noise)), 1000 * embedding()) == set()
    assert "cell order does not matter" in failed_probes(honest(embedding() + 100 * noise), embedding())


def test_rows_in_another_order_are_found():
    values = embedding()
    by_length = np.random.default_rng(2).permutation(60)  # as an extractor that sorts its cells returns them
    checks = integrity.probe(honest(values), values[by_length], 2e-5).set_index("check")
    found = checks.loc["rows belong to their cells"]
    assert not found["passed"]
    cell, row = map(int, re.search(r"cell (\d+) in row (\d+)", found["detail"]).groups())
    assert by_length[row] == cell


def test_dependence_on_the_order_is_found():
    values = embedding()

    def embed(rows, tokens_per_chunk):
        return values[rows] + 1e-3 * np.arange(len(rows), dtype=np.float32)[:, None]

    assert "cell order does not matter" in failed_probes(embed, values)


def test_dependence_on_the_size_of_chunks_is_found():
    values = embedding()
    assert failed_probes(lambda rows, size: values[rows] + (1e-3 if size else 0), values) == {
        "chunk size does not matter",
        "neighbours do not matter",
    }


def test_dependence_on_neighbours_is_found():
    values = embedding()

    def embed(rows, tokens_per_chunk):
        if tokens_per_chunk == 1:
            return values[rows]
        return values[rows] + 1e-2 * values[rows].mean(axis=0)

    whole = values + 1e-2 * values.mean(axis=0)
    assert "neighbours do not matter" in failed_probes(embed, whole)


def test_a_draw_that_is_not_seeded_is_found():
    values, rng = embedding(), np.random.default_rng()
    drawn = lambda rows, size: values[rows] + rng.normal(0, 1e-7, (len(rows), 8)).astype(np.float32)  # noqa: E731
    assert failed_probes(drawn, values) == {"same bytes when run again"}


def test_what_is_not_finite_does_not_pass_the_probe():
    values = embedding()
    broken = np.where(np.arange(60)[:, None] == 0, np.nan, values).astype(np.float32)
    assert "cell order does not matter" in failed_probes(honest(broken), values)


def test_two_cells_can_be_probed():
    assert failed_probes(honest(embedding()[:2]), embedding()[:2]) == set()


# -- values of any size


@pytest.mark.filterwarnings("error")
def test_effective_rank_of_extreme_values():
    plain = spread_along(1, 1, 1, 1)
    for factor in (1e-318, 1e-200, 1e30, 1e300):
        assert integrity.effective_rank(factor * plain) == pytest.approx(4, abs=1e-4)
    far = plain.copy()
    far[:3] = np.eye(3, 4) * 1e200
    assert integrity.effective_rank(far) == pytest.approx(3, abs=0.1)
    largest = np.sign(embedding()) * np.finfo(np.float32).max
    assert failed(largest) == []
    assert failed_probes(honest(largest), largest) == set()
    assert "cell order does not matter" in failed_probes(honest(-largest), largest)


def test_what_are_no_numbers_fails_the_gate():
    for values in (embedding().astype(object), embedding() + 0j, embedding() > 0):
        assert failed(values) == ["finite values"]
