"""CellLM from its specification: bins by hand, the Performer with all its padding; what is refused."""

import numpy as np
import pytest
import torch
from released import cells_of
from released_values import write_celllm

from zeroshot import catalog, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.celllm import CellLm
from zeroshot.models.weights import WeightsError

CPU = Settings(device="cpu")
GENES = ["A", "B", "C", "D"]
COUNTS = [[0, 1, 2, 9997], [10, 0, 0, 0], [0, 0, 0, 0]]  # log2(2) is 1, log2(3) below 2, the others above 5
CLS, PAD = 6, 7  # bins; their positions come after the four genes


@pytest.fixture
def model(tmp_path):
    folder = write_celllm(tmp_path / "w", GENES)
    checkpoint = weights.find(catalog.model("celllm"), folder)
    return lambda **given: CellLm(checkpoint=checkpoint, **given)


def test_bins_by_hand(model):
    """``cls`` first, then the expressed genes in order: bins are cut off, and 5 is the highest."""
    tokenizer = model().tokenizer(cells_of(COUNTS, GENES), 0)
    tokens = tokenizer.tokenize(np.arange(3))
    assert tokens.ids.tolist() == [4, 1, 2, 3, 4, 0, 4] and tokens.lengths.tolist() == [4, 2, 1]
    assert tokens.values.tolist() == [CLS, 1, 1, 5, CLS, 5, CLS]
    assert tokenizer.notes == ("1 cells express no gene that the model knows",)
    cut = model(max_tokens=3).tokenizer(cells_of(COUNTS, GENES), 0).tokenize(np.arange(3))
    assert cut.ids.tolist() == [4, 1, 2, 4, 0, 4] and cut.left_out.tolist() == [1, 0, 0]
    deep = cells_of([[1, 29_999, 0, 0]], GENES)  # log2(1 + 1/3) is below 1: expressed, in bin 0
    assert model().tokenizer(deep, 0).tokenize(np.array([0])).values.tolist() == [CLS, 0, 5]


def performer(state, bins, places, real):
    """The formulas of the specification, one cell, with every token of padding."""
    functional = torch.nn.functional

    def linear(name, given):
        return given @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)

    def layer_norm(name, given):
        return functional.layer_norm(given, (12,), state[f"{name}.weight"], state[f"{name}.bias"])

    def features(given, projection, largest):
        scaled = given * 8**-0.25
        exponent = scaled @ projection.T
        norms = (scaled**2).sum(dim=-1, keepdim=True) / 2
        return len(projection) ** -0.5 * (torch.exp(exponent - norms - largest(exponent)) + 1e-4)

    hidden = state["token_emb.weight"][bins] + state["pos_emb.emb.weight"].float()[places]
    for layer in range(2):
        name = f"performer.net.layers.{layer}"
        read = layer_norm(f"{name}.0.norm", hidden)
        query, key, value = (
            linear(f"{name}.0.fn.to_{part}", read).unflatten(1, (2, 8)).transpose(0, 1) for part in "qkv"
        )
        projection = state[f"{name}.0.fn.fast_attention.projection_matrix"]
        query = features(query, projection, lambda exponent: exponent.amax(dim=-1, keepdim=True))
        key = features(key, projection, torch.max)
        value = value * real[:, None]
        attended = query @ (key.transpose(1, 2) @ value) / (query @ key.sum(dim=1)[..., None])
        hidden = hidden + linear(f"{name}.0.fn.to_out", attended.transpose(0, 1).flatten(1))
        read = layer_norm(f"{name}.1.norm", hidden)
        widened = functional.gelu(linear(f"{name}.1.fn.fn.w1", read))
        hidden = hidden + linear(f"{name}.1.fn.fn.w2", widened)
    return layer_norm("norm", hidden)[0]


@pytest.mark.parametrize("padding", ["reference", "left-out"])
def test_embedding_is_the_first_token_of_the_performer(model, padding):
    """Nine tokens of padding and none; in one call and one cell a call, a cell that fills its tokens too."""
    filled = 13
    cells = cells_of([*COUNTS, [1, 1, 1, 1]], GENES)
    celllm = model(padding=padding, max_tokens=filled)
    state = torch.load(celllm.checkpoint.files["weights"])["model_state_dict"]
    tokens = celllm.tokenizer(cells, 0).tokenize(np.arange(4))

    def expected(length):
        for row in range(4):
            own = slice(tokens.offsets[row], tokens.offsets[row + 1])
            n_padding = max(length - (own.stop - own.start), 0)
            bins, places = (
                torch.tensor([*part[own].astype(int), *[pad] * n_padding])
                for part, pad in ((tokens.values, PAD), (tokens.ids, 5))
            )
            yield performer(state, bins, places, (bins != PAD).float())

    wanted = torch.stack(list(expected(filled if padding == "reference" else 0))).numpy()
    other = torch.stack(list(expected(0 if padding == "reference" else filled))).numpy()
    for budget in (1, 10_000):
        assert np.allclose(Runner(celllm, cells, 0, CPU).embed(np.arange(4), budget), wanted, atol=2e-5)
    assert np.abs(wanted - other).max() > 1e-2, "padding takes part"
    full = model(padding=padding, max_tokens=5)  # the last cell has as many tokens: no padding is left
    last = Runner(full, cells, 0, CPU).embed(np.array([3]))
    assert np.allclose(last, torch.stack(list(expected(5)))[3:], atol=2e-5)


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_celllm(tmp_path / "w", list(adata.var_names))

    def refused(message):
        with pytest.raises(WeightsError, match=message):
            embedding.embed(adata, "celllm", weights=folder, settings=CPU)

    embedded = embedding.run(adata, "celllm", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 12) and embedded.checks["passed"].all()
    (folder / "gene_list.txt").write_text("\n".join(adata.var_names[:-1]))
    refused("has 149 names, the model reads 150")
    state = torch.load(folder / "checkpoint4_fixed.pth")["model_state_dict"]
    seven = state | {"token_emb.weight": state["token_emb.weight"][:-1]}
    torch.save({"model_state_dict": seven}, folder / "checkpoint4_fixed.pth")
    refused("has 7 tokens and heads of 8 in a width of 16: expected 8 tokens")
    torch.save({"model_state_dict": {"a": torch.ones(2)}}, folder / "checkpoint4_fixed.pth")
    refused("it is not a checkpoint of CellLM")
    with pytest.raises(ValueError, match="reference or left-out"):
        CellLm(padding="attended")
    with pytest.raises(ValueError, match="cls and a gene need 2"):
        CellLm(max_tokens=1)
