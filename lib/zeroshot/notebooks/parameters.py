"""The parameters cell of a notebook: names, types and defaults, and values given for them."""

import ast
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroshot import catalog
from zeroshot.runtime import assignments

from .error import NotebookError

# What an annotation of a parameters cell may name.
_TYPES = {kind.__name__: kind for kind in (bool, int, float, str, list, dict)}
_EXAMPLES = {bool: "true", int: "100", float: "0.5", str: "text", list: '["a", "b"]', dict: '{"a": 1}'}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list",
          dict: "a JSON object"}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One name of a parameters cell.

    Attributes
    ----------
    name
        As it is assigned.
    default
        Its value in the notebook.
    kind
        Type that a value must have; None if neither an annotation nor the default says it.
    items
        Type that each item of a list must have; None for any.
    optional
        Whether None is a value: it is the default, or the annotation names it.
    """

    name: str
    default: Any
    kind: type | None
    items: type | None = None
    optional: bool = False

    @property
    def expected(self) -> str:
        """The type in words, with an example."""
        words, example = _WORDS[self.kind], _EXAMPLES[self.kind]
        if self.items is not None:
            words = f"a list in which each item is {_WORDS[self.items]}"
            example = json.dumps(
                [json.loads(_EXAMPLES[self.items])] * 2 if self.items is not str else ["a", "b"]
            )
        if self.optional:
            words += ", or None"
        return f"{words}, for example {self.name}={example}"


def declared(notebook: Path) -> dict[str, Parameter]:
    """What the cell tagged ``parameters`` assigns, by name.

    Raises
    ------
    NotebookError
        If the file is not a notebook, or there is no such cell, or more than one.
    """
    tagged = [cell for cell in _cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise NotebookError(
            f"{notebook.name} has {len(tagged)} cells tagged `parameters`; it needs exactly one, "
            "so that papermill knows where the given values go"
        )
    parameters = {}
    for node in ast.parse("".join(tagged[0]["source"])).body:
        if isinstance(node, ast.Assign):
            targets, annotation = node.targets, None
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, annotation = [node.target], node.annotation
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                parameters[target.id] = _parameter(target.id, node.value, annotation)
    return parameters


def declared_parameters(notebook: Path) -> set[str]:
    """Names assigned in the cell tagged ``parameters``.

    Raises
    ------
    NotebookError
        As :func:`declared` does.
    """
    return set(declared(notebook))


def parse_parameters(notebook: Path, texts: Iterable[str]) -> dict[str, Any]:
    """Values of the command line, each ``name=value``, in the types that the notebook declares.

    A value is read as its parameter's type: for a whole number also ``1e2``, for a list also
    ``a,b``, for text anything, with or without the quotes of JSON. ``None`` and ``null`` are None where the
    parameter allows it. Without a type, JSON is read, and what is not JSON is text.

    Raises
    ------
    NotebookError
        For a text without ``=``, a name that is not declared or comes twice, a value of another type.
    """
    parameters = declared(notebook)
    try:
        given = assignments.split(texts, "parameter", "-p model=pca")
    except ValueError as error:
        raise NotebookError(str(error)) from None
    _require_declared(notebook, parameters, given)
    values = {name: _from_text(notebook, parameters[name], text) for name, text in given.items()}
    return check_parameters(notebook, values)


def check_parameters(notebook: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, each of the type that the notebook declares for it.

    An integral float is a whole number, and a whole number is a float where one is expected.

    Raises
    ------
    NotebookError
        For a name that is not declared and a value of another type.
    """
    parameters = declared(notebook)
    _require_declared(notebook, parameters, values)
    return {name: _checked(notebook, parameters[name], value) for name, value in values.items()}


def with_values(source: str, injected: str) -> str:
    """The source of a parameters cell, with its comments and with other values.

    Parameters
    ----------
    source
        Of the cell tagged ``parameters``.
    injected
        Of the cell that papermill puts below it: ``name = value`` in each line.

    Raises
    ------
    ValueError
        If the cell does more than give a literal to one name in each statement: with other values, what
        is made of them there would be another thing than what ran.
    """
    values = {ast.unparse(node.targets[0]): node.value for node in ast.parse(injected).body}
    lines = source.encode().splitlines(keepends=True)  # positions in the tree are counted in bytes
    for node in reversed(ast.parse(source).body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if len(targets) != 1 or not isinstance(targets[0], ast.Name) or getattr(node, "value", None) is None:
            raise ValueError(f"not one name with a value: {ast.unparse(node)}")
        ast.literal_eval(node.value)
        if targets[0].id in values:
            value, first, last = node.value, node.value.lineno - 1, node.value.end_lineno - 1
            text = ast.get_source_segment(injected, values[targets[0].id]).encode()
            lines[first : last + 1] = [
                lines[first][: value.col_offset] + text + lines[last][value.end_col_offset :]
            ]
    return b"".join(lines).decode()


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return [cell for cell in cells if cell["cell_type"] == "code" and isinstance(cell["metadata"], dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise NotebookError(f"{notebook} is not a notebook of Jupyter (.ipynb, version 4)") from error


def _parameter(name: str, value: ast.expr, annotation: ast.expr | None) -> Parameter:
    try:
        default = ast.literal_eval(value)
    except ValueError:
        return Parameter(name, None, None)  # an expression: what it gives is not known before it runs
    kind = None if default is None else type(default)
    items = None
    if kind is list and default and all(type(item) is type(default[0]) for item in default):
        items = type(default[0])
    optional = default is None
    if annotation is not None:
        kind, items, named_none = _annotated(annotation)
        optional = optional or named_none
    kind, items = (one if one in _TYPES.values() else None for one in (kind, items))
    return Parameter(name, default, kind, items if kind is list else None, optional)


def _annotated(annotation: ast.expr) -> tuple[type | None, type | None, bool]:
    """Type, type of the items, and whether None is allowed, of ``int``, ``list[str]`` or ``int | None``."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    members = [part.strip() for part in ast.unparse(annotation).split("|")]
    kinds = [member for member in members if member != "None"]
    kind, _, items = kinds[0].rstrip("]").partition("[") if len(kinds) == 1 else ("", "", "")
    return _TYPES.get(kind), _TYPES.get(items), "None" in members


def _require_declared(notebook: Path, parameters: Mapping[str, Parameter], names: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(parameters))
    if unknown:
        raise NotebookError(
            f"{notebook.name} does not declare {', '.join(unknown)}; "
            f"its parameters are {', '.join(sorted(parameters))}."
            + "".join(catalog.did_you_mean(name, parameters) for name in unknown)
        )


def _from_text(notebook: Path, parameter: Parameter, text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotebookError(
            f"{parameter.name} is {text!r}, which is not UTF-8: rename the file, or give another text"
        ) from error
    if parameter.optional and text in ("None", "null"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # also of more digits than Python reads
        value = text
    if parameter.kind is str:
        return value if isinstance(value, str) else text  # "123" stays text
    if parameter.kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if parameter.kind in (int, float) and isinstance(value, str):
        return assignments.literal(value)
    if parameter.kind in (list, dict) and not isinstance(value, parameter.kind):
        return _collection(parameter, text)
    if parameter.kind is None and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _collection(parameter: Parameter, text: str) -> Any:
    """A list as Python writes it, or its items with commas between them."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if isinstance(value, parameter.kind) or parameter.kind is dict:
        return value
    if value is None or isinstance(value, bool | dict) or text in ("null", "true", "false"):
        return value
    if text.strip()[:1] in ("[", "("):  # as YAML or a shell without quotes writes it: [pca, hvg]
        text = text.strip()[1:].rstrip(")]")
    items = [item.strip().strip("\"'") for item in text.split(",")]
    return [assignments.literal(item) if parameter.items in (int, float) else item for item in items if item]


def _checked(notebook: Path, parameter: Parameter, value: Any) -> Any:
    if parameter.kind is None or (value is None and parameter.optional):
        return value
    converted = _as_kind(parameter.kind, value)
    if parameter.kind is list and converted is not None and parameter.items is not None:
        converted = [_as_kind(parameter.items, item) for item in converted]
        converted = None if any(item is None for item in converted) else converted
    if converted is None:
        raise NotebookError(
            f"{notebook.name}: {parameter.name} is {value!r:.80}; it must be {parameter.expected}"
        )
    return converted


def _as_kind(kind: type, value: Any) -> Any:
    """The value as a type, None if it is of another."""
    if isinstance(value, bool) or kind is bool:
        return value if isinstance(value, bool) and kind is bool else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and isinstance(value, int) and abs(value) < 2**53:
        return float(value)
    return value if isinstance(value, kind) else None
