"""The steps of a run: what is stored, when it is used again, and how scores become a table."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from zeroshot import catalog, embedding, metrics, pipeline, results, store
from zeroshot.data import content_hash, contract, simulate_atlas
from zeroshot.embedding import integrity
from zeroshot.notebooks import stamp
from zeroshot.runtime import paths
from zeroshot.store import dependencies
from zeroshot.study.computing import tables_of_run

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own with an empty store."""
    (tmp_path / "data").mkdir()
    for name in ("datasets", "models", "studies"):
        shutil.copy(CHECKOUT / "data" / f"{name}.yml", tmp_path / "data")
    monkeypatch.setenv("ZEROSHOT_HOME", str(tmp_path))
    return tmp_path


def toy(seed=0):
    raw = simulate_atlas(n_cells=240, n_genes=230, n_batches=2, seed=seed)
    adata = contract(raw, name="toy", batch_key="batch")
    adata.uns["dataset"] = {"name": "toy", "content_hash": content_hash(adata)}
    return adata


@pytest.fixture(scope="module")
def atlas():
    return toy()


def contents(values):
    """What an artifact of a model without checks of its own holds."""
    return {"embedding": values, "checks": integrity.table([])}


@pytest.fixture
def counted(monkeypatch):
    """How often an embedding, a table of scores or a UMAP was really computed; scoring is quick."""
    counts = {"embed": 0, "score": 0, "project_umap": 0}
    real_embed, real_score = embedding.run, metrics.score_with_intervals

    def embed(*args, **options):
        counts["embed"] += 1
        return real_embed(*args, **options)

    def score(*args, **options):
        counts["score"] += 1
        return real_score(*args, names=["asw_label", "pcr"], **options)

    def project_umap(values, seed=0):
        counts["project_umap"] += 1
        return values[:, :2] + seed

    monkeypatch.setattr(embedding, "run", embed)
    monkeypatch.setattr(metrics, "score_with_intervals", score)
    monkeypatch.setattr(embedding, "project_umap", project_umap)
    return counts


# -- refused before or after it is computed


def test_a_single_gene_and_a_flat_embedding_are_refused_with_what_to_do(project, atlas, monkeypatch):
    with pytest.raises(embedding.EmbeddingError, match=r"PCA is fitted .* 240 cells x 1 genes: give"):
        pipeline.embed(atlas[:, :1], "pca")
    alike = atlas[[0] * 30].copy()
    alike.obs_names_make_unique()
    with pytest.raises(ValueError, match="all 30 cells have the same values"):
        pipeline.embed(alike, "pca")
    flat = embedding.Embedded(np.ones((atlas.n_obs, 3), np.float32), checks=integrity.table([]))
    monkeypatch.setattr(embedding, "run", lambda *arguments, **options: flat)
    with pytest.raises(integrity.IntegrityError, match="not constant") as refusal:
        pipeline.sound_matrix(pipeline.embed(atlas, "random"), atlas.n_obs)
    assert "few cells or genes, give more" in refusal.value.__notes__[0]


# -- stored once, used again


def test_each_step_is_computed_once_and_kept(project, atlas, counted):
    first = pipeline.embed(atlas, "pca")
    assert not first.reused and first.path == paths.artifacts() / "embedding" / first.key
    scores, drawn = pipeline.score(atlas, first), pipeline.project(first)
    again = pipeline.embed(atlas, "pca")
    assert again.reused and again.key == first.key
    assert again.load("embedding").tobytes() == embedding.embed(atlas, "pca").tobytes()
    scored = pipeline.score(atlas, again)
    assert scored.reused and scored.key == scores.key
    assert (pipeline.project(again) == drawn).all()
    assert counted == {"embed": 1, "score": 1, "project_umap": 1}
    assert list(scored.load("scores").columns) == [
        "metric", "group", "value", "note", "cluster_sd", "low", "high", "seeds", "seed_sd",
    ]  # fmt: skip
    assert list(scored.load("subsamples").columns) == ["subsample", "metric", "value", "cells"]
    assert scored.load("checks")["passed"].all()


def test_provenance_names_all_inputs(project, atlas):
    found = pipeline.embed(atlas, "pca", seed=4).provenance
    assert found["stage"] == "embedding" and found["inputs"]["seed"] == 4
    assert found["inputs"]["data"] == atlas.uns["dataset"]["content_hash"]
    assert found["inputs"]["parameters"] == {"n_components": 50, "n_genes": 2000, "min_cells": 10}
    assert (found["inputs"]["model"], found["inputs"]["recipe"]) == ("pca", "standard")
    assert {"commit", "packages", "device", "seconds", "peak_memory_mb", "python"} <= set(found)


def test_default_recipe_and_its_name_are_one_key(project, atlas):
    assert pipeline.embed(atlas, "random").key == pipeline.embed(atlas, "random", "standard").key


def edit(project, registry, old, new):
    path = project / "data" / f"{registry}.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_key_follows_everything_the_embedding_depends_on(project, atlas, monkeypatch):
    keys = [pipeline.embed(atlas, "random").key]
    keys.append(pipeline.embed(atlas, "random", seed=1).key)
    keys.append(pipeline.embed(atlas, "depth-only").key)
    keys.append(pipeline.embed(toy(seed=1), "random").key)
    recipe = "      source: this book\n      parameters: {dim: 50}\n"
    edit(project, "models", recipe, recipe + "    same: {source: this book, parameters: {dim: 50}}\n")
    assert pipeline.embed(atlas, "random").key == keys[0]  # what another recipe says does not matter
    keys.append(pipeline.embed(atlas, "random", "same").key)
    edit(project, "models", "{dim: 50}", "{dim: 49}")
    keys.append(pipeline.embed(atlas, "random").key)
    edit(project, "models", "  title: random\n", "  title: random\n  version: 2\n")
    keys.append(pipeline.embed(atlas, "random").key)
    with monkeypatch.context() as patch:
        patch.setattr(dependencies, "code_hash", lambda modules: "other code")
        keys.append(pipeline.embed(atlas, "random").key)
    with monkeypatch.context() as patch:
        patch.setattr(dependencies, "package_versions", lambda modules: {"numpy": "99"})
        keys.append(pipeline.embed(atlas, "random").key)
    assert len(set(keys)) == len(keys) == 9


def test_key_does_not_follow_what_changes_no_number(project, atlas, monkeypatch):
    first = pipeline.embed(atlas, "random")
    edit(project, "models", "  title: random\n", "  title: noise\n")
    monkeypatch.setattr(store, "commit", lambda: "another")
    named = atlas.copy()
    named.uns["dataset"] = atlas.uns["dataset"] | {"name": "another name"}
    assert pipeline.embed(named, "random").key == first.key


def test_scores_follow_the_bytes_of_the_embedding(project, atlas, counted):
    a, b = pipeline.embed(atlas, "random"), pipeline.embed(atlas, "random", seed=1)
    keys = {pipeline.score(atlas, a).key, pipeline.score(atlas, b).key, pipeline.score(atlas, a, seed=1).key}
    assert len(keys) == 3 and counted["score"] == 3
    assert not (pipeline.project(a) == pipeline.project(a, seed=1)).all() and counted["project_umap"] == 2
    # The same values under another key are not scored again.
    copied = store.load_or_compute("embedding", {"copy": 1}, lambda: contents(a.load("embedding")))
    assert pipeline.score(atlas, copied).reused


def test_other_seeds_are_scored_where_they_matter(project, atlas, monkeypatch):
    real = metrics.score
    quick = ["asw_label", "pcr"]
    monkeypatch.setattr(metrics, "score", lambda *args, **options: real(*args, **options, names=quick))
    intervals = metrics.score_with_intervals
    monkeypatch.setattr(
        metrics, "score_with_intervals", lambda *args, **options: intervals(*args, **options, names=quick)
    )
    scored = pipeline.score(atlas, pipeline.embed(atlas, "random"))
    found = pipeline.score_other_seeds(atlas, scored, "random", seeds=3)
    others, table = found.load("other_seeds"), found.load("scores")
    assert list(others["seed"]) == [1, 1, 2, 2] and list(others["metric"]) == quick * 2
    again = pipeline.score(atlas, pipeline.embed(atlas, "random", seed=1)).load("scores")
    assert others.loc[others["seed"] == 1, "value"].tolist() == pytest.approx(
        again["value"].tolist(), abs=1e-6
    )
    together = [scored.load("scores")["value"][0], *others.loc[others["metric"] == "asw_label", "value"]]
    assert table["seed_sd"][0] == pytest.approx(np.std(together, ddof=1))
    assert table["value"].equals(scored.load("scores")["value"])
    assert pipeline.score_other_seeds(atlas, scored, "random", seeds=1) is None
    pca = pipeline.score(atlas, pipeline.embed(atlas, "pca"))
    assert pipeline.score_other_seeds(atlas, pca, "pca", seeds=3) is None


def test_a_seed_that_fails_the_gate_leaves_no_interval(project, atlas, counted, monkeypatch):
    scored = pipeline.score(atlas, pipeline.embed(atlas, "random"))
    broken = embedding.Embedded(np.zeros((atlas.n_obs, 3), np.float32))
    monkeypatch.setattr(embedding, "run", lambda *_, **__: broken)
    found = pipeline.score_other_seeds(atlas, scored, "random", seeds=2)
    assert found.load("other_seeds")["value"].isna().all()
    table = found.load("scores")
    assert table[["low", "high"]].isna().all().all() and table["value"].notna().any()


def test_umap_coordinates_are_scored_as_an_embedding(project, atlas, counted):
    embedded = pipeline.embed(atlas, "pca")
    found = pipeline.score_umap(atlas, embedded)
    labels, batches = (atlas.obs[name].to_numpy() for name in ("cell_type", "batch"))
    expected = metrics.score(pipeline.project(embedded), labels, batches, names=pipeline.ON_UMAP)
    pd.testing.assert_frame_equal(found.load("scores").fillna({"note": ""}), expected)
    assert pipeline.score_umap(atlas, embedded).reused and counted["project_umap"] == 1


def test_label_oracle_is_made_from_the_labels(project, atlas):
    found = pipeline.embed(atlas, "label-oracle", seed=2).load("embedding")
    expected = metrics.label_oracle(atlas.obs["cell_type"].to_numpy(), seed=2)
    assert found.tobytes() == expected.tobytes()


def test_unknown_recipe_stores_nothing(project, atlas):
    with pytest.raises(catalog.CatalogError, match="no recipe of pca is called 'paper'"):
        pipeline.embed(atlas, "pca", "paper")
    assert not paths.artifacts().exists()


def test_a_failure_while_embedding_leaves_nothing(project, atlas, monkeypatch):
    def fails(*_, **__):
        raise MemoryError("too large")

    monkeypatch.setattr(embedding, "run", fails)
    with pytest.raises(MemoryError):
        pipeline.embed(atlas, "pca")
    assert not list((paths.artifacts() / "embedding").iterdir())


# -- the gate


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((240, 3), np.nan, np.float32), "finite values: 240 cells with NaN or infinity"),
        (np.ones((240, 3), np.float32), "not constant: 1 distinct rows"),
        (np.eye(239, 3, dtype=np.float32), r"one row per cell: shape \(239, 3\) for 240 cells"),
    ],
)
def test_an_embedding_that_fails_is_not_scored(project, atlas, counted, values, reason):
    bad = store.load_or_compute("embedding", {"bad": reason}, lambda: contents(values))
    artifact = pipeline.score(atlas, bad)
    scores, checks = artifact.load("scores"), artifact.load("checks")
    assert counted["score"] == 0 and scores["value"].isna().all()
    assert list(scores["metric"]) == list(metrics.METRICS) and "subsamples" not in artifact
    assert scores["note"].str.contains(f"integrity gate and is not scored: .*{reason}").all()
    assert not checks["passed"].all()
    assert pipeline.score(atlas, bad).reused


def test_the_label_oracle_of_two_labels_is_scored(project, atlas):
    """Two points lie on a line, which is no collapse of the oracle, and is one of other embeddings."""
    two = atlas.copy()
    two.obs["cell_type"] = pd.Categorical(np.where(np.arange(240) % 2, "a", "b"))
    two.uns["dataset"] = {"name": "toy", "content_hash": content_hash(two)}
    names = ["asw_label"]
    scored = pipeline.score(two, pipeline.embed(two, "label-oracle"), names=names).load("scores")
    assert scored["value"][0] > 0.98
    line = store.load_or_compute("embedding", {"line": 1}, lambda: contents(np.arange(480.0).reshape(240, 2)))
    assert pipeline.score(two, line, names=names).load("scores")["value"].isna().all()


def test_without_pca_the_reason_says_that_batch_scores_need_it(project, atlas):
    few = atlas[:8].copy()
    few.obs["batch"] = pd.Categorical(["one", "two"] * 4)
    few.uns["dataset"] = {"name": "toy", "content_hash": content_hash(few)}
    with pytest.raises(ValueError, match="batch scores compare with PCA, which cannot be computed: no gene"):
        pipeline.score(few, pipeline.embed(few, "random"), names=["asw_label"])


def test_a_twin_whose_weights_are_drawn_by_ensembl_ids_says_so(project, atlas):
    named = atlas.copy()
    named.var_names = [f"ENSG{number:011d}" for number in range(named.n_vars)]
    named.uns["dataset"] = {"name": "toy", "content_hash": content_hash(named)}
    by_symbols, by_ids = (pipeline.embed(cells, "corpus-pca-untrained") for cells in (atlas, named))
    assert not np.array_equal(by_symbols.load("embedding"), by_ids.load("embedding"))
    notes = [" ".join(pipeline.notes_of(*pair)) for pair in ((by_symbols, atlas), (by_ids, named))]
    assert ["drawn by their names, which are Ensembl ids" in note for note in notes] == [False, True]


# -- policy


def test_policy_decides_what_is_computed(project, atlas, counted):
    with pytest.raises(store.NotStoredError, match="no embedding is stored"):
        pipeline.embed(atlas, "random", policy="only-stored")
    keys = {pipeline.embed(atlas, "random", policy="recompute").key for _ in range(2)}
    assert len(keys) == 1 and counted["embed"] == 2
    stored = pipeline.embed(atlas, "random", policy="only-stored")
    assert stored.reused and counted["embed"] == 2
    for step in (
        lambda: pipeline.score(atlas, stored, policy="only-stored"),
        lambda: pipeline.project(stored, policy="only-stored"),
        lambda: pipeline.run(atlas, "random", policy="only-stored"),
    ):
        with pytest.raises(store.NotStoredError):
            step()
    with pytest.raises(ValueError, match="unknown policy 'often': expected one of reuse"):
        pipeline.embed(atlas, "random", policy="often")


@pytest.mark.parametrize(("cells", "neighbors"), [(40, 15), (9, 8)])
def test_umap_is_drawn_as_the_paper_does(monkeypatch, cells, neighbors):
    """The settings only: compiling UMAP takes longer than all else here, and every run page draws one."""

    class Umap:
        def __init__(self, **settings):
            self.settings = settings

        def fit_transform(self, values):
            known = {"n_neighbors": neighbors, "min_dist": 0.3, "random_state": 7, "n_jobs": 1}
            assert self.settings == known
            return values[:, :2].astype(np.float64)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    found = embedding.project_umap(np.ones((cells, 5), np.float32), seed=7)
    assert found.shape == (cells, 2) and found.dtype == np.float32


# -- results


def executed(folder, record, name="page.ipynb"):
    """An executed notebook as papermill leaves it, its stamp in the last code cell."""
    outputs = [{"output_type": "execute_result", "data": {stamp.MIME: record, "text/plain": "x"}}]
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# One run"},
        {"cell_type": "code", "metadata": {}, "source": "1", "outputs": [{"output_type": "stream"}]},
        {"cell_type": "code", "metadata": {}, "source": "stamp()", "outputs": outputs if record else []},
        {"cell_type": "markdown", "metadata": {}, "source": "the end"},
    ]
    path = folder / name
    path.write_text(json.dumps({"cells": cells, "metadata": {}}))
    return path


def page(folder, atlas, model, recipe=None, dataset="simulated-atlas", subset=None, seed=0):
    """Run the steps of a page and write it."""
    embedded = pipeline.embed(atlas, model, recipe, seed=seed)
    scores = pipeline.score(atlas, embedded, seed=seed)
    given = {"dataset": dataset, "model": model, "recipe": recipe, "seed": seed, "subset": subset}
    record = stamp.stamp("run", atlas, [embedded, scores], **given)
    return executed(folder, record.record, f"{dataset}-{model}-{recipe}.ipynb"), scores


def test_stamp_is_read_back(project, atlas, counted, tmp_path):
    path, scores = page(tmp_path, atlas, "pca", subset=240)
    found = stamp.read(path)
    embedded = pipeline.embed(atlas, "pca")
    kept = [(artifact["stage"], artifact["key"]) for artifact in found["artifacts"]]
    assert kept == [("embedding", embedded.key), ("scores", scores.key)]
    assert found["artifacts"][0]["seconds"] == embedded.provenance["seconds"]
    assert found["data"] == atlas.uns["dataset"]["content_hash"] and found["n_cells"] == 240
    assert found["command"] == (
        "zeroshot notebook run -p 'dataset=\"simulated-atlas\"' -p 'model=\"pca\"' -p recipe=null -p seed=0 "
        "-p subset=240 --output run-again.ipynb"
    )
    with pytest.raises(ValueError, match="carries no stamp: execute it"):
        stamp.read(executed(tmp_path, None, "unfinished.ipynb"))


def test_stamp_escapes_what_it_shows(project, atlas):
    shown = stamp.stamp("run", atlas, [], dataset="<script>alert(1)</script>")
    bundle = shown._repr_mimebundle_()
    assert "<script>" not in bundle["text/html"] and "&lt;script&gt;" in bundle["text/html"]
    assert bundle[stamp.MIME]["parameters"] == {"dataset": "<script>alert(1)</script>"}


def test_a_run_gives_the_rows_of_every_table(project, atlas, counted):
    run = pipeline.run(atlas, "random", seeds=2)
    about = {"dataset": "simulated-atlas", "model": "random", "recipe": "standard"}
    tables = tables_of_run(run, atlas.n_obs, **about, seed=0, subset=240)
    assert set(tables) == set(results.RUN_TABLES)
    for name in tables:
        layout = results.TABLES[name]
        columns = {*layout.key, *layout.columns, *([layout.across, "value"] if layout.across else [])}
        assert columns <= set(tables[name]), name
        assert all((tables[name][column] == value).all() for column, value in about.items()), name
    stored = run.final_scores
    assert list(tables["scores"]["value"]) == list(stored["value"])
    assert tables["scores"]["seed_sd"].notna().all()
    (row,) = tables["runs"].to_dict("records")
    assert row["subset"] == "240" and row["n_cells"] == 240 and row["seeds"] == 2
    assert row["key"] == run.scored.key and row["seen_in_pretraining"] == "unseen"
    assert row["seconds"] == run.embedded.provenance["seconds"] and row["peak_memory_mb"] > 10
    assert len(tables["subsamples"]) == len(stored) * metrics.uncertainty.REPEATS
    assert tables["reconstruction"].empty


def test_wide_table():
    rows = [
        ("one", "random", 0.1), ("one", "PCA", 0.7), ("two", "random", 0.2), ("two", "PCA", 0.9),
        ("one", "Harmony", 0.95), ("two", "Harmony", np.nan),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["dataset", "method", "value"]).assign(metric="avg_bio")
    other = scores.assign(metric="nmi", value=0.0)
    table = results.wide(pd.concat([scores, other]), "avg_bio")
    assert list(table.columns) == ["one", "two"] and list(table.index) == ["Harmony", "PCA", "random"]
    assert table.loc["PCA"].tolist() == [0.7, 0.9] and np.isnan(table.loc["Harmony", "two"])
    assert (results.wide(pd.concat([scores, other]), "nmi").fillna(0) == 0).all(axis=None)
    with pytest.raises(ValueError, match="duplicate"):  # two runs of a method are never averaged in silence
        results.wide(pd.concat([scores, scores]), "avg_bio")


def test_every_metric_in_one_table():
    rows = [("one", "PCA", "avg_bio", 0.7), ("one", "PCA", "nmi", 0.6), ("two", "random", "nmi", np.nan)]
    table = results.every(pd.DataFrame(rows, columns=["dataset", "method", "metric", "value"]))
    assert list(table.index) == [("one", "AvgBIO ↑"), ("one", "NMI ↑"), ("two", "NMI ↑")]
    assert list(table.columns) == ["PCA", "random"] and table.loc[("one", "NMI ↑"), "PCA"] == 0.6
    assert table["random"].isna().all()


def test_lower_is_better_puts_the_lowest_first():
    rows = [("one", "random", "pcr", 0.1), ("one", "PCA", "pcr", 0.7)]
    scores = pd.DataFrame(rows, columns=["dataset", "method", "metric", "value"])
    assert list(results.wide(scores, "pcr", ascending=True).index) == ["random", "PCA"]
