"""Metrics of zero-shot embeddings: arrays in, floats out.

`score` computes all of them, `score_with_intervals` says how sure they are; each is also a plain
function. To add one, decorate a function with `metric` in any file of this folder:
the scores table, the glossary and the contract tests pick it up.
"""

import importlib
import pkgutil

from .annotation import (
    ari,
    ari_label_free,
    ari_leiden,
    asw_label,
    avg_bio,
    avg_bio_label_free,
    clisi,
    isolated_labels,
    nmi,
    nmi_label_free,
    nmi_leiden,
)
from .classifiers import knn_accuracy, knn_macro_f1, linear_probe
from .clustering import RESOLUTIONS, Sweep, leiden, louvain, sweep_resolutions
from .controls import label_oracle
from .integration import (
    average_batch,
    batch_integration_score,
    bras,
    graph_connectivity,
    ilisi,
    kbet,
    pcr,
    pcr_comparison,
)
from .label_graph import scgraph
from .label_recovery import isolated_labels_f1, ksim
from .neighbors import Neighbors, nearest_neighbors, neighbor_graph
from .registry import METRICS, Metric, NotApplicable, metric
from .scoring import cluster_sweep, score
from .silhouette import label_widths, silhouette_widths
from .similarity import cka, neighbor_overlap
from .uncertainty import (
    CLUSTERINGS,
    half_width,
    intervals,
    no_interval,
    score_subsamples,
    score_with_intervals,
    stratified_subsamples,
)
from .within_labels import cilisi, sbee

__all__ = [
    "CLUSTERINGS",
    "METRICS",
    "RESOLUTIONS",
    "Metric",
    "Neighbors",
    "NotApplicable",
    "Sweep",
    "ari",
    "ari_label_free",
    "ari_leiden",
    "asw_label",
    "average_batch",
    "avg_bio",
    "avg_bio_label_free",
    "batch_integration_score",
    "bras",
    "cilisi",
    "cka",
    "clisi",
    "cluster_sweep",
    "graph_connectivity",
    "half_width",
    "ilisi",
    "intervals",
    "isolated_labels",
    "isolated_labels_f1",
    "kbet",
    "knn_accuracy",
    "knn_macro_f1",
    "ksim",
    "label_oracle",
    "label_widths",
    "leiden",
    "linear_probe",
    "louvain",
    "metric",
    "nearest_neighbors",
    "neighbor_graph",
    "neighbor_overlap",
    "nmi",
    "nmi_label_free",
    "nmi_leiden",
    "no_interval",
    "pcr",
    "pcr_comparison",
    "sbee",
    "scgraph",
    "score",
    "score_subsamples",
    "score_with_intervals",
    "silhouette_widths",
    "stratified_subsamples",
    "sweep_resolutions",
]

# Metrics of files that nothing above names: zeroshot.store.dependencies counts them in as well.
for _file in pkgutil.iter_modules(__path__):
    if not _file.ispkg:
        importlib.import_module(f"{__name__}.{_file.name}")
