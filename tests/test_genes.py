"""Genes matched to vocabularies: by which rule, how many, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from released import PARITY
from scipy import sparse

from zeroshot.tokens.genes import (
    GeneOverlapError,
    align_ensembl,
    align_symbols,
    collapse,
    over_vocabulary,
    require_overlap,
)

SHARED = Path(__file__).resolve().parents[2] / "shared"

IDS = {"ENSG00000000001": 5, "ENSG00000000002": 6, "ENSG00000000003": 7}


def test_symbols_are_matched_exactly():
    found = align_symbols(["CD74", "cd74", "FTL", "NONE"], {"CD74": 3, "FTL": 0})
    assert found.targets.tolist() == [3, -1, 0, -1]
    assert found.rules.tolist() == ["symbol", "unmatched", "symbol", "unmatched"]
    assert found.matched_share == 0.5


@pytest.mark.parametrize(
    ("symbol", "gene_id", "target", "rule"),
    [
        ("A", "ENSG00000000001", 5, "Ensembl"),
        ("A", "ENSG00000000001.12", 5, "version stripped"),
        ("A", "ENSG00000000009", 7, "alias"),
        ("A", "ensg00000000009", 7, "alias"),
        ("A", "ENSG00000000099", -1, "unmatched"),
        ("ENSG00000000002", None, 6, "Ensembl"),
        ("ENSG00000000002.3", None, 6, "version stripped"),
        ("B", None, 6, "symbol"),
        ("B", "", 6, "symbol"),
        ("OLD", None, 7, "alias"),
        ("C", None, -1, "unmatched"),
        # The id decides where both are known.
        ("B", "ENSG00000000001", 5, "Ensembl"),
    ],
)
def test_ensembl_rules(symbol, gene_id, target, rule):
    found = align_ensembl(
        [symbol],
        None if gene_id is None else [gene_id],
        IDS,
        ensembl_of_symbol={"B": "ENSG00000000002", "OLD": "ENSG00000000009"},
        replaced_by={"ENSG00000000009": "ENSG00000000003"},
    )
    assert (found.targets.tolist(), found.rules.tolist()) == ([target], [rule])


def test_report_counts_each_rule():
    found = align_ensembl(["X"] * 4, ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003.1", "no"], IDS)
    report = found.report().set_index("rule")
    assert report["genes"].to_dict() == {"Ensembl": 2, "version stripped": 1, "unmatched": 1}
    assert report["share"].sum() == 1
    with_counts = found.report(sparse.csr_matrix([[1, 2, 0, 4], [0, 1, 2, 0]])).set_index("rule")
    assert with_counts["counts"].to_dict() == {"Ensembl": 0.4, "version stripped": 0.2, "unmatched": 0.4}


def test_half_of_the_genes_or_of_the_counts_are_needed():
    known = {"A": 0, "B": 1}
    few_counts, many_counts = (sparse.csr_matrix([[a, 1, 1, 1, 1]]) for a in (1, 2))
    require_overlap(align_symbols(["A", "B", "C", "D"], known), "toy", few_counts[:, :4])
    require_overlap(align_symbols(["A", "B", "C", "D", "E"], known), "toy", many_counts)
    refused = r"toy knows 2 of 5 genes \(40%\), which have 40% of the counts; .* C, D, E.*Ensembl id"
    with pytest.raises(GeneOverlapError, match=refused):
        require_overlap(align_symbols(["A", "B", "C", "D", "E"], known), "toy", few_counts)


def test_genes_without_symbols_are_found_by_their_ids():
    ids = ["ENSG00000019582", "ENSG00000087086.9", "ENSG00000999999"]
    alignment = align_symbols(ids, {"CD74": 3, "FTL": 0})
    assert alignment.targets.tolist() == [3, 0, -1]
    assert alignment.rules.tolist() == ["Ensembl", "Ensembl", "unmatched"]
    # Where most genes have a symbol, an id is that of a gene without one.
    assert align_symbols(["FTL", "X", ids[0]], {"CD74": 3, "FTL": 0}).targets.tolist() == [0, -1, -1]


def test_collapse_adds_up_what_is_the_same_gene():
    counts = sparse.csr_matrix([[1, 2, 3, 4], [0, 0, 5, 0]])
    found, targets = collapse(counts, np.array([9, -1, 2, 9]))
    assert targets.tolist() == [9, 2] and found.toarray().tolist() == [[5, 3], [0, 5]]
    nothing, none = collapse(counts, np.full(4, -1))
    assert nothing.shape == (2, 0) and len(none) == 0


def test_counts_over_a_vocabulary_stand_in_its_order_without_stored_zeros():
    counts = sparse.csr_matrix(np.array([[1, 2, 4, 8], [0, 0, 0, 0]], np.float32))
    counts.data[1] = 0
    aligned = over_vocabulary(counts, np.array([3, 1, -1, 3]), 5)
    np.testing.assert_array_equal(aligned.toarray(), [[0, 0, 0, 9, 0], [0, 0, 0, 0, 0]])
    assert aligned.nnz == 1


def test_real_dictionary():
    """What the data set's symbols are in the released dictionary of Geneformer V1."""
    folder = SHARED / "dictionaries"
    if not folder.is_dir():
        pytest.skip("the released dictionaries are not at hand")
    from zeroshot.data import load
    from zeroshot.models.weights import read_dictionary

    tokens = read_dictionary(next(folder.rglob("token_dictionary*")))
    names = read_dictionary(next(folder.rglob("gene_name_id_dict*")))
    genes = load("pbmc68k-reduced").var_names
    found = align_ensembl(genes, None, tokens, ensembl_of_symbol=names)
    by_hand = [tokens.get(names.get(gene, ""), -1) for gene in genes]
    assert found.targets.tolist() == by_hand and found.matched_share > 0.9


def test_reference_columns():
    """The reference's columns, retired and unknown ids among them, all have the token it gives them."""
    known = json.loads((PARITY / "geneformer" / "case.json").read_text())["v1"]
    tokens = known["token_dictionary"]
    mapping = {old: new for old, new in known["ensembl_mapping_dict"].items() if new in tokens}
    found = align_ensembl(known["columns"], None, tokens, replaced_by=mapping)
    assert set(found.rules) == {"Ensembl", "alias", "unmatched"}
    expected = [tokens.get(mapping.get(gene.upper(), gene), -1) for gene in known["columns"]]
    assert found.targets.tolist() == expected
