"""Registry files: YAML, read once a process into the records of their kind."""

from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from zeroshot import paths
from zeroshot.catalog.names import CatalogError, suggestion
from zeroshot.catalog.records import Card, Pretraining, Recipe, SourceFile, WeightsFile, WeightsSource

AnyCard = TypeVar("AnyCard", bound=Card)


def read(registry: str, kind: type[AnyCard]) -> dict[str, AnyCard]:
    """Entries of ``data/<registry>.yml`` by name, in the order of the file.

    Raises
    ------
    CatalogError
        If the file is not YAML, an entry breaks the rules of its record, or a key comes twice.
    """
    path = paths.catalog(registry)
    return dict(_parse(path, path.stat().st_mtime_ns, kind))  # a copy: what is cached stays as parsed


@lru_cache(maxsize=16)
def _parse(path: Path, _modified: int, kind: type[AnyCard]) -> dict[str, AnyCard]:
    try:
        entries = yaml.load(path.read_text(), _UniqueKeyLoader)  # noqa: S506 - derives from SafeLoader
    except yaml.YAMLError as error:
        raise CatalogError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(entries, dict):
        raise CatalogError(f"{path} must map names to entries, not hold a {type(entries).__name__}")
    cards = {}
    for name, fields in entries.items():
        if not isinstance(fields, dict):
            raise CatalogError(f"{path}: entry {name!r} must be a mapping of fields")
        if "name" in fields:
            raise CatalogError(f"{path}: entry {name!r}: unknown field 'name'. The entry's key is its name.")
        try:
            cards[name] = kind.model_validate({"name": name, **fields})
        except ValidationError as error:
            raise CatalogError(f"{path}: entry {name!r}: {_explain(error, kind)}") from None
    return cards


# Fields whose values are records of their own.
_NESTED: dict[str, type[BaseModel]] = {
    "files": SourceFile, "recipes": Recipe, "weights": WeightsSource, "pretrained_on": Pretraining,
}  # fmt: skip


def _explain(error: ValidationError, kind: type[Card]) -> str:
    """Pydantic's findings in one line each, with a suggestion for misspelt fields."""
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "entry"
        if item["type"] == "extra_forbidden":
            depth = len(item["loc"])
            nested = _NESTED | dict(kind.nested)
            record = kind if depth == 1 else WeightsFile if depth == 4 else nested[item["loc"][0]]
            lines.append(f"unknown field {where!r}.{suggestion(str(item['loc'][-1]), record.model_fields)}")
        else:
            lines.append(f"{where}: {item['msg']}")
    return "; ".join(lines)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys in silence; a registry must refuse them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        # `<<: *other` is no key of its own, and what it brings in may be said again.
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=deep) for key in own]
        repeated = {key for key in keys if keys.count(key) > 1}
        if repeated:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{sorted(map(str, repeated))} appear twice in the mapping at line {line}")
        return super().construct_mapping(node, deep)
