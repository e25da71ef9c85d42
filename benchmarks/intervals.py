"""How often the intervals of scores hold what they say

New cells are drawn again and again from the same six overlapping types in three shifted batches, and scored
with their interval. Held: the share of draws whose 95 % interval holds the mean score over all draws. Half
width: of the interval, in the mean, beside the one that the scores' own spread over the draws would give.
Draws without an interval count in neither. On tenths: the mean score of the subsamples, which for some
metrics is another level.
"""

import numpy as np
import pandas as pd

from benchmarks import write
from zeroshot import metrics

CELLS, DIM, BATCHES = 1500, 20, 3
SHARES = (0.35, 0.25, 0.2, 0.1, 0.06, 0.04)
DRAWS_PER_REPEAT = 20
BOUNDS = (
    "Where a score jumps, the tenths do not show how far: the label-free rule settles on another resolution, "
    "one cell joins two pieces of a graph, a median over cells moves to another value. There the intervals "
    "are too narrow, and a difference that just clears its interval is no evidence."
)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of the same population: (cells, dim) float32, labels and batches."""
    population, rng = np.random.default_rng(99), np.random.default_rng(seed)
    centres = 0.9 * population.normal(size=(len(SHARES), DIM))
    shifts = 0.4 * population.normal(size=(BATCHES, DIM))
    labels = rng.choice(len(SHARES), CELLS, p=SHARES)
    batches = rng.integers(BATCHES, size=CELLS)
    values = centres[labels] + shifts[batches] + rng.normal(size=(CELLS, DIM))
    return values.astype(np.float32), labels, batches


def run(repeats: int) -> None:
    """Score the draws, print the table, write build/benchmarks/intervals.json."""
    draws = DRAWS_PER_REPEAT * repeats
    tables = []
    for seed in range(draws):
        embedding, labels, batches = draw(seed)
        scores, subsamples = metrics.score_with_intervals(embedding, labels, batches)
        on_tenths = subsamples.groupby("metric")["value"].mean()
        tables.append(scores.assign(tenths=scores["metric"].map(on_tenths)))
    scored = pd.concat(tables).dropna(subset="value")
    rows = []
    for name, of_metric in scored.groupby("metric", sort=False):
        mean, bounded = of_metric["value"].mean(), of_metric.dropna(subset=["low", "high"])
        is_held = (bounded["low"] <= mean) & (mean <= bounded["high"])
        rows.append(
            {
                "metric": name,
                "mean": mean,
                "tenths": of_metric["tenths"].mean(),
                "half_width": (bounded["high"] - bounded["low"]).mean() / 2,
                "expected": 1.96 * of_metric["value"].std(),
                "held": is_held.mean(),
                "without": len(of_metric) - len(bounded),
            }
        )
    table = [
        {
            "metric": metrics.METRICS[row["metric"]].label,
            "mean": f"{row['mean']:.3f}",
            "on tenths": f"{row['tenths']:.3f}",
            "half width": "-" if row["without"] == draws else f"{row['half_width']:.4f}",
            "of the spread": f"{row['expected']:.4f}",
            "held": "-" if row["without"] == draws else f"{row['held']:.0%}",
            "no interval": f"{row['without']}",
        }
        for row in rows
    ]
    print(pd.DataFrame(table).to_string(index=False))
    print(write("intervals", __doc__, BOUNDS, draws, table, cells=CELLS, dim=DIM, rows=rows))
