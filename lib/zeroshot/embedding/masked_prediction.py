"""The pretraining objective, measured: can a model put back what is hidden from it?

A model's card says whether it predicts the values of genes or the gene at each rank, and its family by
:class:`zeroshot.models.PredictsMasked` what stands for a hidden one. A growing share of a cell's
genes is masked, and every prediction stands beside baselines that know nothing of biology.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, models
from zeroshot.embedding.engine import Runner, Settings
from zeroshot.metrics import reconstruction as metrics
from zeroshot.models import Cells
from zeroshot.tokens import tokenizers
from zeroshot.tokens.sequences import Tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")

FRACTIONS = tuple(tenths / 10 for tenths in range(10))

# A vocabulary of 25,000 genes has a logit for each of them at each token: 100 kB a token.
TOKENS_PER_CHUNK = 2_048

BIN_EDGES = np.arange(51) + 0.5  # of the bins 1..50
RANK_EDGES = np.linspace(0, 1, 41)


class ReconstructionError(ValueError):
    """The model has no pretraining objective that can be measured here."""


def reconstruct(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    n_cells: int = 100,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    weights: Path | None = None,
    settings: Settings | None = None,
) -> dict[str, pd.DataFrame | np.ndarray]:
    """Mask genes of some cells, let the model predict them, and compare.

    Parameters
    ----------
    adata
        Raw counts that keep the contract of :func:`zeroshot.data.load`; not changed.
    model, recipe, seed, weights, settings
        As for :func:`zeroshot.embedding.embed`.
    n_cells
        Cells to predict, drawn by the seed; all if there are fewer. Gene selection and vocabulary are those
        of the whole data set.
    fractions
        Shares of each cell's genes to mask, 0 to 1. What is masked at one is masked at every larger one.

    Returns
    -------
    dict
        ``errors``: one row per masked fraction, prediction and positions. For values the columns of
        :func:`zeroshot.metrics.reconstruction.value_error_table`; for ranks those of ``gene_recovery_table``,
        and ``correlations``, one row per cell, fraction and predictor. ``joint_…``: counts of true against
        predicted values at the first fraction, on the grid of :data:`BIN_EDGES` or :data:`RANK_EDGES`.

    Raises
    ------
    ReconstructionError
        If the model has no such objective.
    """
    objective = catalog.model(model).objective
    if objective is None:
        raise ReconstructionError(
            f"{model} was not trained to predict hidden genes or values: choose a foundation model that was"
        )
    cells = Cells.of(adata, with_batches=False)
    embedder = models.load(model, recipe, weights=weights)
    runner = Runner(embedder, cells, seed, settings or Settings())
    draw = np.random.default_rng(seed).permutation(runner.n_cells)[:n_cells]
    rows = np.sort(draw)
    tokens = runner.tokenizer.tokenize(rows)
    # Drawn by seed, cell and gene: a cell's mask does not depend on the other cells.
    cell = np.repeat(np.arange(len(rows)), tokens.lengths)
    draws = tokenizers.uniform(seed, tokenizers.cell_keys(cells.ids[rows])[cell], tokens.ids)
    if objective == "values":
        widths = embedder.tie_widths(cells, rows, seed)
        # Variance of a uniform draw from so many values.
        noise = None if widths is None else (widths.clip(min=1) ** 2 - 1) / 12
        return _values(runner, tokens, draws, fractions, noise)
    return _ranks(runner, tokens, draws, fractions)


def _values(
    runner: Runner, tokens: Tokens, draws: np.ndarray, fractions: Sequence[float], noise: np.ndarray | None
) -> dict[str, pd.DataFrame | np.ndarray]:
    target = tokens.values  # noqa: PD011 - not a table
    first, last = runner.network.special_ends
    tables, joint = [], {}
    for fraction in fractions:
        masked = metrics.choose_masked(draws, tokens.offsets, fraction, first=first, last=last)
        values = np.where(masked, runner.network.mask, target).astype(np.float32)
        predicted = runner.predict(replace(tokens, values=values), TOKENS_PER_CHUNK)
        if not joint:
            joint = {
                f"joint_{name}": metrics.joint_counts(target, prediction, BIN_EDGES, target > 0)
                for name, prediction in predicted.items()
            }
        predictions = {
            **{name.upper(): prediction for name, prediction in predicted.items()},
            "grand mean": metrics.grand_mean(target, ~masked),
            "gene mean": metrics.gene_mean(target, tokens.ids, ~masked),
        }
        table = metrics.value_error_table(predictions, target, masked, noise=noise)
        tables.append(table.assign(masked_fraction=fraction))
    return {"errors": pd.concat(tables, ignore_index=True), **joint}


def _ranks(
    runner: Runner, tokens: Tokens, draws: np.ndarray, fractions: Sequence[float]
) -> dict[str, pd.DataFrame | np.ndarray]:
    first, last = runner.network.special_ends
    genes, offsets = metrics.gene_positions(tokens.offsets, first=first, last=last)
    inputs = tokens.ids[genes]
    tables, correlations, joint = [], [], None

    for fraction in fractions:
        masked = metrics.choose_masked(draws, tokens.offsets, fraction, first=first, last=last)
        ids = np.where(masked, runner.network.mask, tokens.ids)
        predicted = runner.predict(replace(tokens, ids=ids), TOKENS_PER_CHUNK)
        (best_tokens,) = predicted.values()
        outputs = best_tokens[genes].astype(np.int64)
        if joint is None:
            ranks = metrics.joined_ranks(inputs, outputs, offsets)
            joint = metrics.joint_counts(
                ranks["input_rank"].to_numpy(), ranks["output_rank"].to_numpy(), RANK_EDGES,
                ranks["in_cell"].to_numpy(),
            )  # fmt: skip
        tables.append(
            metrics.gene_recovery_table(inputs, outputs, offsets, masked[genes]).assign(
                masked_fraction=fraction
            )
        )
        by_predictor = {
            "model": metrics.rank_correlation(inputs, outputs, offsets),
            "mean rank (as the paper)": metrics.mean_rank_correlation(inputs, outputs, offsets),
            "mean rank (of the cell's genes)": metrics.mean_rank_correlation(
                inputs, None, offsets, last_rank_is_absent=False, leave_one_out=True
            ),
        }
        correlations += [
            pd.DataFrame({"predictor": name, "correlation": values, "masked_fraction": fraction})
            for name, values in by_predictor.items()
        ]
    return {
        "errors": pd.concat(tables, ignore_index=True),
        "correlations": pd.concat(correlations, ignore_index=True),
        "joint_rank": joint,
    }
