"""Tensors of a state dict that a release keeps beside other things, such as a config."""

from collections.abc import Mapping

import torch

_PARALLEL = "module."  # what DataParallel puts before every name


def tensors_of(state: Mapping[object, object]) -> dict[str, torch.Tensor]:
    """The tensors of a state dict by their names, without what DataParallel puts before all of them."""
    tensors = {str(name): tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    if all(name.startswith(_PARALLEL) for name in tensors):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors
