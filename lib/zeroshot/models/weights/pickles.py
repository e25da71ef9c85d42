"""Gene dictionaries from pickle files that nobody has to trust.

Geneformer publishes its token numbers and medians as pickles. Of what a pickle can ask for, only numpy values
of numbers and strings are made, and not even by numpy's own code: all that a file can call are the few makers
at the end.
"""

import io
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from zeroshot.models.weights.error import WeightsError
from zeroshot.models.weights.files import foreign_kind, read_bytes, read_json
from zeroshot.models.weights.pickle_machine import Machine, Name, RefusedError

Value = int | float | str | np.ndarray

_EXPECTED = "a dictionary of genes, as .pkl or .json"
_MOST_AXES = 8
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
        If the file asks for anything beyond dicts, strings, numbers and numpy values of them, has a key
        twice, is damaged, or holds something else than such a dict.
    """
    found = read_json(path, _EXPECTED) if path.suffix == ".json" else _unpickle(path)
    if type(found) is not dict:
        raise WeightsError(
            f"{path} holds a {type(found).__name__}; a dict is expected, {_EXPECTED}. Take the file from its "
            "authors."
        )
    return {key: _value(key, value, path) for key, value in found.items()}


def _unpickle(path: Path) -> Any:
    content = read_bytes(path, _EXPECTED)
    try:
        return Machine(_is_known, _call, _build).run(io.BytesIO(content))
    except RefusedError as refusal:
        raise WeightsError(
            f"{path} is refused: {refusal}. A dictionary of genes needs only dicts, strings, numbers and "
            "numpy values of them. Nothing of the file was executed. Take the file from its authors, or "
            "save it as .json."
        ) from None
    except Exception as error:  # a damaged pickle fails in every way there is
        kind = foreign_kind(content)
        cause = f"it is {kind}" if kind else f"{type(error).__name__}: {str(error)[:200]}"
        raise WeightsError(
            f"{path} is damaged, or no pickle: {cause}. Expected {_EXPECTED}. Take the file from its authors."
        ) from None


def _is_known(name: Name) -> bool:
    return _spelled(name) in _MAKERS


def _call(name: Name, arguments: tuple) -> Any:
    return _MAKERS[_spelled(name)](*arguments)


def _spelled(name: Name) -> tuple[str, str]:
    """Module and name as numpy 1 spells them."""
    return name.module.replace("numpy._core", "numpy.core"), name.name


def _build(target: Any, state: Any) -> None:
    if not isinstance(target, _Dtype | _Array):
        raise ValueError(f"a {type(target).__name__} with a state")
    target.set_state(state)


def _value(key: str, value: Any, path: Path) -> Value:
    if isinstance(value, _Array) and value.array is not None:
        return value.array
    if type(value) not in (bool, int, float, str):
        raise WeightsError(
            f"{path}: the value of {key[:60]!r} is a {type(value).__name__.strip('_')}; "
            "numbers, strings or arrays of them are expected. Take the file from its authors."
        )
    return value


class _Dtype:
    """A numpy dtype as a pickle describes it: a code, and later its byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not _DTYPE_CODE.fullmatch(code):
            raise RefusedError(
                f"it holds numpy values of type {code[:40]!r}, and only numbers and strings are admitted"
            )
        self.code, self.order = code, "="

    def set_state(self, state: tuple) -> None:
        """Take the byte order."""
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError("an unknown byte order")
        self.order = state[1]

    def read(self, raw: Any, shape: tuple, order: str = "C") -> np.ndarray:
        """Array of this type from its bytes."""
        dtype = np.dtype(self.order + self.code)
        # Checked before it is multiplied: what stands there may be anything, and any number of it.
        if (
            type(shape) is not tuple
            or len(shape) > _MOST_AXES
            or any(type(size) is not int for size in shape)
        ):
            raise ValueError("an array whose shape is none")
        if not isinstance(raw, bytes | bytearray) or len(raw) != prod(shape) * dtype.itemsize:
            raise ValueError(f"{dtype} array of shape {shape} with other content")
        return np.frombuffer(raw, dtype).reshape(shape, order=order).copy()


class _Array:
    """A numpy array as a pickle describes it: empty first, its content in the state."""

    def __init__(self, array: np.ndarray | None = None) -> None:
        self.array = array

    @property
    def nbytes(self) -> int:
        """Size of the content."""
        return 0 if self.array is None else self.array.nbytes

    def set_state(self, state: tuple) -> None:
        """Take shape, type and content."""
        _version, shape, dtype, by_columns, raw = state
        self.array = dtype.read(raw, shape, "F" if by_columns else "C")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError("bytes in another encoding than latin1")
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
