"""Cells to train on: data sets put together."""

import hashlib
from collections.abc import Mapping, Sequence

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog, data
from zeroshot.catalog import Corpus
from zeroshot.data import fingerprints, symbols
from zeroshot.models import Cells

LEAST_GENES = 200  # detected in a cell of a corpus: the usual filter of pretraining corpora
# Of the genes of a source; where fewer are in another one, they have other kinds of names.
LEAST_SHARE_IN_COMMON = 0.1

# Chains of haemoglobin, by their approved symbols.
HAEMOGLOBIN = ("HBA1", "HBA2", "HBB", "HBD", "HBE1", "HBG1", "HBG2", "HBM", "HBQ1", "HBZ")


class CorpusError(ValueError):
    """Cells that cannot be trained on, or must not be."""


def combine(
    parts: Mapping[str, AnnData],
    *,
    n_genes: int | None = None,
    least_genes: int = LEAST_GENES,
    most_haemoglobin: float = 1.0,
    share: float = 1.0,
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
    most_haemoglobin
        Cells with a larger share of their counts in genes of haemoglobin are left out: red blood cells.
    share
        Of the other cells of each part, drawn by their names; a larger share holds the cells of a smaller.

    Returns
    -------
    AnnData
        (cells, genes) counts over the union of the genes by name. ``obs["source"]`` names the data set, and
        the names of cells begin with it. Library sizes are those of the sources. ``uns["corpus"]`` has the
        cells, and the cells left out, of each part.

    Raises
    ------
    CorpusError
        If there is no part, or no cell is left, or a part names its genes in another way than the others.
    """
    if not parts:
        raise CorpusError("a corpus needs at least one data set: name one")
    _require_common_names(parts)
    pieces, cells = [], {}
    for name, adata in parts.items():
        suitable = np.asarray((adata.X > 0).sum(axis=1)).ravel() >= least_genes
        suitable &= _haemoglobin(adata) <= most_haemoglobin
        selected = suitable.copy()
        selected[suitable] = _draw(adata.obs_names[suitable], name, share)
        obs = pd.DataFrame(
            {"source": name, "library_size": adata.obs["library_size"].to_numpy(np.float64)[selected]},
            index=[f"{name}:{cell}" for cell in adata.obs_names[selected]],
        )
        var = pd.DataFrame(index=adata.var_names)
        pieces.append(AnnData(sparse.csr_matrix(adata.X)[selected], obs=obs, var=var))
        cells[name] = {"cells": int(selected.sum()), "left_out": int((~suitable).sum())}
    corpus = anndata.concat(pieces, join="outer", fill_value=0)
    corpus.X = sparse.csr_matrix(corpus.X, dtype=np.float32)
    if not corpus.n_obs:
        raise CorpusError(
            f"no cell of {', '.join(parts)} has {least_genes:,} detected genes: give cells with as many"
        )
    ids = _ensembl_ids(parts)
    if ids:
        corpus.var["ensembl_id"] = [ids.get(name, "") for name in corpus.var_names]
    if n_genes is not None and n_genes < corpus.n_vars:
        frequency = np.asarray((corpus.X > 0).sum(axis=0)).ravel()
        corpus = corpus[:, np.sort(np.argsort(-frequency, kind="stable")[:n_genes])].copy()
    corpus.uns["corpus"] = cells
    return corpus


def _require_common_names(parts: Mapping[str, AnnData]) -> None:
    """Refuse symbols beside Ensembl ids, or genes of two species: each gene would be there twice."""
    for name, adata in parts.items():
        others = [other.var_names for other_name, other in parts.items() if other_name != name]
        shared = adata.var_names.isin(set().union(*others)).sum()
        smallest = min([adata.n_vars, *map(len, others)])
        if others and shared < LEAST_SHARE_IN_COMMON * smallest:
            raise CorpusError(
                f"{shared:,} of the {adata.n_vars:,} genes of {name} ({adata.var_names[0]}, …) are in "
                f"another source ({others[0][0]}, …), at least {LEAST_SHARE_IN_COMMON:.0%} are expected: "
                "name genes alike in all sources, by symbols or by Ensembl ids of one species"
            )


def _ensembl_ids(parts: Mapping[str, AnnData]) -> dict[str, str]:
    """Ensembl id of each gene by name, of the first part that knows it."""
    ids: dict[str, str] = {}
    for adata in parts.values():
        if "ensembl_id" in adata.var:
            for name, gene_id in zip(adata.var_names, adata.var["ensembl_id"].astype(str), strict=True):
                if gene_id:
                    ids.setdefault(str(name), gene_id)
    return ids


def require_apart(parts: Mapping[str, AnnData], test: AnnData, name: str) -> None:
    """Refuse sources with a cell of a test set, recognised by its counts under approved symbols.

    Each source is compared over the genes that it and the test set have; genes that several names of one of
    them mean are not compared, because their counts were added up.

    Raises
    ------
    CorpusError
        If they share a cell.
    zeroshot.data.DataError
        If they have too few genes in common to tell.
    """
    of_test = _single_names(test)
    for source, adata in parts.items():
        n_shared = int(fingerprints.identical_cells(_single_names(adata), of_test).sum())
        if n_shared:
            raise CorpusError(
                f"{n_shared:,} cells of {source} are cells of the test set {name}: a score on it would not "
                f"be zero-shot. Leave {source} out of the corpus, or these cells (without_cells_of in its "
                "entry)."
            )


def _single_names(adata: AnnData) -> AnnData:
    """Under approved symbols, without genes that several names of the source mean."""
    if "n_names" not in adata.var:
        adata = symbols.with_approved_symbols(adata)
    return adata[:, adata.var["n_names"] == 1]


def load_corpus(card: Corpus, *, n_genes: int | None = None, test_sets: Sequence[str] = ()) -> AnnData:
    """The cells of a named corpus, under approved symbols, none of them a cell of its test sets.

    Parameters
    ----------
    card
        An entry of ``data/corpora.yml``.
    n_genes
        As for :func:`combine`.
    test_sets
        Data sets whose cells must not be in it, beside those of the studies that the entry names.

    Raises
    ------
    CorpusError
        If a cell is one of a test set, or the cells are not as many as the entry says.
    """
    parts = {
        source: symbols.with_approved_symbols(data.load(source, require_labels=False))
        for source in catalog.sources_of(card)
    }
    of_studies = [name for study in card.apart_from for name in catalog.study(study).datasets]
    for name in dict.fromkeys([*of_studies, *test_sets]):
        require_apart(parts, data.load(name, require_labels=False), name)
    corpus = combine(parts, n_genes=n_genes, share=card.share, most_haemoglobin=card.most_haemoglobin)
    if corpus.n_obs != card.cells:
        raise CorpusError(
            f"the corpus {card.name} has {corpus.n_obs:,} cells instead of {card.cells:,}. Correct its entry "
            "in data/corpora.yml, or what changed."
        )
    return corpus


def facts_of(corpus: AnnData, names: Sequence[str]) -> dict[str, object]:
    """What the files of a model say of its corpus: its names, and the cells of each source."""
    sources = {name: part["cells"] for name, part in corpus.uns["corpus"].items()}
    return {"names": list(names), "sources": sources}


def hash_of(cells: Cells) -> str:
    """sha256 over counts, genes and names of cells."""
    digest = hashlib.sha256()
    for part in (cells.counts.data, cells.counts.indices, cells.counts.indptr, cells.library_size):
        digest.update(np.ascontiguousarray(part).tobytes())
    for names in (cells.genes, cells.ids):
        digest.update("\n".join(map(str, names)).encode())
    return digest.hexdigest()


def _draw(names: pd.Index, source: str, share: float) -> np.ndarray:
    """(n_cells,) True for a share of the cells of a source, at least one; a larger share holds a smaller.

    Cells are ordered by a hash of source and name, so that neither order nor other cells matter.
    """
    digests = [hashlib.sha256(f"{source}:{name}".encode()).digest() for name in names]
    order = np.argsort([int.from_bytes(digest[:7]) for digest in digests], kind="stable")
    mask = np.zeros(len(names), bool)
    mask[order[: max(round(share * len(names)), 1)]] = True
    return mask


def _haemoglobin(adata: AnnData) -> np.ndarray:
    """(n_cells,) share of each cell's counts in genes of haemoglobin chains, from 0 to 1."""
    genes = adata.var_names.isin(HAEMOGLOBIN)
    total = np.asarray(adata.X.sum(axis=1)).ravel()
    return np.asarray(adata.X[:, genes].sum(axis=1)).ravel() / np.maximum(total, 1)
