"""Embedding models by name: one file per family, one card per model in ``data/models.yml``.

A model is a frozen dataclass whose fields are the parameters of a recipe and whose ``embed``
turns the counts of cells into a matrix. It never sees labels, and sees batches only if its card
says ``uses: [batch]``.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog

if TYPE_CHECKING:
    import torch

    from zeroshot.models.weights import Checkpoint
    from zeroshot.tokens.sequences import Tokenizer

__all__ = [
    "Cells", "Embedder", "MaskedNetwork", "PredictsMasked", "TokenEmbedder", "encoder", "find_checkpoint",
    "implementation", "load", "unavailable",
]  # fmt: skip


@dataclass(frozen=True)
class Cells:
    """What a model may see of a data set.

    Attributes
    ----------
    counts
        (cells, genes) raw counts, CSR, float32, not normalised; the values as given where a recipe
        says ``input: as-given``.
    genes
        (genes,) unique gene names, symbols wherever the data set has them.
    ids
        (cells,) unique name of each cell: what is random in a model is drawn by it, so that a cell's
        embedding does not depend on where the cell stands.
    library_size
        (cells,) counts per cell over all genes of the source, also where ``counts`` holds only
        some of them.
    ensembl_ids
        (genes,) Ensembl gene id of each gene, empty where unknown; None if the data set has none.
    batches
        (cells,) sequencing batch of each cell, or None for models that do not use it.
    """

    counts: sparse.csr_matrix
    genes: pd.Index
    ids: pd.Index
    library_size: np.ndarray
    ensembl_ids: np.ndarray | None = None
    batches: np.ndarray | None = None

    @classmethod
    def of(cls, adata: AnnData, *, with_batches: bool) -> "Cells":
        """Take what a model may see from data that keeps the contract of :func:`zeroshot.data.load`.

        Raises
        ------
        ValueError
            If indices of a sparse matrix lie outside it: scipy would read memory that is not the matrix's.
        """
        if sparse.issparse(adata.X) and adata.X.format in ("csr", "csc"):
            try:
                adata.X.check_format(full_check=True)
            except ValueError as error:
                raise ValueError(
                    f"the counts are damaged: {error}. Give a matrix whose indices lie inside it, as "
                    "zeroshot.data.load returns it"
                ) from error
        return cls(
            counts=sparse.csr_matrix(adata.X, dtype=np.float32),
            genes=adata.var_names,
            ids=adata.obs_names,
            library_size=adata.obs["library_size"].to_numpy(np.float64),
            ensembl_ids=adata.var["ensembl_id"].to_numpy(str) if "ensembl_id" in adata.var else None,
            batches=adata.obs["batch"].astype(str).to_numpy() if with_batches else None,
        )

    def log_normalized(self, target_sum: float = 1e4) -> sparse.csr_matrix:
        """(cells, genes) log1p of counts scaled to ``target_sum`` counts per cell.

        Scaled by the library size, not by the row sum: on a gene subset the row sum is not the
        depth of the cell.
        """
        scaled = sparse.csr_matrix(self.counts.multiply((target_sum / self.library_size)[:, None]))
        return scaled.astype(np.float32).log1p()

    def detected(self, min_cells: int) -> np.ndarray:
        """(genes,) True for genes with a count in at least ``min_cells`` cells.

        Raises
        ------
        ValueError
            If there is no such gene.
        """
        kept = np.asarray((self.counts > 0).sum(axis=0)).ravel() >= min_cells
        if not kept.any():
            raise ValueError(
                f"no gene is detected in at least {min_cells} cells of {self.counts.shape[0]}: "
                "give more cells, or a lower min_cells (command line: zeroshot embed -p min_cells=1)"
            )
        return kept

    def with_counts(self, counts: sparse.csr_matrix) -> "Cells":
        """The same cells with other counts over the same genes."""
        return replace(self, counts=counts)


class Embedder(Protocol):
    """Anything that turns cells into a float32 (cells, dim) matrix, rows in input order."""

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return the embedding; the same seed gives the same bytes."""
        ...


@runtime_checkable
class TokenEmbedder(Protocol):
    """A network that reads the tokens of each cell by itself; :mod:`zeroshot.embedding` runs it in chunks."""

    def tokenizer(self, cells: Cells, seed: int) -> "Tokenizer":
        """Decide genes and vocabulary on all cells, and return what turns any rows of them into tokens."""
        ...

    def network(self, cells: Cells, seed: int) -> "torch.nn.Module":
        """Return the network in evaluation mode, float32, on the CPU.

        The cells are for untrained models, whose vocabulary can be the genes of the data set.

        Its forward takes token ids (cells, tokens) int64, values (cells, tokens) float32 or None, and
        lengths (cells,) int64, and returns the pooled embedding (cells, dim).
        """
        ...


class MaskedNetwork(Protocol):
    """A network that predicts what is hidden from it.

    Attributes
    ----------
    mask
        Stands for what is hidden: a value under the objective "values", a token id under "ranks".
    special_ends
        Special tokens before and after the genes of each cell. They are never hidden, and no prediction at
        their places is scored.
    """

    mask: float
    special_ends: tuple[int, int]

    def predict(
        self, ids: "torch.Tensor", values: "torch.Tensor | None", lengths: "torch.Tensor"
    ) -> "dict[str, torch.Tensor]":
        """Return (cells, tokens) predictions, by the name of the decoder that makes them.

        Under "values" a prediction is the value of a gene, under "ranks" the id of the most likely token. The
        arguments are those of ``forward``, with the mask in the places that are hidden.
        """
        ...


@runtime_checkable
class PredictsMasked(TokenEmbedder, Protocol):
    """A family that was pretrained to predict what is hidden.

    Its cards say what (``objective``), its ``network`` is a :class:`MaskedNetwork` as well, and
    :mod:`zeroshot.embedding.masked_prediction` measures how well it does.
    """

    def tie_widths(self, cells: Cells, rows: np.ndarray, seed: int) -> np.ndarray | None:
        """Return the (tokens,) number of values that chance chooses from at each token, 1 where it does not.

        In the order of the tokens that ``tokenizer`` makes of the same rows. None where nothing is drawn.
        """
        ...


class TrainableNetwork(MaskedNetwork, Protocol):
    """A network that learns to predict what is hidden from it."""

    def decode(
        self,
        ids: "torch.Tensor",
        values: "torch.Tensor | None",
        lengths: "torch.Tensor",
        hidden: "torch.Tensor",
    ) -> "dict[str, torch.Tensor]":
        """Return what each decoder gives at hidden places alone, with gradients: for training.

        ``hidden`` is (cells, tokens) bool. Under "values" a decoder gives (places,) values, under "ranks"
        (places, vocabulary) logits; places in the order of ``hidden``.
        """
        ...


@runtime_checkable
class Trainable(PredictsMasked, Protocol):
    """A family whose networks :mod:`zeroshot.pretraining` trains: each is a :class:`TrainableNetwork`."""

    def release(self, network: "torch.nn.Module", cells: Cells, folder: Path) -> None:
        """Write a network trained on these cells, in the layout in which checkpoints are released.

        Of a model with an ``architecture`` and the vocabulary of its data set. ``folder`` then has config,
        weights in float16 and vocabulary, and is read as the folder of a released checkpoint is.
        """
        ...


def load(
    name: str,
    recipe: str | None = None,
    *,
    weights: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Embedder | TokenEmbedder:
    """Build the model of a card with the parameters of one of its recipes.

    Parameters
    ----------
    name
        Name in ``data/models.yml``, for example "pca".
    recipe
        One of the card's recipes; None for its default.
    weights
        Folder with the weights as released; None to look for them, and to download them if need be,
        as :func:`zeroshot.models.weights.find` does.
    parameters
        Put over those of the recipe.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the name, the recipe or one of its parameters does not exist.
    zeroshot.models.weights.WeightsError
        If the model has weights and they cannot be had.
    """
    card = catalog.model(name)
    chosen = catalog.find(card.recipes, recipe or card.recipe, f"recipe of {name}")
    if card.implementation is None:
        raise catalog.CatalogError(f"{name} is made from labels: no model can be loaded for it")
    kind = implementation(card)
    known = {field.name for field in fields(kind)}
    wanted = {**chosen.parameters, **(parameters or {})}
    for parameter in wanted:
        catalog.find(dict.fromkeys(known), parameter, f"parameter of {name}")
    place = f"data/models.yml: entry {name!r}: recipes.{recipe or card.recipe}.parameters"
    catalog.require_types(kind, chosen.parameters, place)
    given: dict[str, Any] = {}
    if card.architecture is not None:
        given["architecture"] = card.architecture
    checkpoint = find_checkpoint(card, recipe, weights)
    if checkpoint is not None:
        given["checkpoint"] = checkpoint
    return kind(**wanted, **given)


def implementation(card: catalog.ModelCard) -> type:
    """The class of a card's model; imports its file."""
    module, _, attribute = card.implementation.partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def find_checkpoint(card: catalog.ModelCard, recipe: str | None, weights: Path | None) -> "Checkpoint | None":
    """Files that a model needs under a recipe, downloaded if need be; None for a model that needs none.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If they cannot be had, or a folder was named for a model that reads none.
    """
    from zeroshot.models import weights as weights_

    released = _released(card, recipe)
    if released is not None:
        return weights_.find(released, weights)
    if weights is not None:
        raise weights_.WeightsError(f"{card.name} has no weights to read from {weights}: leave them out")
    return None


def unavailable(card: catalog.ModelCard, recipe: str | None) -> str | None:
    """Why the files that a model needs are not on this machine; None if they are. Uses no network."""
    from zeroshot.models import weights

    released = _released(card, recipe)
    return None if released is None else weights.at_hand(released)


def _released(card: catalog.ModelCard, recipe: str | None) -> catalog.ModelCard | None:
    """The card whose files a model reads: its own, or for vocabulary and config alone its trained twin's."""
    parameters = catalog.find(card.recipes, recipe or card.recipe, f"recipe of {card.name}").parameters
    if card.weights is not None:
        return card
    described = {**(card.architecture or {}), **parameters}
    released = "released" in (described.get("vocabulary"), described.get("config"))
    return catalog.model(card.twin_of) if released else None
