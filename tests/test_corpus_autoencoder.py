"""Corpus autoencoder: trained as networks are, its code that of plain layers on all genes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from released import cells_of

from zeroshot import models, pretraining
from zeroshot.embedding import Runner, Settings
from zeroshot.models import Cells
from zeroshot.models.corpus_autoencoder import CorpusAutoencoder
from zeroshot.models.weights import WeightsError, read_state
from zeroshot.pretraining import Training, TrainingError

CPU = Settings(device="cpu")
GENES = [f"G{number}" for number in range(80)]
SMALL = {"hidden": 16, "dim": 6}
SETTINGS = Training(epochs=8, max_tokens=80, tokens_per_step=1024, learning_rate=0.01, validations=2)


def cells(n_cells=120, seed=0, depth=1.0) -> Cells:
    """Cells of three kinds."""
    rng = np.random.default_rng(seed)
    rates = depth * rng.gamma(0.4, 4, (3, len(GENES)))
    return cells_of(rng.poisson(rates[rng.integers(0, 3, n_cells)]), GENES)


def train(folder, progress=None, **settings):
    training = replace(SETTINGS, **settings)
    arguments = {"architecture": SMALL, "facts": {"names": ["this test"]}, "progress": progress}
    return pretraining.train("corpus-autoencoder", cells(), folder, training, **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "autoencoder"
    train(folder)
    return folder


def embed(target: Cells, folder) -> np.ndarray:
    runner = Runner(models.load("corpus-autoencoder", weights=folder), target, 0, CPU)
    return runner.embed(np.arange(target.counts.shape[0]))


def test_the_loss_of_held_out_cells_falls_below_that_of_the_mean(tmp_path):
    history = train(tmp_path / "trained", epochs=25)["value"]
    tokenizer = CorpusAutoencoder(architecture=SMALL, vocabulary="data-set", max_tokens=80).tokenizer(
        cells(), 0
    )
    values = tokenizer.tokenize(np.arange(120)).values
    assert history.iloc[-1] < 0.8 * values.var() < history.iloc[0]
    stated = json.loads((tmp_path / "trained" / "training.json").read_text())["corpus"]
    assert stated["names"] == ["this test"] and stated["cells"] == 120


def test_the_code_is_that_of_plain_layers_on_dense_values(folder):
    target = cells(15, seed=1)
    state = {name: tensor.float() for name, tensor in read_state(folder / "model.safetensors").items()}
    dense = torch.from_numpy(target.log_normalized().toarray())
    hidden = torch.nn.functional.layer_norm(
        dense @ state["genes"], (16,), state["norm.weight"], state["norm.bias"]
    )
    expected = torch.nn.functional.gelu(hidden) @ state["down.weight"].T + state["down.bias"]
    assert np.allclose(embed(target, folder), expected, atol=2e-5)
    assert expected.std(dim=0).min() > 0.01


def test_in_training_as_many_genes_are_read_that_a_cell_does_not_express():
    target = cells(12, depth=0.2)
    model = CorpusAutoencoder(architecture=SMALL, vocabulary="data-set", max_tokens=80)
    tokens = model.tokenizer(target, 0).tokenize(np.arange(12))
    expressed = np.diff(target.counts.indptr)
    assert tokens.lengths.tolist() == np.minimum(2 * expressed, len(GENES)).tolist()
    for cell in range(12):
        place = slice(*tokens.offsets[cell : cell + 2])
        assert (np.diff(tokens.ids[place]) > 0).all()
        zero = tokens.ids[place][tokens.values[place] == 0]
        assert not set(zero) & set(target.counts[cell].indices)
    # Drawn by the names of the cells: neither order nor other cells matter.
    turned = model.tokenizer(target, 0).tokenize(np.array([7]))
    assert turned.ids.tolist() == tokens.select(np.array([7])).ids.tolist()
    other = model.tokenizer(target, 1).tokenize(np.array([7]))
    assert other.ids.tolist() != turned.ids.tolist()
    network = model.network(target, 0)
    plain = replace(model, max_tokens=None).tokenizer(target, 0).tokenize(np.arange(12))
    codes = []
    for read in (tokens, plain):
        ids, values = read.pad(0)
        with torch.inference_mode():
            arrays = (torch.from_numpy(array) for array in (ids, values, read.lengths))
            codes.append(network(*arrays))
    assert torch.allclose(*codes, atol=1e-6)


def test_an_interrupted_training_ends_with_the_same_bytes(folder, tmp_path):
    def interrupt(report: dict[str, float]) -> None:
        if report["step"] == 5:
            raise KeyboardInterrupt

    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        train(again, interrupt, minutes_per_checkpoint=1e-9)
    train(again, minutes_per_checkpoint=1e-9)
    for name in ("model.safetensors", "history.csv"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_sizes_and_damaged_files_are_refused(folder, tmp_path):
    with pytest.raises(TrainingError, match="hidden of corpus-autoencoder-untrained is 0: a whole number"):
        pretraining.untrained("corpus-autoencoder", SETTINGS, {"hidden": 0})
    config = json.loads((folder / "config.json").read_text())
    for name in ("model.safetensors", "gene_list.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for change, message in (({"dim": 7}, "does not fit Autoencoder"), ({"hidden": "x"}, "hidden is 'x'")):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(WeightsError, match=message):
            embed(cells(5), tmp_path)
