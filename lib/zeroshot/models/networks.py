"""Where the weights of a native network come from: a checkpoint, or a seed."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.weights import Checkpoint, WeightsError, load_state, read_genes
from zeroshot.models.weights.files import REMEDY

Network = TypeVar("Network", bound=nn.Module)


def trained_network(
    build: Callable[[], Network],
    state: Mapping[str, torch.Tensor],
    rename: Callable[[str], str | None],
    ignored: Iterable[str],
    path: Path,
) -> Network:
    """Build a network and fill it with the tensors of a checkpoint; in evaluation mode.

    Parameters
    ----------
    build
        Makes the network.
    state, rename, ignored, path
        See :func:`zeroshot.models.weights.load_state`.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If a tensor of the network or of the checkpoint does not fit.
    """
    network = _outline(build)
    load_state(network, state, rename, ignored, path)
    return network.eval()


def untrained_network(build: Callable[[], Network], draw: Callable[[Network], None]) -> Network:
    """Build a network whose weights are drawn; in evaluation mode.

    Parameters
    ----------
    build
        Makes the network.
    draw
        Sets every parameter and buffer of it.
    """
    network = _outline(build).to_empty(device="cpu")
    draw(network)
    return network.eval()


def _outline(build: Callable[[], Network]) -> Network:
    """Build without memory: torch would draw initial values for parameters that are then replaced."""
    with torch.device("meta"):
        return build()


def require_vocabulary(vocabulary: str, architecture: Mapping[str, Any] | None) -> None:
    """Refuse an unknown vocabulary, and the genes of the data set as that of trained weights.

    Raises
    ------
    ValueError
        If ``vocabulary`` is not "released", or "data-set" of a model with an ``architecture``.
    """
    if vocabulary not in ("released", "data-set"):
        raise ValueError(f"unknown vocabulary {vocabulary!r}: released or data-set")
    if vocabulary == "data-set" and architecture is None:
        raise ValueError("trained weights need the vocabulary they were trained with: vocabulary is released")


def genes_of(
    cells: Cells, checkpoint: Checkpoint | None, vocabulary: str, *, heading: bool = True
) -> list[str]:
    """Symbols that a model reads, in its order: those of the data set, or of the file "vocabulary".

    Parameters
    ----------
    cells
        Whose genes are the vocabulary where it is "data-set".
    checkpoint
        Needed where it is "released".
    vocabulary
        See :func:`require_vocabulary`.
    heading
        See :func:`zeroshot.models.weights.read_genes`.
    """
    if vocabulary == "data-set":
        return [str(name) for name in cells.genes]
    return read_genes(checkpoint.files["vocabulary"], heading=heading)


def require_genes(n_genes: int, n_expected: int, checkpoint: Checkpoint, what: str = "genes") -> None:
    """Refuse a list of genes, or of other tokens, that is not as long as the model's embedding of them.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the numbers differ.
    """
    if n_genes != n_expected:
        raise WeightsError(
            f"the list of {what} has {n_genes:,} names, the model reads {n_expected:,}: "
            f"{checkpoint.files['vocabulary']} and {checkpoint.files['weights']} are not of the same model. "
            f"{REMEDY}"
        )
