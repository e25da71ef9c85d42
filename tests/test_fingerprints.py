"""Cells that two data sets share are recognised by their counts, and left out where a card says so."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog
from zeroshot.catalog import CatalogError
from zeroshot.data import DataError, load, prepare
from zeroshot.data.fingerprints import MIN_DETECTED_GENES, identical_cells

CHECKOUT = Path(__file__).resolve().parents[1]
GENES = [f"GENE{number}" for number in range(200)]


def cells(n, seed, genes=GENES, prefix="cell"):
    """Cells that express about half of their genes."""
    counts = np.random.default_rng(seed).poisson(0.7, (n, len(genes))).astype(np.float32)
    obs = pd.DataFrame(
        {"cell_type": [f"type{i % 2}" for i in range(n)]}, index=[f"{prefix}{i}" for i in range(n)]
    )
    return AnnData(sparse.csr_matrix(counts), obs, pd.DataFrame(index=genes))


def test_the_same_counts_are_the_same_cell_under_other_names_and_among_other_genes():
    adata, other = cells(20, seed=0), cells(12, seed=1, prefix="of other ")
    other.X = sparse.vstack([other.X[:8], adata.X[[3, 17, 5, 3]]]).tocsr()
    other = other[:, ::-1][:, :150].copy()  # other genes, in another order
    assert np.flatnonzero(identical_cells(adata, other)).tolist() == [3, 5, 17]
    assert np.flatnonzero(identical_cells(other, adata)).tolist() == [8, 9, 10, 11]
    one_count = adata[:, [150]].var_names[0]
    assert one_count in other.var_names
    other.X[10, other.var_names.get_loc(one_count)] += 1
    assert np.flatnonzero(identical_cells(adata, other)).tolist() == [3, 17]


def test_a_cell_with_few_genes_in_common_is_not_judged():
    adata = cells(4, seed=0)
    adata.X[0] = np.r_[np.ones(MIN_DETECTED_GENES - 1), np.zeros(len(GENES) - MIN_DETECTED_GENES + 1)]
    adata.X[1] = np.r_[np.ones(MIN_DETECTED_GENES), np.zeros(len(GENES) - MIN_DETECTED_GENES)]
    assert identical_cells(adata, adata.copy()).tolist() == [False, True, True, True]
    stranger = cells(4, seed=0, genes=[*GENES[:20], *(f"OTHER{number}" for number in range(100))])
    with pytest.raises(DataError, match=r"20 gene names are in both data sets, at least 50 are needed"):
        identical_cells(adata, stranger)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    for registry in ("datasets", "corpus_sources"):
        shutil.copy(CHECKOUT / "data" / f"{registry}.yml", tmp_path / "data")
    monkeypatch.setenv("ZEROSHOT_HOME", str(tmp_path))
    return tmp_path


def test_a_data_set_without_the_cells_of_another(home, monkeypatch):
    test_set, corpus = cells(10, seed=0), cells(40, seed=1)
    corpus.X = sparse.vstack([corpus.X[:-4], test_set.X[2:6]]).tocsr()
    monkeypatch.setattr(prepare, "tabula_sapiens", lambda: test_set.copy())
    monkeypatch.setattr(prepare, "pancreas", lambda: corpus.copy())
    base = catalog.dataset("pbmc68k-reduced").model_copy(
        update={"cells": 10, "genes": 200, "labels": 2, "notes": ("A note.",)}
    )
    cards = {
        "test-set": base.model_copy(update={"name": "test-set", "prepare": "tabula_sapiens"}),
        "corpus": base.model_copy(
            update={"name": "corpus", "prepare": "pancreas", "cells": 36, "without_cells_of": ("test-set",)}
        ),
    }
    for adata in (test_set, corpus):
        adata.obs["batch"] = "one"
    monkeypatch.setattr(catalog, "datasets", lambda: cards)
    for _ in range(2):  # prepared, and from the store
        loaded = load("corpus")
        assert list(loaded.obs_names) == [f"cell{i}" for i in range(36)]
        assert loaded.uns["dataset"]["notes"][0] == "A note."
        assert loaded.uns["dataset"]["notes"][1].startswith("4 cells are left out because")
    # One cell more in the test set than before, and the card no longer holds.
    test_set.X = sparse.vstack([test_set.X[:-1], corpus.X[:1]]).tocsr()
    cards["test-set"] = cards["test-set"].model_copy(update={"parameters": {}, "counts": "X"})
    with pytest.raises(DataError, match="corpus was prepared with 35 cells instead of 36"):
        load("corpus", policy="recompute")


def test_the_data_set_to_leave_out_must_exist_and_leave_out_nothing_itself(home):
    file = home / "data" / "datasets.yml"
    text = file.read_text()
    for other in ("pbmc-sortd", "zheng-sorted-fasttopics"):
        file.write_text(text.replace("without_cells_of: [pbmc-sorted]", f"without_cells_of: [{other}]"))
        with pytest.raises(CatalogError, match=r"entry 'zheng-sorted-fasttopics': .*(Did you mean|itself)"):
            catalog.datasets()
