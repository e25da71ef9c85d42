"""The metrics of the paper beside scib-metrics and scib, on the same simulated cells

ASW, batch integration score, NMI, ARI, AvgBIO, graph connectivity and PCR of 50 dimensions, 14 labels and 6
batches. Each candidate computes them part by part in a fresh process of its own, and candidates take turns:
the first call of a part is cold, compilation included, the second is warm; the suite adds the parts up, cold
with the imports. Processor time beside the clock: on a busy machine it is the steadier of the two, but it
does not see that work is spread over cores. Neighbours: ours are exact, and 90, of which the suite needs 15;
scib-metrics finds 15, approximately, scib 15 by scikit-learn. Clusters: ours are 20 resolutions of Louvain,
the Leiden of scib-metrics 10 resolutions, its k-means one clustering, scib's 10 resolutions of Louvain. At
100,000 cells there is one repeat, and no scib.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks import reference_scib, write
from benchmarks.metrics_parts import BATCHES, DIM, LABELS

CELLS = (16_000, 100_000)
# Of more, one repeat takes a quarter of an hour, and scib as long again.
MOST_REPEATED_CELLS = 20_000
PARTS = ("neighbours", "silhouette", "batch silhouette", "clusters", "graph connectivity", "PCR")
BOUNDS = (
    "On few cells and warm, Louvain: it takes most of our suite, runs on one core, and makes twice as many "
    "clusterings as Leiden and scib do, in about their time. On many cells, exact neighbours: their time "
    "grows with the square of the cells, that of an approximate search hardly faster than their number, and "
    "the compilation that others pay for in a cold start no longer counts for much. What we gain there is "
    "the silhouette, most of the time of scib-metrics."
)


def run(repeats: int, sizes: Sequence[int] = CELLS) -> None:
    """Time everything, print the table, write build/benchmarks/metrics.json."""
    rows = []
    for cells in sizes:
        few = cells <= MOST_REPEATED_CELLS
        names = ("ours", "scib-metrics", "scib") if few else ("ours", "scib-metrics")
        turns = [{name: measure(cells, name) for name in names} for _ in range(repeats if few else 1)]
        rows += compare(cells, turns)
        print(pd.DataFrame([shown(row) for row in rows if row["cells"] == cells]).to_string(index=False))
    table = [shown(row) for row in rows]
    given = {"dim": DIM, "labels": LABELS, "batches": BATCHES, "rows": rows}
    print(write("metrics", __doc__, BOUNDS, repeats, table, **given))


def measure(cells: int, candidate: str) -> dict:
    """What metrics_parts.py prints, run in the candidate's environment."""
    python = reference_scib.environment() if candidate == "scib" else Path(sys.executable)
    script = Path(__file__).with_name("metrics_parts.py")
    # -P: modules beside the script must not hide packages of the same name.
    command = [python, "-P", script, str(cells), candidate]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def compare(cells: int, turns: list[dict[str, dict]]) -> list[dict]:
    """Rows of all tasks and candidates, ours first in each task."""
    suites = [suite(turn) for turn in turns]
    rows = []
    for task in ("suite", *PARTS):
        for name in suites[0]:
            if task not in suites[0][name]:
                continue
            found, own = ([each[of][task] for each in suites] for of in (name, "ours"))
            row = {"cells": cells, "task": task, "candidate": name, "turns": found}
            for kind in ("cold_s", "warm_s", "cold_cpu_s", "warm_cpu_s", "peak_mb"):
                if kind in found[0]:
                    row[kind] = statistics.median(one[kind] for one in found)
                    ratios = [other[kind] / mine[kind] for other, mine in zip(found, own, strict=True)]
                    row[f"{kind} / ours"] = [statistics.median(ratios), min(ratios), max(ratios)]
            check(task, name, own[0]["values"], found[0]["values"])
            rows.append(row)
    return rows


def suite(turn: dict[str, dict]) -> dict[str, dict[str, dict]]:
    """Candidate to task to seconds and values of one turn; k-means makes a second suite of scib-metrics."""
    found = {}
    for name, measured in turn.items():
        for clusters in (part for part in ("clusters", "k-means") if part in measured["parts"]):
            parts = measured["parts"] | {"clusters": measured["parts"][clusters]}
            tasks = {part: _times(parts[part]) for part in PARTS}
            whole = {
                key: sum(task[key] for task in tasks.values()) for key in tasks["PCR"] if key != "values"
            }
            whole["cold_s"] += parts["imports"]["wall_s"][0]
            whole["cold_cpu_s"] += parts["imports"]["cpu_s"][0]
            three = [*tasks["silhouette"]["values"].values(), *tasks["clusters"]["values"].values()]
            whole |= {"values": {"AvgBIO": statistics.mean(three)}, "peak_mb": measured["peak_mb"]}
            for task in tasks.values():
                task["share"] = task["warm_s"] / whole["warm_s"]
            title = {"clusters": "Leiden", "k-means": "k-means"}[clusters]
            title = f"{name}, {title}" if name == "scib-metrics" else name
            # What k-means does not change is told once.
            told = {"clusters": tasks["clusters"]} if clusters == "k-means" else tasks
            found[title] = {"suite": whole} | told
    return found


def _times(part: dict) -> dict:
    """Of the first call, which is cold, and of the second."""
    times = dict(zip(("cold_s", "warm_s"), part["wall_s"], strict=True))
    times |= dict(zip(("cold_cpu_s", "warm_cpu_s"), part["cpu_s"], strict=True))
    return times | {"values": part["values"]}


def check(task: str, candidate: str, ours: dict[str, float], other: dict[str, float]) -> None:
    """Hold values against ours: equal where the definition is, else on the side where they must be."""
    for name in ("ASW", "ASW label/batch", "PCR"):
        if name in other:
            assert abs(ours[name] - other[name]) < 1e-4, (task, candidate, name, ours, other)
    if "mean distance to the 15th" in other:  # no neighbours are nearer than the nearest
        assert ours["mean distance to the 15th"] <= other["mean distance to the 15th"] + 1e-4
    for name in ("NMI", "ARI"):  # other clusterings of much the same cells
        assert name not in other or abs(ours[name] - other[name]) < 0.2, (candidate, ours, other)


def shown(row: dict) -> dict[str, str]:
    """A row as the book shows it."""

    def times(kind: str) -> str:
        if f"{kind} / ours" not in row:
            return "–"
        middle, low, high = row[f"{kind} / ours"]
        return f"{middle:.1f}" if len(row["turns"]) == 1 else f"{middle:.1f} ({low:.1f}–{high:.1f})"

    values, share = row["turns"][0]["values"], row["turns"][0].get("share")
    return {
        "cells": f"{row['cells']:,}",
        "task": row["task"],
        "candidate": row["candidate"],
        "cold / ours": times("cold_s"),
        "warm / ours": times("warm_s"),
        "processor, cold / ours": times("cold_cpu_s"),
        "processor, warm / ours": times("warm_cpu_s"),
        "memory / ours": times("peak_mb"),
        "of its warm suite": "–" if share is None else f"{share:.0%}",
        "values": ", ".join(f"{name} {value:.4f}" for name, value in values.items()) or "–",
    }
