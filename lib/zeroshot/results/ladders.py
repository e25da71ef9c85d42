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
        "baselines": Table(
            "losses on the same cells of predictors without a network", (*RUNG, "predictor"), ("loss",)
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
        loss; "baselines" with network, corpus, seed, and the loss of each predictor that is no network;
        "scores" with network, corpus, seed, step, dataset, metric, value, and the ends of its 95 % interval
        over cells, low and high. Rows of what the ladder does not have any more are left out.

    Raises
    ------
    zeroshot.results.table_files.TableFileError
        If a file is damaged.
    """
    return _read(name, committed(name))


def _read(name: str, folder: Path) -> dict[str, pd.DataFrame]:
    card = catalog.ladder(name)
    tables = {}
    for table, layout in TABLES.items():
        file = folder / f"{table}.csv"
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
    """Write some tables of a rung; a file appears whole or not at all."""
    table_files.write(directory, {name: TABLES[name] for name in tables}, tables)


def concatenate(output: Path, directories: Iterable[Path]) -> None:
    """Write the tables of a ladder from those of its finished rungs, each in a directory."""
    table_files.concatenate(output, TABLES, directories)


def keep(name: str, computed: Path) -> pd.DataFrame:
    """Put the tables of computed rungs into those that git keeps.

    Kept rungs that were not computed again stay: a ladder takes days, and several machines.

    Parameters
    ----------
    name
        A ladder.
    computed
        Directory with the tables of some of its rungs.

    Returns
    -------
    pandas.DataFrame
        Network, corpus and seed of every rung that is kept now.

    Raises
    ------
    zeroshot.results.table_files.TableFileError
        If a table is damaged; nothing is written then.
    """
    old, new = load(name), _read(name, computed)
    replaced = pd.MultiIndex.from_frame(new["scores"][[*RUNG]])
    tables = {}
    for table, rows in old.items():
        others = rows[~pd.MultiIndex.from_frame(rows[[*RUNG]]).isin(replaced)]
        tables[table] = pd.concat([others, new[table]]) if len(others) else new[table]
    write(committed(name), tables)
    return tables["scores"][[*RUNG]].drop_duplicates()


def by_corpus(card: catalog.Ladder, scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The first and the last score of each training, untrained and trained: means over seeds.

    Parameters
    ----------
    card
        A ladder.
    scores
        Its scores, as :func:`load` returns them.
    metric
        One of the ladder's.

    Returns
    -------
    pandas.DataFrame
        A row per network (its title), corpus, data set and ``state`` ("untrained", "trained"), and per
        baseline and data set ("baseline"), with ``value``, the ends ``low`` and ``high`` of its 95 % interval
        over cells, ``n_seeds`` and ``seed_sd`` (NaN for one seed); ``whole``, the title of the largest corpus
        of the same sources, and ``n_cells`` of the corpus.
    """
    rows = scores[scores["metric"] == metric]
    last = rows.groupby(list(RUNG))["step"].transform("max")
    state = np.select(
        [rows["corpus"].eq(""), rows["step"].eq(0), rows["step"].eq(last)],
        ["baseline", "untrained", "trained"],
        "",
    )
    rows = rows.assign(state=state, network=rows["network"].map(titles(card)))[state != ""]
    by = rows.groupby(["network", "corpus", "state", "dataset"], sort=False)
    table = by.agg(
        value=("value", "mean"), low=("low", "mean"), high=("high", "mean"), n_seeds=("value", "size"),
        seed_sd=("value", "std"),
    ).reset_index()  # fmt: skip
    return table.join(_corpora(card), on="corpus")


def count_finished(scores: pd.DataFrame) -> int:
    """How many trainings have scores."""
    return len(_finished(scores))


def progress(card: catalog.Ladder, scores: pd.DataFrame) -> pd.DataFrame:
    """Finished trainings of those that a ladder has, "1 of 3": corpora in rows, networks in columns."""
    counts = _finished(scores).groupby(["network", "corpus"]).size()
    columns = {
        network.title: {
            catalog.corpus(corpus).title: f"{counts.get((name, corpus), 0)} of {card.n_seeds(name, corpus)}"
            for corpus in card.corpora
        }
        for name, network in card.networks.items()
    }
    return pd.DataFrame(columns).rename_axis("corpus")


def _finished(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.loc[scores["corpus"].ne(""), [*RUNG]].drop_duplicates()


def titles(card: catalog.Ladder) -> dict[str, str]:
    """Titles of the networks and baselines of a ladder by their names."""
    of_networks = {name: network.title for name, network in card.networks.items()}
    return {name: catalog.model(name).title for name in card.baselines} | of_networks


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


def _corpora(card: catalog.Ladder) -> pd.DataFrame:
    """By name: ``whole``, the title of the largest corpus of the same sources, and ``n_cells``."""
    cards = [catalog.corpus(name) for name in card.corpora]
    wholes = {catalog.sources_of(one): one.title for one in sorted(cards, key=lambda one: one.share)}
    rows = [(one.name, wholes[catalog.sources_of(one)], one.cells) for one in cards]
    return pd.DataFrame(rows, columns=["corpus", "whole", "n_cells"]).set_index("corpus")


def published() -> pd.DataFrame:
    """What pretraining on shares of one large corpus scored elsewhere (DenAdel et al.).

    Returns
    -------
    pandas.DataFrame
        Columns model, dataset, metric, percent (of the cells of scTab, drawn at random; 0 untrained; NaN of
        PCA and variable genes of the target) and value, the mean over five networks. Computed from
        ``plotting/metrics_csvs`` of microsoft/scFM-dataselection at commit f20c3bc2 (MIT licence).
    """
    return pd.read_csv(paths.home() / "data" / "ladders" / "published.csv")
