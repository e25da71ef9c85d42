"""Gene vectors: rows of released layouts, those of data sets, and their scores on planted sets of genes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import read_h5ad
from released import (
    write_cellama,
    write_cellplm,
    write_genecompass,
    write_geneformer,
    write_langcell,
    write_nicheformer,
    write_scbert,
    write_sccello,
    write_scfoundation,
    write_scgpt,
    write_tgpt,
    write_uce,
)
from released_values import (
    write_celllm,
    write_scimilarity,
    write_scmulan,
    write_scprint,
    write_tahoe,
    write_transcriptformer,
)
from typer.testing import CliRunner

from zeroshot import catalog, cli, data, models
from zeroshot.catalog import read_gene_table
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding.gene_vectors import GeneVectorsError, gene_vectors, needs_cells, without_vectors
from zeroshot.models import Cells
from zeroshot.models.gene_vectors import GeneVectors
from zeroshot.models.weights import WeightsError, find, read_content, read_dictionary, read_state
from zeroshot.results import gene_sets
from zeroshot.runtime.outputs import OutputError

GENES = ["CD74", "HLA-DRA", "FTL", "S100A4", "LYZ"]


@pytest.fixture(scope="module")
def adata():
    return contract(
        simulate_atlas(n_cells=200, n_genes=240, n_batches=2, seed=1), name="a", batch_key="batch"
    )


@pytest.fixture(scope="module")
def cells(adata):
    return Cells.of(adata, with_batches=False)


def from_folder(monkeypatch, model, folder):
    checkpoint = find(catalog.model(model), folder)
    monkeypatch.setattr(models, "find_checkpoint", lambda *_: checkpoint)
    return gene_vectors(model), checkpoint


@pytest.mark.parametrize(
    ("model", "write", "tensor", "first"),
    [
        ("scgpt-human", write_scgpt, "encoder.embedding.weight", 0),
        ("scbert", write_scbert, "pos_emb.emb.weight", 0),
        ("scfoundation", write_scfoundation, "model.pos_emb.weight", 0),
        ("nicheformer", write_nicheformer, "embeddings.weight", 30),
        ("cellplm", write_cellplm, "embedder.feat_enc.emb", 0),
        ("celllm", write_celllm, "pos_emb.emb.weight", 0),
        ("scprint-medium", write_scprint, "gene_encoder.embeddings.weight", 0),
        ("tahoe-x1-70m", write_tahoe, "model.gene_encoder.embedding.weight", 1),
        ("transcriptformer-sapiens", write_transcriptformer, "gene_embeddings.embedding.weight", 7),
    ],
)
def test_rows_of_released_tensors_have_the_names_of_their_genes(
    monkeypatch, tmp_path, model, write, tensor, first
):
    found, checkpoint = from_folder(monkeypatch, model, write(tmp_path / "released", GENES))
    path = checkpoint.files["weights"]
    content = read_state(path) if path.suffix == ".safetensors" else read_content(path)
    content = next((content[k] for k in ("cell", "state_dict", "model_state_dict") if k in content), content)
    content = content.get("state_dict", content)
    expected = content[tensor].float().numpy()[first : first + len(GENES)]
    assert len(found.names) == len(GENES) and found.vectors.dtype == np.float32
    assert found.vectors.tobytes() == expected.tobytes()
    if catalog.model(model).gene_ids == "symbol" and model != "cellplm":
        assert list(found.names) == GENES and list(found.symbols()) == GENES


@pytest.mark.parametrize(
    ("model", "write"),
    [
        ("geneformer-v2-104m", partial(write_geneformer, special=True)),
        ("langcell", write_langcell),
        ("sccello", write_sccello),
        ("genecompass-small", write_genecompass),
    ],
)
def test_models_of_ranks_have_tokens_by_ensembl_id(monkeypatch, tmp_path, model, write):
    found, checkpoint = from_folder(monkeypatch, model, write(tmp_path / "released", GENES))
    assert [name[:4] for name in found.names] == ["ENSG"] * 5  # special tokens are no genes
    numbers = read_dictionary(checkpoint.files["token_dictionary"])
    path = checkpoint.files["weights"]
    state = read_state(path) if path.suffix == ".safetensors" else read_content(path)
    (table,) = [tensor for name, tensor in state.items() if name.endswith("word_embeddings.weight")]
    assert (found.vectors == table[[numbers[name] for name in found.names]].numpy()).all()


def test_uce_has_the_proteins_of_its_species(monkeypatch, tmp_path):
    found, checkpoint = from_folder(monkeypatch, "uce-4l", write_uce(tmp_path / "released", GENES))
    table = read_content(checkpoint.files["weights"])["pe_embedding.weight"]
    assert set(found.names) == set(GENES)
    rows = [torch.nonzero((table == torch.from_numpy(v)).all(dim=1))[0, 0].item() for v in found.vectors]
    assert len(set(rows)) == 5


def test_scmulan_has_its_genes_in_the_order_of_their_list(monkeypatch, tmp_path):
    vectors, checkpoint = from_folder(monkeypatch, "scmulan", write_scmulan(tmp_path / "released", GENES))
    table = read_content(checkpoint.files["weights"])["model"]["transformer.wte.weight"]
    assert list(vectors.names) == GENES  # the tokens are in another order, the first is an end
    assert vectors.vectors.tobytes() == table[1 : len(GENES) + 1].flip(0).numpy().tobytes()


def test_tgpt_has_words_by_the_symbols_that_they_spell(monkeypatch, tmp_path):
    vectors, checkpoint = from_folder(monkeypatch, "tgpt", write_tgpt(tmp_path / "released", GENES))
    table = read_content(checkpoint.files["weights"])["transformer.wte.weight"]
    assert list(vectors.names) == GENES  # the vocabulary has HLA_DRA
    assert vectors.vectors.tobytes() == table[4:].numpy().tobytes()  # special words are no genes


def test_scimilarity_has_a_column_of_its_first_layer_for_each_gene(monkeypatch, tmp_path):
    folder = write_scimilarity(tmp_path / "released", GENES)
    vectors, checkpoint = from_folder(monkeypatch, "scimilarity", folder)
    table = read_content(checkpoint.files["weights"])["state_dict"]["network.0.1.weight"]
    assert list(vectors.names) == GENES and vectors.vectors.shape == tuple(table.T.shape)
    assert (vectors.vectors == table.T.numpy()).all() and "first layer" in vectors.origin


def test_vectors_of_a_data_set(cells):
    profiles = gene_vectors("hvg", cells=cells)
    dense = cells.log_normalized().toarray()[:, cells.genes.get_indexer(profiles.names)]
    unit = profiles.vectors / np.linalg.norm(profiles.vectors, axis=1, keepdims=True)
    assert np.allclose(unit @ unit.T, np.corrcoef(dense.T), atol=1e-4)
    loadings = gene_vectors("pca", cells=cells)
    assert loadings.vectors.shape == (len(profiles.names), 50) and list(loadings.names) == list(
        profiles.names
    )
    near = np.abs(loadings.vectors @ loadings.vectors.T - np.corrcoef(dense.T))
    assert near.mean() < 0.05  # the best approximation of that rank
    assert gene_vectors("random", cells=cells).vectors.std() == pytest.approx(1, abs=0.05)
    assert gene_vectors("pca", cells=cells).vectors.tobytes() == loadings.vectors.tobytes()


def test_models_without_gene_vectors_say_why(cells):
    for model, message in (
        ("scgpt-untrained", "was never trained"),
        ("label-oracle", "made from labels"),
        ("cellama", "has no vectors of genes"),
        ("pca", "made of cells: name a data set"),
    ):
        with pytest.raises(GeneVectorsError, match=message):
            gene_vectors(model)
    kinds = {card.name for card in catalog.models().values() if without_vectors(card) is None}
    assert {
        "hvg",
        "pca",
        "random",
        "genept-w",
        "scelmo",
        "uce-4l",
        "scgpt-human",
        "geneformer-v1-10m",
        "tgpt",
    } <= kinds
    assert {name for name in kinds if needs_cells(catalog.model(name))} == {"hvg", "pca", "random"}


def test_vectors_that_are_no_finite_numbers_are_refused(monkeypatch, tmp_path):
    folder = write_scgpt(tmp_path / "released", GENES)
    file, name = folder / "best_model.pt", "encoder.embedding.weight"
    state = torch.load(file, weights_only=True)
    for wrong, message in (
        (torch.full_like(state[name], torch.nan), "NaN or infinite"),
        (state[name].to(torch.int8), "is int8"),
        (state[name].to(torch.int64), "is int64"),
        (state[name].to(torch.complex64), "is complex64"),
    ):
        torch.save(state | {name: wrong}, file)
        with pytest.raises(WeightsError, match=rf"best_model\.pt is refused: {name} .*{message}"):
            from_folder(monkeypatch, "scgpt-human", folder)


def test_a_data_set_of_equal_cells_has_no_gene_vectors(cells):
    rows = np.zeros(12, dtype=int)
    equal = replace(
        cells, counts=cells.counts[rows], ids=cells.ids[:12], library_size=cells.library_size[rows]
    )
    for model in ("pca", "hvg"):
        with pytest.raises(GeneVectorsError, match="0 genes differ between 12 cells; at least 2 are needed"):
            gene_vectors(model, cells=equal)


def test_symbols_of_other_names():
    others = ["ENSG00000019582.9", "C10orf54", "CD74", "NOBODY"]
    vectors = GeneVectors(pd.Index(others), np.arange(8, dtype=np.float32).reshape(4, 2), "")
    assert list(vectors.symbols()) == ["CD74", "VSIR", "CD74", ""]
    assert vectors.by_symbol().to_dict("index") == {"CD74": {0: 0, 1: 1}, "VSIR": {0: 2, 1: 3}}


def test_the_command_prints_and_writes_them(tmp_path, monkeypatch):
    encoder = write_cellama(tmp_path / "encoder")
    texts = {name: column[:6] for name, column in read_gene_table("gene-texts").items()}
    monkeypatch.setattr(catalog, "read_gene_table", lambda _: texts)
    command = ["genes", "--model", "genept-w", "--recipe", "names", "--weights", str(encoder)]
    shown = CliRunner().invoke(cli.app, command)
    assert shown.exit_code == 0 and "6 genes x 32, names of genes" in shown.stdout
    for name in ("out.csv", "out.csv.gz", "out.h5ad"):
        assert CliRunner().invoke(cli.app, [*command, "--output", str(tmp_path / name)]).exit_code == 0
    table = pd.read_csv(tmp_path / "out.csv", index_col="gene")
    assert table.equals(pd.read_csv(tmp_path / "out.csv.gz", index_col="gene"))
    written = read_h5ad(tmp_path / "out.h5ad")
    assert list(table.index) == list(written.obs_names) == list(texts["symbol"])
    assert np.allclose(table.drop(columns="symbol"), written.X, atol=1e-6)
    (encoder / "linked.csv").symlink_to(next(encoder.glob("*.json")))
    with pytest.raises(OutputError, match="is the input"):
        CliRunner().invoke(
            cli.app, [*command, "--output", str(encoder / "linked.csv")], catch_exceptions=False
        )
    with pytest.raises(GeneVectorsError, match=r"one of \.csv, \.csv\.gz, \.h5ad"):
        CliRunner().invoke(cli.app, [*command, "--output", "out.txt"], catch_exceptions=False)


# -- scores on sets of genes


@pytest.fixture
def planted(monkeypatch):
    """Three hundred genes in ten terms, and vectors that hold the terms, half of them, or nothing."""
    rng = np.random.default_rng(0)
    genes = [f"G{number}" for number in range(300)]
    labels = np.arange(300) % 10
    terms = {
        "term": tuple(f"GO:{t}" for t in range(10)), "name": tuple(f"term {t}" for t in range(10)),
        "ontology": ("BP",) * 10,
        "genes": tuple(" ".join(np.array(genes)[labels == t]) for t in range(10)),
    }  # fmt: skip
    monkeypatch.setattr(catalog, "read_gene_table", lambda _: terms)
    centres = rng.normal(size=(10, 8))[labels]
    noise = rng.normal(size=(300, 8))
    return {
        name: pd.DataFrame(values, index=genes)
        for name, values in (("all", centres + noise / 4), ("half", centres + 2 * noise), ("none", noise))
    }


def test_planted_terms_are_found_and_noise_is_at_chance(planted):
    scores = gene_sets.score(planted)
    assert scores["n_genes"].eq(30).all() and scores["n_compared"].eq(300).all()
    means = scores.groupby(["measure", "vectors"])["value"].mean().unstack()
    for measure in gene_sets.MEASURES:
        one, half, none = means.loc[measure, ["all", "half", "none"]]
        assert one > 0.97 and 0.55 < half < one - 0.1 and none == pytest.approx(0.5, abs=0.06)
    summary = gene_sets.summarise(scores)
    assert list(summary["vectors"].unique()) == ["all", "half", "none"]
    assert (summary["low"] <= summary["mean"]).all() and (summary["mean"] <= summary["high"]).all()
    apart = gene_sets.difference(scores, "pairs", "all", "none")
    assert apart["low"] > 0.3 and apart["difference"] == pytest.approx(means.loc["pairs"] @ [1, 0, -1])


def test_pairs_are_an_auroc_over_all_pairs(planted):
    from sklearn.metrics import roc_auc_score

    values = planted["half"].to_numpy()
    member = np.arange(300) % 10 == 3
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosine = unit @ unit.T
    upper = np.triu(np.ones((300, 300), bool), 1)
    within = cosine[np.outer(member, member) & upper]
    across = cosine[np.outer(member, ~member)]
    truth = [1] * len(within) + [0] * len(across)
    expected = roc_auc_score(truth, np.concatenate([within, across]))
    (found,) = gene_sets._pairs(values, member[:, None], seed=0)
    assert found == pytest.approx(expected, abs=1e-12)


def test_genes_are_those_that_all_vectors_have(planted):
    planted["few"] = planted["all"].iloc[::2]
    scores = gene_sets.score(planted)
    assert scores["n_compared"].eq(150).all()
    with pytest.raises(ValueError, match="no term of the Gene Ontology has 10 genes among the 20"):
        gene_sets.score({"few": planted["all"].iloc[:20]})


def test_comparison_is_stored_and_the_same_vectors_count_once(home, adata, monkeypatch):
    cells = data.load("pbmc68k-reduced")
    first = gene_sets.compare(cells, ["random", "pca", "pca@standard"])
    assert set(first["vectors"]) == {"random numbers", "PCA loadings, PCA"}
    means = first[first["measure"] == "prediction"].groupby("vectors")["value"].mean()
    assert means["random numbers"] == pytest.approx(0.5, abs=0.04)
    assert means["PCA loadings, PCA"] > means["random numbers"] + 0.05
    monkeypatch.setattr(gene_sets, "score", lambda *_, **__: pytest.fail("computed again"))
    assert gene_sets.compare(cells, ["random", "pca", "pca@standard"]).equals(first)
    assert gene_sets.vector_models("smoke") == ["hvg", "pca", "random"]


def test_published_scores_are_those_of_the_source():
    rows = gene_sets.published()
    means = rows[rows["measure"] == "gene_function_GO"].groupby("vectors")["value"].mean()
    assert means["GENEPT-MODEL3"] == pytest.approx(0.926, abs=5e-4) and len(means) == 38
    assert rows.groupby("measure")["term"].nunique().to_dict() == {
        "gene_function_GO": 56, "gene_function_GO_post2024": 19,
    }  # fmt: skip
