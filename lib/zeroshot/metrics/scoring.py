"""Score an embedding with every registered metric; whatever metrics share is computed once."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .clustering import RESOLUTIONS, Sweep, agreement, choose, leiden, louvain, mean_silhouettes
from .neighbors import nearest_neighbors, neighbor_graph
from .registry import METRICS, NotApplicable, require_groups, require_two
from .silhouette import label_widths

PACKAGES = ("igraph", "numpy", "pandas", "scikit-learn", "scipy", "torch")

# Benchmarker of scib-metrics 0.5.10: 15 neighbours for graphs, 50 for kBET, 90 for LISI, itself included.
# Label transfer takes 16: the cell itself and 15 others.
MOST_NEIGHBORS = 90
# Cells in the neighbourhoods that an intermediate is made of, the cell itself included.
NEIGHBORHOODS = {f"neighbors_{k}": k for k in (16, 25, 50, 90)} | dict.fromkeys(
    ("graph", "leiden", "clusters", "clusters_label_free", "clusters_leiden"), 15
)
# Intermediates that depend on the seed of Louvain and Leiden, and with them the metrics that ask for one.
OF_CLUSTERINGS = (
    "louvain", "leiden", "agreement", "silhouettes", "sweep",
    "clusters", "clusters_label_free", "clusters_leiden",
)  # fmt: skip
# A silhouette needs two labels and a label with two cells.
MIN_CELLS = 3


def score(
    embedding: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray | None = None,
    *,
    baseline: np.ndarray | None = None,
    seed: int = 0,
    names: Iterable[str] | None = None,
    clusterings: int = 1,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    r"""Score an embedding with the registered metrics.

    The result does not depend on the order of the cells: they are put into an order that follows from their
    values and the seed before anything is computed.

    Nothing is approximated: distances between all cells, of which the neighbours and two silhouettes take a
    third each, grow with their square, the clusterings with the power 1.5. With intervals and five seeds of
    the clusterings, one core takes about 5 minutes for 50,000 cells in 50 dimensions, most of it for the
    clusterings; 200,000 took 2,880 CPU seconds and 1.9 GB on a busy machine, see
    :func:`zeroshot.pipeline.expected_seconds`. Memory grows with the cells only. For more cells, use CUDA or
    more cores, name fewer metrics, or score a random subset and say so.

    Parameters
    ----------
    embedding
        (cells, dim), finite, dense.
    labels
        (cells,) cell types, at least 2 distinct values, none missing.
    batches
        (cells,) sequencing batches, none missing; None if the data has none.
    baseline
        (cells, dim) the same cells before integration, finite, dense, as a rule principal components of the
        log-normalised counts; None leaves out the metrics that compare with it.
    seed
        Seed of Louvain, of Leiden and of the order of ties among neighbours.
    names
        Metrics to compute; all by default.
    clusterings
        Seeds under which Louvain and Leiden cluster the neighbour graph: `seed`, whose clusters give the
        values, and those that follow it.
    progress
        Called with what is computed next, in a few words ("neighbors", "label widths", "nmi").

    Returns
    -------
    pandas.DataFrame
        One row per metric in registry order, columns metric, group, value, note and cluster_sd. `value` is
        NaN where the metric has no meaning for these cells, and only there; `note` then reads "not
        applicable: <reason>". Otherwise `note` says what a reader must know ("resolution 0.4"), or is empty.
        `cluster_sd` is, of a metric that reads clusters, the standard deviation over the seeds of the
        clusterings,

        .. math:: \sqrt{\frac{1}{c-1} \sum_{k=1}^{c} (\theta_k - \bar\theta)^2}

        with :math:`\theta_k` the metric under the k-th of c seeds. Under each seed a resolution is chosen
        anew, with the labels or without as the metric does: who clusters with another seed also chooses
        again. NaN for other metrics and for one clustering.

    Raises
    ------
    ValueError
        If the input breaks the rules above, a name is unknown, or a metric returns NaN without a reason.

    Source
    ------
    Lancichinetti and Fortunato 2012, *Consensus clustering in complex networks*, for how far the result of
    one seed of modularity maximisation is from that of another; the spread over seeds is this book's.
    """
    wanted = _known_names(METRICS if names is None else names)
    embedding, labels, batches = _validated(embedding, labels, batches)
    if baseline is not None:
        baseline = _matrix(baseline, "baseline")
        if len(baseline) != len(embedding):
            raise ValueError(f"baseline has {len(baseline)} rows for {len(embedding)} cells.")
    shared = _Shared(embedding, labels, batches, seed, baseline, progress)
    shared.reseeded = [shared.clustered_with(seed + number) for number in range(1, clusterings)]
    rows = []
    for name in (name for name in METRICS if name in wanted):
        metric = METRICS[name]
        try:
            if metric.group == "integration" or "batches" in metric.arguments:
                shared.require_batches()
            value, note = shared[name], "; ".join(shared.notes(name))
        except NotApplicable as reason:
            value, note = np.nan, f"not applicable: {reason}"
        rows.append({"metric": name, "group": metric.group, "value": value, "note": note})
    table = pd.DataFrame(rows, columns=["metric", "group", "value", "note"])
    spread = _cluster_sd(shared, dict(zip(table["metric"], table["value"], strict=True)))
    return table.assign(cluster_sd=table["metric"].map(spread).astype(float))


def _cluster_sd(shared: "_Shared", values: Mapping[str, float]) -> dict[str, float]:
    """Standard deviation over seeds of the clusterings, of the metrics that read them and have a value."""
    names = [name for name, value in values.items() if reads_clusters(name) and not np.isnan(value)]
    if not shared.reseeded or not names:
        return {}
    by_seed = [[one[name] for name in names] for one in (shared, *shared.reseeded)]
    # Rounded: the same clusters under other numbers differ in the last digits of a score.
    return dict(zip(names, np.std(by_seed, axis=0, ddof=1).round(12), strict=True))


def reads_clusters(name: str) -> bool:
    """Whether a metric or an intermediate depends on the seed of Louvain or Leiden."""
    arguments = METRICS[name].arguments if name in METRICS else ()
    return name in OF_CLUSTERINGS or any(map(reads_clusters, arguments))


def neighborhood(name: str) -> int:
    """Cells in the neighbourhoods that a metric or an intermediate reads, the largest; 0 if it reads none."""
    arguments = METRICS[name].arguments if name in METRICS else ()
    return max(NEIGHBORHOODS.get(name, 0), *map(neighborhood, arguments), 0)


def cluster_sweep(embedding: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> Sweep:
    """Clusterings behind NMI and ARI, exactly as `score` computes them with the same seed.

    Parameters
    ----------
    embedding, labels, seed
        As for `score`.

    Returns
    -------
    Sweep
        Its `clusters` are (resolutions, cells), cells in the order of the input.
    """
    embedding, labels, _ = _validated(embedding, labels, None)
    shared = _Shared(embedding, labels, None, seed)
    sweep = shared["sweep"]
    clusters = np.empty_like(sweep.clusters)
    clusters[:, shared.order] = sweep.clusters
    return replace(sweep, clusters=clusters)


class _Shared:
    """Everything a metric can ask for by the name of a parameter, computed when first asked for."""

    def __init__(
        self,
        embedding: np.ndarray,
        labels: np.ndarray,
        batches: np.ndarray | None,
        seed: int,
        baseline: np.ndarray | None = None,
        progress: Callable[[str], None] | None = None,
    ):
        self._progress = progress or (lambda what: None)
        self.order = _order(embedding, seed)
        self.seed = seed
        self._values: dict[str, Any] = {
            "embedding": embedding[self.order],
            "labels": labels[self.order],
            "batches": None if batches is None else batches[self.order],
            "baseline": None if baseline is None else baseline[self.order],
        }
        self._notes: dict[str, str] = {}
        # The same for other seeds of the clusterings, which take everything else from here.
        self.reseeded: list[_Shared] = []
        self._cells: _Shared | None = None

    def __getitem__(self, name: str) -> Any:
        if self._cells is not None and not reads_clusters(name):
            return self._cells[name]
        if name == "labels":
            require_groups(self._values["labels"], "label")
        if name not in self._values:
            self._progress(name.replace("_", " "))
            if name in METRICS:
                metric = METRICS[name]
                value = float(metric.function(**{argument: self[argument] for argument in metric.arguments}))
                if not np.isfinite(value):
                    raise ValueError(
                        f"Metric {name!r} returned {value} without saying why; this is a bug in it."
                    )
            elif name in INTERMEDIATES:
                value = INTERMEDIATES[name](self)
            else:
                raise ValueError(f"No metric or intermediate is called {name!r}; a metric asks for it.")
            self._values[name] = value
        return self._values[name]

    def put(self, name: str, value: Any) -> None:
        """Provide what was computed elsewhere."""
        self._values[name] = value

    def clustered_with(self, seed: int) -> "_Shared":
        """The same cells, neighbours and graph, to be clustered with another seed."""
        other = copy.copy(self)
        other.seed, other._cells, other._values, other._notes = seed, self, {}, {}
        other._progress = lambda what: self._progress(f"{what}, seed {seed}")
        return other

    def note(self, name: str, text: str) -> None:
        """Remember what a reader of any metric that uses `name` must know."""
        self._notes[name] = text

    def notes(self, name: str) -> list[str]:
        """Collect notes on a metric's arguments, and on theirs, each once."""
        found = [self._notes[name]] if name in self._notes else []
        for argument in METRICS[name].arguments if name in METRICS else ():
            found += self.notes(argument)
        return list(dict.fromkeys(found))

    def require_batches(self) -> None:
        """Refuse metrics that need batches where there are none to compare."""
        if self["batches"] is None:
            raise NotApplicable("no batches given")
        require_two(self["batches"], "batch")
        require_groups(self["batches"], "batch")


def _neighbors(k: int) -> Callable[[_Shared], Any]:
    def subset(shared: _Shared) -> Any:
        cells = len(shared["embedding"])
        if cells < k:
            shared.note(f"neighbors_{k}", f"{k} neighbours capped at all {cells} cells")
        return shared["neighbors"].first(k)

    return subset


def _graph(shared: _Shared) -> Any:
    cells = len(shared["embedding"])
    if cells < 15:
        shared.note("graph", f"15 neighbours capped at all {cells} cells")
    return neighbor_graph(shared["neighbors"].first(15))


def _silhouettes(shared: _Shared) -> np.ndarray:
    """Of the clusterings of all seeds, so that distances are computed once; each seed gets its own."""
    every = [shared, *shared.reseeded]
    silhouettes = mean_silhouettes(shared["embedding"], np.concatenate([one["louvain"] for one in every]))
    for one, own in zip(every, np.split(silhouettes, len(every)), strict=True):
        one.put("silhouettes", own)
    return shared["silhouettes"]


def _clusters(shared: _Shared) -> np.ndarray:
    return _picked(shared, "clusters", "louvain", int(np.argmax(shared["agreement"])))


def _clusters_label_free(shared: _Shared) -> np.ndarray:
    return _picked(shared, "clusters_label_free", "louvain", shared["sweep"].label_free)


def _clusters_leiden(shared: _Shared) -> np.ndarray:
    best = int(np.argmax(agreement(shared["leiden"], shared["labels"])))
    return _picked(shared, "clusters_leiden", "leiden", best)


def _picked(shared: _Shared, name: str, clusterings: str, position: int) -> np.ndarray:
    shared.note(name, f"resolution {RESOLUTIONS[position]}")
    return shared[clusterings][position]


def _pcr_before(shared: _Shared) -> float:
    if shared["baseline"] is None:
        raise NotApplicable("no embedding before integration was given")
    return float(METRICS["pcr"].function(shared["baseline"], shared["batches"]))


INTERMEDIATES: dict[str, Callable[[_Shared], Any]] = {
    "neighbors": lambda shared: nearest_neighbors(
        shared["embedding"], min(MOST_NEIGHBORS, len(shared["embedding"]))
    ),
    "neighbors_16": _neighbors(16),
    "neighbors_25": _neighbors(25),
    "neighbors_50": _neighbors(50),
    "neighbors_90": _neighbors(90),
    "graph": _graph,
    "label_widths": lambda shared: label_widths(shared["embedding"], shared["labels"]),
    "louvain": lambda shared: louvain(shared["graph"], seed=shared.seed),
    "leiden": lambda shared: leiden(shared["graph"], seed=shared.seed),
    "agreement": lambda shared: agreement(shared["louvain"], shared["labels"]),
    # Silhouettes of twenty clusterings take long, and only the label-free choice needs them.
    "silhouettes": _silhouettes,
    "sweep": lambda shared: choose(shared["louvain"], shared["agreement"], shared["silhouettes"]),
    "clusters": _clusters,
    "clusters_label_free": _clusters_label_free,
    "clusters_leiden": _clusters_leiden,
    "pcr_before": _pcr_before,
}


def _order(embedding: np.ndarray, seed: int) -> np.ndarray:
    """Order of the cells that follows from their values and the seed, not from their order in the file.

    Sorting makes it independent of the file. Shuffling then parts equal rows, so that ties among neighbours,
    which go by this order, do not prefer the batch that the file lists first.
    """
    rows = np.ascontiguousarray(embedding)
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return np.random.default_rng(seed).permutation(np.argsort(as_bytes, kind="stable"))


def _known_names(names: Iterable[str]) -> set[str]:
    names = set(names)
    for name in sorted(names - set(METRICS)):
        raise ValueError(f"Unknown metric {name!r}: choose among {', '.join(METRICS)}.")
    return names


def _validated(
    embedding: np.ndarray, labels: np.ndarray, batches: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Checked inputs; labels and batches become integer codes, which all metrics read alike."""
    embedding = _matrix(embedding, "embedding")
    if len(embedding) < MIN_CELLS:
        raise ValueError(f"At least {MIN_CELLS} cells are needed, got {len(embedding)}.")
    labels = _codes(labels, "labels", len(embedding))
    if labels.max() == 0:
        raise ValueError("labels holds one distinct value; a score needs at least 2 cell types.")
    return embedding, labels, None if batches is None else _codes(batches, "batches", len(embedding))


def _matrix(values: np.ndarray, what: str) -> np.ndarray:
    """Dense and finite, one row per cell."""
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or values.shape[1] == 0:
        raise ValueError(
            f"{what} must be a dense numeric (cells, dim) array, got {values.dtype} {values.shape}; "
            "call .toarray() on a sparse matrix."
        )
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(broken):
        raise ValueError(
            f"{what} has NaN or infinite values in {len(broken)} cells, first in row {broken[0]}."
        )
    return values


def _codes(values: np.ndarray, what: str, cells: int) -> np.ndarray:
    if getattr(values, "ndim", 1) > 1:
        raise ValueError(f"{what} must be (cells,), one value for each cell, got shape {np.shape(values)}.")
    # Through a Series: a categorical, a list of strings and an array all come out alike.
    values = pd.Series(values).reset_index(drop=True)
    if len(values) != cells:
        raise ValueError(f"{what} has {len(values)} entries for {cells} cells.")
    if values.isna().any():
        raise ValueError(
            f"{what} is missing for {values.isna().sum()} cells; drop these cells or give them a name."
        )
    return pd.factorize(values.astype(str), sort=True)[0]
