"""The paper's metrics by one candidate in a fresh process, timed part by part; see metrics.py.

``python benchmarks/metrics_parts.py CELLS CANDIDATE`` prints JSON. It also runs in scib's own
environment, so it imports nothing of the project but the candidate, and that as its first part.
"""

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

DIM, LABELS, BATCHES = 50, 14, 6

Parts = dict[str, Callable[[], dict[str, float]]]


def simulate(cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlapping labels in shifted batches: (cells, 50) float32, labels, batches."""
    rng = np.random.default_rng(0)
    labels, batches = rng.integers(LABELS, size=cells), rng.integers(BATCHES, size=cells)
    centres, shifts = rng.normal(size=(LABELS, DIM)), 0.3 * rng.normal(size=(BATCHES, DIM))
    values = 0.7 * centres[labels] + shifts[batches] + rng.normal(size=(cells, DIM))
    return values.astype(np.float32), labels, batches


def ours(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> Parts:
    """What ``metrics.score`` calls for the paper's metrics, in its order; 90 neighbours, as it finds them."""
    made = {}

    def imports() -> dict:
        from zeroshot import metrics

        made["metrics"] = metrics
        return {}

    def neighbours() -> dict:
        near = made["metrics"].nearest_neighbors(x, 90)
        made["graph"] = made["metrics"].neighbor_graph(near.first(15))
        return {"mean distance to the 15th": near.distances[:, 14].mean()}

    def clusters() -> dict:
        from zeroshot.metrics.clustering import agreement

        found = made["metrics"].louvain(made["graph"])
        best = found[agreement(found, labels).argmax()]
        return {"NMI": made["metrics"].nmi(labels, best), "ARI": made["metrics"].ari(labels, best)}

    def silhouette() -> dict:
        return {"ASW": made["metrics"].asw_label(made["metrics"].label_widths(x, labels))}

    def batch_silhouette() -> dict:
        return {"ASW label/batch": made["metrics"].batch_integration_score(x, labels, batches)}

    def connectivity() -> dict:
        return {"connectivity": made["metrics"].graph_connectivity(made["graph"], labels)}

    return {
        "imports": imports,
        "neighbours": neighbours,
        "silhouette": silhouette,
        "batch silhouette": batch_silhouette,
        "clusters": clusters,
        "graph connectivity": connectivity,
        "PCR": lambda: {"PCR": made["metrics"].pcr(x, batches)},
    }


def scib_metrics(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> Parts:
    """The same by scib-metrics, which has two ways to cluster; its graphs need 15 neighbours."""
    made = {}

    def imports() -> dict:
        import scib_metrics.nearest_neighbors
        import scib_metrics.utils

        made["scib"] = scib_metrics
        return {}

    def neighbours() -> dict:
        made["near"] = made["scib"].nearest_neighbors.pynndescent(x, 15, random_state=0, n_jobs=-1)
        return {"mean distance to the 15th": made["near"].distances[:, 14].mean()}

    def pcr() -> dict:
        found = made["scib"].utils.principal_component_regression(x, batches, categorical=True)
        return {"PCR": found}

    def agreement(found: dict[str, float]) -> dict:
        return {"NMI": found["nmi"], "ARI": found["ari"]}

    return {
        "imports": imports,
        "neighbours": neighbours,
        "silhouette": lambda: {"ASW": made["scib"].silhouette_label(x, labels)},
        "batch silhouette": lambda: {"ASW label/batch": made["scib"].silhouette_batch(x, labels, batches)},
        "clusters": lambda: agreement(
            made["scib"].nmi_ari_cluster_labels_leiden(made["near"], labels, seed=0)
        ),
        "k-means": lambda: agreement(made["scib"].nmi_ari_cluster_labels_kmeans(x, labels)),
        "graph connectivity": lambda: {"connectivity": made["scib"].graph_connectivity(made["near"], labels)},
        "PCR": pcr,
    }


def scib(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> Parts:
    """The same by scib, with the Louvain of the louvain package."""
    made = {}

    def imports() -> dict:
        import pandas as pd
        import scanpy
        import scib
        from anndata import AnnData

        obs = pd.DataFrame({"label": labels, "batch": batches}, index=np.arange(len(x)).astype(str))
        made.update(scanpy=scanpy, scib=scib, cells=AnnData(x, obs=obs.astype(str).astype("category")))
        made["cells"].obsm["X"] = x
        return {}

    def neighbours() -> dict:
        # Its default for many cells, pynndescent, returns a kind of matrix that this scanpy cannot read.
        exact = {"transformer": "sklearn", "use_rep": "X"}
        made["scanpy"].pp.neighbors(made["cells"], n_neighbors=15, **exact)
        return {}

    def clusters() -> dict:
        made["scib"].cl.cluster_optimal_resolution(
            made["cells"], "label", "cluster", cluster_function=made["scanpy"].tl.louvain, use_rep="X",
            verbose=False, force=True,
        )  # fmt: skip
        given = (made["cells"], "cluster", "label")
        return {"NMI": made["scib"].me.nmi(*given), "ARI": made["scib"].me.ari(*given)}

    def batch_silhouette() -> dict:
        found = made["scib"].me.silhouette_batch(made["cells"], "batch", "label", "X", verbose=False)
        return {"ASW label/batch": found}

    def pcr() -> dict:
        return {"PCR": made["scib"].me.pc_regression(x, made["cells"].obs["batch"], n_comps=DIM)}

    return {
        "imports": imports,
        "neighbours": neighbours,
        "silhouette": lambda: {"ASW": made["scib"].me.silhouette(made["cells"], "label", "X")},
        "batch silhouette": batch_silhouette,
        "clusters": clusters,
        "graph connectivity": lambda: {
            "connectivity": made["scib"].me.graph_connectivity(made["cells"], "label")
        },
        "PCR": pcr,
    }


CANDIDATES = {"ours": ours, "scib-metrics": scib_metrics, "scib": scib}


def main(cells: int, candidate: str) -> dict:
    """Seconds on the clock and of the processor for two calls of each part, values and peak memory."""
    parts = CANDIDATES[candidate](*simulate(cells))
    rows = {name: {"wall_s": [], "cpu_s": [], "values": {}} for name in parts}
    for _ in range(2):
        for name, call in parts.items():
            wall, cpu = time.perf_counter(), time.process_time()
            values = call()
            rows[name]["wall_s"].append(time.perf_counter() - wall)
            rows[name]["cpu_s"].append(time.process_time() - cpu)
            rows[name]["values"] = {key: float(value) for key, value in values.items()}
            print(cells, candidate, name, f"{rows[name]['wall_s'][-1]:.2f} s", file=sys.stderr, flush=True)
    # Not ru_maxrss, which a child inherits from the process that started it.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peak = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return {"parts": rows, "peak_mb": peak[0] if peak else None}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):  # candidates report on stdout
        found = main(int(sys.argv[1]), sys.argv[2])
    print(json.dumps(found))
