"""Tahoe-x1 from its specification: bins by hand, torch's own layers, names of tensors; what is refused."""

import json

import numpy as np
import pytest
import torch
import yaml
from released import cells_of
from released_values import TAHOE_CONFIG, write_tahoe
from safetensors.torch import load_file, save_file
from scipy import sparse

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.tahoe import Tahoe, left_bins
from zeroshot.models.weights import WeightsError

CPU = Settings(device="cpu")
GENES = ["CD74", "LYZ", "NKG7", "FTL"]
COUNTS = [[1, 9, 0, 5], [0, 7, 0, 0], [0, 0, 0, 0]]


@pytest.fixture
def checkpoint(tmp_path):
    folder = write_tahoe(tmp_path / "w", GENES)
    inside = folder / "70m-model"
    names = {"config": "model_config.yml", "weights": "model.safetensors", "vocabulary": "vocab.json"}
    files = {role: inside / name for role, name in names.items()}
    files["gene_names"] = folder / "gene_name_id_dict_gc104M.pkl"
    return weights.Checkpoint(files, {}, "this test")


def test_bins_by_hand():
    """Edges of 1, 2, 3, 10 in thirds: 1, 2, 3, 10. Of equal values one edge value, none of them below it."""
    counts = sparse.csr_matrix(np.array([[1, 0, 2, 3, 10], [4, 4, 0, 4, 0], [0, 0, 0, 0, 7]], float))
    assert left_bins(counts, 5).toarray().tolist() == [[1, 0, 2, 3, 4], [1, 1, 0, 1, 0], [0, 0, 0, 0, 1]]
    spread = sparse.csr_matrix(np.arange(1.0, 101)[None])
    assert left_bins(spread, 51).data.min() == 1 and left_bins(spread, 51).data.max() == 50


def test_tokens_by_hand(checkpoint):
    tokenizer = Tahoe(checkpoint=checkpoint).tokenizer(cells_of(COUNTS, GENES), 0)
    tokens = tokenizer.tokenize(np.array([1, 0, 2]))
    assert tokens.ids.tolist() == [5, 2, 5, 1, 2, 4, 5] and tokens.lengths.tolist() == [2, 4, 1]
    assert tokens.values.tolist() == [-2, 1, -2, 1, 50, 26, -2]
    assert tokenizer.notes == ("1 cells express no gene that the model knows",)
    few = Tahoe(checkpoint=checkpoint, max_tokens=3).tokenizer(cells_of(COUNTS, GENES), 0)
    assert few.tokenize(np.array([0])).left_out.tolist() == [1]


def test_embedding_is_that_of_torchs_own_layers(checkpoint):
    """A pre-norm encoder of torch with these weights, over the tokens of one cell at a time."""
    state = load_file(checkpoint.files["weights"])
    dim, heads = TAHOE_CONFIG["d_model"], TAHOE_CONFIG["n_heads"]
    layer = torch.nn.TransformerEncoderLayer(
        dim, heads, 2 * dim, 0, "relu", batch_first=True, norm_first=True
    )
    encoder = torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(dim), enable_nested_tensor=False)
    names = {"self_attn.in_proj_": "self_attn.Wqkv.", "linear1": "up_proj", "linear2": "down_proj"}

    def released(name: str) -> str:
        for native, other in names.items():
            name = name.replace(native, other)
        return f"model.transformer_encoder.{name}"

    encoder.load_state_dict({name: state[released(name)] for name in encoder.state_dict()})

    def part(name: str, read: torch.Tensor) -> torch.Tensor:
        weight, bias = state[f"model.{name}.weight"], state[f"model.{name}.bias"]
        if "norm" in name:
            return torch.nn.functional.layer_norm(read, (dim,), weight, bias)
        return read @ weight.T + bias

    expected = []
    for ids, values in (([5, 1, 2, 4], [-2, 1, 50, 26]), ([5, 2], [-2, 1]), ([5], [-2])):
        genes = part("gene_encoder.enc_norm", state["model.gene_encoder.embedding.weight"][ids])
        first = part("expression_encoder.linear1", torch.tensor(values, dtype=torch.float32)[:, None])
        bins = part("expression_encoder.norm", part("expression_encoder.linear2", first.relu()))
        with torch.inference_mode():
            expected.append(torch.nn.functional.normalize(encoder.eval()((genes + bins)[None])[0, 0], dim=0))
    runner = Runner(Tahoe(checkpoint=checkpoint), cells_of(COUNTS, GENES), 0, CPU)
    for budget in (1, 10_000):
        assert np.allclose(runner.embed(np.arange(3), budget), torch.stack(expected), atol=2e-5)


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_tahoe(tmp_path / "w", list(adata.var_names))
    inside = folder / "70m-model"

    def refused(message):
        with pytest.raises(WeightsError, match=message):
            embedding.embed(adata, "tahoe-x1-70m", weights=folder, settings=CPU)

    embedded = embedding.run(adata, "tahoe-x1-70m", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    state = load_file(inside / "model.safetensors")
    save_file(state | {"model.gate_proj.weight": torch.ones(1)}, inside / "model.safetensors")
    refused(r"unexpected model.gate_proj.weight \(1,\)")
    save_file(state, inside / "model.safetensors")
    for change, message in (
        ({"norm_scheme": "post"}, "asks for norm_scheme 'post'"),
        ({"transformer_activation": "silu"}, "asks for transformer_activation 'silu'"),
        ({"n_heads": 3}, "do not divide"),
        ({"d_model": None}, "d_model"),
    ):
        (inside / "model_config.yml").write_text(yaml.safe_dump(TAHOE_CONFIG | change))
        refused(message)
    (inside / "model_config.yml").write_text("- 1")
    refused("is not YAML with fields")
    (inside / "model_config.yml").write_text(yaml.safe_dump(TAHOE_CONFIG))
    vocabulary = json.loads((inside / "vocab.json").read_text())
    (inside / "vocab.json").write_text(json.dumps(vocabulary | {"more": len(vocabulary)}))
    refused("the vocabulary has 154 tokens, the model 153")
    with pytest.raises(ValueError, match="vocabulary is released"):
        Tahoe(vocabulary="data-set")
    with pytest.raises(ValueError, match="max_tokens is 1"):
        Tahoe(max_tokens=1)
