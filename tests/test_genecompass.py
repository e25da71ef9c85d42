"""GeneCompass from its specification: ranks with values by hand, the network, padding, layouts."""

import json
import pickle

import numpy as np
import pytest
import torch
from released import GENECOMPASS_CONFIG, cells_of, write_genecompass

from zeroshot import catalog, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.genecompass import GeneCompass, rank_with_values, relative_values
from zeroshot.models.weights import WeightsError

CPU = Settings(device="cpu")
GENES = [f"G{number}" for number in range(12)]


@pytest.fixture
def model(tmp_path):
    folder = write_genecompass(tmp_path / "w", GENES)
    return lambda **given: GeneCompass(
        checkpoint=weights.find(catalog.model("genecompass-small"), folder), **given
    )


@pytest.fixture(scope="module")
def cells():
    return cells_of(np.random.default_rng(0).poisson(1.5, (4, 12)), GENES)


def test_ranks_and_values_by_hand():
    """log2 of 1 + counts over the median, not of counts per depth; equal values in the order of the genes."""
    counts = cells_of([[6, 1, 0, 3], [0, 14, 7, 0], [0, 0, 0, 0]], list("abcd")).counts
    values = relative_values(counts, np.array([2.0, 1.0, 0.5, 1.0]))
    assert values.toarray().tolist() == [[2, 1, 0, 2], [0, np.log2(15), np.log2(15), 0], [0, 0, 0, 0]]
    tokens = rank_with_values(values, np.array([10, 11, 12, 13]), 3)
    assert tokens.ids.tolist() == [10, 13, 11, 11, 12] and tokens.lengths.tolist() == [3, 2, 0]
    assert tokens.values.tolist() == [2, 2, 1, np.float32(np.log2(15)), np.float32(np.log2(15))]
    cut = rank_with_values(values, np.array([10, 11, 12, 13]), 1)
    assert cut.ids.tolist() == [10, 11] and cut.left_out.tolist() == [2, 1, 0]


def test_padding_is_attended_to_up_to_the_longest_input_or_left_out(model, cells):
    expressed = np.diff(cells.counts.indptr)
    upstream, fixed = (model(padding=padding).tokenizer(cells, 0) for padding in ("attended", "masked"))
    ids, values = upstream.tokenize(np.arange(4)).pad(0)
    assert ids.shape == (4, 64) and ((ids > 0).sum(axis=1) == expressed).all()
    assert ((values > 0) == (ids > 0)).all()
    assert (fixed.tokenize(np.arange(4)).lengths == expressed).all()
    ours, theirs = (
        Runner(model(padding=padding), cells, 0, CPU).embed(np.arange(4))
        for padding in ("masked", "attended")
    )
    assert np.abs(ours - theirs).max() > 1e-3


@pytest.mark.parametrize(("species", "number"), [("human", 0), ("mouse", 1)])
def test_embedding_restated_and_read_by_bert(model, cells, species, number):
    """The formulas of the specification written out, then transformers' encoder."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertEncoder

    own = model(species=species, padding="masked")
    state = torch.load(own.checkpoint.files["weights"])
    part = lambda name: state[f"bert.embeddings.{name}"]  # noqa: E731
    linear = lambda name, given: given @ part(f"{name}.weight").T + part(f"{name}.bias")  # noqa: E731

    def layer_norm(given, name, eps):
        return torch.nn.functional.layer_norm(given, (16,), part(f"{name}.weight"), part(f"{name}.bias"), eps)

    shared = {name: GENECOMPASS_CONFIG[name] for name in ("hidden_size", "num_hidden_layers", "hidden_act",
              "num_attention_heads", "intermediate_size", "layer_norm_eps")}  # fmt: skip
    encoder = BertEncoder(BertConfig(**shared, attn_implementation="eager")).eval()
    prefix = "bert.encoder."
    encoder.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    expected = []
    for row in range(4):
        tokens = own.tokenizer(cells, 0).tokenize(np.array([row]))
        ids, values = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.values)
        known = part("homologous_index")[ids] if species == "mouse" else ids
        read = [linear(f"{name}_embeddings.linear1", part(f"{name}_knowledge")[known])
                for name in ("promoter", "co_exp", "gene_family", "peca_grn")]  # fmt: skip
        joined = torch.cat([part("word_embeddings.weight")[ids], values[:, None], *read], dim=1)
        joined = layer_norm(linear("concat_embeddings.cat_fc", joined), "concat_embeddings.cat_ln", 1e-5)
        joined = linear("concat_embeddings.cat_proj", joined * torch.sigmoid(1.702 * joined))
        places = part("position_embeddings.weight")[: len(ids)]
        joined = layer_norm(joined + part("token_type_embeddings.weight")[0] + places, "LayerNorm", 1e-12)
        first = state["bert.cls_embedding.weight"][number][None]
        with torch.inference_mode():
            expected.append(encoder(torch.cat([first, joined])[None])[0][0, 0])
    for budget in (1, 10_000):
        found = Runner(own, cells, 0, CPU).embed(np.arange(4), budget)
        assert np.allclose(found, torch.stack(expected), atol=2e-5)


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_genecompass(tmp_path / "w", list(adata.var_names))

    def refused(message, **given):
        with pytest.raises(WeightsError, match=message):
            embedding.run(adata, "genecompass-base", weights=folder, settings=CPU, **given)

    embedded = embedding.run(adata, "genecompass-base", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    refused("has positions for 1 to 64 genes", parameters={"max_tokens": 65})
    medians = folder / "human_gene_median_after_filter.pickle"
    content = medians.read_bytes()
    for others in ({}, {"ensg00000000001": 2.0}):  # every gene would count as one with the median 1
        medians.write_bytes(pickle.dumps(others))
        refused(r"after_filter\.pickle has a median for none of \d+ genes")
    medians.write_bytes(content)
    state = torch.load(folder / "pytorch_model.bin")
    table = "bert.embeddings.peca_grn_knowledge"
    torch.save(state | {table: state[table][:-1]}, folder / "pytorch_model.bin")
    refused(r"tables of knowledge for \[151, 152\] tokens: expected as many as the model has words, 152")
    torch.save({key: part for key, part in state.items() if key != table}, folder / "pytorch_model.bin")
    refused("lacks bert.embeddings.peca_grn_knowledge: it is not a checkpoint of GeneCompass")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"use_values": False}))
    refused("has use_values False: this network reads values")
    with pytest.raises(ValueError, match="unknown species 'rat': human or mouse"):
        GeneCompass(species="rat")
