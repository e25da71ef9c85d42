"""Networks trained on cells: what is hidden, what is learnt, and the same weights each time."""

import errno
import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from filelock import FileLock
from scipy import sparse
from small_networks import RANKS, SMALL, VALUES, blood, interrupt
from typer.testing import CliRunner

from zeroshot import catalog, cli, data, models, pretraining
from zeroshot.catalog import CatalogError
from zeroshot.embedding import embed
from zeroshot.models import Cells
from zeroshot.pretraining import (
    CorpusError,
    Masking,
    Training,
    TrainingError,
    architectures,
    baselines,
    duration,
    objectives,
    steps,
)
from zeroshot.runtime.outputs import OutputError
from zeroshot.tokens.sequences import Tokens

SETTINGS = Training(epochs=3, max_tokens=32, tokens_per_step=512, learning_rate=0.01, validations=2)


@pytest.fixture(scope="module")
def cells() -> Cells:
    return blood()


class Network:
    mask, special_ends = -1, (1, 0)


def test_hidden_genes_are_a_share_of_each_cell_and_never_special():
    tokens = Tokens(np.arange(16), np.arange(16, dtype=np.float32), np.array([0, 5, 16]), np.zeros(2, int))
    chunk = objectives.hide(tokens, Network(), "values", Masking(0.5), np.random.default_rng(0), pad_id=99)
    hidden = chunk.hidden.numpy()
    assert hidden.sum(axis=1).tolist() == [2, 5]  # of 4 and of 10 genes
    assert not hidden[:, 0].any()
    assert not hidden[0, 5:].any()
    assert (chunk.values.numpy()[hidden] == -1).all()  # noqa: PD011 - not a table
    assert (chunk.targets.numpy() == chunk.ids.numpy()[hidden]).all()  # here a value is its id


def test_hidden_ranks_get_the_mask_another_gene_or_stay():
    tokens = Tokens(np.arange(10_001), None, np.array([0, 10_001]), np.zeros(1, int))
    masking = Masking(0.5, random=0.1, unchanged=0.2)
    chunk = objectives.hide(tokens, Network(), "ranks", masking, np.random.default_rng(0), pad_id=0)
    hidden = chunk.hidden.numpy()
    read = chunk.ids.numpy()[hidden]
    assert hidden.sum() == 5_000
    assert (read == -1).mean() == pytest.approx(0.7, abs=0.03)
    assert (read == chunk.targets.numpy()).mean() == pytest.approx(0.2, abs=0.03)
    assert (chunk.ids.numpy()[~hidden] == np.arange(10_001)[~hidden[0]]).all()


def hidden_chunk(ids, hidden, targets) -> objectives.MaskedChunk:
    parts = (torch.tensor(ids), None, torch.full((len(ids),), len(ids[0])), torch.tensor(hidden, dtype=bool))
    return objectives.MaskedChunk(*parts, torch.tensor(targets))


def test_means_of_training_cells_predict_hidden_values_of_the_same_genes():
    values = np.array([-2, 1, 5, -2, 3, 7], np.float32)  # <cls> in front of genes 1 and 2
    tokens = Tokens(np.array([9, 1, 2, 9, 1, 2]), values, np.array([0, 3, 6]), np.zeros(2, int))
    chunk = hidden_chunk([[9, 2, 1], [9, 3, 2]], [[0, 1, 0], [0, 1, 1]], [5.0, 4.0, 10.0])
    losses = baselines.trivial_losses("values", tokens, [chunk], n_genes=4, special_ends=(1, 0))
    # The mean of gene 2 is 6, that of all 4; gene 3 is in no training cell.
    assert losses == {"gene mean": pytest.approx((1 + 0 + 16) / 3), "grand mean": pytest.approx(37 / 3)}


def test_frequencies_of_genes_at_a_rank_predict_hidden_genes():
    # Gene 1 is first and gene 2 second in all cells; the third place says nothing.
    rng = np.random.default_rng(0)
    cells = np.stack([np.full(400, 1), np.full(400, 2), rng.integers(3, 7, 400)], axis=1)
    tokens = Tokens(cells.ravel(), None, 3 * np.arange(401), np.zeros(400, int))
    first = hidden_chunk([[0, 2, 5]], [[1, 0, 0]], [1])
    third = hidden_chunk([[1, 2, 0]], [[0, 0, 1]], [5])
    of_first, of_third = (
        baselines.trivial_losses("ranks", tokens, [chunk], n_genes=6) for chunk in (first, third)
    )
    assert of_first["gene frequency"] == pytest.approx(np.log(3), abs=0.01)
    assert of_first["gene frequency at the rank"] < 0.1
    assert of_third["gene frequency"] == pytest.approx(np.log(12), abs=0.2)
    assert of_third["gene frequency at the rank"] == pytest.approx(np.log(4), abs=0.2)
    both = baselines.trivial_losses("ranks", tokens, [first, third], n_genes=6)
    for name, loss in both.items():
        assert loss == pytest.approx((of_first[name] + of_third[name]) / 2)


def test_a_crop_keeps_the_first_token_and_the_order():
    tokens = Tokens(np.arange(23), None, np.array([0, 3, 23]), np.array([0, 1]))
    cropped = steps.crop(tokens, 8, np.random.default_rng(0))
    assert cropped.lengths.tolist() == [3, 8]
    assert cropped.ids[[0, 3]].tolist() == [0, 3]
    assert (np.diff(cropped.ids) > 0).all()
    assert cropped.left_out.tolist() == [0, 13]


def test_each_epoch_trains_on_each_cell_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(3, 33, 500)
    plan = steps.Plan(lengths, epochs=3, tokens_per_step=512, seed=0)
    chunks = [plan.rows(step) for step in range(plan.n_steps)]
    assert (np.bincount(np.concatenate(chunks)) == 3).all()
    assert max(len(rows) * lengths[rows].max() for rows in chunks) <= 512
    assert not np.array_equal(chunks[0], chunks[plan.n_steps // 3])


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [steps.schedule(step, 100, 0.1) for step in range(100)]
    assert max(rates) == rates[9] == rates[10] == 1
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] < 0.001


@pytest.mark.parametrize("name", [VALUES, RANKS])
def test_training_lowers_the_loss_of_held_out_cells_and_its_folder_is_read_as_released(name, cells, tmp_path):
    history = pretraining.train(name, cells, tmp_path / "trained", SETTINGS, architecture=SMALL[name])
    decoders = history.columns.drop(["step", "cells", "tokens"])
    assert (history[decoders].iloc[-1] < history[decoders].iloc[0]).all()
    assert history["step"].tolist()[0] == 0
    assert pd.read_csv(tmp_path / "trained" / "history.csv").shape == history.shape
    stated = json.loads((tmp_path / "trained" / "training.json").read_text())["validation"]
    assert stated["trained"] == pytest.approx(history[decoders].iloc[-1].to_dict(), abs=1e-6)
    recomputed = pretraining.validate(tmp_path / "trained", cells)
    assert recomputed["trained"] == pytest.approx(stated["trained"], rel=0.01)  # of weights in float16
    assert {part: recomputed[part] for part in ("untrained", "baselines")} == {
        part: stated[part] for part in ("untrained", "baselines")
    }

    adata = data.load("pbmc68k-reduced", subset=50, seed=1)
    embedding = embed(adata, catalog.model(name).twin_of, weights=tmp_path / "trained")
    assert embedding.shape == (50, 16)
    assert np.isfinite(embedding).all()
    assert not (tmp_path / "trained.partial").exists()


@pytest.mark.parametrize("name", [VALUES, RANKS])
def test_what_is_released_is_what_was_trained(name, cells, tmp_path):
    embedder = pretraining.untrained(name, SETTINGS, SMALL[name])
    network = embedder.network(cells, 0)
    (tmp_path / "folder").mkdir()
    embedder.release(network, cells, tmp_path / "folder")
    released = models.load(catalog.model(name).twin_of, weights=tmp_path / "folder").network(cells, 0)
    before, after = network.state_dict(), released.state_dict()
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        np.testing.assert_allclose(after[key].numpy(), tensor.numpy(), rtol=1e-3, atol=1e-6)


def test_an_interrupted_training_ends_with_the_same_bytes(cells, tmp_path):
    settings = replace(SETTINGS, minutes_per_checkpoint=1e-9)

    def bytes_of(folder: Path) -> bytes:
        return (folder / "model.safetensors").read_bytes()

    def train(folder: Path, seed: int = 0, progress=None) -> None:
        chosen = replace(settings, seed=seed)
        pretraining.train(VALUES, cells, folder, chosen, architecture=SMALL[VALUES], progress=progress)

    train(tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "interrupted", progress=interrupt)
    assert not (tmp_path / "interrupted").exists()
    with pytest.raises(TrainingError, match="other settings"):
        train(tmp_path / "interrupted", seed=1)
    train(tmp_path / "interrupted")
    train(tmp_path / "other", seed=1)
    assert (
        bytes_of(tmp_path / "interrupted")
        == bytes_of(tmp_path / "undisturbed")
        != bytes_of(tmp_path / "other")
    )


def test_what_cannot_be_trained_is_refused(cells, tmp_path):
    with pytest.raises(TrainingError, match="no architecture"):
        pretraining.untrained("pca", SETTINGS)
    with pytest.raises(CatalogError, match="nlayers"):
        pretraining.untrained(VALUES, SETTINGS, {"nlayer": 2})
    with pytest.raises(TrainingError, match="nlayers of scgpt-untrained is 'four'"):
        pretraining.untrained(VALUES, SETTINGS, {"nlayers": "four"})
    with pytest.raises(TrainingError, match="learning_rate"):
        Training(learning_rate=0)
    with pytest.raises(TrainingError, match="tokens_per_step"):
        Training(max_tokens=100, tokens_per_step=50)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="not a directory"):
        pretraining.require_new(tmp_path / "file" / "net")
    with pytest.raises(TrainingError, match="only a shell replaces"):
        pretraining.require_new(Path("~nouser/net"))
    with pytest.raises(TrainingError, match="never replaced"):
        pretraining.train(VALUES, cells, tmp_path / "there", SETTINGS)


def test_settings_and_sizes_out_of_range_are_refused_before_cells_are_read_or_memory_is_taken():
    infinite = float("inf")
    for settings in (
        {"epochs": infinite}, {"epochs": 1e308}, {"epochs": float("nan")}, {"learning_rate": infinite},
        {"learning_rate": -1e-3}, {"tokens_per_step": 10**12}, {"tokens_per_step": 512.5}, {"seed": -1},
        {"precision": "float16"}, {"precision": "x"}, {"weight_decay": infinite}, {"validations": 0},
        {"device": "auto"},
    ):  # fmt: skip
        (name,) = settings
        with pytest.raises(TrainingError, match=rf"^{name} is "):
            Training(**settings)
    refusals = {
        VALUES: {
            "nlayers": (0, -1, 100_000, 1e3, True), "embsize": (10**10, 1e10, 7), "nheads": (7,),
            "dropout": (2, 0.5), "n_bins": (2,), "mask_value": (float("nan"), 10**400), "pad_token": ("x",),
        },
        RANKS: {
            "hidden_act": ("tanh",), "special_tokens": (0,), "layer_norm_eps": (0, infinite),
            "max_position_embeddings": (31,), "intermediate_size": (0,),
        },
    }  # fmt: skip
    for model, fields in refusals.items():
        for field, values in fields.items():
            for value in values:
                with pytest.raises(TrainingError, match=r"expected|multiple|positions|Leave out"):
                    pretraining.untrained(model, SETTINGS, {field: value})
    with pytest.raises(TrainingError, match="33,024 GiB in training"):
        pretraining.untrained(VALUES, SETTINGS, {"nlayers": 512, "embsize": 2**15})


def test_each_field_of_an_architecture_that_can_be_trained_has_its_range():
    ranges = {*catalog.RANGES, *architectures.CHOICES, *architectures.FIXED}
    for card in catalog.models().values():
        if card.architecture is not None and card.objective is not None:
            assert set(card.architecture) <= ranges
            assert all(
                len(set(names) & set(card.architecture)) == 1 for names in architectures.SIZES.values()
            )
            for field, value in card.architecture.items():
                pretraining.untrained(card.name, SETTINGS, {field: value})


def dataset(counts: list[list[int]], genes: list[str], cells: list[str]) -> AnnData:
    adata = AnnData(sparse.csr_matrix(np.array(counts, np.float32)))
    adata.obs_names, adata.var_names = cells, genes
    adata.obs["library_size"] = np.asarray(adata.X.sum(axis=1)).ravel()
    return adata


def test_a_corpus_has_the_genes_of_all_its_parts():
    one = dataset([[1, 2], [0, 0]], ["A", "B"], ["x", "y"])
    two = dataset([[3, 4, 5]], ["B", "C", "A"], ["x"])
    one.var["ensembl_id"] = ["ENSG01", ""]
    corpus = pretraining.combine({"one": one, "two": two}, least_genes=1)
    table = pd.DataFrame(corpus.X.toarray(), corpus.obs_names, corpus.var_names)
    assert table.loc["one:x", ["A", "B", "C"]].tolist() == [1, 2, 0]
    assert table.loc["two:x", ["A", "B", "C"]].tolist() == [5, 3, 4]
    assert corpus.uns["corpus"] == {"one": {"cells": 1, "left_out": 1}, "two": {"cells": 1, "left_out": 0}}
    assert corpus.var["ensembl_id"].to_dict() == {"A": "ENSG01", "B": "", "C": ""}
    assert list(pretraining.combine({"one": one, "two": two}, n_genes=2, least_genes=1).var_names) == [
        "A",
        "B",
    ]


def test_a_corpus_without_cells_is_refused():
    with pytest.raises(CorpusError, match="no cell of one has 3 detected genes"):
        pretraining.combine({"one": dataset([[1, 2]], ["A", "B"], ["x"])}, least_genes=3)
    with pytest.raises(CorpusError, match="at least one"):
        pretraining.combine({})
    symbols, ids = dataset([[1, 2]], ["A", "B"], ["x"]), dataset([[1, 2]], ["ENSG1", "ENSG2"], ["y"])
    with pytest.raises(CorpusError, match=r"0 of the 2 genes of one \(A, …\) are in another source"):
        pretraining.combine({"one": symbols, "two": ids}, least_genes=1)


def test_a_corpus_with_cells_of_a_test_set_is_refused():
    test = data.load("pbmc68k-reduced", subset=60)
    parts = {"other": test.copy(), "pbmc": data.load("pbmc68k-reduced", subset=50)}
    parts["other"].X = parts["other"].X * 2
    with pytest.raises(CorpusError, match="cells of pbmc are cells of the test set pbmc68k"):
        pretraining.require_apart(parts, test, "pbmc68k")
    pretraining.require_apart({"other": parts["other"]}, test, "pbmc68k")


def test_shared_cells_are_recognised_under_other_names_and_among_other_genes():
    test = data.load("pbmc68k-reduced", subset=60)
    source = test[:20, ::2].copy()
    names = {"SEPTIN7": "SEPT7", "CD74": "DHLAG", "TMEM256": "C17orf61"}  # approved, formerly
    source.var_names = [names.get(name, name) for name in source.var_names]
    source.obs_names = [f"renamed-{place}" for place in range(20)]
    with pytest.raises(CorpusError, match="20 cells of source are cells of the test set"):
        pretraining.require_apart({"source": source}, test, "pbmc68k")


def test_red_blood_cells_are_left_out():
    blood = dataset([[9, 1, 0], [1, 9, 0], [0, 5, 5]], ["HBB", "B", "C"], ["red", "x", "y"])
    corpus = pretraining.combine({"blood": blood}, least_genes=1, most_haemoglobin=0.5)
    assert list(corpus.obs_names) == ["blood:x", "blood:y"]
    assert corpus.uns["corpus"] == {"blood": {"cells": 2, "left_out": 1}}


def test_a_smaller_share_is_a_part_of_a_larger_one_and_does_not_depend_on_the_order():
    cells = [f"c{place}" for place in range(200)]
    one = dataset([[1, 2]] * 200, ["A", "B"], cells)
    parts = {"one": one, "two": one[:3].copy()}

    def drawn(share: float, parts: dict = parts) -> set[str]:
        return set(pretraining.combine(parts, least_genes=1, share=share).obs_names)

    tenth, hundredth = drawn(0.1), drawn(0.01)
    assert hundredth < tenth < drawn(1.0)
    assert (len(tenth), len(hundredth)) == (20 + 1, 2 + 1)  # one at least of each part
    assert drawn(0.1, {"two": parts["two"], "one": one[::-1].copy()}) == tenth
    assert {name.split(":")[1] for name in tenth} != set(cells[:20])


def test_the_arithmetic_of_a_training_is_that_of_its_layers():
    # One layer of width 4 with 8 between: 4 * 16 + 2 * 32 weights, each two operations for a token; attention
    # has 2 * 2 * 4 for each of 3 tokens. Of 5 cells with 3 tokens, forward once and backward twice.
    changes = {"nlayers": 1, "embsize": 4, "nheads": 2, "d_hid": 8}
    assert architectures.arithmetic(VALUES, changes, 3, 5) == 3 * 5 * 3 * (2 * 128 + 16 * 3)
    assert architectures.arithmetic("corpus-pca", {}, 3, 5) == 0


def test_minutes_are_epochs_as_measured_and_a_half_done_training_keeps_its_own(cells, tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(duration, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    def epochs(minutes: float) -> float:
        return pretraining.epochs_in(minutes, VALUES, cells, tmp_path / "net", SETTINGS, SMALL[VALUES])

    def interrupt(report: dict[str, float]) -> None:
        raise KeyboardInterrupt

    # Each look at the clock takes a second: a validation one, three steps four.
    one_epoch = pretraining.Run(VALUES, cells, replace(SETTINGS, epochs=1.0), SMALL[VALUES]).plan.n_steps
    seconds = 60 - (SETTINGS.validations + 1)
    assert epochs(1.0) == pytest.approx(seconds / (4 / 3 * one_epoch), rel=0.005)
    with pytest.raises(TrainingError, match="held-out cells alone take"):
        epochs(SETTINGS.validations / 60)
    begun = replace(SETTINGS, epochs=1.25, minutes_per_checkpoint=1e-9)
    with pytest.raises(KeyboardInterrupt):
        pretraining.train(
            VALUES, cells, tmp_path / "net", begun, architecture=SMALL[VALUES], progress=interrupt
        )
    assert epochs(1.0) == 1.25


CORPUS = """
small: {title: Small, description: Two., sources: [SOURCES], apart_from: [toy], cells: CELLS, share: 0.5}
"""


def test_a_named_corpus_is_refused_where_it_is_not_what_its_entry_says(home, zeroshot, tmp_path):
    (home / "data" / "studies.yml").write_text(
        "toy: {title: Toy, description: One set., datasets: [pbmc68k-reduced], models: [pca], chapters: []}"
    )
    file = home / "data" / "corpora.yml"

    def run(sources: str, cells: int, *more: str):
        file.write_text(CORPUS.replace("SOURCES", sources).replace("CELLS", str(cells)))
        size = [f"--architecture={name}={value}" for name, value in SMALL[VALUES].items()]
        return zeroshot(
            "pretrain", "--model", VALUES, "--corpus", "small", *more, "--output", tmp_path / "net",
            "--epochs", 0.01, "--max-tokens", 16, "--tokens-per-step", 256, *size,
        )  # fmt: skip

    assert "pbmc68k-reduced is a test set of the study toy" in run("pbmc68k-reduced", 350)[2]
    assert "no source is called 'simulated-atlass'" in run("simulated-atlass", 1176)[2]
    assert "has 1,176 cells instead of 1,177" in run("simulated-atlas", 1177)[2]
    assert "give it alone" in run("simulated-atlas", 1176, "--corpus", "simulated-atlas")[2]
    assert (
        "cells of the test set simulated-atlas"
        in run("simulated-atlas", 1176, "--test-set", "simulated-atlas")[2]
    )
    assert run("simulated-atlas", 1176)[0] == 0
    assert (tmp_path / "net" / "model.safetensors").is_file()


def test_the_command_trains_refuses_and_names_the_model_to_read_it_with(tmp_path):
    def run(*extra: str, model: str = VALUES):
        fields = [f"--architecture={name}={value}" for name, value in SMALL[VALUES].items()]
        return CliRunner().invoke(
            cli.app,
            ["pretrain", "--model", model, "--corpus", "simulated-atlas", "--output", str(tmp_path / "net"),
             "--epochs", "0.02", "--max-tokens", "16", "--tokens-per-step", "256", *fields, *extra],
        )  # fmt: skip

    output = run().output
    assert "shared" not in output
    assert "these cells were compared with no data set" in output
    assert "cells of simulated-atlas are left out: fewer than 200 detected genes" in output
    assert "loss on held-out cells, trained: gep " in output and "no network: gene mean " in output
    assert sorted(file.name for file in (tmp_path / "net").iterdir()) == [
        "args.json", "history.csv", "model.safetensors", "training.json", "vocab.json",
    ]  # fmt: skip
    again = run()
    assert again.exit_code != 0 and isinstance(again.exception, TrainingError)
    leak = run("--test-set", "simulated-atlas")
    assert isinstance(leak.exception, (CorpusError, TrainingError))
    assert isinstance(run("--architecture=nlayers").exception, ValueError)
    assert "give one" in str(run("--minutes", "1").exception)
    twice = run("--corpus", "mine/simulated-atlas.h5ad", "--output", str(tmp_path / "other"))
    assert "two sources of the corpus are called simulated-atlas" in str(twice.exception)


def test_a_full_disk_is_named_and_leaves_the_state_that_was_saved(cells, tmp_path, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise RuntimeError("unexpected pos 64640 vs 64592")  # as torch does

    def train(**how) -> None:
        settings = replace(SETTINGS, minutes_per_checkpoint=1e-9)
        pretraining.train(VALUES, cells, tmp_path / "net", settings, architecture=SMALL[VALUES], **how)

    def fill_disk(report: dict[str, float]) -> None:
        if report["step"] == 3:
            monkeypatch.setattr(torch, "save", full)

    with pytest.raises(OutputError, match=r"state\.pt was not written: the disk of .* is full"):
        train(progress=fill_disk)
    assert {path.name for path in (tmp_path / "net.partial").iterdir()} == {"lock", "state.pt"}
    monkeypatch.undo()
    steps_done = []
    train(progress=lambda report: steps_done.append(report["step"]))
    assert steps_done[0] == 4
    assert not (tmp_path / "net.partial").exists()


def test_what_another_training_or_somebody_left_in_the_partial_folder_is_not_lost(cells, tmp_path):
    partial = tmp_path / "net.partial"
    partial.mkdir()
    (partial / "state.pt").write_text("half-done")
    with pytest.raises(TrainingError, match="half-done training of a network"):
        pretraining.fit("corpus-pca", cells, tmp_path / "net")
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read"):
        pretraining.train(VALUES, cells, tmp_path / "net", SETTINGS, architecture=SMALL[VALUES])
    (partial / "notes.txt").touch()
    with pytest.raises(TrainingError, match=r"files like notes\.txt"):
        pretraining.train(VALUES, cells, tmp_path / "net", SETTINGS, architecture=SMALL[VALUES])
    assert {path.name for path in partial.iterdir()} == {"state.pt", "notes.txt", "lock"}
    (partial / "notes.txt").unlink()
    with (
        FileLock(partial / "lock"),
        pytest.raises(TrainingError, match=r"another process trains to .*net: wait for it"),
    ):
        pretraining.train(VALUES, cells, tmp_path / "net", SETTINGS, architecture=SMALL[VALUES])
