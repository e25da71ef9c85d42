"""Registry files: YAML, read once a process into the records of their kind.

A file is data and nothing else: no tags, no key twice, no alias that grows beyond measure.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.cyaml import CParser
from yaml.resolver import Resolver

from zeroshot.catalog.names import CatalogError, suggestion
from zeroshot.catalog.records import Card
from zeroshot.runtime import paths

MOST_BYTES = 2**20  # of a file; the longest of ours has 0.1 MB
MOST_NODES = 50_000  # values in a file, with all that aliases stand for; the most of ours is 9,000
DEEPEST = 20  # mappings and lists in one another
_MOST_FINDINGS = 5  # of an entry, in a message
# YAML also reads 017, 0x1F, 1_000 and 12:30 as numbers, whatever their author meant: 15, 31, 1000 and 750.
_DECIMAL = re.compile(
    r"[-+]?(0|[1-9][0-9]*|(?=\.))(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)", re.IGNORECASE
)
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

# What the entries of a registry are checked against: other registries, works, chapters.
_CHECKED_AGAINST = (
    "data/datasets.yml", "data/corpus_sources.yml", "data/models.yml", "data/other_models.yml",
    "data/studies.yml", "data/cell_types.yml", "data/corpora.yml", "data/ladders.yml",
    "data/literature/reading_list.yml", "book/references.bib", "notebooks",
)  # fmt: skip

AnyCard = TypeVar("AnyCard", bound=Card)


def checked_once(registry: Callable[[], dict[str, AnyCard]]) -> Callable[[], dict[str, AnyCard]]:
    """Decorator of a registry: its entries are read and checked again only when a file has changed."""
    remembered = lru_cache(maxsize=2)(lambda *_state: registry())

    @wraps(registry)
    def entries() -> dict[str, AnyCard]:
        home = paths.home()
        return dict(remembered(home, *(_modified(home / name) for name in _CHECKED_AGAINST)))

    return entries


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # what is missing is refused where it is read
        return None


def read(registry: str, kind: type[AnyCard]) -> dict[str, AnyCard]:
    """Entries of ``data/<registry>.yml`` by name, in the order of the file.

    Raises
    ------
    CatalogError
        If the file cannot be read or is not YAML, an entry breaks the rules of its record, or a key comes
        twice.
    """
    path = paths.catalog(registry)
    try:
        with path.open("rb") as handle:
            content = handle.read(MOST_BYTES + 1)
    except OSError as error:
        remedy = "Make it a readable file." if path.exists() else "Restore it from the repository."
        raise CatalogError(f"{path} cannot be read: {error.strerror}. {remedy}") from None
    try:
        return dict(_cards(content, kind))  # a copy: what is cached stays as parsed
    except CatalogError as error:
        raise CatalogError(f"{path}{error}") from None


@lru_cache(maxsize=32)
def _cards(content: bytes, kind: type[AnyCard]) -> dict[str, AnyCard]:
    """Entries of a file, wherever it lies: messages begin after its path."""
    entries = _load(content)
    if not isinstance(entries, dict):
        content_type = "nothing" if entries is None else f"a {type(entries).__name__}"
        raise CatalogError(f" must map names to entries, not hold {content_type}")
    cards = {}
    for name, fields in entries.items():
        if not isinstance(fields, dict):
            raise CatalogError(f": entry {name!r} must be a mapping of fields")
        if "name" in fields:
            raise CatalogError(f": entry {name!r}: unknown field 'name'. The entry's key is its name.")
        try:
            cards[name] = kind.model_validate({"name": name, **fields})
        except ValidationError as error:
            raise CatalogError(f": entry {name!r}: {_explain(error, kind)}") from None
    return cards


def _load(content: bytes) -> Any:
    """What a YAML file holds, read as data.

    Raises
    ------
    CatalogError
        If it is too large, not text in UTF-8, or not YAML.
    """
    if len(content) > MOST_BYTES:
        raise CatalogError(f" has more than {MOST_BYTES:,} bytes, which no registry needs. Shorten it.")
    try:
        return yaml.load(content.decode("utf-8"), _Loader)  # noqa: S506 - derives from SafeLoader
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CatalogError(f" is not text in UTF-8 (line {line}). Save it as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise CatalogError(f" is not valid YAML: {place}{problem}. Correct it there.") from None
    # Numbers and dates that only look like one are ValueErrors of the standard library.
    except (yaml.YAMLError, ValueError) as error:
        raise CatalogError(f" is not valid YAML: {' '.join(str(error).split())}. Correct it.") from None


def _explain(error: ValidationError, kind: type[Card]) -> str:
    """Pydantic's findings in one line each, with a suggestion for misspelt fields."""
    lines = []
    findings = error.errors(include_url=False, include_input=False)
    for item in findings[:_MOST_FINDINGS]:
        where = ".".join(str(part) for part in item["loc"]) or "entry"
        if item["type"] == "extra_forbidden":
            record = _record_at(kind, item["loc"][:-1])
            lines.append(f"unknown field {where!r}.{suggestion(str(item['loc'][-1]), record.model_fields)}")
        else:
            lines.append(f"{where}: {item['msg'].removeprefix('Value error, ')}")
    if len(findings) > _MOST_FINDINGS:
        lines.append(f"and {len(findings) - _MOST_FINDINGS} more")
    return "; ".join(lines)


def _record_at(kind: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel]:
    """The record that stands at a place of an entry; positions and keys of mappings do not change it."""
    for part in location:
        if part in kind.model_fields:
            kind = next(_records_in(kind.model_fields[part].annotation), kind)
    return kind


def _records_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _records_in(argument)


class _Loader(Composer, CParser, SafeConstructor, Resolver):
    """Safe YAML that also refuses what is silent, or endless, in it.

    The last of two equal keys wins, tags change what a value is, and a few aliases of aliases stand for
    millions of values. libyaml reads the text; what nodes it makes is decided here, so that they are counted.
    """

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._depth = 0
        self._n_nodes = 0
        self._sizes: dict[int, int] = {}  # of complete nodes with an anchor

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node:
        """Compose a node, keeping count."""
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(
                problem=f"the tag {event.tag} is not allowed", problem_mark=event.start_mark
            )
        alias = isinstance(event, yaml.AliasEvent)
        before = self._n_nodes
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"more than {DEEPEST} mappings and lists in one another",
                problem_mark=event.start_mark,
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node.tag in _NUMBERS and not _DECIMAL.fullmatch(node.value):
            raise yaml.MarkedYAMLError(
                problem=f"{node.value[:40]} would be read as a number: put it in quotes if it is a text, "
                "else write it in decimal digits",
                problem_mark=event.start_mark,
            )
        if alias and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(
                problem=f"*{event.anchor} stands inside what it repeats", problem_mark=event.start_mark
            )
        self._n_nodes += self._sizes[id(node)] if alias else 1
        if self._n_nodes > MOST_NODES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MOST_NODES:,} values, with what aliases repeat",
                problem_mark=event.start_mark,
            )
        if event.anchor and not alias:
            self._sizes[id(node)] = self._n_nodes - before
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Construct a mapping each of whose keys is a word and comes once."""
        # `<<: *other` is no key of its own, and what it brings in may be said again.
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in own:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
        seen, repeated = set(), set()
        for name in (self.construct_object(key, deep=deep) for key in own):
            (repeated if name in seen else seen).add(name)
        if repeated:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{sorted(map(str, repeated))} appear twice in the mapping at line {line}")
        return super().construct_mapping(node, deep)
