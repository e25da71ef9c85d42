"""Two samples of each cell's genes, by whose embeddings a network has to recognise the cell."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from zeroshot.models import TrainableNetwork
from zeroshot.pretraining.steps import crop
from zeroshot.tokens.sequences import Tokens

TEMPERATURE = 0.1  # of SimCLR

View = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]


@dataclass(frozen=True)
class Views:
    """Cells of one step of training, each in two views.

    Attributes
    ----------
    first, second
        What the network reads of each view: (cells, tokens) ids, padded on the right, their values or None,
        and (cells,) lengths.
    targets
        (cells,) at which place of the other view each cell is: at its own.
    """

    first: View
    second: View
    targets: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        """(cells,) tokens of both views that are no padding."""
        return self.first[2] + self.second[2]

    def to(self, device: torch.device) -> "Views":
        """The same views on a device."""
        first, second = (
            tuple(None if part is None else part.to(device) for part in view)
            for view in (self.first, self.second)
        )
        return Views(first, second, self.targets.to(device))


def draw_views(
    tokens: Tokens,
    network: TrainableNetwork,
    fraction: float,
    generator: np.random.Generator,
    *,
    max_tokens: int,
    pad_id: int,
    pad_value: float = 0.0,
) -> Views:
    """Draw two samples of the genes of each cell, one independent of the other.

    Parameters
    ----------
    tokens
        Cells of a chunk, all their tokens.
    network
        Says how many tokens at the ends are no genes: they are in both views.
    fraction
        Share of a cell's genes that a view lacks; it has at least one.
    generator
        Draws the genes.
    max_tokens
        Of a view.
    pad_id, pad_value
        Fill the ends of shorter cells.
    """
    n_special = sum(network.special_ends)
    n_genes = np.maximum(np.round((1 - fraction) * (tokens.lengths - n_special)), 1).astype(np.int64)
    most = np.minimum(n_special + n_genes, max_tokens)

    def view() -> View:
        sample = crop(tokens, most, generator, network.special_ends)
        ids, values = sample.pad(pad_id, pad_value)
        values = None if values is None else torch.from_numpy(values)
        return torch.from_numpy(ids), values, torch.from_numpy(sample.lengths)

    return Views(view(), view(), torch.arange(len(tokens.lengths)))


def pair_loss(first: torch.Tensor, second: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy (nats) of the cell among those of the other view, in both directions.

    Parameters
    ----------
    first, second
        (cells, dim) embeddings of two views. Logits are their cosines over :data:`TEMPERATURE`.
    targets
        (cells,) place of each cell in the other view.

    Source
    ------
    van den Oord et al. 2018 (InfoNCE); the temperature is that of Chen et al. 2020 (SimCLR).

    Differs
    -------
    Only cells of the other view are compared, as in SimCSE (Gao et al. 2021) and CLIP; SimCLR adds those of
    the same view, and a projection that is left out of the embedding.
    """
    # In float32 also where the network is not: a cosine in bfloat16 has three digits.
    with torch.autocast(first.device.type, enabled=False):
        first, second = (nn.functional.normalize(view.float(), dim=1) for view in (first, second))
        logits = first @ second.T / TEMPERATURE
    compare = nn.functional.cross_entropy
    return (compare(logits, targets) + compare(logits.T, targets)) / 2
