"""Labels of a query's cells from a reference with labels, by an embedding of both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog, data, embedding, store
from zeroshot.data.fingerprints import MIN_DETECTED_GENES, identical_cells
from zeroshot.metrics.label_transfer import N_NEIGHBORS, transfer_labels
from zeroshot.tokens import genes as gene_names

from .embeddings import embed, notes_of, sound_matrix

# Above this novelty are 5 % of cells that are like the reference.
NOVEL = 0.95
# Of the query's cells: if more are novel, it lies apart as a whole.
_APART = 0.5
# Of a cell's counts: a matrix with so many in the genes of both, and the other so many times fewer, lacks
# genes. Between tissues, each with all genes, it is 1.4 times at most.
_MOST_COUNTS = 0.8
_LEAST_FOLD = 1.5


class AnnotationError(ValueError):
    """Cells that cannot be annotated with this reference or this model; says what to do."""


@dataclass(frozen=True)
class Annotation:
    """The cells of a query with labels of a reference.

    Attributes
    ----------
    table
        Row per cell of the query, by its name, in their order: ``label``, ``confidence`` and ``novelty`` as
        in :class:`zeroshot.metrics.label_transfer.Transfer`.
    embedded
        Stored embedding of the reference's cells, followed by those of the query.
    genes
        ``shared`` by query and reference, ``reference`` and ``query``: how many each has; and
        ``counts_of_reference`` and ``counts_of_query``: the share of their counts in the shared genes.
    notes
        What is to know of it.
    """

    table: pd.DataFrame
    embedded: store.Artifact
    genes: dict[str, int | float]
    notes: tuple[str, ...]


def annotate(
    query: AnnData,
    reference: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    n_neighbors: int = N_NEIGHBORS,
    seed: int = 0,
    precision: embedding.Precision = "float32",
    weights: Path | None = None,
    settings: embedding.Settings | None = None,
    policy: store.Policy = "reuse",
) -> Annotation:
    """Label each cell of a query by its nearest cells of a reference.

    Both are embedded together, over the genes that both have. So models that choose genes choose the same
    for both, and a model that is fitted to the cells it embeds (its card says ``trained_on_target``) is
    fitted to query and reference together, without the labels; one that uses batches keeps those of the two
    apart.

    Parameters
    ----------
    query, reference
        As :func:`zeroshot.data.load` returns them; the reference with ``cell_type``.
    model, recipe, seed, precision, weights, settings, policy
        As for :func:`zeroshot.pipeline.embed`.
    n_neighbors
        Nearest reference cells that vote.

    Raises
    ------
    AnnotationError
        If the model is made from labels, or the reference has no more cells than ``n_neighbors``.
    zeroshot.tokens.genes.GeneOverlapError
        If fewer than half of the genes of the smaller data set are in the other.
    zeroshot.embedding.integrity.IntegrityError
        If the embedding is broken.
    """
    card = catalog.model(model)
    if "label" in card.uses:
        raise AnnotationError(f"{model} is made from the labels that are to be found: choose another model")
    if not 1 <= n_neighbors < reference.n_obs:
        raise AnnotationError(
            f"the reference has {reference.n_obs:,} cells with a label, which do not fit {n_neighbors} "
            f"neighbours: give --neighbors 1 to {reference.n_obs - 1:,}, or a larger reference"
        )
    cells = join(reference, query)
    options = {"seed": seed, "precision": precision, "weights": weights, "settings": settings}
    embedded = embed(cells, model, recipe, **options, policy=policy)
    matrix = sound_matrix(embedded, cells.n_obs)
    of_reference, of_query = np.split(matrix, [reference.n_obs])
    transfer = transfer_labels(
        of_reference, reference.obs["cell_type"].astype(str).to_numpy(), of_query, n_neighbors
    )
    table = pd.DataFrame(
        {
            "label": pd.Categorical(transfer.labels, list(reference.obs["cell_type"].cat.categories)),
            "confidence": transfer.confidence,
            "novelty": transfer.novelty,
        },
        index=query.obs_names,
    )
    notes = [*_notes(card, cells, query, reference, table), *notes_of(embedded, cells)]
    shared = {"shared": cells.n_vars, "reference": reference.n_vars, "query": query.n_vars}
    halves = cells.X[: reference.n_obs], cells.X[reference.n_obs :]
    for name, part, half in zip(("reference", "query"), (reference, query), halves, strict=True):
        shared[f"counts_of_{name}"] = float(half.sum(dtype=np.float64) / part.X.sum(dtype=np.float64))
    return Annotation(table, embedded, shared, tuple(notes))


def join(reference: AnnData, query: AnnData) -> AnnData:
    """The cells of a reference, followed by those of a query, over the genes that both have.

    A gene of the query is the one of the reference with the same name, else with the same Ensembl id, else
    with the same approved symbol. Counts of several genes of the query that are one of the reference's are
    added up. Library sizes stay those over all genes of each; batches of the two are kept apart.

    Returns
    -------
    AnnData
        Names and ids of genes are those of the reference. ``obs`` has ``batch`` and ``library_size``.

    Raises
    ------
    zeroshot.tokens.genes.GeneOverlapError
        If fewer than half of the genes of the smaller data set are in the other.
    """
    targets = _targets(reference, query)
    shared = np.unique(targets[targets >= 0])
    fewest = min(reference.n_vars, query.n_vars)
    if len(shared) < gene_names.LEAST_OVERLAP * fewest:
        raise gene_names.GeneOverlapError(
            f"query and reference have {len(shared):,} genes in common, of {query.n_vars:,} and "
            f"{reference.n_vars:,}; at least {gene_names.LEAST_OVERLAP:.0%} of the smaller number are "
            f"needed. The query names them like {', '.join(query.var_names[:3])}, the reference like "
            f"{', '.join(reference.var_names[:3])}. Name the genes of both by symbol or Ensembl id, of the "
            "same species, and keep all genes, not only variable ones"
        )
    counts = sparse.vstack(
        [reference.X, gene_names.over_vocabulary(query.X, targets, reference.n_vars)], format="csr"
    )[:, shared].astype(np.float32)
    counts.sort_indices()
    parts = {"reference": reference, "query": query}
    obs = pd.concat(
        [
            pd.DataFrame(
                {
                    "batch": [f"{name}: {batch}" for batch in part.obs["batch"]],
                    "library_size": part.obs["library_size"].to_numpy(np.float64),
                },
                index=[f"{name}: {cell}" for cell in part.obs_names],
            )
            for name, part in parts.items()
        ]
    )
    obs["batch"] = obs["batch"].astype("category")
    cells = AnnData(counts, obs, reference.var.iloc[shared].copy())
    titles = [part.uns["dataset"]["title"] for part in (query, reference)]
    about = {"name": " with ".join(titles), "title": " with ".join(titles), "source": "joined", "notes": []}
    cells.uns["dataset"] = about | {"content_hash": data.content_hash(cells)}
    return cells


def _targets(reference: AnnData, query: AnnData) -> np.ndarray:
    """(genes of the query,) number of the gene in the reference, -1 where it has none."""
    targets = gene_names.align_symbols(query.var_names, _numbers(reference.var_names)).targets
    for names_of in (_ids, _symbols):
        numbers = _numbers(names_of(reference))
        by_name = gene_names.align_symbols(names_of(query), numbers).targets
        targets = np.where(targets >= 0, targets, by_name)
    return targets


def _numbers(names: np.ndarray) -> dict[str, int]:
    """Number of each name that there is; the first of equal ones."""
    return {name: number for number, name in reversed(list(enumerate(names))) if name}


def _ids(cells: AnnData) -> np.ndarray:
    ids = cells.var["ensembl_id"] if "ensembl_id" in cells.var else [""] * cells.n_vars
    return np.array(
        [
            gene_names.ensembl_id(own) or gene_names.ensembl_id(name)
            for own, name in zip(ids, cells.var_names, strict=True)
        ],
        dtype=object,
    )


def _symbols(cells: AnnData) -> np.ndarray:
    return catalog.approved_symbols([gene_names.ensembl_id(name) or name for name in cells.var_names])


def _notes(
    card: catalog.ModelCard, cells: AnnData, query: AnnData, reference: AnnData, table: pd.DataFrame
) -> list[str]:
    notes = []
    if card.trained_on_target:
        notes.append(f"{card.title} was fitted to the {cells.n_obs:,} cells of query and reference together")
    notes += _notes_on_depth(cells, reference.n_obs)
    # Over the shared genes, so that other genes of one of the two do not hide a copy.
    if cells.n_vars >= MIN_DETECTED_GENES:
        halves = cells[reference.n_obs :], cells[: reference.n_obs]
        if copies := int(identical_cells(*halves).sum()):
            notes.append(
                f"{copies:,} of {query.n_obs:,} cells of the query have the counts of a cell of the "
                "reference: their labels are copied, not predicted"
            )
    novel = (table["novelty"] > NOVEL).mean()
    if novel > _APART:
        notes.append(
            f"{novel:.0%} of the query has a novelty above {NOVEL}: it lies apart from the reference as a "
            "whole, as after another technology or from another tissue. Compare cells of the query with one "
            "another, and do not read each as a type that the reference lacks"
        )
    return notes


def _notes_on_depth(cells: AnnData, n_reference: int) -> list[str]:
    """A sentence where the matrix of one of the two, and so its library size, seems to lack genes."""
    shares = np.asarray(cells.X.sum(axis=1, dtype=np.float64)).ravel() / cells.obs["library_size"].to_numpy()
    of_reference, of_query = (float(np.median(part)) for part in np.split(shares, [n_reference]))
    names, option = ("reference", "query"), "--reference-library-size-key"
    if of_query > of_reference:
        names, option = names[::-1], "--library-size-key"
    lowest, highest = sorted([of_reference, of_query])
    if highest < _MOST_COUNTS or highest < _LEAST_FOLD * lowest:
        return []
    return [
        f"The genes that both have hold {highest:.0%} of the counts of a cell of the {names[0]} and "
        f"{lowest:.0%} of one of the {names[1]} (medians): values normalised by the library size are higher "
        f"in the {names[0]}. If its matrix lacks genes, name the column of obs with the counts over all "
        f"genes with library_size=… (command line: {option})"
    ]
