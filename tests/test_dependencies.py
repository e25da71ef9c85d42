"""What pages and stored results depend on, and that a key changes exactly when one of these does."""

import ast
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from zeroshot import catalog, metrics, pipeline
from zeroshot.data.load import PREPARED_BY
from zeroshot.runtime import paths
from zeroshot.store import dependencies

# Imported by modules that compute numbers, but no number depends on their version.
WITHOUT_NUMBERS = {
    "anndata",  # holds the cells
    "tqdm",  # shows progress
}


def edit(file):
    """Change the code of a source."""
    file.write_text(file.read_text() + "\nCHANGED = True\n")


def reword(file):
    """Change the docstrings, the comments and the formatting of a source, and nothing else."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node) is None:
                node.body.insert(0, ast.Expr(ast.Constant("New words.")))
            else:
                node.body[0].value.value = "Other words."
    file.write_text(f"# A comment.\n{ast.unparse(tree)}  # another one\n")


def family_of(card) -> str:
    """Name of the file of ``models/`` that implements a model."""
    return (card.implementation or "label-oracle").partition(":")[0]


def keys() -> dict[tuple[str, ...], dict]:
    """What stands for code and packages in the key of each stage, and of each family where it matters."""
    families = {family_of(card): card for card in catalog.models().values()}
    computed_by = {("data",): PREPARED_BY}
    for stage, modules in pipeline.COMPUTED_BY.items():
        if stage not in ("embedding", "reconstruction"):
            computed_by[(stage,)] = modules
            continue
        for family, card in families.items():
            if stage == "embedding" or card.objective is not None:
                computed_by[stage, family] = modules | pipeline.modules_of_model(card)
    return {stage: dependencies.computation(modules) for stage, modules in computed_by.items()}


def changed_keys(before: dict) -> set[tuple[str, ...]]:
    """The stages whose key is not what it was."""
    after = keys()
    return {stage for stage in before if after[stage] != before[stage]}


def notebook(path, *cells: str, kind: str = "code"):
    path.write_text(
        json.dumps({"cells": [{"cell_type": kind, "source": cell.splitlines(True)} for cell in cells]})
    )
    return path


# -- the real library ------------------------------------------------------------------------------


def test_chapters_about_scores_depend_on_no_model():
    for name in ("02_cell_types", "03_batches"):
        modules = dependencies.modules_of_notebook(paths.notebooks() / f"{name}.ipynb")
        assert {f"zeroshot.{part}" for part in ("results", "figures", "catalog", "runtime.paths")} <= modules
        # Of the metrics they need the direction of each and how wide an interval is; of the data how cells
        # to point at are drawn.
        beyond = {m for m in modules if m.startswith(("zeroshot.models", "zeroshot.data"))}
        assert beyond == {"zeroshot.data.draws"}


def test_run_depends_on_every_metric_and_on_no_single_model():
    modules = dependencies.modules_of_notebook(paths.notebooks() / "run.ipynb")
    files = {f"zeroshot.metrics.{file.stem}" for file in (paths.PACKAGE / "metrics").glob("[a-z]*.py")}
    assert files and files <= modules
    steps = {"zeroshot.pipeline", "zeroshot.embedding", "zeroshot.embedding.integrity", "zeroshot.data.load"}
    assert steps <= modules
    # Which model file a page needs is in its card; importing all would re-run all pages for each.
    assert "zeroshot.models" in modules and "zeroshot.models.baselines" not in modules


def test_nothing_a_page_needs_depends_on_the_machinery_around_it():
    for file in paths.notebooks().glob("*.ipynb"):
        modules = dependencies.modules_of_notebook(file)
        assert not modules & {"zeroshot.cli", "zeroshot.study", "zeroshot.site", "zeroshot.notebooks"}, (
            file.name
        )


def test_models_bring_their_own_file_and_what_it_is_built_on():
    def modules(name):
        return dependencies.closure(pipeline.modules_of_model(catalog.model(name)))

    assert {"zeroshot.models.controls", "zeroshot.models.baselines"} <= modules("shuffled-genes")
    assert "zeroshot.models.controls" not in modules("pca")
    assert modules("label-oracle") == {"zeroshot.metrics.controls"}


def test_every_module_found_is_a_file():
    hashes = dependencies.source_hashes(dependencies.closure({"zeroshot.cli"}))
    assert len(hashes) > 10 and all(len(value) == 20 for value in hashes.values())


# -- finding imports -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import zeroshot.store", {"zeroshot.store"}),
        ("import zeroshot.metrics.annotation as a, os", {"zeroshot.metrics.annotation"}),
        ("from zeroshot import store, catalog", {"zeroshot.store", "zeroshot.catalog"}),
        ("from zeroshot.store import key_of", {"zeroshot.store"}),
        ("from zeroshot.models import baselines", {"zeroshot.models.baselines"}),
        ("from zeroshot.models import baselines, load", {"zeroshot.models", "zeroshot.models.baselines"}),
        ("def f():\n    from zeroshot.runtime import paths", {"zeroshot.runtime.paths"}),
        (
            "if True:\n    try:\n        import zeroshot.figures\n    except ImportError: pass",
            {"zeroshot.figures"},
        ),
        ("import numpy\nfrom zeroshotx import store\nimport zeroshot_store", set()),
        ("'from zeroshot import store'  # import zeroshot.catalog", set()),
        (
            "if TYPE_CHECKING:\n    import zeroshot.tokens.sequences\nelse:\n    import zeroshot.store",
            {"zeroshot.store"},
        ),
    ],
)
def test_imports_of_a_source(tmp_path, source, expected):
    modules = dependencies.modules_of_notebook(notebook(tmp_path / "n.ipynb", source))
    assert modules == dependencies.closure(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from .registry import metric", {"zeroshot.metrics.registry"}),
        ("from . import registry", {"zeroshot.metrics.registry"}),
        ("from .. import store", {"zeroshot.store"}),
        ("from ..data.load import load", {"zeroshot.data.load"}),
        ("def f():\n    from .neighbors import as_scib", {"zeroshot.metrics.neighbors"}),
    ],
)
def test_relative_imports_of_a_source(package, source, expected):
    (package / "metrics" / "nearest.py").write_text(source)
    modules = dependencies.closure({"zeroshot.metrics.nearest"})
    assert modules == dependencies.closure(expected) | {"zeroshot.metrics.nearest"}


def test_cells_of_a_notebook_are_read_whatever_magic_they_hold(tmp_path):
    path = notebook(
        tmp_path / "n.ipynb",
        "%matplotlib inline\nfrom zeroshot import figures",
        "def f():\n    %time pass\n    import zeroshot.results\n    return 1",
        "!ls",
    )
    modules = dependencies.modules_of_notebook(path)
    assert {"zeroshot.figures", "zeroshot.results", "zeroshot.catalog"} <= modules
    prose = notebook(tmp_path / "prose.ipynb", "from zeroshot import figures", kind="markdown")
    assert dependencies.modules_of_notebook(prose) == set()


# -- keys ------------------------------------------------------------------------------------------


def test_words_change_no_key(package):
    before, files = keys(), sorted(package.parent.rglob("*.py"))
    pages = dependencies.source_hashes(dependencies.closure({"zeroshot.cli"}))
    for file in files:
        reword(file)
    assert len(files) > 100 and changed_keys(before) == set()
    assert dependencies.source_hashes(dependencies.closure({"zeroshot.cli"})) == pages


def test_an_edited_metric_is_scored_again_and_nothing_is_embedded_again(package):
    before = keys()
    edit(package / "metrics" / "annotation.py")
    assert changed_keys(before) == {("scores",), ("umap-scores",)}


def test_an_edited_family_embeds_its_own_models_again(package):
    before = keys()
    edit(package / "models" / "scgpt.py")
    assert changed_keys(before) == {("embedding", "scgpt"), ("reconstruction", "scgpt")}
    edit(package / "models" / "baselines.py")  # of whose principal components others are made
    others = {("embedding", family) for family in ("baselines", "controls", "harmony")}
    assert changed_keys(before) == {("embedding", "scgpt"), ("reconstruction", "scgpt")} | others


def test_an_edit_computes_again_what_needs_it(package):
    before = keys()
    for file, expected in {
        "embedding/engine": {"embedding", "reconstruction"},
        "embedding/umap": {"umap"},
        "metrics/reconstruction/ranks": {"reconstruction"},
        "metrics/distances": {"scores", "umap-scores", "few-labels", "mapping"},
        "embedding/integrity": {"embedding", "reconstruction", "scores"},
        "data/counts": {"data"},
        "figures/scores": set(),
        "study/running": set(),
        "store/artifacts": set(),
    }.items():
        source = (package / f"{file}.py").read_text()
        edit(package / f"{file}.py")
        assert {stage for stage, *_ in changed_keys(before)} == expected, file
        (package / f"{file}.py").write_text(source)


def test_a_new_version_computes_again_what_declares_the_package(monkeypatch):
    installed = dependencies.installed_version
    before, changed = keys(), {}
    for package in ("sphinx", "umap-learn", "transformers", "igraph", "harmonypy"):
        monkeypatch.setattr(
            dependencies,
            "installed_version",
            lambda name, new=package: "99" if name == new else installed(name),
        )
        changed[package] = changed_keys(before)
    assert changed["sphinx"] == set()
    assert changed["umap-learn"] == {("umap",)}
    of_language = {"cellama", "cell_sentence", "chatcell", "genept", "scelmo"}
    assert changed["transformers"] == {("embedding", family) for family in of_language}
    assert changed["igraph"] == {("scores",), ("umap-scores",)}
    assert changed["harmonypy"] == {("embedding", "harmony")}


def packages_imported(module):
    """Packages that a library module imports when it runs, also inside functions; its own library apart."""
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())
    tree.body = [node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"zeroshot"}


def test_every_package_that_computes_is_declared():
    """What a model, a file of metrics or a stage imports, and what it is built on, is in its ``PACKAGES``."""
    distributions = importlib.metadata.packages_distributions()
    stages = [PREPARED_BY, *pipeline.COMPUTED_BY.values()]
    stages += [{metric.function.__module__} for metric in metrics.METRICS.values()]
    stages += [pipeline.modules_of_model(card) for card in catalog.models().values()]
    for modules in {frozenset(modules) for modules in stages}:
        reached = dependencies.closure(modules, without=dependencies.INFRASTRUCTURE)
        declared = dependencies.package_versions(modules).keys()
        undeclared = {
            name
            for name in set().union(*map(packages_imported, reached)) - WITHOUT_NUMBERS
            if declared.isdisjoint(distributions[name])
        }
        assert not undeclared, f"{sorted(modules)}: PACKAGES lacks {sorted(undeclared)}"


def test_the_hash_does_not_depend_on_order_or_on_what_is_named_twice():
    one = dependencies.code_hash({"zeroshot.metrics", "zeroshot.embedding.integrity"})
    assert one == dependencies.code_hash({"zeroshot.embedding.integrity", "zeroshot.metrics"})
    both = dependencies.closure({"zeroshot.metrics", "zeroshot.embedding.integrity"})
    assert one == dependencies.code_hash(both)
    assert one != dependencies.code_hash({"zeroshot.embedding.integrity"})


def test_infrastructure_changes_no_stored_result_but_the_pages(package):
    modules = {"zeroshot.embedding.embed", "zeroshot.models.baselines"}
    code, sources = dependencies.code_hash(modules), dependencies.source_hashes(dependencies.closure(modules))
    edit(package / "catalog" / "__init__.py")
    assert "zeroshot.catalog" in dependencies.closure(modules)
    assert dependencies.code_hash(modules) == code
    changed = dependencies.source_hashes(dependencies.closure(modules))
    assert {name for name in changed if changed[name] != sources[name]} == {"zeroshot.catalog"}


def test_a_change_that_changes_no_number_keeps_the_keys(package, monkeypatch):
    module = "zeroshot.embedding.integrity"
    before, (digest,) = dependencies.code_hash({module}), dependencies.source_hashes({module}).values()
    edit(package / "embedding" / "integrity.py")
    (changed,) = dependencies.source_hashes({module}).values()
    assert dependencies.code_hash({module}) != before
    monkeypatch.setitem(dependencies.SAME_NUMBERS, changed, digest)
    assert dependencies.code_hash({module}) == before


def test_code_with_the_same_numbers_as_before_is_code_that_there_is():
    of_models = [pipeline.modules_of_model(card) for card in catalog.models().values()]
    modules = set().union(*pipeline.COMPUTED_BY.values(), *of_models, {"zeroshot.metrics"}, PREPARED_BY)
    present = dependencies.source_hashes(dependencies.closure(modules, without=dependencies.INFRASTRUCTURE))
    assert set(dependencies.SAME_NUMBERS) <= set(present.values())


def test_new_import_in_a_needed_source_is_followed(package):
    (package / "extra.py").write_text("VALUE = 1\n")
    source = package / "embedding" / "integrity.py"
    source.write_text(source.read_text() + "\n\ndef late():\n    from .. import extra\n    return extra\n")
    assert "zeroshot.extra" in dependencies.closure({"zeroshot.embedding.integrity"})
    before = dependencies.code_hash({"zeroshot.embedding.integrity"})
    edit(package / "extra.py")
    assert dependencies.code_hash({"zeroshot.embedding.integrity"}) != before


def test_modules_that_import_each_other_are_no_trap(package):
    (package / "egg.py").write_text("def f():\n    from zeroshot import hen\n")
    (package / "hen.py").write_text("from zeroshot import egg\n")
    assert {"zeroshot.egg", "zeroshot.hen"} <= dependencies.closure({"zeroshot.hen"})
