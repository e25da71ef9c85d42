"""Corpus scVI: the posterior means of scvi-tools' own encoder, of cells that it has not seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
from released import cells_of
from typer.testing import CliRunner

from zeroshot import cli, models, pretraining
from zeroshot.embedding import Runner, Settings
from zeroshot.models import Cells, corpus_scvi
from zeroshot.models.weights import WeightsError, read_state
from zeroshot.store import hashing

CPU = Settings(device="cpu")
GENES = [f"G{number}" for number in range(60)]


def cells(n_cells=150, seed=0) -> Cells:
    """Cells of three kinds, from two sources."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n_cells)
    counts = rng.poisson(rng.gamma(0.4, 4, (3, len(GENES)))[kind])
    batches = np.where(np.arange(n_cells) % 2, "one", "two")
    return replace(cells_of(counts, GENES), batches=batches)


def embed(target: Cells, folder) -> np.ndarray:
    runner = Runner(models.load("corpus-scvi", weights=folder), target, 0, CPU)
    return runner.embed(np.arange(target.counts.shape[0]))


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    """A folder, and the encoder of scvi-tools that was written to it."""
    folder, modules = tmp_path_factory.mktemp("fit") / "scvi", []
    written = corpus_scvi.encoder_state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_scvi, "encoder_state", lambda module: modules.append(module) or written(module))
        pretraining.fit("corpus-scvi", cells(), folder, epochs=3)
    return folder, modules[0]


def test_the_embedding_is_the_posterior_mean_of_scvi_tools(fit):
    """Batch norms are folded and weights are float16; the genes of a data set in any order."""
    import torch

    folder, encoder = fit
    target = cells(20, seed=1)
    with torch.inference_mode():
        expected = encoder.eval()(torch.log1p(torch.from_numpy(target.counts.toarray())))[0].mean.numpy()
    assert expected.std() > 0.05
    assert np.allclose(embed(target, folder), expected, atol=5e-3)
    turned = replace(target, counts=target.counts[:, ::-1].tocsr(), genes=target.genes[::-1])
    assert np.allclose(embed(turned, folder), embed(target, folder), atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_the_config_says_how_long(fit, tmp_path):
    folder, _ = fit
    pretraining.fit("corpus-scvi", cells(), tmp_path / "again", epochs=3)
    pretraining.fit("corpus-scvi", cells(), tmp_path / "other", epochs=3, seed=1)
    first, again, other = (
        hashing.sha256(one / "model.safetensors") for one in (folder, tmp_path / "again", tmp_path / "other")
    )
    assert first == again != other
    config = json.loads((folder / "config.json").read_text())
    assert config["epochs"] == 3 and config["corpus"]["cells"] == 150
    assert config["elbo_of_held_out_cells"] < 0


def test_a_corpus_of_any_size_can_be_fitted_but_a_cell_is_held_out(tmp_path):
    """Of 135 cells, 129 would be trained on: 128 at a time, and one that has no variance."""
    pretraining.fit("corpus-scvi", cells(135), tmp_path / "135", epochs=1)
    assert json.loads((tmp_path / "135" / "config.json").read_text())["epochs"] == 1
    with pytest.raises(ValueError, match="19 cells, of which 5% are held out: at least 20"):
        pretraining.fit("corpus-scvi", cells(19), tmp_path / "19", epochs=1)


def test_genes_that_the_data_set_lacks_are_zero(fit):
    """As scvi-tools' own preparation of a query has them."""
    folder, _ = fit
    target = cells(20, seed=1)
    dense = target.counts.toarray()
    dense[:, :10] = 0
    zeros = cells_of(dense, GENES)
    fewer = replace(target, counts=target.counts[:, 10:], genes=target.genes[10:])
    assert np.array_equal(embed(fewer, folder), embed(zeros, folder))


def test_other_weights_are_refused(fit, tmp_path):
    folder, _ = fit
    pretraining.fit("corpus-pca", cells(), tmp_path / "pca")
    with pytest.raises(WeightsError, match="not a Corpus scVI"):
        embed(cells(5), tmp_path / "pca")
    assert set(read_state(folder / "model.safetensors")) == {
        "genes", "bias", "linears.0.weight", "linears.0.bias", "linears.1.weight", "linears.1.bias",
    }  # fmt: skip


def test_the_command_passes_the_epochs_and_refuses_other_settings(home, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(pretraining, "fit", lambda *_, **settings: calls.append(settings))
    command = [
        "pretrain",
        "--model",
        "corpus-scvi",
        "--corpus",
        "pbmc68k-reduced",
        "--output",
        str(tmp_path / "x"),
    ]
    assert CliRunner().invoke(cli.app, [*command, "--epochs", "7"]).exit_code == 0
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    assert calls[0]["epochs"] == 7 and "epochs" not in calls[1]
    refused = CliRunner().invoke(cli.app, [*command, "--learning-rate", "0.1"])
    assert refused.exit_code and "has no --learning-rate" in str(refused.exception) + refused.output
    refused = CliRunner().invoke(cli.app, [*command, "--epochs", "0.5"])
    assert refused.exit_code and "whole passes" in str(refused.exception) + refused.output
