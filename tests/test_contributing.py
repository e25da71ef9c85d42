"""Each example of the contributing guide, pasted and held to the rules of what is registered."""

import hashlib
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import test_metrics
import test_models
import test_notebooks
import yaml
from anndata import AnnData
from scipy import sparse
from test_metrics import batches, labels, mixed, separated  # noqa: F401 - fixtures
from test_models import adata, base, released_folders, small_and_quick  # noqa: F401 - fixtures

import reading_list
from zeroshot import catalog, data, metrics, models, study
from zeroshot.results import claims, evidence, published
from zeroshot.runtime import paths
from zeroshot.site import citations
from zeroshot.store import dependencies

GUIDE = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()


def blocks(section: str) -> list[tuple[str, str]]:
    """Language and text of the code blocks of a section; what looks like a heading in a block is none."""
    parts = re.split(r"^```(\w*)\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    found, here = [], ""
    for prose, language, text in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True):
        here = [here, *re.findall(r"^##+ (.+)$", prose, re.MULTILINE)][-1]
        if here == section and language:
            found.append((language, text))
    return found


def examples(section: str, language: str) -> list[str]:
    """The code blocks of one language in a section."""
    return [text for written_in, text in blocks(section) if written_in == language]


def paste(home: Path, registry: str, entry: str) -> str:
    """Append an entry to a registry; gives its name."""
    file = home / "data" / f"{registry}.yml"
    file.write_text(f"{file.read_text()}\n{entry}")
    return entry.partition(":")[0]


def rules(module: object, arguments: set[str]) -> list[Callable]:
    """The tests of a module that hold for everything that is registered."""
    found = []
    for name, test in vars(module).items():
        marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        names = {part for mark in marks for part in np.atleast_1d(mark.args[0])}
        if name.startswith("test_") and names == arguments:
            found.append(test)
    assert found
    return found


def call(test: Callable, fixtures: dict[str, object]) -> None:
    test(**{name: fixtures[name] for name in inspect.signature(test).parameters})


def test_a_model(home, tmp_path, monkeypatch, adata, base):  # noqa: F811
    (source,), (entry,) = examples("A model", "python"), examples("A model", "yaml")
    name = paste(home, "models", entry)
    card = catalog.model(name)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{card.implementation.partition(':')[0]}.py").write_text(source)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "models")])
    try:
        for rule in rules(test_models, {"model", "recipe"}):
            call(rule, {"adata": adata, "base": base, "model": name, "recipe": card.recipe})
    finally:
        sys.modules.pop("zeroshot.models.svd", None)


def test_a_checkpoint(home, adata, base):  # noqa: F811
    entry, *_ = examples("A checkpoint, and a model that reads tokens", "yaml")
    name = paste(home, "models", entry)
    for rule in (test_models.test_shape_type_and_values, test_models.test_another_seed):
        call(rule, {"adata": adata, "base": base, "model": name, "recipe": "upstream"})


def write_cells(folder: Path) -> pd.DataFrame:
    """The files of `my_tissue`: counts, and what is known of the cells."""
    draw = np.random.default_rng(0)
    names = [f"cell-{number}" for number in range(40)]
    cells = pd.DataFrame(
        {"type": [f"t{i % 3}" for i in range(40)], "donor": [f"d{i % 2}" for i in range(40)]}
    )
    counts = pd.DataFrame(draw.poisson(2, (40, 25)), columns=[f"GENE{number}" for number in range(25)])
    counts.set_axis(names).to_csv(folder / "counts.csv.gz")
    cells.set_axis(names).to_csv(folder / "cells.csv.gz")
    return cells


def test_a_data_set(home, tmp_path, monkeypatch):
    """The entry as it stands is valid; with a file in place of the one that nobody has, it is loaded."""
    (entry,) = examples("A data set", "yaml")
    name = paste(home, "datasets", entry)
    assert set(catalog.dataset(name).cited) <= set(citations.papers()) | citations.other_works()
    cells = write_cells(tmp_path)
    counts = pd.read_csv(tmp_path / "counts.csv.gz", index_col=0)
    stored = AnnData(sparse.csr_matrix(np.log1p(counts.to_numpy(float))), cells.set_axis(counts.index))
    stored.var_names = counts.columns
    stored.layers["counts"] = sparse.csr_matrix(counts.to_numpy(float))
    stored.obs = stored.obs.rename(columns={"type": "cell_type"})
    file = tmp_path / "my_tissue.h5ad"
    stored.write_h5ad(file)
    fields = yaml.safe_load(entry)
    fields[name] |= {"cells": 40, "labels": 3, "batches": 2}
    fields[name]["files"][0] |= {
        "size": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    (home / "data" / "datasets.yml").write_text(yaml.safe_dump(fields))
    monkeypatch.setenv("ZEROSHOT_DATA", str(tmp_path))
    loaded = data.load(name)
    assert (loaded.X.toarray() == counts.to_numpy()).all() and loaded.obs["batch"].nunique() == 2


def test_a_function_that_prepares_a_data_set(home, tmp_path, monkeypatch):
    (source,) = examples("A data set", "python")
    namespace = {"__package__": "zeroshot.data.prepare"}
    exec(source, namespace)
    cells = write_cells(tmp_path)
    prepared = namespace["my_tissue"]({file.name: file for file in tmp_path.glob("*.csv.gz")})
    kept = data.contract(prepared, name="my-tissue", batch_key="batch")
    assert list(kept.obs["cell_type"]) == list(cells["type"]) and kept.shape == (40, 25)


def test_a_corpus(home):
    (entry,) = examples("A corpus", "yaml")
    file = home / "data" / "corpora.yml"
    file.write_text(file.read_text() + entry)
    card = catalog.corpus("my-corpus")
    sources = [catalog.corpus_sources()[name] for name in catalog.sources_of(card)]
    assert abs(card.cells - card.share * sum(source.cells for source in sources)) <= len(sources)


def test_a_metric(package, tmp_path, monkeypatch, mixed, separated, labels, batches):  # noqa: F811
    """A new file of the folder is found, and its code decides about stored scores."""
    (source,) = examples("A metric", "python")
    file = package / "metrics" / "nearest.py"
    file.write_text(source)
    assert "zeroshot.metrics.nearest" in dependencies.closure({"zeroshot.metrics"})
    script = "from zeroshot import metrics; print(*metrics.METRICS)"
    environment = {"PYTHONPATH": str(package.parent), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    name = "nearest_neighbor_purity"
    assert name in done.stdout.split(), done.stderr

    scratch = dict(metrics.METRICS)
    monkeypatch.setattr("zeroshot.metrics.registry.METRICS", scratch)
    monkeypatch.setattr("zeroshot.metrics.scoring.METRICS", scratch)
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(file.parent)])
    try:
        importlib.import_module("zeroshot.metrics.nearest")
        monkeypatch.setattr(test_metrics, "METRICS", {name: scratch[name]})
        cells = {"labels": labels, "batches": batches, "baseline": separated, "names": [name]}
        fixtures = {"mixed": mixed, "separated": separated, "labels": labels, "batches": batches}
        for scores, embedding in {
            "mixed_scores": mixed,
            "separated_scores": separated,
            "noise_scores": np.random.default_rng(5).normal(size=(len(labels), 50)),
            "oracle_scores": metrics.label_oracle(labels, seed=0),
        }.items():
            fixtures[scores] = test_metrics.values(embedding, **cells)
        for rule in test_metrics.CONTRACT:
            call(rule, fixtures)
    finally:
        sys.modules.pop("zeroshot.metrics.nearest", None)


def test_a_study(home):
    (entry,) = examples("A study", "yaml")
    card = catalog.study(paste(home, "studies", entry))
    study.require(card, study.pairs(card))
    study.plan(card.name)
    planned = {page.path for page in study.pages(card, "computed")}
    assert planned == {f"runs/{card.datasets[0]}/{model}" for model in card.models} | {
        f"notebooks/{chapter}" for chapter in card.chapters
    }
    assert all(study.plan_file(card.name, f"pages/{page}").is_file() for page in planned)


def paste_paper(home: Path) -> str:
    """Put the example of a paper where it belongs; gives its name."""
    (entry,) = examples("A paper", "yaml")
    name = entry.partition(":")[0]
    file = home / "data" / "literature" / "reading_list.yml"
    entries = yaml.safe_load(file.read_text()) | yaml.safe_load(entry)
    sections = list(yaml.safe_load((file.parent / "sections.yml").read_text()))
    places = {key: number for number, key in enumerate(entries)}

    def place(key: str) -> tuple:
        paper = entries[key]
        return (
            sections.index(paper["section"]) if paper["section"] in sections else 0,
            paper.get("subsection") or "",
            -paper["year"],
            key,
        )

    mine = place(name)
    siblings = [k for k in entries if k != name and place(k)[:2] == mine[:2]]
    after = next((k for k in siblings if place(k)[2:] > mine[2:]), None)
    order = [k for k in sorted(entries, key=places.get) if k != name]
    order.insert(order.index(after) if after else order.index(siblings[-1]) + 1, name)
    file.write_text(yaml.safe_dump({k: entries[k] for k in order}, sort_keys=False, allow_unicode=True))
    return name


def test_a_paper_and_a_published_number(home):
    name = paste_paper(home)
    assert name in reading_list.load() and name in citations.papers()
    (entry,) = examples("A published number", "yaml")
    number = paste(home, "published", entry)
    (mine,) = [one for one in published.load() if one.name == number]
    assert mine.source == name and mine.value == 0.6348
    empty = pd.DataFrame(
        columns=["dataset", "model", "recipe", "metric", "value", "subset", "n_cells", "seed"]
    )
    assert number in set(published.ledger(empty)["id"])


def test_a_claim(home):
    (entry,) = examples("A claim", "yaml")
    name = paste(home, "claims", entry)
    table = claims.ledger().set_index(["claim", "source"])
    # The publication prints no NMI; the reproduction has no HVG.
    assert set(table.loc[name, "verdict"]) == {"not testable here"}
    assert table.loc[(name, "Reproduction"), "numbers"] == "no NMI of HVG"


def test_scores_of_another_benchmark(home):
    paste_paper(home)
    (entry,) = examples("Scores of another benchmark", "yaml")
    (name,) = card = yaml.safe_load(entry)
    assert f"`{', '.join(evidence.TABLE_COLUMNS)}`" in " ".join(GUIDE.split())
    row = evidence.load("langcell").iloc[[0]][list(evidence.TABLE_COLUMNS)]
    text = row.assign(source=name, task="my_task", metric="ari").to_csv(index=False)
    folder = home / "data" / "evidence"
    (folder / card[name]["table"]["name"]).write_text(text)
    card[name]["table"] |= {"rows": 1, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    paste(home, "evidence/sources", yaml.safe_dump(card))
    mine = evidence.load(name)
    assert list(mine["area"]) == ["clustering"] and list(mine["method"]) == ["langcell"]
    assert name in set(evidence.load()["source"])


def test_a_chapter(tmp_path, monkeypatch):
    """Its notebook keeps the rules of notebooks and runs, here on the scores that are committed."""
    made = []
    for language, text in blocks("A chapter"):
        if language == "json":
            made[-1].metadata.update(json.loads(text))
            continue
        new = nbformat.v4.new_markdown_cell if language == "markdown" else nbformat.v4.new_code_cell
        made.append(new(text.strip(), id=f"my-chapter-{len(made)}"))
    next(cell for cell in made if cell.cell_type == "code").metadata["tags"] = ["parameters"]
    notebook = tmp_path / "my_chapter.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=made), notebook)
    for rule in rules(test_notebooks, {"source"}):
        call(rule, {"source": notebook})
    monkeypatch.setenv("ZEROSHOT_HOME", str(Path(__file__).parents[1]))
    monkeypatch.setattr(paths, "study", lambda name: paths.scores() / name)
    namespace: dict[str, object] = {}
    for cell in made:
        if cell.cell_type == "code":
            exec(cell.source.replace('"default"', '"real"'), namespace)
    assert len(namespace["scores"])
