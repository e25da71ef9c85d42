"""The transformer encoder that all native models share."""

from functools import partial
from typing import Literal

import torch
from torch import nn

Activation = Literal["relu", "gelu", "gelu-tanh"]


class TransformerEncoder(nn.Module):
    """Layers of self-attention and feed-forward, no embedding and no norm of their own around them.

    Parameters
    ----------
    n_layers, dim, n_heads, ffn_dim
        Depth, width, heads (each ``dim / n_heads`` wide) and width of the feed-forward part.
    activation
        Of the feed-forward part; gelu is the exact one, gelu-tanh the approximation of GPT-2.
    eps
        Of the layer norms.
    norm
        "post": after each residual sum, as in BERT. "pre": on what enters attention and feed-forward.
    causal
        A token attends to itself and to those before it, as in GPT.

    Raises
    ------
    ValueError
        If the heads do not divide the width, or activation or norm is unknown.

    Source
    ------
    Vaswani et al. 2017. Parameters are ``layers.{i}.`` ``qkv`` (query, key and value below one another, heads
    contiguous in each), ``out``, ``linear1``, ``linear2``, ``norm1``, ``norm2``.
    """

    def __init__(
        self,
        n_layers: int,
        dim: int,
        n_heads: int,
        ffn_dim: int,
        *,
        activation: Activation = "relu",
        eps: float = 1e-5,
        norm: Literal["post", "pre"] = "post",
        causal: bool = False,
    ) -> None:
        super().__init__()
        if norm not in ("post", "pre"):
            raise ValueError(f"unknown norm {norm!r}: post or pre")
        self.causal = causal
        self.layers = nn.ModuleList(
            _Layer(dim, n_heads, ffn_dim, activation, eps, pre=norm == "pre", causal=causal)
            for _ in range(n_layers)
        )

    def forward(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor | None = None,
        *,
        n_layers: int | None = None,
        first_only: bool = False,
    ) -> torch.Tensor:
        """Return what the last computed layer gives.

        Parameters
        ----------
        hidden
            (cells, tokens, dim) embedded tokens, padded on the right.
        lengths
            (cells,) tokens that are no padding, at least 1; None if none is padding. Padding is never
            attended to; what is returned at its places has no meaning.
        n_layers
            Compute only the first of the layers; 0 returns ``hidden``.
        first_only
            Of the last computed layer compute the first token only, which the others do not need then.

        Returns
        -------
        torch.Tensor
            (cells, tokens, dim), or (cells, 1, dim) with ``first_only``.

        Raises
        ------
        ValueError
            If more layers are asked for than there are.
        """
        layers = self.layers[:n_layers]
        if n_layers is not None and not 0 <= n_layers <= len(self.layers):
            raise ValueError(f"{n_layers} layers asked for: there are {len(self.layers)}")
        # No token attends to padding where it attends to none behind it.
        mask = None if self.causal else _key_mask(lengths, hidden.shape[1])
        for place, layer in enumerate(layers):
            hidden = layer(hidden, mask, first_only=first_only and place == len(layers) - 1)
        return hidden[:, :1] if first_only else hidden


class Linear(nn.Linear):
    """A linear layer that uses oneDNN in float32 on a CPU too.

    torch hands this product to MKL, which takes its slow path on processors that are not Intel's: oneDNN was
    more than twice as fast on an AMD EPYC (``benchmarks/embedding.py``). In lower precision torch chooses
    oneDNN itself.
    """

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return (…, out_features)."""
        # The operation has no backward pass, and torch.compile, which chooses it itself, cannot take it.
        usable = _ONEDNN and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if usable and given.device.type == "cpu" and given.dtype == torch.float32:
            return torch.ops.mkldnn._linear_pointwise(given, self.weight, self.bias, "none", [], "")
        return super().forward(given)


# Inductor's own operation, not part of torch's public interface: looked for, not relied upon.
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def mean_over(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of the hidden states of some tokens of each cell.

    Parameters
    ----------
    hidden
        (cells, tokens, dim); what stands outside the mask may be anything, also nan.
    mask
        (cells, tokens) True for the tokens that count.

    Returns
    -------
    torch.Tensor
        (cells, dim); zeros for a cell of which no token counts.
    """
    summed = torch.where(mask[..., None], hidden, 0).sum(dim=1)
    return summed / mask.sum(dim=1, keepdim=True).clamp(min=1)


class _Layer(nn.Module):
    def __init__(
        self,
        dim: int,
        n_heads: int,
        ffn_dim: int,
        activation: Activation,
        eps: float,
        *,
        pre: bool,
        causal: bool,
    ) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"{n_heads} heads do not divide a width of {dim}")
        activations = {
            "relu": nn.functional.relu,
            "gelu": nn.functional.gelu,
            "gelu-tanh": partial(nn.functional.gelu, approximate="tanh"),
        }
        if activation not in activations:
            raise ValueError(f"unknown activation {activation!r}: one of {', '.join(activations)}")
        self.n_heads = n_heads
        self.activation = activations[activation]
        self.pre, self.causal = pre, causal
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)
        self.linear1 = Linear(dim, ffn_dim)
        self.linear2 = Linear(ffn_dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.norm2 = nn.LayerNorm(dim, eps=eps)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None, *, first_only: bool) -> torch.Tensor:
        read = self.norm1(hidden) if self.pre else hidden
        residual = hidden[:, :1] if first_only else hidden
        attended = residual + self.out(self._attend(read, mask, first_only=first_only))
        if self.pre:
            return attended + self._feed_forward(self.norm2(attended))
        attended = self.norm1(attended)
        return self.norm2(attended + self._feed_forward(attended))

    def _attend(self, read: torch.Tensor, mask: torch.Tensor | None, *, first_only: bool) -> torch.Tensor:
        query, key, value = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in self.qkv(read).chunk(3, dim=-1)
        )
        if first_only:
            query = query[:, :, :1]
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=self.causal
        )
        return attended.transpose(1, 2).flatten(2)

    def _feed_forward(self, read: torch.Tensor) -> torch.Tensor:
        return self.linear2(self.activation(self.linear1(read)))


def _key_mask(lengths: torch.Tensor | None, n_tokens: int) -> torch.Tensor | None:
    """(cells, 1, 1, tokens) True where a token may be attended to; None where all may.

    Without a mask the fastest kernels can be used, and chunks of equal length are common.
    """
    if lengths is None or bool((lengths >= n_tokens).all()):
        return None
    return (torch.arange(n_tokens, device=lengths.device) < lengths[:, None])[:, None, None]
