"""What is hidden from a network while it is trained, and how its predictions are judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import nn

from zeroshot.catalog.records import Objective
from zeroshot.models import TrainableNetwork
from zeroshot.pretraining.contrastive import Views, pair_loss
from zeroshot.tokens.sequences import Tokens

# What a network is trained to do: predict what is hidden, or recognise a cell by another sample of its genes.
Task = Objective | Literal["contrastive"]


@dataclass(frozen=True)
class Masking:
    """Which genes of a cell are hidden, and what is put in their place.

    Attributes
    ----------
    fraction
        Share of a cell's genes that are predicted, at least one of each cell; under "contrastive", that each
        of its two views lacks.
    random
        Share of those that get the id of another gene of the chunk instead of the mask.
    unchanged
        Share of those that stay as they are.
    """

    fraction: float
    random: float = 0.0
    unchanged: float = 0.0


# Published settings. Values: Cui et al. 2024, whose tutorials mask 40 % of the genes. Ranks: Theodoris et al.
# 2023, 15 % of the genes, of which transformers' collator replaces 80 % by <mask> and 10 % by another token.
# Contrastive: not published for these tokens; two views of half of the genes share half of theirs.
MASKING: Mapping[Task, Masking] = MappingProxyType(
    {"values": Masking(0.4), "ranks": Masking(0.15, random=0.1, unchanged=0.1), "contrastive": Masking(0.5)}
)


@dataclass(frozen=True)
class MaskedChunk:
    """Cells of one step of training, with some of their genes hidden.

    Attributes
    ----------
    ids, values
        (cells, tokens) what the network reads, padded on the right; values are None under "ranks".
    lengths
        (cells,) tokens that are no padding.
    hidden
        (cells, tokens) True where a gene is to be predicted.
    targets
        (hidden,) the true value under "values", the true id under "ranks", in the order of ``hidden``.
    """

    ids: torch.Tensor
    values: torch.Tensor | None
    lengths: torch.Tensor
    hidden: torch.Tensor
    targets: torch.Tensor

    def to(self, device: torch.device) -> "MaskedChunk":
        """The same chunk on a device."""
        parts = (self.ids, self.values, self.lengths, self.hidden, self.targets)
        return MaskedChunk(*(None if part is None else part.to(device) for part in parts))


def hide(
    tokens: Tokens,
    network: TrainableNetwork,
    objective: Objective,
    masking: Masking,
    generator: np.random.Generator,
    *,
    pad_id: int,
    pad_value: float = 0.0,
) -> MaskedChunk:
    """Hide genes of cells at random; special tokens are never hidden.

    Parameters
    ----------
    tokens
        Cells of a chunk.
    network
        Says what stands for a hidden gene, and how many tokens at the ends are no genes.
    objective, masking
        What is predicted, and how much of a cell.
    generator
        Draws which genes are hidden, and what replaces them.
    pad_id, pad_value
        Fill the ends of shorter cells.
    """
    ids, values = tokens.pad(pad_id, pad_value)
    lengths = tokens.lengths
    first, last = network.special_ends
    place = np.arange(ids.shape[1])
    genes = (place >= first) & (place < lengths[:, None] - last)
    draws = np.where(genes, generator.random(ids.shape), np.inf)
    n_hidden = np.maximum(np.round(masking.fraction * genes.sum(axis=1)), 1).astype(np.int64)
    # The smallest draws of each cell; a cell without genes has none.
    rank = draws.argsort(axis=1).argsort(axis=1)
    hidden = genes & (rank < n_hidden[:, None])
    if objective == "values":
        targets = torch.from_numpy(values[hidden])
        values = np.where(hidden, np.float32(network.mask), values)
    else:
        targets = torch.from_numpy(ids[hidden])
        fate = generator.random(ids.shape)
        others = generator.choice(ids[genes], size=ids.shape) if genes.any() else ids
        masked = hidden & (fate >= masking.random + masking.unchanged)
        ids = np.where(masked, int(network.mask), np.where(hidden & (fate < masking.random), others, ids))
    return MaskedChunk(
        torch.from_numpy(ids),
        None if values is None else torch.from_numpy(values),
        torch.from_numpy(lengths),
        torch.from_numpy(hidden),
        targets,
    )


def losses(network: TrainableNetwork, task: Task, chunk: MaskedChunk | Views) -> dict[str, torch.Tensor]:
    """Mean loss over the hidden genes, by the name of the decoder, or over cells ("pair").

    The squared error of values, in bins²; the cross-entropy of ranks over the vocabulary, in nats; of cells
    :func:`zeroshot.pretraining.contrastive.pair_loss`.
    """
    if task == "contrastive":
        return {"pair": pair_loss(network(*chunk.first), network(*chunk.second), chunk.targets)}
    predictions = network.decode(chunk.ids, chunk.values, chunk.lengths, chunk.hidden)
    compare = nn.functional.mse_loss if task == "values" else nn.functional.cross_entropy
    return {name: compare(predicted.float(), chunk.targets) for name, predicted in predictions.items()}
