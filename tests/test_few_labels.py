"""Labels predicted from few labelled cells: known answers, what is drawn, where it is stored and read."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from zeroshot import data, pipeline, results
from zeroshot.metrics.label_transfer import PER_TYPE, few_label_scores, few_labels
from zeroshot.pipeline import COMPUTED_BY
from zeroshot.results import few_labels as summaries
from zeroshot.runtime import paths
from zeroshot.store import dependencies


def types(n_cells=900, n_types=4, n_dims=60, distance=6.0, shift=0.0, seed=0):
    """Cells of types that lie apart, in two batches that lie apart as well; labels and batches."""
    rng = np.random.default_rng(seed)
    labels, batches = np.arange(n_cells) % n_types, (np.arange(n_cells) // n_types) % 2
    centres = distance * np.eye(n_types, n_dims)
    cells = rng.normal(size=(n_cells, n_dims)) + centres[labels]
    cells[:, -1] += shift * batches
    return cells.astype(np.float32), np.array(list("abcd"))[labels], np.array(["x", "y"])[batches]


def means(table):
    keys = ["split", "classifier", "statistic", "per_type"]
    return table.groupby(keys)["value"].mean()


def test_types_apart_need_few_labels_and_noise_learns_nothing():
    cells, labels, batches = types()
    found = means(few_label_scores(cells, labels, batches))
    assert set(found.index.get_level_values("per_type")) == set(PER_TYPE)
    for split in ("random", "batch-out"):
        for classifier in ("knn", "logistic"):
            curve = found[split, classifier, "accuracy"]
            assert curve[100] > 0.97 and curve[100] >= curve[1]
    assert found["random", "logistic", "macro_f1"][30] > 0.95
    assert found["type-out", "distance", "novelty_auroc"][100] > 0.7
    noise = means(few_label_scores(np.random.default_rng(1).normal(size=(900, 8)), labels, batches))
    assert noise.drop("type-out").between(0.15, 0.35).all()
    assert noise["type-out"].item() == pytest.approx(0.5, abs=0.06)


def test_a_batch_effect_harms_the_other_batch_alone():
    cells, labels, batches = types(n_cells=400, shift=30)
    # In the other batch each type looks like its neighbour in the first.
    labels = np.where(batches == "y", np.roll(np.unique(labels), 1)[np.arange(400) % 4], labels)
    found = means(few_label_scores(cells, labels, batches, draws=2))
    random, held_out = (found[split, "knn", "accuracy"][30] for split in ("random", "batch-out"))
    assert random > 0.95 and held_out < 0.05


def test_scores_are_those_of_scikit_learn():
    cells, labels, _ = types(distance=2.0)
    codes = np.unique(labels, return_inverse=True)[1]
    (split,) = few_labels._random_splits(codes, np.random.default_rng(0))
    distances = few_labels._squared_distances(cells, split)
    order = np.argsort(distances, axis=1)
    used = split.labelled[split.place < 10]
    assert (np.bincount(codes[used]) == 10).all() and not np.isin(split.test, split.labelled).any()
    scores = few_labels._accuracies(split, codes, cells, order)
    reference = KNeighborsClassifier(1).fit(cells[split.labelled[split.place < 1]], [0, 1, 2, 3])
    one = codes[split.labelled[split.place < 1]]
    predicted = one[reference.predict(cells[split.test])]
    assert scores["knn", 1, "accuracy"] == np.mean(predicted == codes[split.test])
    expected = f1_score(codes[split.test], predicted, average="macro")
    assert scores["knn", 1, "macro_f1"] == pytest.approx(expected)
    novelty = []
    for code in range(4):
        others = distances[:, codes[split.labelled] != code]
        nearest = np.sqrt(np.sort(others, axis=1)[:, :15]).mean(axis=1)
        novelty.append(roc_auc_score(codes[split.test] == code, nearest))
    assert few_labels._novelty(split, codes, distances, order) == pytest.approx(np.mean(novelty))


def test_rare_types_give_what_they_have_and_large_numbers_are_left_out():
    cells, labels, batches = types(n_cells=180)
    labels[:8] = "rare"
    labels[8] = "alone"
    table = few_label_scores(cells, labels, batches, draws=2)
    random = table[table["split"] == "random"]
    # 22 cells of a type that are not of the test: 10 each, but not 30.
    assert sorted(random["per_type"].unique()) == [1, 3, 10]
    assert set(table["draw"]) == {0, 1} and table["value"].between(0, 1).all()
    assert not table.duplicated(few_labels.COLUMNS[:-1]).any()
    one_batch = few_label_scores(cells, labels, np.full(180, "x"), draws=1)
    assert set(one_batch["split"]) == {"random", "type-out"}
    split_by_type = few_label_scores(cells, labels, labels, draws=1)
    assert "batch-out" not in set(split_by_type["split"])
    nothing = few_label_scores(cells[:4], list("abcc"), None)
    assert list(nothing) == few_labels.COLUMNS and nothing.empty


def test_many_types_with_one_labelled_cell_each_print_no_warning(recwarn):
    codes = np.arange(96) % 24
    cells = np.eye(24)[codes] + np.random.default_rng(0).normal(0, 0.1, (96, 24))
    scores = few_label_scores(cells, codes.astype(str), None, draws=1)
    assert scores.query("per_type == 1 and classifier == 'logistic'")["value"].min() > 0.9
    assert not [str(warning.message) for warning in recwarn]


def test_draws_depend_on_the_seed_and_not_on_the_embedding(monkeypatch):
    cells, labels, batches = types(n_cells=200)
    drawn = []
    split = few_labels._split
    monkeypatch.setattr(few_labels, "_split", lambda *a: drawn.append(split(*a)) or drawn[-1])
    first = few_label_scores(cells, labels, batches, seed=3, draws=1)
    few_label_scores(cells[:, :2], labels, batches, seed=3, draws=1)
    few_label_scores(cells, labels, batches, seed=4, draws=1)
    n = len(drawn) // 3
    assert all((drawn[i].test == drawn[n + i].test).all() for i in range(n))
    assert (drawn[0].test != drawn[2 * n].test).any()
    assert few_label_scores(cells, labels, batches, seed=3, draws=1).equals(first)


def test_the_table_has_a_stage_of_its_own(home, monkeypatch):
    """What is stored of a run stays when the code of this table changes, and the other way round."""
    real = dependencies.source_hashes

    def stages_changed_by(module):
        before = {stage: dependencies.code_hash(of) for stage, of in COMPUTED_BY.items()}
        edited = {module: "edited"}
        monkeypatch.setattr(
            dependencies, "source_hashes", lambda of: real(of) | (edited if module in of else {})
        )
        after = {stage: dependencies.code_hash(of) for stage, of in COMPUTED_BY.items()}
        monkeypatch.setattr(dependencies, "source_hashes", real)
        return {stage for stage in before if before[stage] != after[stage]}

    assert stages_changed_by("zeroshot.metrics.label_transfer.few_labels") == {"few-labels"}
    assert stages_changed_by("zeroshot.metrics.label_transfer.votes") == {"few-labels", "mapping"}
    assert stages_changed_by("zeroshot.metrics.label_transfer.mapping") == {"mapping"}
    assert stages_changed_by("zeroshot.metrics.annotation") == {"scores", "umap-scores"}
    cells = data.load("pbmc68k-reduced", subset=120)
    embedded = pipeline.embed(cells, "random")
    scored = pipeline.score(cells, embedded, names=["knn_accuracy"])
    stored = pipeline.score_few_labels(cells, embedded, scored)
    assert stored.path.parent.name == "few-labels" and not stored.reused
    assert pipeline.score_few_labels(cells, embedded, scored).reused
    assert list(stored.load("labels")) == few_labels.COLUMNS
    # One without subsamples failed the integrity gate.
    assert pipeline.score_few_labels(cells, embedded, embedded) is None


def test_the_table_is_written_read_and_kept(home):
    cells, labels, batches = types(n_cells=200)
    about = {"dataset": "pbmc-sorted", "model": "pca", "recipe": "standard"}
    rows = few_label_scores(cells, labels, batches, draws=3).assign(**about)
    layout = results.TABLES["labels"]
    file = paths.study("real") / "labels.csv"
    file.parent.mkdir(parents=True)
    file.write_text(layout.to_csv(rows))
    table = results.load_labels("real")
    assert set(table["method"]) == {"PCA"} and layout.to_csv(table) == file.read_text()
    merged = table.merge(rows, on=[*layout.key, "draw"], validate="one_to_one")
    assert len(merged) == len(rows)
    assert np.abs(merged["value_x"] - merged["value_y"]).max() < 5.1e-5  # four digits
    text = file.read_text()
    file.write_text(text[: text.rindex(",")] + ",1.2\n")
    with pytest.raises(results.TableError, match=r"holds the value 1.2: it lies between 0 and 1"):
        results.load_labels("real")


def test_committed_scores_may_lack_the_table(home):
    empty = results.TABLES["labels"].empty()
    read = results.read_csv("labels", home / "labels.csv", "")
    assert list(read.drop(columns="line")) == list(empty) and read.empty
    (home / "labels.csv").write_text(results.TABLES["labels"].to_csv(empty))
    again = results.read_csv("labels", home / "labels.csv", "").drop(columns="line")
    assert again.empty and set(again) == set(empty)
    assert pd.concat([empty, again]).empty


# -- what a study says of it -----------------------------------------------------------------------


def tidy(values, **about):
    """Rows of a study by method, data set and number of labelled cells; two draws 0.02 apart."""
    rows = [
        {"method": method, "model": model, "dataset": dataset, "per_type": n, "draw": draw, "value": v + d}
        for (method, model, dataset), curve in values.items()
        for n, v in curve.items()
        for draw, d in enumerate((-0.01, 0.01))
    ]
    defaults = {"split": "random", "classifier": "knn", "statistic": "accuracy", "recipe": "standard"}
    return pd.DataFrame(rows).assign(**defaults | about)


def test_curves_are_means_over_data_sets_with_intervals_over_draws():
    labels = tidy({("PCA", "pca", "a"): {1: 0.4, 3: 0.6}, ("PCA", "pca", "b"): {1: 0.6}})
    table = summaries.curves(labels).set_index("per_type")
    assert table.loc[1, "value"] == pytest.approx(0.5) and table.loc[1, "n_datasets"] == 2
    assert table.loc[3, "value"] == pytest.approx(0.6) and table.loc[3, "n_datasets"] == 1
    half = stats.t.ppf(0.975, 1) * 0.01  # the standard error of two draws
    assert table.loc[1, "high"] - table.loc[1, "value"] == pytest.approx(half)
    assert summaries.curves(labels, "macro_f1").empty
    with pytest.raises(ValueError, match="statistic"):
        summaries.curves(labels, "f1")


def test_methods_are_tied_where_the_difference_over_draws_may_be_none():
    draws = {
        "pca": [0.5, 0.6, 0.7],
        "hvg": [0.51, 0.58, 0.7],
        "scvi": [0.3, 0.4, 0.5],
        "random": [0.5, 0.6, 0.7],
    }
    titles = {"pca": "PCA", "hvg": "HVG", "scvi": "scVI", "random": "random"}
    rows = pd.DataFrame(
        [(titles[model], model, dataset, draw, value) for model, values in draws.items() for dataset in "ab"
         for draw, value in enumerate(values)],
        columns=["method", "model", "dataset", "draw", "value"],
    )  # fmt: skip
    assert summaries.tied(rows, "PCA") == "HVG"  # not random, which is a control
    assert summaries.tied(rows, "scVI") == "none"
    assert summaries.tied(rows.query("method != 'HVG' or dataset == 'a'"), "PCA") == "none"
    assert summaries.tied(rows.iloc[:0], None) == "none"


def test_labels_saved_are_read_from_the_curve_of_the_reference():
    curve = {1: 0.2, 3: 0.4, 10: 0.6, 30: 0.6}
    labels = tidy(
        {
            ("PCA", "pca", "a"): curve,
            ("HVG", "hvg", "a"): {3: 0.5},
            ("Harmony", "harmony", "a"): {3: 0.9},
            ("random", "random", "a"): {3: 0.1},
        }
    )
    needed = summaries.labels_needed(labels, "PCA", 3).set_index("method")
    assert needed.loc["HVG", "needed"] == pytest.approx(np.sqrt(30))
    assert list(needed.loc[["HVG", "Harmony", "random"], "text"]) == [
        "about 5", "more than were tried", "1 or fewer",
    ]  # fmt: skip
    assert summaries.best(summaries.part(summaries.curves(labels), "random", "knn", 3))[0] == "Harmony"
    assert summaries.best(summaries.curves(labels.query("model == 'random'"))) == (None, None)
    other = tidy({("PCA", "pca", "a"): {3: 0.1}, ("PCA", "pca", "c"): {3: 0.9}}, split="batch-out")
    losses = summaries.batch_losses(pd.concat([labels, other]), "knn", 3)
    assert losses["difference"].tolist() == pytest.approx([-0.3]) and losses["n_datasets"].tolist() == [1]


def test_tumours_are_the_numbers_of_the_source():
    table = summaries.tumours().set_index(["split", "budget", "method"])["value"]
    assert table["within a data set", "5", "PCA"] == pytest.approx(0.651, abs=5e-4)
    assert table["data set left out", "all", "scGPT"] == pytest.approx(0.619, abs=5e-4)
    assert list(table.index.unique("budget")) == ["5", "10", "25", "50", "100", "all"]
