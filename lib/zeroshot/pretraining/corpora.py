"""Cells to train on: data sets put together."""

from collections.abc import Mapping

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data import fingerprints

LEAST_GENES = 200  # detected in a cell of a corpus: the usual filter of pretraining corpora


class CorpusError(ValueError):
    """Cells that cannot be trained on, or must not be."""


def combine(
    parts: Mapping[str, AnnData], *, n_genes: int | None = None, least_genes: int = LEAST_GENES
) -> AnnData:
    """Put the cells of several data sets into one corpus.

    Parameters
    ----------
    parts
        Data sets by name, each as :func:`zeroshot.data.load` returns it.
    n_genes
        Keep this many genes, those detected in most cells; None for all. The vocabulary of a network that is
        trained on the corpus.
    least_genes
        Cells with fewer detected genes are left out.

    Returns
    -------
    AnnData
        (cells, genes) counts over the union of the genes by name. ``obs["source"]`` names the data set, and
        the names of cells begin with it. Library sizes are those of the sources. ``uns["corpus"]`` has the
        cells, and the cells left out, of each part.

    Raises
    ------
    CorpusError
        If there is no part, or no cell is left.
    """
    if not parts:
        raise CorpusError("a corpus needs at least one data set: name one")
    pieces, cells = [], {}
    for name, adata in parts.items():
        detected = np.asarray((adata.X > 0).sum(axis=1)).ravel() >= least_genes
        obs = pd.DataFrame(
            {"source": name, "library_size": adata.obs["library_size"].to_numpy(np.float64)[detected]},
            index=[f"{name}:{cell}" for cell in adata.obs_names[detected]],
        )
        var = pd.DataFrame(index=adata.var_names)
        pieces.append(AnnData(sparse.csr_matrix(adata.X)[detected], obs=obs, var=var))
        cells[name] = {"cells": int(detected.sum()), "left_out": int((~detected).sum())}
    corpus = anndata.concat(pieces, join="outer", fill_value=0)
    corpus.X = sparse.csr_matrix(corpus.X, dtype=np.float32)
    if not corpus.n_obs:
        raise CorpusError(
            f"no cell of {', '.join(parts)} has {least_genes:,} detected genes: lower the limit, or add data"
        )
    ids = _ensembl_ids(parts)
    if ids:
        corpus.var["ensembl_id"] = [ids.get(name, "") for name in corpus.var_names]
    if n_genes is not None and n_genes < corpus.n_vars:
        frequency = np.asarray((corpus.X > 0).sum(axis=0)).ravel()
        corpus = corpus[:, np.sort(np.argsort(-frequency, kind="stable")[:n_genes])].copy()
    corpus.uns["corpus"] = cells
    return corpus


def _ensembl_ids(parts: Mapping[str, AnnData]) -> dict[str, str]:
    """Ensembl id of each gene by name, of the first part that knows it."""
    ids: dict[str, str] = {}
    for adata in parts.values():
        if "ensembl_id" in adata.var:
            for name, gene_id in zip(adata.var_names, adata.var["ensembl_id"].astype(str), strict=True):
                if gene_id:
                    ids.setdefault(str(name), gene_id)
    return ids


def require_apart(corpus: AnnData, test: AnnData, name: str) -> None:
    """Refuse a corpus with a cell of a test set, recognised by its counts.

    Raises
    ------
    CorpusError
        If they share a cell.
    zeroshot.data.DataError
        If they have too few genes in common to tell.
    """
    shared = fingerprints.identical_cells(corpus, test)
    if shared.any():
        sources = ", ".join(sorted(set(corpus.obs["source"][shared].astype(str))))
        raise CorpusError(
            f"{int(shared.sum()):,} cells of the corpus ({sources}) are cells of the test set {name}: a "
            "score on it would not be zero-shot. Leave the source out, or its shared cells."
        )
