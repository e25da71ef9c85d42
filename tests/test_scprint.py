"""scPRINT from its specification: tokens by hand, torch's own layers, draws; what is refused."""

import numpy as np
import pytest
import torch
from released import cells_of
from released_values import CLASSES, write_scprint

from zeroshot import catalog, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.scprint import CLASSES as AVERAGED
from zeroshot.models.scprint import Scprint, draw_genes
from zeroshot.models.weights import WeightsError
from zeroshot.tokens.tokenizers import cell_keys

CPU = Settings(device="cpu")
GENES = ["A", "B", "C", "D", "E"]
COUNTS = [[3, 0, 1, 0, 0], [0, 7, 7, 0, 1], [0, 0, 0, 0, 0]]


@pytest.fixture
def model(tmp_path):
    def build(facts=None, **given):
        folder = write_scprint(tmp_path / "w", GENES, **(facts or {}))
        return Scprint(checkpoint=weights.find(catalog.model("scprint-medium"), folder), **given)

    return build


def tokens_of(model, cells):
    return model.tokenizer(cells, 0).tokenize(np.arange(3))


@pytest.mark.parametrize(
    ("normalization", "values"),
    [("sum", [0.75, 0.25, 7 / 15, 7 / 15, 1 / 15]), ("log", [2, 1, 3, 3, 1])],
)
def test_expressed_genes_by_hand(model, normalization, values):
    """Depth first, log2(1 + total) over all genes; then genes with their share, or log2(1 + count)."""
    cells = cells_of(COUNTS, GENES, library_size=np.array([7.0, 15.0, 0.0]))
    scprint = model({"normalization": normalization}, genes="expressed")
    tokens = tokens_of(scprint, cells)
    assert tokens.lengths.tolist() == [3, 4, 1]
    gene = np.setdiff1d(np.arange(8), tokens.offsets[:-1])
    assert tokens.ids[gene].tolist() == [0, 2, 1, 2, 4]
    assert np.allclose(tokens.values[gene], values) and tokens.values[[0, 3, 7]].tolist() == [3, 4, 0]
    assert scprint.tokenizer(cells, 0).notes == ("1 cells express no gene that the model knows",)


def test_drawn_genes_are_expressed_ones_first_and_the_same_for_a_cell():
    cells = cells_of(np.random.default_rng(0).poisson(0.4, (150, 60)), list(map(str, range(60))))
    keys, expressed = cell_keys(cells.ids), np.diff(cells.counts.indptr)
    genes, values = draw_genes(cells.counts, keys, 0, 20)
    assert (np.diff(genes) > 0).all(), "without replacement, in order"
    assert (values == np.take_along_axis(cells.counts.toarray(), genes, axis=1)).all()
    assert ((values > 0).sum(axis=1) == np.minimum(expressed, 20)).all()
    order = np.random.default_rng(1).permutation(150)
    assert (draw_genes(cells.counts[order], keys[order], 0, 20)[0] == genes[order]).all()
    assert (draw_genes(cells.counts, keys, 1, 20)[0] != genes).any()
    assert draw_genes(cells.counts, keys, 0, 100)[0].tolist() == [list(range(60))] * 150


@pytest.mark.parametrize("depth", [True, False])
def test_embedding_is_that_of_torchs_own_layers(model, depth):
    """Depth, base and classes before the genes; the mean over four classes after the last norm."""
    scprint, cells = model({"depth_atinput": depth}, genes="expressed"), cells_of(COUNTS, GENES)
    state = torch.load(scprint.checkpoint.files["weights"])["state_dict"]
    dim, functional = 16, torch.nn.functional

    def part(prefix):
        keys = [key for key in state if key.startswith(prefix)]
        return {key.removeprefix(prefix): state[key] for key in keys}

    def number(name, given):
        encoder = torch.nn.Sequential(torch.nn.Linear(1, dim), torch.nn.LayerNorm(dim), torch.nn.ReLU(),
                                      torch.nn.Dropout(), torch.nn.Linear(dim, dim)).eval()  # fmt: skip
        encoder.load_state_dict(part(f"{name}_encoder.encoder."))
        return encoder(given[:, None])

    names = {"mixer.Wqkv.weight": "self_attn.in_proj_weight", "mixer.Wqkv.bias": "self_attn.in_proj_bias"}
    rest = (("mixer.out_proj", "self_attn.out_proj"), ("mlp.fc1", "linear1"), ("mlp.fc2", "linear2"))
    layers = []
    for layer in range(2):
        layers.append(
            torch.nn.TransformerEncoderLayer(
                dim, 2, 4 * dim, activation="gelu", layer_norm_eps=1e-6, norm_first=True, batch_first=True
            ).eval()
        )
        loaded = {}
        for key, value in part(f"transformer.blocks.{layer}.").items():
            renamed = names.get(key, key)
            for theirs, ours in rest:
                renamed = renamed.replace(theirs, ours)
            loaded[renamed] = value
        layers[-1].load_state_dict(loaded)

    expected, tokens = [], tokens_of(scprint, cells)
    with torch.inference_mode():
        for row in range(3):
            own = slice(tokens.offsets[row] + 1, tokens.offsets[row + 1])
            ids, values = torch.from_numpy(tokens.ids[own]), torch.from_numpy(tokens.values[own])
            genes = state["gene_encoder.embeddings.weight"][ids] + state["pos_encoder.pe"][ids, 0]
            first = torch.from_numpy(tokens.values[tokens.offsets[row], None])
            before = [number("depth", first)] if depth else []
            classes = state["class_encoder.embedding.weight"]
            hidden = torch.cat([*before, classes, genes + number("expr", values)])
            for layer in layers:
                hidden = layer(hidden[None])[0]
            norm = part("transformer.norm.")
            hidden = functional.layer_norm(hidden, (dim,), norm["weight"], norm["bias"], 1e-6)
            places = [list(CLASSES).index(name) + 1 + depth for name in AVERAGED]
            expected.append(hidden[places].mean(dim=0))
    for budget in (1, 10_000):
        found = Runner(scprint, cells, 0, CPU).embed(np.arange(3), budget)
        assert np.allclose(found, torch.stack(expected), atol=2e-5)


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    genes = list(adata.var_names)
    folder = write_scprint(tmp_path / "w", genes)

    def refused(message, **given):
        with pytest.raises(WeightsError, match=message):
            embedding.run(adata, "scprint-medium", weights=folder, settings=CPU, **given)

    embedded = embedding.run(adata, "scprint-medium", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    refused("predicts no tissue: choose classes among assay", parameters={"classes": ["tissue"]})
    for facts, message in (
        ({"cell_specific_blocks": True}, "describes another network .cell_specific_blocks True."),
        ({"num_heads_kv": 1}, "num_heads_kv 1"),
        ({"nhead": 3}, "asks for 3 heads in a width of 16"),
        ({"genes": "A"}, "does not name its genes"),
        ({"genes": ["ENSG00000000001"]}, r"knows 1 of 150 genes"),
    ):
        write_scprint(folder, genes, **facts)
        with pytest.raises(ValueError, match=message):
            embedding.embed(adata, "scprint-medium", weights=folder, settings=CPU)
    write_scprint(folder, genes)
    (folder / "gene_name_id_dict_gc104M.pkl").unlink()
    with pytest.raises(ValueError, match="knows 0 of 150 genes"):  # needed for genes without Ensembl id alone
        embedding.embed(adata, "scprint-medium", weights=folder, settings=CPU)
    torch.save({"state_dict": {"a": torch.ones(2)}}, folder / "medium-v1.ckpt")
    refused("it is not a checkpoint of scPRINT")
    with pytest.raises(ValueError, match="drawn or expressed"):
        Scprint(genes="all")
