"""Pretraining objective: parity with the paper's code, and cases whose answer is known on paper."""

import json
from itertools import pairwise

import numpy as np
import pytest
from released import PARITY
from scipy.stats import pearsonr

from zeroshot.metrics import NotApplicable
from zeroshot.metrics.reconstruction import (
    choose_masked,
    correlation_summary,
    gene_mean,
    gene_positions,
    gene_recovery,
    gene_recovery_table,
    grand_mean,
    joined_ranks,
    joint_counts,
    mean_rank_correlation,
    mean_ranks,
    rank_correlation,
    scaled_ranks,
    value_error_table,
    value_errors,
)


def ragged(*cells):
    """Flat array and offsets of a few cells."""
    flat = np.concatenate([np.asarray(cell) for cell in cells])
    return flat, np.cumsum([0, *map(len, cells)])


@pytest.fixture(scope="module")
def ranked():
    """Input and output tokens of 40 cells, 1 to 30 genes each."""
    rng = np.random.default_rng(3)
    inputs = [rng.permutation(60)[:length] for length in [1, 2, *rng.integers(3, 30, 38)]]
    outputs = [rng.integers(0, 60, len(cell)) for cell in inputs]
    return *ragged(*inputs), np.concatenate(outputs)


# --- scGPT: errors of predicted bins ---


@pytest.mark.parametrize("output", ["mlm_output", "mvc_output", "mean"])
def test_value_errors_are_those_of_the_paper(output):
    folder = PARITY / "scgpt"
    losses = json.loads((folder / "case.json").read_text())["seed_paper_losses"][output]
    with np.load(folder / "arrays.npz") as arrays:
        target = arrays["ms_values"][:, 1:]
        names = {"mlm_output": "ms_gep_mlm_output", "mvc_output": "ms_gepc_mvc_output"}
        predicted = grand_mean(target) if output == "mean" else arrays[names[output]][:, 1:]
    for suffix, scored, relative_to in (("", None, "prediction"), ("_all", target >= 0, "|prediction|")):
        errors = value_errors(predicted, target, scored, relative_to=relative_to)
        for key in ("mse", "mae", "mre"):
            # The reference sums in float32.
            assert errors[key] == pytest.approx(losses[key.upper() + suffix], rel=1e-6), key + suffix


def test_zeros_count_in_the_all_variants_only():
    with np.load(PARITY / "scgpt" / "arrays.npz") as arrays:
        target, predicted = arrays["msz_values"][:, 1:], arrays["msz_gep_mlm_output"][:, 1:]
    above, everything = value_errors(predicted, target), value_errors(predicted, target, target >= 0)
    assert (above["positions"], everything["positions"]) == ((target > 0).sum(), (target >= 0).sum())
    assert everything["positions"] > above["positions"] and everything["mse"] != above["mse"]
    assert everything["mre"] == pytest.approx(above["mre"])


def test_errors_of_known_predictions():
    bins = np.arange(1, 51.0)
    assert value_errors(bins, bins) == {"mse": 0, "mae": 0, "mre": 0, "positions": 50}
    constant = value_errors(grand_mean(bins), bins)
    assert constant["mse"] == pytest.approx((50**2 - 1) / 12)
    assert constant["mae"] == pytest.approx(12.5)
    doubled = value_errors(2 * bins, bins)
    assert doubled["mre"] == pytest.approx(1)
    assert value_errors(2 * bins, bins, relative_to="prediction")["mre"] == pytest.approx(0.5, rel=1e-5)
    negative = value_errors(-bins, bins, relative_to="prediction")["mre"]
    assert negative == pytest.approx(-2, rel=1e-5)
    assert value_errors(-bins, bins, relative_to="|prediction|")["mre"] == pytest.approx(-negative)


def test_pads_and_cls_do_not_count():
    target = np.array([[0, 3, 4, -2], [0, 9, -2, -2]])
    predicted = np.where(target > 0, target + 1.0, np.nan)
    assert value_errors(predicted, target) == {
        "mse": 1, "mae": 1, "mre": pytest.approx((1 / 3 + 1 / 4 + 1 / 9) / 3), "positions": 3,
    }  # fmt: skip


def test_errors_say_what_is_wrong():
    bins = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="differ in shape"):
        value_errors(bins[:1], bins)
    with pytest.raises(ValueError, match="relative_to must be one of"):
        value_errors(bins, bins, relative_to="both")
    with pytest.raises(ValueError, match="1 scored predictions are NaN"):
        value_errors(np.array([np.nan, 1]), bins)
    with pytest.raises(ValueError, match="-2, not a bin"):
        value_errors(bins, np.array([-2, 3]), np.array([True, True]))
    for predict in (lambda: value_errors(bins, 0 * bins), lambda: grand_mean(0 * bins)):
        with pytest.raises(NotApplicable):
            predict()


def test_gene_mean_leaves_the_cell_itself_out():
    target = np.array([2, 10, 4, 20, 9, 0.0])
    genes = np.array([7, 8, 7, 8, 5, 7])
    grand_of_the_others = (2 + 10 + 4 + 20) / 4
    assert gene_mean(target, genes).tolist() == [4, 20, 2, 10, grand_of_the_others, 3]
    assert gene_mean(target, genes, leave_one_out=False).tolist() == [3, 15, 3, 15, 9, 3]
    with pytest.raises(NotApplicable, match="one known bin"):
        gene_mean(np.array([5.0]), np.array([1]))


def test_baselines_learn_from_known_positions_only():
    target, genes = np.array([2, 10, 4, 30.0]), np.array([7, 7, 7, 8])
    known = np.array([True, False, True, False])
    assert gene_mean(target, genes, known).tolist() == [4, 3, 2, 3]
    assert grand_mean(target, known).tolist() == [3, 3, 3, 3]
    other = np.where(known, target, 50)
    assert np.array_equal(gene_mean(target, genes, known), gene_mean(other, genes, known))


def test_baselines_do_not_depend_on_the_order_of_the_cells():
    rng = np.random.default_rng(0)
    target, genes = rng.integers(0, 51, 200), rng.integers(0, 20, 200)
    order = rng.permutation(200)
    assert np.array_equal(gene_mean(target, genes)[order], gene_mean(target[order], genes[order]))
    padded = gene_mean(target.reshape(10, 20), genes.reshape(10, 20))
    assert np.array_equal(padded.ravel(), gene_mean(target, genes))


def test_table_separates_masked_from_unmasked():
    target = np.array([0, 10, 20, 30.0])
    masked = np.array([False, True, True, False])
    predictions = {"GEP": np.where(masked, target + 3, target), "grand mean": grand_mean(target, ~masked)}
    table = value_error_table(predictions, target, masked, noise=np.array([0, 1, 2, 6.0]))
    mse = table.set_index(["prediction", "positions"])["mse"]
    assert mse["GEP"].to_dict() == {"all": 6, "masked": 9, "unmasked": 0}
    assert mse["grand mean"].to_dict() == {"all": 500 / 3, "masked": 250, "unmasked": 0}
    assert mse["tie-noise floor"].to_dict() == {"all": 3, "masked": 1.5, "unmasked": 6}
    assert (table["note"].ne("") == table[["mse", "mae", "mre"]].isna().any(axis=1)).all()
    nothing_masked = value_error_table(predictions, target).set_index(["prediction", "positions"])
    assert nothing_masked.loc[("GEP", "masked"), "note"] == "not applicable: no position to score"
    assert nothing_masked.loc[("GEP", "masked"), "count"] == 0


def test_joint_counts_lose_nothing():
    edges = np.arange(51) + 0.5
    target = np.array([1, 1, 50, 7.0])
    counts = joint_counts(target, np.array([1, 900, -4, np.nan]), edges, np.array([True, True, True, False]))
    assert counts.sum() == 3 and counts[0, 0] == 1 and counts[0, 49] == 1 and counts[49, 0] == 1
    with pytest.raises(ValueError, match="NaN"):
        joint_counts(target, np.full(4, np.nan), edges)


# --- Geneformer: ranks ---


def test_rank_correlations_are_those_of_the_paper():
    folder = PARITY / "geneformer"
    expected = json.loads((folder / "v1_rank_correlation.json").read_text())
    with np.load(folder / "arrays.npz") as arrays:
        attended = arrays["v1_batch_attention_mask"].astype(bool)
        inputs, outputs = arrays["v1_batch_input_ids"][attended], arrays["v1_logits_argmax"][attended]
    offsets = np.r_[0, attended.sum(axis=1).cumsum()]
    found = rank_correlation(inputs, outputs, offsets)
    baseline = mean_rank_correlation(inputs, outputs, offsets)
    assert np.allclose(found[expected["cells"]], expected["correlation"], rtol=0, atol=1e-12)
    assert np.allclose(baseline[expected["cells"]], expected["mean_correlation"], rtol=0, atol=1e-12)
    undefined = np.setdiff1d(np.arange(len(found)), expected["cells"])
    assert np.isnan(found[undefined]).all() and np.isnan(baseline[undefined]).all()


def test_scaled_ranks():
    ranks = scaled_ranks(np.array([0, 3, 4, 4, 6]))
    assert np.array_equal(ranks, [1, 0.5, 0, np.nan, 1, 0], equal_nan=True)


def test_joined_ranks_average_repeats_and_fill_with_zero():
    inputs, offsets = ragged([4, 6, 5], [9])
    joined = joined_ranks(inputs, np.array([6, 8, 6, 9]), offsets)
    assert joined[["cell", "token", "input_rank", "output_rank", "in_cell"]].values.tolist() == [
        [0, 4, 1, 0, True], [0, 5, 0, 0, True], [0, 6, 0.5, 0.5, True], [0, 8, 0, 0.5, False],
    ]  # fmt: skip


def test_rank_correlation_of_known_outputs(ranked):
    inputs, offsets, outputs = ranked
    long_enough = np.diff(offsets) > 1
    assert long_enough.any() and not long_enough.all()
    assert np.allclose(rank_correlation(inputs, inputs, offsets)[long_enough], 1)
    reverse = np.concatenate([inputs[a:b][::-1] for a, b in pairwise(offsets)])
    assert np.allclose(rank_correlation(inputs, reverse, offsets)[long_enough], -1)
    found = rank_correlation(inputs, outputs, offsets)
    joined = joined_ranks(inputs, outputs, offsets)
    for cell, rows in joined.groupby("cell"):
        assert found[cell] == pytest.approx(pearsonr(rows["input_rank"], rows["output_rank"])[0], abs=1e-12)


def test_undefined_correlations_are_counted():
    inputs, offsets = ragged([1], [1, 2], [2, 3])
    offsets = np.r_[0, offsets]  # an empty cell before them
    summary = correlation_summary(rank_correlation(inputs, inputs, offsets))
    assert summary["cells"] == 4 and summary["undefined"] == 2
    assert summary["mean"] == summary["50%"] == pytest.approx(1) and summary["std"] == pytest.approx(0)
    # Two genes in both orders: both have the same mean rank, so nothing correlates with it.
    inputs, offsets = ragged([1, 2], [2, 1])
    constant = mean_rank_correlation(inputs, None, offsets, last_rank_is_absent=False)
    assert np.isnan(constant).all()
    assert np.isnan(rank_correlation(np.array([3, 4]), np.array([3, 4]), [0, 1, 2])).all()


def test_mean_rank_with_and_without_the_last_gene():
    inputs, offsets = ragged([1, 2, 3], [1, 3, 2], [5])
    absent = mean_ranks(inputs, offsets)
    assert absent["mean_rank"].to_dict() == {1: 1, 2: 0.5, 3: 0.5, 5: 0}
    assert absent["cells"].to_dict() == {1: 2, 2: 1, 3: 1, 5: 0}
    counted = mean_ranks(inputs, offsets, last_rank_is_absent=False)
    assert counted["mean_rank"].to_dict() == {1: 1, 2: 0.25, 3: 0.25, 5: 0}


@pytest.mark.parametrize("last_rank_is_absent", [True, False])
def test_leaving_the_cell_out_equals_means_of_the_other_cells(ranked, last_rank_is_absent):
    inputs, offsets, outputs = ranked
    found = mean_rank_correlation(
        inputs, outputs, offsets, last_rank_is_absent=last_rank_is_absent, leave_one_out=True
    )
    joined = joined_ranks(inputs, outputs, offsets)
    cells = [inputs[a:b] for a, b in pairwise(offsets)]
    for cell, rows in joined[joined["cell"] < 12].groupby("cell"):
        others = ragged(*(tokens for other, tokens in enumerate(cells) if other != cell))
        means = mean_ranks(*others, last_rank_is_absent=last_rank_is_absent)["mean_rank"]
        expected = pearsonr(rows["input_rank"], means.reindex(rows["token"], fill_value=0))[0]
        assert found[cell] == pytest.approx(expected, abs=1e-12)


def test_rank_scores_do_not_depend_on_the_order_of_the_cells(ranked):
    inputs, offsets, outputs = ranked
    order = np.random.default_rng(0).permutation(len(offsets) - 1)
    token_order = np.concatenate([np.arange(offsets[cell], offsets[cell + 1]) for cell in order])
    moved = inputs[token_order], outputs[token_order], np.r_[0, np.diff(offsets)[order].cumsum()]
    straight = rank_correlation(inputs, outputs, offsets)
    assert np.array_equal(straight[order], rank_correlation(*moved), equal_nan=True)
    straight = mean_rank_correlation(inputs, outputs, offsets)
    assert np.allclose(straight[order], mean_rank_correlation(*moved), rtol=0, atol=1e-12, equal_nan=True)


def test_baseline_over_the_cells_own_genes_does_not_depend_on_the_model(ranked):
    inputs, offsets, outputs = ranked
    own = mean_rank_correlation(inputs, None, offsets)
    assert np.array_equal(own, mean_rank_correlation(inputs, inputs, offsets), equal_nan=True)
    assert np.nanmean(own) > np.nanmean(mean_rank_correlation(inputs, outputs, offsets))


def test_recovery_of_known_outputs():
    inputs, offsets = ragged([4, 6, 5], [9])
    assert gene_recovery(inputs, inputs, offsets) == {
        "accuracy": 1, "in_cell": 1, "rank_error": 0, "positions": 4,
    }  # fmt: skip
    # Position 0 names the gene of rank 0.5, position 1 a gene that the cell lacks, position 2 is right.
    outputs = np.array([6, 8, 5, 8])
    assert gene_recovery(inputs, outputs, offsets) == {
        "accuracy": 0.25, "in_cell": 0.5, "rank_error": pytest.approx(1 / 3), "positions": 4,
    }  # fmt: skip
    table = gene_recovery_table(inputs, outputs, offsets, np.array([1, 1, 0, 0])).set_index("positions")
    assert table["accuracy"].to_dict() == {"all": 0.25, "masked": 0, "unmasked": 0.5}
    assert table["rank_error"].to_dict() == {"all": pytest.approx(1 / 3), "masked": 0.5, "unmasked": 0}
    assert (table["note"] == "").all()
    lonely = gene_recovery_table(np.array([9]), np.array([9]), [0, 1]).set_index("positions")
    assert lonely.loc["all", "accuracy"] == 1 and "two tokens" in lonely.loc["all", "note"]
    assert lonely.loc["masked", "note"] == "not applicable: no position to score"


def test_ids_and_offsets_are_checked():
    inputs, offsets = ragged([1, 2], [2, 3])
    with pytest.raises(ValueError, match="4 input tokens but 3"):
        rank_correlation(inputs, inputs[:3], offsets)
    with pytest.raises(ValueError, match="whole ids"):
        rank_correlation(inputs - 5, inputs, offsets)
    with pytest.raises(ValueError, match="rise from 0"):
        rank_correlation(inputs, inputs, offsets[:-1])
    with pytest.raises(ValueError, match="scored has shape"):
        gene_recovery(inputs, inputs, offsets, np.ones(3, dtype=bool))


# --- Positions ---


def test_special_tokens_are_no_genes():
    tokens, offsets = ragged([-1, 5, 6, -2], [-1, -2], [-1, 7, -2])
    genes, left = gene_positions(offsets, first=1, last=1)
    assert tokens[genes].tolist() == [5, 6, 7] and left.tolist() == [0, 2, 2, 3]
    with pytest.raises(ValueError, match="fewer tokens than its 3"):
        gene_positions(offsets, first=2, last=1)


def test_masks_have_the_wanted_size_and_are_nested():
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 40, 50)
    offsets = np.r_[0, lengths.cumsum()]
    draws = rng.random(offsets[-1])
    genes, _ = gene_positions(offsets, first=1)
    before = np.zeros(len(draws), dtype=bool)
    for fraction in np.arange(10) / 10:
        masked = choose_masked(draws, offsets, fraction, first=1)
        sizes = np.add.reduceat(masked, offsets[:-1])
        assert np.array_equal(sizes, np.floor(fraction * (lengths - 1) + 0.5))
        assert not (masked & ~genes).any() and not (before & ~masked).any()
        before = masked
    assert not choose_masked(draws, offsets, 0).any()
    assert np.array_equal(choose_masked(draws, offsets, 1, first=1), genes)


def test_a_mask_takes_the_smallest_draws_of_each_cell_alone():
    draws, offsets = ragged([0.0, 0.9, 0.2, 0.5, 0.7], [0.0, 0.8, 0.1])
    masked = choose_masked(draws, offsets, 0.5, first=1)
    assert draws[masked].tolist() == [0.2, 0.5, 0.1]
    assert np.array_equal(choose_masked(draws[5:], [0, 3], 0.5, first=1), masked[5:])
    with pytest.raises(ValueError, match="between 0 and 1"):
        choose_masked(draws, offsets, 50)
