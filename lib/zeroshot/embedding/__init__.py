"""Embed cells with a model by name: tokens in chunks through a network, results in input order."""

from zeroshot.embedding.embed import embed, run
from zeroshot.embedding.engine import (
    PRECISIONS,
    TOKENS_PER_CHUNK,
    EmbeddingError,
    Precision,
    Runner,
    Settings,
    chunks,
    require_device,
    require_seed,
)
from zeroshot.embedding.result import Embedded, GeneShare
from zeroshot.embedding.umap import project_umap

__all__ = [
    "PRECISIONS",
    "TOKENS_PER_CHUNK",
    "Embedded",
    "EmbeddingError",
    "GeneShare",
    "Precision",
    "Runner",
    "Settings",
    "chunks",
    "embed",
    "integrity",
    "masked_prediction",
    "project_umap",
    "require_device",
    "require_seed",
    "run",
]
