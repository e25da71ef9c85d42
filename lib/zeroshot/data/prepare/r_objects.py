"""One object inside an R file, found by its path.

Files of R packages hold more than counts: functions, promises, environments. ``rdata`` parses all of it as
data, but turns only plain objects into Python ones. So the tree is walked down to the object that is wanted,
and only that is converted; nothing is executed.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rdata.conversion import convert
from rdata.parser import RObject, RObjectType, parse_file

from zeroshot.data.error import DataError

SEPARATOR = "/"
MOST_SHOWN = 12  # names in a message


class RFile:
    """The parsed tree of an .rda, .RData or .rds file.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._root = parse_file(path).object

    def read(self, path: str) -> Any:
        """The object at a path, as Python has it.

        Parameters
        ----------
        path
            Names with ``/`` between them: of an object of the file, then of its slots, attributes, list
            items or variables of an environment, for example ``pbmc/assays/RNA/counts``. Items of a list
            without names have numbers from 0. Empty for the one object of an .rds file.

        Raises
        ------
        DataError
            If there is nothing at the path, with what is there instead.
        """
        node, steps = self._root, path.split(SEPARATOR) if path else []
        for place, step in enumerate(steps):
            children = dict(_children(node))
            if step not in children:
                there = SEPARATOR.join(steps[:place]) or "the file"
                names = ", ".join(list(children)[:MOST_SHOWN]) or "nothing"
                raise DataError(f"{self.name} has no {path}: {there} holds {names}. Report this.")
            node = children[step]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Missing constructor for R class")
            return convert(_target(node), default_encoding="utf8")

    def names(self, path: str) -> np.ndarray:
        """The texts at a path as (n,) str."""
        return np.asarray(self.read(path), dtype=str)


def _target(node: RObject) -> RObject:
    """What a reference refers to."""
    return node if node.referenced_object is None else node.referenced_object


def _children(node: RObject) -> Iterator[tuple[str, RObject]]:
    """Parts of an R object by name, attributes and slots first."""
    node = _target(node)
    if node.attributes is not None:
        yield from _pairs(node.attributes)
    if node.info.type is RObjectType.LIST:
        yield from _pairs(node)
    elif node.info.type is RObjectType.VEC:
        yield from ((str(place), item) for place, item in enumerate(node.value))
        names = dict(_pairs(node.attributes)).get("names") if node.attributes is not None else None
        if names is not None:
            yield from (
                (text.value.decode(), item)
                for text, item in zip(_target(names).value, node.value, strict=True)
                if text.value is not None
            )
    elif node.info.type is RObjectType.ENV:
        table = node.value.hash_table
        for chain in (node.value.frame, *(table.value or () if table is not None else ())):
            if chain is not None:
                yield from _pairs(chain)


def _pairs(node: RObject) -> Iterator[tuple[str, RObject]]:
    """Items of a pairlist that have a name."""
    node = _target(node)
    while node is not None and node.info.type is RObjectType.LIST:
        if node.tag is not None:
            yield _target(node.tag).value.value.decode(), node.value[0]
        node = _target(node.value[1])
