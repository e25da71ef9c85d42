"""Cells of one data set with labels of another: scores, what is refused, the job, its table, the summary."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from zeroshot import catalog, pipeline, results, study
from zeroshot.catalog import CatalogError
from zeroshot.metrics.label_transfer import MAPPING_COLUMNS, mapping_scores, transfer_labels
from zeroshot.results import mappings as summaries
from zeroshot.runtime import paths
from zeroshot.study import mappings

PAIR = ("pbmc68k-reduced", "simulated-atlas")


# -- the scores


def test_scores_of_known_cells():
    # Each type stands twice at one place, so that half of its cells say the same in every draw.
    reference = np.array([[0.0], [0], [10], [10], [40], [40]])
    labels = np.array(["a", "a", "b", "b", "c", "c"])
    query = np.array([[1.0], [9], [2], [20], [60]])
    truth = np.array(["a", "b", "b", "new", "a"])
    table = mapping_scores(reference, labels, query, truth, draws=2)
    assert list(table) == MAPPING_COLUMNS and len(table) == 6
    scores = table.groupby("statistic")["value"].agg(["min", "max"])
    assert (scores["min"] == scores["max"]).all()
    # Three labelled cells vote, one of each type, so that the nearest decides: a, b, a, and c for the last.
    assert scores.loc["accuracy", "max"] == pytest.approx(2 / 4)
    # a: one of two, and one too many; b: one of two.
    assert scores.loc["macro_f1", "max"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Mean distance to the three: 16, 14.3, 15.3, 16.7 for the new cell, and 43.3.
    assert scores.loc["novelty_auroc", "max"] == pytest.approx(3 / 4)
    assert set(mapping_scores(reference, labels, query, np.full(5, "a"))["statistic"]) == {
        "accuracy", "macro_f1",
    }  # fmt: skip
    assert mapping_scores(reference, labels, query, np.full(5, "new")).empty


def test_a_draw_takes_half_of_each_type_and_labels_as_annotate_does():
    rng = np.random.default_rng(0)
    reference, query = rng.normal(size=(90, 4)), rng.normal(size=(50, 4))
    labels, truth = rng.choice(["a", "b", "c"], 90), rng.choice(["a", "b", "c"], 50)
    table = mapping_scores(reference, labels, query, truth, seed=3, draws=4)
    accuracy = table[table["statistic"].eq("accuracy")]["value"]
    assert accuracy.nunique() > 1 and table.equals(
        mapping_scores(reference * 7, labels, query * 7, truth, seed=3, draws=4)
    )
    # A single cell of each type is labelled in every draw.
    once = mapping_scores(reference[:3], np.array(["a", "b", "c"]), query, truth, draws=1)
    labelled = transfer_labels(reference[:3], np.array(["a", "b", "c"]), query, 1).labels
    assert once["value"][0] == pytest.approx(np.mean(labelled == truth))


# -- what is refused


@pytest.fixture
def declare(home):
    """Read a study of two data sets that maps a pair; after a change of a data set or of the types."""

    def read(change: dict | None = None, types: str = "", datasets: str = "") -> catalog.StudyCard:
        for registry, text in (("cell_types", types), ("datasets", datasets)):
            file = home / "data" / f"{registry}.yml"
            file.write_text(file.read_text() + text)
        entry = {"title": "T", "description": "D", "chapters": ["labels"], "mappings": [list(PAIR)]}
        entry |= {"datasets": [*PAIR, "celllines-scmixology"], "models": ["pca", "random", "label-oracle"]}
        (home / "data" / "studies.yml").write_text(json.dumps({"entry": entry | (change or {})}))
        return catalog.study("entry")

    return read


def test_what_cannot_be_mapped_is_refused(declare):
    other = [PAIR[0], "celllines-scmixology"]
    for change, types, message in (
        ({"mappings": [[PAIR[0], "pbmc"]]}, "", "mappings names pbmc, which the study does not have"),
        ({"mappings": [[PAIR[0]]]}, "", "mappings"),
        ({"mappings": [list(PAIR)] * 2}, "", "listed twice"),
        ({"mappings": [[PAIR[0]] * 2]}, "", "not mapped on itself"),
        ({"mapping_without": ["scvi"]}, "", "mapping_without names scvi, which the study does not"),
        ({"mappings": [other]}, "", "cell_types.yml has no labels of celllines-scmixology; add all"),
        (
            {"mappings": [other]},
            "one:\n  title: a line\n  labels: {celllines-scmixology: [A549]}\n",
            "has 1 labels of celllines-scmixology, which has 5",
        ),
        (
            {"mappings": [other]},
            "two:\n  title: a line\n  labels: {celllines-scmixology: [H1975, H2228, HCC827, H838]}\n",
            "they have no cell type in common",
        ),
        ({}, "three:\n  title: T\n  labels: {simulated-atlas: [B cell]}\n", "'B cell' of .* is listed twice"),
    ):
        with pytest.raises(CatalogError, match=message):
            declare(change, types)


def test_two_species_are_refused(declare, home):
    file = home / "data" / "datasets.yml"
    place = file.read_text().index("organism: human", file.read_text().index("simulated-atlas:"))
    text = file.read_text()
    file.write_text(text[:place] + text[place:].replace("organism: human", "organism: mouse", 1))
    with pytest.raises(
        CatalogError, match=r"pbmc68k-reduced and simulated-atlas: .*human, the second of mou"
    ):
        declare()


def test_a_label_that_has_no_type_is_refused(declare, home):
    declare()
    file = home / "data" / "cell_types.yml"
    file.write_text(file.read_text().replace("[Megakaryocyte]", "[Megakaryocytes]"))
    with pytest.raises(CatalogError, match=r"no label of simulated-atlas .* Did you mean Megakaryocytes"):
        mappings.comparable_cells("simulated-atlas", 200)


# -- the job


def test_a_job_has_the_models_that_can_and_changes_with_its_own_data_sets_only(declare, home):
    card = declare({"subset": 120, "mapping_without": ["random"]})
    (job,) = study.mapping_jobs(card)
    assert job.path == "mappings/pbmc68k-reduced/simulated-atlas"
    assert job.parameters["models"] == ["pca"] and job.parameters["subset"] == 120
    assert "zeroshot.metrics.label_transfer.mapping" in job.inputs["code"]
    file = home / "data" / "datasets.yml"
    for old, new, same in (
        ("title: Three-line", "title: Other", True),
        ("description: Seeded negative-binomial", "description: Negative-binomial", False),
    ):
        text = file.read_text()
        file.write_text(text.replace(old, new))
        assert (study.mapping_jobs(catalog.study("entry"))[0].inputs == job.inputs) == same
        file.write_text(text)
    study.plan("entry")
    plan = json.loads((paths.study("entry") / "plan.json").read_text())
    assert plan["mappings"] == [job.path] and "mapping" not in plan["run_tables"]
    study.plan("entry", "committed")
    assert json.loads((paths.study("entry") / "plan.json").read_text())["mappings"] == []


def test_a_job_writes_a_table_that_is_joined_read_and_kept(declare, home, capsys, monkeypatch):
    card = declare({"subset": 120, "models": ["random", "hvg"]})
    (job,) = study.mapping_jobs(card)
    embed = pipeline.embed

    def failing(cells, model, *rest, **settings):
        if model == "hvg":
            raise ValueError("no variable gene")
        return embed(cells, model, *rest, **settings)

    monkeypatch.setattr(pipeline, "embed", failing)
    folder = paths.study("entry")
    mappings.compute(job.parameters, folder / job.path)
    assert "hvg maps nothing of simulated-atlas on pbmc68k-reduced: no variable" in capsys.readouterr().err
    first = (folder / job.path / "mapping.csv").read_bytes()
    mappings.compute(job.parameters, folder / job.path, "only-stored")
    assert (folder / job.path / "mapping.csv").read_bytes() == first
    of_run = {name: results.TABLES[name].empty() for name in results.RUN_TABLES}
    results.write(folder / "run", of_run)
    results.concatenate("entry", [folder / "run"], [folder / job.path])
    table = results.load_mapping("entry")
    assert set(table["model"]) == {"random"}
    assert set(table["reference"]) == {PAIR[0]} and set(table["dataset"]) == {PAIR[1]}
    assert table.groupby("statistic")["draw"].nunique().to_dict() == dict.fromkeys(summaries.STATISTICS, 5)
    assert table["value"].between(0, 1).all()
    results.keep("entry")
    kept = paths.scores() / "entry" / "mapping.csv"
    assert kept.read_text() == results.TABLES["mapping"].to_csv(table)
    # Another study has no such pair.
    declare({"mappings": []})
    with pytest.raises(results.TableError, match="holds the mapping pbmc68k-reduced and simulated-atlas"):
        results.require_committed("entry")
    kept.write_text(kept.read_text().replace(PAIR[0], "pbmc68k"))
    with pytest.raises(results.TableError, match="holds the reference pbmc68k: no data set"):
        results.read_csv("mapping", kept, "")


def test_a_study_without_mappings_has_an_empty_table(home):
    folder = paths.study("smoke")
    results.write(folder / "run", {name: results.TABLES[name].empty() for name in results.RUN_TABLES})
    results.concatenate("smoke", [folder / "run"])
    table = results.load_mapping("smoke")
    assert table.empty and summaries.by_pair(table).empty and summaries.summary(table).empty


def test_a_key_holds_the_cells_their_types_and_the_embedding(home):
    cells = mappings.comparable_cells("pbmc68k-reduced", 60)
    query = mappings.comparable_cells("simulated-atlas", 60)
    joined = pipeline.join(cells, query)
    labels, truth = (part.obs["cell_type"].to_numpy(str) for part in (cells, query))
    embedded = pipeline.embed(joined, "random")
    stored = pipeline.score_mapping(joined, labels, truth, embedded)
    assert stored.path.parent.name == "mapping" and not stored.reused
    assert pipeline.score_mapping(joined, labels, truth, embedded).reused
    assert not pipeline.score_mapping(joined, labels, truth[::-1], embedded).reused


# -- what a study says of it


def rows_of(values):
    """Rows of a study by method, reference and query; two draws 0.02 apart."""
    rows = [
        {"method": method, "model": model, "recipe": "standard", "reference": "r", "dataset": query,
         "statistic": "accuracy", "draw": draw, "value": value + shift}
        for (method, model, query), value in values.items()
        for draw, shift in enumerate((-0.01, 0.01))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_means_over_pairs_have_intervals_over_draws():
    mapping = rows_of({("PCA", "pca", "a"): 0.4, ("PCA", "pca", "b"): 0.6, ("HVG", "hvg", "a"): 0.9})
    table = summaries.over_pairs(mapping).set_index("method")
    assert table["value"].to_dict() == pytest.approx({"HVG": 0.9, "PCA": 0.5})
    assert table["n_pairs"].to_dict() == {"HVG": 1, "PCA": 2}
    half = stats.t.ppf(0.975, 1) * 0.01
    assert table.loc["PCA", "high"] - 0.5 == pytest.approx(half)
    assert summaries.by_pair(mapping).groupby("method")["pair"].agg(list)["PCA"] == ["r → a", "r → b"]
    readable = summaries.summary(mapping)
    assert list(readable.index) == ["HVG", "PCA"] and readable["pairs with new types"].tolist() == [0, 0]
    assert readable["AUROC of novelty"].isna().all()
    with pytest.raises(CatalogError, match="statistic"):
        summaries.over_pairs(mapping, "f1")


def test_models_that_are_not_mapped_have_a_reason():
    card = catalog.study("smoke")
    absent = summaries.not_mapped(card, rows_of({("PCA", "pca", "a"): 0.4})).set_index("method")["reason"]
    assert "made from the labels" in absent[catalog.model("label-oracle").title]
    assert "left out by the study" in absent[catalog.model("scgpt-untrained").method("brief")]
    assert "see the messages" in absent["HVG"] and "PCA" not in absent
