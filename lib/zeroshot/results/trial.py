"""Metrics on trial: what they say of embeddings of known quality, and of one that learnt the labels."""

import warnings
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, data, metrics, pipeline, store
from zeroshot.runtime import paths

from . import table_files
from .comparisons import differences
from .table_files import Table

PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy")

N_CELLS = 440  # simulated in four batches: scGraph needs 100 in one
N_TAUGHT = 600  # of each data set for the perceptron, half of them to train on
# Of the simulated cells: types in lineages, batches nested in sites, each as far apart as given, in units of
# the spread within a type.
LINEAGES, TYPES_OF_LINEAGE = 3, 3
SITES, BATCHES_OF_SITE = 2, 2
DIM = 15
LINEAGE_SPREAD, TYPE_SPREAD, WITHIN_SPREAD = 2.0, 1.2, 1.0
# How much of a disturbance is in an embedding, rung by rung: the first is the best, the last the worst.
RUNGS = (0.0, 0.5, 1.0, 2.0, 4.0)
LADDERS = {
    "batches": "each batch is moved in a direction of its own",
    "sites": "sites are moved apart, the batches of a site stay mixed",
    "noise": "noise is added to every cell",
}
# From which rank correlation, and which fall as a share of its range, a metric sees what a ladder takes away.
LEAST_CORRELATION, LEAST_CHANGE = 0.9, 0.05
# Not those that only choose another clustering: of twenty, their silhouettes take most of the time.
TRIED = tuple(name for name in metrics.METRICS if not name.endswith(("_label_free", "_leiden")))
LABELS_ALONE = "labels alone"
# Neurons in the layers of the perceptron, the last of which is the embedding.
LAYERS = (64, 32, 16)
EPOCHS = 200
PERCEPTRON = "perceptron, cells it was trained on"
HELD_OUT = "perceptron, other cells"
PCA_HELD_OUT = "PCA, other cells"
# What the jobs of a trial write, one file for each simulation and for each data set.
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "ladders": Table(
            "scores of embeddings of known quality",
            ("ladder", "rung", "seed", "metric"),
            ("value",),
            digits=None,
            is_sorted=False,
        ),
        "perceptron": Table(
            "scores of a network that has learnt the labels",
            ("dataset", "variant", "metric"),
            ("value",),
            digits=None,
            is_sorted=False,
        ),
    }
)


def simulate(n_cells: int, seed: int) -> dict[str, np.ndarray]:
    """Cells of known type, batch and site in a latent space.

    Returns
    -------
    dict
        ``latent`` (cells, dim), what a perfect embedding would hold; ``labels`` and ``batches`` (cells,);
        ``batch_effect`` and ``site_effect`` (cells, dim), unit direction of each cell's batch and site times
        the spread within a type; ``noise`` (cells, dim).
    """
    rng = np.random.default_rng(seed)
    n_types = LINEAGES * TYPES_OF_LINEAGE
    lineages = rng.normal(scale=LINEAGE_SPREAD, size=(LINEAGES, DIM)).repeat(TYPES_OF_LINEAGE, axis=0)
    centres = lineages + rng.normal(scale=TYPE_SPREAD, size=(n_types, DIM))
    batches = np.arange(n_cells) % (SITES * BATCHES_OF_SITE)
    # Types are not equally frequent, and not in every batch alike.
    shares = rng.dirichlet(np.full(n_types, 4.0), size=SITES * BATCHES_OF_SITE)
    labels = np.array([rng.choice(n_types, p=shares[batch]) for batch in batches])
    directions = rng.normal(size=(SITES * BATCHES_OF_SITE, DIM))
    of_sites = rng.normal(size=(SITES, DIM))
    return {
        "latent": centres[labels] + rng.normal(scale=WITHIN_SPREAD, size=(n_cells, DIM)),
        "labels": labels,
        "batches": batches,
        "batch_effect": directions[batches],
        "site_effect": of_sites[batches // BATCHES_OF_SITE],
        "noise": rng.normal(size=(n_cells, DIM)),
    }


def ladder(cells: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Five (cells, dim) embeddings of falling quality by construction, see :data:`LADDERS`."""
    disturbance = cells[{"batches": "batch_effect", "sites": "site_effect", "noise": "noise"}[name]]
    return [cells["latent"] + share * disturbance for share in RUNGS]


def parts(study: catalog.StudyCard) -> dict[str, list[str]]:
    """The files of each table of a study: a seed of the simulation, or a data set of several batches."""
    several = [name for name in study.datasets if catalog.dataset(name).batches != 1]
    return {"ladders": [str(seed) for seed in range(max(study.seeds, 2))], "perceptron": several}


def compute(parameters: Mapping[str, Any], output: Path, policy: store.Policy = "reuse") -> None:
    """Compute one part of a trial and write its rows.

    Parameters
    ----------
    parameters
        ``table``, a name in :data:`TABLES`; ``seed``; for the perceptron ``dataset``.
    output
        File to write.
    policy
        Of no effect: a part is scored as a whole and its scores are not in the store.
    """
    seed = parameters["seed"]
    if parameters["table"] == "ladders":
        rows = climb(N_CELLS, seed)
    else:
        rows = teach(data.load(parameters["dataset"], subset=N_TAUGHT, seed=seed), seed)
    store.write_text(output, TABLES[parameters["table"]].to_csv(rows))


def load(study: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What :func:`climb` gave for the seeds of a study, and :func:`teach` for its data sets.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    zeroshot.results.table_files.TableFileError
        If a file is damaged.
    """
    command = f"`zeroshot run {study}`"
    tables = []
    for name, files in parts(catalog.study(study)).items():
        directory = paths.study(study) / "trial" / name
        if not all((directory / f"{part}.csv").is_file() for part in files):
            raise FileNotFoundError(f"{directory} does not hold all tables. Run the study first: {command}.")
        remedy = f"Delete the file and run the study again: {command}."
        rows = [table_files.read(directory / f"{part}.csv", TABLES[name], remedy) for part in files]
        tables.append(pd.concat(rows, ignore_index=True).drop(columns=table_files.LINE))
    ladder_scores, perceptron_scores = tables
    return ladder_scores, perceptron_scores


def climb(n_cells: int, seed: int) -> pd.DataFrame:
    """Score the rungs of every ladder, and the labels alone, on simulated cells.

    Returns
    -------
    pandas.DataFrame
        Columns ladder, rung (from 0, the best), seed, metric and value; the ladder of the label oracle is
        :data:`LABELS_ALONE`.
    """
    cells = simulate(n_cells, seed)
    # Before integration: everything that can disturb is there.
    before = cells["latent"] + cells["batch_effect"] + cells["site_effect"]
    options = {name: cells[name] for name in ("labels", "batches")}
    options |= {"baseline": before, "seed": seed, "names": TRIED}
    first_rung = metrics.score(cells["latent"], **options)  # the same of every ladder
    tables = []
    for name in LADDERS:
        tables.append(first_rung.assign(ladder=name, rung=0))
        for rung, embedding in enumerate(ladder(cells, name)[1:], 1):
            tables.append(metrics.score(embedding, **options).assign(ladder=name, rung=rung))
    oracle = metrics.score(metrics.label_oracle(cells["labels"], seed), **options)
    tables.append(oracle.assign(ladder=LABELS_ALONE, rung=0))
    return pd.concat(tables, ignore_index=True).assign(seed=seed)[TABLES["ladders"].all_columns]


def orders(ladder_scores: pd.DataFrame) -> pd.DataFrame:
    """How well each metric orders the rungs of each ladder, and by how much it moves.

    Returns
    -------
    pandas.DataFrame
        Columns ladder, metric, seeds, correlation (mean over seeds of Spearman's rank correlation with the
        order by construction: 1 is the right order, -1 the reverse, 0 also where the metric does not move),
        low and high (95 % interval over seeds, NaN for one) and change (mean fall from the first rung to the
        last, as a share of the metric's range).
    """
    from scipy.stats import sem, t

    rows = []
    rungs = ladder_scores[ladder_scores["ladder"] != LABELS_ALONE].dropna(subset="value")
    for (name, metric), part in rungs.groupby(["ladder", "metric"], sort=False):
        card = metrics.METRICS[metric]
        # (seeds, rungs) from 0, the worst value of the metric, to 1, the best.
        values = part.pivot(index="seed", columns="rung", values="value").dropna().to_numpy()
        goodness = ((values - card.worst) / (card.best - card.worst)).round(6)
        if len(goodness) == 0:
            continue
        correlations = [_rank_correlation(row) for row in goodness]
        mean, half = np.mean(correlations), np.nan
        if len(correlations) > 1:
            half = sem(correlations) * t.ppf(0.975, len(correlations) - 1)
        ends = max(mean - half, -1.0), min(mean + half, 1.0)
        rows.append((name, metric, len(goodness), mean, *ends, (goodness[:, 0] - goodness[:, -1]).mean()))
    columns = ["ladder", "metric", "seeds", "correlation", "low", "high", "change"]
    return pd.DataFrame(rows, columns=columns)


def _rank_correlation(goodness: np.ndarray) -> float:
    """Spearman's correlation of values with their order, the highest first; 0 if they are all the same."""
    from scipy.stats import spearmanr

    if (goodness == goodness[0]).all():
        return 0.0
    return float(spearmanr(-np.arange(len(goodness)), goodness).statistic)


def perceptron(values: np.ndarray, labels: np.ndarray, train: np.ndarray, seed: int) -> np.ndarray:
    """Last hidden layer of a small network trained to name the cell types, (cells, 16) float32.

    Parameters
    ----------
    values
        (cells, dim) what the network reads.
    labels
        (cells,); only those of the cells to train on are used.
    train
        (cells,) boolean, the cells to train on.
    seed
        Of the weights and the order of the cells.

    Source
    ------
    The idea of Islander, Wang et al. 2025: a perceptron of three layers and a classifier, no model of cells.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    scale = values[train].std() or 1.0
    network = MLPClassifier(LAYERS, max_iter=EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after so many epochs it knows its cells
        network.fit(values[train] / scale, labels[train])
    hidden = values / scale
    for weights, bias in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        hidden = np.maximum(hidden @ weights + bias, 0)
    return hidden.astype(np.float32)


def teach(adata: AnnData, seed: int = 0) -> pd.DataFrame:
    """Scores of a perceptron that was trained on the labels of half of the cells, beside PCA and the labels.

    Parameters
    ----------
    adata
        As :func:`zeroshot.data.load` returns it.
    seed
        Of the halves, the network and the clustering.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, variant, metric and value. PCA and the labels alone are scored on the cells that the
        perceptron was trained on, and PCA also on the other half.
    """
    components = pipeline.embed(adata, "pca", seed=seed).load("embedding")
    labels, batches = adata.obs["cell_type"].to_numpy().astype(str), adata.obs["batch"].to_numpy()
    train = np.zeros(adata.n_obs, dtype=bool)
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        cells = rng.permutation(np.flatnonzero(labels == label))
        train[cells[: (len(cells) + 1) // 2]] = True
    hidden_layer = perceptron(components, labels, train, seed)
    variants = {
        "PCA": (components, train),
        PERCEPTRON: (hidden_layer, train),
        LABELS_ALONE: (metrics.label_oracle(labels, seed), train),
        PCA_HELD_OUT: (components, ~train),
        HELD_OUT: (hidden_layer, ~train),
    }
    tables = []
    for name, (embedding, part) in variants.items():
        options = {"labels": labels[part], "batches": batches[part], "baseline": components[part]}
        scores = metrics.score(embedding[part], **options, seed=seed, names=TRIED)
        tables.append(scores.assign(dataset=adata.uns["dataset"]["name"], variant=name))
    return pd.concat(tables, ignore_index=True)[TABLES["perceptron"].all_columns]


def separation(scores: pd.DataFrame, subsamples: pd.DataFrame) -> pd.DataFrame:
    """How often each metric tells two methods of a study apart, controls left out.

    Parameters
    ----------
    scores, subsamples
        As :func:`load` and :func:`load_subsamples` return them.

    Returns
    -------
    pandas.DataFrame
        Index metric, columns pairs (of two methods on a data set, with an interval) and apart (share of them
        that are significantly different; NaN without a pair).
    """
    kinds = {name: card.kind for name, card in catalog.models().items()}
    methods = scores[scores["model"].map(kinds) != "control"]
    names = list(methods["method"].unique())
    rows = {}
    for metric in methods["metric"].unique():
        verdicts = []
        for first, second in combinations(names, 2):
            pair = methods[methods["method"].isin([first, second])]
            if second in set(pair.loc[pair["metric"] == metric, "method"]):
                verdicts += list(differences(pair, subsamples, metric, second)["verdict"])
        apart = np.mean([verdict != "tie" for verdict in verdicts]) if verdicts else np.nan
        rows[metric] = {"pairs": len(verdicts), "apart": apart}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["pairs", "apart"])


def trust(ladder_scores: pd.DataFrame, perceptron_scores: pd.DataFrame, apart: pd.DataFrame) -> pd.DataFrame:
    """Which metric to trust for what.

    Parameters
    ----------
    ladder_scores, perceptron_scores, apart
        What :func:`load` and :func:`separation` return.

    Returns
    -------
    pandas.DataFrame
        Index metric; a column per ladder with the mean rank correlation; ``fooled by labels`` and ``fooled by
        noise``, see below; ``apart``, see :func:`separation`; and ``trust``: what it sees.
        It sees a ladder if its correlation is at least 0.9 and it falls by at least a twentieth of its range.
        Labels fool a metric of cell types if the perceptron, on cells it was trained on, scores higher than
        PCA on every data set; noise fools any if the last rung of noise scores higher than the first.
    """
    of_ladders = orders(ladder_scores)
    sees = of_ladders["correlation"].ge(LEAST_CORRELATION) & of_ladders["change"].ge(LEAST_CHANGE)
    pairs = {(ladder, metric) for ladder, metric in of_ladders.loc[sees, ["ladder", "metric"]].to_numpy()}
    table = of_ladders.pivot(index="metric", columns="ladder", values="correlation")
    table = table.reindex(index=[name for name in metrics.METRICS if name in table.index], columns=[*LADDERS])
    change = of_ladders[of_ladders["ladder"] == "noise"].set_index("metric")["change"]
    by_labels = fooled_by_labels(perceptron_scores)
    return table.assign(
        **{
            "fooled by labels": [name in by_labels for name in table.index],
            "fooled by noise": [bool(change.get(name, 0) < 0) for name in table.index],
            "apart": apart["apart"].reindex(table.index),
            "trust": [
                " and ".join(name for name in LADDERS if (name, metric) in pairs) or "nothing alone"
                for metric in table.index
            ],
        }
    )


def fooled_by_labels(perceptron_scores: pd.DataFrame) -> list[str]:
    """Metrics of cell types by which the perceptron is better than PCA on every data set."""
    values = perceptron_scores.pivot_table(index=["metric", "dataset"], columns="variant", values="value")
    names = []
    for name, card in metrics.METRICS.items():
        if card.group == "annotation" and name in values.index:
            part = values.loc[name]
            gain = (part[PERCEPTRON] - part["PCA"]) * (1 if card.higher_is_better else -1)
            names += [name] if (gain > 0).all() else []
    return names
