"""The tables of a study: those that are committed, and how they are written, read and copied."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zeroshot import catalog, metrics, results
from zeroshot.results import schema
from zeroshot.runtime import paths
from zeroshot.site import pages
from zeroshot.study import grid

CHECKOUT = Path(__file__).resolve().parents[1]
STUDIES = sorted(folder.name for folder in (CHECKOUT / "data" / "scores").iterdir())
KEY = ["dataset", "model", "recipe", "metric"]


@pytest.fixture
def committed(home):
    """The committed tables of every study, where a run would have written them."""
    shutil.copytree(CHECKOUT / "data" / "scores", home / "data" / "scores", dirs_exist_ok=True)
    for study in STUDIES:
        results.copy_committed(study)
    return STUDIES


# -- the files of this repository ------------------------------------------------------------------


def test_committed_files_are_tables_of_studies_as_they_would_be_written(committed):
    for study in committed:
        folder = CHECKOUT / "data" / "scores" / study
        files = {f"{name}.csv": table for name, table in results.TABLES.items()}
        committed_files = {file.name for file in folder.iterdir()}
        assert committed_files <= set(files)
        assert all(files[name].may_be_absent for name in set(files) - committed_files)
        runs = results.require_committed(study)
        # A new metric, model or data set waits for the next run of the study.
        assert len(runs) and set(runs["dataset"]) <= set(catalog.study(study).datasets)
        for file in folder.iterdir():
            name = file.stem
            assert results.TABLES[name].to_csv(results.read_csv(name, file, "")) == file.read_text(), file
            assert file.stat().st_size < 1_000_000


def test_committed_scores_lie_in_their_range_and_interval(committed):
    for study in committed:
        table = results.load(study).dropna(subset="value")
        with_interval = table.dropna(subset="low")
        assert with_interval["value"].between(with_interval["low"], with_interval["high"]).all()
        for name, rows in table.groupby("metric"):
            ends = sorted([metrics.METRICS[name].worst, metrics.METRICS[name].best])
            assert rows["value"].between(*ends).all(), name
        oracle = table[table["model"].eq("label-oracle") & table["metric"].eq("avg_bio")]
        noise = table[table["model"].eq("random") & table["metric"].eq("avg_bio")]
        assert oracle["value"].min() > 0.95 and noise["value"].max() < 0.25


def test_committed_scores_have_an_interval_where_subsamples_give_one(committed):
    for study in committed:
        subsamples = results.load_subsamples(study)
        parts = dict(iter(subsamples.groupby(KEY)["value"]))
        all_cells = subsamples.groupby("dataset")["cells"]
        assert all_cells.nunique().eq(1).all()
        for row in results.load(study).dropna(subset="value").itertuples():
            without = pd.Series([np.nan] * 10)  # not in the file
            values = parts.get((row.dataset, row.model, row.recipe, row.metric), without).to_numpy()
            cells = int(all_cells.get_group(row.dataset).iloc[0])
            reason = metrics.no_interval(row.metric, row.value, values, cells, row.n_cells)
            assert pd.isna(row.low) == pd.isna(row.high) == (reason is not None), row
            assert row.note.endswith(f"no interval: {reason}") or reason is None, row


def test_committed_tables_fit_together(committed):
    for study in committed:
        scores, subsamples = results.load(study), results.load_subsamples(study)
        nowhere = scores["value"].isna() | scores["note"].str.endswith("applicable to 10 of 10 subsamples")
        assert set(map(tuple, scores.loc[~nowhere, KEY].to_numpy())) == set(
            map(tuple, subsamples[KEY].to_numpy())
        )
        assert subsamples.groupby(KEY).size().eq(10).all()
        runs = set(map(tuple, scores[KEY[:3]].to_numpy()))
        assert runs == set(map(tuple, results.load_runs(study)[KEY[:3]].to_numpy()))
        without = scores[scores["value"].isna()]
        assert without["note"].str.startswith("not applicable").all()


# -- writing and reading ---------------------------------------------------------------------------


def made_up() -> dict[str, pd.DataFrame]:
    """Tables of the study `smoke` as runs compute them, with metrics that have no score."""
    draw = np.random.default_rng(0)
    scores, subsamples, runs = [], [], []
    for model in ("pca", "random"):
        run = {"dataset": "pbmc68k-reduced", "model": model, "recipe": "standard"}
        of_run = {
            "subset": str(catalog.study("smoke").subset),
            "n_cells": 500,
            "seed": 0,
            "seeds": 3 if model == "random" else 1,
        }
        cost = {"seconds": 0.125, "peak_memory_mb": 800.0, "device": "CPU, a", "key": f"{len(runs):020x}"}
        runs.append({**run, **of_run, **cost, "seen_in_pretraining": "unseen"})
        for metric, note in (("asw_label", ""), ("nmi", "resolution 0.7"), ("ilisi", "not applicable: one")):
            value = np.nan if metric == "ilisi" else draw.random()
            interval = {"low": value - 0.1, "high": value + 0.1}
            sd = 0.25 if model == "random" else np.nan
            of_seeds = {"seed_sd": sd, "cluster_sd": 0.125 if metric == "nmi" else np.nan}
            scores.append({**run, "metric": metric, "value": value, **interval, **of_seeds, "note": note})
            for part in range(3):
                drawn = {"subsample": part, "value": value + 0.01 * part, "cells": 50}
                subsamples.append({**run, "metric": metric, **drawn})
    number = {"metric": "mse_gep", "statistic": "mean over positions", "value": 1.25}
    of_mapping = {"dataset": "simulated-atlas", "reference": "pbmc68k-reduced", "statistic": "accuracy"}
    of_labels = {"split": "random", "classifier": "knn", "per_type": 3, "statistic": "accuracy"}
    return {
        "scores": pd.DataFrame(scores),
        "subsamples": pd.DataFrame(subsamples),
        "runs": pd.DataFrame(runs),
        "reconstruction": pd.DataFrame([{**run, **number}]),
        "labels": pd.DataFrame([{**run, **of_labels, "draw": draw, "value": 0.5} for draw in range(2)]),
        "mapping": pd.DataFrame([{**run, **of_mapping, "draw": draw, "value": 0.25} for draw in range(2)]),
    }


@pytest.fixture
def run_study(home):
    """The tables of `smoke` where a run of it would have left them."""
    results.write(paths.study("smoke"), made_up())
    return home


LOAD = {name: getattr(results, "load" if name == "scores" else f"load_{name}") for name in results.TABLES}


def test_tables_survive_the_file(run_study):
    scores = results.load("smoke")
    assert list(scores.columns) == results.COLUMNS
    registered = [name for name in metrics.METRICS if name in ("asw_label", "nmi", "ilisi")]
    assert list(scores["metric"]) == registered * 2
    assert list(scores["method"]) == ["PCA"] * 3 + ["random"] * 3 and set(scores["n_cells"]) == {500}
    assert list(scores.loc[scores["metric"] == "nmi", "note"]) == ["resolution 0.7"] * 2
    for name in ("scores", "subsamples"):
        written = made_up()[name]
        if name == "subsamples":  # rows without a value are not in the file
            written = written.dropna(subset="value")
        read = LOAD[name]("smoke").merge(written, on=list(KEY) + (["subsample"] if name != "scores" else []))
        assert len(read) == len(written)
        np.testing.assert_allclose(read["value_x"], read["value_y"], atol=6e-7, rtol=0)


def test_what_is_committed_is_what_the_study_had(run_study):
    computed = {name: load("smoke") for name, load in LOAD.items()}
    files = results.keep("smoke")
    assert files == [paths.scores() / "smoke" / f"{name}.csv" for name in results.TABLES]
    for name in results.TABLES:
        (paths.study("smoke") / f"{name}.csv").unlink()
    results.copy_committed("smoke")
    for name, load in LOAD.items():
        pd.testing.assert_frame_equal(load("smoke"), computed[name], check_exact=True)


def test_runs_make_the_tables_of_the_study(home):
    tables = made_up()
    folders = []
    for model in ("random", "pca"):
        folders.append(paths.study("smoke") / "runs" / "pbmc68k-reduced" / model)
        results.write(folders[-1], {name: part[part["model"] == model] for name, part in tables.items()})
    results.concatenate("smoke", folders, folders)
    for name, table in tables.items():
        assert (paths.study("smoke") / f"{name}.csv").read_text() == results.TABLES[name].to_csv(table)


def test_a_run_without_subsamples_has_a_place_in_the_tables(home):
    """Its embedding failed the integrity gate."""
    tables = made_up()
    tables["subsamples"] = tables["subsamples"].query("model == 'pca'")
    folders = []
    for model in ("random", "pca"):
        folders.append(paths.study("smoke") / "runs" / "pbmc68k-reduced" / model)
        results.write(folders[-1], {name: part[part["model"] == model] for name, part in tables.items()})
    results.concatenate("smoke", folders)
    assert set(results.load_subsamples("smoke")["model"]) == {"pca"}
    assert set(results.load("smoke")["model"]) == {"pca", "random"}


def test_a_changed_number_is_one_changed_line(run_study):
    def texts(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
        return {name: results.TABLES[name].to_csv(table) for name, table in tables.items()}

    before, changed = texts(made_up()), made_up()
    changed["scores"].loc[0, "value"] += 0.25
    changed["subsamples"].loc[0, "value"] += 0.25
    for name, text in texts(changed).items():
        pairs = zip(text.splitlines(), before[name].splitlines(), strict=True)
        assert sum(new != old for new, old in pairs) == (name in ("scores", "subsamples")), name
    reordered = {name: table.sample(frac=1, random_state=0) for name, table in made_up().items()}
    assert texts(reordered) == before


def test_tables_without_a_column_that_was_added_later_stay_as_they_are(run_study):
    old = made_up()
    old["scores"]["cluster_sd"] = np.nan
    results.write(paths.study("smoke"), old)
    kept = paths.scores() / "smoke"
    results.keep("smoke")
    assert "cluster_sd" not in (kept / "scores.csv").read_text()
    assert results.load("smoke")["cluster_sd"].isna().all()
    files = {file.name: file.read_bytes() for file in kept.iterdir()}
    results.copy_committed("smoke")
    results.keep("smoke")
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == files
    # A run of today beside them: its values stand in their column, the others have none.
    directories = []
    for model, tables in (("pca", old), ("random", made_up())):
        of_model = {name: table[table["model"] == model] for name, table in tables.items()}
        directories.append(paths.study("smoke") / "runs" / model)
        results.write(directories[-1], of_model)
    results.concatenate("smoke", directories)
    scores = results.load("smoke").set_index(["model", "metric"])["cluster_sd"]
    assert scores.dropna().to_dict() == {("random", "nmi"): 0.125}


def test_costs_are_committed_anew_only_with_another_number(run_study):
    results.keep("smoke")
    files = {file.name: file.read_bytes() for file in (paths.scores() / "smoke").iterdir()}
    again = made_up()
    again["runs"] = again["runs"].assign(seconds=7.5, key="f" * 20)
    results.write(paths.study("smoke"), again)
    results.keep("smoke")
    assert {file.name: file.read_bytes() for file in (paths.scores() / "smoke").iterdir()} == files
    again["scores"].loc[0, "value"] += 0.01  # of pca
    results.write(paths.study("smoke"), again)
    results.keep("smoke")
    runs = pd.read_csv(paths.scores() / "smoke" / "runs.csv").set_index("model")
    assert runs["seconds"].to_dict() == {"pca": 7.5, "random": 0.125}


def test_a_study_that_was_not_run_and_one_that_was_not_committed(home):
    with pytest.raises(FileNotFoundError, match=r"scores.csv does not exist. Run the study first"):
        results.load("smoke")
    with pytest.raises(results.TableError, match=r"smoke/scores\.csv does not exist.*`zeroshot keep smoke`"):
        results.copy_committed("smoke")
    results.write(paths.scores() / "smoke", made_up())
    (paths.scores() / "smoke" / "runs.csv").unlink()
    with pytest.raises(results.TableError, match=r"runs\.csv does not exist: no runs of the study"):
        results.copy_committed("smoke")
    assert not (paths.study("smoke") / "scores.csv").exists()


def test_scores_of_something_else_are_refused(home):
    for table, column, value, message in [
        ("scores", "dataset", "pancreas", "holds the dataset pancreas, which the study smoke does not have"),
        ("scores", "model", "harmony", r"holds the model and recipe \('harmony', 'standard'\)"),
        ("scores", "metric", "avg_luck", "holds the metric avg_luck"),
        ("runs", "subset", "400", "holds the subset 400"),
        ("runs", "seed", 7, "holds the seed 7"),
    ]:
        tables = made_up()
        rows = [0] if column == "metric" or table == "runs" else [0, 1, 2]  # of one run
        tables[table].loc[rows, column] = value
        results.write(paths.scores() / "smoke", tables)
        with pytest.raises(results.TableError, match=message):
            results.require_committed("smoke")


# What was done to a file, and the line that the refusal names (None: it is of the whole file).
DAMAGES = {
    "cut off in a line": (lambda text: text[:-30], None),
    "cut off between cells": (lambda text: text[: text.rindex(",")] + "\n", -1),
    "a row less": (lambda text: "".join(text.splitlines(keepends=True)[:-1]), None),
    "empty": (lambda text: "", None),
    "other columns": (lambda text: text.replace("metric,", "metrik,", 1), 1),
    "a column twice": (lambda text: text.replace("dataset,", "model,", 1), 1),
    "a row twice": (lambda text: text + text.splitlines()[-1] + "\n", -1),
    "a word for a number": (lambda text: re.sub(r",0\.\d+,", ",zero,", text, count=1), None),
    "an unknown metric": (lambda text: text.replace("asw_label", "asw_lable"), 2),
    "an unknown model": (lambda text: text.replace(",pca,", ",pac,"), 2),
    "an unknown data set": (lambda text: text.replace("pbmc68k-reduced", "pbmc"), 2),
    "an unknown recipe": (lambda text: text.replace("standard", "usual"), 2),
    "not a number": (lambda text: re.sub(r",0\.\d+,", ",NaN,", text, count=1), 2),
    "infinite": (lambda text: re.sub(r",0\.\d+,", ",inf,", text, count=1), 2),
    "out of range": (lambda text: re.sub(r",0\.\d+,", ",1.5,", text, count=1), 2),
    "out of the interval": (lambda text: re.sub(r",0\.\d+,", ",0.999999,", text, count=1), 2),
    "a number with an underscore": (lambda text: re.sub(r",0\.(\d)", r",0.\1_", text, count=1), 2),
    "digits of another script": (lambda text: re.sub(r",0\.\d+,", ",\u0660,", text, count=1), 2),
    "all rows of a run less": (
        lambda text: "".join(line for line in text.splitlines(keepends=True) if ",pca," not in line),
        None,
    ),
    "the header alone": (lambda text: text.splitlines(keepends=True)[0], None),
    "a quote": (lambda text: text.replace("asw_label", '"asw_label', 1), None),
    "no text": (lambda text: text.encode()[:40] + b"\xff\xfe\x00\n", None),
}


def test_damaged_files_are_refused_with_file_line_and_remedy(run_study):
    results.keep("smoke")
    for read, file, remedy in [
        (results.require_committed, paths.scores() / "smoke" / "scores.csv", "zeroshot keep smoke"),
        (results.load, paths.study("smoke") / "scores.csv", "Delete the file"),
    ]:
        whole = file.read_text()
        read("smoke")
        for damage, (change, line) in DAMAGES.items():
            damaged = change(whole)
            file.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
            with pytest.raises(results.TableError) as error:
                read("smoke")
            message = str(error.value)
            assert message.startswith(str(file)) and remedy in message, (damage, message)
            if line is not None:
                number = line % (len(damaged.splitlines()) + 1)
                assert f"line {number}" in message, (damage, message)
        file.write_text(whole)


def test_numbers_of_subsamples_and_cells_that_are_too_long_are_refused(run_study):
    file = paths.study("smoke") / "subsamples.csv"
    whole = file.read_text()
    for before, after in ((",0,1,2", f",0,1,{10**20}"), (",50,", f",{10**20},")):
        file.write_text(whole.replace(before, after, 1))
        with pytest.raises(results.TableError, match=rf"subsamples\.csv, line [12]: .*{10**20}"):
            results.load_subsamples("smoke")


def test_lost_rows_of_subsamples_are_refused(run_study):
    file = paths.study("smoke") / "subsamples.csv"
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 5  # two runs and two metrics: the third applies to no cells
    file.write_text("".join(lines[:-1]))
    with pytest.raises(results.TableError, match=r"subsamples\.csv, line 4, .* lack nmi"):
        results.load_subsamples("smoke")


def test_what_the_study_names_and_is_not_committed(home):
    results.write(paths.scores() / "smoke", made_up())
    absent = results.without_committed_scores("smoke")
    assert ("simulated-atlas", "pca") in absent and ("pbmc68k-reduced", "scgpt-untrained@brief") in absent
    assert ("pbmc68k-reduced", "pca") not in absent and len(absent) == 2 * 6 - 2
    runs = made_up()["runs"]
    assert schema.missing_runs(catalog.study("smoke"), runs) == absent


def test_the_status_page_lists_what_is_not_committed_yet(run_study, monkeypatch):
    """The study names two data sets; scores of two models on one of them are committed."""
    results.keep("smoke")
    made = {"device": "CPU", "seconds": 1, "artifacts": [], "data": "", "commit": "0", "finished": "2026"}
    monkeypatch.setattr(pages.stamp, "read", lambda _: made)
    card = catalog.study("smoke")
    page = pages.status_page(card, "committed", grid.pages(card, "committed"))
    warning = page.partition(":::{warning}")[2].partition(":::")[0]
    assert "1 of the study's 2 data sets" in warning and "Simulated blood atlas" in warning
    listed = page.partition("Pairs of the study's grid without a score:")[2].splitlines()
    lines = [line.replace("\\", "") for line in listed if line.startswith("- ")]
    assert len(lines) == 2 and all(line.endswith("not computed yet") for line in lines)
    by_dataset = {line.split()[1]: line for line in lines}
    assert "pca" not in by_dataset["pbmc68k-reduced"] and "hvg" in by_dataset["pbmc68k-reduced"]
    assert "hvg, pca, " in by_dataset["simulated-atlas"]
