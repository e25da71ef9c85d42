"""Whether the rows of an embedding are those of the cells: what a file in another order looks like.

Scores of an embedding whose rows belong to other cells are numbers like all others. Two public benchmarks
have published such scores; see the chapter "Is the embedding the one you think?".
"""

from dataclasses import dataclass

import numpy as np

PACKAGES = ("numpy", "scikit-learn")

# With fewer cells, equal steps from row to row can be chance.
MIN_CELLS = 10
# Steps of a counter are equal up to this share of the range of the column, and the rounding of its values.
ROUNDING = 1e-6
# Neighbours of a cell, itself not counted; cells among which they are sought; permutations of the rows.
NEIGHBORS = 15
SAMPLE = 2000
PERMUTATIONS = 100
CLOSE_TOGETHER = 50  # rows, of those that are looked at, that a permutation exchanges
# Standard deviations of the permutations above their mean from which neighbours are better than chance.
BETTER_THAN_CHANCE = 4.0
# Doubts are raised only where the cells clearly have a structure that could be found.
CLEARLY_BETTER = 10.0
MIN_CELLS_FOR_NEIGHBORS = 100
# Share of the variance of the row number that neighbours explain beyond those of the reference.
MORE_OF_POSITION = 0.25
COMPARE_ORDER = (
    "Compare the order of its rows with obs_names: some tools sort cells, by length for instance, and return "
    "them sorted."
)


@dataclass(frozen=True)
class Doubt:
    """A reason to think that rows are not those of the cells, or that a column is no coordinate.

    Attributes
    ----------
    check
        Name of the check, in a few words.
    seen, expected
        What the embedding shows, and what one in the order of the cells would.
    advice
        What to do.
    """

    check: str
    seen: str
    expected: str
    advice: str

    def __str__(self) -> str:
        """One sentence each for what was seen, what was expected and what to do."""
        return f"{self.check}: {self.seen}; expected {self.expected}. {self.advice}"


def doubts(
    embedding: np.ndarray,
    reference: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> list[Doubt]:
    """Reasons to think that the rows of an embedding are not in the order of the cells.

    An embedding without information, such as random numbers, raises the same doubt as shuffled rows: from the
    values alone the two are the same.

    Parameters
    ----------
    embedding
        (cells, dim), finite.
    reference
        (cells, dim) the same cells in an embedding that is known to be in order, as a rule principal
        components of their counts; None if there is none: then only counters are looked for.
    labels
        (cells,) cell types, none missing; None if there are none.
    seed
        Draws the cells that are looked at, at most 2,000, and the permutations.

    Returns
    -------
    list of Doubt
        Empty if nothing speaks against the order.

    Known failure
    -------------
    Rows that are exchanged within a cell type, or in a small part of the file, go unnoticed.
    """
    reasons = [_doubt_of_counters(columns)] if (columns := counters(embedding)) else []
    if reference is None or len(embedding) < MIN_CELLS_FOR_NEIGHBORS:
        return reasons
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(embedding))[:SAMPLE])
    near, near_reference = _neighbors(embedding[rows]), _neighbors(reference[rows])
    chance = _doubt_of_chance(
        near, near_reference, reference[rows], None if labels is None else np.asarray(labels)[rows], rng
    )
    position = _doubt_of_position(near, near_reference)
    return [*reasons, *(doubt for doubt in (chance, position) if doubt)]


def counters(embedding: np.ndarray) -> list[int]:
    """Columns that count the rows: equal steps from the first row to the last, up or down.

    None of fewer than 10 rows.
    """
    values = np.asarray(embedding)
    if values.ndim != 2 or len(values) < MIN_CELLS or values.dtype.kind not in "fiu":
        return []
    first, last = (values[row].astype(np.float64) for row in (0, -1))
    columns = np.flatnonzero(np.isfinite(first) & np.isfinite(last) & (first != last))
    first, last, values = first[columns], last[columns], values[:, columns]
    with np.errstate(over="ignore"):
        is_float32 = (values.astype(np.float32) == values).all(axis=0)
    precision = np.where(is_float32, np.finfo(np.float32).eps, np.finfo(np.float64).eps)
    rounding = precision * np.maximum(np.abs(first), np.abs(last))
    # Between steps smaller than the rounding, any rising values look like equal steps.
    has_steps = np.abs(last - first) / (len(values) - 1) > rounding
    tolerance = ROUNDING * np.abs(last - first) + 2 * rounding
    is_even = (np.abs(values - np.linspace(first, last, len(values))) <= tolerance).all(axis=0)
    return columns[has_steps & is_even].tolist()


def _doubt_of_counters(columns: list[int]) -> Doubt:
    named = ", ".join(map(str, columns[:5]))
    return Doubt(
        "a column counts the rows",
        f"column {named} rises or falls by the same step from each row to the next",
        "coordinates that depend on the cell",
        "It is probably the index of a table, read as data: read it as names (index_col=0 in pandas), and "
        "put the rows into the order of obs_names by it.",
    )


def _doubt_of_chance(
    near: np.ndarray,
    near_reference: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray | None,
    rng: np.random.Generator,
) -> Doubt | None:
    """Neighbours are those of shuffled rows, although the cells have structure."""
    overlap = _excess(near, _membership(near_reference), rng)
    # Components are uncorrelated: two halves of them share neighbours only if the cells have structure.
    halves = (
        [_neighbors(reference[:, start::2]) for start in (0, 1)] if reference.shape[1] > 1 else [near] * 2
    )
    structure = _excess(halves[0], _membership(halves[1]), rng)
    if overlap.excess >= BETTER_THAN_CHANCE or structure.excess < CLEARLY_BETTER:
        return None
    seen = f"{overlap.observed:.1%} of the nearest cells are the nearest in the reference"
    expected = f"clearly more than the {overlap.chance:.1%} when rows close together are exchanged"
    if labels is not None:
        same = labels[:, None] == labels
        embedding, whole = _excess(near, same, rng), _excess(near_reference, same, rng).observed
        # What knows the types as well as the reference is in order, though it knows nothing else.
        if embedding.excess >= BETTER_THAN_CHANCE or embedding.observed >= whole:
            return None
        seen += f" and {embedding.observed:.1%} have the label of their cell"
        expected += f", and about {whole:.1%} as there"
    return Doubt(
        "neighbours are no better than chance",
        seen,
        expected,
        f"{COMPARE_ORDER} If it is right, the embedding knows as little of these cells as random numbers do.",
    )


def _doubt_of_position(near: np.ndarray, near_reference: np.ndarray) -> Doubt | None:
    """Where a row stands in the file can be told from its values, more than the cells explain."""
    of_embedding, of_reference = _position_explained(near), _position_explained(near_reference)
    if of_embedding - of_reference < MORE_OF_POSITION:
        return None
    return Doubt(
        "the values tell the position of the row",
        f"nearest neighbours explain {of_embedding:.0%} of the variance of the row number",
        f"about as much as in the reference ({max(of_reference, 0):.0%})",
        COMPARE_ORDER,
    )


def _position_explained(near: np.ndarray) -> float:
    """R2 of the row number by the mean row number of the neighbours; 0 or less if they know nothing of it."""
    position = np.arange(len(near))
    return 1 - float(np.square(position - position[near].mean(axis=1)).mean() / position.var())


@dataclass(frozen=True)
class _Excess:
    """Share of neighbours that meet a condition, its mean over shuffled rows, and their distance in sd."""

    observed: float
    chance: float
    excess: float


def _excess(near: np.ndarray, condition: np.ndarray, rng: np.random.Generator) -> _Excess:
    """Share of neighbours for which a (cells, cells) condition holds, against the same with rows shuffled.

    Shuffled are rows close together in the file: files are sorted by sample or type, and rows of another
    order then often are still cells of the same kind.
    """
    cells = np.arange(len(near))
    observed = condition[cells[:, None], near].mean()
    shuffled = []
    for _ in range(PERMUTATIONS):
        order = np.argsort(cells // CLOSE_TOGETHER + rng.random(len(cells)))
        shuffled.append(condition[order[:, None], order[near]].mean())
    chance, spread = np.mean(shuffled), np.std(shuffled, ddof=1)
    return _Excess(float(observed), float(chance), float((observed - chance) / spread) if spread > 0 else 0.0)


def _neighbors(points: np.ndarray) -> np.ndarray:
    """(cells, 15) rows of the nearest other cells."""
    from sklearn.neighbors import NearestNeighbors

    points = np.asarray(points, dtype=np.float64)
    # Distances come from squared lengths: an offset must not use up their digits, no size their range.
    points = np.ldexp(points, -int(np.frexp(np.abs(points).max())[1]))
    points = points - np.median(points, axis=0)
    return NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute").fit(points).kneighbors()[1]


def _membership(near: np.ndarray) -> np.ndarray:
    """(cells, cells) boolean: is the cell of the column near that of the row?"""
    member = np.zeros((len(near), len(near)), dtype=bool)
    np.put_along_axis(member, near, True, axis=1)
    return member
