"""Geneformer against the reference: tokens, hidden states, embeddings, logits; what is refused."""

import json
import pickle
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from released import PARITY, ensembl_ids, write_geneformer
from safetensors.torch import load_file, save_file
from scipy import sparse

from zeroshot import catalog, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.metrics.reconstruction import mean_rank_correlation, rank_correlation
from zeroshot.models import Cells, weights
from zeroshot.models.geneformer import Geneformer, nonzero_medians
from zeroshot.models.weights import WeightsError
from zeroshot.tokens.genes import GeneOverlapError
from zeroshot.tokens.sequences import Tokens

SHARED = Path(__file__).resolve().parents[2] / "shared"
REFERENCE = PARITY / "geneformer"

CPU = Settings(device="cpu")
DICTIONARIES = {
    "token_dictionary": "token_dictionary",
    "gene_median_dictionary": "gene_median_dictionary",
    "ensembl_mapping_dict": "ensembl_mapping_dict",
}


# -- parity with the reference


@pytest.fixture(scope="module", params=["v1", "v2"])
def case(request, tmp_path_factory):
    """One version of the reference: its numbers, and its files as a released folder."""
    version = request.param
    known = json.loads((REFERENCE / "case.json").read_text())[version]
    arrays = {
        key.removeprefix(f"{version}_"): values
        for key, values in np.load(REFERENCE / "arrays.npz").items()
        if key.startswith(version)
    }
    folder = tmp_path_factory.mktemp(version)
    shutil.copy(REFERENCE / f"{version}_config.json", folder / "config.json")
    shutil.copy(REFERENCE / f"{version}_pytorch_model.bin", folder / "pytorch_model.bin")
    for key, name in DICTIONARIES.items():
        (folder / f"{name}_gc.pkl").write_bytes(pickle.dumps(known[key]))
    name = {"v1": "geneformer-v1-10m", "v2": "geneformer-v2-104m"}[version]
    counts = sparse.csr_matrix(arrays["counts"])
    names = pd.Index([f"cell{row}" for row in range(counts.shape[0])])
    cells = Cells(counts, pd.Index(known["columns"]), names, arrays["n_counts"])
    return version, known, arrays, weights.find(catalog.model(name), folder), cells


def test_tokens(case):
    _, known, _, checkpoint, cells = case
    model = Geneformer(checkpoint=checkpoint, max_tokens=known["model_input_size"])
    tokens = model.tokenizer(cells, 0).tokenize(np.arange(len(cells.ids)))
    found = [tokens.ids[a:b].tolist() for a, b in zip(tokens.offsets, tokens.offsets[1:], strict=False)]
    assert found == known["expected_input_ids"]
    assert tokens.lengths.tolist() == known["expected_length"]
    room = known["model_input_size"] - 2 * known["special_token"]
    assert tokens.left_out.tolist() == [
        max(len(row) - room, 0) for row in known["expected_ranked_tokens_uncropped"]
    ]


def test_hidden_states_and_logits(case):
    _, _, arrays, checkpoint, cells = case
    network = Geneformer(checkpoint=checkpoint).network(cells, 0)
    ids = torch.from_numpy(arrays["batch_input_ids"])
    real = torch.from_numpy(arrays["batch_attention_mask"]).bool()
    depths = [key for key in arrays if key.startswith("hidden_")]
    assert len(depths) == len(network.encoder.layers) + 1
    with torch.inference_mode():
        for depth in range(len(depths)):
            found = network.hidden(ids, real.sum(1), depth).numpy()
            assert np.allclose(found[real], arrays[f"hidden_{depth}"][real], atol=2e-5)
        logits = network.logits(ids, real.sum(1)).numpy()
    assert np.allclose(logits[real], arrays["logits"][real], atol=2e-5)
    assert (logits.argmax(-1) == arrays["logits_argmax"])[real].all()


def test_embeddings(case):
    version, _, arrays, checkpoint, cells = case
    found = 0
    for pooling, name in (("mean", "cell"), ("cls", "cls")):
        for layer in (-1, 0):
            expected = arrays.get(f"emb_{name}_layer{layer}")
            if expected is None:
                continue
            model = Geneformer(checkpoint=checkpoint, layer=layer, pooling=pooling)
            for budget in (1, 60, 10_000):
                embedded = Runner(model, cells, 0, CPU).embed(np.arange(len(cells.ids)), budget)
                assert np.allclose(embedded, expected, atol=2e-5)
            found += 1
    assert found == {"v1": 2, "v2": 4}[version]


def test_safetensors_hold_the_same(case, tmp_path):
    """Without the three old entries, and under the names that transformers writes now."""
    _, known, arrays, checkpoint, cells = case
    state = torch.load(checkpoint.files["weights"], weights_only=True)
    file = tmp_path / "model.safetensors"
    save_file({key: state[key].contiguous() for key in known["safetensors_keys"]}, file)
    other = replace(checkpoint, files={**checkpoint.files, "weights": file})
    embedded = Runner(Geneformer(checkpoint=other), cells, 0, CPU).embed(np.arange(len(cells.ids)))
    assert np.allclose(embedded, arrays["emb_cell_layer-1"], atol=2e-5)


def test_rank_correlation_of_the_paper(case):
    version, _, _, checkpoint, cells = case
    if version == "v2":
        pytest.skip("the paper had V1 only")
    known = json.loads((REFERENCE / "v1_rank_correlation.json").read_text())
    runner = Runner(Geneformer(checkpoint=checkpoint), cells, 0, CPU)
    tokens = runner.tokenizer.tokenize(np.array(known["cells"]))
    ids, lengths = torch.from_numpy(tokens.pad(0)[0]), torch.from_numpy(tokens.lengths)
    with torch.inference_mode():
        best = runner.network.logits(ids, lengths).argmax(-1).numpy()
    outputs = best[np.arange(ids.shape[1]) < tokens.lengths[:, None]]
    found = rank_correlation(tokens.ids, outputs, tokens.offsets)
    baseline = mean_rank_correlation(tokens.ids, outputs, tokens.offsets)
    assert np.allclose(found, known["correlation"], atol=1e-6)
    assert np.allclose(baseline, known["mean_correlation"], atol=1e-6)


# -- on a small released folder


@pytest.fixture(scope="module")
def adata():
    return contract(simulate_atlas(n_cells=120, n_genes=150, n_batches=1, seed=3), name="atlas")


@pytest.fixture(scope="module", params=[False, True], ids=["v1", "v2"])
def folder(request, adata, tmp_path_factory):
    return write_geneformer(tmp_path_factory.mktemp("weights"), adata.var_names, special=request.param)


def find(folder):
    return weights.find(catalog.model("geneformer-v1-10m"), folder)


def test_pooling_leaves_special_tokens_out(adata, folder):
    cells = Cells.of(adata, with_batches=False)
    model = Geneformer(checkpoint=find(folder))
    runner = Runner(model, cells, 0, CPU)
    tokens = runner.tokenizer.tokenize(np.arange(3))
    for row in range(3):
        alone = tokens.select(np.array([row]))
        ids, lengths = torch.from_numpy(alone.ids[None]), torch.from_numpy(alone.lengths)
        with torch.inference_mode():
            hidden = runner.network.hidden(ids, lengths, 2)[0]
        ends = runner.network.special_ends
        expected = hidden[ends[0] : len(hidden) - ends[1]].mean(0).numpy()
        assert np.allclose(runner.embed(np.array([row])), expected, atol=1e-5)
        without_ends = Runner(replace(model, exclude_ends=True), cells, 0, CPU).embed(np.array([row]))
        assert np.allclose(without_ends, hidden[1:-1].mean(0).numpy(), atol=1e-5)


def test_cell_without_known_genes(adata, folder):
    cells = Cells.of(adata, with_batches=False)
    counts = cells.counts.tolil()
    counts[5] = 0
    cells = cells.with_counts(counts.tocsr())
    runner = Runner(Geneformer(checkpoint=find(folder)), cells, 0, CPU)
    found = runner.embed(np.arange(120))
    assert not found[5].any() and np.isfinite(found).all() and found[4].any()
    assert "1 cells express no gene that the model knows" in runner.tokenizer.notes


def test_ensembl_ids_and_symbols_are_the_same_genes(adata, folder):
    ids = ensembl_ids(adata.var_names)
    other = adata.copy()
    other.var["ensembl_id"] = [f"{ids[symbol]}.7" for symbol in adata.var_names]
    model = Geneformer(checkpoint=find(folder))
    by_symbol, by_id = (Runner(model, Cells.of(data, with_batches=False), 0, CPU) for data in (adata, other))
    assert by_symbol.tokenizer.overlap["rule"].tolist() == ["symbol"]
    assert by_id.tokenizer.overlap["rule"].tolist() == ["version stripped"]
    assert (by_symbol.embed(np.arange(120)) == by_id.embed(np.arange(120))).all()


def test_unknown_genes_are_refused(adata, folder):
    other = adata.copy()
    other.var_names = [f"unknown{number}" for number in range(other.n_vars)]
    cells = Cells.of(other, with_batches=False)
    with pytest.raises(GeneOverlapError, match="Geneformer knows 0 of 150 genes"):
        Geneformer(checkpoint=find(folder)).tokenizer(cells, 0)


def test_real_dictionaries_of_v1(adata):
    """The released dictionaries of V1: most real symbols have a token."""
    source = SHARED / "dictionaries"
    files = {role: next(source.rglob(pattern), None) for role, pattern in {
        "token_dictionary": "token_dictionary*", "gene_medians": "gene_median_dictionary*",
        "gene_names": "gene_name_id_dict*"}.items()}  # fmt: skip
    if None in files.values():
        pytest.skip("the released dictionaries are not at hand")
    config = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8,
              "max_position_embeddings": 2048, "hidden_act": "relu", "layer_norm_eps": 1e-12,
              "initializer_range": 0.02, "special_tokens": False}  # fmt: skip
    model = Geneformer(checkpoint=weights.Checkpoint(files, {}, "here"), architecture=config)
    runner = Runner(model, Cells.of(adata, with_batches=False), 0, CPU)
    assert runner.tokenizer.overlap.set_index("rule").loc["symbol", "share"] > 0.8
    assert len(runner.network.words.weight) == 25_426
    tokens = runner.tokenizer.tokenize(np.arange(120))
    assert tokens.ids.min() >= 2 and tokens.ids.max() < 25_426


# -- what does not belong together is refused


def copy(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_dictionary_of_another_generation(adata, folder, tmp_path):
    mine = copy(folder, tmp_path)
    path = next(mine.glob("token_dictionary*"))
    tokens = dict(list(pickle.loads(path.read_bytes()).items())[:-7])
    path.write_bytes(pickle.dumps(tokens))
    with pytest.raises(WeightsError, match="of different generations of Geneformer"):
        Geneformer(checkpoint=find(mine)).network(Cells.of(adata, with_batches=False), 0)


def test_config_that_lies_about_the_vocabulary(adata, folder, tmp_path):
    """Dictionary and config agree, the tensor does not."""
    mine = copy(folder, tmp_path)
    path = next(mine.glob("token_dictionary*"))
    tokens = dict(list(pickle.loads(path.read_bytes()).items())[:-7])
    path.write_bytes(pickle.dumps(tokens))
    config = json.loads((mine / "config.json").read_text()) | {"vocab_size": len(tokens)}
    (mine / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"word_embeddings.weight is .* expected"):
        Geneformer(checkpoint=find(mine)).network(Cells.of(adata, with_batches=False), 0)


def test_medians_of_another_release(adata, folder, tmp_path):
    mine = copy(folder, tmp_path)
    path = next(mine.glob("gene_median*"))
    medians = dict(list(pickle.loads(path.read_bytes()).items())[3:])
    path.write_bytes(pickle.dumps(medians))
    with pytest.raises(WeightsError, match=r"has no median for 3 genes .* not of the same release"):
        Geneformer(checkpoint=find(mine)).tokenizer(Cells.of(adata, with_batches=False), 0)


def rewrite(folder, pattern, change):
    """Write one of the dictionaries anew."""
    path = next(folder.glob(pattern))
    path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes()))))
    return path


@pytest.mark.parametrize("folder", [False], indirect=True)
def test_dictionaries_that_make_no_sense_are_refused_by_file(adata, folder, tmp_path):
    mine = copy(folder, tmp_path)
    cells = Cells.of(adata, with_batches=False)
    gene = list(ensembl_ids(adata.var_names).values())[7]
    medians = (0, 0.0, -1.5, np.nan, np.inf, -np.inf, True, "3", np.float32(0))
    numbers = (-1, True, 3.0, "3", 10**9, 2**80, np.nan)
    wrong = [
        *[
            ("gene_median*", {gene: value}, f"for {gene}; expected a finite number above 0")
            for value in medians
        ],
        *[("token_dictionary*", {gene: value}, f"{gene}.*Expected a token") for value in numbers],
        ("token_dictionary*", {"<mask>": 5}, "5 for both"),
        ("token_dictionary*", {"": 4}, "does not number its tokens from 0 on"),
        ("gene_name_id*", {adata.var_names[3]: 4}, "expected the name of a gene"),
        ("ensembl_mapping*", {gene: 4.0}, "expected the name of a gene"),
    ]
    for pattern, change, message in wrong:
        original = next(folder.glob(pattern)).read_bytes()
        path = rewrite(mine, pattern, lambda old: old | change)  # noqa: B023 - called at once
        with pytest.raises(WeightsError, match=rf"{path} .*{message}"):
            Geneformer(checkpoint=find(mine)).tokenizer(cells, 0)
        path.write_bytes(original)
    for missing in ("<pad>", "<mask>"):
        path = rewrite(
            mine,
            "token_dictionary*",
            lambda old: {{missing: "other"}.get(k, k): v for k, v in old.items()},  # noqa: B023
        )
        with pytest.raises(WeightsError, match=rf"{path} lacks {missing}"):
            Geneformer(checkpoint=find(mine)).tokenizer(cells, 0)
        path.write_bytes(next(folder.glob("token_dictionary*")).read_bytes())
    path = rewrite(mine, "gene_name_id*", lambda old: {})
    with pytest.raises(WeightsError, match=rf"{path} holds no names of genes"):
        Geneformer(checkpoint=find(mine)).tokenizer(cells, 0)
    path.write_bytes(next(folder.glob("gene_name_id*")).read_bytes())
    # A name without an id is a missing value of the dictionary, not a damaged one.
    rewrite(mine, "gene_name_id*", lambda old: old | {"unknown": np.nan})
    assert Geneformer(checkpoint=find(mine)).tokenizer(cells, 0)


def drop(state, part):
    return {key: value for key, value in state.items() if part not in key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            partial(drop, part="layer.1.attention.self.key.weight"),
            r"missing bert\.encoder\.layer\.1\.attention\.self\.qkv\.weight",
        ),
        (partial(drop, part="layer.2."), r"missing bert\.encoder\.layer\.2\."),
        (partial(drop, part="cls.predictions"), "missing head"),
        (lambda state: state | {"bert.encoder.layer.0.adapter.weight": torch.ones(2)}, "unexpected bert.enc"),
        (lambda state: state | {"cls.predictions.decoder.weight": torch.ones(2, 2)}, "output embedding of"),
        (
            lambda state: state | {"bert.encoder.layer.0.attention.self.key.weight": torch.eye(16).long()},
            "different shape or kind for bert.encoder.layer.0",
        ),
        (lambda state: state | {"cls.predictions.bias": state["cls.predictions.bias"] + torch.nan}, "NaN"),
    ],
)  # fmt: skip
def test_no_weight_stays_random(adata, folder, tmp_path, change, message):
    mine = copy(folder, tmp_path)
    save_file(change(load_file(mine / "model.safetensors")), mine / "changed.safetensors")
    shutil.move(mine / "changed.safetensors", mine / "model.safetensors")
    with pytest.raises(WeightsError, match=message):
        Geneformer(checkpoint=find(mine)).network(Cells.of(adata, with_batches=False), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "tanh"}, "absolute positions with relu or gelu"),
        ({"position_embedding_type": "relative_key"}, "absolute positions with relu or gelu"),
        ({"model_type": "gpt2"}, "does not describe a BERT"),
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"hidden_size": "16"}, "hidden_size is '16', expected a whole number"),
        ({"hidden_size": True}, "hidden_size is True, expected a whole number"),
        ({"hidden_size": 15}, "which do not divide its hidden_size, 15"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, expected .* from 1 to 512"),
        ({"intermediate_size": 10**40}, "intermediate_size is a number of more than 30 digits"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps is -1.0"),
        ({"pad_token_id": 3}, "<pad> is token 0 .*, and 3 in the config"),
        ({"is_decoder": True}, "does not describe a BERT encoder"),
    ],
)
def test_config_that_asks_for_something_else(adata, folder, tmp_path, change, message):
    mine = copy(folder, tmp_path)
    config = json.loads((mine / "config.json").read_text()) | change
    (mine / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    with pytest.raises(WeightsError, match=message):
        Geneformer(checkpoint=find(mine)).network(Cells.of(adata, with_batches=False), 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer": -4}, "layer -4 does not exist in a model of 3"),
        ({"layer": 1}, "layer 1 does not exist"),
        ({"max_tokens": 65}, "max_tokens is 65; this model has positions for 3 to 64"),
    ],
)
def test_parameters_that_the_model_has_not(adata, folder, given, message):
    with pytest.raises(WeightsError, match=message):
        Runner(Geneformer(checkpoint=find(folder), **given), Cells.of(adata, with_batches=False), 0, CPU)


def test_parameters_that_contradict_each_other(adata, tmp_path):
    folder = write_geneformer(tmp_path, adata.var_names, special=False)
    with pytest.raises(WeightsError, match="the vocabulary has no <cls>"):
        Geneformer(checkpoint=find(folder), pooling="cls").network(Cells.of(adata, with_batches=False), 0)
    with pytest.raises(ValueError, match="unknown pooling 'max'"):
        Geneformer(checkpoint=find(folder), pooling="max")
    with pytest.raises(ValueError, match="vocabulary is released"):
        Geneformer(checkpoint=find(folder), vocabulary="data-set")


# -- untrained


def test_medians_are_those_of_numpy():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.6, (40, 12)).astype(float)
    counts[:, [3, 11]] = 0
    size = counts.sum(axis=1) + 5
    scaled = counts / size[:, None] * 10_000
    expected = [np.median(column[column > 0]) if column.any() else 1 for column in scaled.T]
    assert np.allclose(nonzero_medians(sparse.csr_matrix(counts), size), expected)


def test_untrained_weights_are_those_of_a_new_bert(adata):
    card = catalog.model("geneformer-v1-10m-untrained")
    network = Geneformer(architecture=card.architecture, vocabulary="data-set").network(
        Cells.of(adata, with_batches=False), 0
    )
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            assert abs(parameter.std() - 0.02) < 0.002 and abs(parameter.mean()) < 0.003, name
        else:
            assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
    assert not network.words.weight[0].any()
    n_genes = adata.n_vars + 2
    assert sum(p.numel() for p in network.parameters()) == 10_288_722 - (25_426 - n_genes) * 257


def test_untrained_genes_are_drawn_by_name(adata):
    """Another order of the genes changes the order of ties alone."""
    order = np.random.default_rng(0).permutation(adata.n_vars)
    model = Geneformer(
        architecture=catalog.model("geneformer-v1-10m-untrained").architecture, vocabulary="data-set"
    )
    first, other = (
        model.network(Cells.of(data, with_batches=False), 4).words.weight.detach()
        for data in (adata, adata[:, order].copy())
    )
    assert torch.equal(first[2:][order], other[2:]) and torch.equal(first[:2], other[:2])


def test_global_generator_is_left_alone(adata):
    before = torch.get_rng_state()
    embedding.embed(adata[:5].copy(), "geneformer-v1-10m-untrained")
    assert torch.equal(torch.get_rng_state(), before)


def test_masked_tokens_are_ordinary_input(adata, folder):
    """A mask changes what the network says at the place it hides."""
    runner = Runner(Geneformer(checkpoint=find(folder)), Cells.of(adata, with_batches=False), 0, CPU)
    tokens = runner.tokenizer.tokenize(np.arange(1))
    place = runner.network.special_ends[0] + 2
    hidden = tokens.ids.copy()
    hidden[place] = runner.network.mask
    given = [Tokens(ids, None, tokens.offsets, tokens.left_out).pad(0)[0] for ids in (tokens.ids, hidden)]
    lengths = torch.from_numpy(tokens.lengths)
    with torch.inference_mode():
        before, after = (runner.network.logits(torch.from_numpy(ids), lengths)[0, place] for ids in given)
    assert not torch.allclose(before, after, atol=1e-3)
