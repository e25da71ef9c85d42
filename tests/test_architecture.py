"""The shape of the library: imports go one way, files stay small, heavy packages wait until asked for."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

from zeroshot import PARTS

LIBRARY = Path(__file__).resolve().parents[1] / "lib"
PACKAGE = LIBRARY / "zeroshot"
READING_LIST = "reading_list"  # a package beside zeroshot, and one part in the order

ORDER = (*PARTS, "__main__")
# The paths and what puts text on a page, the registries, and what writes a file whole.
NEEDED_BY_READING_LIST = {"runtime", "catalog", "store"}
# The site stages its pages, and the command line has its commands.
USERS_OF_READING_LIST = {"site", "cli"}
SOURCES = sorted(LIBRARY.rglob("*.py"))
HEAVY = (
    "torch", "scanpy", "scvi", "scib_metrics", "umap", "jax", "igraph", "sklearn", "anndata", "pandas",
    "matplotlib", "papermill", "snakemake",
)  # fmt: skip


def part_of(file: Path) -> str:
    """Name in ORDER of a source: "metrics" for metrics/annotation.py."""
    package, *below = file.relative_to(LIBRARY).with_suffix("").parts
    return below[0] if package == PACKAGE.name else package


def imported_parts(source: str, file: Path) -> set[str]:
    """Parts of everything of the library that a source imports, at its top or inside functions."""
    package = file.relative_to(LIBRARY).parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "zeroshot" else {module}
    parts = {name.split(".")[1] for name in names if name.startswith("zeroshot.")}
    return parts | {READING_LIST for name in names if name.split(".")[0] == READING_LIST}


def test_every_module_has_its_place_in_the_order():
    assert {part_of(file) for file in SOURCES} - {"__init__"} == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


def test_imports_go_only_upwards():
    downwards = {}
    for file in SOURCES:
        part = part_of(file)
        allowed = set() if part == "__init__" else {*ORDER[: ORDER.index(part)], part}
        if later := imported_parts(file.read_text(), file) - allowed:
            downwards[str(file.relative_to(LIBRARY))] = sorted(later)
    assert not downwards, "these files import what comes after them in ORDER"


def test_the_reading_list_needs_little_and_is_needed_by_little():
    for file in SOURCES:
        parts = imported_parts(file.read_text(), file)
        if part_of(file) == READING_LIST:
            assert parts <= NEEDED_BY_READING_LIST | {READING_LIST}, file.name
        elif READING_LIST in parts:
            assert part_of(file) in USERS_OF_READING_LIST, file.name


def test_metrics_and_integrity_know_nothing_of_the_project():
    for file in [*(PACKAGE / "metrics").rglob("*.py"), PACKAGE / "embedding" / "integrity.py"]:
        assert imported_parts(file.read_text(), file) <= {part_of(file)}, file.name


def test_models_see_no_data_sets_and_no_metrics():
    for file in (PACKAGE / "models").glob("*.py"):
        allowed = {"models", "catalog", "tokens", "store"}
        assert imported_parts(file.read_text(), file) <= allowed, file.name


def test_the_check_itself_sees_every_form_of_import():
    for source, where, parts in (
        ("from zeroshot import site, cli as c", "store.py", {"site", "cli"}),
        ("def f():\n    import zeroshot.study", "store.py", {"study"}),
        ("from zeroshot.data.load import load", "store.py", {"data"}),
        ("from ..study import run", "metrics/x.py", {"study"}),
        ("from .. import site", "metrics/x.py", {"site"}),
        ("from . import cli", "store.py", {"cli"}),
        ("from .registry import metric", "metrics/x.py", {"metrics"}),
        ("import reading_list", "store.py", {"reading_list"}),
        ("from reading_list import links", "store.py", {"reading_list"}),
        ("from . import entries", "../reading_list/x.py", {"reading_list"}),
        ("import numpy, os.path", "store.py", set()),
    ):
        assert imported_parts(source, (PACKAGE / where).resolve()) == parts, source


def test_no_drawer_for_everything():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "tools"}
    assert not [f for f in LIBRARY.rglob("*") if f.stem.lower().strip("_") in drawers]


def test_html_is_written_by_templates():
    tag = re.compile(r"</[a-z]|<[a-z]+ [a-z-]+=")
    lines = [line for file in SOURCES for line in file.read_text().splitlines() if tag.search(line)]
    other = ("PLACEHOLDER = ", "SPECIAL = ")  # the latter are words that tGPT was trained with
    assert [line for line in lines if not line.startswith(other)] == []


def test_files_stay_readable():
    lines = {str(file.relative_to(LIBRARY)): len(file.read_text().splitlines()) for file in SOURCES}
    long = {name: number for name, number in lines.items() if number > 450}
    assert not long, "files of more than 450 lines: make them folders named after their nouns"


def modules_after(statement: str) -> set[str]:
    """What a new interpreter has imported once it has run a statement."""
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_command_line_starts_without_heavy_packages():
    modules = modules_after("import zeroshot.cli")
    assert "zeroshot.cli" in modules and "typer" in modules
    assert not modules & set(HEAVY)


def test_what_notebooks_import_first_waits_with_the_heaviest():
    first = "from zeroshot import data, metrics, models, results, figures, pipeline"
    first += "; from zeroshot.notebooks import report, stamp"
    assert not modules_after(first) & {
        "torch", "scanpy", "scvi", "scib_metrics", "umap", "jax", "igraph", "harmonypy",
    }  # fmt: skip
