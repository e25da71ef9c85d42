"""Gene dictionaries from pickle files that nobody has to trust.

Geneformer publishes its token numbers and medians as pickles, and a pickle is a program: reading it the
usual way runs whatever its author put in. Here only dicts, strings, numbers and numpy values are built,
and not even by numpy's own code: all that a file can call are the few makers at the end.
"""

import io
import json
import pickle
import pickletools
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from zeroshot.weights.error import WeightsError

Value = int | float | str | np.ndarray

# Instructions of the pickle machine that dicts of strings, numbers and numpy values are written with.
# Left out are those that make instances (INST, OBJ, NEWOBJ), fill lists and sets, or reach for
# registered and persistent objects (EXT1, PERSID).
_INSTRUCTIONS = {
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "INT", "LONG",
    "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET",
    "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
}  # fmt: skip
_DTYPE_CODE = re.compile(r"[biufU]\d{1,4}")


def read_dictionary(path: Path) -> dict[str, Value]:
    """Read a gene dictionary from a ``.pkl`` or ``.json`` file, executing nothing of it.

    Parameters
    ----------
    path
        File that holds a dict of strings to numbers, strings or arrays of them.

    Returns
    -------
    dict
        numpy numbers become Python numbers of the same value: a token number left as np.int16 would
        overflow in arithmetic.

    Raises
    ------
    WeightsError
        If the file asks for anything beyond dicts, strings, numbers and numpy values of them, is
        damaged, or holds something else than such a dict.
    """
    content = path.read_bytes()
    if path.suffix == ".json":
        try:
            found = json.loads(content)
        except ValueError as error:
            raise WeightsError(f"{path} is not valid JSON: {error}") from None
    else:
        found = _unpickle(content, path)
    if type(found) is not dict:
        raise WeightsError(f"{path} holds a {type(found).__name__}; a dict is expected")
    return {_key(key, path): _value(key, value, path) for key, value in found.items()}


class _Refused(Exception):
    """The file asks for something a dictionary of genes does not need."""


def _unpickle(content: bytes, path: Path) -> Any:
    try:
        _inspect(content)
        return _Unpickler(io.BytesIO(content)).load()
    except _Refused as refusal:
        raise WeightsError(
            f"{path} is refused: {refusal}. A dictionary of genes needs only dicts, strings, numbers and "
            "numpy values of them. Nothing of the file was executed. Take the file from its authors, or "
            "save it as .json."
        ) from None
    except Exception as error:  # a damaged pickle fails in every way there is
        raise WeightsError(f"{path} is damaged, or no pickle: {type(error).__name__}: {error}") from None


def _inspect(content: bytes) -> None:
    """Refuse by reading alone; lengths too, before the C code reserves what a false one claims."""
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name == "GLOBAL":
            _maker(*argument.split(" ", 1))
        elif instruction.name not in _INSTRUCTIONS:
            raise _Refused(f"it holds the instruction {instruction.name}")
        elif instruction.name.endswith("PUT") and argument > len(content):
            raise ValueError(f"memo number {argument} in {len(content)} bytes")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable:
        """Return a maker of ours, never the object of that name."""
        maker = _maker(module, name)
        # A fresh function each time: a pickle may set attributes on what it is handed.
        return lambda *arguments: maker(*arguments)


def _maker(module: str, name: str) -> Callable:
    found = _MAKERS.get((module.replace("numpy._core", "numpy.core"), name))
    if found is None:
        raise _Refused(f"it asks for {module}.{name}")
    return found


def _key(key: Any, path: Path) -> str:
    if type(key) is not str:
        raise WeightsError(f"{path}: key {key!r} is a {type(key).__name__}; gene names are strings")
    return key


def _value(key: str, value: Any, path: Path) -> Value:
    if isinstance(value, _Array) and value.array is not None:
        return value.array
    if type(value) not in (bool, int, float, str):
        raise WeightsError(
            f"{path}: the value of {key!r} is a {type(value).__name__.strip('_')}; "
            "numbers, strings or arrays of them are expected"
        )
    return value


class _Dtype:
    """A numpy dtype as a pickle describes it: a code, and later its byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not _DTYPE_CODE.fullmatch(code):
            raise _Refused(
                f"it holds numpy values of type {code!r}, and only numbers and strings are admitted"
            )
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError(f"byte order {state[1]!r}")
        self.order = state[1]

    def read(self, raw: Any, shape: tuple, order: str = "C") -> np.ndarray:
        """Array of this type from its bytes."""
        dtype = np.dtype(self.order + self.code)
        if not isinstance(raw, bytes | bytearray) or len(raw) != prod(shape) * dtype.itemsize:
            raise ValueError(f"{dtype} array of shape {shape} with other content")
        return np.frombuffer(raw, dtype).reshape(shape, order=order).copy()


class _Array:
    """A numpy array as a pickle describes it: empty first, its content in the state."""

    def __init__(self, array: np.ndarray | None = None) -> None:
        self.array = array

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, by_columns, raw = state
        self.array = dtype.read(raw, shape, "F" if by_columns else "C")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"encoding {encoding!r}")
    return text.encode("latin1")


def _array_class(*_: Any) -> Any:
    raise ValueError("an array without content")


# By the names pickles use: protocol 2 writes bytes as encoded text, protocol 5 arrays as buffers.
_MAKERS: dict[tuple[str, str], Callable] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _array_class,
    ("numpy.core.multiarray", "scalar"): lambda dtype, raw: dtype.read(raw, ()).item(),
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy.core.numeric", "_frombuffer"): lambda raw, dtype, shape, order: _Array(
        dtype.read(raw, shape, order)
    ),
    ("_codecs", "encode"): _encode,
}
