"""tGPT from its specification: words by hand, hidden states of GPT-2, pooling; what is refused."""

import json

import numpy as np
import pytest
import torch
from released import cells_of, write_tgpt

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.tgpt import Tgpt
from zeroshot.models.weights import WeightsError

CPU = Settings(device="cpu")
GENES = ["CD74", "HLA-A", "MT-CO1", "H2AFZ", "LYZ"]
COUNTS = [[1, 5, 9, 0, 3], [2, 2, 0, 2, 0], [0, 0, 0, 0, 0]]


@pytest.fixture
def checkpoint(tmp_path):
    """Knows all genes but the mitochondrial one: words 4 to 7."""
    folder = write_tgpt(tmp_path / "w", [gene for gene in GENES if gene != "MT-CO1"])
    files = {"config": folder / "config.json", "weights": folder / "pytorch_model.bin",
             "vocabulary": folder / "tokenizer.json"}  # fmt: skip
    return weights.Checkpoint(files, {}, "this test")


def test_words_by_hand(checkpoint):
    """Highest first, between begin 1 and end 2; equal counts in the order of the genes; unknown is 3."""
    cells = cells_of(COUNTS, GENES)
    tokens = Tgpt(checkpoint=checkpoint).tokenizer(cells, 0).tokenize(np.arange(3))
    assert tokens.pad(0)[0].tolist() == [[1, 3, 5, 7, 4, 2], [1, 4, 5, 6, 2, 0], [1, 2, 0, 0, 0, 0]]
    known = Tgpt(checkpoint=checkpoint, unknown_genes="left-out").tokenizer(cells, 0)
    assert known.tokenize(np.array([0])).ids.tolist() == [1, 5, 7, 4, 2]
    assert known.notes == ("1 cells express no gene that the model reads",)
    cut = Tgpt(checkpoint=checkpoint, max_tokens=4).tokenizer(cells, 0).tokenize(np.array([0, 2]))
    assert cut.ids.tolist() == [1, 3, 5, 2, 1, 2] and cut.left_out.tolist() == [2, 0]


def test_genes_named_by_ids_are_the_words_of_their_symbols(checkpoint):
    """Also where the symbol has a sign that no word has, and the id a version."""
    model, counts = Tgpt(checkpoint=checkpoint), np.array(COUNTS)[:2, [0, 1, 4]]
    expected = model.tokenizer(cells_of(counts, ["CD74", "HLA-A", "LYZ"]), 0)
    for version in ("", ".7"):
        names = [gene + version for gene in ("ENSG00000019582", "ENSG00000206503", "ENSG00000090382")]
        tokenizer = model.tokenizer(cells_of(counts, names), 0)
        assert tokenizer.overlap["genes"].tolist() == [3] and tokenizer.overlap["rule"].tolist() == [
            "Ensembl"
        ]
        assert tokenizer.tokenize(np.arange(2)).ids.tolist() == expected.tokenize(np.arange(2)).ids.tolist()


def test_embedding_is_the_mean_over_genes_of_gpt2(checkpoint):
    """transformers reads the same files; a cell without any gene is zero, alone and beside others."""
    from transformers import GPT2Model

    theirs = GPT2Model.from_pretrained(checkpoint.files["config"].parent).eval()
    runner = Runner(Tgpt(checkpoint=checkpoint), cells_of(COUNTS, GENES), 0, CPU)
    with torch.inference_mode():
        hidden = [theirs(torch.tensor([ids])).last_hidden_state[0, 1:-1] for ids in
                  ([1, 3, 5, 7, 4, 2], [1, 4, 5, 6, 2])]  # fmt: skip
    expected = torch.stack([*(states.mean(dim=0) for states in hidden), torch.zeros(16)]).numpy()
    for budget in (1, 10_000):
        assert np.allclose(runner.embed(np.arange(3), budget), expected, atol=2e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0.1


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_tgpt(tmp_path / "w", list(adata.var_names))

    def refused(message, **given):
        with pytest.raises(WeightsError, match=message):
            embedding.run(adata, "tgpt", weights=folder, settings=CPU, **given)

    embedded = embedding.run(adata, "tgpt", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    refused("has positions for 3 to 64", parameters={"max_tokens": 65})
    state = torch.load(folder / "pytorch_model.bin")
    torch.save(state | {"transformer.h.2.ln_1.weight": torch.ones(16)}, folder / "pytorch_model.bin")
    refused(r"unexpected transformer.h.2.ln_1.weight \(16,\)")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    refused("describes 'bert' with 'gelu_new': expected gpt2")
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {}}}))
    write_tgpt(tmp_path / "other", list(adata.var_names[:-1]))
    (tmp_path / "other" / "config.json").replace(folder / "config.json")
    refused("holds no vocabulary of whole words")
    write_tgpt(tmp_path / "other", list(adata.var_names))
    (tmp_path / "other" / "tokenizer.json").replace(folder / "tokenizer.json")
    refused("the vocabulary has 154 words .* the model 153")
    with pytest.raises(ValueError, match="token or left-out"):
        Tgpt(unknown_genes="unk")
