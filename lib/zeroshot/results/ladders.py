"""The tables of a ladder: what its trainings reached, and what their embeddings score."""

from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy import stats

from zeroshot import catalog
from zeroshot.results import table_files
from zeroshot.results.table_files import Table
from zeroshot.runtime import paths

RUNG = ("network", "corpus", "seed")
TABLES = MappingProxyType(
    {
        "losses": Table(
            "losses on held-out cells of the corpus", (*RUNG, "step", "decoder"), ("cells", "tokens", "loss")
        ),
        # A baseline has its name for a network, no corpus, and step 0.
        "scores": Table(
            "scores of the embeddings", (*RUNG, "step", "dataset", "metric"), ("value", "low", "high")
        ),
    }
)


def committed(name: str) -> Path:
    """Where git keeps the tables of a ladder."""
    return paths.home() / "data" / "ladders" / name


def load(name: str) -> dict[str, pd.DataFrame]:
    """The tables of a ladder that git keeps, by name; without rows where none are kept yet.

    Returns
    -------
    dict
        "losses" with columns network, corpus, seed, step, decoder, cells and tokens (trained on so far) and
        loss; "scores" with network, corpus, seed, step, dataset, metric, value, and the ends of its 95 %
        interval over cells, low and high. Rows of what the ladder does not have any more are left out.

    Raises
    ------
    zeroshot.results.table_files.TableFileError
        If a file is damaged.
    """
    card = catalog.ladder(name)
    tables = {}
    for table, layout in TABLES.items():
        file = committed(name) / f"{table}.csv"
        if not file.is_file():
            tables[table] = pd.DataFrame(columns=layout.all_columns)
            continue
        rows = table_files.read(file, layout, f"Restore it, or run `zeroshot ladder {name} --keep`")
        tables[table] = rows.loc[_belongs(rows, card), layout.all_columns].reset_index(drop=True)
    return tables


def _belongs(rows: pd.DataFrame, card: catalog.Ladder) -> pd.Series:
    trained = rows["network"].isin(card.networks) & rows["corpus"].isin(card.corpora)
    trained &= rows["seed"] < rows["corpus"].map(dict(card.corpora)).fillna(0)
    mask = trained | (rows["network"].isin(card.baselines) & rows["corpus"].eq(""))
    if "dataset" in rows:
        mask &= rows["dataset"].isin(card.datasets) & rows["metric"].isin(card.metrics)
    return mask


def write(directory: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables of a rung; a file appears whole or not at all."""
    table_files.write(directory, TABLES, tables)


def concatenate(output: Path, directories: Iterable[Path]) -> None:
    """Write the tables of a ladder from those of its finished rungs, each in a directory."""
    table_files.concatenate(output, TABLES, directories)


def by_corpus(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The last score of each training and the first, untrained, mean over seeds.

    Parameters
    ----------
    scores
        As :func:`load` returns them.
    metric
        One of the ladder's.

    Returns
    -------
    pandas.DataFrame
        A row per network, corpus, data set and state ("untrained", "trained"), and per baseline and data set
        ("baseline"), with ``value``, ``n_seeds`` and ``seed_sd`` (NaN for one seed).
    """
    rows = scores[scores["metric"] == metric]
    steps = rows.groupby(list(RUNG))["step"]
    is_baseline = rows["corpus"].eq("")
    is_last = rows["step"].eq(steps.transform("max"))
    state = np.select([is_baseline, rows["step"].eq(0), is_last], ["baseline", "untrained", "trained"], "")
    rows = rows.assign(state=state)[state != ""]
    by = rows.groupby(["network", "corpus", "state", "dataset"], sort=False)["value"]
    return by.agg(value="mean", n_seeds="size", seed_sd="std").reset_index()


def with_losses(tables: dict[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    """Every scored state of every training: its loss on held-out cells beside its score.

    Returns
    -------
    pandas.DataFrame
        Rows of the scores of ``metric`` with ``loss``, summed over the decoders, lower is better. Losses of
        different networks have different units.
    """
    keys = [*RUNG, "step"]
    loss = tables["losses"].groupby(keys, as_index=False)["loss"].sum()
    scores = tables["scores"]
    return scores[scores["metric"] == metric].merge(loss, on=keys, validate="many_to_one")


def loss_correlations(states: pd.DataFrame, *, seed: int = 0, draws: int = 1000) -> pd.DataFrame:
    """Whether a lower loss goes with a better score, for each network and data set.

    Parameters
    ----------
    states
        As :func:`with_losses` returns them.
    seed, draws
        Of the bootstrap over trainings, which keeps the states of a training together.

    Returns
    -------
    pandas.DataFrame
        A row per network and data set: ``rho``, Spearman's rank correlation of loss and score over all
        states, from -1 (the lower the loss, the better) to 1; ``low`` and ``high``, its 95 % interval;
        ``n_states`` and ``n_trainings``. NaN where fewer than three trainings are there.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for (network, dataset), part in states.groupby(["network", "dataset"], sort=False):
        trainings = [one[["loss", "value"]].to_numpy(float) for _, one in part.groupby(["corpus", "seed"])]
        row = {"network": network, "dataset": dataset, "rho": np.nan, "low": np.nan, "high": np.nan}
        if len(trainings) >= 3:
            row["rho"] = _spearman(trainings)
            samples = generator.integers(len(trainings), size=(draws, len(trainings)))
            rhos = [_spearman([trainings[place] for place in sample]) for sample in samples]
            row["low"], row["high"] = np.nanquantile(rhos, [0.025, 0.975])
        rows.append(row | {"n_states": len(part), "n_trainings": len(trainings)})
    columns = ["network", "dataset", "rho", "low", "high", "n_states", "n_trainings"]
    return pd.DataFrame(rows, columns=columns)


def _spearman(trainings: list[np.ndarray]) -> float:
    losses, values = np.concatenate(trainings).T
    if len(np.unique(losses)) == 1 or len(np.unique(values)) == 1:
        return np.nan
    return float(stats.spearmanr(losses, values).statistic)
