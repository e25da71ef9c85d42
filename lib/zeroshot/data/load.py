"""``load``: any data set of the registry, or a user's own .h5ad, under one contract."""

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, store
from zeroshot.catalog import CorpusSource, DatasetCard
from zeroshot.data import download, draws, fingerprints, h5ad, prepare, remarks, simulate, validate
from zeroshot.data.columns import MissingLabels
from zeroshot.data.error import DataError
from zeroshot.runtime import paths, reproducible
from zeroshot.store import dependencies

# What to do with files of other kinds, by the end of their names.
_CONVERT = {
    ".h5ad": "Rename it if it is an .h5ad file, or write one with anndata.",
    ".gz": "Unpack it first (gunzip).",
    ".h5": "If it is a 10x file: scanpy.read_10x_h5(path).write_h5ad(new_path).",
    ".mtx": "Read its folder: scanpy.read_10x_mtx(folder).write_h5ad(new_path).",
    ".loom": "Convert it: anndata.io.read_loom(path).write_h5ad(new_path).",
    ".zarr": "Convert it: anndata.read_zarr(path).write_h5ad(new_path).",
    ".csv": "Convert it: anndata.io.read_csv(path).write_h5ad(new_path), cells in rows; then add cell types.",
    ".h5mu": "Write its RNA: mudata.read(path)['rna'].write_h5ad(new_path).",
    ".rds": "Convert the R object to .h5ad, for example with zellkonverter or SeuratDisk.",
}
# Cells of each label that a subset keeps (where there are as many): silhouettes need a neighbour.
CELLS_PER_LABEL = 2
# A prepared data set is stored; a change in one of these, or in what they import, prepares it again.
PREPARED_BY = {
    "zeroshot.data.fingerprints",
    "zeroshot.data.prepare",
    "zeroshot.data.simulate",
    "zeroshot.data.validate",
}


def load(
    name_or_path: str | Path,
    *,
    label_key: str | None = None,
    batch_key: str | None = None,
    counts: str | None = None,
    subset: int | None = None,
    seed: int = 0,
    policy: store.Policy = "reuse",
    require_labels: bool = True,
    as_given: bool = False,
    missing_labels: MissingLabels = "refuse",
    library_size: str | None = None,
) -> AnnData:
    """Raw counts with labels and batches, checked.

    Parameters
    ----------
    name_or_path
        A name of ``data/datasets.yml`` or ``data/corpus_sources.yml`` (no labels, one batch), or the path
        of an .h5ad file, which is never changed.
    label_key, batch_key
        Columns of ``obs`` of a user's file; by default "cell_type", and a single batch.
    counts
        Where a user's file holds raw counts: "X", "layers/<name>", the name of a layer, or "raw". By
        default ``layers/counts`` if there is one, else ``X``, else ``raw`` where ``X`` holds no counts.
    subset
        Keep this many cells, drawn within each label in proportion; two of each label stay where
        it has two. Rows keep their order.
    seed
        Of that draw.
    policy
        What to do with a prepared data set of the store: "reuse", "recompute" or "only-stored".
    require_labels
        False accepts a user's file without labels, or with a column ``cell_type`` that cannot be used:
        embedding needs none. A column that ``label_key`` names is still required.
    as_given
        True accepts any non-negative values of a user's file, ``X`` unless ``counts`` names another
        matrix, and passes them unchanged: for the recipes that take what they are given.
    missing_labels
        What to do with cells of a user's file that have no label or batch, that is NaN, nothing, or a text
        that these become ("NA", "None", "<NA>", "nan", …): "refuse" the file, "drop" the cells, or "keep"
        such texts as a label of their own. "unknown" and "unassigned" are labels like others.
    library_size
        Column of ``obs`` of a user's file with the counts of each cell over all genes of the source, where
        its matrix holds only some of them. By default the counts of the matrix are added up, and a column
        ``library_size`` of another origin is not used.

    Returns
    -------
    AnnData
        ``X`` raw counts (cells, genes), CSR float32; ``obs["cell_type"]``, ``obs["batch"]``
        categorical; ``obs["library_size"]`` counts per cell over all genes of the source, float64;
        ``var["ensembl_id"]`` where known; ``uns["dataset"]`` with name, title, source, the hash of the
        content, and notes: what a reader has to know, also what was decided while reading a user's file.

    Raises
    ------
    DataError
        If the data break the contract; says what was wrong, what was expected, what to do.
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed <= reproducible.LARGEST_SEED:
        raise DataError(f"seed is {seed!r}: an integer from 0 to {reproducible.LARGEST_SEED:,} is expected.")
    if subset is not None and (not isinstance(subset, int | np.integer) or isinstance(subset, bool)):
        raise DataError(f"subset is {subset!r}: a number of cells, or None for all of them, is expected.")
    for key, value, choices in (
        ("policy", policy, store.POLICIES),
        ("missing_labels", missing_labels, get_args(MissingLabels)),
    ):
        if value not in choices:
            raise DataError(f"{key} is {value!r}: one of {', '.join(choices)} is expected.")
    name = str(name_or_path)
    card = catalog.loadable(name)
    if card is not None:
        own = {"label_key": label_key, "batch_key": batch_key, "counts": counts, "library_size": library_size}
        given = [key for key, value in own.items() if value]
        if given:
            raise DataError(
                f"{', '.join(given)} cannot be given for {name!r}: the registry defines its columns. "
                "They are for your own .h5ad files."
            )
        adata, notes = _prepared(card, policy), list(card.notes)
        about = {"name": name, "title": card.title, "source": card.source}
    else:
        path, exists = _user_path(name_or_path)
        if path.suffix != ".h5ad" and exists:
            kind = ".mtx" if any(path.glob("matrix.mtx*")) else path.suffix
            raise DataError(f"{path} does not end in .h5ad. {_CONVERT.get(kind, _CONVERT['.h5ad'])}")
        if path.suffix != ".h5ad":
            cards = catalog.datasets()
            raise DataError(
                f"{name!r} is neither a data set nor an .h5ad file."
                + (
                    catalog.did_you_mean(name, cards | catalog.corpus_sources())
                    or f" Data sets: {', '.join(cards)}."
                )
            )
        adata = _own(
            path, label_key, batch_key, counts, require_labels, as_given, missing_labels, library_size
        )
        about = {"name": path.stem, "title": path.stem, "source": str(path.resolve())}
        notes = []
    notes.extend(adata.uns.get("dataset", {}).get("notes", []))  # an array, where it was stored
    if subset is not None:
        adata = _subset(adata, subset, seed)
    adata.uns["dataset"] = about | {"notes": notes, "content_hash": validate.content_hash(adata)}
    return adata


def _user_path(name_or_path: str | Path) -> tuple[Path, bool]:
    """The path of a user's file, and whether there is something.

    Raises
    ------
    DataError
        If it cannot be a path on this machine.
    """
    try:
        path = Path(name_or_path).expanduser()
        return path, path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a NUL character
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        shown = repr(str(name_or_path)[:300])
        raise DataError(f"{shown} cannot be opened: {reason}. Name another path.") from None


def _prepared(card: DatasetCard, policy: store.Policy) -> AnnData:
    """The data set from the store, prepared first if the card or the code that prepares it changed."""
    inputs = _inputs(card) | dependencies.computation(PREPARED_BY)
    others = [catalog.loadable(name) for name in card.without_cells_of]
    if others:
        inputs["without_cells_of"] = [_inputs(other) for other in others]
    return store.load_or_compute("data", inputs, lambda: {"data": _prepare(card)}, policy).load("data")


def _inputs(card: DatasetCard) -> dict[str, Any]:
    """What of a card decides about the prepared data set."""
    decides = {"source", "files", "label_key", "batch_key", "counts", "prepare", "parameters"}
    return {
        "name": card.name,
        "card": card.model_dump(mode="json", include=decides | set(_facts_of_card(card))),
    }


def _registry(card: DatasetCard) -> str:
    """The file of data/ that holds a card, without its suffix."""
    return "corpus_sources" if isinstance(card, CorpusSource) else "datasets"


def _preparation(module: ModuleType, card: DatasetCard) -> Callable[..., AnnData]:
    """The function of a module that a card names, with parameters that it takes.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the module defines no such function, or it takes other parameters.
    """
    place = f"{paths.catalog(_registry(card))}: entry {card.name!r}"
    functions = {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_")
    }
    try:
        function = catalog.find(functions, card.prepare, f"function of {module.__name__}")
        inspect.signature(function).bind_partial(**card.parameters)
        catalog.require_types(function, card.parameters, card.prepare)
    except (catalog.CatalogError, TypeError) as error:
        raise catalog.CatalogError(f"{place}: prepare: {error}") from None
    return function


def _prepare(card: DatasetCard) -> AnnData:
    """Run the preparation of a card, hold the result to the contract and to the facts in the card."""
    keys = {"label_key": "cell_type", "batch_key": "batch"}
    if isinstance(card, CorpusSource):
        keys = {"label_key": None, "batch_key": None}
    if card.source == "simulate":
        raw = _preparation(simulate, card)(**card.parameters)
    elif card.source == "builtin":
        raw = _preparation(prepare, card)()
    elif card.prepare:
        raw = _preparation(prepare, card)(download.fetch(card), **card.parameters)
    else:  # a single .h5ad whose columns the card names
        (path,) = download.fetch(card).values()
        raw = h5ad.read_h5ad_parts(path, card.counts)
        keys = {"label_key": card.label_key, "batch_key": card.batch_key}
    adata = _without_cells_of(card, validate.contract(raw, name=card.name, **keys))
    expected, found = _facts_of_card(card), _facts(adata)
    wrong = [
        f"{found[fact]:,} {fact.replace('_', ' ')} instead of {count:,}"
        for fact, count in expected.items()
        if count not in (None, found[fact])
    ]
    if wrong and card.verified:
        raise DataError(
            f"{card.name} was prepared with {', '.join(wrong)}. Correct its preparation, or its entry in "
            f"data/{_registry(card)}.yml."
        )
    if wrong:
        # What stands in an unverified card is what others report: a reader must know, not be stopped.
        warnings.warn(
            f"{card.name} (not verified) has {', '.join(wrong)} reported by its authors.", stacklevel=2
        )
    return adata


def _facts_of_card(card: DatasetCard) -> dict[str, int | None]:
    """What a card says of the prepared data set in numbers, None for what it does not say."""
    return {
        fact: getattr(card, fact)
        for fact in ("cells", "genes", "labels", "batches", "counts_sum", "nonzeros")
    }


def _facts(adata: AnnData) -> dict[str, int]:
    """The same numbers, counted."""
    return {
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "labels": adata.obs["cell_type"].nunique() if "cell_type" in adata.obs else 0,
        "batches": adata.obs["batch"].nunique(),
        "counts_sum": int(adata.X.sum(dtype=np.float64)),
        "nonzeros": adata.X.nnz,
    }


def _without_cells_of(card: DatasetCard, adata: AnnData) -> AnnData:
    """The cells that none of the data sets has that the card excludes, with a note how many are left out."""
    notes = list(adata.uns.get("dataset", {}).get("notes", []))
    for name in card.without_cells_of:
        other = catalog.loadable(name)
        shared = fingerprints.identical_cells(adata, _prepared(other, "reuse"))
        adata = adata[~shared].copy()
        notes.append(
            f"{shared.sum():,} cells are left out because {other.title} has them, too: cells with the same "
            "counts over all genes that both have."
        )
    for key in adata.obs.columns[adata.obs.dtypes == "category"]:
        adata.obs[key] = adata.obs[key].cat.remove_unused_categories()
    if notes:
        adata.uns["dataset"] = {"notes": notes}
    return adata


def _own(
    path: Path,
    label_key: str | None,
    batch_key: str | None,
    counts: str | None,
    require_labels: bool,
    as_given: bool,
    missing_labels: MissingLabels,
    library_size: str | None,
) -> AnnData:
    """A user's file under the contract, with notes in ``uns["dataset"]`` if there are any."""
    raw = h5ad.read_h5ad_parts(path, counts or ("X" if as_given else None))
    if not require_labels and label_key is None and "cell_type" not in raw.obs:
        key = None
    else:
        key = label_key or "cell_type"
    notes = list(raw.uns["notes"])
    if genes := remarks.genes_among(raw.obs_names):
        raise DataError(
            f"{path.name}: obs names genes ({', '.join(genes)}, …), so the matrix is genes x cells. Cells x "
            "genes are expected: write it transposed, adata.T.write_h5ad(new_path)."
        )
    if library_size is not None and (as_given or library_size not in raw.obs):
        why = (
            "values are taken as they are"
            if as_given
            else f"obs has {', '.join(map(str, raw.obs)) or 'none'}"
        )
        raise DataError(
            f"{path.name}: obs[{library_size!r}] cannot be the library size: {why}. Name a column with the "
            "counts of each cell over all genes, or leave out library_size=… (command line: "
            "--library-size-key)."
        )
    if library_size is None and not as_given and _is_ours(raw):
        library_size = "library_size"
        notes.append("The library size is obs['library_size'], as zeroshot wrote it to this file.")
    adata = validate.contract(
        raw,
        name=path.name,
        label_key=key,
        batch_key=batch_key,
        other_counts=lambda: h5ad.places_with_integers(path),
        as_given=as_given,
        require_labels=require_labels or label_key is not None,
        missing_labels=missing_labels,
        library_size=library_size,
    )
    notes += adata.uns.get("dataset", {}).get("notes", [])
    notes += remarks.of_places(raw.X) + remarks.of_zeros(raw.X) + remarks.of_limits(raw.X)
    if not as_given:
        notes += remarks.of_counts(adata.X)
    if not as_given and library_size is None:
        notes += remarks.of_depth(adata.obs)
    if batch_key is not None and "cell_type" in adata.obs:
        notes += remarks.of_design(adata.obs["cell_type"].array, adata.obs["batch"].array)
    adata.uns["dataset"] = {"notes": notes}
    return adata


def _is_ours(raw: AnnData) -> bool:
    """True for the unchanged content of a data set that ``load`` returned and that was written to a file."""
    recorded = raw.uns["content_hash"]
    if recorded is None or "library_size" not in raw.obs:
        return False
    keys = {
        key: name if name in raw.obs else None
        for key, name in (("label_key", "cell_type"), ("batch_key", "batch"))
    }
    try:
        content = validate.contract(raw, name="", library_size="library_size", **keys)
    except DataError:
        return False
    return validate.content_hash(content) == recorded


def _subset(adata: AnnData, size: int, seed: int) -> AnnData:
    """A draw of ``size`` cells in proportion to the labels, in the order of the original rows."""
    if size >= adata.n_obs:
        return adata
    labels = adata.obs["cell_type"] if "cell_type" in adata.obs else pd.Series("", index=adata.obs_names)
    needed = int(labels.value_counts().clip(upper=CELLS_PER_LABEL).sum())
    if size < needed:
        raise DataError(
            f"a subset of {size} cells is too small: {labels.nunique()} labels with up to "
            f"{CELLS_PER_LABEL} cells each need {needed}."
        )
    kept = draws.draw_in_proportion(labels, size, seed, least=CELLS_PER_LABEL)
    part = adata[kept].copy()
    for key in part.obs.columns[part.obs.dtypes == "category"]:
        part.obs[key] = part.obs[key].cat.remove_unused_categories()
    return part
