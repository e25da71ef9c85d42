"""Our tokenisers beside a plain loop over cells in NumPy: the same counts, the same tokens.

The loop sorts (Geneformer) or bins (scGPT) one cell after another, as the reference implementations do.
Candidates take turns (A B A B) in one process after a call that is not counted.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from scipy import sparse

from benchmarks import write
from zeroshot.tokens.tokenizers import bin_values, cell_keys, rank_tokens

CELLS, GENES, EXPRESSED = 2000, 15_000, 1050
MAX_TOKENS = 2048

BOUNDS = (
    "NumPy's sort of a thousand values is fast enough that a loop over cells loses little: the sort alone "
    "leaves no room for a gain of an order of magnitude on ranks. On bins the rest is the search of each "
    "value among the edges and, by cell and gene, the draws: a hash of seed, cell and gene instead of a "
    "stream, which is what makes a cell's tokens its own. Either is about a thousandth of the time, or "
    "less, that a network of these families then needs for the cell on a CPU."
)


def simulate() -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Counts, half of them ones, library sizes and medians."""
    rng = np.random.default_rng(0)
    counts = sparse.random(CELLS, GENES, EXPRESSED / GENES, random_state=0, format="csr", dtype=np.float32)
    counts.data = np.ceil(rng.gamma(0.6, 1.8, counts.nnz)).astype(np.float32)
    return counts, np.asarray(counts.sum(axis=1)).ravel(), rng.gamma(2, 1, GENES) + 0.1


def ranks_by_cell(counts: sparse.csr_matrix, library_size: np.ndarray, medians: np.ndarray) -> np.ndarray:
    tokens = []
    for (start, stop), size in zip(pairwise(counts.indptr), library_size, strict=True):
        genes = counts.indices[start:stop]
        scaled = counts.data[start:stop].astype(np.float64) / size * 10_000 / medians[genes]
        tokens.append(genes[np.argsort(-scaled, kind="stable")][:MAX_TOKENS])
    return np.concatenate(tokens)


def bins_by_cell(counts: sparse.csr_matrix) -> np.ndarray:
    draws, bins = np.random.RandomState(0), []
    for start, stop in pairwise(counts.indptr):
        row = counts.data[start:stop]
        edges = np.quantile(row, np.linspace(0, 1, 50))
        left, right = np.digitize(row, edges), np.digitize(row, edges, right=True)
        bins.append(np.ceil(draws.rand(len(row)) * (right - left) + left))
    return np.concatenate(bins)


def tasks() -> dict[str, dict[str, Callable[[], np.ndarray]]]:
    """Task to candidates, ours first, the loop second; these two give the same tokens."""
    counts, size, medians = simulate()
    keys = {"cell_keys": cell_keys(np.arange(CELLS).astype(str)), "gene_keys": np.arange(GENES)}
    ids = np.arange(GENES)
    # Nothing that sorts each cell can be faster than this: what bounds both.
    values = counts.data.astype(np.float64).reshape(-1)[: CELLS * EXPRESSED].reshape(CELLS, EXPRESSED)
    scaled = values * np.random.default_rng(1).uniform(0.5, 2, values.shape)
    return {
        "ranks": {
            "ours": lambda: rank_tokens(counts, size, medians, ids, max_tokens=MAX_TOKENS).ids,
            "loop": partial(ranks_by_cell, counts, size, medians),
            "the sort alone": lambda: np.argsort(scaled, axis=1),
        },
        "bins": {
            "ours, legacy stream": lambda: bin_values(counts, mode="reference").data,
            "loop": partial(bins_by_cell, counts),
            "ours, by cell and gene": lambda: bin_values(counts, **keys).data,
            "the sort alone": lambda: np.sort(values, axis=1),
        },
    }


def run(repeats: int) -> None:
    """Time everything, print the table, write build/benchmarks/tokenizers.json."""
    rows = []
    print(f"{'task':8}{'candidate':26}{'us / cell':>10}  speed / loop")
    for task, candidates in tasks().items():
        first = [call() for call in candidates.values()]
        assert (first[0] == first[1]).all(), task
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(repeats):
            for name, call in candidates.items():
                started = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - started)
        for name, mine in seconds.items():
            speeds = [loop / own for loop, own in zip(seconds["loop"], mine, strict=True)]
            row = {"task": task, "candidate": name, "us_per_cell": statistics.median(mine) / CELLS * 1e6}
            row |= {"speed": statistics.median(speeds), "speed_min": min(speeds), "speed_max": max(speeds)}
            rows.append(row)
            print(f"{task:8}{name:26}{row['us_per_cell']:10.1f}  {row['speed']:.2f}", end="")
            print(f" ({row['speed_min']:.2f}-{row['speed_max']:.2f})", flush=True)
    table = [
        {
            "task": row["task"],
            "candidate": row["candidate"],
            "µs per cell": f"{row['us_per_cell']:.0f}",
            "speed / loop": f"{row['speed']:.1f} ({row['speed_min']:.1f}–{row['speed_max']:.1f})",
        }
        for row in rows
    ]
    print(write("tokenizers", __doc__, BOUNDS, repeats, table, cells=CELLS, expressed=EXPRESSED, rows=rows))
