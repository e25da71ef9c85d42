"""The Performer: attention in linear time by random features (scBERT, CellLM, scFoundation's decoder)."""

from math import log
from typing import Literal

import torch
from torch import nn

from zeroshot.models.encoder import Linear
from zeroshot.models.released_names import rename_in_layer

KeyMaximum = Literal["cell", "call"]

_EPS = 1e-4  # added to each feature


class Performer(nn.Module):
    """Pre-norm layers of FAVOR+ attention and feed-forward, without a norm after the last.

    Parameters
    ----------
    n_layers, dim, n_heads, head_dim
        Depth, width, heads and the width of each, whatever ``dim / n_heads`` is.
    n_features
        Random features of each head; None for the ``head_dim`` ln ``head_dim`` of the reference.
    qkv_bias
        Whether query, key and value have a bias.
    key_maximum
        Over what the largest exponent of the keys is taken. "cell": over heads, tokens and features of each
        cell by itself. "call": over all cells computed together, as in the reference, where a cell's result
        depends on the others.

    Source
    ------
    Choromanski et al. 2021; performer-pytorch as scBERT at 262fd4b and scFoundation at d09626a contain it.
    Their scripts compute one cell a call, for which both maxima are the same.
    """

    def __init__(
        self,
        n_layers: int,
        dim: int,
        n_heads: int,
        head_dim: int,
        *,
        n_features: int | None = None,
        qkv_bias: bool = False,
        key_maximum: KeyMaximum = "cell",
    ) -> None:
        super().__init__()
        n_features = int(head_dim * log(head_dim)) if n_features is None else n_features
        self.layers = nn.ModuleList(
            _Layer(dim, n_heads, head_dim, n_features, qkv_bias, key_maximum) for _ in range(n_layers)
        )

    def forward(
        self,
        hidden: torch.Tensor,
        multiplicity: torch.Tensor | None = None,
        silent: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (cells, tokens, dim).

        Parameters
        ----------
        hidden
            (cells, tokens, dim) embedded tokens.
        multiplicity
            (cells, tokens) how many keys each token stands for, 0 for none; None if each stands for itself.
        silent
            (cells, tokens) True where a key counts in the normalisation, but nothing is read from it.
        """
        for layer in self.layers:
            hidden = layer(hidden, multiplicity, silent)
        return hidden


class _Layer(nn.Module):
    def __init__(
        self, dim: int, n_heads: int, head_dim: int, n_features: int, qkv_bias: bool, key_maximum: KeyMaximum
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.over = (1, 2, 3) if key_maximum == "cell" else (0, 1, 2, 3)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (Linear(dim, n_heads * head_dim, bias=qkv_bias) for _ in range(3))
        self.out = Linear(n_heads * head_dim, dim)
        self.linear1, self.linear2 = Linear(dim, 4 * dim), Linear(4 * dim, dim)
        self.register_buffer("projection", torch.empty(n_features, head_dim))

    def forward(
        self, hidden: torch.Tensor, multiplicity: torch.Tensor | None, silent: torch.Tensor | None
    ) -> torch.Tensor:
        hidden = hidden + self.out(self._attend(self.norm1(hidden), multiplicity, silent))
        return hidden + self.linear2(nn.functional.gelu(self.linear1(self.norm2(hidden))))

    def _attend(
        self, read: torch.Tensor, multiplicity: torch.Tensor | None, silent: torch.Tensor | None
    ) -> torch.Tensor:
        query, key, value = (
            part(read).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        absent = None if multiplicity is None else (multiplicity == 0)[:, None, :, None]
        query, key = self._features(query, (3,)), self._features(key, self.over, absent)
        if multiplicity is not None:
            key = key * multiplicity[:, None, :, None].to(key.dtype)
        if silent is not None:
            value = value.masked_fill(silent[:, None, :, None], 0)
        weights = query @ key.sum(dim=2)[..., None]
        attended = query @ (key.transpose(2, 3) @ value) / weights
        return attended.transpose(1, 2).flatten(2)

    def _features(
        self, heads: torch.Tensor, over: tuple[int, ...], absent: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(cells, heads, tokens, features), positive; what is absent has no part in the largest exponent."""
        scaled = heads * heads.shape[-1] ** -0.25
        exponent = scaled @ self.projection.T
        if absent is not None:
            exponent = exponent.masked_fill(absent, -torch.inf)
        norms = scaled.square().sum(dim=-1, keepdim=True) / 2
        largest = exponent.amax(dim=over, keepdim=True)
        return len(self.projection) ** -0.5 * (torch.exp(exponent - norms - largest) + _EPS)


_NAMES = {
    "0.norm": "norm1", "1.norm": "norm2", "0.fn.to_q": "query", "0.fn.to_k": "key", "0.fn.to_v": "value",
    "0.fn.to_out": "out", "1.fn.fn.w1": "linear1", "1.fn.fn.w2": "linear2",
}  # fmt: skip


def rename(key: str, prefix: str) -> str | None:
    """Name below ``performer`` of a released parameter; None if it is none of a layer.

    Parameters
    ----------
    key
        Released name, for example ``performer.net.layers.0.0.fn.to_q.weight``.
    prefix
        What stands before the number of the layer there: ``performer.net.layers.``.
    """
    if not key.startswith(prefix):
        return None
    number, _, inner = key.removeprefix(prefix).partition(".")
    if inner == "0.fn.fast_attention.projection_matrix":
        return f"performer.layers.{number}.projection"
    return rename_in_layer(key, prefix, _NAMES, "performer.layers.")
