"""What a page depends on, and that a hash changes exactly when something it depends on does."""

import json

import pytest

from zeroshot import catalog, dependencies, paths, pipeline


def edit(file):
    """Change a source, and forget what was read of it, as a new process would."""
    file.write_text(file.read_text() + "\n# changed\n")
    dependencies._imports_of_module.cache_clear()


def notebook(path, *cells: str, kind: str = "code"):
    path.write_text(
        json.dumps({"cells": [{"cell_type": kind, "source": cell.splitlines(True)} for cell in cells]})
    )
    return path


# -- the real library ------------------------------------------------------------------------------


def test_chapters_about_scores_depend_on_no_model():
    for name in ("02_cell_types", "03_batches"):
        modules = dependencies.modules_of_notebook(paths.notebooks() / f"{name}.ipynb")
        assert {"zeroshot.results", "zeroshot.figures", "zeroshot.catalog", "zeroshot.paths"} <= modules
        # Of the metrics they need the direction of each and how wide an interval is.
        assert not [m for m in modules if m.startswith(("zeroshot.models", "zeroshot.data"))]


def test_run_depends_on_every_metric_and_on_no_single_model():
    modules = dependencies.modules_of_notebook(paths.notebooks() / "run.ipynb")
    files = {f"zeroshot.metrics.{file.stem}" for file in (paths.PACKAGE / "metrics").glob("[a-z]*.py")}
    assert files and files <= modules
    assert {"zeroshot.pipeline", "zeroshot.embedding", "zeroshot.integrity", "zeroshot.data.load"} <= modules
    # Which model file a page needs is in its card; importing all would re-run all pages for each.
    assert "zeroshot.models" in modules and "zeroshot.models.baselines" not in modules


def test_nothing_a_page_needs_depends_on_the_machinery_around_it():
    for file in paths.notebooks().glob("*.ipynb"):
        modules = dependencies.modules_of_notebook(file)
        assert not modules & {"zeroshot.cli", "zeroshot.study", "zeroshot.book", "zeroshot.notebooks"}, (
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
        ("from zeroshot import store, catalog", {"zeroshot", "zeroshot.store", "zeroshot.catalog"}),
        ("from zeroshot.store import key_of", {"zeroshot.store"}),
        ("from zeroshot.models import baselines", {"zeroshot.models", "zeroshot.models.baselines"}),
        ("def f():\n    from zeroshot import paths", {"zeroshot", "zeroshot.paths"}),
        (
            "if True:\n    try:\n        import zeroshot.figures\n    except ImportError: pass",
            {"zeroshot.figures"},
        ),
        ("import numpy\nfrom zeroshotx import store\nimport zeroshot_store", set()),
        ("'from zeroshot import store'  # import zeroshot.catalog", set()),
    ],
)
def test_imports_of_a_source(source, expected):
    assert dependencies._imported(source, package="") == expected


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("from .registry import metric", "zeroshot.metrics", {"zeroshot.metrics.registry"}),
        ("from . import registry", "zeroshot.metrics", {"zeroshot.metrics", "zeroshot.metrics.registry"}),
        ("from .. import store", "zeroshot.metrics", {"zeroshot", "zeroshot.store"}),
        ("from ..data.load import load", "zeroshot.metrics", {"zeroshot.data.load"}),
        ("def f():\n    from .neighbors import as_scib", "zeroshot.metrics", {"zeroshot.metrics.neighbors"}),
    ],
)
def test_relative_imports_of_a_source(source, package, expected):
    assert dependencies._imported(source, package) == expected


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


# -- hashes ----------------------------------------------------------------------------------------


def test_hash_is_stable_and_depends_on_the_modules_asked_for(package):
    one = dependencies.code_hash({"zeroshot.metrics", "zeroshot.integrity"})
    assert one == dependencies.code_hash({"zeroshot.integrity", "zeroshot.metrics"})
    assert one == dependencies.code_hash(dependencies.closure({"zeroshot.metrics", "zeroshot.integrity"}))
    assert one != dependencies.code_hash({"zeroshot.integrity"})


@pytest.mark.parametrize(
    "name", ["metrics/__init__", "metrics/annotation", "metrics/distances", "metrics/registry", "integrity"]
)
def test_hash_of_scores_changes_with_a_source_they_need(package, name):
    before = dependencies.code_hash({"zeroshot.metrics", "zeroshot.integrity"})
    edit(package / f"{name}.py")
    assert dependencies.code_hash({"zeroshot.metrics", "zeroshot.integrity"}) != before


@pytest.mark.parametrize(
    "name",
    [
        "figures/scores",
        "cli",
        "study/running",
        "book/pages",
        "models/baselines",
        "embedding",
        "results/comparisons",
        "data/load",
        "store/artifacts",
    ],
)
def test_hash_of_scores_does_not_change_with_another_source(package, name):
    before = dependencies.code_hash({"zeroshot.metrics", "zeroshot.integrity"})
    edit(package / f"{name}.py")
    assert dependencies.code_hash({"zeroshot.metrics", "zeroshot.integrity"}) == before


def test_infrastructure_changes_no_stored_result_but_the_pages(package):
    modules = {"zeroshot.embedding", "zeroshot.models.baselines"}
    code, sources = dependencies.code_hash(modules), dependencies.source_hashes(dependencies.closure(modules))
    edit(package / "catalog" / "__init__.py")
    assert "zeroshot.catalog" in dependencies.closure(modules)
    assert dependencies.code_hash(modules) == code
    changed = dependencies.source_hashes(dependencies.closure(modules))
    assert {name for name in changed if changed[name] != sources[name]} == {"zeroshot.catalog"}


def test_new_import_in_a_needed_source_is_followed(package):
    (package / "extra.py").write_text("VALUE = 1\n")
    source = package / "integrity.py"
    source.write_text(source.read_text() + "\n\ndef late():\n    from . import extra\n    return extra\n")
    dependencies._imports_of_module.cache_clear()
    assert "zeroshot.extra" in dependencies.closure({"zeroshot.integrity"})
    before = dependencies.code_hash({"zeroshot.integrity"})
    edit(package / "extra.py")
    assert dependencies.code_hash({"zeroshot.integrity"}) != before


def test_modules_that_import_each_other_are_no_trap(package):
    (package / "egg.py").write_text("def f():\n    from zeroshot import hen\n")
    (package / "hen.py").write_text("from zeroshot import egg\n")
    assert {"zeroshot.egg", "zeroshot.hen"} <= dependencies.closure({"zeroshot.hen"})
