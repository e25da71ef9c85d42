"""Decoders of scGPT: expression of each gene from its own token (GEP) and from the cell alone (GEPC).

Released checkpoints use an inner product for GEPC and no probabilities of zero; checkpoints trained with
scGPT's other options have other tensors, by which their kind is told.
"""

from collections.abc import Mapping

import torch
from torch import nn


class ExpressionDecoder(nn.Module):
    """GEP ("mlm"): one value for each token, from its last hidden state.

    Parameters
    ----------
    dim
        Width of the hidden states.
    zeros
        Predict the probability of a zero besides (scGPT's ``explicit_zero_prob``).

    Source
    ------
    scGPT at cebd6fae, model.ExprDecoder.
    """

    def __init__(self, dim: int, *, zeros: bool = False) -> None:
        super().__init__()
        self.fc = _mlp(dim)
        self.zero_logit = _mlp(dim) if zeros else None

    def forward(self, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return (cells, tokens) ``value`` and, where it is predicted, ``zero_probability``."""
        predicted = {"value": self.fc(hidden).squeeze(-1)}
        if self.zero_logit is not None:
            predicted["zero_probability"] = torch.sigmoid(self.zero_logit(hidden).squeeze(-1))
        return predicted


class CellDecoder(nn.Module):
    """GEPC ("mvc"): one value for each gene, from the cell embedding and the gene's own embedding.

    Parameters
    ----------
    dim
        Width of the embeddings.
    style
        "inner product" (also of "inner product, detach"), "concat query" or "sum query".
    zeros
        As for :class:`ExpressionDecoder`; of the inner product only.

    Source
    ------
    scGPT at cebd6fae, model.MVCDecoder.
    """

    HIDDEN = 64  # width of the two styles with a hidden layer, fixed upstream

    def __init__(self, dim: int, style: str = "inner product", *, zeros: bool = False) -> None:
        super().__init__()
        self.style = style
        self.gene2query = nn.Linear(dim, self.HIDDEN if style == "concat query" else dim)
        if style == "inner product":
            self.W = nn.Linear(dim, dim, bias=False)
            self.W_zero_logit = nn.Linear(dim, dim) if zeros else None
        else:
            self.fc1 = nn.Linear(dim + self.HIDDEN if style == "concat query" else dim, self.HIDDEN)
            self.hidden_activation = nn.PReLU()
            self.fc2 = nn.Linear(self.HIDDEN, 1)

    def forward(self, cell: torch.Tensor, genes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return (cells, tokens) ``value`` and, where it is predicted, ``zero_probability``.

        Parameters
        ----------
        cell
            (cells, dim) hidden state of ``<cls>``, not normalised.
        genes
            (cells, tokens, dim) gene embeddings, without the values.
        """
        query = torch.sigmoid(self.gene2query(genes))
        if self.style == "inner product":
            predicted = {"value": _inner(self.W(query), cell)}
            if self.W_zero_logit is not None:
                predicted["zero_probability"] = torch.sigmoid(_inner(self.W_zero_logit(query), cell))
            return predicted
        if self.style == "concat query":
            joined = torch.cat([cell[:, None].expand(-1, genes.shape[1], -1), query], dim=-1)
        else:
            joined = cell[:, None] + query
        return {"value": self.fc2(self.hidden_activation(self.fc1(joined))).squeeze(-1)}


def decoders_of(state: Mapping[str, torch.Tensor], dim: int) -> tuple[ExpressionDecoder, CellDecoder]:
    """Decoders of the kind that a checkpoint holds.

    Parameters
    ----------
    state
        Tensors by their released names, ``decoder.…`` and ``mvc_decoder.…``.
    dim
        Width of the hidden states.
    """
    if "mvc_decoder.fc1.weight" not in state:
        style = "inner product"
    else:
        style = "concat query" if state["mvc_decoder.fc1.weight"].shape[1:] != (dim,) else "sum query"
    gep = ExpressionDecoder(dim, zeros="decoder.zero_logit.0.weight" in state)
    return gep, CellDecoder(dim, style, zeros="mvc_decoder.W_zero_logit.weight" in state)


def _mlp(dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, dim), nn.LeakyReLU(), nn.Linear(dim, dim), nn.LeakyReLU(), nn.Linear(dim, 1)
    )


def _inner(projected: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    return torch.bmm(projected, cell[..., None]).squeeze(-1)
