"""A ladder from its corpora to its scores: trainings, resumed after any interruption, then embeddings.

Several processes, on one machine or many with a common directory, may climb the same ladder: each rung is
locked by the one that works on it.
"""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData
from filelock import FileLock, Timeout

from zeroshot import catalog, data, embedding, pipeline, pretraining, store
from zeroshot.models import Cells
from zeroshot.results import ladders
from zeroshot.runtime import paths

Progress = Callable[[dict[str, float]], None]
_BASELINES = "baselines"


@dataclass(frozen=True)
class Rung:
    """One training of a ladder, or all its baselines: a network and a corpus that are empty."""

    network: str
    corpus: str
    seed: int

    @property
    def path(self) -> str:
        """Name in commands and messages, such as "values/blood-1-percent/0"."""
        return f"{self.network}/{self.corpus}/{self.seed}" if self.network else _BASELINES


def rungs(card: catalog.Ladder) -> list[Rung]:
    """The baselines, then every training of a ladder: first seeds first, corpora in the order of the card."""
    trainings = [
        Rung(network, corpus, seed)
        for seed in range(max(card.corpora.values()))
        for corpus in card.corpora
        for network in card.networks
        if seed < card.n_seeds(network, corpus)
    ]
    return [Rung("", "", 0), *trainings]


def directory(card: catalog.Ladder, rung: Rung) -> Path:
    """Where a rung is trained: of what the registries say of its training, a directory for each."""
    inputs: dict[str, Any] = {"baselines": list(card.baselines)}
    if rung.network:
        network = card.networks[rung.network]
        inputs = card.model_dump(
            mode="json", include={"passes", "genes", "validations", "scored_validations"}
        ) | {
            "network": network.model_dump(mode="json", exclude={"title", "reading", "seeded"}),
            "model": catalog.model(network.model).version,
            "corpus": catalog.corpus(rung.corpus).model_dump(mode="json", exclude={"title", "description"}),
            "seed": rung.seed,
        }
    return paths.build() / "ladders" / card.name / rung.path.replace("/", "--") / store.key_of(inputs)


def tables_directory(card: catalog.Ladder, rung: Rung) -> Path:
    """Where the tables of a rung are, in its directory: scored otherwise, they are others."""
    inputs: dict[str, Any] = card.model_dump(mode="json", include={"datasets", "cells", "metrics"})
    if rung.network:
        inputs |= card.networks[rung.network].model_dump(mode="json", include={"reading"})
    return directory(card, rung) / "tables" / store.key_of(inputs)


def is_finished(card: catalog.Ladder, rung: Rung) -> bool:
    """Whether a rung has its tables."""
    return all((tables_directory(card, rung) / f"{name}.csv").is_file() for name in ladders.TABLES)


def climb(
    card: catalog.Ladder,
    selected: list[Rung],
    *,
    device: str = "cpu",
    begin: Callable[[Rung], None] = lambda rung: None,
    progress: Progress | None = None,
) -> None:
    """Compute the rungs that are not finished and that no other process works on.

    Parameters
    ----------
    card
        A ladder.
    selected
        Some of its rungs.
    device
        On which networks are trained and run.
    begin
        Called before each rung.
    progress
        As for :func:`zeroshot.pretraining.train`.

    Raises
    ------
    zeroshot.pretraining.TrainingError, zeroshot.pretraining.CorpusError
        If a network cannot be trained, or a corpus is not what its entry says.
    """
    pretraining.Training(device=device)
    for name in {rung.network for rung in selected} - {""}:  # refused before cells are read
        network = card.networks[name]
        if not pretraining.fitted(network.model):
            pretraining.untrained(network.model, _settings(card, network, device), network.architecture)
    for rung in selected:
        with _alone(directory(card, rung)) as is_mine:
            if not is_mine or is_finished(card, rung):
                continue
            begin(rung)
            if rung.network:
                _train_and_score(card, rung, device, progress)
            else:
                _score_baselines(card, rung)


def join(card: catalog.Ladder, *, keep: bool = False) -> list[Rung]:
    """Write the tables of a ladder from its finished rungs; return the rungs that these lack.

    Parameters
    ----------
    card
        A ladder.
    keep
        Put them into those of ``data/ladders/<name>`` too, which git follows, see
        :func:`zeroshot.results.ladders.keep`; the rungs that those lack are returned then.

    Raises
    ------
    FileNotFoundError
        If no rung is finished.
    """
    finished = [rung for rung in rungs(card) if is_finished(card, rung)]
    if not finished:
        raise FileNotFoundError(
            f"no rung of the ladder {card.name} is finished: run `zeroshot ladder {card.name}` first"
        )
    output = paths.build() / "ladders" / card.name
    ladders.concatenate(output, [tables_directory(card, rung) for rung in finished])
    if keep:
        in_git = ladders.keep(card.name, output).itertuples(index=False, name=None)
        finished = [Rung(*rung) if rung[1] else Rung("", "", 0) for rung in in_git]
    return [rung for rung in rungs(card) if rung not in finished]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Hold the lock of a rung; gives whether this process got it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _train_and_score(card: catalog.Ladder, rung: Rung, device: str, progress: Progress | None) -> None:
    folder, network = directory(card, rung), card.networks[rung.network]
    history, baselines = pd.DataFrame(), {}
    if pretraining.fitted(network.model):
        trained, states = network.model, {1: _fit(card, rung)}
    else:
        trained = catalog.model(network.model).twin_of
        history = _train(card, rung, device, progress)
        baselines = _validation(card, rung)["baselines"]
        states = {
            int(history["step"][number]): folder / "validations" / str(number)
            for number in card.scored_validations
        }

    def scores() -> pd.DataFrame:
        parts = []
        for dataset in card.datasets:
            cells = _target(card, dataset)
            for step, weights in states.items():
                embedded = pipeline.embed(
                    cells, trained, parameters=network.reading, weights=weights, seed=rung.seed,
                    settings=embedding.Settings(device=device),
                )  # fmt: skip
                parts.append(_scores(card, cells, embedded).assign(dataset=dataset, step=step))
        return pd.concat(parts)

    _write(card, rung, lambda: _losses(history), lambda: _baselines(baselines), scores)


def _write(card: catalog.Ladder, rung: Rung, *tables: Callable[[], pd.DataFrame]) -> None:
    """Write the tables of a rung, in their order; what is there is not computed again."""
    folder, about = tables_directory(card, rung), dataclasses.asdict(rung)
    for name, table in zip(ladders.TABLES, tables, strict=True):
        if not (folder / f"{name}.csv").is_file():
            rows = table()
            ladders.write(folder, {name: rows if "network" in rows else rows.assign(**about)})


def _baselines(losses: Mapping[str, float]) -> pd.DataFrame:
    """A row per predictor that is no network."""
    return pd.DataFrame(losses.items(), columns=["predictor", "loss"])


def _losses(history: pd.DataFrame) -> pd.DataFrame:
    """A row per validation and decoder; none of what was fitted in one go."""
    if history.empty:
        return pd.DataFrame(columns=["step", "cells", "tokens", "decoder", "loss"])
    return history.melt(["step", "cells", "tokens"], var_name="decoder", value_name="loss")


def _fit(card: catalog.Ladder, rung: Rung) -> Path:
    """Fit what is fitted to a corpus in one go; return the folder of its weights."""
    weights, model = directory(card, rung) / "network", card.networks[rung.network].model
    if not weights.is_dir():
        corpus = _corpus(rung.corpus, card.genes)
        corpus.obs["batch"] = corpus.obs["source"]
        settings = dict(card.networks[rung.network].training)
        if "epochs" in pretraining.fitted(model).reads:
            settings["epochs"] = max(round(card.passes / corpus.n_obs), 1)
        pretraining.fit(
            model, Cells.of(corpus, with_batches=True), weights, seed=rung.seed,
            facts=pretraining.facts_of(corpus, [rung.corpus]), **settings,
        )  # fmt: skip
    return weights


def _settings(card: catalog.Ladder, network: catalog.LadderNetwork, device: str) -> pretraining.Training:
    place = f"data/ladders.yml: entry {card.name!r}: training of {network.title}"
    settings = {field.name: field for field in dataclasses.fields(pretraining.Training)}
    for name in network.training:
        catalog.find(settings, name, f"setting ({place})")
    catalog.require_types(pretraining.Training, network.training, place)
    return pretraining.Training(**network.training, device=device, validations=card.validations)


def _train(card: catalog.Ladder, rung: Rung, device: str, progress: Progress | None) -> pd.DataFrame:
    """Train a network, with a copy of it at each validation that is scored; return its validations."""
    folder, network = directory(card, rung), card.networks[rung.network]
    if (folder / "network").is_dir():
        return pd.read_csv(folder / "network" / "history.csv")
    corpus = _corpus(rung.corpus, card.genes)

    def copy(run: pretraining.Run) -> None:
        number = len(run.history) - 1
        state = folder / "validations" / str(number)
        if number in card.scored_validations and not state.is_dir():
            partial = state.with_name(f"{number}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            run.release(partial)
            partial.rename(state)

    settings = dataclasses.replace(_settings(card, network, device), seed=rung.seed)
    n_trained = corpus.n_obs - round(settings.held_out * corpus.n_obs)
    settings = dataclasses.replace(settings, epochs=card.passes / n_trained)
    return pretraining.train(
        network.model, Cells.of(corpus, with_batches=False), folder / "network", settings,
        architecture=network.architecture, facts=pretraining.facts_of(corpus, [rung.corpus]),
        progress=progress, at_validation=copy,
    )  # fmt: skip


def _validation(card: catalog.Ladder, rung: Rung) -> dict[str, dict[str, float]]:
    """Losses of a finished training and of its baselines, computed where its record has none."""
    weights = directory(card, rung) / "network"
    record = json.loads((weights / "training.json").read_text())
    if "validation" in record:
        return record["validation"]
    cells = Cells.of(_corpus(rung.corpus, card.genes), with_batches=False)
    return pretraining.validate(weights, cells)


def _score_baselines(card: catalog.Ladder, rung: Rung) -> None:
    def scores() -> pd.DataFrame:
        parts = []
        for dataset in card.datasets:
            cells = _target(card, dataset)
            for name in card.baselines:
                rows = _scores(card, cells, pipeline.embed(cells, name))
                parts.append(rows.assign(network=name, corpus="", seed=0, step=0, dataset=dataset))
        return pd.concat(parts)

    _write(card, rung, lambda: _losses(pd.DataFrame()), lambda: _baselines({}), scores)


def _scores(card: catalog.Ladder, cells: AnnData, embedded: store.Artifact) -> pd.DataFrame:
    return pipeline.score(cells, embedded, names=card.metrics).load("scores")


def _target(card: catalog.Ladder, dataset: str) -> AnnData:
    return data.load(dataset, subset=card.cells)


@lru_cache(maxsize=1)
def _corpus(name: str, n_genes: int) -> AnnData:
    """Of several networks on one corpus, one after another, it is loaded once."""
    return pretraining.load_corpus(catalog.corpus(name), n_genes=n_genes)
