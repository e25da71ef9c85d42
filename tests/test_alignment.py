"""Rows that are not those of the cells: what is found on real cells, and what is left alone."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from zeroshot import data, metrics, models, pipeline, store
from zeroshot.embedding import alignment, integrity
from zeroshot.models import Cells


@pytest.fixture(scope="module")
def cells():
    return data.load("pbmc68k-reduced", subset=300)


@pytest.fixture(scope="module")
def embeddings(cells):
    """The baselines of the smoke study, and the two controls that know nothing or the labels alone."""
    given = Cells.of(cells, with_batches=False)
    found = {name: models.load(name).embed(given, 0) for name in ("pca", "hvg", "random")}
    return found | {"label-oracle": metrics.label_oracle(cells.obs["cell_type"].to_numpy())}


@pytest.fixture(scope="module")
def labels(cells):
    return cells.obs["cell_type"].to_numpy()


def by_length(cells):
    """Rows as tokenisers return them that sort cells by their number of detected genes, longest first."""
    return np.argsort(-np.asarray((cells.X > 0).sum(axis=1)).ravel(), kind="stable")


def checks(*given, **options):
    return [doubt.check for doubt in alignment.doubts(*given, **options)]


def test_embeddings_in_order_raise_no_doubt(embeddings, labels):
    for name in ("pca", "hvg", "label-oracle"):
        assert checks(embeddings[name], embeddings["pca"], labels) == [], name
        assert name == "label-oracle" or checks(embeddings[name], embeddings["pca"]) == [], name


def test_neither_offset_nor_size_nor_a_far_cell_hides_or_feigns_an_order(cells, embeddings):
    pca = embeddings["pca"].astype(np.float64)
    far = pca.copy()
    far[[3, 150]] *= 1e8
    order = by_length(cells)
    for name, values in {"near": pca, "far": far}.items():
        for offset, scale in ((1e9, 1), (-1e12, 1), (1e9, 1e-200), (1e9, 1e200)):
            moved = (values + offset) * scale
            case = name, offset, scale
            assert checks(moved, pca) == [] and checks(pca, moved) == [], case
            assert checks(moved[order], pca)[0] == "neighbours are no better than chance", case


def test_rows_sorted_by_length_are_found(cells, embeddings, labels):
    order = by_length(cells)
    for name in ("pca", "hvg", "label-oracle"):
        found = alignment.doubts(embeddings[name][order], embeddings["pca"], labels)
        assert found[0].check == "neighbours are no better than chance", name
        assert "obs_names" in found[0].advice and "have the label of their cell" in found[0].seen
    # Length goes with the first component: sorted rows tell their position.
    assert "the values tell the position of the row" in checks(embeddings["pca"][order], embeddings["pca"])


def test_random_numbers_cannot_be_told_from_shuffled_rows_and_the_doubt_says_so(embeddings, labels):
    (doubt,) = alignment.doubts(embeddings["random"], embeddings["pca"], labels)
    assert str(doubt).startswith("neighbours are no better than chance: ")
    assert "as little of these cells as random numbers do" in doubt.advice


def test_cells_without_structure_raise_no_doubt(labels):
    noise = np.random.default_rng(0).normal(size=(2, 300, 20))
    assert checks(noise[0], noise[1], labels) == []


def test_a_file_sorted_by_batch_hides_nothing():
    atlas = data.load("simulated-atlas", subset=400)
    assert atlas.obs["batch"].is_monotonic_increasing
    reference = models.load("pca").embed(Cells.of(atlas, with_batches=False), 0)
    moved, types = reference[by_length(atlas)], atlas.obs["cell_type"].to_numpy()
    assert checks(reference, reference, types) == []
    # Length differs between batches, so that sorted rows often are of the batch that stands there.
    assert checks(moved, reference, types)[0] == "neighbours are no better than chance"


@pytest.mark.parametrize("scale", [1, -2.5, 1e-3])
def test_a_column_that_counts_the_rows_is_found(embeddings, scale):
    counting = scale * np.arange(300) + 7
    values = np.column_stack([embeddings["hvg"][:, :4], counting]).astype(np.float32)
    assert alignment.counters(values) == [4]
    assert checks(values) == ["a column counts the rows"]


def test_other_columns_are_no_counters(embeddings):
    rows = np.arange(300.0)
    others = [np.sqrt(rows), rows // 2, np.zeros(300), np.full(300, 5.0), np.where(rows == 299, 1, 0)]
    others += [np.where(rows == 150, rows + 1, rows)]
    assert alignment.counters(np.column_stack([*others, embeddings["pca"]])) == []
    # Far from zero a counter is one as long as its steps are larger than the rounding.
    smooth = np.column_stack([1e9 + 10 * rows, 1e9 + 3000 * np.sqrt(rows / 299)])
    assert alignment.counters(smooth) == [0] and alignment.counters(smooth.astype(np.float32)) == []
    assert alignment.counters(np.arange(9.0)[:, None]) == []  # too few to say
    assert alignment.counters(rows) == [] and alignment.counters(np.full((300, 1), np.nan)) == []


def test_a_study_does_not_score_an_embedding_that_counts_its_rows(home, cells, embeddings):
    def scored(name, values):
        probed = integrity.table([("rows are those of the cells", True, "none differs")])
        content = {"embedding": values, "checks": probed}
        embedded = store.load_or_compute("embedding", {"embedding": name}, lambda: content)
        return pipeline.score(cells, embedded, names=["asw_label"])

    counting = scored("counting", np.column_stack([embeddings["pca"], np.arange(300)]))
    assert not counting.load("checks")["passed"].all() and "subsamples" not in counting
    (score,) = counting.load("scores").itertuples()
    assert np.isnan(score.value) and "no column counts the rows" in score.note
    random = scored("random", embeddings["random"])
    assert random.load("checks")["passed"].all() and random.load("scores")["value"].notna().all()


@pytest.fixture(scope="module")
def users_file(cells, embeddings, tmp_path_factory):
    order = by_length(cells)
    adata = AnnData(cells.X, cells.obs[["cell_type"]].copy(), cells.var[[]].copy())
    adata.obsm["X_good"] = embeddings["hvg"]
    adata.obsm["X_sorted"] = embeddings["hvg"][order]
    adata.obsm["X_indexed"] = np.column_stack([np.arange(300), embeddings["hvg"][order]]).astype("f4")
    path = tmp_path_factory.mktemp("aligned") / "mine.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture
def evaluate(home, zeroshot, monkeypatch):
    """Call the command with one quick metric; gives its exit code and what it prints."""
    real = metrics.score_with_intervals
    monkeypatch.setattr(metrics, "score_with_intervals", lambda *a, **o: real(*a, names=["asw_label"], **o))

    def evaluate(path, *keys, arguments=()):
        named = [part for key in keys for part in ("--embedding", key)]
        given = ["evaluate", path, *named, "--label-key", "cell_type", *arguments]
        return zeroshot(*given, "--output", home / "scores.csv")

    return evaluate


def test_evaluate_warns_and_scores_nevertheless(users_file, evaluate, home):
    code, out, err = evaluate(users_file, "X_good", "X_sorted", "X_indexed", arguments=["--json"])
    assert code == 0, err
    record = {entry["embedding"]: entry for entry in json.loads(out)}
    found = {key: [warning["check"] for warning in entry["warnings"]] for key, entry in record.items()}
    assert found["X_good"] == [] and found["X_sorted"][0] == "neighbours are no better than chance"
    assert found["X_indexed"][0] == "a column counts the rows"
    assert {row["metric"] for row in record["X_sorted"]["scores"]} == {"asw_label"}
    assert "warning: X_sorted: neighbours" in err and "warning: X_good" not in err
    table = pd.read_csv(home / "scores.csv", keep_default_na=False).set_index("embedding")
    assert table["warning"]["X_good"] == "" and "counts the rows" in table["warning"]["X_indexed"]


def test_the_form_in_which_a_file_holds_numbers_changes_no_score(users_file, evaluate, home, embeddings):
    adata = anndata.read_h5ad(users_file)
    names = [f"d{column}" for column in range(embeddings["hvg"].shape[1])]
    adata.obsm["X_double"] = embeddings["hvg"].astype(">f8")
    adata.obsm["X_table"] = pd.DataFrame(embeddings["hvg"], adata.obs_names, names)
    adata.write_h5ad(home / "forms.h5ad")
    assert evaluate(home / "forms.h5ad", "X_good", "X_double", "X_table")[0] == 0
    table = pd.read_csv(home / "scores.csv").set_index("embedding")[["value", "low", "high"]]
    assert (table.loc["X_double"].to_numpy() == table.loc["X_good"].to_numpy()).all()
    assert (table.loc["X_table"].to_numpy() == table.loc["X_good"].to_numpy()).all()
    wide = np.array([[0.1], [1.0]])  # numbers that float32 does not hold stay as they are
    assert pipeline.scores.single(wide) is wide and pipeline.scores.single(wide[1:]).dtype == np.float32


def test_evaluate_says_where_there_are_no_counts_to_compare_with(users_file, evaluate, home):
    adata = anndata.read_h5ad(users_file)
    adata.X = adata.X.multiply(0.5).tocsr()
    adata.write_h5ad(home / "values.h5ad")
    code, out, err = evaluate(home / "values.h5ad", "X_sorted")
    assert code == 0 and "warning" not in err
    assert "note: the order of the rows was not compared with counts: " in out
    alike = adata.copy()
    alike.X = np.ones(adata.shape)
    alike.write_h5ad(home / "alike.h5ad")
    code, out, err = evaluate(home / "alike.h5ad", "X_sorted")
    assert code == 0 and "cells have the same values of all" in out
    _, _, err = evaluate(home / "values.h5ad", "X_sorted", arguments=["--before", "X_good"])
    assert "warning: X_sorted: neighbours are no better than chance" in err
