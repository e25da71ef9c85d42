"""Contrastive training: two samples of a cell's genes, the loss by hand, and the same weights each time."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_networks import RANKS, SMALL, VALUES, blood, interrupt

from zeroshot import data, pretraining
from zeroshot.embedding import embed
from zeroshot.models import Cells
from zeroshot.pretraining import Training, TrainingError, baselines, contrastive
from zeroshot.tokens.sequences import Tokens

# Of two layers, since Geneformer's embedding is that before the last.
ARCHITECTURES = SMALL | {RANKS: SMALL[RANKS] | {"num_hidden_layers": 2}}
SETTINGS = Training(
    epochs=3, max_tokens=32, tokens_per_step=512, learning_rate=0.003, held_out=0.2, validations=2,
    objective="contrastive",
)  # fmt: skip


@pytest.fixture(scope="module")
def cells() -> Cells:
    return blood()


class Ends:
    special_ends = (1, 1)


def test_a_view_has_a_share_of_the_genes_and_the_special_tokens():
    tokens = Tokens(np.arange(24), np.arange(24, dtype=np.float32), np.array([0, 2, 4, 24]), np.zeros(3, int))
    views = contrastive.draw_views(
        tokens, Ends(), 0.5, np.random.default_rng(0), max_tokens=8, pad_id=99, pad_value=-2
    )
    ids, values, lengths = views.first
    assert lengths.tolist() == [2, 2, 8]  # two without a gene; for 6 of half of 18 there is room
    assert views.lengths.tolist() == [4, 4, 16]
    assert ids[0].tolist() == [0, 1] + 6 * [99] and values[0].tolist() == [0, 1] + 6 * [-2]
    assert ids[2, [0, -1]].tolist() == [4, 23]
    assert (torch.diff(ids[2]) > 0).all() and (values[2] == ids[2]).all()
    assert ids[2].tolist() != views.second[0][2].tolist()
    assert views.targets.tolist() == [0, 1, 2]
    assert baselines.trivial_losses("contrastive", tokens, [views, views], n_genes=24) == {
        "chance": pytest.approx(np.log(3))
    }


def test_the_loss_is_that_of_cosines_in_both_directions():
    first = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    ratio = np.exp(1 / np.sqrt(2) / contrastive.TEMPERATURE)  # of cells at 45 degrees
    same, apart = np.exp(1 / contrastive.TEMPERATURE), 1.0
    by_hand = -np.log([same / (same + ratio), ratio / (apart + ratio)]).mean()
    back = -np.log([same / (same + apart), ratio / (ratio + ratio)]).mean()
    loss = contrastive.pair_loss(first, second, torch.arange(2))
    assert float(loss) == pytest.approx((by_hand + back) / 2, rel=1e-5)


@pytest.mark.parametrize("name", [VALUES, RANKS])
def test_a_network_learns_to_recognise_cells_and_its_folder_is_read_as_released(name, cells, tmp_path):
    settings = replace(SETTINGS, epochs={VALUES: 30, RANKS: 3}[name])  # the former learns nothing at first
    history = pretraining.train(name, cells, tmp_path / "net", settings, architecture=ARCHITECTURES[name])
    record = json.loads((tmp_path / "net" / "training.json").read_text())
    assert record["training"]["objective"] == "contrastive"
    losses = record["validation"]
    assert losses["trained"]["pair"] < losses["untrained"]["pair"]
    assert losses["trained"]["pair"] < losses["baselines"]["chance"]
    assert list(history.columns) == ["step", "cells", "tokens", "pair"]
    again = pretraining.validate(tmp_path / "net", cells)
    assert again["trained"] == pytest.approx(losses["trained"], rel=0.01)  # of weights in float16

    card = pretraining.architectures.card_of(name)
    embedding = embed(data.load("pbmc68k-reduced", subset=50, seed=1), card.twin_of, weights=tmp_path / "net")
    assert len(embedding) == 50 and np.isfinite(embedding).all()


def test_an_interrupted_contrastive_training_ends_with_the_same_bytes(cells, tmp_path):
    settings = replace(SETTINGS, minutes_per_checkpoint=1e-9, precision="bfloat16")

    def train(name: str, progress=None) -> bytes:
        folder = tmp_path / name
        pretraining.train(
            VALUES, cells, folder, settings, architecture=ARCHITECTURES[VALUES], progress=progress
        )
        return (folder / "model.safetensors").read_bytes()

    undisturbed = train("undisturbed")
    with pytest.raises(KeyboardInterrupt):
        train("interrupted", interrupt)
    assert train("interrupted") == undisturbed


def test_other_objectives_and_steps_of_one_cell_are_refused_and_records_of_masking_stay_as_they_were():
    with pytest.raises(TrainingError, match="objective is 'values': contrastive, or none"):
        Training(objective="values")
    with pytest.raises(TrainingError, match="at least 2 cells a step"):
        replace(SETTINGS, tokens_per_step=63)
    assert "objective" not in Training().identity
