"""What the jobs of a study are, what each depends on, and what is refused before any starts."""

import json
import re
from pathlib import Path

import pytest
from tiny_study import CHAPTERS, CHECKOUT, RUNS, TINY, TINY_ATLAS, edit

from zeroshot import catalog, results, study
from zeroshot.runtime import paths, processes

# -- models with weights, and data sets they can read


@pytest.fixture
def pretrained(home, monkeypatch):
    """A study of networks on genes with symbols and with ids; no weights are at hand."""
    for name in ("ZEROSHOT_WEIGHTS", "ZEROSHOT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    file = home / "data" / "studies.yml"
    file.write_text(file.read_text() + PRETRAINED)
    return catalog.study("pretrained")


PRETRAINED = """
pretrained:
  title: Pretrained
  description: Networks.
  datasets: [pbmc68k-reduced, celllines-scmixology]
  models: [scgpt-kidney@paper, geneformer-v1-10m, scgpt-untrained@short, geneformer-v1-10m-untrained]
  chapters: [04_pretraining]
"""


def write_kidney(home: Path, seed: int = 0) -> None:
    from released import write_scgpt

    write_scgpt(home / "weights" / "scgpt-kidney", ["CD74", "FTL"], seed=seed)


def test_models_without_weights_are_left_out_with_the_reason(pretrained, capsys):
    pages = {run.path for run in study.runs(pretrained)}
    untrained = {"scgpt-untrained--short", "geneformer-v1-10m-untrained"}
    assert pages == {f"runs/{cells}/{model}" for cells in pretrained.datasets for model in untrained}
    reasons = {(pair.dataset, pair.model): pair.reason for pair in study.skipped(pretrained)}
    assert len(reasons) == 4
    assert "ZEROSHOT_WEIGHTS" in reasons["celllines-scmixology", "scgpt-kidney@paper"]
    assert "ZEROSHOT_WEIGHTS" in reasons["pbmc68k-reduced", "geneformer-v1-10m"]


def test_ids_of_human_genes_alone_do_for_models_that_read_symbols(monkeypatch):
    card = catalog.dataset("celllines-scmixology")
    assert card.gene_names == "Ensembl"
    models = [name for name, model in catalog.models().items() if model.gene_ids == "symbol"]
    assert {"corpus-pca", "cellama", "genept-w", "scgpt-human", "chatcell-base"} <= set(models)
    assert [study.misfit(card.name, name) for name in models] == [None] * len(models)
    monkeypatch.setattr(catalog, "dataset", lambda name: card.model_copy(update={"organism": "mouse"}))
    assert "genes of mouse by Ensembl id" in study.misfit(card.name, "corpus-pca")
    assert study.misfit(card.name, "scgpt-untrained@short") is None
    assert study.misfit(card.name, "geneformer-v1-10m") is None


def test_weights_in_a_folder_are_used_and_decide(pretrained, home, monkeypatch):
    monkeypatch.setenv("ZEROSHOT_WEIGHTS", str(home / "weights"))
    write_kidney(home)

    def inputs() -> dict:
        by_path = {run.path: run.inputs for run in study.runs(pretrained)}
        return by_path["runs/pbmc68k-reduced/scgpt-kidney--paper"]

    first = inputs()
    assert set(first["weights"]) == {"config", "weights", "vocabulary"}
    assert inputs() == first
    write_kidney(home, seed=1)
    changed = {name for name, value in inputs().items() if first[name] != value}
    assert changed == {"weights"}


# -- what is refused before anything is computed


@pytest.fixture
def small(home, monkeypatch):
    """Run a study of the given fields; gives the refusal. Nothing may be started."""

    def not_to_be_called(*_, **__):
        raise AssertionError("something was started")

    monkeypatch.setattr(processes, "run", not_to_be_called)

    def refusal(target: str = "pages", **fields) -> str:
        entry = {
            "title": "Small",
            "description": "A few.",
            "datasets": ["pbmc68k-reduced"],
            "models": ["pca"],
        }
        (home / "data" / "studies.yml").write_text(json.dumps({"small": entry | {"chapters": []} | fields}))
        with pytest.raises(ValueError) as error:
            study.run("small", target=target)
        return str(error.value)

    return refusal


def test_a_chapter_that_cannot_be_made_is_refused_at_the_start(small, home):
    assert "the study small cannot be made: 03_batches needs a data set of several batches" in small(
        chapters=["01_data", "03_batches"]
    )
    everything = home / "notebooks" / "01_data.ipynb"
    content = json.loads(everything.read_text())
    content["metadata"]["zeroshot"] = {"needs": list(study.NEEDS)}
    everything.write_text(json.dumps(content))
    message = small(chapters=["01_data"], models=["random"])
    assert all(need.title in message for need in study.NEEDS.values())
    content["metadata"]["zeroshot"] = {"needs": ["several-batch"]}
    everything.write_text(json.dumps(content))
    assert (
        "01_data.ipynb: no need of a chapter is called 'several-batch'. Did you mean several-batches"
        in small(chapters=["01_data"])
    )
    for declared, message in [
        ({"reads": ["score"]}, "no table of a study is called 'score'. Did you mean scores"),
        ({"files": ["data/nothing.yml"]}, "declares files that do not exist: data/nothing.yml"),
        ({"cell": True}, "no field of zeroshot is called 'cell'. Did you mean cells"),
    ]:
        content["metadata"]["zeroshot"] = declared
        everything.write_text(json.dumps(content))
        assert message in small(chapters=["01_data"])


def test_chapters_needs_are_met_by_the_studies_that_list_them():
    for card in catalog.studies().values():
        study.require(card, [pair for pair in study.pairs(card) if study.misfit(*pair) is None])


def test_a_study_with_nothing_to_run_is_refused(small):
    assert "no model of the study small can embed any of its data sets" in small(models=["harmony"])


def test_a_chapter_that_the_book_would_not_show_is_refused(small, home):
    toc = home / "_toc.yml"
    toc.write_text(toc.read_text().replace("      - file: notebooks/01_data\n", ""))
    assert "_toc.yml does not list chapters of the study small: add - file: notebooks/01_data" in small(
        "book", chapters=["01_data"]
    )


def test_settings_that_cannot_be_are_refused(home, tmp_path):
    (tmp_path / "empty").mkdir()
    for setting, message in [
        ({"cores": 0}, "cores is 0"),
        ({"profile": tmp_path / "nowhere"}, "nowhere does not exist"),
        ({"profile": tmp_path / "empty"}, "empty has no config.yaml"),
    ]:
        with pytest.raises(ValueError, match=message):
            study.run("smoke", **setting)


# -- what the plans hold


PAGES = {f"page of {run}" for run in RUNS}
# What is changed in which file, and the jobs whose plans hold it.
CHANGES = {
    "chapter": ("notebooks/03_batches.ipynb", "# Are batches mixed?", "# Are the batches mixed?",
                {"notebooks/03_batches"}),
    "run notebook": ("notebooks/run.ipynb", "How good is this model", "How useful is this model", PAGES),
    "model module": ("lib/zeroshot/models/controls.py", "rng.standard_normal", "1 * rng.standard_normal",
                     {"runs/tiny-atlas/random"}),
    "words of a module": ("lib/zeroshot/models/controls.py", '"""Noise of the size',
                          '"""Pure noise of the size', set()),
    "unrelated module": ("lib/zeroshot/cli/application.py", "import time", "import time as time", set()),
    "model card": ("data/models.yml", "50 independent Gaussian values", "Fifty independent Gaussian values",
                   {"runs/tiny-atlas/random"} | CHAPTERS),
    "unrelated card": ("data/models.yml", "The 50 principal components, corrected",
                       "50 principal components, corrected", set()),
    "data card": ("data/datasets.yml", "A few simulated cells.", "Some simulated cells.",
                  {"cells/tiny-atlas"} | RUNS | CHAPTERS),
}  # fmt: skip


def test_a_change_repeats_what_depends_on_it(home: Path, package: Path) -> None:
    """By what the plans hold; what reads a result also follows the job that makes it."""
    for registry, entry in {"studies": TINY, "datasets": TINY_ATLAS}.items():
        file = home / "data" / f"{registry}.yml"
        file.write_text(file.read_text() + entry)

    def plans() -> dict[str, str]:
        study.plan("tiny")
        folder = paths.study("tiny") / "plans"
        names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.json")}
        return {
            name.replace("pages/runs", "page of runs").removeprefix("pages/"): file.read_text()
            for name, file in names.items()
        }

    before = plans()
    assert set(before) == RUNS | PAGES | CHAPTERS | {
        "tables",
        "ablations",
        "cells/tiny-atlas",
        "umaps/tiny-atlas",
    }
    for change, (file, old, new, expected) in CHANGES.items():
        inside = file.removeprefix("lib/zeroshot/")
        path = home / file if inside == file else package / inside
        edit(path, old, new)
        after = plans()
        assert {job for job in after if after[job] != before[job]} == expected, change
        edit(path, new, old)
    assert plans() == before


def test_plans_of_every_study() -> None:
    for card in catalog.studies().values():
        runs = study.runs(card)
        assert len(runs) + len(study.skipped(card)) == len(card.datasets) * len(card.models)
        assert len({run.path for run in runs}) == len(runs)
        assert [page.path for page in study.run_pages(card)] == [run.path for run in runs]
        for run in runs:
            assert "zeroshot.metrics.scoring" in run.inputs["code"], card.name
        assert all(page.inputs["code"] for page in study.chapters(card)), card.name
        harmony = [run for run in runs if run.parameters["model"] == "harmony"]
        assert all((catalog.dataset(run.parameters["dataset"]).batches or 2) > 1 for run in harmony)


def test_runs_depend_on_their_own_model_only() -> None:
    runs = {run.parameters["model"]: run for run in study.runs(catalog.study("default"))}
    assert "zeroshot.models.controls" not in runs["pca"].inputs["code"]
    assert "zeroshot.models.controls" in runs["random"].inputs["code"]


def test_chapters_from_committed_scores_need_no_cells() -> None:
    card = catalog.study("real")
    built = {page.notebook for page in study.pages(card, "committed")}
    assert {"02_cell_types", "03_batches", "04_pretraining", "07_summary", "published", "landscape"} <= built
    absent = {page.notebook for page in study.absent_chapters(card, "committed")}
    expected = {"01_data", "05_reconstruction", "06_umap", "metric_cross_check", "metrics_on_trial", "tokens"}
    assert expected | {"your_data"} <= absent
    assert built | absent == set(card.chapters) and not built & absent
    for file in (CHECKOUT / "book").glob("*.md"):
        glued = set(re.findall(r"\{glue:\w+\}`\.\./notebooks/(\w+)\.ipynb::", file.read_text()))
        assert glued <= built, f"{file.name} glues from {sorted(glued - built)}"


# Calls that read a table.
LOADERS = {"load" if name == "scores" else f"load_{name}": name for name in results.TABLES}


def test_notebooks_declare_what_they_read() -> None:
    for file in sorted((CHECKOUT / "notebooks").glob("*.ipynb")):
        cells = json.loads(file.read_text())["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        declared = study.declaration(file.stem)
        tables = {LOADERS[name] for name in re.findall(r"results\.(load\w*)\(", code)}
        assert tables == set(declared.reads), file.name
        reads_cells = bool(re.search(r"\b(data\.load|pipeline\.\w+)\(", code))
        assert reads_cells == declared.cells, file.name
        assert ("ablations.load(" in code) == declared.ablations, file.name
        assert ("trial.load(" in code) == declared.trial, file.name


def test_ablations_are_planned_where_a_chapter_reads_them(home: Path) -> None:
    entry = {"title": "Small", "description": "A few.", "datasets": ["pbmc68k-reduced"]}
    entry |= {"models": ["pca", "random"], "chapters": ["sensitivity"]}
    (home / "data" / "studies.yml").write_text(json.dumps({"small": entry}))
    card = catalog.study("small")
    unit, floor = study.ablation_units(card)
    assert (unit.model, floor.model) == ("pca", "random") and unit.dataset == card.datasets[0]
    study.plan("small")
    plan = json.loads(study.plan_file("small", f"ablations/{unit.path}").read_text())
    assert plan["inputs"]["settings"]["ablation_cells"] == card.ablation_cells and plan["inputs"]["models"]
    study.plan("small", "committed")
    jobs = json.loads((home / "build" / "studies" / "small" / "plan.json").read_text())
    assert jobs["ablations"] == [] and "sensitivity" not in jobs["chapters"]
    assert study.ablation_units(card.model_copy(update={"chapters": ("01_data",)})) == []
    assert study.ablation_units(card.model_copy(update={"ablation_datasets": ()})) == []


def test_ablations_of_some_models_are_planned_with_their_floor() -> None:
    card = catalog.study("default")
    assert {unit.model for unit in study.ablation_units(card)} == {*card.ablation_models, "random"}
    omitted = study.ablations.omitted_models(card)
    assert catalog.model("cellama").title in omitted and catalog.model("pca").title not in omitted
    everything = card.model_copy(update={"ablation_models": None})
    assert len(study.ablation_units(everything)) == len(study.ablation_units(card)) + len(omitted)
    assert study.ablations.omitted_models(everything) == []


def test_the_trial_is_planned_where_a_chapter_reads_it() -> None:
    card = catalog.study("smoke")
    jobs = {job.path: job for job in study.trials(card)}
    assert set(jobs) == {"trial/ladders/0", "trial/ladders/1", "trial/perceptron/simulated-atlas"}
    assert {path for path, job in jobs.items() if "data set" in job.inputs} == {
        "trial/perceptron/simulated-atlas"
    }
    assert all("zeroshot.metrics.scoring" in job.inputs["code"] for job in jobs.values())
    assert study.trials(card.model_copy(update={"chapters": ("01_data",)})) == []


def test_a_chapter_that_embeds_cells_takes_those_of_the_runs(home: Path) -> None:
    card = catalog.study("smoke")
    pages = {page.notebook: page for page in study.chapters(card)}
    assert pages["your_data"].parameters == {"subset": card.subset}
    assert pages["07_summary"].parameters == {"study": "smoke"}
    study.plan("smoke")
    jobs = json.loads((paths.study("smoke") / "plan.json").read_text())["chapters"]
    late = {name for name, chapter in jobs.items() if chapter["umaps"]}
    assert late == {"05_reconstruction", "06_umap", "your_data"}


def test_an_engine_that_leaves_work_out_is_no_success(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snakemake has ended without an error and without the tables."""
    monkeypatch.setattr(processes, "run", lambda *_, **__: 0)
    with pytest.raises(study.StudyError, match=r"files of smoke are missing, such as \S+scores.csv"):
        study.run("smoke")
