"""Models: the contract every registered recipe keeps, and the baselines against their references."""

import json
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from released import (
    SMALL_ARCHITECTURES,
    cells_of,
    small_parameters,
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
from released_language import write_causal_model, write_t5
from released_values import (
    write_celllm,
    write_corpus_autoencoder,
    write_corpus_pca,
    write_corpus_scvi,
    write_scimilarity,
    write_scmulan,
    write_scprint,
    write_tahoe,
    write_transcriptformer,
)
from scipy import sparse

from zeroshot import catalog, embedding, metrics, models
from zeroshot.data import content_hash, contract, simulate_atlas
from zeroshot.models import Cells, baselines, controls
from zeroshot.models.weights import find as find_weights
from zeroshot.runtime.reproducible import LARGEST_SEED


def special_tokens(card):
    """Whether a Geneformer has the special tokens of the second generation."""
    return card.max_tokens == 4096


def distinct_recipes():
    """Every model and recipe, once where cards share code and parameters."""
    found = {}
    for card in catalog.models().values():
        for recipe in (
            card.recipes.values() if card.implementation else ()
        ):  # the oracle is made by the metrics
            parameters = json.dumps(dict(recipe.parameters), sort_keys=True)
            name = next(name for name in card.recipes if card.recipes[name] is recipe)
            key = (card.implementation, parameters, special_tokens(card), card.architecture is None)
            found.setdefault(key, (card.name, name))
    return list(found.values())


RECIPES = distinct_recipes()
every_recipe = pytest.mark.parametrize(("model", "recipe"), RECIPES, ids=map("@".join, RECIPES))
load_at_full_length = models.load


@pytest.fixture(scope="session")
def released_folders(tmp_path_factory):
    """A small released folder for each family, whose vocabulary is the genes of the atlas."""
    genes = list(atlas().var_names)
    where = tmp_path_factory.mktemp("released")
    return {
        ("Geneformer", False): write_geneformer(where / "v1", genes, special=False, max_tokens=256),
        ("Geneformer", True): write_geneformer(where / "v2", genes, special=True, max_tokens=256),
        ("scGPT", False): write_scgpt(where / "scgpt", genes),
        ("CELLama", False): write_cellama(where / "cellama"),
        ("GenePT", False): write_cellama(where / "genept"),
        ("scELMo", False): write_cellama(where / "scelmo"),
        ("Cell2Sentence", False): write_causal_model(where / "c2s"),
        ("ChatCell", False): write_t5(where / "chatcell"),
        ("scFoundation", False): write_scfoundation(where / "scfoundation", genes),
        ("Nicheformer", False): write_nicheformer(where / "nicheformer", genes),
        ("UCE", False): write_uce(where / "uce", genes),
        ("scBERT", False): write_scbert(where / "scbert", genes),
        ("CellPLM", False): write_cellplm(where / "cellplm", genes),
        ("tGPT", False): write_tgpt(where / "tgpt", genes),
        ("LangCell", False): write_langcell(where / "langcell", genes),
        ("scCello", False): write_sccello(where / "sccello", genes),
        ("GeneCompass", False): write_genecompass(where / "genecompass", genes),
        ("CellLM", False): write_celllm(where / "celllm", genes),
        ("scMulan", False): write_scmulan(where / "scmulan", genes),
        ("scPRINT", False): write_scprint(where / "scprint", genes),
        ("SCimilarity", False): write_scimilarity(where / "scimilarity", genes),
        ("Tahoe-x1", False): write_tahoe(where / "tahoe", genes),
        ("TranscriptFormer", False): write_transcriptformer(where / "transcriptformer", genes),
        ("Small scGPT", False): write_scgpt(where / "small-scgpt", genes),
        ("Small Geneformer", False): write_geneformer(
            where / "small-geneformer", genes, special=False, max_tokens=128
        ),
        ("Corpus PCA", False): write_corpus_pca(where / "corpus-pca", genes),
        ("Corpus autoencoder", False): write_corpus_autoencoder(where / "corpus-autoencoder", genes),
        ("Corpus scVI", False): write_corpus_scvi(where / "corpus-scvi", genes),
    }


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch, released_folders):
    """Networks are small ones in the released layout; a model that is trained sees every cell once only."""

    def load(name, recipe=None, *, weights=None, parameters=None):
        card = catalog.model(name)
        if card.weights or card.twin_of:
            released = card if card.weights else catalog.model(card.twin_of)
            folder = released_folders[card.family, special_tokens(card)]
            monkeypatch.setattr(models, "find_checkpoint", lambda *_: find_weights(released, folder))
        model = load_at_full_length(name, recipe, parameters=parameters)
        known = {field.name for field in fields(model)}
        if "epochs" in known:
            model = replace(model, epochs=1)
        if card.architecture:
            model = replace(model, architecture=card.architecture | SMALL_ARCHITECTURES[card.family])
        return replace(model, **small_parameters(card.family, n_genes=240))

    monkeypatch.setattr(models, "load", load)


def atlas(**changes):
    settings = {"n_cells": 260, "n_genes": 240, "n_batches": 2, "batch_strength": 1.0, "seed": 3} | changes
    return contract(simulate_atlas(**settings), name="atlas", batch_key="batch")


@pytest.fixture(scope="module")
def adata():
    return atlas()


@pytest.fixture(scope="module")
def base(adata):
    """Embedding of the atlas by each recipe with seed 0, computed when first asked for."""
    known = {}

    def embed(model, recipe):
        if (model, recipe) not in known:
            known[model, recipe] = embedding.embed(adata, model, recipe, seed=0)
        return known[model, recipe]

    return embed


def same_up_to_sign(found, expected, atol):
    signs = np.sign((found * expected).sum(axis=0))
    return np.allclose(found * signs, expected, atol=atol)


# -- contract over the registry


@every_recipe
def test_shape_type_and_values(adata, base, model, recipe):
    found = base(model, recipe)
    assert found.dtype == np.float32 and found.ndim == 2 and len(found) == adata.n_obs
    assert found.shape[1] >= 1 and np.isfinite(found).all() and found.std() > 0


@every_recipe
def test_rows_are_in_input_order(adata, base, model, recipe):
    """Each row tells how many genes its own cell has, and not how many another cell has."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import cross_val_score

    found = base(model, recipe)
    if catalog.model(model).family:  # each cell by itself: its row goes where it goes
        order = np.random.default_rng(1).permutation(adata.n_obs)
        moved = embedding.embed(adata[order].copy(), model, recipe)
        assert np.abs(moved - found[order]).max() < 2e-5 < np.abs(found - np.roll(found, 1, axis=0)).max()
        return
    detected = np.diff(adata.X.indptr).astype(float)
    detected = (detected - detected.mean()) / detected.std()
    rows = (found - found.mean(axis=0)) / np.maximum(found.std(axis=0), 1e-6)
    ridge = RidgeCV(np.logspace(0, 4, 9))
    # Contiguous folds follow the batches of the file; these do not.
    order = np.random.default_rng(0).permutation(adata.n_obs)
    explained = cross_val_score(ridge, rows[order], detected[order], cv=5).mean()
    misplaced = cross_val_score(ridge, np.roll(rows, 1, axis=0)[order], detected[order], cv=5).mean()
    if model == "random":
        assert explained < 0.1
    else:
        assert explained > 0.2 and explained > misplaced + 0.1


@pytest.mark.parametrize("model", ["hvg", "pca", "depth-only"])
def test_another_order_of_cells_gives_the_same_rows_in_that_order(adata, base, model):
    order = np.random.default_rng(1).permutation(adata.n_obs)
    found = embedding.embed(adata[order].copy(), model)
    expected = base(model, catalog.model(model).recipe)[order]
    # The last components are close to each other and may turn into one another: the first ones may not.
    assert same_up_to_sign(found[:, :10], expected[:, :10], atol=1e-3)


@every_recipe
def test_another_seed(adata, base, model, recipe):
    other = embedding.embed(adata, model, recipe, seed=1)
    assert other.shape == base(model, recipe).shape
    same = np.allclose(other, base(model, recipe), atol=1e-3)
    seeded = catalog.model(model).seeded_under(recipe)
    assert seeded is not same, "the card says whether the embedding depends on the seed"


@every_recipe
def test_same_cells_give_the_same_bytes_and_stay_as_they_are(adata, base, model, recipe):
    """Labels, what else the caller keeps and, unless the card says so, batches make no difference."""
    mine = adata.copy()
    order = np.random.default_rng(0).permutation(adata.n_obs)
    unseen = ["cell_type"] if "batch" in catalog.model(model).uses else ["cell_type", "batch"]
    for column in unseen:
        mine.obs[column] = mine.obs[column].to_numpy()[order]
        assert (mine.obs[column] != adata.obs[column]).sum() > 100
    mine.obsm["X_mine"] = np.ones((mine.n_obs, 2))
    mine.uns["mine"] = {"a": 1}
    before = mine.copy()
    assert embedding.embed(mine, model, recipe, seed=0).tobytes() == base(model, recipe).tobytes()
    assert content_hash(mine) == content_hash(before)
    assert mine.X.data.tobytes() == before.X.data.tobytes() and (mine.X.indices == before.X.indices).all()
    assert mine.obs.equals(before.obs) and mine.var.equals(before.var)
    assert list(mine.obsm) == ["X_mine"] and (mine.obsm["X_mine"] == 1).all()
    assert dict(mine.uns) == dict(before.uns) and not mine.layers and not mine.obsp


def test_genes_named_by_ids_are_the_symbols_that_a_model_reads(adata, base):
    """One model of each family; the vocabulary of each is the symbols of the atlas, `HLA-DRA` among them."""
    table = catalog.read_gene_table(catalog.SYMBOLS)
    ids = dict(zip(table["symbol"], table["ensembl_id"], strict=True))
    named = adata.copy()
    named.var_names = named.var["ensembl_id"] = [ids[symbol] for symbol in adata.var_names]
    families = set()
    for card in catalog.models().values():
        if card.weights is None or card.gene_ids != "symbol" or card.family in families:
            continue
        families.add(card.family)
        by_id = embedding.embed(named, card.name)
        assert by_id.tobytes() == base(card.name, card.recipe).tobytes(), card.name
    assert len(families) > 15


def test_cells_hold_no_labels(adata, base):
    known = {"counts", "genes", "ids", "library_size", "ensembl_ids", "batches"}
    assert {field.name for field in fields(Cells)} == known
    assert Cells.of(adata, with_batches=False).batches is None
    assert list(Cells.of(adata, with_batches=True).batches) == list(adata.obs["batch"])
    unlabelled = adata.copy()
    del unlabelled.obs["cell_type"]
    assert embedding.embed(unlabelled, "pca").tobytes() == base("pca", "standard").tobytes()


def test_batches_matter_where_the_card_says_so(adata, base):
    mixed = adata.copy()
    mixed.obs["batch"] = mixed.obs["batch"].to_numpy()[np.random.default_rng(0).permutation(260)]
    using = [(model, recipe) for model, recipe in RECIPES if "batch" in catalog.model(model).uses]
    assert {"harmony", "scvi"} == {model for model, _ in using}
    for model, recipe in using:
        mixed_batches = embedding.embed(mixed, model, recipe)
        assert not np.allclose(mixed_batches, base(model, recipe), atol=1e-3), f"{model}@{recipe}"


@every_recipe
def test_fewer_genes_than_asked_for(adata, model, recipe):
    few = adata[:, :30].copy()
    few = few[np.diff(few.X.indptr) > 0].copy()
    found = embedding.embed(few, model, recipe)
    assert found.dtype == np.float32 and len(found) == few.n_obs and np.isfinite(found).all()
    kept = int(Cells.of(few, with_batches=False).detected(10).sum())
    assert found.shape[1] == {"hvg": kept, "pca": kept - 1, "harmony": kept - 1}.get(model, found.shape[1])


def test_no_gene_in_enough_cells_is_a_clear_error(adata):
    tiny = adata[[0, 1, 2, 3, 256, 257, 258, 259]].copy()
    selecting = [
        (model, recipe)
        for model, recipe in RECIPES
        if "min_cells" in {field.name for field in fields(models.implementation(catalog.model(model)))}
        and catalog.model(model).recipes[recipe].parameters.get("min_cells") != 0
    ]
    assert {"hvg", "pca", "harmony", "scvi"} <= {model for model, _ in selecting}
    message = "no gene is detected in at least 10 cells of 8: give more cells"
    for model, recipe in selecting:
        with pytest.raises(ValueError, match=message):
            embedding.embed(tiny, model, recipe)


def test_cells_that_nothing_tells_apart_are_a_clear_error():
    rng = np.random.default_rng(0)
    once = np.eye(60, dtype=int)
    once[:, 0] = rng.poisson(3, 60) + 1
    depths = np.outer(rng.integers(1, 9, 60), rng.integers(1, 5, 40))
    refused = {
        "1 of 60 genes are detected in at least 10 cells": (once, ("hvg", "pca", "harmony")),
        "2 of 2 genes are detected": (rng.poisson(5, (60, 2)) + 1, ("pca", "harmony")),
        "all 60 cells have the same values of all 40 genes": (depths, ("hvg", "pca", "harmony")),
        "about 30 cells, and these are 15": (rng.poisson(5, (15, 40)), ("harmony",)),
    }
    for message, (counts, names) in refused.items():
        batches = np.arange(len(counts)) % 2
        cells = replace(cells_of(counts, [f"G{i}" for i in range(counts.shape[1])]), batches=batches)
        for name in names:
            with pytest.raises(ValueError, match=message):
                models.load(name).embed(cells, 0)


def test_unknown_names_are_answered(adata):
    with pytest.raises(catalog.CatalogError, match=r"no model is called 'pcaa'. Did you mean pca"):
        embedding.embed(adata, "pcaa")
    with pytest.raises(catalog.CatalogError, match="no recipe of pca is called 'papr'"):
        embedding.embed(adata, "pca", "papr")
    with pytest.raises(catalog.CatalogError, match="label-oracle is made from labels"):
        embedding.embed(adata, "label-oracle")


@pytest.mark.parametrize("wrong", [np.ones(260), np.ones((259, 2), np.float32), np.ones((260, 2))])
def test_a_model_that_returns_no_embedding_is_named(adata, monkeypatch, wrong):
    class Wrong:
        def embed(self, cells, seed):
            return wrong

    monkeypatch.setattr(models, "load", lambda *_, **__: Wrong())
    with pytest.raises(embedding.EmbeddingError, match=r"pca returned .* expected float32 of shape \(260"):
        embedding.embed(adata, "pca")


# -- normalisation and baselines against their references


def test_values_are_scaled_by_the_library_size_not_the_row_sum():
    counts = sparse.csr_matrix(np.array([[1, 3], [2, 0]], np.float32))
    cells = Cells(counts, None, None, np.array([10.0, 4.0]))
    expected = np.log1p([[1000, 3000], [5000, 0]])
    assert np.allclose(cells.log_normalized().toarray(), expected, rtol=1e-6)
    assert np.allclose(cells.log_normalized(100).toarray(), np.log1p([[10, 30], [50, 0]]), rtol=1e-6)
    assert (counts.toarray() == [[1, 3], [2, 0]]).all()


@pytest.fixture(scope="module")
def by_scanpy(adata):
    """The paper's preparation, run in scanpy alone."""
    import scanpy as sc

    reference = AnnData(adata.X.copy(), var=adata.var[[]])
    sc.pp.filter_genes(reference, min_cells=10)
    # Library sizes of the simulated atlas are row sums over all genes.
    reference.X = reference.X.multiply(1e4 / adata.X.sum(axis=1)).tocsr()
    sc.pp.log1p(reference)
    sc.pp.highly_variable_genes(reference, flavor="seurat", n_top_genes=80)
    return reference[:, reference.var["highly_variable"]].copy()


def test_variable_genes_are_those_of_scanpy(adata, by_scanpy):
    cells = Cells.of(adata, with_batches=False)
    found = baselines.HighlyVariableGenes(n_genes=80).embed(cells, 0)
    assert found.shape == by_scanpy.shape == (260, 80)
    assert np.allclose(found, by_scanpy.X.toarray(), atol=1e-5)


def test_components_are_those_of_sklearn(adata, by_scanpy):
    from sklearn.decomposition import PCA

    found = baselines.Pca(n_components=10, n_genes=80).embed(Cells.of(adata, with_batches=False), 0)
    expected = PCA(10, svd_solver="full").fit_transform(by_scanpy.X.toarray().astype(np.float64))
    assert same_up_to_sign(found, expected, atol=1e-3)
    assert np.allclose(found.mean(axis=0), 0, atol=1e-4)


def test_harmony_needs_two_batches(adata):
    one = adata.copy()
    one.obs["batch"] = "one"
    with pytest.raises(ValueError, match=r"Harmony needs at least two batches.*Use `pca` instead"):
        embedding.embed(one, "harmony")


def test_harmony_refuses_batches_of_single_cells(adata):
    alone = adata.copy()
    alone.obs["batch"] = pd.Categorical(adata.obs_names)
    with pytest.raises(ValueError, match="260 of 260 cells are alone in their batch"):
        embedding.embed(alone, "harmony")
    alone.obs["batch"] = pd.Categorical(["a"] * 129 + ["b"] * 129 + ["c", "d"])
    assert embedding.run(alone, "harmony").notes == (
        "cells alone in their batch, where Harmony cannot tell batch from cell type: 2",
    )


def test_the_largest_seed_is_one_for_every_library(adata):
    np.random.RandomState(LARGEST_SEED)
    for model, recipe in (("harmony", None), ("random", None), ("shuffled-genes", None), ("scvi", "short")):
        assert len(embedding.embed(adata, model, recipe, seed=LARGEST_SEED)) == adata.n_obs
    with pytest.raises(embedding.EmbeddingError, match="from 0 to 2147483647"):
        embedding.embed(adata, "random", seed=LARGEST_SEED + 1)


def test_bytes_do_not_depend_on_the_number_of_threads(adata, base, monkeypatch):
    import scvi
    import torch
    from threadpoolctl import threadpool_info, threadpool_limits

    fitted = (("pca", "standard"), ("harmony", "standard"), ("scvi", "short"))
    expected = [base(model, recipe).tobytes() for model, recipe in fitted]
    during = []
    train = scvi.model.SCVI.train

    def watched(*given, **options):
        during.append(torch.get_num_threads())
        return train(*given, **options)

    monkeypatch.setattr(scvi.model.SCVI, "train", watched)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threadpool_limits(2):
            embedded = [embedding.embed(adata, model, recipe).tobytes() for model, recipe in fitted]
            assert embedded == expected
            assert torch.get_num_threads() == 2 and during == [1]
            assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {2}
    finally:
        torch.set_num_threads(before)


def test_scvi_and_others_run_on_one_batch(adata):
    one = adata.copy()
    one.obs["batch"] = "one"
    trained = embedding.run(one, "scvi", "short")
    assert trained.matrix.shape == (260, 30) and "fitted without batches" in trained.notes[0]
    assert embedding.embed(one, "pca").shape == (260, 50)


def mixing(values, batches):
    """iLISI, 50 neighbours of equal weight: that of scib-metrics compiles longer than all else here."""
    nearest = np.asarray(batches)[metrics.nearest_neighbors(values, 50).indices]
    shares = np.stack([(nearest == batch).mean(axis=1) for batch in np.unique(batches)])
    return (np.median(1 / (shares**2).sum(axis=0)) - 1) / (len(shares) - 1)


def test_harmony_mixes_batches_that_pca_keeps_apart():
    strong = atlas(n_cells=900, composition_strength=0.2)
    pca, harmony = (embedding.embed(strong, model) for model in ("pca", "harmony"))
    batches, labels = strong.obs["batch"], strong.obs["cell_type"]
    assert mixing(pca, batches) < 0.5 and mixing(harmony, batches) > mixing(pca, batches) + 0.3
    before, after = (metrics.asw_label(metrics.label_widths(values, labels)) for values in (pca, harmony))
    assert after > before - 0.02  # the types are not paid for it


def test_harmony_long_goes_on_where_the_default_stops():
    far = atlas(n_cells=900, composition_strength=0.2, batch_strength=1.5)
    default, long = (embedding.embed(far, "harmony", recipe) for recipe in ("standard", "long"))
    assert mixing(long, far.obs["batch"]) > mixing(default, far.obs["batch"]) + 0.1


def test_scvi_learns_with_epochs(adata, base):
    """Trained longer, it tells the types better apart than after one pass over the cells."""
    trained = replace(load_at_full_length("scvi", "short"), epochs=12)
    values = trained.embed(Cells.of(adata, with_batches=True), 0)
    assert values.shape == (260, 30) and values.dtype == np.float32
    labels = adata.obs["cell_type"]
    once, longer = (
        metrics.asw_label(metrics.label_widths(found, labels)) for found in (base("scvi", "short"), values)
    )
    assert longer > once + 0.01


def test_recipes_reach_the_model():
    assert load_at_full_length("scvi").epochs is None
    assert load_at_full_length("scvi", "short").epochs == 60
    assert load_at_full_length("hvg").n_genes == 2000 and load_at_full_length("random").dim == 50


# -- controls


def test_shuffled_genes_keep_each_cells_values(adata):
    shuffled = controls.shuffle_genes(adata.X, seed=0)
    assert shuffled.shape == adata.shape and (np.diff(shuffled.indptr) == np.diff(adata.X.indptr)).all()
    assert (shuffled.sum(axis=1) == adata.X.sum(axis=1)).all()
    for cell in range(adata.n_obs):
        row = slice(shuffled.indptr[cell], shuffled.indptr[cell + 1])
        assert len(set(shuffled.indices[row])) == row.stop - row.start
        assert sorted(shuffled.data[row]) == sorted(adata.X.data[row])
    # Every gene is as likely as any other: what one gene held on average is gone.
    assert np.ptp((shuffled > 0).mean(axis=0)) < 0.5 * np.ptp((adata.X > 0).mean(axis=0))
    assert (controls.shuffle_genes(adata.X, 0) != shuffled).nnz == 0
    assert (controls.shuffle_genes(adata.X, 1) != shuffled).nnz > 0


def test_shuffled_genes_lose_the_cell_types(adata, base):
    found = {
        model: metrics.score(
            base(model, "standard"), adata.obs["cell_type"], names=["avg_bio", "nmi", "ari"]
        ).set_index("metric")["value"]
        for model in ("pca", "shuffled-genes", "random")
    }
    assert found["pca"]["avg_bio"] > 0.5
    assert found["shuffled-genes"]["avg_bio"] < 0.35 and found["shuffled-genes"]["ari"] < 0.15
    assert found["random"]["ari"] < 0.1


def test_depth_only_is_the_depth(adata, base):
    found = base("depth-only", "standard")
    assert found.shape == (260, 2)
    for column, known in enumerate([adata.obs["library_size"], np.diff(adata.X.indptr)]):
        assert np.corrcoef(found[:, column], np.log1p(known))[0, 1] > 0.999
    assert np.allclose(found.mean(axis=0), 0, atol=1e-5) and np.allclose(found.std(axis=0), 1, atol=1e-5)


def test_depth_only_of_equal_cells_is_finite(adata):
    equal = AnnData(sparse.csr_matrix(np.ones((20, 5), np.float32)))
    equal.obs["library_size"], equal.obs["batch"] = 5.0, "one"
    assert (embedding.embed(equal, "depth-only") == 0).all()


def test_random_is_standard_normal(base):
    found = base("random", "standard")
    assert found.shape == (260, 50) and abs(found.mean()) < 0.03 and abs(found.std() - 1) < 0.03
    off_diagonal = np.corrcoef(found)[np.triu_indices(260, 1)]
    assert abs(off_diagonal.mean()) < 0.01
