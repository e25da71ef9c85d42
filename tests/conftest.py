"""A project of its own for each test that asks for one, so that nothing is written to the checkout."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Each worker of pytest-xdist has a core: with more threads than cores, most of the time goes into spinning
# at barriers (an embedding of 260 cells took ten times as long). Set before anything imports numpy or torch.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

CHECKOUT = Path(__file__).resolve().parents[1]
# What numba and jax compile is no part of what is tested: kept, as the jobs of a study do, it takes no time.
for _variable, _folder in {"NUMBA_CACHE_DIR": "numba", "JAX_COMPILATION_CACHE_DIR": "jax"}.items():
    os.environ.setdefault(_variable, str(CHECKOUT / "build" / "cache" / _folder))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
COPIED = (
    "notebooks",
    "book",
    "Snakefile",
    "_config.yml",
    "_toc.yml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
)

# Files that take longest, longest first. Each is one worker's (Makefile, --dist loadfile): begun last, it
# would keep that worker busy while the others have nothing left to do.
LONGEST = (
    "test_committed_scores",
    "test_interruption",
    "test_study",
    "test_data",
    "test_metrics",
    "test_models",
    "test_cli",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary project root with the registries, notebooks and sources of the book."""
    root = tmp_path / "home"
    (root / "data").mkdir(parents=True)
    for registry in (CHECKOUT / "data").glob("*.yml"):
        shutil.copy(registry, root / "data")
    for folder in ("references", "literature", "evidence", "genes", "ladders"):
        shutil.copytree(CHECKOUT / "data" / folder, root / "data" / folder)
    (root / "data" / "weights").symlink_to(CHECKOUT / "data" / "weights")  # read only, and large
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            # MathJax is 2 MB that no test here reads.
            shutil.copytree(
                source, root / name, ignore=shutil.ignore_patterns("mathjax", ".ipynb_checkpoints")
            )
        elif source.is_file():
            shutil.copy(source, root / name)
    monkeypatch.setenv("ZEROSHOT_HOME", str(root))
    return root


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library's sources that the dependency tracker reads instead of the installed ones."""
    from zeroshot.runtime import paths
    from zeroshot.store import dependencies

    copy = tmp_path / "zeroshot"
    for name in dependencies.LIBRARIES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / "lib" / name, tmp_path / name, ignore=ignored)
    if "ZEROSHOT_HOME" not in os.environ:  # else the root would be looked for beside the copy
        monkeypatch.setenv("ZEROSHOT_HOME", str(CHECKOUT))
    monkeypatch.setattr(paths, "PACKAGE", copy)
    return copy


@pytest.fixture(scope="session")
def scib_metrics():
    """The package, with what it compiles kept."""
    from zeroshot.runtime import compilation

    with compilation.keep_code():
        import scib_metrics
    return scib_metrics


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], list[str]]:
    """Write a Python script and return the command that runs it with this interpreter."""

    def write(source: str) -> list[str]:
        file = tmp_path / "script.py"
        file.write_text(source)
        return [sys.executable, str(file)]

    return write


@pytest.fixture
def zeroshot(monkeypatch, capsys):
    """Call the command line as the shell does; returns exit code, stdout and stderr."""

    from zeroshot import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["zeroshot", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            cli.main()
        out, err = capsys.readouterr()
        return done.value.code or 0, out, " ".join(err.split())

    return call


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A project whose tiny study has been run; by one worker, the others wait for it."""
    from filelock import FileLock
    from tiny_study import copy_project, run_tiny

    if worker_id == "master":  # without pytest-xdist
        return run_tiny(copy_project(tmp_path_factory.mktemp("study") / "project"))
    shared = tmp_path_factory.getbasetemp().parent / "tiny-study"
    with FileLock(f"{shared}.lock"):
        finished = shared / "finished"
        if not finished.exists():
            shutil.rmtree(shared, ignore_errors=True)  # of a worker that failed
            shared.mkdir()
            run_tiny(copy_project(shared / "project"))
            finished.touch()
    return shared / "project"


@pytest.fixture(scope="module")
def finished(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it, for the tests of a file to change and put back."""
    return Path(shutil.copytree(undisturbed, tmp_path_factory.mktemp("study") / "project"))
