"""Baselines of pretraining, fitted to the cells of a corpus in one go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from zeroshot import models
from zeroshot.models import Cells
from zeroshot.models.baselines import require_differences
from zeroshot.pretraining import folders
from zeroshot.pretraining.architectures import card_of
from zeroshot.pretraining.corpora import hash_of
from zeroshot.pretraining.error import TrainingError


class Fitted(Protocol):
    """A family whose weights come of a fit that is not continued after an interruption.

    Attributes
    ----------
    reads
        Settings that the fit takes by name, beside the seed: "epochs".
    """

    reads: ClassVar[tuple[str, ...]]

    def fit(
        self, cells: Cells, folder: Path, seed: int, facts: Mapping[str, Any], **settings: object
    ) -> None:
        """Write what was fitted to these cells, with facts of the corpus in the config, into a folder."""
        ...


def fitted(name: str) -> Fitted | None:
    """The model to fit to a corpus: the architecture of a card or of its untrained twin; None for a network.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If there is no such model.
    """
    card = card_of(name)
    if card.architecture is None or not hasattr(models.implementation(card), "fit"):
        return None
    return models.implementation(card)(architecture=card.architecture, vocabulary="data-set")


def fit(
    name: str,
    cells: Cells,
    output: Path,
    *,
    seed: int = 0,
    facts: Mapping[str, Any] | None = None,
    **settings: object,
) -> None:
    """Fit a model to the cells of a corpus, and write it as a folder that ``--weights`` reads.

    Parameters
    ----------
    name
        A model of ``data/models.yml`` that is fitted: :func:`fitted`.
    cells
        The corpus; its batches are the sources.
    output
        Folder to write. It appears when it is complete.
    seed
        Same cells and seed give the same bytes.
    facts
        What else the config shall say of the corpus, for example its name.
    settings
        Those that the model ``reads``.

    Raises
    ------
    TrainingError
        If ``output`` exists or cannot be made, the model is not fitted to a corpus, or there is nothing to
        fit: a single cell, a single gene, or cells that are all the same.
    zeroshot.runtime.outputs.OutputError
        If the disk is full.
    """
    embedder = fitted(name)
    if embedder is None:
        raise TrainingError(
            f"{name} is not fitted to a corpus in one go: train it, or choose corpus-pca or corpus-scvi"
        )
    folders.require_new(output)
    n_cells, n_genes = cells.counts.shape
    if min(n_cells, n_genes) < 3:  # which have a single component
        raise TrainingError(
            f"{name} is fitted to cells that differ, and the corpus has {n_cells:,} cells x {n_genes:,} "
            "genes: give at least three of each"
        )
    try:
        require_differences(cells.log_normalized())
    except ValueError as error:
        raise TrainingError(f"{name} cannot be fitted to this corpus: {error}") from None
    corpus = {"cells": n_cells, "genes": n_genes, "sha256": hash_of(cells), **(facts or {})}
    with (
        folders.partial_folder(output, continues=False) as partial,
        folders.release_folder(partial, output) as release,
    ):
        embedder.fit(cells, release, seed, {"model": name, "seed": seed, "corpus": corpus}, **settings)
