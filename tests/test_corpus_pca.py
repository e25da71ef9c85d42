"""Corpus PCA: equal to scikit-learn's, indifferent to order and other cells, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from released import cells_of
from sklearn.decomposition import PCA
from typer.testing import CliRunner

from zeroshot import catalog, cli, data, embedding, models, pretraining
from zeroshot.embedding import Runner, Settings
from zeroshot.models import Cells, baselines, corpus_pca
from zeroshot.models.weights import WeightsError
from zeroshot.pretraining import TrainingError
from zeroshot.store import hashing
from zeroshot.tokens.genes import GeneOverlapError

CPU = Settings(device="cpu")
GENES = [f"G{number}" for number in range(90)]


def cells(n_cells=120, seed=0) -> Cells:
    """Cells of three kinds over all genes; the source has more of their counts than these genes."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.4, 4, (3, len(GENES)))
    counts = rng.poisson(rates[rng.integers(0, 3, n_cells)] * rng.gamma(4, 0.25, (n_cells, 1)))
    return cells_of(counts, GENES, library_size=counts.sum(axis=1) + 50.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "pca"
    pretraining.fit("corpus-pca", cells(), folder, facts={"names": ["this test"]})
    return folder


def project(target: Cells, folder) -> np.ndarray:
    runner = Runner(models.load("corpus-pca", weights=folder), target, 0, CPU)
    return runner.embed(np.arange(target.counts.shape[0]))


def same_up_to_sign(found, expected, atol):
    return np.allclose(found * np.sign((found * expected).sum(axis=0)), expected, atol=atol)


def test_scores_of_the_corpus_and_of_other_cells_are_those_of_sklearn(folder):
    """Float16 keeps three digits of a component; the first ones are apart from each other."""
    corpus, other = cells(), cells(30, seed=1)
    reference = PCA(50, svd_solver="full").fit(corpus.log_normalized().toarray().astype(np.float64))
    for target in (corpus, other):
        expected = reference.transform(target.log_normalized().toarray())
        assert same_up_to_sign(project(target, folder)[:, :10], expected[:, :10], atol=0.02)
    own = baselines.principal_components(corpus.log_normalized(), 10, 0)
    assert same_up_to_sign(project(corpus, folder)[:, :10], own, atol=0.02)  # of `pca`, on the same genes
    config = json.loads((folder / "config.json").read_text())
    assert config["dim"] == 50 and config["corpus"]["cells"] == 120 and config["corpus"]["names"]
    explained = reference.explained_variance_ratio_.sum()
    assert config["explained_variance_ratio"] == pytest.approx(explained, abs=1e-4)


def test_the_order_of_the_corpus_is_of_no_account_and_a_seed_gives_the_same_bytes(folder, tmp_path):
    corpus = cells()
    order = np.random.default_rng(1).permutation(120)
    turned = replace(
        corpus, counts=corpus.counts[order], ids=corpus.ids[order], library_size=corpus.library_size[order]
    )
    pretraining.fit("corpus-pca", turned, tmp_path / "turned")
    found = project(corpus, tmp_path / "turned")[:, :10]
    assert same_up_to_sign(found, project(corpus, folder)[:, :10], atol=0.02)
    pretraining.fit("corpus-pca-untrained", corpus, tmp_path / "again")
    first, second = (hashing.sha256(one / "model.safetensors") for one in (folder, tmp_path / "again"))
    assert first == second


def test_a_cell_is_projected_by_itself_and_an_absent_gene_moves_none(folder):
    target = cells(30, seed=1)
    whole = project(target, folder)
    alone = replace(
        target, counts=target.counts[3:4], ids=target.ids[3:4], library_size=target.library_size[3:4]
    )
    assert np.array_equal(project(alone, folder), whole[3:4])
    # A gene at its mean in the corpus adds nothing: absent genes are as if they were at it.
    fewer = replace(target, counts=target.counts[:, 10:], genes=target.genes[10:])
    values = target.log_normalized().toarray().astype(np.float64)
    reference = PCA(50, svd_solver="full").fit(cells().log_normalized().toarray().astype(np.float64))
    values[:, :10] = reference.mean_[:10]
    expected = reference.transform(values)[:, :10]
    assert same_up_to_sign(project(fewer, folder)[:, :10], expected, atol=0.02)
    unknown = replace(target, genes=pd.Index([*GENES[:-1], "unknown"]))
    runner = Runner(models.load("corpus-pca", weights=folder), unknown, 0, CPU)
    assert runner.tokenizer.overlap.set_index("rule")["genes"].to_dict() == {"symbol": 89, "unmatched": 1}


def test_genes_are_found_under_the_names_of_another_day():
    alignment = corpus_pca.align(["ENSG00000156738", "CD3D", "nothing", "MIR3648"], ["CD3D", "MS4A1", "G"])
    assert alignment.targets.tolist() == [1, 0, -1, -1]
    assert alignment.rules.tolist() == ["alias", "symbol", "unmatched", "unmatched"]


def test_few_cells_give_fewer_components(tmp_path):
    pretraining.fit("corpus-pca", cells(12), tmp_path / "few")
    assert project(cells(5, seed=1), tmp_path / "few").shape == (5, 11)


def test_what_is_damaged_or_does_not_belong_together_is_refused(folder, tmp_path):
    target = cells(10)
    with pytest.raises(TrainingError, match="exists"):
        pretraining.fit("corpus-pca", target, folder)
    alike = cells_of(np.full((30, len(GENES)), 2), GENES)
    for nothing, message in (
        (cells(2), "2 cells x 90 genes: give at least three"),
        (alike, "the same values"),
    ):
        with pytest.raises(TrainingError, match=message):
            pretraining.fit("corpus-pca", nothing, tmp_path / "nothing")
    with pytest.raises(TrainingError, match="scgpt-untrained is not fitted to a corpus"):
        pretraining.fit("scgpt-untrained", target, tmp_path / "x")
    few = replace(target, genes=pd.Index([*GENES[:30], *map(str, range(60))]))
    with pytest.raises(GeneOverlapError, match="Corpus PCA knows 30 of 90 genes"):
        project(few, folder)
    weights = np.where(np.arange(90) < 30, 100, 1)  # most counts are of known genes: enough for a sum
    assert project(few.with_counts(few.counts.multiply(weights).tocsr()), folder).shape == (10, 50)
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    for others in (list(reversed(GENES)), GENES[:3]):  # not taken for a data set of other genes
        (damaged / "gene_list.txt").write_text("\n".join(others) + "\n")
        with pytest.raises(WeightsError, match=r"gene_list.txt is not the list of genes that .*config.json"):
            project(target, damaged)
    shutil.copy(folder / "gene_list.txt", damaged)
    weights = (folder / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(WeightsError, match="damaged or incomplete"):
        project(target, damaged)
    spaces = replace(target, genes=pd.Index([*GENES[:-1], "with space"]))
    with pytest.raises(WeightsError, match="'with space' cannot be a line"):
        pretraining.fit("corpus-pca", spaces, tmp_path / "spaces")


def test_the_command_fits_a_corpus_and_refuses_settings_of_a_training(home, tmp_path):
    command = ["pretrain", "--model", "corpus-pca", "--corpus", "pbmc68k-reduced", "--output"]
    refused = CliRunner().invoke(cli.app, [*command, str(tmp_path / "pca"), "--epochs", "3"])
    assert refused.exit_code and "has no --epochs" in str(refused.exception) + refused.output
    done = CliRunner().invoke(cli.app, [*command, str(tmp_path / "pca")])
    assert done.exit_code == 0, done.output
    assert "note: pbmc68k-reduced: " in done.output  # what was decided while it was read
    corpus = json.loads((tmp_path / "pca" / "config.json").read_text())["corpus"]
    assert corpus["names"] == ["pbmc68k-reduced"] and corpus["sources"] == {"pbmc68k-reduced": 693}
    adata = data.load("pbmc68k-reduced", subset=60, seed=1)
    embedded = embedding.run(adata, "corpus-pca", weights=tmp_path / "pca", settings=CPU)
    assert embedded.matrix.shape == (60, 50) and embedded.checks["passed"].all()


# -- the weights that the repository holds

IN_REPOSITORY = [card for card in catalog.models().values() if card.weights and card.weights.in_repository]


@pytest.mark.parametrize("card", IN_REPOSITORY, ids=lambda card: card.name)
def test_weights_of_the_repository_are_those_of_their_card_and_corpus(card):
    """Found without --weights, of the cells that the corpus has today."""
    checkpoint = models.find_checkpoint(card, None, None)
    assert checkpoint.origin == "this repository"
    for role, file in card.weights.files.items():
        path = checkpoint.files[role]
        assert (path.stat().st_size, checkpoint.hashes[role]) == (file.size, file.sha256), path
        assert file.size < 6 * 2**20
    config = checkpoint.files["config"]
    training = config.with_name("training.json")  # of what is trained in steps
    fitted_to = json.loads((training if training.exists() else config).read_text())["corpus"]
    corpus = catalog.corpus(card.pretrained_on.corpus)
    assert fitted_to["names"] == [corpus.name] and fitted_to["cells"] == corpus.cells
    assert set(fitted_to["sources"]) == set(catalog.sources_of(corpus))
    assert sum(fitted_to["sources"].values()) == corpus.cells


def test_the_weights_of_the_repository_are_below_40_megabytes():
    assert sum(file.size for card in IN_REPOSITORY for file in card.weights.files.values()) < 40e6


def test_changed_weights_of_the_repository_are_refused(home):
    (home / "data" / "weights").unlink()
    folder = home / "data" / "weights" / "corpus-pca"
    with pytest.raises(WeightsError, match=r"gene_list.txt: absent, or without the sha256 of corpus-pca"):
        models.find_checkpoint(catalog.model("corpus-pca"), None, None)
    assert not folder.exists()
