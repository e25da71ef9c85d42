"""What gene vectors say of the terms of the Gene Ontology, and what others measured of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import stats

from zeroshot import catalog, models, pipeline, store
from zeroshot.models import Cells
from zeroshot.store import dependencies

from . import evidence

PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy")

MEASURES = {"pairs": "genes of a term are alike", "prediction": "a term is predicted"}
# What vectors of models are compared with: two made of the same cells, and random numbers.
BASELINES = {"hvg": "expression profiles", "pca": "PCA loadings", "random": "random numbers"}
MOST_GENES, MOST_TERMS = 5000, 300  # drawn where there are more: intervals are over terms
LEAST_GENES = 10  # of a term among the compared genes
_LARGEST_SHARE = 0.25  # of the compared genes that a term may have
_MOST_MEMBERS, _MOST_OTHERS = 50, 500  # of a term, for its pairs
_FOLDS = 5
_PENALTIES = np.logspace(0, 5, 11)
_DRAWS = 1000  # of the bootstrap
SOURCE = "gene_embedding"
TASKS = {
    "gene_function_GO": "GO terms",
    "gene_function_GO_post2024": "annotations of 2024 and later",
}


def vector_models(study: str) -> list[str]:
    """Baselines, and the models of a study that have gene vectors whose weights are here (name@recipe)."""
    from zeroshot.embedding.gene_vectors import without_vectors

    references = list(BASELINES)
    for reference in catalog.study(study).models:
        card, recipe = catalog.split_reference(reference)
        if card.name in BASELINES or without_vectors(card) or models.unavailable(card, recipe):
            continue
        references.append(reference)
    return references


def dataset_of(study: str) -> str:
    """The data set whose genes are compared: of the real ones of a study, that of most cell types."""
    cards = [catalog.dataset(name) for name in catalog.study(study).datasets]
    real = [card for card in cards if card.source != "simulate"] or cards
    return max(real, key=lambda card: card.labels or 0).name


def compare(
    adata: AnnData, references: list[str], *, seed: int = 0, policy: store.Policy = "reuse"
) -> pd.DataFrame:
    """Score gene vectors on terms of the Gene Ontology, all on the same genes; computed once and stored.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it: baselines are made of it, and its genes are compared.
    references
        Models that have gene vectors (``name`` or ``name@recipe``).
    seed
        Of what is drawn: genes and terms where there are many, folds, random numbers.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Returns
    -------
    pandas.DataFrame
        A row per vectors, measure and term: ``vectors`` (title; of models whose vectors are the same all
        titles), ``measure`` (a key of :data:`MEASURES`), ``term``, ``name``, ``ontology``, ``n_genes`` (of
        the term among the ``n_compared``), ``dim`` and ``value``: an AUROC, 0.5 by chance, higher is better.
        Of "pairs": two genes of the term against one of it and one that is not, by cosine. Of "prediction":
        genes of the term against others, by ridge regression on genes of other folds.

    Raises
    ------
    ValueError
        If the vectors have no genes in common, or no term has enough of them.
    """
    cards = {reference: catalog.split_reference(reference) for reference in references}
    modules = {
        "zeroshot.results.gene_sets",
        *(m for c, _ in cards.values() for m in pipeline.modules_of_model(c)),
    }
    inputs = {
        "data": adata.uns["dataset"]["content_hash"],
        "models": {
            reference: {
                "parameters": dict(card.recipes[recipe].parameters),
                "weights": dict(checkpoint.hashes) if checkpoint else {},
            }
            for reference, (card, recipe) in cards.items()
            for checkpoint in [models.find_checkpoint(card, recipe, None)]
        },
        "tables": {name: table.sha256 for name, table in catalog.gene_tables().items()},
        "seed": seed,
        **dependencies.computation(modules),
    }

    def compute() -> dict[str, pd.DataFrame]:
        return {"scores": score(vectors_by_title(adata, references, seed=seed), seed=seed)}

    return store.load_or_compute("gene-sets", inputs, compute, policy).load("scores")


def vectors_by_title(adata: AnnData, references: list[str], *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Vectors of each model by approved symbol (genes, dim), under its title; the same vectors once."""
    from zeroshot.embedding.gene_vectors import gene_vectors

    cells = Cells.of(adata, with_batches=False)
    tables: dict[str, pd.DataFrame] = {}
    for reference in references:
        card, recipe = catalog.split_reference(reference)
        title = BASELINES.get(reference, card.method(recipe))
        table = gene_vectors(card.name, recipe, cells=cells, seed=seed).by_symbol()
        same = next((other for other, known in tables.items() if known.equals(table)), None)
        if same is not None:
            tables = {f"{same}, {title}" if other == same else other: t for other, t in tables.items()}
        else:
            tables[title] = table
    return tables


def score(vectors: Mapping[str, pd.DataFrame], *, seed: int = 0) -> pd.DataFrame:
    """Score vectors by symbol (genes, dim) on the genes that all of them have, see :func:`compare`."""
    rng = np.random.default_rng(seed)
    first, *others = vectors.values()
    genes = [gene for gene in first.index if all(gene in table.index for table in others)]
    if len(genes) > MOST_GENES:
        genes = [genes[row] for row in np.sort(rng.choice(len(genes), MOST_GENES, replace=False))]
    terms = _terms(genes, rng)
    if not terms["members"]:
        raise ValueError(
            f"no term of the Gene Ontology has {LEAST_GENES} genes among the {len(genes):,} that all vectors "
            "have: choose a data set with more genes, or other models"
        )
    members = np.zeros((len(genes), len(terms["members"])), bool)
    for place, rows in enumerate(terms["members"]):
        members[rows, place] = True
    folds = rng.permutation(len(genes)) % _FOLDS
    about = pd.DataFrame({name: terms[name] for name in ("term", "name", "ontology")})
    about = about.assign(n_genes=members.sum(axis=0), n_compared=len(genes))
    parts = []
    for title, table in vectors.items():
        values = table.loc[genes].to_numpy(np.float64)
        of_measures = {
            "pairs": _pairs(values, members, seed),
            "prediction": _prediction(values, members, folds),
        }
        for measure, scores in of_measures.items():
            parts.append(about.assign(vectors=title, measure=measure, dim=values.shape[1], value=scores))
    columns = ["vectors", "measure", "term", "name", "ontology", "n_genes", "n_compared", "dim", "value"]
    return pd.concat(parts, ignore_index=True)[columns]


def _terms(genes: list[str], rng: np.random.Generator) -> dict[str, list[Any]]:
    """Terms with enough of the genes and not too many, and the rows of their genes."""
    columns = catalog.read_gene_table("gene-ontology")
    places = {gene: row for row, gene in enumerate(genes)}
    terms: dict[str, list[Any]] = {name: [] for name in ("term", "name", "ontology", "members")}
    for place, listed in enumerate(columns["genes"]):
        rows = [places[gene] for gene in listed.split() if gene in places]
        if LEAST_GENES <= len(rows) <= _LARGEST_SHARE * len(genes):
            for name in ("term", "name", "ontology"):
                terms[name].append(columns[name][place])
            terms["members"].append(rows)
    if len(terms["term"]) > MOST_TERMS:
        chosen = np.sort(rng.choice(len(terms["term"]), MOST_TERMS, replace=False))
        terms = {name: [values[place] for place in chosen] for name, values in terms.items()}
    return terms


def _pairs(values: np.ndarray, members: np.ndarray, seed: int) -> np.ndarray:
    """(terms,) AUROC of the cosine of pairs within a term against pairs of a gene of it and another."""
    rng = np.random.default_rng(seed)  # the same genes for all vectors
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(float).tiny)
    scores = []
    for of_term in members.T:
        inside, outside = np.flatnonzero(of_term), np.flatnonzero(~of_term)
        inside = rng.permutation(inside)[:_MOST_MEMBERS]
        outside = rng.permutation(outside)[:_MOST_OTHERS]
        within = (unit[inside] @ unit[inside].T)[np.triu_indices(len(inside), 1)]
        across = (unit[inside] @ unit[outside].T).ravel()
        scores.append(_auroc(within, across))
    return np.array(scores)


def _prediction(values: np.ndarray, members: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(terms,) AUROC of what ridge regression predicts of genes of a fold from those of the others."""
    from sklearn.linear_model import RidgeCV
    from threadpoolctl import threadpool_limits

    predicted = np.empty(members.shape)
    with threadpool_limits(1):  # other threads, other rounding
        for fold in range(_FOLDS):
            train, test = folds != fold, folds == fold
            mean, spread = values[train].mean(axis=0), values[train].std(axis=0)
            scaled = (values - mean) / np.maximum(spread, np.finfo(float).tiny)
            model = RidgeCV(_PENALTIES).fit(scaled[train], members[train].astype(float))
            # Terms are of other sizes in other folds: what is compared are genes of the same fold.
            predicted[test] = stats.rankdata(model.predict(scaled[test]), axis=0) / test.sum()
    return np.array([_auroc(p[m], p[~m]) for p, m in zip(predicted.T, members.T, strict=True)])


def _auroc(higher: np.ndarray, lower: np.ndarray) -> float:
    """How often one value is above another of a second group, ties counting half."""
    ranks = stats.rankdata(np.concatenate([higher, lower]))[: len(higher)]
    return float((ranks.sum() - len(higher) * (len(higher) + 1) / 2) / (len(higher) * len(lower)))


def summarise(scores: pd.DataFrame, by: str = "vectors", seed: int = 0) -> pd.DataFrame:
    """Mean over terms with its 95 % interval, by bootstrap over terms.

    Parameters
    ----------
    scores
        As :func:`compare` returns them, or :func:`published` rows.
    by
        Column of what is summarised, for each ``measure``.
    seed
        Of the bootstrap; the same terms are drawn for all of a measure.

    Returns
    -------
    pandas.DataFrame
        Columns ``by``, measure, mean, low, high and n_terms, best mean of the first measure first.
    """
    rows = []
    for measure, part in scores.groupby("measure", sort=False):
        wide = part.pivot(index="term", columns=by, values="value")
        draws = np.random.default_rng(seed).integers(0, len(wide), (_DRAWS, len(wide)))
        for name, values in wide.items():
            low, high = np.quantile(values.to_numpy()[draws].mean(axis=1), [0.025, 0.975])
            rows.append((name, measure, values.mean(), low, high, len(wide)))
    table = pd.DataFrame(rows, columns=[by, "measure", "mean", "low", "high", "n_terms"])
    first = table[table["measure"] == table["measure"].iloc[0]].set_index(by)["mean"]
    order = table[by].map(first)
    return (
        table.assign(order=-order)
        .sort_values(["order", "measure"], kind="stable", ignore_index=True)
        .drop(columns="order")
    )


def difference(scores: pd.DataFrame, measure: str, first: str, second: str, seed: int = 0) -> pd.Series:
    """Mean ``difference`` of two vectors over terms, and its 95 % interval, ``low`` and ``high``."""
    wide = scores[scores["measure"] == measure].pivot(index="term", columns="vectors", values="value")
    apart = (wide[first] - wide[second]).to_numpy()
    draws = np.random.default_rng(seed).integers(0, len(apart), (_DRAWS, len(apart)))
    low, high = np.quantile(apart[draws].mean(axis=1), [0.025, 0.975])
    return pd.Series({"difference": apart.mean(), "low": low, "high": high})


def published() -> pd.DataFrame:
    """AUROC of terms that a published benchmark of gene embeddings measured.

    Returns
    -------
    pandas.DataFrame
        Columns ``vectors`` (as the source calls them), ``method`` (title), ``made_of`` (what the vectors are
        made of), ``measure`` (a key of :data:`TASKS`), ``term`` and ``value``.
    """
    rows = evidence.load(SOURCE)
    rows = rows[rows["task"].isin(list(TASKS)) & ~rows["fault"]]
    made_of = rows["note"].str.removeprefix("category: ")
    return pd.DataFrame(
        {
            "vectors": rows["model"],
            "method": rows["method"].map(evidence.title),
            "made_of": made_of,
            "measure": rows["task"],
            "term": rows["dataset"],
            "value": rows["value"],
        }
    ).reset_index(drop=True)
