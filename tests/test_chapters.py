"""Chapters on the scores of studies that lack what the default one has: a model, batches, other methods."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from zeroshot import results, study
from zeroshot.runtime import paths
from zeroshot.study import ablations

CHECKOUT = Path(__file__).resolve().parents[1]
# Chapters that read scores and, of a study without models for them, no cells.
CHAPTERS = ("02_cell_types", "03_batches", "04_pretraining", "05_reconstruction", "07_summary", "conventions",
            "published", "claims", "labels")  # fmt: skip
SEVERAL_BATCHES, ONE_BATCH, NO_SCORES = "pbmc-3k-4k", "pbmc-sorted", "kang-deepmaps"
STUDIES = {
    "usual": (["hvg", "pca", "random", "label-oracle"], [SEVERAL_BATCHES, ONE_BATCH]),
    "one": (["pca"], [ONE_BATCH]),
    "controls": (["random", "depth-only"], [SEVERAL_BATCHES]),
    "grown": (["hvg", "pca", "random", "label-oracle"], [SEVERAL_BATCHES, ONE_BATCH, NO_SCORES]),
    "pending": (["pca"], [SEVERAL_BATCHES, ONE_BATCH]),
}
MAPPED = ("usual", "grown", "pending")  # of the last, no score is committed


def labels_of(scores):
    """Made-up scores of few labels for the runs of a study: its committed ones may lack them."""
    runs = scores[["dataset", "model", "recipe"]].drop_duplicates()
    parts = [
        ("random", "knn", 3, "accuracy"), ("random", "knn", 10, "accuracy"),
        ("batch-out", "knn", 3, "accuracy"), ("type-out", "distance", 100, "novelty_auroc"),
    ]  # fmt: skip
    rows = [
        (*run, *part, draw, round(0.3 + 0.02 * part[2] ** 0.5 + 0.01 * len(run[1]) + 0.01 * draw, 6))
        for run in runs.itertuples(index=False)
        for part in parts
        if part[0] != "batch-out" or run[0] == SEVERAL_BATCHES
        for draw in range(2)
    ]
    return pd.DataFrame(rows, columns=[*results.TABLES["labels"].key, "draw", "value"])


def mapping_of(scores, pairs):
    """Made-up scores of mappings for the models of a study."""
    runs = scores[["model", "recipe"]].drop_duplicates()
    rows = [
        (query, *run, reference, statistic, draw, round(0.4 + 0.02 * len(run[0]) + 0.01 * draw, 6))
        for run in runs.itertuples(index=False)
        for reference, query in pairs
        for statistic in ("accuracy", "macro_f1", "novelty_auroc")
        for draw in range(2)
        if run[0] != "label-oracle"
    ]
    return pd.DataFrame(rows, columns=[*results.TABLES["mapping"].key, "draw", "value"])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of its own with the tables of the STUDIES: parts of those of a study of real data."""
    root = tmp_path_factory.mktemp("home")
    ignored = shutil.ignore_patterns("literature", "scores", "downloads")
    shutil.copytree(CHECKOUT / "data", root / "data", ignore=ignored)
    (root / "notebooks").symlink_to(CHECKOUT / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSHOT_HOME", str(CHECKOUT))
        committed = CHECKOUT / "data" / "scores" / "real"
        tables = {name: results.read_csv(name, committed / f"{name}.csv", "") for name in results.TABLES}
        patch.setenv("ZEROSHOT_HOME", str(root))
        entries = root / "data" / "studies.yml"
        for study, (models, datasets) in STUDIES.items():
            card = {"title": "T", "description": "D", "chapters": ["02_cell_types"]}
            pairs = [[ONE_BATCH, SEVERAL_BATCHES]] if study in MAPPED else []
            card = json.dumps(card | {"datasets": datasets, "models": models, "mappings": pairs})
            entries.write_text(f"{entries.read_text()}\n{study}: {card}\n")
            rows = {
                name: table[table["model"].isin(models) & table["dataset"].isin({*datasets} - {NO_SCORES})]
                for name, table in tables.items()
            }
            pairs = [] if study == "pending" else pairs
            rows |= {"labels": labels_of(rows["scores"]), "mapping": mapping_of(rows["scores"], pairs)}
            results.write(paths.study(study), rows)
            ablations.write(ablations.Tables.of(), ablations.folder(study))
        yield root


@pytest.fixture
def execute(project, monkeypatch):
    """Run the code cells of a chapter in this process, without a kernel's start."""
    monkeypatch.setenv("ZEROSHOT_HOME", str(project))

    def run(chapter: str, **parameters: str) -> tuple[str, dict[str, object]]:
        """The Markdown that the page shows, and what it glues for other pages."""
        texts, glued, names = [], {}, {}

        def glue(name, value, display):
            assert name not in glued and not display, name
            glued[name] = value

        monkeypatch.setattr("myst_nb.glue", glue)
        monkeypatch.setattr("IPython.display.display", lambda one: texts.append(getattr(one, "data", "")))
        for cell in json.loads((CHECKOUT / "notebooks" / f"{chapter}.ipynb").read_text())["cells"]:
            if cell["cell_type"] == "code":
                module = ast.parse("".join(cell["source"]))
                last = module.body.pop() if isinstance(module.body[-1], ast.Expr) else None
                exec(compile(module, chapter, "exec"), names)
                if last is not None:  # what a page would show has to be drawn, too
                    getattr(
                        eval(compile(ast.Expression(last.value), chapter, "eval"), names), "_repr_html_", str
                    )()
                if "parameters" in cell["metadata"].get("tags", ()):
                    names |= parameters
        plt.close("all")
        return "\n".join(text for text in texts if isinstance(text, str)), glued

    return run


@pytest.mark.parametrize("study", ["one", "controls"])
def test_chapters_name_what_a_study_lacks(execute, study):
    pages = {chapter: execute(chapter, study=study) for chapter in CHAPTERS}
    for text, _ in pages.values():
        assert text and not re.search(r"\bnan\b|\bNone\b|\{\w", text)
    cell_types, glued = pages["02_cell_types"]
    assert "There is no HVG in this study" in cell_types
    assert "The label oracle is not in this study" in cell_types
    assert glued["hvg_avg_bio_text"] == "–"
    assert ("Random numbers are not in this study" in cell_types) == (study == "one")
    assert glued["best_avg_bio_model"] == {"one": "PCA", "controls": "–"}[study]
    assert ("No data set of this study has several batches" in pages["03_batches"][0]) == (study == "one")
    assert glued["n_pairs"] == 0
    assert pages["07_summary"][1]["n_most_often_ilisi"] == 0
    assert "No model of this study predicts ranks" in pages["05_reconstruction"][0]
    assert "nothing to compare" in " ".join(pages["conventions"][0].split())
    assert "there is no second method to compare with" in " ".join(pages["labels"][0].split())
    assert "This study labels no data set from another." in pages["labels"][0]
    assert pages["labels"][1]["mapper"] == "–"
    assert pages["labels"][1]["best_with_few"] == {"one": "PCA", "controls": "–"}[study]
    assert "this study 0 hold and 0 fail" in pages["claims"][0] and pages["claims"][1]["n_tested"] > 15


def test_chapters_are_complete_by_themselves(execute):
    text, glued = execute("02_cell_types", study="usual")
    value = glued["best_avg_bio"]
    assert f"{glued['best_avg_bio_model']} has the highest median AvgBIO, {value:.2f}" in text
    assert glued["best_avg_bio_text"] == f"{value:.2f}" and 0 < value < 1
    assert glued["n_pairs"] == glued["n_better"] + glued["n_ties"] + glued["n_worse"] == 2
    with pytest.raises(ValueError, match=r"no method is called 'HVGG'\. Did you mean HVG"):
        execute("02_cell_types", study="usual", reference="HVGG")


def test_the_chapter_on_labels_says_who_maps_best(execute):
    text, glued = execute("labels", study="usual")
    value = glued["mapper_value"]
    assert f"of another data set, {glued['mapper']} has the highest mean accuracy, {value:.2f}" in text
    # Two draws 0.01 apart: the interval is 0.005 times 12.7 to both sides.
    assert value == pytest.approx(0.465) and "0.40 to 0.53; n = 1 pair" in text
    assert "Pairs of data sets (reference → query): 1, with" in text and "labels no data set" not in text
    text, _ = execute("labels", study="pending")
    assert "Labels of another data set are not scored here yet" in text and "labels no data set" not in text


HEAVY = {"torch", "scanpy", "scvi", "scib_metrics", "jax", "sklearn", "numba", "umap", "igraph"}
# Executes cells of notebooks, given as JSON lists, in one process. Prints after each what is loaded by
# now, and what it has glued.
EXECUTE = """
import json, sys
import matplotlib
matplotlib.use("agg")
import myst_nb
for cells in json.loads(sys.stdin.read()):
    names, glued = {}, {}
    myst_nb.glue = lambda name, value, display: glued.update({name: value})
    for cell in cells:
        exec(cell, names)
    print(json.dumps([sorted(sys.modules), str(glued)]), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def usual(project):
    """Chapters in a fresh process: what those without cells have loaded, and what each has glued.

    Chapters on scores are executed, of others the imports.
    """
    notebooks = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSHOT_HOME", str(CHECKOUT))
        declared = {
            file.stem: study.declaration(file.stem) for file in (CHECKOUT / "notebooks").glob("*.ipynb")
        }
    for name in sorted(declared, key=lambda name: (declared[name].cells, name)):
        if declared[name].cells and name not in CHAPTERS:
            continue
        cells = json.loads((CHECKOUT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
        parameters, *code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        whole = declared[name].reads and not (declared[name].ablations or declared[name].trial)
        whole = whole or name in CHAPTERS
        notebooks[name] = [parameters, "study = 'usual'", *(code if whole else code[:1])]
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE], input=json.dumps(list(notebooks.values())), text=True,
        capture_output=True, env=os.environ | {"ZEROSHOT_HOME": str(project)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[[")]
    without_cells = [
        loaded for name, (loaded, _) in zip(notebooks, lines, strict=True) if not declared[name].cells
    ]
    assert len(without_cells) > 5
    return set(without_cells[-1]), dict(zip(notebooks, [glued for _, glued in lines], strict=True))


def test_pages_without_cells_load_no_package_that_computes(usual):
    """A fresh kernel pays for every import."""
    loaded, _ = usual
    assert "zeroshot.figures" in loaded and not loaded & HEAVY


def test_a_data_set_whose_scores_are_not_committed_yet_changes_no_number(execute, usual):
    """A study that has grown is built from the committed scores of what it was before."""
    for chapter in CHAPTERS:
        text, glued = execute(chapter, study="grown")
        assert text and not re.search(r"\bnan\b|\bNone\b|\{\w", text), chapter
        # As texts, because NaN is not equal to itself.
        assert str(glued).replace("grown", "usual") == usual[1][chapter], chapter


def test_every_score_is_named_with_its_direction():
    assert results.heading("pcr") == "PCR ↓" and results.heading("avg_bio") == "AvgBIO ↑"
    with pytest.raises(ValueError, match="no metric is called 'avgbio'"):
        results.heading("avgbio")
