"""Our metrics beside scib-metrics and scikit-learn, paired in one run on the same simulated embedding.

Cold: the first call in a fresh process, imports and compilation included, with that process's peak
memory. Warm: candidates take turns (A B A B) in one process after a call that is not counted.
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

DIM, LABELS, BATCHES = 50, 8, 3


def simulate(cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlapping labels in shifted batches: (cells, 50) float32, labels, batches."""
    rng = np.random.default_rng(0)
    labels, batches = rng.integers(LABELS, size=cells), rng.integers(BATCHES, size=cells)
    centres, shifts = rng.normal(size=(LABELS, DIM)), 0.3 * rng.normal(size=(BATCHES, DIM))
    values = 0.7 * centres[labels] + shifts[batches] + rng.normal(size=(cells, DIM))
    return values.astype(np.float32), labels, batches


def tasks(cells: int) -> dict[str, dict[str, Callable]]:
    """Task to candidates, ours first; each candidate imports what it needs when it is called."""
    x, labels, batches = simulate(cells)

    # Exact and made once, without either candidate's code: both graphs start from the same neighbours.
    squares = (x.astype(np.float64) ** 2).sum(axis=1)
    nearest = np.argsort(squares[:, None] + squares - 2 * x.astype(np.float64) @ x.T, axis=1)[:, :15]
    lengths = np.linalg.norm(x[nearest] - x[:, None], axis=2)

    def our_graph():
        return ours("neighbor_graph", ours("Neighbors", nearest, lengths))

    def scib_neighbors():
        return scib(".nearest_neighbors.NeighborsResults", indices=nearest, distances=lengths)

    def ours(name, *arguments):
        from zeroshot import metrics

        return getattr(metrics, name)(*(a() if callable(a) else a for a in arguments))

    def scib(path, *arguments, **options):
        module, _, name = path.rpartition(".")
        function = getattr(import_module("scib_metrics" + module), name)
        return function(*(a() if callable(a) else a for a in arguments), **options)

    def sklearn_silhouette():
        from sklearn.metrics import silhouette_score

        return (silhouette_score(x, labels) + 1) / 2

    def sklearn_neighbors():
        from sklearn.neighbors import NearestNeighbors

        return NearestNeighbors(n_neighbors=90, algorithm="brute").fit(x).kneighbors(x)[0]

    leiden = partial(scib, ".nmi_ari_cluster_labels_leiden", scib_neighbors, labels, seed=0)
    pcr = partial(scib, ".utils.principal_component_regression", x, batches, categorical=True)
    return {
        "silhouette": {
            "ours": partial(ours, "asw_label", x, labels),
            "scib-metrics": partial(scib, ".silhouette_label", x, labels),
            "scikit-learn": sklearn_silhouette,
        },
        "90 neighbours": {
            "ours": partial(ours, "nearest_neighbors", x, 90),
            "pynndescent (scib-metrics)": partial(scib, ".nearest_neighbors.pynndescent", x, 90, n_jobs=-1),
            "scikit-learn": sklearn_neighbors,
        },
        "cluster sweep": {
            "ours (Louvain, 20)": lambda: ours("sweep_resolutions", x, labels, our_graph).nmi.max(),
            "scib-metrics (Leiden, 10)": lambda: leiden()["nmi"],
        },
        "graph connectivity": {
            "ours": partial(ours, "graph_connectivity", our_graph, labels),
            "scib-metrics": partial(scib, ".graph_connectivity", scib_neighbors, labels),
        },
        "PCR": {"ours": partial(ours, "pcr", x, batches), "scib-metrics": pcr},
    }


def check(task: str, ours: object, other: object) -> str:
    """Hold our value against a reference; where the two differ by definition, say how."""
    if task == "90 neighbours":
        if isinstance(other, np.ndarray):  # exact distances
            assert np.allclose(ours.distances[:, 1:], other[:, 1:], rtol=1e-4)
            return "equal distances"
        shared = [len(np.intersect1d(a, b)) for a, b in zip(ours.indices, other.indices, strict=True)]
        recall = np.mean(shared) / 90
        assert recall > 0.9, recall
        return f"approximate, recall {recall:.3f}"
    if task == "cluster sweep":
        assert abs(ours - other) < 0.1, (ours, other)
        return f"best NMI {ours:.3f}, {other:.3f}"
    if task == "graph connectivity":  # undirected against strong connection in a directed graph
        assert ours >= other - 1e-9, (ours, other)
        return f"{ours:.4f} >= {other:.4f}"
    assert np.isclose(ours, other, atol=1e-4), (task, ours, other)
    return f"equal, {ours:.4f}"


def print_cold(task: str, candidate: str, cells: int) -> None:
    """First call of one candidate in this process, as JSON on stdout."""
    call = tasks(cells)[task][candidate]
    started = time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    # Not ru_maxrss, which a child inherits from the process that started it.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peak = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    print(json.dumps({"cold_s": seconds, "peak_mb": peak[0] if peak else None}))


def run(cells: int, repeats: int) -> None:
    """Time everything, print the table, write build/benchmarks/metrics.json."""
    from zeroshot import paths, store

    rows = []
    for task, candidates in tasks(cells).items():
        cold, warm = {}, {name: [] for name in candidates}
        for name in candidates:
            command = [sys.executable, "-m", "benchmarks", "--cells", str(cells), "--cold", task, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            cold[name] = json.loads(done.stdout.splitlines()[-1])
        first, *_ = values = [call() for call in candidates.values()]
        for _ in range(repeats):
            for name, call in candidates.items():
                started = time.perf_counter()
                call()
                warm[name].append(time.perf_counter() - started)
        fastest = statistics.median(next(iter(warm.values())))
        for name, value in zip(candidates, values, strict=True):
            ratios = [other / mine for other, mine in zip(warm[name], next(iter(warm.values())), strict=True)]
            rows.append({
                "task": task, "candidate": name, **cold[name], "warm_s": warm[name],
                "ratio": statistics.median(warm[name]) / fastest,
                "ratio_min": min(ratios), "ratio_max": max(ratios),
                "value": "" if value is first else check(task, first, value),
            })  # fmt: skip
    print(f"{'task':19}{'candidate':27}{'cold s':>7}{'MB':>6}{'warm s':>9}  time / ours (min-max)  value")
    for row in rows:
        ratio = f"{row['ratio']:.2f} ({row['ratio_min']:.2f}-{row['ratio_max']:.2f})"
        warm_s, peak = statistics.median(row["warm_s"]), f"{row['peak_mb'] or float('nan'):.0f}"
        print(f"{row['task']:19}{row['candidate']:27}{row['cold_s']:7.2f}{peak:>6}{warm_s:9.4f}  ", end="")
        print(f"{ratio:21}  {row['value']}")
    record = {"cells": cells, "dim": DIM, "repeats": repeats, "rows": rows, "machine": platform.processor()}
    output = paths.build() / "benchmarks" / "metrics.json"
    store.write_text(output, json.dumps(record | store.measure(0) | {"seconds": None}, indent=1))
    print(f"{cells} cells x {DIM}, {repeats} repeats after one that is not counted: {output}")
