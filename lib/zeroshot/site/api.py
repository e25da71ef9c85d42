"""Pages about the library: its parts in the order of imports, and a page for each that says what it offers.

A part offers the names in its ``__all__``; a module among them has a section of its own, as has a package
within the part that has an ``__all__`` itself. Of the models, the families of the cards follow.
"""

import importlib
import importlib.util
import pkgutil
from types import ModuleType

import zeroshot
from zeroshot import catalog
from zeroshot.runtime import paths

PARTS_PAGE = "api/index"


def pages() -> dict[str, str]:
    """Text of the index and of the pages of the parts, by their paths in ``book/``."""
    packages = {part: importlib.import_module(_name(part)) for part in zeroshot.PARTS}
    texts = {f"api/{part}": _page(package) for part, package in packages.items() if _offered(package)}
    rows = [_row(part, package, f"api/{part}" in texts) for part, package in packages.items()]
    prose = (paths.home() / "book" / f"{PARTS_PAGE}.md").read_text()
    table = "\n".join(["| Part | Holds |", "|---|---|", *rows])
    return {PARTS_PAGE: f"{prose.rstrip()}\n\n{table}\n"} | texts


def _name(part: str) -> str:
    """Full name of a part: "zeroshot.data", or that of a package beside zeroshot."""
    return part if importlib.util.find_spec(f"zeroshot.{part}") is None else f"zeroshot.{part}"


def _row(part: str, package: ModuleType, has_page: bool) -> str:
    name = f"`{package.__name__}`"
    return f"| {f'[{name}]({part}.md)' if has_page else name} | {package.__doc__.splitlines()[0]} |"


def _page(package: ModuleType) -> str:
    offered = _offered(package)
    sections = [name for name in offered if _is_module(package, name)]
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg and _offered(importlib.import_module(f"{package.__name__}.{module.name}")):
            sections.append(module.name)
    if package.__name__ == "zeroshot.models":
        implementations = [card.implementation for card in catalog.models().values() if card.implementation]
        sections += [implementation.partition(":")[0] for implementation in implementations]
    blocks = [
        f"# {package.__name__}",
        _automodule(package.__name__, [name for name in offered if name not in sections]),
    ]
    for section in dict.fromkeys(sections):
        name = f"{package.__name__}.{section}"
        blocks += [f"## {name}", _automodule(name)]
    return "\n\n".join(blocks) + "\n"


def _offered(package: ModuleType) -> list[str]:
    return list(getattr(package, "__all__", ()))


def _is_module(package: ModuleType, name: str) -> bool:
    """Whether a name that a package offers is that of a module in it, and of nothing else."""
    value = getattr(package, name, None)
    if value is not None:
        return isinstance(value, ModuleType)
    return importlib.util.find_spec(f"{package.__name__}.{name}") is not None


def _automodule(name: str, members: list[str] | None = None) -> str:
    """What makes a module's section of its docstrings: of some members, or of all that it defines."""
    options = [f"   :members: {', '.join(members)}"] if members else []
    return "\n".join(["```{eval-rst}", f".. automodule:: {name}", *options, "```"])
