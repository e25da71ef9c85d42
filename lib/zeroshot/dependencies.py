"""Which library modules a notebook or a module depends on, read from their import statements.

The build uses it to re-run a page when a module it needs has changed, and no other page.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

from zeroshot import paths

# They move cards and files about and hold no arithmetic: a change in them, or in what only they
# import, re-executes pages but does not make a stored embedding or score stale. Of weights the
# files' hashes are in an embedding's key.
INFRASTRUCTURE = frozenset(
    {
        "zeroshot",
        "zeroshot.paths",
        "zeroshot.hashing",
        "zeroshot.catalog",
        "zeroshot.store",
        "zeroshot.weights",
    }
)

# They import every file of their folder, so that a new one is found by itself.
_IMPORT_THEIR_FOLDER = frozenset({"zeroshot.metrics"})


def modules_of_notebook(notebook: Path) -> set[str]:
    """Library modules that the code cells of a notebook import, and what those import."""
    cells = json.loads(notebook.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))]
    return closure(_imported("\n".join(lines), package=""))


def closure(modules: set[str] | frozenset[str], without: frozenset[str] = frozenset()) -> set[str]:
    """The given library modules with everything of the library that they import, at any depth.

    ``without`` leaves modules out, and what is imported through them alone.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or module in without:
            continue
        found.add(module)
        waiting.extend(_imports_of_module(module))
    return found


def code_hash(modules: set[str] | frozenset[str]) -> str:
    """One hash over the sources of the given modules and of what they import, infrastructure apart."""
    hashes = source_hashes(closure(modules, without=INFRASTRUCTURE))
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:20]


def source_hashes(modules: set[str]) -> dict[str, str]:
    """SHA-256 of the source file of each module."""
    return {module: file_hash(_file(module)) for module in sorted(modules)}


def file_hash(path: Path) -> str:
    """First 20 digits of a file's SHA-256: enough to tell that it has changed."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


@cache
def _imports_of_module(module: str) -> frozenset[str]:
    file = _file(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    imported = _imported(file.read_text(), package)
    if module in _IMPORT_THEIR_FOLDER:
        imported |= {f"{module}.{other.stem}" for other in file.parent.glob("*.py") if other != file}
    return frozenset(imported)


def _imported(source: str, package: str) -> set[str]:
    """Library modules named in the import statements of a source, also those inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
            names = [base] + [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found.update(name for name in names if _is_module(name))
    return found


def _is_module(name: str) -> bool:
    return name.split(".")[0] == "zeroshot" and _file(name).is_file()


def _file(module: str) -> Path:
    path = paths.PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
