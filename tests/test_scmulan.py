"""scMulan from its specification: sentences by hand, generation word by word with GPT-2; what is refused."""

import numpy as np
import pytest
import torch
from released import cells_of
from released_values import write_scmulan

from zeroshot import catalog, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.scmulan import ScMulan, sentences
from zeroshot.models.weights import WeightsError
from zeroshot.tokens.genes import GeneOverlapError

CPU = Settings(device="cpu")
GENES = ["A", "B", "C", "D", "E", "F"]  # tokens 6 to 1; 0 ends, 7 to 9 are types, 10 asks for the type
END, TASK = 0, 10


@pytest.fixture
def checkpoint(tmp_path):
    return weights.find(catalog.model("scmulan"), write_scmulan(tmp_path / "w", GENES))


def test_sentences_by_hand():
    """The last gene first; level 1 up to a tenth of the highest value, 10 at it; the task has level 0."""
    values = cells_of([[1, 0, 10, 1.5], [0, 0.2, 0, 0], [0, 0, 0, 0]], list("ABCD")).counts
    tokens = sentences(values, np.array([4, 3, 2, 1]), 9, 10)
    assert tokens.ids.tolist() == [1, 2, 4, 9, 3, 9, 9] and tokens.lengths.tolist() == [4, 2, 1]
    assert tokens.values.tolist() == [2, 10, 1, 0, 10, 0, 0]


def test_values_are_normalised_over_all_genes_of_the_data_set(checkpoint):
    """Of 10,000 counts 9,900 are of a gene that the model does not read: levels are of log1p 60 and 40."""
    cells = cells_of([[60, 40, 9900], [0, 0, 5]], ["A", "C", "other"])
    tokenizer = ScMulan(checkpoint=checkpoint).tokenizer(cells, 0)
    tokens = tokenizer.tokenize(np.arange(2))
    assert tokens.ids.tolist() == [4, 6, TASK, TASK]
    assert tokens.values.tolist() == [np.ceil(10 * np.log1p(40) / np.log1p(60)), 10, 0, 0]
    assert tokenizer.notes == (
        "1 cells express no gene that the model knows",
        "the data set has 2 of the 6 genes that scMulan reads",
    )
    with pytest.raises(GeneOverlapError, match="scMulan reads 6 genes, of which the data set has 0"):
        ScMulan(checkpoint=checkpoint).tokenizer(cells_of([[1]], ["other"]), 0)


def gpt2(state):
    """transformers' layers with these tensors; words and levels are embedded outside, positions are none."""
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, vocab_size=1)
    gpt, own = GPT2Model(config).eval(), {}
    for key, value in state.items():
        turned = value.T if ".h." in key and value.ndim == 2 else value
        own[key.removeprefix("transformer.")] = turned
    wanted = gpt.state_dict()
    gpt.load_state_dict({key: own[key] if key[:2] in ("h.", "ln") else 0 * wanted[key] for key in wanted})
    return gpt


def generate(gpt, state, ids, levels):
    """Upstream's loop, a whole pass for each word: the state before the last one of the last pass."""
    ids, levels, n_prompt = list(ids), list(map(int, levels)), len(ids)
    while True:
        read = state["transformer.wte.weight"][ids] + state["transformer.wee.weight"][levels]
        hidden = gpt(inputs_embeds=read[None]).last_hidden_state[0]
        logits = state["lm_head.weight"] @ hidden[-1]
        logits[ids[:-1]] = -torch.inf
        word = int(logits.argmax())
        ids.append(word)
        levels.append(int((state["epx_head.weight"] @ hidden[-1])[word].round().clamp(0, 10)))
        if word == END or len(ids) == n_prompt + 3:
            return hidden[max(len(hidden) - 2, 0)], hidden[n_prompt - 1], ids[n_prompt:]


def test_embedding_is_the_first_word_of_upstreams_loop(checkpoint):
    """Over sentences that end after one, two and three words; in one call and one cell a call."""
    counts = np.random.default_rng(0).poisson(1.5, (60, 6))
    counts[0] = 0
    cells = cells_of(counts, GENES, library_size=counts.sum(axis=1) + 1.0)
    path = checkpoint.files["weights"]
    content = torch.load(path)
    content["model"]["lm_head.weight"][END] *= 2.5  # so that the end comes at every place
    torch.save(content, path)
    tokens = ScMulan(checkpoint=checkpoint).tokenizer(cells, 0).tokenize(np.arange(60))
    gpt = gpt2(content["model"])
    with torch.inference_mode():
        found = [
            generate(gpt, content["model"], *(part[start:end] for part in (tokens.ids, tokens.values)))
            for start, end in zip(tokens.offsets, tokens.offsets[1:], strict=False)
        ]
    assert {len(words) for _, _, words in found} == {1, 2, 3}
    for place, part in (("generated", 0), ("task", 1)):
        expected = torch.stack([states[part] for states in found]).numpy()
        runner = Runner(ScMulan(checkpoint=checkpoint, place=place), cells, 0, CPU)
        for budget in (1, 10_000):
            assert np.allclose(runner.embed(np.arange(60), budget), expected, atol=2e-5), place


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_scmulan(tmp_path / "w", list(adata.var_names))

    def refused(message):
        with pytest.raises(WeightsError, match=message):
            embedding.embed(adata, "scmulan", weights=folder, settings=CPU)

    embedded = embedding.run(adata, "scmulan", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    content = torch.load(folder / "ckpt_scMulan.pt")
    wrong = content | {"model_args": content["model_args"] | {"n_head": 3}}
    torch.save(wrong, folder / "ckpt_scMulan.pt")
    refused("asks for 3 heads in a width of 16")
    torch.save({"model": {}}, folder / "ckpt_scMulan.pt")
    refused("holds no model_args and model: it is not a checkpoint of scMulan")
    torch.save(content, folder / "ckpt_scMulan.pt")
    words = torch.load(folder / "meta_info.pt")
    torch.save(words | {"token_set": words["token_set"] + ["new"]}, folder / "meta_info.pt")
    refused("the list of tokens has 156 names, the model reads 155")
    torch.save(words | {"token_set": words["token_set"][1:]}, folder / "meta_info.pt")
    refused("lacks <E>, <PCT> or genes among its tokens")
    torch.save(words | {"cell_type": {1, "a"}}, folder / "meta_info.pt")
    refused("a set of other things than names")
    with pytest.raises(ValueError, match="generated or task"):
        ScMulan(place="last")
