"""Which library modules a notebook or a module depends on, with their code and packages.

A stored result is computed again when the code or a package that it was computed with has changed; a page
is executed again when a module that it needs has. Code is compared without docstrings, comments and
formatting: a change of words computes nothing again.
"""

import ast
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from zeroshot.runtime import paths

# The packages of lib/, side by side.
LIBRARIES = ("zeroshot", "reading_list")

# They move cards and files about and hold no arithmetic: a change in them, or in what only they
# import, re-executes pages but does not make a stored embedding or score stale. Of weights the
# files' hashes are in an embedding's key.
INFRASTRUCTURE = frozenset(
    {
        "zeroshot",
        "zeroshot.runtime.paths",
        "zeroshot.runtime.compilation",
        "zeroshot.store.dependencies",
        "zeroshot.store.hashing",
        "zeroshot.catalog",
        "zeroshot.store",
        "zeroshot.models.weights",
    }
)

# A change of code that changes no number keeps the keys of what is stored: the hash of the module's code
# after it, and before. An entry goes when the module changes again.
SAME_NUMBERS = {
    "bf4ad074877b922ff9de": "ea386ce591ba3ae758d9",  # metrics.scoring without the time that it takes
    "2ff3edc6557eddf60016": "d561d3054b6e0d9e66d3",  # tokens.genes: finds ids where there are no symbols;
    "72fb8ab17af5ea286d57": "0f6df8d3497dd18e864c",  # its users tell it the counts: models.geneformer,
    "624cf6c231c5de3f3254": "97aa0e5c1bac2154339e",  # models.gene_texts
    "57deb56769fa16863c7c": "9e19cb86f4a565397f14",  # tokens.sentences: calls ids by their symbols;
    "09e4089a8b9ed138f361": "99642a15c88a114d801a",  # its users take the names of it: models.cellama,
    "7a4b0c1da17ba8d37f8c": "fefb6bd9b8db374dcaba",  # models.language_models, which reads a text at once
    "9d29835fe93cc0459c28": "8a335ecce297fe40451f",  # models: refuses parameters of another type
    "406c613989f56d540d8d": "385ef40fe80ac29f292f",  # data.h5ad.file: says more of files, refuses holes
    "1c88cb7584cb39d97adc": "6205966614667fe947af",  # data.columns: notes on labels, and refusals of them;
    "cd63320c0f156464767a": "5cd572f3018a3c87cbf5",  # data.validate: asks for them by another name
    "8c4065f9c892613346b3": "e27b28ddd21296f9d6c0",  # data.features: notes a panel of antibodies
    "b58ec31b621364e8e52e": "e39ce36a4c6dd4a3149e",  # runtime.outputs: says how full a disk is
    "1543642be6cf4a4ea1f9": "a9309b9cb424152c2e4c",  # runtime.failures: others print as it does
    "d3dbb93d7126d91018f7": "9dfbd5653698a9a75848",  # models.corpus_pca: refuses a list of genes of
    "422ee9d44ba237d3fe33": "4f00227c100d9e7cbdb9",  # another fit before it is read; models.corpus_scvi,
    "958e2673f418139ac677": "90fcc8d80dea683c83c7",  # models.corpus_autoencoder
    "6dbeda939d6be87c0d74": "fd2cf5032000803a2f00",  # models.baselines: refuses what has no differences;
    "12d235e98e23c8d5ebf2": "953ee28094b4ddb7c22b",  # models.harmony
    "265563b237be819e629a": "5850e8ffac1954bd55a5",  # metrics.label_transfer.few_labels: without a warning
    "f508366e2fb769939327": "0b276d664927df30b708",  # metrics.clustering: agreement by its own sums
    "96246ea74b5ec4728540": "23fbbf47902ec48c7d6d",  # data.h5ad.parts: notes on other counts
    "b8ffcb3a58402c0c2b9e": "900312bb13bc7aaa99fa",  # models.genept: untrained if its card says so;
    "627c68f8afbcf4718dae": "17c653a37d554af81b71",  # models.scelmo
    "940bda9418a9c9fa1f14": "17f5c38138655c5ccf08",  # metrics.integration: imports scipy.stats when used;
    "4f133a675b805b8ecc69": "455289e9a34b5900241d",  # metrics.uncertainty
    "c9980d8442537ac42eec": "61a42fb5faf9e0305bb8",  # models.transcriptformer: refuses other configs
    "31dc746ab29191a0f08b": "505afb355e6ed5690015",  # models.genecompass: refuses medians of other genes
}

# They import every file of their folder, so that a new one is found by itself.
_IMPORT_THEIR_FOLDER = frozenset({"zeroshot.metrics"})


def modules_of_notebook(notebook: Path) -> set[str]:
    """Library modules that the code cells of a notebook import, and what those import."""
    cells = json.loads(notebook.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))]
    return closure(_library_modules("\n".join(lines), package=""))


def closure(modules: set[str] | frozenset[str], without: frozenset[str] = frozenset()) -> set[str]:
    """The given library modules with everything of the library that they import, at any depth.

    ``without`` leaves modules out, and what is imported through them alone.
    """
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in reached or module in without:
            continue
        reached.add(module)
        waiting.extend(_imports_of_module(module))
    return reached


def computation(modules: set[str] | frozenset[str]) -> dict[str, str | dict[str, str]]:
    """The part of a key that stands for the code: its hash, and the versions of the packages it declares."""
    return {"code": code_hash(modules), "packages": package_versions(modules)}


def code_hash(modules: set[str] | frozenset[str]) -> str:
    """One hash over the code of the given modules and of what they import, infrastructure apart."""
    hashes = source_hashes(closure(modules, without=INFRASTRUCTURE))
    hashes = {module: SAME_NUMBERS.get(digest, digest) for module, digest in hashes.items()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:20]


def package_versions(modules: set[str] | frozenset[str]) -> dict[str, str]:
    """Installed versions of the packages that the given modules, and what they import, declare.

    A module that defines a model, a metric or a step of a run declares in ``PACKAGES`` the distributions
    that its numbers depend on. The modules it imports need not repeat them.
    """
    declared = {
        name
        for module in closure(modules, without=INFRASTRUCTURE)
        for name in _declared_packages(_file(module).read_text())
    }
    return {name: installed_version(name) for name in sorted(declared)}


@lru_cache(maxsize=256)
def installed_version(distribution: str) -> str:
    """Version of an installed package, read once a process: the plan of a study asks a thousand times."""
    return importlib.metadata.version(distribution)


def source_hashes(modules: set[str]) -> dict[str, str]:
    """SHA-256 of the code of each module, without docstrings, comments and formatting."""
    return {module: _code_digest(_file(module).read_text()) for module in sorted(modules)}


def _imports_of_module(module: str) -> set[str]:
    file = _file(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    modules = set(_library_modules(file.read_text(), package))
    if module in _IMPORT_THEIR_FOLDER:
        modules |= {f"{module}.{other.stem}" for other in file.parent.glob("*.py") if other != file}
    return modules


@lru_cache(maxsize=1024)
def _library_modules(source: str, package: str) -> frozenset[str]:
    """Library modules that a source imports when it runs, also inside functions.

    Of ``from package import module`` the module alone is meant: what else a package offers was not asked for.
    """
    modules = set()
    for name in _imported_names(source, package):
        base = name.rpartition(".")[0]
        modules |= {name} if _is_module(name) else {base} if _is_module(base) else set()
    return frozenset(modules)


def _imported_names(source: str, package: str) -> set[str]:
    """Dotted names of everything that a source imports when it runs."""
    names = set()
    for node in _statements_that_run(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def _statements_that_run(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements at any depth, without those that only type checkers read."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        only_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        children = node.orelse if only_for_types else ast.iter_child_nodes(node)
        waiting.extend(child for child in children if not isinstance(child, ast.expr))


@lru_cache(maxsize=1024)
def _declared_packages(source: str) -> tuple[str, ...]:
    """What a source assigns to ``PACKAGES``, read without importing anything."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and [ast.unparse(name) for name in node.targets] == ["PACKAGES"]:
            return ast.literal_eval(node.value)
    return ()


@lru_cache(maxsize=1024)
def _code_digest(source: str) -> str:
    """Hash of a source that docstrings, comments and formatting do not change."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:20]


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string and nothing else, as docstrings are."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_module(name: str) -> bool:
    return name.partition(".")[0] in LIBRARIES and _file(name).is_file()


def _file(module: str) -> Path:
    path = paths.PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
