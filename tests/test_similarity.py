"""How alike two embeddings are: what must not matter, what must, and what chance gives."""

import numpy as np
import pytest

from zeroshot.metrics import cka, neighbor_overlap

MEASURES = (cka, neighbor_overlap)


def cells(n=200, dim=12, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def by_kernels(first, second):
    """CKA as Nguyen et al. 2021 write it, with all pairs of cells."""

    def hsic(a, b):
        n = len(a)
        one = np.ones(n)
        mixed = one @ a @ one * (one @ b @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ a @ b @ one)
        return (np.trace(a @ b) + mixed) / (n * (n - 3))

    a, b = (values.astype(float) @ values.T.astype(float) for values in (first, second))
    np.fill_diagonal(a, 0)
    np.fill_diagonal(b, 0)
    return hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_embeddings_have_one(measure):
    assert measure(cells(), cells()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_rotation_shift_and_scale_do_not_matter(measure):
    values, other = cells(), cells(seed=1) + cells()
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))
    moved = 1e3 * (values @ turn) + 7
    assert measure(moved, values) == pytest.approx(1, abs=1e-6)
    assert measure(moved, other) == pytest.approx(measure(values, other), abs=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_is_symmetric_and_between_chance_and_one(measure):
    first, second = cells(), cells() + 2 * cells(seed=1)
    assert measure(first, second) == pytest.approx(measure(second, first), abs=1e-12)
    assert measure(first, cells(seed=1)) + 0.05 < measure(first, second) < 0.95


@pytest.mark.parametrize("dim", [5, 512])
def test_independent_embeddings_are_near_chance_in_any_dimension(dim):
    first, second = cells(dim=dim), cells(dim=dim, seed=1)
    assert cka(first, second) == pytest.approx(0, abs=0.05)
    assert neighbor_overlap(first, second) == pytest.approx(15 / 199, abs=0.02)


@pytest.mark.parametrize("dims", [(3, 7), (300, 40)])
def test_cka_is_that_of_the_kernels(dims):
    first = cells(40, dims[0]) + 5
    second = cells(40, dims[1], seed=1)
    second[:, :3] += first[:, :3]
    assert cka(first, second) == pytest.approx(by_kernels(first, second), abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("measure", MEASURES)
def test_size_does_not_matter(measure):
    first, second = cells().astype(float), cells() + 2.0 * cells(seed=1)
    for factor in (1e-318, 1e-200, 1e200):
        assert measure(factor * first, second) == pytest.approx(measure(first, second), abs=1e-5)
    far = first.copy()
    far[:3] *= 1e9
    assert neighbor_overlap(far, first) > 0.9, "the neighbours of the other cells are the same"


def test_overlap_counts_common_neighbours():
    # Nearest other cells: 1, 0, 1, 2, 3, 4. With the first cell moved between the others: 3, 2, 1, 0, 0, 4.
    line = np.array([0.0, 1, 3, 7, 15, 31])[:, None]
    moved = np.array([8.0, 1, 3, 7, 15, 31])[:, None]
    assert neighbor_overlap(line, moved, k=1) == pytest.approx(2 / 6)
    assert neighbor_overlap(line, moved, k=99) == 1, "all other cells are neighbours"


@pytest.mark.parametrize("measure", MEASURES)
def test_other_cells_are_refused(measure):
    with pytest.raises(ValueError, match="200 and 199 cells: give the same cells in one order"):
        measure(cells(), cells(199))


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="all in one place"):
        cka(cells(), np.ones((200, 3)))
    with pytest.raises(ValueError, match="at least 4 cells, got 3"):
        cka(cells(3), cells(3))
    with pytest.raises(ValueError, match="single cell"):
        neighbor_overlap(cells(1), cells(1))
