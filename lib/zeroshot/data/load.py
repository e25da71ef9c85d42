"""``load``: any data set of the registry, or a user's own .h5ad, under one contract."""

import difflib
import hashlib
import inspect
import warnings
from pathlib import Path

import pandas as pd
from anndata import AnnData

from zeroshot import catalog, sampling, store
from zeroshot.catalog import DatasetCard
from zeroshot.data import download, prepare, simulate, validate
from zeroshot.data.validate import DataError

# Cells of each label that a subset keeps (where there are as many): silhouettes need a neighbour.
CELLS_PER_LABEL = 2


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
) -> AnnData:
    """Raw counts with labels and batches, checked.

    Parameters
    ----------
    name_or_path
        A name of ``data/datasets.yml``, or the path of an .h5ad file, which is never changed.
    label_key, batch_key
        Columns of ``obs`` of a user's file; by default "cell_type", and a single batch.
    counts
        Where a user's file holds raw counts: "X", "layers/<name>", the name of a layer, or "raw". By
        default ``layers/counts`` if there is one, else ``X``.
    subset
        Keep this many cells, drawn within each label in proportion; two of each label stay where
        it has two. Rows keep their order.
    seed
        Of that draw.
    policy
        What to do with a prepared data set of the store: "reuse", "recompute" or "only-stored".
    require_labels
        False accepts a user's file without a label column: embedding needs none.
    as_given
        True accepts any non-negative values of a user's file, ``X`` unless ``counts`` names another
        matrix, and passes them unchanged: for the recipes that take what they are given.

    Returns
    -------
    AnnData
        ``X`` raw counts (cells, genes), CSR float32; ``obs["cell_type"]``, ``obs["batch"]``
        categorical; ``obs["library_size"]`` counts per cell over all genes of the source, float64;
        ``var["ensembl_id"]`` where known; ``uns["dataset"]`` with name, title, source, notes and
        the hash of the content.

    Raises
    ------
    DataError
        If the data break the contract; says what was wrong, what was expected, what to do.
    """
    name = str(name_or_path)
    cards = catalog.datasets()
    if name in cards:
        given = [
            key
            for key, value in {"label_key": label_key, "batch_key": batch_key, "counts": counts}.items()
            if value
        ]
        if given:
            raise DataError(
                f"{', '.join(given)} cannot be given for {name!r}: data/datasets.yml defines its columns. "
                "They are for your own .h5ad files."
            )
        adata = _prepared(cards[name], policy)
        about = {"name": name, "title": cards[name].title, "source": cards[name].source}
        notes = list(cards[name].notes)
    else:
        path = Path(name_or_path).expanduser()
        if path.suffix != ".h5ad":
            near = difflib.get_close_matches(name, cards, n=3, cutoff=0.5)
            raise DataError(
                f"{name!r} is neither a data set nor an .h5ad file. "
                + (f"Did you mean {' or '.join(near)}?" if near else f"Data sets: {', '.join(cards)}.")
            )
        adata = _own(path, label_key, batch_key, counts, require_labels, as_given)
        about, notes = {"name": path.stem, "title": path.stem, "source": str(path.resolve())}, []
    if subset is not None:
        adata = _subset(adata, subset, seed)
    adata.uns["dataset"] = about | {"notes": notes, "content_hash": validate.content_hash(adata)}
    return adata


def _prepared(card: DatasetCard, policy: store.Policy) -> AnnData:
    """The data set from the store, prepared first if the card or the code that prepares it changed."""
    decides = {"source", "files", "label_key", "batch_key", "counts", "prepare", "parameters"}
    facts = {"cells", "genes", "labels", "batches"}
    inputs = {
        "name": card.name,
        "card": card.model_dump(mode="json", include=decides | facts),
        "code": {module.__name__: _source_hash(module) for module in (prepare, simulate, validate)},
    }
    return store.load_or_compute("data", inputs, lambda: {"data": _prepare(card)}, policy).load("data")


def _source_hash(module: object) -> str:
    return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()[:20]


def _prepare(card: DatasetCard) -> AnnData:
    """Run the preparation of a card, hold the result to the contract and to the facts in the card."""
    columns = {"label_key": "cell_type", "batch_key": "batch"}
    if card.source == "simulate":
        raw = getattr(simulate, card.prepare)(**card.parameters)
    elif card.source == "builtin":
        raw = getattr(prepare, card.prepare)()
    elif card.prepare:
        raw = getattr(prepare, card.prepare)(download.fetch(card))
    else:  # a single .h5ad whose columns the card names
        (path,) = download.fetch(card).values()
        raw = validate.read_h5ad_parts(path, card.counts)
        columns = {"label_key": card.label_key, "batch_key": card.batch_key}
    adata = validate.contract(raw, name=card.name, **columns)
    expected = {"cells": card.cells, "genes": card.genes, "labels": card.labels, "batches": card.batches}
    found = {
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "labels": adata.obs["cell_type"].nunique(),
        "batches": adata.obs["batch"].nunique(),
    }
    wrong = [
        f"{found[fact]:,} {fact} instead of {count:,}"
        for fact, count in expected.items()
        if count not in (None, found[fact])
    ]
    if wrong and card.verified:
        raise DataError(
            f"{card.name} was prepared with {', '.join(wrong)}. Correct its preparation, or its entry in "
            "data/datasets.yml."
        )
    if wrong:
        # What stands in an unverified card is what others report: a reader must know, not be stopped.
        warnings.warn(
            f"{card.name} (not verified) has {', '.join(wrong)} reported by its authors.", stacklevel=2
        )
    return adata


def _own(
    path: Path,
    label_key: str | None,
    batch_key: str | None,
    counts: str | None,
    require_labels: bool,
    as_given: bool,
) -> AnnData:
    """A user's file under the contract."""
    raw = validate.read_h5ad_parts(path, counts or ("X" if as_given else None))
    label_key = label_key or "cell_type"
    if not require_labels and label_key not in raw.obs:
        label_key = None
    return validate.contract(
        raw,
        name=path.name,
        label_key=label_key,
        batch_key=batch_key,
        other_counts=lambda: validate.places_with_integers(path),
        as_given=as_given,
    )


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
    kept = sampling.draw_in_proportion(labels, size, seed, least=CELLS_PER_LABEL)
    part = adata[kept].copy()
    for key in part.obs.columns[part.obs.dtypes == "category"]:
        part.obs[key] = part.obs[key].cat.remove_unused_categories()
    return part
