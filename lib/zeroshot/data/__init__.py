"""Data sets: ``load`` a registered one or your own .h5ad as checked raw counts.

Importing this costs anndata; scanpy, rdata and the network libraries are imported when used.
"""

from zeroshot.data.download import fetch
from zeroshot.data.load import load
from zeroshot.data.perturb import drop_genes, thin
from zeroshot.data.simulate import simulate_atlas
from zeroshot.data.validate import DataError, content_hash, contract

__all__ = [
    "DataError",
    "content_hash",
    "contract",
    "drop_genes",
    "fetch",
    "load",
    "simulate_atlas",
    "thin",
]
