"""Genes under the symbols that HGNC approves."""

import numpy as np
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog
from zeroshot.catalog import read_gene_table
from zeroshot.data import symbols


def test_previous_symbols_and_aliases_become_approved_ones_and_others_stay():
    names = ["CD74", "SEPT7", "FAM46A", "ENSG00000019582", "RP11-34P13.7", "hla-a", ""]
    assert catalog.approved_symbols(names).tolist() == [
        "CD74", "SEPTIN7", "TENT5A", "CD74", "RP11-34P13.7", "hla-a", "",
    ]  # fmt: skip


def test_a_name_means_one_gene_and_an_approved_symbol_itself():
    table = read_gene_table("gene-symbols")
    others = [name for names in table["others"] for name in names.split("|") if name]
    assert len(others) == len(set(others))
    assert not set(others) & set(table["symbol"])


def test_repeats_of_a_name_mean_its_gene():
    names = ["MALAT1", "MALAT1--1", "PRSS30P", "PRSS30P-1", "NKX2-1", "NKX2", "AC01.1", "X.2"]
    assert catalog.approved_symbols(names)[[1, 3, 4, 6, 7]].tolist() == [
        "MALAT1", "PRSS30P", "NKX2-1", "AC01.1", "X.2",
    ]  # fmt: skip


def test_counts_of_one_gene_are_added_up():
    adata = AnnData(sparse.csr_matrix(np.array([[1, 2, 4], [0, 8, 0]], np.float32)))
    adata.var_names = ["SEPT7", "CD74", "SEPTIN7"]
    result = symbols.with_approved_symbols(adata)
    assert list(result.var_names) == ["CD74", "SEPTIN7"]
    assert result.X.toarray().tolist() == [[2, 5], [8, 0]]
    assert result.var["ensembl_id"].tolist() == ["ENSG00000019582", "ENSG00000122545"]
    assert result.var["n_names"].tolist() == [1, 2]
    assert list(result.obs_names) == list(adata.obs_names)
