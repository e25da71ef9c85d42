"""The steps of a run that ask the model: its embedding, and what it predicts of hidden genes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, embedding, metrics, store
from zeroshot.embedding import integrity, masked_prediction
from zeroshot.tokens.genes import ensembl_id

from .keys import what_decides


def embed(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    parameters: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    settings: embedding.Settings | None = None,
    policy: store.Policy = "reuse",
) -> store.Artifact:
    """Embed the cells, or take the stored embedding of the same data, model, weights, recipe and seed.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    model, recipe, seed, precision
        As for :func:`zeroshot.embedding.embed`; "label-oracle" is made from the labels.
    parameters
        Put over those of the recipe; None for the recipe as it is.
    weights
        Folder with the weights as released; None to look for them.
    settings
        How a network is run, apart from the precision.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Returns
    -------
    zeroshot.store.Artifact
        Holds ``embedding``, (cells, dim) float32, rows in the order of ``adata``; ``checks``, the part
        of the integrity gate that needs the model; ``notes``; ``genes``, the fields of
        :class:`zeroshot.embedding.GeneShare`. Of models that read tokens also ``lengths`` and ``left_out``,
        (cells,), and ``overlap``, genes by the rule that matched them.

    Raises
    ------
    zeroshot.embedding.EmbeddingError
        If a model is to be fitted to a single cell or gene.
    """
    card = catalog.model(model)
    if card.trained_on_target and min(adata.shape) < 2:
        raise embedding.EmbeddingError(
            f"{card.title} is fitted to the cells that it embeds, and these are {adata.n_obs:,} cells x "
            f"{adata.n_vars:,} genes: give at least two of each"
        )
    inputs = what_decides(adata, card, recipe, seed, precision, "embedding", weights)
    inputs["parameters"] |= parameters or {}

    def compute() -> dict[str, np.ndarray | pd.DataFrame | dict]:
        if "label" in card.uses:
            oracle = metrics.label_oracle(adata.obs["cell_type"].to_numpy(), seed=seed)
            return _contents(embedding.Embedded(oracle))
        run_as = replace(settings or embedding.Settings(), precision=precision)
        options = {"seed": seed, "weights": weights, "settings": run_as, "parameters": parameters}
        return _contents(embedding.run(adata, model, recipe, **options))

    return store.load_or_compute("embedding", inputs, compute, policy)


def notes_of(embedded: store.Artifact, adata: AnnData) -> list[str]:
    """What is to know of an embedding: stored notes, others' weights, names of genes that are not read.

    Parameters
    ----------
    embedded
        What :func:`embed` returned.
    adata
        The cells that it was given.
    """
    notes, inputs = list(embedded.load("notes")["notes"]), embedded.provenance["inputs"]
    card, named = catalog.model(inputs["model"]), {**inputs["architecture"], **inputs["parameters"]}
    are_ids = [bool(ensembl_id(name)) for name in adata.var_names]
    if card.twin_of is not None and named.get("vocabulary") == "data-set" and np.mean(are_ids) > 0.5:
        notes.append(
            "the random weights of genes are drawn by their names, which are Ensembl ids here: a file that "
            "names the same genes by symbols has another random embedding"
        )
    notes += _notes_on_weights(card, inputs["weights"])
    genes = embedded.load("genes") if "genes" in embedded else None
    is_of_user = adata.uns["dataset"]["name"] not in catalog.datasets()
    if genes and card.gene_ids and genes["n_read"] < genes["n_genes"] and is_of_user:
        notes += _notes_on_old_symbols(adata, card.gene_ids)
    return notes


def sound_matrix(embedded: store.Artifact, n_cells: int) -> np.ndarray:
    """(n_cells, dim) float32 of what :func:`embed` returned.

    Raises
    ------
    zeroshot.embedding.integrity.IntegrityError
        If the embedding is broken.
    """
    matrix = embedded.load("embedding")
    remedy = "if these are few cells or genes, give more of them; else choose another model"
    require_sound(matrix, n_cells, remedy, embedded.load("checks"))
    return matrix


def require_sound(matrix: np.ndarray, n_cells: int, remedy: str, probed: pd.DataFrame | None = None) -> None:
    """Refuse an embedding that fails the integrity gate, and say what is expected and what to do.

    Parameters
    ----------
    matrix
        (n_cells, dim) if it is sound.
    n_cells
        Number of cells that were embedded.
    remedy
        What to do.
    probed
        As for :func:`zeroshot.embedding.integrity.check`.

    Raises
    ------
    zeroshot.embedding.integrity.IntegrityError
        If the embedding is broken.
    """
    try:
        integrity.require(integrity.check(matrix, n_cells, probed))
    except integrity.IntegrityError as error:
        expected = "finite values that differ between cells in two dimensions at least are expected"
        error.add_note(f"{expected}: {remedy}")
        raise


def reconstruct(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    n_cells: int = 100,
    fractions: Sequence[float] = masked_prediction.FRACTIONS,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    policy: store.Policy = "reuse",
) -> store.Artifact | None:
    """Measure a model's pretraining objective on some cells, or take the stored measurement.

    Returns
    -------
    zeroshot.store.Artifact or None
        What :func:`zeroshot.embedding.masked_prediction.reconstruct` returns; None for a model without
        such an objective.
    """
    card = catalog.model(model)
    if card.objective is None:
        return None
    inputs = what_decides(adata, card, recipe, seed, precision, "reconstruction")
    inputs |= {"n_cells": n_cells, "fractions": list(fractions)}

    def compute() -> dict[str, pd.DataFrame | np.ndarray]:
        settings = embedding.Settings(precision=precision)
        return masked_prediction.reconstruct(
            adata, model, recipe, n_cells=n_cells, fractions=fractions, seed=seed, settings=settings
        )

    return store.load_or_compute("reconstruction", inputs, compute, policy)


def _notes_on_weights(card: catalog.ModelCard, used: Mapping[str, str]) -> list[str]:
    """A sentence on files of weights whose hash, by role, is not that of the card."""
    listed = card.weights.files if card.weights else {}
    others = [
        role for role, digest in used.items() if role in listed and listed[role].sha256 not in (None, digest)
    ]
    if not others:
        return []
    return [
        f"{', '.join(others)}: not the files that the card of {card.name} describes, by their sha256. "
        "The numbers are those of your files, not of the released model"
    ]


def _notes_on_old_symbols(adata: AnnData, gene_ids: str) -> list[str]:
    """A sentence on genes that go by a symbol of former days and so may not be in a vocabulary."""
    names = adata.var_names.astype(str)
    if gene_ids == "Ensembl" and "ensembl_id" in adata.var:
        names = names[(adata.var["ensembl_id"] == "").to_numpy()]
    try:
        pairs = zip(names, catalog.approved_symbols(names), strict=True)
    except catalog.CatalogError:  # of a damaged table, which costs the note and not the embedding
        return []
    old = [(name, symbol) for name, symbol in pairs if not name.startswith(symbol)]  # as A-1 of two A
    if not old:
        return []
    remedy = {
        "Ensembl": "Give Ensembl ids in a column ensembl_id of var",
        "symbol": "Try the symbols of today as var_names",
    }[gene_ids]
    return [
        f"{len(old):,} of the {adata.n_vars:,} genes go by symbols that HGNC has replaced, like {old[0][0]} "
        f"by {old[0][1]}; those that the model does not know are not read. {remedy}, and compare the share "
        "of genes that is read"
    ]


def _contents(embedded: embedding.Embedded) -> dict[str, np.ndarray | pd.DataFrame | dict]:
    """What an embedding's artifact holds."""
    contents = {
        "embedding": embedded.matrix,
        "checks": embedded.checks,
        "notes": {"notes": list(embedded.notes)},
        "genes": asdict(embedded.genes) if embedded.genes else None,
        "overlap": embedded.overlap,
        "lengths": embedded.lengths,
        "left_out": embedded.left_out,
    }
    return {name: value for name, value in contents.items() if value is not None}
