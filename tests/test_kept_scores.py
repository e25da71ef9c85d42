"""The scores that are committed, and how tables of a study are written to and read from such files."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zeroshot import catalog, kept, metrics, paths, results

CHECKOUT = Path(__file__).resolve().parents[1]
FILES = sorted((CHECKOUT / "data" / "scores").glob("*.csv"))
STUDIES = sorted({file.name.split(".")[0] for file in FILES})
every_study = pytest.mark.parametrize("study", STUDIES)


@pytest.fixture
def committed(monkeypatch):
    """Tables are read from the files of this repository."""
    monkeypatch.setenv("ZEROSHOT_HOME", str(CHECKOUT))
    monkeypatch.setenv("ZEROSHOT_SCORES", "kept")


# -- the files of this repository ------------------------------------------------------------------


def test_every_file_is_a_table_of_a_study():
    assert set(FILES) == {
        CHECKOUT / "data" / "scores" / kept.path(study, name).name
        for study in STUDIES
        for name in kept.TABLES
    }


@every_study
def test_kept_scores_are_those_of_a_study(study, committed):
    table = pd.read_csv(kept.path(study, "scores"))
    card = catalog.study(study)
    layout = kept.TABLES["scores"]
    assert list(table.columns) == [*layout.key, *layout.columns] and set(table["study"]) == {study}
    assert not table.duplicated(["dataset", "model", "recipe", "metric"]).any()
    assert set(table["dataset"]) == set(card.datasets)
    kept.require(study)  # a new metric or model waits for the next run of the study


@every_study
@pytest.mark.parametrize("name", kept.TABLES)
def test_kept_files_are_as_they_would_be_written(study, name, committed):
    tables = {table: kept.read(study, table) for table in results.TABLES}
    assert kept.as_text(tables)[name] == kept.path(study, name).read_text()
    assert kept.path(study, name).stat().st_size < 400_000


@every_study
def test_kept_scores_lie_in_their_range_and_interval(study, committed):
    table = results.load(study).dropna(subset="value")
    with_interval = table.dropna(subset="low")
    assert with_interval["value"].between(with_interval["low"], with_interval["high"]).all()
    for name, rows in table.groupby("metric"):
        ends = sorted([metrics.METRICS[name].worst, metrics.METRICS[name].best])
        assert rows["value"].between(*ends).all(), name
    oracle = table[table["model"].eq("label-oracle") & table["metric"].eq("avg_bio")]
    noise = table[table["model"].eq("random") & table["metric"].eq("avg_bio")]
    assert oracle["value"].min() > 0.95 and noise["value"].max() < 0.25


@every_study
def test_kept_scores_have_an_interval_where_subsamples_give_one(study, committed):
    key = ["dataset", "model", "recipe", "metric"]
    parts = dict(iter(results.load_subsamples(study).groupby(key)))
    for row in results.load(study).dropna(subset="value").itertuples():
        of_row = parts[row.dataset, row.model, row.recipe, row.metric]
        cells = int(of_row["cells"].iloc[0])
        reason = metrics.no_interval(row.metric, row.value, of_row["value"].to_numpy(), cells, row.n_cells)
        assert pd.isna(row.low) == pd.isna(row.high) == (reason is not None), row
        assert row.note.endswith(f"no interval: {reason}") or reason is None, row


@every_study
def test_kept_tables_fit_together(study, committed):
    scores, subsamples = results.load(study), results.load_subsamples(study)
    key = ["dataset", "model", "recipe", "metric"]
    assert set(map(tuple, scores[key].to_numpy())) == set(map(tuple, subsamples[key].to_numpy()))
    assert subsamples.groupby(key).size().eq(10).all()
    runs = set(map(tuple, scores[key[:3]].to_numpy()))
    assert runs == set(map(tuple, results.load_costs(study)[key[:3]].to_numpy()))
    without = scores[scores["value"].isna()]
    assert without["note"].str.startswith("not applicable").all()


# -- writing and reading ---------------------------------------------------------------------------


def made_up() -> dict[str, pd.DataFrame]:
    """Tables of the study `smoke` as it computes them, with metrics that have no score."""
    draw = np.random.default_rng(0)
    scores, subsamples, costs = [], [], []
    for model, recipe in (("pca", "standard"), ("random", "standard")):
        run = {"dataset": "pbmc68k-reduced", "model": model, "recipe": recipe}
        costs.append({**run, "n_cells": 500, "seconds": 0.125, "peak_memory_mb": 800.0, "device": "CPU, a"})
        for metric, note in (("asw_label", ""), ("nmi", "resolution 0.7"), ("ilisi", "not applicable: one")):
            value = np.nan if metric == "ilisi" else draw.random()
            score = {"metric": metric, "group": metrics.METRICS[metric].group, "value": value}
            score |= {"low": value - 0.1, "high": value + 0.1, "note": note, "subset": "500", "n_cells": 500}
            seeds = {"seeds": 3, "seed_sd": 0.25} if model == "random" else {"seeds": 1, "seed_sd": np.nan}
            score |= {"seed": 0, **seeds, "seen_in_pretraining": "unseen", "artifact": f"{len(scores):020x}"}
            scores.append({"study": "smoke", **run, **score})
        for part in range(3):
            for row in scores[-3:]:
                drawn = {"subsample": part, "value": row["value"] + 0.01 * part, "cells": 50}
                subsamples.append({**run, "metric": row["metric"], **drawn})
    return {
        "scores": pd.DataFrame(scores)[results.COLUMNS],
        "subsamples": pd.DataFrame(subsamples)[results.SUBSAMPLE_COLUMNS],
        "costs": pd.DataFrame(costs)[results.COST_COLUMNS],
    }


@pytest.fixture
def run_study(home):
    """The tables of `smoke` where a run of it would have left them."""
    for name, table in made_up().items():
        file = paths.study("smoke") / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(file, index=False)
    return home


LOAD = {"scores": results.load, "subsamples": results.load_subsamples, "costs": results.load_costs}


def test_every_table_of_a_study_is_kept():
    assert [field.name for field in fields(results.Tables)] == list(results.TABLES)
    assert set(results.TABLES) == set(kept.TABLES) - {"notes"}
    assert set(LOAD) <= set(results.TABLES)


@pytest.mark.parametrize("name", LOAD)
def test_what_was_kept_is_what_the_study_had(run_study, monkeypatch, name):
    computed = LOAD[name]("smoke")
    files = results.keep("smoke")
    assert files == [kept.path("smoke", table) for table in kept.TABLES]
    monkeypatch.setenv("ZEROSHOT_SCORES", "kept")
    pd.testing.assert_frame_equal(LOAD[name]("smoke"), computed, atol=6e-7, rtol=0)


def test_a_changed_number_is_one_changed_line(run_study):
    texts = kept.as_text(made_up())
    changed = made_up()
    changed["scores"].loc[0, "value"] += 0.25
    changed["subsamples"].loc[0, "value"] += 0.25
    for name, text in kept.as_text(changed).items():
        pairs = zip(text.splitlines(), texts[name].splitlines(), strict=True)
        assert sum(new != old for new, old in pairs) == (name in ("scores", "subsamples")), name
    reordered = {name: table.sample(frac=1, random_state=0) for name, table in made_up().items()}
    assert kept.as_text(reordered) == texts
    file = results.keep("smoke")[0]
    before = file.stat().st_mtime_ns
    assert results.keep("smoke")[0].stat().st_mtime_ns == before


def test_scores_that_were_not_kept(run_study, monkeypatch):
    monkeypatch.setenv("ZEROSHOT_SCORES", "kept")
    with pytest.raises(kept.KeptError, match=r"scores/smoke\.csv does not exist.*`zeroshot keep smoke`"):
        results.load("smoke")
    monkeypatch.delenv("ZEROSHOT_SCORES")
    results.keep("smoke")
    kept.path("smoke", "costs").unlink()
    with pytest.raises(kept.KeptError, match=r"smoke\.costs\.csv does not exist: no costs of the study"):
        kept.require("smoke")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("dataset", "pancreas", "holds the dataset pancreas, which the study smoke does not have"),
        ("model", "harmony", r"holds the model and recipe \('harmony', 'standard'\)"),
        ("metric", "avg_luck", "holds the metric avg_luck"),
        ("subset", "400", "holds the subset 400"),
        ("seed", 7, "holds the seed 7"),
    ],
)
def test_scores_of_something_else_are_refused(home, column, value, message):
    tables = made_up()
    rows = [0] if column == "metric" else [0, 1, 2]  # of one run
    tables["scores"].loc[rows, column] = value
    kept.write("smoke", tables)
    with pytest.raises(kept.KeptError, match=message):
        kept.require("smoke")


# What was done to a file, and the line that the refusal names (None: it is of the whole file).
DAMAGES = {
    "cut off in a line": (lambda text: text[:-30], None),
    "cut off between cells": (lambda text: text[: text.rindex(",")] + "\n", -1),
    "a row less": (lambda text: "".join(text.splitlines(keepends=True)[:-1]), None),
    "empty": (lambda text: "", None),
    "other columns": (lambda text: text.replace("metric,", "metrik,", 1), 1),
    "a column twice": (lambda text: text.replace("dataset,", "model,", 1), 1),
    "a row twice": (lambda text: text + text.splitlines()[-1] + "\n", -1),
    "a word for a number": (lambda text: text.replace(",0,", ",zero,", 1), None),
    "an unknown metric": (lambda text: text.replace("asw_label", "asw_lable"), 2),
    "an unknown model": (lambda text: text.replace(",pca,", ",pac,"), 2),
    "an unknown data set": (lambda text: text.replace("pbmc68k-reduced", "pbmc"), 2),
    "an unknown recipe": (lambda text: text.replace("standard", "usual"), 2),
    "not a number": (lambda text: re.sub(r",0\.\d+,", ",NaN,", text, count=1), 2),
    "infinite": (lambda text: re.sub(r",0\.\d+,", ",inf,", text, count=1), 2),
    "out of range": (lambda text: re.sub(r",0\.\d+,", ",1.5,", text, count=1), 2),
    "out of the interval": (lambda text: re.sub(r",0\.\d+,", ",0.999999,", text, count=1), 2),
    "a quote": (lambda text: text.replace("asw_label", '"asw_label', 1), None),
    "no text": (lambda text: text.encode()[:40] + b"\xff\xfe\x00\n", None),
}


def test_damaged_files_are_refused_with_file_line_and_remedy(run_study, monkeypatch):
    results.keep("smoke")
    for setting, file, remedy in [
        ("kept", kept.path("smoke", "scores"), "zeroshot keep smoke"),
        ("", paths.study("smoke") / "scores.csv", "Delete the file"),
    ]:
        monkeypatch.setenv("ZEROSHOT_SCORES", setting)
        whole = file.read_text()
        results.load("smoke")
        for damage, (change, line) in DAMAGES.items():
            damaged = change(whole)
            file.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
            with pytest.raises(kept.KeptError) as error:
                results.load("smoke")
            message = str(error.value)
            assert message.startswith(str(file)) and remedy in message, (damage, message)
            if line is not None:
                number = line % (len(damaged.splitlines()) + 1)
                assert f"line {number}" in message, (damage, message)
        file.write_text(whole)


def test_what_the_study_names_and_nobody_kept(home):
    kept.write("smoke", made_up())
    kept.require("smoke")
    absent = kept.missing("smoke")
    assert ("simulated-atlas", "pca") in absent and ("pbmc68k-reduced", "scgpt-untrained@short") in absent
    assert ("pbmc68k-reduced", "pca") not in absent and len(absent) == 2 * 6 - 2


def test_only_kept_can_be_asked_for(home, monkeypatch):
    monkeypatch.setenv("ZEROSHOT_SCORES", "keep")
    with pytest.raises(ValueError, match="ZEROSHOT_SCORES is 'keep': it can be `kept`"):
        results.load("smoke")
