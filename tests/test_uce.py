"""UCE against the reference: draws, sentences, embeddings with padding attended to and masked; refusals."""

import json
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from released import PARITY, small_parameters, write_uce

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Settings
from zeroshot.models import Cells, weights
from zeroshot.models.networks import trained_network
from zeroshot.models.uce import (
    CLS,
    IGNORED,
    PAD,
    Uce,
    UceNetwork,
    choose,
    draw_weights,
    read_sizes,
    rename,
    sentence,
)  # fmt: skip
from zeroshot.models.uce_genome import random_genome, read_genome
from zeroshot.models.weights import WeightsError

REFERENCE = PARITY / "uce"
CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def reference():
    known = json.loads((REFERENCE / "case.json").read_text())
    return known, dict(np.load(REFERENCE / "arrays.npz"))


@pytest.fixture(scope="module")
def network(reference):
    known, _ = reference
    path = REFERENCE / "model.torch"
    state = weights.read_state(path)
    build = partial(UceNetwork, *read_sizes(state, path), known["params"]["nhead"])
    return trained_network(build, state, rename, IGNORED, path)


def test_sentences(reference):
    """With the reference's own random numbers, its draws, its order of chromosomes and its tokens."""
    known, arrays = reference
    genes = pd.DataFrame(
        {"token": arrays["token_index"], "code": arrays["chrom"].astype(int), "start": arrays["start"]}
    )
    for row, cell in enumerate(known["cells"]):
        generator = np.random.RandomState(cell["numpy_legacy_seed"])
        chances = draw_weights(arrays["counts"][row])
        assert (chances == np.float32(cell["weights"])).all()
        chosen = choose(chances, generator.random_sample(known["params"]["sample_size"]))
        assert chosen.tolist() == cell["choice_idx"]
        order = np.unique(genes["code"].to_numpy()[chosen])
        generator.shuffle(order)
        assert order.tolist() == cell["chrom_order"]
        found = sentence(genes, chosen, order, known["tokens"]["CHROM_TOKEN_OFFSET"])
        assert len(found) == cell["seq_len"] and (found == arrays["sentences"][row][: len(found)]).all()


def test_embeddings(reference, network):
    """Padding attended to, as in one call of the reference; alone, as with one cell a call; and masked."""
    _, arrays = reference
    longest = int(arrays["seq_len"].max())
    ids = torch.from_numpy(arrays["sentences"])[:, :longest]
    lengths = torch.from_numpy(arrays["seq_len"])
    assert ((np.arange(arrays["masks"].shape[1]) < arrays["seq_len"][:, None]) == arrays["masks"]).all()
    together = torch.full_like(lengths, longest)
    with torch.inference_mode():
        assert np.allclose(network(ids, None, together).numpy(), arrays["emb_one_batch"], atol=2e-5)
        masked = network(ids, None, lengths).numpy()
        outputs = network.decode(network.hidden(ids, together)).numpy()
    assert np.allclose(masked, arrays["emb_single"], atol=2e-5)
    assert np.allclose(masked, arrays["emb_if_pads_were_masked"], atol=2e-5)
    assert np.allclose(outputs, arrays["gene_output_one_batch"], atol=2e-5)
    assert np.abs(arrays["emb_one_batch"] - arrays["emb_single"]).max() > 0.05


def test_sentence_by_hand():
    genes = pd.DataFrame({"token": [10, 11, 12, 13], "code": [0, 1, 0, 1], "start": [9, 5, 2, 5]})
    found = sentence(genes, np.array([0, 2, 3, 0]), np.array([1, 0]), 100)
    assert found.tolist() == [CLS, 101, 13, 2, 100, 12, 10, 10, 2]
    assert sentence(genes, np.array([], int), np.array([], int), 100).tolist() == [CLS]


def test_weights_of_a_cell_by_hand():
    assert np.allclose(draw_weights(np.array([1.9, 0, 3])), [1 / 3, 0, 2 / 3]), (
        "fractions of counts are cut off"
    )
    assert draw_weights(np.zeros(3)) is None
    assert choose(np.float32([0.25, 0, 0.75]), np.array([0.0, 0.24, 0.25, 0.99])).tolist() == [0, 0, 2, 2]


def test_a_genome_that_no_file_tells_is_drawn_by_seed_and_symbol():
    genome, other = random_genome(["Cd74", "FTL", "CD74", "T"], 1), random_genome(["T", "Ftl"], 1)
    assert list(genome.index) == ["CD74", "FTL", "T"] and genome["token"].tolist() == [4, 5, 6]
    assert genome.loc[["T", "FTL"], ["code", "start"]].equals(other[["code", "start"]])
    many = random_genome([f"G{number}" for number in range(2000)], 1)
    assert set(many["code"]) == set(range(24)) and many["start"].is_unique
    assert (many["code"] != random_genome(list(many.index), 2)["code"]).mean() > 0.9
    with pytest.raises(ValueError, match="an untrained UCE reads the genes of the data set"):
        Uce(architecture={"dim": 4})


# -- on a small released folder


@pytest.fixture(scope="module")
def adata():
    return contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")


@pytest.fixture(scope="module")
def folder(adata, tmp_path_factory):
    return write_uce(tmp_path_factory.mktemp("uce"), list(adata.var_names))


@pytest.mark.parametrize("recipe", ["upstream", "fixed"])
def test_small_release_passes_the_gate(adata, folder, recipe):
    given = small_parameters("UCE", 150) | {"batch_size": 7}
    embedded = embedding.run(adata, "uce-4l", recipe, weights=folder, parameters=given, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    assert np.allclose(np.linalg.norm(embedded.matrix, axis=1), 1, atol=1e-5)
    assert any("padding takes part" in note for note in embedded.notes) is (recipe == "upstream")


def test_neighbours_in_the_data_set_matter_upstream_alone(adata, folder):
    """The same cells beside others: the longest sentence of a batch changes what upstream gives, not ours."""
    given = small_parameters("UCE", 150) | {"batch_size": 2, "min_cells": 0}
    # Cells of two genes have short sentences; in one of the two data sets every second cell has many.
    short, mixed = adata.copy(), adata.copy()
    for data, rows in ((short, range(80)), (mixed, range(1, 80, 2))):
        data.X = adata.X.copy()
        for row in rows:
            data.X.data[data.X.indptr[row] + 2 : data.X.indptr[row + 1]] = 0
        data.X.eliminate_zeros()
    for padding, same in (("masked", True), ("reference", False)):
        own = given | {"padding": padding}
        found, other = (
            embedding.run(data, "uce-4l", weights=folder, parameters=own, settings=CPU, probe=False).matrix
            for data in (short, mixed)
        )
        assert np.allclose(found[1::2], other[1::2], atol=2e-5) is same, padding


def test_tokens_of_a_batch_are_filled_up_to_its_longest(adata, folder):
    given = small_parameters("UCE", 150) | {"batch_size": 8, "min_cells": 0}
    checkpoint = weights.Checkpoint(
        {"weights": folder / "4layer_model.torch", "vocabulary": folder / "gene_list.txt",
         "gene_positions": folder / "species_chrom.csv", "species_offsets": folder / "species_offsets.pkl"},
        {}, "this test",
    )  # fmt: skip
    cells = Cells.of(adata, with_batches=False)
    rows = np.array([3, 30, 4])
    filled = Uce(checkpoint=checkpoint, **given).tokenizer(cells, 0).tokenize(rows)
    masked = Uce(checkpoint=checkpoint, padding="masked", **given).tokenizer(cells, 0).tokenize(rows)
    assert filled.lengths[0] == filled.lengths[2] and (filled.lengths >= masked.lengths).all()
    assert (filled.ids[filled.ids != PAD] == masked.ids).all()
    everything = Uce(checkpoint=checkpoint, padding="masked", **given).tokenizer(cells, 0)
    assert filled.lengths[0] == everything.tokenize(np.arange(8)).lengths.max()
    genome = read_genome(checkpoint.files, "human")
    assert genome["token"].min() == 4 and genome["code"].nunique() == 5


def test_other_files_are_refused(adata, folder, tmp_path):
    with pytest.raises(WeightsError, match=r"species 'yeti' is not in .*human, mouse"):
        embedding.run(adata, "uce-4l", weights=folder, parameters={"species": "yeti"}, settings=CPU)
    with pytest.raises(WeightsError, match="20 heads do not divide the width"):
        embedding.embed(adata, "uce-4l", weights=folder, settings=CPU)
    broken = write_uce(tmp_path / "w", list(adata.var_names))
    (broken / "species_chrom.csv").write_text("species,gene_symbol\nhuman,A\n")
    with pytest.raises(WeightsError, match=r"species_chrom\.csv is damaged"):
        embedding.embed(adata, "uce-4l", weights=broken, settings=CPU)
    for offset in (-3, 0, 10**30, 1.5, True):
        broken = write_uce(tmp_path / "offsets", list(adata.var_names))
        (broken / "species_offsets.pkl").write_bytes(pickle.dumps({"human": offset}))
        with pytest.raises(WeightsError, match=r"species_offsets\.pkl: human begins at token"):
            embedding.embed(adata, "uce-4l", weights=broken, settings=CPU)
    small = small_parameters("UCE", 150)
    (broken / "species_offsets.pkl").write_bytes(pickle.dumps({"human": 99}))
    for parameters, message in (
        (small, r"species_offsets\.pkl: human has token 248, and .* has embeddings of 164 tokens"),
        ({**small, "first_chromosome": 160}, r"species_chrom\.csv: human has token 164"),
    ):
        with pytest.raises(WeightsError, match=message):
            embedding.run(adata, "uce-4l", weights=broken, parameters=parameters, settings=CPU)
        broken = folder
    whole = torch.load(folder / "4layer_model.torch", weights_only=True)
    for name, tensor, message in (
        ("pos_encoder.pe", torch.ones(16, 1, 1536), "not a checkpoint of UCE: expected positions"),
        ("pos_encoder.pe", torch.ones(99, 1, 16), "99 positions, fewer than"),
        ("pe_embedding.weight", torch.ones(0, 12), "no empty tensor"),
    ):
        broken = write_uce(tmp_path / "tensors", list(adata.var_names))
        torch.save(whole | {name: tensor}, broken / "4layer_model.torch")
        with pytest.raises(WeightsError, match=rf"4layer_model\.torch.*{message}"):
            embedding.run(adata, "uce-4l", weights=broken, parameters=small, settings=CPU)
