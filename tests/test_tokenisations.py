"""Cells in the tokens of each family, and what is read back of their expression."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from zeroshot import catalog, models
from zeroshot.metrics.reconstruction.expression import (
    decode_readings,
    expression_recovery,
    readings_of_vectors,
)
from zeroshot.models import Cells
from zeroshot.results import tokenisations
from zeroshot.tokens.genes import GeneOverlapError

# Eight cells of six genes: the first four are repeated.
COUNTS = np.array([[4, 0, 1, 2, 0, 8], [1, 2, 4, 0, 0, 8], [0, 1, 2, 8, 4, 0], [16, 8, 0, 4, 2, 1]] * 2)
GENES = ["CD74", "ACTB", "LYZ", "NKG7", "GNLY", "FTL"]


@pytest.fixture
def cells():
    counts = sparse.csr_matrix(COUNTS, dtype=np.float32)
    ids = pd.Index([f"cell {number}" for number in range(len(COUNTS))])
    return Cells(counts, pd.Index(GENES), ids, COUNTS.sum(axis=1).astype(float))


@pytest.fixture
def of_models(cells, monkeypatch):
    """Families that need no file."""
    monkeypatch.setattr(models, "unavailable", lambda card, recipe: "no file")
    return tokenisations.tokenize(cells, np.arange(len(COUNTS)))


def named(values):
    """Values as readings: a gene without one is not named."""
    return np.where(np.asarray(values) > 0, values, np.nan)


# -- reading back ------------------------------------------------------------------------------------


def test_values_as_they_are_recover_everything():
    expression = np.array([[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 0.0, 1.0]])
    decoded = decode_readings(named(expression[:1]), named(expression[1:]), expression[1:])
    np.testing.assert_allclose(decoded, expression[:1], atol=1e-12)
    assert expression_recovery(decoded, expression[:1]).iloc[0].tolist() == pytest.approx([1, 1])


def test_ranks_recover_the_order_and_no_more():
    others, cell = np.array([[1.0, 2.0, 4.0], [4.0, 2.0, 1.0]]), np.array([[3.0, 6.0, 5.0]])
    ranks = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    decoded = decode_readings(np.array([[2.0, 0.0, 1.0]]), ranks, others)
    np.testing.assert_allclose(decoded, [[1.0, 4.0, 2.0]])  # means of the ranks in the other cells
    recovery = expression_recovery(decoded, cell).iloc[0]
    assert recovery["spearman"] == pytest.approx(1)
    assert recovery["r2"] == pytest.approx(1 - (2**2 + 2**2 + 3**2) / np.square(cell - cell.mean()).sum())


def test_what_a_tokeniser_divides_by_is_known_to_the_decoder():
    scales, ratios = np.array([1.0, 10.0]), np.array([[2.0, 3.0], [3.0, 2.0]])
    expression = np.log1p(ratios * scales)
    decoded = decode_readings(ratios[:1], ratios[1:], expression[1:], scales)
    np.testing.assert_allclose(decoded, expression[:1])
    without = decode_readings(ratios[:1], ratios[1:], expression[1:])
    assert abs(without - expression[:1]).max() > 0.5


def test_a_gene_that_is_not_named_is_decoded_as_not_expressed():
    expression = np.array([[1.0, 2.0, 3.0]])
    decoded = decode_readings(np.array([[np.nan, 2.0, 3.0]]), expression, expression)
    np.testing.assert_allclose(decoded, [[0, 2, 3]])
    nothing = np.full((1, 3), np.nan)
    np.testing.assert_array_equal(decode_readings(nothing, expression, expression), [[0, 0, 0]])


def test_recovery_counts_expressed_genes_alone_and_leaves_out_cells_without_variance():
    expression = np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 2.0], [0.0, 0.0, 0.0], [0.0, 1.0, 3.0]])
    decoded = np.array([[9.0, 2.0, 2.0], [1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [5.0, 3.0, 1.0]])
    table = expression_recovery(decoded, expression)
    np.testing.assert_allclose(table["spearman"], [0, np.nan, np.nan, -1])
    np.testing.assert_allclose(table["r2"], [0, np.nan, np.nan, 1 - 8 / 2])


def test_a_sum_of_vectors_gives_the_weights_back_only_with_enough_dimensions():
    draw = np.random.default_rng(0)
    weights = draw.random((3, 5)).round(2)
    wide, narrow = draw.normal(size=(5, 8)), draw.normal(size=(5, 3))
    np.testing.assert_allclose(readings_of_vectors(weights @ wide, wide), weights, atol=1e-4)
    guess = readings_of_vectors(weights @ narrow, narrow)
    np.testing.assert_allclose(guess @ narrow, weights @ narrow, atol=1e-3)
    assert abs(guess - weights).max() > 0.05
    assert (np.linalg.norm(guess, axis=1) < np.linalg.norm(weights, axis=1)).all()


# -- families ----------------------------------------------------------------------------------------


def test_each_family_names_genes_in_its_own_way(of_models):
    assert set(of_models) == set(tokenisations.FAMILIES) - {"CELLama", "GenePT-s", "GenePT-w"}
    first = {family: one.first for family, one in of_models.items()}
    # In the first cell LYZ is half of its median, the others are theirs and keep their order.
    assert first["Geneformer"] == ("CD74", "NKG7", "FTL", "LYZ")
    np.testing.assert_array_equal(of_models["Geneformer"].readings[0], [0, np.nan, 3, 1, np.nan, 2])
    assert first["Nicheformer"][0] == "<human>" and set(first["Nicheformer"][3:]) == {*GENES} - {
        "ACTB", "GNLY"
    }  # fmt: skip
    assert first["scGPT"][0] == "<cls>:0" and first["scGPT"][-1] == "FTL:50"
    assert first["scBERT"] == ("CD74:5", "ACTB:0", "LYZ:5", "NKG7:5", "GNLY:0", "FTL:5")
    assert first["scFoundation"][-1] == f"<depth>:{np.log10(15):.3g}"
    assert first["UCE"][:3] == ("<cls>", "<chromosome>", "CD74")
    assert "1,024 numbers" in first["CellPLM"][0]


def test_readings_are_of_expressed_genes_and_lengths_of_all_tokens(of_models):
    expressed = COUNTS > 0
    for family in ("Geneformer", "Nicheformer", "scGPT", "scBERT", "scFoundation", "UCE"):
        np.testing.assert_array_equal(~np.isnan(of_models[family].readings), expressed, family)
    n_genes = expressed.sum(axis=1)
    extra = {"Geneformer": 0, "Nicheformer": 3, "scGPT": 1, "scFoundation": 2}
    for family, number in extra.items():
        np.testing.assert_array_equal(of_models[family].lengths, n_genes + number, family)
    assert set(of_models["scBERT"].lengths) == {7} and set(of_models["UCE"].lengths) == {1024 + 3}
    drawn = of_models["UCE"].readings
    assert (np.nansum(drawn, axis=1) == 1024).all() and drawn[3, 0] > drawn[3, 5]
    np.testing.assert_allclose(of_models["CellPLM"].readings, np.log1p(COUNTS), atol=1e-3)


def test_values_beat_ranks_and_names_alone(cells, of_models):
    rows = np.arange(len(COUNTS))
    comparison = tokenisations.compare(cells, of_models, rows)
    assert len(comparison) == len(rows) * (len(of_models) + 2)
    summary = tokenisations.summarise(comparison)
    median = summary.pivot(index="tokenisation", columns="measure", values="median")
    assert median.loc[tokenisations.VALUES, ["spearman", "r2", "tokens"]].tolist() == pytest.approx([1, 1, 1])
    assert median["r2"]["scFoundation"] > 0.99
    assert median["spearman"][tokenisations.NAMES] < median["spearman"]["Geneformer"]
    assert median["pairs"]["UCE"] == 1027**2 and np.isnan(median["genes"]["CellPLM"])
    with pytest.raises(ValueError, match="at least 4"):
        tokenisations.compare(cells, of_models, rows[:3])


def test_a_family_that_cannot_read_the_names_of_genes_is_left_out(cells, monkeypatch):
    def unreadable(*_):
        raise GeneOverlapError("identifiers")

    monkeypatch.setattr(tokenisations, "FAMILIES", {"a": unreadable, "b": lambda *_: "tokens"})
    assert tokenisations.tokenize(cells, np.arange(2)) == {"b": "tokens"}


def test_a_cell_without_counts_is_written_too(cells):
    silent = cells.with_counts(sparse.csr_matrix(COUNTS * (np.arange(8) > 0)[:, None], dtype=np.float32))
    one = tokenisations.FAMILIES["UCE"](silent, np.arange(2), 0)
    assert np.isnan(one.readings[0]).all() and one.lengths.tolist() == [3, 1024 + 3]


def test_a_sentence_names_its_first_genes_until_it_is_cut(cells):
    if models.unavailable(catalog.model("cellama"), None):
        pytest.skip("the sentence encoder is not on this machine")
    one = tokenisations.FAMILIES["CELLama"](cells, np.array([3, 0]), 0)
    order = [[GENES[place] for place in np.argsort(row)[: np.sum(~np.isnan(row))]] for row in one.readings]
    assert order == [["CD74", "ACTB", "NKG7", "GNLY", "FTL"], ["FTL", "CD74", "NKG7", "LYZ"]]
    assert one.first[:5] == ("[CLS]", "top", "genes", "are", "cd") and one.limit == 256
