"""TranscriptFormer from its specification: tokens by hand, cell by cell attention; what is refused."""

import json

import numpy as np
import pytest
import torch
from released import cells_of
from released_values import TRANSCRIPTFORMER_CONFIG, write_transcriptformer

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.transcriptformer import TranscriptFormer
from zeroshot.models.weights import WeightsError

CPU = Settings(device="cpu")
GENES = ["CD74", "LYZ", "NKG7", "FTL"]  # tokens 7 to 10 of the model, in its order
COLUMNS = ["FTL", "CD74", "HLA-A", "LYZ"]  # HLA-A is unknown
COUNTS = [[50, 2, 9, 3], [0, 0, 1, 4], [0, 0, 0, 0]]
START = 1


@pytest.fixture
def checkpoint(tmp_path):
    return checkpoint_of(tmp_path / "w")


def checkpoint_of(folder, **changes) -> weights.Checkpoint:
    write_transcriptformer(folder, GENES, **changes)
    names = {"config": "config.json", "weights": "model_weights.pt",
             "vocabulary": "vocabs/homo_sapiens_gene.h5", "assays": "vocabs/assay_vocab.json",
             "gene_names": "gene_name_id_dict_gc104M.pkl"}  # fmt: skip
    return weights.Checkpoint({role: folder / name for role, name in names.items()}, {}, "this test")


def tokens_of(model: TranscriptFormer, rows=(0, 1, 2)):
    return model.tokenizer(cells_of(COUNTS, COLUMNS), 0).tokenize(np.array(rows))


def test_tokens_by_hand(checkpoint, tmp_path):
    """Genes in the order of the columns, clipped at 30; [START] in front, with the count 1."""
    tokens = tokens_of(TranscriptFormer(checkpoint=checkpoint))
    assert tokens.ids.tolist() == [START, 10, 7, 8, START, 8, START] and tokens.lengths.tolist() == [4, 2, 1]
    assert tokens.values.tolist() == [1, 30, 2, 3, 1, 4, 1]
    ordered = tokens_of(TranscriptFormer(checkpoint=checkpoint, order="vocabulary"))
    assert ordered.ids.tolist() == [START, 7, 8, 10, START, 8, START]
    short = tokens_of(TranscriptFormer(checkpoint=checkpoint_of(tmp_path / "short", seq_len=3)))
    assert short.ids.tolist() == [START, 10, 7, START, 8, START] and short.left_out.tolist() == [1, 0, 0]


def reference(state, ids: list[int], counts: list[float], assay: int | None) -> torch.Tensor:
    """One cell, one head and one query at a time."""
    norm = torch.nn.functional.layer_norm
    dim, heads = TRANSCRIPTFORMER_CONFIG["embed_dim"], TRANSCRIPTFORMER_CONFIG["num_heads"]
    part = {name.removeprefix("gene_embeddings.mlp.layers."): value for name, value in state.items()}
    read = (state["gene_embeddings.embedding.weight"][ids] @ part["0.weight"].T + part["0.bias"]).relu()
    hidden = norm(read, (dim,), part["2.weight"], part["2.bias"]) @ part["4.weight"].T + part["4.bias"]
    if assay is not None:
        hidden = torch.cat([state["aux_embeddings.assay.weight"][[assay]], hidden])
        counts = [1, *counts]
    bias = torch.log1p(torch.tensor(counts) + 1e-6)
    for layer in range(TRANSCRIPTFORMER_CONFIG["num_layers"]):
        prefix = f"transformer_encoder.encoder_layers.{layer}."
        of = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        read = norm(hidden, (dim,), of["norm1.weight"], of["norm1.bias"])
        query, key, value = (
            (read @ of[f"self_attn.linears.{n}.weight"].T).reshape(len(read), heads, -1) for n in range(3)
        )
        rows = torch.empty(len(read), heads, dim // heads)
        for place in range(len(read)):
            for head in range(heads):
                before = key[: place + 1, head] @ query[place, head] / (dim // heads) ** 0.5
                scores = 10 * torch.tanh((before + bias[: place + 1]) / 10)
                rows[place, head] = scores.softmax(0) @ value[: place + 1, head]
        read = rows.reshape(len(read), dim) @ of["self_attn.linears.3.weight"].T + read
        read = norm(read, (dim,), of["norm2.weight"], of["norm2.bias"])
        wide = torch.nn.functional.gelu(read @ of["linear1.weight"].T)
        hidden = wide @ of["linear2.weight"].T + read
    return hidden[int(assay is not None) :].sum(0) / TRANSCRIPTFORMER_CONFIG["seq_len"]


@pytest.mark.parametrize(("assay", "number"), [(None, None), ("unknown", None), ("CEL", 2)])
def test_embedding_is_that_of_one_cell_at_a_time(checkpoint, assay, number):
    state = torch.load(checkpoint.files["weights"])
    sequences = [([START, 10, 7, 8], [1, 30, 2, 3]), ([START, 8], [1, 4]), ([START], [1])]
    expected = torch.stack([reference(state, ids, counts, number) for ids, counts in sequences])
    model = TranscriptFormer(checkpoint=checkpoint, assay=assay)
    runner = Runner(model, cells_of(COUNTS, COLUMNS), 0, CPU)
    for budget in (1, 10_000):
        assert np.allclose(runner.embed(np.arange(3), budget), expected, atol=2e-5)


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_transcriptformer(tmp_path / "w", list(adata.var_names))

    def refused(message, **parameters):
        with pytest.raises(WeightsError, match=message):
            embedding.run(
                adata, "transcriptformer-sapiens", weights=folder, settings=CPU, parameters=parameters
            )

    embedded = embedding.run(adata, "transcriptformer-sapiens", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    refused("has no assay 'CITE'", assay="CITE")
    state = torch.load(folder / "model_weights.pt")
    torch.save(state | {"head.weight": torch.ones(1)}, folder / "model_weights.pt")
    refused(r"unexpected head.weight \(1,\)")
    torch.save({"a": torch.ones(1)}, folder / "model_weights.pt")
    refused("it is not a TranscriptFormer")
    for change, message in (
        ({"attn_bias": True}, "asks for attn_bias True"),
        ({"num_heads": 3}, "do not divide"),
        ({"seq_len": 1}, "seq_len"),
    ):
        content = {"model_config": TRANSCRIPTFORMER_CONFIG | change, "data_config": {}}
        (folder / "config.json").write_text(json.dumps({"model": content}))
        refused(message)
    for content in ("{}", '{"model": 1}', '{"model": "x"}', '{"model": [1]}'):
        (folder / "config.json").write_text(content)
        refused("lacks model_config and data_config")
    for wrong in ({"vocabulary": "data-set"}, {"order": "rank"}, {"clip_counts": 0}):
        with pytest.raises(ValueError, match=r"vocabulary is released|unknown order|counts are positive"):
            TranscriptFormer(**wrong)
