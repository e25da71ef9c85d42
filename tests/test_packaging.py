"""Pins, their reasons, and what the files of the repository say about each other."""

import ast
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from zeroshot import catalog

CHECKOUT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
ENVIRONMENT = yaml.safe_load((CHECKOUT / "environment.yml").read_text())
EXTRAS = PROJECT["optional-dependencies"]
# What the project itself offers ("zeroshot[cluster]") is a reference to pins, not one.
PINS = [
    pin
    for pin in [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["cluster"]]
    if not pin.startswith("zeroshot[")
]


def canonical(name: str) -> str:
    """Name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def tracked() -> list[Path]:
    """Files of the repository: in git, or about to be."""
    listed = subprocess.run(
        ["git", "-C", str(CHECKOUT), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [CHECKOUT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_conda_users_get_the_same_pins():
    (from_pip,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    assert sorted(from_pip) == sorted([*PINS, "-e ."])


def test_requires_python_agrees_between_files():
    (conda,) = [e for e in ENVIRONMENT["dependencies"] if isinstance(e, str) and e.startswith("python ")]
    assert conda == f"python {PROJECT['requires-python']}"
    lowest, beyond = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert f"(3, {lowest}) <= sys.version_info < (3, {beyond})" in (CHECKOUT / "Makefile").read_text()
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py3{lowest}"


def test_every_direct_dependency_is_pinned_and_says_why():
    lines = (CHECKOUT / "pyproject.toml").read_text().splitlines()
    for pin in PINS:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", pin), f"{pin} is no exact pin"
        (line,) = [line for line in lines if f'"{pin}"' in line]
        assert len(line.partition("#")[2].strip()) >= 5, f"no reason beside {pin}"


def test_no_package_is_pinned_twice():
    names = [canonical(pin.partition("==")[0]) for pin in PINS]
    assert len(names) == len(set(names))


def test_installed_packages_are_the_pinned_ones():
    installed = {dist.metadata["Name"]: dist.version for dist in importlib.metadata.distributions()}
    installed = {canonical(name): version for name, version in installed.items()}
    differing = {}
    for pin in PINS:
        name, _, wanted = pin.partition("==")
        found = installed.get(canonical(name), "missing").partition("+")[
            0
        ]  # torch calls its CPU build 2.13.0+cpu
        if found != wanted:
            differing[pin] = found
    assert differing == {}


def test_everything_imported_is_a_direct_dependency():
    owners = importlib.metadata.packages_distributions()
    pinned = {canonical(pin.partition("==")[0]) for pin in PINS}
    modules = set()
    for file in [*(CHECKOUT / "lib").rglob("*.py"), *(CHECKOUT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.partition(".")[0])
    modules -= set(sys.stdlib_module_names) | {"zeroshot", "reading_list"}
    modules -= {file.stem for file in (CHECKOUT / "tests").rglob("*.py")}
    assert {"numpy", "torch", "pytest"} <= modules
    unpinned = {m for m in modules if not {canonical(owner) for owner in owners.get(m, [m])} & pinned}
    assert not unpinned, f"imported but not pinned: {sorted(unpinned)}"


def test_an_installation_has_both_packages():
    (where,) = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["where"]
    packages = {file.parent.name for file in (CHECKOUT / where).glob("*/__init__.py")}
    assert packages == {"zeroshot", "reading_list"}


def test_version_agrees_between_files():
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    assert str(citation["version"]) == PROJECT["version"]


def test_licence_agrees_between_files():
    assert PROJECT["license"] == "MIT" == yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())["license"]
    assert (CHECKOUT / "LICENSE").read_text().startswith("MIT License")


def test_readme_names_the_two_commands():
    readme = (CHECKOUT / "README.md").read_text()
    assert "make book" in readme and "make test" in readme
    stages = json.loads((CHECKOUT / "benchmarks" / "measured" / "book.json").read_text())["table"]
    assert stages[-1]["stage"] == "in all" and f"({stages[-1]['minutes']} minutes in all" in readme


def test_readme_and_guides_name_only_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    assert {"help", "book", "test", "lint", "bench", "serve", "clean"} <= targets
    for name in ("README.md", "CONTRIBUTING.md", "book/reproduce.md", ".ci/run"):
        named = set(re.findall(r"(?:`|^\s*)make ([a-z-]+)", (CHECKOUT / name).read_text(), re.MULTILINE))
        assert named <= targets, f"{name}: no target {sorted(named - targets)}"


def test_no_file_names_the_host_of_a_package_registry():
    # Whoever installs decides where packages come from; a host written here would override a mirror.
    hosts = ["py" + "pi.org", "files.python" + "hosted.org", "registry.npm" + "js.org", "deb." + "debian.org"]
    read, found = 0, []
    for path in tracked():
        if "mathjax" in path.parts:
            continue  # vendored
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        read += 1
        found += [f"{path.relative_to(CHECKOUT)}: {host}" for host in hosts if host in text.lower()]
    assert read > 30 and not found, found


def test_nothing_built_or_downloaded_is_in_the_repository():
    built = re.compile(
        r"(^|/)(build|artifacts|downloads|\.venv|__pycache__|_build|\.snakemake)(/|$)|\.(h5ad|rda|RData|pyc)$"
    )
    assert not [path for path in tracked() if built.search(str(path.relative_to(CHECKOUT)))]
    large = {str(path.relative_to(CHECKOUT)) for path in tracked() if path.stat().st_size > 1_000_000}
    kept = [card for card in catalog.models().values() if card.weights and card.weights.in_repository]
    weights = {
        f"data/weights/{card.name}/{file.path}": file.size
        for card in kept
        for file in card.weights.files.values()
    }
    assert all(size < 6 * 2**20 for size in weights.values()) and sum(weights.values()) < 40 * 2**20
    in_git = {str(path.relative_to(CHECKOUT)) for path in tracked()}
    # Beside them only what a training in steps says of itself.
    beside = {name for name in in_git if name.startswith("data/weights/")} - set(weights)
    assert set(weights) <= in_git and {Path(name).name for name in beside} <= {"training.json"}
    assert large - set(weights) <= {"book/_static/mathjax/tex-svg-full.js", "data/genes/gene_texts.tsv.xz"}


def test_parity_fixtures_are_those_of_their_readme():
    folder = CHECKOUT / "tests" / "parity"
    stated = re.findall(r"^([0-9a-f]{64})  (\S+)$", (folder / "README.md").read_text(), re.MULTILINE)
    files = {path for path in folder.rglob("*") if path.is_file()} - {folder / "README.md"}
    sums = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert sums == {name: digest for digest, name in stated}
