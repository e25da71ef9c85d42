"""Tensors of a checkpoint: read without executing anything, loaded with every key accounted for.

torch and safetensors are imported when a checkpoint is read.
"""

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from zeroshot.weights.error import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

_PICKLED = (".pt", ".bin", ".ckpt", ".pth")
_LISTED = 12  # keys named in an error; a wrong layout would list hundreds


@dataclass(frozen=True)
class LoadReport:
    """What became of the keys of a checkpoint.

    Attributes
    ----------
    missing
        Parameters and buffers of the module that no key of the checkpoint filled.
    unexpected
        Keys of the checkpoint that belong to nothing in the module.
    ignored
        Keys that the module is known not to use.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]


def read_state(path: Path) -> "dict[str, Tensor]":
    """Tensors of a checkpoint file by their released names, on the CPU.

    Parameters
    ----------
    path
        ``.safetensors``, or ``.pt .bin .ckpt .pth`` as torch saves them, read with
        ``weights_only=True``; tensors under a ``state_dict`` entry are taken from there.

    Raises
    ------
    WeightsError
        If the file is damaged, holds anything but tensors, or is a pickle that needs other objects
        than tensors and plain values. Nothing of such a file is executed.
    """
    read = {".safetensors": _read_safetensors} | dict.fromkeys(_PICKLED, _read_torch)
    if path.suffix not in read:
        raise WeightsError(
            f"{path} is no checkpoint that can be read: expected one of {', '.join(sorted(read))}"
        )
    if not path.is_file():
        raise WeightsError(f"there is no checkpoint {path}")
    state = read[path.suffix](path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{path} holds no tensors by name")
    import torch

    others = [str(key) for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise WeightsError(
            f"{path} holds more than tensors: {_some(others)}. A state dict is expected, or one under "
            "the key 'state_dict'."
        )
    return {str(key): value for key, value in state.items()}


def _read_safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or incomplete, or no safetensors file: {error}") from None


def _read_torch(path: Path) -> object:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused: it is damaged, or a pickle that needs more than tensors and plain values "
            f"({_cause(error)}). Nothing of it was executed. Ask its authors for a safetensors file."
        ) from None
    except Exception as error:  # a damaged file fails in every way there is
        raise WeightsError(f"{path} is damaged or incomplete: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    """The line of torch's long explanation that names the object."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines or [type(error).__name__])[0][:200]


def load_state(
    module: "nn.Module",
    state: "Mapping[str, Tensor]",
    rename: Callable[[str], str | None] | None = None,
    ignored: Iterable[str] = (),
) -> LoadReport:
    """Fill a module with the tensors of a checkpoint; nothing may stay as it was initialised.

    Parameters
    ----------
    module
        Filled in place, in its own precision.
    state
        Tensors by their released names.
    rename
        Turns a released name into the module's, or into None where the module has no such thing;
        absent where the names are the same.
    ignored
        Patterns (``cls_decoder.*``) of released names that the module is known not to use.

    Returns
    -------
    LoadReport
        With nothing missing and nothing unexpected.

    Raises
    ------
    WeightsError
        If a parameter or buffer of the module stays unset, a key belongs to nothing, two keys claim
        the same parameter, or a shape differs. All of them are named, with their shapes.
    """
    wanted = module.state_dict()
    patterns = tuple(ignored)
    filled: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    left_out, unexpected, problems = [], [], []
    for key, tensor in state.items():
        if any(fnmatchcase(key, pattern) for pattern in patterns):
            left_out.append(key)
            continue
        name = rename(key) if rename else key
        if name is None or name not in wanted:
            unexpected.append(key)
        elif name in filled:
            problems.append(f"{key} and {sources[name]} both claim {name}")
        elif tensor.shape != wanted[name].shape:
            sources[name], filled[name] = key, tensor
            problems.append(f"{key} is {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}")
        else:
            sources[name], filled[name] = key, tensor
    missing = [name for name in wanted if name not in filled]
    # These two first: of many problems only the first are shown.
    if unexpected:
        problems.insert(0, "unexpected " + _some([f"{key} {tuple(state[key].shape)}" for key in unexpected]))
    if missing:
        problems.insert(0, "missing " + _some([f"{name} {tuple(wanted[name].shape)}" for name in missing]))
    if problems:
        raise WeightsError(
            f"the checkpoint does not fit {type(module).__name__}: {_some(problems, '; ')}. "
            "Nothing was loaded: take the files of the model that the card names."
        )
    # Assigned, not copied: the tensors of a checkpoint would be in memory twice.
    filled = {name: tensor.to(wanted[name].dtype) for name, tensor in filled.items()}
    module.load_state_dict(filled, strict=True, assign=True)
    return LoadReport(tuple(missing), tuple(unexpected), tuple(left_out))


def _some(items: list[str], joined: str = ", ") -> str:
    """The first of many items, and how many more there are."""
    more = f"{joined}and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return joined.join(items[:_LISTED]) + more
