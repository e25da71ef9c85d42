"""Tensors of a checkpoint: read without executing anything, loaded with every key accounted for.

torch and safetensors are imported when a checkpoint is read.
"""

import json
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from zeroshot.models.weights import torch_files
from zeroshot.models.weights.error import WeightsError
from zeroshot.models.weights.files import foreign_kind, head_of, shortened
from zeroshot.models.weights.pickle_machine import RefusedError

if TYPE_CHECKING:
    from torch import Tensor, nn

_PICKLED = (".pt", ".bin", ".ckpt", ".pth", ".torch")
_NESTED = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."  # what DataParallel puts before every name
_LARGEST_HEADER = 2**24  # bytes; a thousand tensors need some 100,000
_EXPECTED = "a checkpoint: tensors by name, as .safetensors or as torch.save writes them"
_REMEDY = "Download it again, or take the checkpoint that its authors released."
_LISTED = 12  # keys named in an error; a wrong layout would list hundreds


def read_state(path: Path, ignored: Iterable[str] = ()) -> "dict[str, Tensor]":
    """Tensors of a checkpoint file by their released names, on the CPU.

    Parameters
    ----------
    path
        ``.safetensors``, or ``.pt .bin .ckpt .pth .torch`` as torch saves them, read with
        ``weights_only=True``; tensors under an entry ``state_dict``, ``model_state_dict`` or ``model`` are
        taken from there, and the ``module.`` that DataParallel puts before every name is left out.
    ignored
        Patterns (``*.attn.bias``) of names that are left out, whatever numbers they hold.

    Raises
    ------
    WeightsError
        If the file is damaged, holds anything but tensors of floating-point numbers (or int64 buffers), or
        is a pickle that needs other objects than tensors and plain values. Nothing of such a file is
        executed.
    """
    read = {".safetensors": _read_safetensors} | dict.fromkeys(_PICKLED, read_content)
    if path.suffix not in read:
        raise WeightsError(
            f"{path} is not a checkpoint that can be read: its name should end with one of "
            f"{', '.join(sorted(read))}. Name the file that its authors released."
        )
    state = read[path.suffix](path)
    for name in _NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{path} holds no tensors by name; expected {_EXPECTED}. {_REMEDY}")
    import torch

    others = [
        key[:60] if type(key) is str else f"the key {shortened(key)}"
        for key, value in state.items()
        if type(key) is not str or not isinstance(value, torch.Tensor)
    ]
    if others:
        raise WeightsError(
            f"{path} holds more than tensors: {_some(others)}. A state dict is expected, or one under "
            f"the key {' or '.join(map(repr, _NESTED))}."
        )
    patterns = tuple(ignored)
    state = {key: tensor for key, tensor in state.items() if not _matches(key, patterns)}
    problems = [f"{key} is {problem}" for key, tensor in state.items() if (problem := _unusable(tensor))]
    if problems:
        raise WeightsError(
            f"{path} is refused: {_some(problems, '; ')}. Expected whole tensors of float32, float64, "
            f"float16 or bfloat16 (int64 for buffers): others would be read as other numbers. {_REMEDY}"
        )
    return tensors_of(state)


def tensors_of(state: Mapping[object, object]) -> "dict[str, Tensor]":
    """Tensors of a state dict by their names, without what DataParallel puts before all of them.

    What else the release keeps in it, such as a config, is left out.
    """
    import torch

    tensors = {str(name): tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    if all(name.startswith(_PARALLEL) for name in tensors):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _unusable(tensor: "Tensor") -> str | None:
    """Why a tensor cannot be taken for weights; None if it can."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return f"{'quantised' if tensor.is_quantized else tensor.layout} on {tensor.device}"
    if tensor.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64):
        return str(tensor.dtype).removeprefix("torch.")
    reach = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1 and stride < reach:
            return f"{tuple(tensor.shape)} over fewer stored values"
        reach += stride * (length - 1)
    return None


def _read_safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors.torch import load_file

    head = head_of(path, _EXPECTED)
    try:
        _require_unique_names(path, head)
        return load_file(path, device="cpu")
    except Exception as error:  # of safetensors, of torch, of the system
        kind = foreign_kind(head)
        raise WeightsError(
            f"{path} is damaged or incomplete, or no safetensors file: "
            f"{f'it is {kind}' if kind else _cause(error)}. Expected {_EXPECTED}. {_REMEDY}"
        ) from None


def _require_unique_names(path: Path, head: bytes) -> None:
    """Refuse a header that names a tensor twice, of which the library would take one."""
    size = int.from_bytes(head[:8], "little")
    if size > min(_LARGEST_HEADER, path.stat().st_size):
        raise ValueError(f"its header claims {size:,} bytes")
    with path.open("rb") as file:
        file.seek(8)
        header = json.loads(file.read(size), object_pairs_hook=lambda pairs: pairs)
    names = [name for name, _ in header]
    if len(set(names)) < len(names):
        raise ValueError(f"it holds {Counter(names).most_common(1)[0][0][:60]} more than once")


def read_content(path: Path) -> object:
    """What a file that torch saved holds: tensors and plain values, in dictionaries and lists.

    For releases that keep a config or several models beside the tensors.

    Raises
    ------
    WeightsError
        If the file is damaged, or a pickle that needs other objects. Nothing of it is executed.
    """
    import torch

    head = head_of(path, _EXPECTED)
    try:
        torch_files.inspect(path, head)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RefusedError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path} is refused: it is damaged, or a pickle that needs more than tensors and plain values "
            f"({_cause(error)}). Nothing of it was executed. Ask its authors for a safetensors file."
        ) from None
    except Exception as error:  # a damaged file fails in every way there is
        kind = None if head.startswith(torch_files.ZIP) else foreign_kind(head)
        raise WeightsError(
            f"{path} is damaged or incomplete: {f'it is {kind}' if kind else _cause(error)}. Expected "
            f"{_EXPECTED}. {_REMEDY}"
        ) from None


def _cause(error: Exception) -> str:
    """The line of torch's long explanation that names the object."""
    lines = [line.strip() for line in str(error)[:10_000].splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines or [type(error).__name__])[0][:200].rstrip(".")


def load_state(
    module: "nn.Module",
    state: "Mapping[str, Tensor]",
    rename: Callable[[str], str | None] | None = None,
    ignored: Iterable[str] = (),
    path: Path | None = None,
) -> None:
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
    path
        File that the tensors are from, to be named in errors.

    Raises
    ------
    WeightsError
        If a parameter or buffer of the module stays unset, a key belongs to nothing, two keys claim
        the same parameter, a shape or kind of number differs, or a value is no finite number in the module's
        precision. All of them are named.
    """
    wanted = module.state_dict()
    patterns = tuple(ignored)
    filled: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    unexpected, problems = [], []
    for key, tensor in state.items():
        if _matches(key, patterns):
            continue
        name = rename(key) if rename else key
        if name is None or name not in wanted:
            unexpected.append(key)
        elif name in filled:
            problems.append(f"{key} and {sources[name]} both claim {name}")
        elif tensor.shape != wanted[name].shape:
            sources[name], filled[name] = key, tensor
            problems.append(f"{key} is {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}")
        elif tensor.is_floating_point() != wanted[name].is_floating_point():
            sources[name], filled[name] = key, tensor
            problems.append(f"{key} is {tensor.dtype}, expected {wanted[name].dtype}")
        # Files of tensors alone are checked as they are read; a release with more is not.
        elif tensor.is_floating_point() and (problem := _unusable(tensor)):
            sources[name], filled[name] = key, tensor
            problems.append(
                f"{key} is {problem}, expected a whole tensor of {wanted[name].dtype}, float16 or bfloat16"
            )
        else:
            sources[name], filled[name] = key, tensor
    missing = [name for name in wanted if name not in filled]
    # These two first: of many problems only the first are shown.
    if unexpected:
        problems.insert(0, "unexpected " + _some([f"{key} {tuple(state[key].shape)}" for key in unexpected]))
    if missing:
        names = {name: _released_name(name, state, rename) for name in missing[:_LISTED] if rename}
        absent = [f"{names.get(name, name)} {tuple(wanted[name].shape)}" for name in missing]
        problems.insert(0, "missing " + _some(absent))
    if not problems:
        # Assigned, not copied: the tensors of a checkpoint would be in memory twice.
        filled = {name: tensor.to(wanted[name].dtype) for name, tensor in filled.items()}
        problems = [
            f"{sources[name]} holds values that are NaN, infinite or too large for {tensor.dtype}"
            for name, tensor in filled.items()
            if not _is_finite(tensor)
        ]
    if problems:
        raise WeightsError(
            f"{path or 'the checkpoint'} does not fit {type(module).__name__}: {_some(problems, '; ')}. "
            "Nothing was loaded: take the files of the model that the card names."
        )
    module.load_state_dict(filled, strict=True, assign=True)


def _released_name(name: str, state: Iterable[str], rename: Callable[[str], str | None]) -> str:
    """Released name of a tensor that a checkpoint lacks, guessed from those it has; else the module's own.

    The same tensor of another layer, or another one of the same part, differs in a number or in its end.
    """
    number, end = re.search(r"\d+", name), name.rpartition(".")[2]
    other = {"weight": "bias", "bias": "weight"}
    for key in state:
        partner = re.sub("weight$|bias$", lambda match: other[match[0]], key)
        for same_layer in (key, partner, f"{key.rpartition('.')[0]}.{end}"):
            in_layer = re.sub(r"\d+", number[0], same_layer, count=1) if number else same_layer
            for guess in (same_layer, in_layer):
                if rename(guess) == name:
                    return guess
    return name


def write_state(path: Path, state: "Mapping[str, Tensor]") -> None:
    """Write tensors as safetensors, in float16.

    Raises
    ------
    WeightsError
        If a value is no finite number in float16.
    """
    import torch
    from safetensors.torch import save_file

    halves = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in state.items()}
    broken = [name for name, tensor in halves.items() if not _is_finite(tensor)]
    if broken:
        raise WeightsError(
            f"{path} was not written: {_some(broken)} hold values that are NaN, infinite or too large for "
            "float16. Train with a lower learning rate."
        )
    save_file(halves, path)
    path.chmod(0o644)  # which safetensors leaves to its owner alone


def require_finite(tensor: "Tensor", name: str, path: Path) -> None:
    """Refuse a tensor of a file that is no whole one of finite floating-point numbers.

    Raises
    ------
    WeightsError
        With what it is.
    """
    problem = _unusable(tensor)
    if problem is None and not tensor.is_floating_point():
        problem = str(tensor.dtype).removeprefix("torch.")
    elif problem is None and not _is_finite(tensor):
        problem = "NaN or infinite in places"
    if problem:
        raise WeightsError(
            f"{path} is refused: {name} is {problem}. Expected finite floating-point numbers. {_REMEDY}"
        )


def _is_finite(tensor: "Tensor") -> bool:
    # What is not finite stays so in a sum, which needs no memory; but the sum of finite values may not be.
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _some(items: list[str], joined: str = ", ") -> str:
    """The first of many items, and how many more there are."""
    more = f"{joined}and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return joined.join(items[:_LISTED]) + more
