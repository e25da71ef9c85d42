"""Metrics of zero-shot embeddings: arrays in, floats out.

`score` computes all of them, `score_with_intervals` says how sure they are; each is also a plain
function. To add one, decorate a function with `metric` in annotation.py or integration.py: the scores table,
the glossary and the contract tests pick it up.
"""

from .annotation import (
    ari,
    ari_label_free,
    asw_label,
    avg_bio,
    avg_bio_label_free,
    clisi,
    nmi,
    nmi_label_free,
)
from .clustering import RESOLUTIONS, Sweep, louvain, sweep_resolutions
from .controls import label_oracle
from .integration import batch_integration_score, bras, graph_connectivity, ilisi, kbet, pcr
from .neighbors import Neighbors, nearest_neighbors, neighbor_graph
from .registry import METRICS, Metric, NotApplicable, metric
from .scoring import cluster_sweep, score
from .silhouette import silhouette_widths
from .uncertainty import half_width, intervals, score_subsamples, score_with_intervals, stratified_subsamples

__all__ = [
    "METRICS",
    "RESOLUTIONS",
    "Metric",
    "Neighbors",
    "NotApplicable",
    "Sweep",
    "ari",
    "ari_label_free",
    "asw_label",
    "avg_bio",
    "avg_bio_label_free",
    "batch_integration_score",
    "bras",
    "clisi",
    "cluster_sweep",
    "graph_connectivity",
    "half_width",
    "ilisi",
    "intervals",
    "kbet",
    "label_oracle",
    "louvain",
    "metric",
    "nearest_neighbors",
    "neighbor_graph",
    "nmi",
    "nmi_label_free",
    "pcr",
    "score",
    "score_subsamples",
    "score_with_intervals",
    "silhouette_widths",
    "stratified_subsamples",
    "sweep_resolutions",
]
