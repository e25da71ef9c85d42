"""What torch.save writes, inspected before torch reads it.

``torch.load(weights_only=True)`` executes nothing, but it believes the lengths that a file states, reads
beyond the end of what is there, and compares keys that take for ever to compare. Here the pickle of a
checkpoint is carried out with placeholders instead of tensors, and every length is compared with the file.
"""

import io
import mmap
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from zeroshot.models.weights.pickle_machine import Machine, Name, RefusedError

ZIP = b"PK\x03\x04"

_LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of the storages that follow
_MOST_AXES = 16
_ITEMSIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8,
    "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
    "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "QInt8Storage": 1, "QUInt8Storage": 1,
    "QInt32Storage": 4, "UntypedStorage": 1,
}  # fmt: skip


def inspect(path: Path, head: bytes) -> None:
    """Refuse a checkpoint that asks for more than tensors, or whose lengths are not those of the file.

    Parameters
    ----------
    path
        File as ``torch.save`` writes it, in the zip format or the one before it.
    head
        Its first bytes.

    Raises
    ------
    zeroshot.models.weights.pickle_machine.RefusedError
        If it is none that torch may read.
    Exception
        Of any type, if it is damaged.
    """
    if head.startswith(ZIP):
        _inspect_zip(path)
    elif head[257:262] == b"ustar":
        raise RefusedError("it is a tar archive, as torch before 0.1.10 wrote it; save it again")
    else:
        _inspect_legacy(path)


def _inspect_zip(path: Path) -> None:
    import torch

    reader = torch._C.PyTorchFileReader(str(path))  # what torch.load reads it with: both see the same records
    records = reader.get_all_records()
    if any(name == "constants.pkl" or name.startswith("code/") for name in records):
        raise RefusedError("it is a TorchScript archive; save its state_dict() instead")
    sizes = {name: reader.get_record_size(name) for name in records}
    size = path.stat().st_size
    if len(sizes) < len(records):
        raise RefusedError("it holds records of the same name")
    if sum(sizes.values()) > size:
        raise RefusedError(f"its records claim {sum(sizes.values()):,} bytes of a file of {size:,}")

    _require_checksums(path)
    lengths = {name.removeprefix("data/"): sizes[name] for name in records if name.startswith("data/")}
    _Placeholders(lengths, size).machine.run(io.BytesIO(reader.get_record("data.pkl")))


def _require_checksums(path: Path) -> None:
    """Refuse records that changed after they were written, which torch does not notice."""
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            if record.CRC:  # torch leaves it out when it is told to
                with archive.open(record) as content:
                    while content.read(2**20):
                        pass  # ends with an error where the checksum is wrong


def _inspect_legacy(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        machine = _Placeholders(None, size).machine
        for _ in range(_LEGACY_PICKLES):
            machine.run(content)


@dataclass(frozen=True)
class _Storage:
    """Placeholder of a storage."""

    n_bytes: int
    itemsize: int


class _Tensor:
    """Placeholder of a tensor, or of what belongs to one."""


class _Placeholders:
    """What stands for tensors and storages while their lengths are compared with the file.

    Parameters
    ----------
    lengths
        Bytes of each storage, where the file states them apart from its pickle.
    size
        Bytes of the file.
    """

    def __init__(self, lengths: Mapping[str, int] | None, size: int) -> None:
        self.lengths, self.size = lengths, size
        self.claimed: dict[str, int] = {}
        self.machine = Machine(
            _is_known, self.call, _build, persistent=self.storage, keys=(str, int), lists=True
        )

    def storage(self, description: Any) -> _Storage:
        """Placeholder of the storage that a pickle refers to."""
        kind, name, key, _location, n_values, *views = description
        if kind != "storage" or type(name) is not Name or type(key) is not str or type(n_values) is not int:
            raise ValueError("a storage that is described wrongly")
        if name.name not in _ITEMSIZES or any(view is not None for view in views):
            raise RefusedError(
                f"it holds a {name}, or a view of one as torch before 0.4 wrote it; save it again"
            )
        n_bytes = n_values * _ITEMSIZES[name.name]
        stated = self.claimed.get(key, n_bytes) if self.lengths is None else self.lengths.get(key)
        if key not in self.claimed:
            self.claimed[key] = n_bytes
            self.size -= n_bytes
        if n_bytes < 0 or n_bytes != stated or self.size < 0:
            raise RefusedError(f"its storage {key[:40]} claims {n_bytes:,} bytes, which are not there")
        return _Storage(n_bytes, _ITEMSIZES[name.name])

    def call(self, name: Name, arguments: tuple) -> Any:
        """Placeholder of what a call makes; a dict for a dict, whose keys are looked at."""
        if (name.module, name.name) == ("collections", "OrderedDict"):
            content: dict = {}
            self.machine.set_items(content, arguments[0] if arguments else ())
            return content
        if (name.module, name.name) in _SETS:
            return _names(arguments)
        if (name.module, name.name) not in _CALLED:
            raise RefusedError(f"it calls {name}")
        if name.name in _VIEWS:
            _require_room(arguments)
        return arguments[0] if name.name == "_rebuild_parameter" else _Tensor()


# As pickles of Python 2 and 3 call it: scMulan's list of tokens comes with sets of names.
_SETS = {("__builtin__", "set"), ("builtins", "set")}
# By the names that torch._utils gives them: tensors of a storage, offset, shape and strides.
_VIEWS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor")
_CALLED = {
    ("collections", "OrderedDict"), ("torch", "Size"), ("torch", "device"),
    ("torch.serialization", "_get_layout"), ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"), ("torch._utils", "_rebuild_parameter"),
    *(("torch._utils", name) for name in _VIEWS),
}  # fmt: skip


def _is_known(name: Name) -> bool:
    # Of torch itself only types of numbers and storages are left, which are never called.
    return (name.module, name.name) in _CALLED | _SETS or (
        name.module in ("torch", "torch.storage") and "." not in name.name
    )


def _build(target: Any, state: Any) -> None:
    """Metadata of a state dict; nothing else has a state."""
    if type(target) is not dict or type(state) is not dict:
        raise RefusedError(f"it gives a state to a {type(target).__name__.strip('_')}")


def _names(arguments: tuple) -> set[str]:
    """A set of names; other things in it could take for ever to compare."""
    items = arguments[0] if len(arguments) == 1 else None
    if type(items) is not list or not all(type(item) is str for item in items):
        raise RefusedError("it holds a set of other things than names")
    return set(items)


def _require_room(arguments: tuple) -> None:
    """Refuse a tensor of more values than its storage has: a few bytes could claim any number."""
    storage, _offset, shape = arguments[:3]
    if type(storage) is not _Storage or type(shape) is not tuple or len(shape) > _MOST_AXES:
        raise ValueError("a tensor that is described wrongly")
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError("a tensor whose shape is none")
    if prod(shape) * storage.itemsize > storage.n_bytes:
        raise RefusedError(f"a tensor of shape {shape} is made of a storage of {storage.n_bytes:,} bytes")
