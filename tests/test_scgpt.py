"""scGPT against the reference: tokens, hidden states, decoders, embeddings; what is refused."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData, read_h5ad
from released import PARITY, write_scgpt
from scipy import sparse
from typer.testing import CliRunner

from zeroshot import catalog, cli, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.metrics import reconstruction
from zeroshot.models import Cells, weights
from zeroshot.models.scgpt import Scgpt
from zeroshot.models.scgpt_decoders import CellDecoder, ExpressionDecoder
from zeroshot.models.weights import WeightsError
from zeroshot.tokens.genes import GeneOverlapError
from zeroshot.tokens.tokenizers import bin_blocks

REFERENCE = PARITY / "scgpt"
CPU = Settings(device="cpu")

# -- parity with the reference


@pytest.fixture(scope="module")
def reference():
    """The reference's numbers, its files as a checkpoint, and its cells."""
    known = json.loads((REFERENCE / "case.json").read_text())
    arrays = dict(np.load(REFERENCE / "arrays.npz"))
    counts = sparse.csr_matrix(arrays["X"])
    names = pd.Index([f"cell{row}" for row in range(counts.shape[0])])
    depth = np.asarray(counts.sum(axis=1)).ravel()
    cells = Cells(counts, pd.Index(known["gene_names"]), names, depth)
    return known, arrays, weights.find(catalog.model("scgpt-human"), REFERENCE), cells


def test_special_tokens_are_appended(reference):
    known, _, checkpoint, cells = reference
    model, special = Scgpt(checkpoint=checkpoint), known["vocab_after_specials"]
    tokenizer = model.tokenizer(cells, 0)
    tokens = tokenizer.tokenize(np.arange(len(cells.ids)))
    assert tokenizer.pad_id == special["<pad>"]
    assert (tokens.ids[tokens.offsets[:-1]] == special["<cls>"]).all()
    assert len(model.network(cells, 0).genes.weight) == known["ntoken"]


def test_tokens(reference):
    _, arrays, checkpoint, cells = reference
    tokenizer = Scgpt(checkpoint=checkpoint, input="as-given").tokenizer(cells, 0)
    ids, values = tokenizer.tokenize(np.arange(len(cells.ids))).pad(tokenizer.pad_id, tokenizer.pad_value)
    assert (ids == arrays["tok_gene"]).all() and (values == arrays["tok_expr"]).all()


@pytest.mark.parametrize("prefix", ["torch", "ms", "msz"])
def test_hidden_states_and_predictions(reference, prefix):
    """embed_data's tokens, the paper's, and the paper's with genes at zero."""
    known, arrays, checkpoint, cells = reference
    names = ("tok_gene", "tok_expr") if prefix == "torch" else (f"{prefix}_genes", f"{prefix}_values")
    ids, values = (torch.from_numpy(arrays[name]) for name in names)
    real = ids != known["vocab_after_specials"]["<pad>"]
    network = Scgpt(checkpoint=checkpoint).network(cells, 0)
    with torch.inference_mode():
        hidden = network.hidden(ids, values.float(), real.sum(1))
        predicted = network.predict(ids, values.float(), real.sum(1))
    for found, name in (
        (hidden, "transformer_output"),
        (predicted["gep"], "gep_mlm_output"),
        (predicted["gepc"], "gepc_mvc_output"),
    ):
        assert np.allclose(found[real].numpy(), arrays[f"{prefix}_{name}"][real.numpy()], atol=2e-5)
    assert np.allclose(hidden[:, 0].numpy(), arrays[f"{prefix}_cell_emb"], atol=2e-5)


def test_parts_of_the_input(reference):
    _, arrays, checkpoint, cells = reference
    network = Scgpt(checkpoint=checkpoint).network(cells, 0)
    with torch.inference_mode():
        values = network.embed_values(torch.from_numpy(arrays["value_encoder_in"]))
        genes = network.embed_genes(torch.from_numpy(arrays["tok_gene"]))
    assert np.allclose(values.numpy(), arrays["value_encoder_out"], atol=2e-5)
    assert np.allclose(genes.numpy(), arrays["gene_encoder_out"], atol=2e-5)


@pytest.mark.parametrize("budget", [1, 70, 10_000])
def test_embedding_is_that_of_embed_data(reference, budget):
    _, arrays, checkpoint, cells = reference
    model = Scgpt(checkpoint=checkpoint, input="as-given")
    found = Runner(model, cells, 0, CPU).embed(np.arange(len(cells.ids)), budget)
    assert np.allclose(found, arrays["embed_data_cell_emb"], atol=2e-5)
    unscaled = Runner(replace(model, l2=False), cells, 0, CPU).embed(np.arange(len(cells.ids)), budget)
    assert np.allclose(unscaled, arrays["torch_cell_emb"], atol=2e-5)


def test_command_line_gives_the_reference_embedding(reference, tmp_path):
    known, arrays, _, cells = reference
    mine = AnnData(cells.counts, pd.DataFrame(index=cells.ids), pd.DataFrame(index=known["gene_names"]))
    mine.write_h5ad(tmp_path / "mine.h5ad")
    output = tmp_path / "embedded.h5ad"
    done = CliRunner().invoke(
        cli.app,
        ["embed", str(tmp_path / "mine.h5ad"), "--model", "scgpt-human", "--weights", str(REFERENCE),
         "--recipe", "upstream", "--output", str(output)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = read_h5ad(output)
    (key,) = found.obsm
    assert list(found.obs_names) == list(cells.ids)
    assert np.allclose(found.obsm[key], arrays["embed_data_cell_emb"], atol=2e-5)


def test_losses_of_the_paper(reference):
    known, arrays, checkpoint, cells = reference
    ids, values = (torch.from_numpy(arrays[name]) for name in ("ms_genes", "ms_values"))
    lengths = (ids != known["vocab_after_specials"]["<pad>"]).sum(1)
    with torch.inference_mode():
        predicted = Scgpt(checkpoint=checkpoint).network(cells, 0).predict(ids, values.float(), lengths)
    target = values.numpy()[:, 1:]
    predictions = {
        "mlm_output": predicted["gep"].numpy()[:, 1:],
        "mvc_output": predicted["gepc"].numpy()[:, 1:],
        "mean": reconstruction.grand_mean(target),
    }
    for name, values_ in predictions.items():
        found = reconstruction.value_errors(values_, target, target > 0, relative_to="prediction")
        for error in ("MSE", "MAE", "MRE"):
            expected = known["seed_paper_losses"][name][error]
            assert found[error.lower()] == pytest.approx(expected, rel=1e-4), (name, error)


@pytest.mark.parametrize("spelling", ["in_proj_", "_impl.Wqkv."])
def test_other_spellings_of_attention(reference, tmp_path, spelling):
    known, arrays, checkpoint, cells = reference
    state = torch.load(checkpoint.files["weights"], weights_only=True)
    renamed = {
        key.replace("self_attn.Wqkv.", f"self_attn.{spelling}").replace(
            "self_attn.out_proj", "self_attn._impl.out_proj" if "_impl" in spelling else "self_attn.out_proj"
        ): value
        for key, value in state.items()
    }
    if spelling == "in_proj_":
        absent = set(known["torch_backend_keys"]) - set(renamed)
        assert all(key.startswith("cls_decoder.") for key in absent)
    torch.save(renamed, tmp_path / "best_model.pt")
    other = replace(checkpoint, files={**checkpoint.files, "weights": tmp_path / "best_model.pt"})
    found = Runner(Scgpt(checkpoint=other), cells, 0, CPU).embed(np.arange(len(cells.ids)))
    assert np.allclose(found, arrays["embed_data_cell_emb"], atol=2e-5)


STYLES = ["inner product", "inner product, detach", "concat query", "sum query",
          "inner product + explicit_zero_prob", "ExprDecoder + explicit_zero_prob"]  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_decoders(style):
    known = torch.load(REFERENCE / "decoder_styles.pt", weights_only=True)
    given, case = known["inputs"], known[style]
    zeros = style.endswith("explicit_zero_prob")
    dim = given["cell_emb"].shape[1]
    if style.startswith("Expr"):
        decoder, inputs = ExpressionDecoder(dim, zeros=zeros), (given["transformer_output"],)
    else:
        kind = "inner product" if style.startswith("inner") else style
        decoder, inputs = CellDecoder(dim, kind, zeros=zeros), (given["cell_emb"], given["gene_embs"])
    weights.load_state(decoder, case["state"])
    with torch.inference_mode():
        found = decoder(*inputs)
    assert torch.allclose(found["value"], case["out"], atol=2e-5)
    assert ("zero_probability" in found) == zeros
    if zeros:
        assert torch.allclose(found["zero_probability"], case["zero_probs"], atol=2e-5)


# -- on a small released folder


@pytest.fixture(scope="module")
def adata():
    return contract(simulate_atlas(n_cells=120, n_genes=150, n_batches=1, seed=3), name="atlas")


@pytest.fixture(scope="module")
def folder(adata, tmp_path_factory):
    return write_scgpt(tmp_path_factory.mktemp("weights"), adata.var_names)


def find(folder):
    return weights.find(catalog.model("scgpt-human"), folder)


def runner(adata, folder, **given):
    return Runner(Scgpt(checkpoint=find(folder), **given), Cells.of(adata, with_batches=False), 0, CPU)


def test_mean_is_that_of_the_genes(adata, folder):
    pooled = runner(adata, folder, pooling="mean", l2=False)
    tokens = pooled.tokenizer.tokenize(np.arange(3))
    for row in range(3):
        alone = tokens.select(np.array([row]))
        given = (torch.from_numpy(part) for part in (*alone.pad(0), alone.lengths))
        with torch.inference_mode():
            hidden = pooled.network.hidden(*given)[0]
        assert np.allclose(pooled.embed(np.array([row])), hidden[1:].mean(0).numpy(), atol=1e-5)


def test_embeddings_have_length_one(adata, folder):
    for pooling in ("cls", "mean"):
        found = runner(adata, folder, pooling=pooling).embed(np.arange(120))
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # torch's own, from its compiler
def test_compiled_it_says_the_same(adata, folder, monkeypatch):
    # Traced as for the default backend, whose C++ compilation would take half a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    cells = Cells.of(adata, with_batches=False)
    model = Scgpt(checkpoint=find(folder))
    plain, compiled = (Runner(model, cells, 0, Settings(device="cpu", compile=c)) for c in (False, True))
    found = compiled.embed(np.arange(12))
    assert np.allclose(found, plain.embed(np.arange(12)), atol=2e-5)


def test_order_of_the_genes_is_of_no_account(adata, folder):
    order = np.random.default_rng(0).permutation(adata.n_vars)
    first, other = (runner(data, folder).embed(np.arange(120)) for data in (adata, adata[:, order].copy()))
    assert np.allclose(first, other, atol=2e-5)


def test_genes_named_by_ensembl_ids_are_embedded_as_by_their_symbols(adata, tmp_path):
    table = pd.DataFrame(catalog.read_gene_table("gene-symbols")).query("ensembl_id != ''").head(adata.n_vars)
    folder = write_scgpt(tmp_path, table["symbol"])
    symbols, ids = adata.copy(), adata.copy()
    symbols.var_names, ids.var_names = table["symbol"].to_numpy(), table["ensembl_id"].to_numpy()
    for parameters in ({}, {"binning": "midrank"}, {"max_tokens": 20}):
        both = [runner(named, folder, **parameters) for named in (symbols, ids)]
        assert np.array_equal(*(one.embed(np.arange(12)) for one in both)), parameters
        assert [one.tokenizer.notes for one in both] == [(), ()]


def test_counts_and_their_logarithms_have_the_same_bins(adata, folder):
    import scanpy as sc

    logarithms = adata.copy()
    sc.pp.normalize_total(logarithms, target_sum=1e4)
    sc.pp.log1p(logarithms)
    for mode in ("midrank", "left"):
        first, other = (
            runner(data, folder, input=given, binning=mode).tokenizer.tokenize(np.arange(120)).pad(0)[1]
            for data, given in ((adata, "counts"), (logarithms, "as-given"))
        )
        # Values that are equal as counts can differ in the last bit as logarithms.
        assert (first == other).mean() > 0.99


@pytest.mark.parametrize("selection", ["seurat_v3", "seurat"])
def test_variable_genes_are_those_of_scanpy(adata, folder, selection):
    import scanpy as sc

    reference = adata.copy()
    if selection == "seurat":
        reference.X = Cells.of(adata, with_batches=False).log_normalized()
        reference.uns["log1p"] = {"base": None}
    sc.pp.highly_variable_genes(reference, flavor=selection, n_top_genes=40)
    chosen = runner(adata, folder, n_genes=40, selection=selection).tokenizer.tokenize(np.arange(120))
    expected = set(np.flatnonzero(reference.var["highly_variable"]))
    expressed = set(adata.X[:, sorted(expected)].nonzero()[1])
    assert len(expected) == 40
    assert set(chosen.ids) - {151} == {sorted(expected)[place] for place in expressed}


def test_genes_that_vary_alike_cannot_be_chosen_from(adata, folder):
    alike = adata[:2].copy()
    alike.X = sparse.csr_matrix(np.tile([[1.0], [2.0]], alike.n_vars))
    with pytest.raises(ValueError, match="40 variable genes from 2 cells"):
        runner(alike, folder, n_genes=40, selection="seurat_v3")


def test_genes_with_few_counts_are_left_out_first(adata, folder):
    total = np.asarray(adata.X.sum(axis=0)).ravel()
    least = int(np.quantile(total, 0.3))
    tokens = runner(adata, folder, min_counts=least).tokenizer.tokenize(np.arange(120))
    assert set(tokens.ids) - {151} == set(np.flatnonzero(total >= least))


def test_long_cells_are_sampled_and_counted(adata, folder):
    tokens = runner(adata, folder, max_tokens=20).tokenizer.tokenize(np.arange(120))
    expressed = np.diff(adata.X.indptr)
    assert (tokens.lengths == np.minimum(expressed + 1, 20)).all()
    assert (tokens.left_out == np.maximum(expressed - 19, 0)).all() and tokens.left_out.sum() > 0


def test_widths_of_ties_stand_where_the_tokens_stand(adata, folder):
    cells, rows = Cells.of(adata, with_batches=False), np.array([7, 2, 50])
    model = Scgpt(checkpoint=find(folder), max_tokens=20)
    tokens = model.tokenizer(cells, 5).tokenize(rows)
    widths = model.tie_widths(cells, rows, 5)
    assert widths.shape == tokens.ids.shape and (widths >= 1).all()
    for number, row in enumerate(rows):
        counts = adata.X[row].toarray().ravel()
        left, right = bin_blocks(sparse.csr_matrix(counts))
        by_gene = dict(zip(np.flatnonzero(counts), np.maximum(left - right, 1), strict=True))
        mine = slice(tokens.offsets[number] + 1, tokens.offsets[number + 1])
        assert widths[mine].tolist() == [by_gene[gene] for gene in tokens.ids[mine]]


def test_cell_without_known_genes(adata, folder):
    other = adata.copy()
    counts = other.X.tolil()
    counts[5] = 0
    other.X = counts.tocsr()
    for pooling in ("cls", "mean"):
        mine = runner(other, folder, pooling=pooling)
        found = mine.embed(np.arange(120))
        assert np.isfinite(found).all() and found[4].any()
        assert "1 cells express none of the genes that are read" in mine.tokenizer.notes


def test_unknown_genes_are_refused(adata, folder):
    other = adata.copy()
    other.var_names = [f"unknown{number}" for number in range(other.n_vars)]
    with pytest.raises(GeneOverlapError, match="scGPT knows 0 of 150 genes"):
        runner(other, folder)


# -- what does not belong together is refused


def changed(folder, tmp_path, change):
    """A copy of the folder with another state; a later call replaces the state."""
    other = shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
    state = torch.load(folder / "best_model.pt", weights_only=True)
    torch.save(change(state), other / "best_model.pt")
    return other


LAYER = "transformer_encoder.layers."


def drop(state, part):
    return {key: value for key, value in state.items() if part not in key}


def test_no_weight_stays_random(adata, folder, tmp_path):
    for change, message in (
        (
            partial(drop, part="layers.1.self_attn.Wqkv.weight"),
            r"missing transformer_encoder\.layers\.1\.self_attn\.Wqkv\.weight",
        ),
        (partial(drop, part="layers.0."), r"missing transformer_encoder\.layers\.0\."),
        (partial(drop, part="mvc_decoder"), r"missing mvc_decoder\.gene2query"),
        (lambda state: state | {"batch_encoder.embedding.weight": torch.ones(3, 16)}, "unexpected batch_enc"),
        (
            lambda state: state | {f"{LAYER}0.self_attn.in_proj_weight": torch.ones(48, 16)},
            r"both claim encoder\.layers\.0\.qkv\.weight",
        ),
    ):  # fmt: skip
        with pytest.raises(WeightsError, match=message):
            runner(adata, changed(folder, tmp_path, change))


def test_heads_of_other_tasks_are_passed_over(adata, folder, tmp_path):
    extra = {"cls_decoder.out_layer.weight": torch.ones(1, 16), "grad_reverse_discriminator.x": torch.ones(1)}
    other = changed(folder, tmp_path, lambda state: state | extra)
    first, second = (runner(adata, where).embed(np.arange(9)) for where in (folder, other))
    assert (first == second).all()


def test_vocabulary_of_another_model(adata, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (tmp_path / "copy" / "vocab.json").write_text(json.dumps(vocabulary | {"ONE": len(vocabulary)}))
    with pytest.raises(WeightsError, match="the vocabulary has 154 tokens, the model 153"):
        runner(adata, tmp_path / "copy")
    (tmp_path / "copy" / "vocab.json").write_text(json.dumps(vocabulary | {"ONE": 900}))
    with pytest.raises(WeightsError, match="does not number its tokens from 0 on"):
        runner(adata, tmp_path / "copy")


def test_vocabulary_that_makes_no_sense_is_refused_by_file(adata, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "vocab.json"
    vocabulary = json.loads(path.read_text())
    last = list(vocabulary)[-4]
    wrong = {
        "holds no tokens": "{}",
        "a dict is expected": "[]",
        "occurs twice": json.dumps(vocabulary)[:-1] + f', "{last}": 1}}',
        "a web page": "<html></html>",
        "without a name": json.dumps({"" if name == last else name: n for name, n in vocabulary.items()}),
    } | {
        f"has {shown} for '{last}'|'{last}'": json.dumps(vocabulary | {last: number})
        for shown, number in {"-1": -1, "True": True, "1.0": 1.0, "'3'": "3", "None": None, "3": 3}.items()
    }
    for message, content in wrong.items():
        path.write_text(content)
        with pytest.raises(WeightsError, match=rf"{path} .*({message})"):
            runner(adata, tmp_path / "copy")


def test_config_that_asks_for_something_else(adata, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "copy")
    for change, message in (
        ({"embsize": "16"}, "embsize is '16', expected a whole number"),
        ({"embsize": 15}, r"2 heads \(nheads\), which do not divide its embsize, 15"),
        ({"nlayers": 10**9}, "nlayers is 1000000000, expected a whole number from 1 to 512"),
        ({"n_bins": 1}, "n_bins is 1"),
        ({"pad_value": "x"}, "pad_value is 'x', expected a number"),
        ({"pad_token": "<none>"}, "names '<none>' as pad_token, which .*vocab.json lacks"),
        ({"pad_token": 3}, "has 3 as pad_token"),
        ({"pre_norm": "yes"}, "this network computes pre_norm False"),
        ({"input_emb_style": "category"}, "this network computes input_emb_style continuous"),
        ({"pre_norm": True}, "this network computes pre_norm False"),
        ({"embsize": None}, "lacks embsize: it is not an args.json of scGPT"),
    ):
        args = json.loads((folder / "args.json").read_text()) | change
        args = {key: value for key, value in args.items() if value is not None}
        (other / "args.json").write_text(json.dumps(args))
        with pytest.raises(WeightsError, match=message):
            runner(adata, other)


def test_parameters_that_make_no_sense(folder):
    for given, message in (
        ({"pooling": "max"}, "unknown pooling 'max': cls or mean"),
        ({"n_genes": 5}, "n_genes and selection go together"),
        ({"n_genes": 5, "selection": "best"}, "unknown selection 'best'"),
        ({"max_tokens": 1}, "max_tokens is 1: <cls> and a gene need 2"),
        ({"vocabulary": "data-set"}, "vocabulary is released"),
        ({"vocabulary": "own"}, "unknown vocabulary 'own'"),
    ):
        with pytest.raises(ValueError, match=message):
            Scgpt(checkpoint=find(folder), **given)


# -- untrained


def test_untrained_weights(adata):
    architecture = catalog.model("scgpt-untrained").architecture
    model = Scgpt(architecture=architecture, vocabulary="data-set")
    cells = Cells.of(adata, with_batches=False)
    network = model.network(cells, 0)
    released = 51_329_025  # with 60,697 tokens
    assert sum(p.numel() for p in network.parameters()) == released - (60_697 - 153) * 512
    assert abs(network.genes.weight).max() <= 0.1 and abs(network.genes.weight.std() - 0.2 / 12**0.5) < 1e-3
    first, last = network.encoder.layers[0], network.encoder.layers[-1]
    bound = 512**-0.5
    assert 0.95 * bound < abs(first.qkv.weight).max() <= bound
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), last.parameters(), strict=True))
    order = np.random.default_rng(0).permutation(adata.n_vars)
    other = model.network(Cells.of(adata[:, order].copy(), with_batches=False), 0)
    assert torch.equal(network.genes.weight[:150][order], other.genes.weight[:150])
    assert not torch.equal(model.network(cells, 1).genes.weight, network.genes.weight)


def test_global_generator_is_left_alone(adata):
    before = torch.get_rng_state()
    embedding.embed(adata[:3].copy(), "scgpt-untrained")
    assert torch.equal(torch.get_rng_state(), before)
