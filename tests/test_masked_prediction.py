"""The pretraining objective of any family that implements the protocol, none of them known by name."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from zeroshot import catalog, models
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Settings, masked_prediction
from zeroshot.models import PredictsMasked
from zeroshot.tokens.sequences import Tokenizer, Tokens

MASK, FIRST, LAST = 9_999, 9_000, 9_001  # no genes
CPU = Settings(device="cpu")


class Echo(torch.nn.Module):
    """Predicts what it reads, and at hidden places the mask."""

    mask = MASK
    special_ends = (1, 1)

    def __init__(self, part):
        super().__init__()
        self.part = part
        self.hidden_ends = []

    def forward(self, ids, values, lengths):
        return ids[:, :1].float()

    def predict(self, ids, values, lengths):
        given = ids if self.part == "ids" else values
        last = given[torch.arange(len(ids)), lengths - 1]
        self.hidden_ends.append(bool((given[:, 0] == MASK).any() or (last == MASK).any()))
        return {"echo": given}


class Family:
    """Reads the genes that a cell expresses between two special tokens."""

    def tie_widths(self, cells, rows, seed):
        return None

    def network(self, cells, seed):
        self.built.append(Echo(self.part).eval())
        return self.built[-1]

    def tokenizer(self, cells, seed):
        def tokenize(rows):
            ids, values = [], []
            for row in rows:
                part = cells.counts[row]
                ids += [FIRST, *part.indices, LAST]
                values += [0, *part.data, 0]
            offsets = np.cumsum([0, *(np.diff(cells.counts.indptr)[rows] + 2)])
            return Tokens(
                np.array(ids, np.int64), np.array(values, np.float32), offsets, np.zeros(len(rows), np.int64)
            )

        return Tokenizer(tokenize, pad_id=0)


@dataclass(frozen=True)
class Values(Family):
    objective, part, built = "values", "values", []


@dataclass(frozen=True)
class Ranks(Family):
    objective, part, built = "ranks", "ids", []


@pytest.fixture(scope="module")
def adata():
    return contract(simulate_atlas(n_cells=120, n_genes=150, n_batches=1, seed=3), name="atlas")


def measure(adata, monkeypatch, family):
    card = catalog.model("pca").model_copy(update={"objective": family.objective})
    monkeypatch.setattr(catalog, "model", lambda name: card)
    monkeypatch.setattr(models, "load", lambda *_, **__: family())
    return masked_prediction.reconstruct(adata, "pca", n_cells=5, fractions=[0, 0.5], settings=CPU)


def test_values_of_a_new_family_are_measured(adata, monkeypatch):
    measured = measure(adata, monkeypatch, Values)
    assert "joint_echo" in measured
    errors = measured["errors"].set_index(["masked_fraction", "prediction", "positions"])["mse"]
    assert errors[0.0, "ECHO", "all"] == 0
    assert errors[0.5, "ECHO", "unmasked"] == 0 < errors[0.5, "ECHO", "masked"]
    assert "tie-noise floor" not in set(measured["errors"]["prediction"])
    assert Values.built[-1].hidden_ends and not any(Values.built[-1].hidden_ends)


def test_ranks_of_a_new_family_are_measured(adata, monkeypatch):
    measured = measure(adata, monkeypatch, Ranks)
    correlations = measured["correlations"].query("predictor == 'model'").groupby("masked_fraction")
    assert correlations["correlation"].min()[0.0] == pytest.approx(1)
    assert correlations["correlation"].max()[0.5] < 1
    assert Ranks.built[-1].hidden_ends and not any(Ranks.built[-1].hidden_ends)


def test_cards_state_an_objective_where_their_family_predicts_what_is_hidden():
    assert issubclass(Values, PredictsMasked)
    for card in catalog.models().values():
        family = models.implementation(card) if card.implementation else object
        assert issubclass(family, PredictsMasked) == (card.objective is not None), card.name


def test_a_model_without_an_objective_is_refused(adata):
    with pytest.raises(masked_prediction.ReconstructionError, match="pca was not trained to predict"):
        masked_prediction.reconstruct(adata, "pca")
