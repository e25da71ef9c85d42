"""The training loop: the same seed gives the same weights, and an interrupted training continues to them."""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from zeroshot import catalog, models
from zeroshot.embedding.engine import Precision, require_device
from zeroshot.models import Cells, Trainable, TrainableNetwork
from zeroshot.pretraining import folders
from zeroshot.pretraining.architectures import card_of, objective_of, with_changes
from zeroshot.pretraining.baselines import trivial_losses
from zeroshot.pretraining.contrastive import Views, draw_views
from zeroshot.pretraining.corpora import hash_of
from zeroshot.pretraining.error import TrainingError
from zeroshot.pretraining.objectives import MASKING, MaskedChunk, Masking, Task, hide, losses
from zeroshot.pretraining.steps import Plan, chunks_in_order, crop, schedule
from zeroshot.runtime import outputs, reproducible
from zeroshot.tokens.sequences import Tokenizer, Tokens

PACKAGES = ("numpy", "pandas", "safetensors", "scipy", "torch")

IMMATERIAL = ("minutes_per_checkpoint", "device")  # of the settings: they do not change the weights


# Least and most of each setting; the least of the first three is not reached.
_ABOVE = {"epochs": (0, 10_000), "learning_rate": (0, 1), "minutes_per_checkpoint": (0, 10_000)}
_WHOLE = {
    "max_tokens": (3, 2**17), "tokens_per_step": (3, 2**22), "validations": (1, 10_000),
    "seed": (0, reproducible.LARGEST_SEED),
}  # fmt: skip
_SHARES = ("warmup", "held_out", "weight_decay")
_PRECISIONS = ("float32", "bfloat16")  # float16 would need its gradients scaled


@dataclass(frozen=True)
class Training:
    """Settings of a training. All but ``minutes_per_checkpoint`` and ``device`` change the weights.

    Attributes
    ----------
    epochs
        Passes over the cells of the corpus.
    max_tokens
        Longest sequence: of a cell with more genes another sample is read each time under the objective
        "values", and the highest ranks under "ranks".
    tokens_per_step
        Tokens of a step, padding included; under "contrastive" at most so many of each view.
    learning_rate
        Highest, reached after ``warmup`` of the steps and lowered to zero along a cosine.
    weight_decay
        Of AdamW, on matrices only.
    warmup
        Share of the steps.
    objective
        "contrastive" instead of what the card of the model says: a cell has to be recognised by the embedding
        of another sample of its genes among the cells of the step.
    masking
        None for the usual one: :data:`zeroshot.pretraining.MASKING`.
    held_out
        Share of the cells that are not trained on: the validation loss is theirs.
    validations
        How often the validation loss is computed, besides before the first step.
    precision
        "bfloat16" computes products in it (autocast); weights and optimiser stay float32.
    minutes_per_checkpoint
        What is lost at most when the training is killed.
    """

    epochs: float = 1.0
    max_tokens: int = 512
    tokens_per_step: int = 16_384
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    objective: Literal["contrastive"] | None = None
    masking: Masking | None = None
    held_out: float = 0.05
    validations: int = 10
    seed: int = 0
    precision: Precision = "float32"
    device: str = "cpu"
    minutes_per_checkpoint: float = 3.0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        values = dataclasses.asdict(self)
        for name, (least, most) in _ABOVE.items():
            if not least < values[name] <= most:  # nan neither
                raise TrainingError(
                    f"{name} is {values[name]}: a number above {least} and at most {most:,} is expected"
                )
        for name, (least, most) in _WHOLE.items():
            if type(values[name]) is not int or not least <= values[name] <= most:
                raise TrainingError(
                    f"{name} is {values[name]}: a whole number from {least} to {most:,} is expected"
                )
        for name in _SHARES:
            if not 0 <= values[name] < 1:
                raise TrainingError(f"{name} is {values[name]}: a share from 0 to below 1 is expected")
        if self.objective not in (None, "contrastive"):
            raise TrainingError(f"objective is {self.objective!r:.60}: contrastive, or none, is expected")
        least, cells = (1, "one cell") if self.objective is None else (2, "2 cells")
        if self.tokens_per_step < least * self.max_tokens:
            raise TrainingError(
                f"max_tokens is {self.max_tokens}, tokens_per_step {self.tokens_per_step}: room for at "
                f"least {cells} a step is expected. Raise tokens_per_step, or lower max_tokens."
            )
        if self.precision not in _PRECISIONS:
            raise TrainingError(
                f"precision is {self.precision!r}: {' or '.join(_PRECISIONS)} is expected in training"
            )
        if self.device == "auto":
            raise TrainingError("device is 'auto': a training has to be continued where it began, name it")
        require_device(self.device)

    @property
    def identity(self) -> dict[str, object]:
        """What decides about the weights."""
        fields = dataclasses.asdict(self)
        if self.objective is None:  # as in the records of trainings that had no such setting
            del fields["objective"]
        return {name: value for name, value in fields.items() if name not in IMMATERIAL}


def train(
    model: str,
    cells: Cells,
    output: Path,
    training: Training,
    *,
    architecture: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
    at_validation: Callable[["Run"], None] | None = None,
) -> pd.DataFrame:
    """Train a network on cells, and write it as checkpoints are released.

    Parameters
    ----------
    model, architecture
        As for :func:`untrained`: what the training begins with.
    cells
        The corpus.
    output
        Folder to write. While the training runs, its state is in ``<output>.partial``, from which the same
        call continues; ``output`` appears when it is complete.
    training
        Settings.
    facts
        What ``training.json`` shall say of the corpus beside its size, for example its name.
    progress
        Called after each step with step, steps, cells, cells_per_second and loss.
    at_validation
        Called with the run after each validation, the last row of its ``history``. A training that continues
        repeats what it had not saved, with the same weights.

    Returns
    -------
    pandas.DataFrame
        One row per validation: ``step``, ``cells`` and ``tokens`` trained on so far, and by decoder the mean
        loss over the hidden genes of held-out cells. Also written to ``output/history.csv``.

    Raises
    ------
    TrainingError
        If ``output`` exists, a half-done training has other settings or cells, the loss is no number, or
        there are too few cells.
    zeroshot.runtime.outputs.OutputError
        If the disk is full.
    """
    folders.require_new(output)
    run = Run(model, cells, training, architecture, at_validation)
    with folders.partial_folder(output, continues=True) as partial:
        run.resume(partial / folders.STATE)
        run.continue_to_end(partial / folders.STATE, progress)
        history = pd.DataFrame(run.history)
        corpus = {**run.identity["corpus"], **(facts or {})}
        record = run.identity | {"corpus": corpus, "validation": run.validation()}
        with folders.release_folder(partial, output) as release:
            run.release(release)
            history.to_csv(release / "history.csv", index=False)
            (release / "training.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return history


def untrained(name: str, training: Training, changes: Mapping[str, Any] | None = None) -> Trainable:
    """The model to train: the architecture of a card, with the genes of the corpus as its vocabulary.

    Parameters
    ----------
    name
        Model of ``data/models.yml`` with an ``architecture`` (an untrained twin), or its trained model.
    training
        Says how many tokens of a cell are read.
    changes
        Put over the fields of that architecture, for example ``{"nlayers": 4}``.

    Raises
    ------
    TrainingError
        If the model has no architecture, its family cannot be trained, or as
        :func:`zeroshot.pretraining.architectures.with_changes`.
    zeroshot.catalog.CatalogError
        If the name or a field is unknown.
    """
    card = card_of(name)
    if card.architecture is None or objective_of(card) is None:
        able = [key for key, other in catalog.models().items() if other.architecture and objective_of(other)]
        raise TrainingError(
            f"{name} has no architecture to train from the beginning: choose one of {', '.join(able)}"
        )
    architecture = with_changes(card, changes or {}, training.max_tokens)
    # Values: all genes of a cell are binned, and what is read of them is drawn anew in each epoch.
    most = training.max_tokens if objective_of(card) == "ranks" else 2**31
    family = models.implementation(card)
    return family(architecture=architecture, vocabulary="data-set", max_tokens=most)


class Run:
    """A network between two steps of its training."""

    def __init__(
        self,
        model: str,
        cells: Cells,
        training: Training,
        architecture: Mapping[str, Any] | None = None,
        at_validation: Callable[["Run"], None] | None = None,
    ) -> None:
        self.training, self.corpus, self.at_validation = training, cells, at_validation
        self.device = torch.device(training.device)
        self.embedder = untrained(model, training, architecture)
        self.task: Task = training.objective or objective_of(card_of(model))
        self.masking = training.masking or MASKING[self.task]
        self.tokenizer: Tokenizer = self.embedder.tokenizer(cells, training.seed)
        n_cells = cells.counts.shape[0]
        order = np.random.default_rng([training.seed, 1]).permutation(n_cells)
        n_held_out = round(training.held_out * n_cells)
        if n_cells - n_held_out < 1 or n_held_out < 1:
            raise TrainingError(
                f"{n_cells:,} cells, of which {training.held_out:.0%} are held out: at least one cell to "
                "train on and one to validate with are expected. Give more cells."
            )
        self.tokens = self.tokenizer.tokenize(np.sort(order[n_held_out:]))
        self.held_out = self.tokenizer.tokenize(np.sort(order[:n_held_out]))
        self.network: TrainableNetwork = self.embedder.network(cells, training.seed).to(self.device).train()
        groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
        for parameter in self.network.parameters():
            groups[parameter.ndim > 1].append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": groups[True], "weight_decay": training.weight_decay},
                {"params": groups[False], "weight_decay": 0.0},
            ],
            lr=training.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.plan = Plan(
            np.minimum(self.tokens.lengths, training.max_tokens),
            epochs=training.epochs,
            tokens_per_step=training.tokens_per_step,
            seed=training.seed,
        )
        self.step = self.cells = self.n_tokens = 0
        self.history: list[dict[str, float]] = []
        self.identity = {
            "model": model,
            "architecture": dict(self.embedder.architecture),
            "training": training.identity,
            "corpus": {"cells": n_cells, "genes": len(cells.genes), "sha256": hash_of(cells)},
            "steps": self.plan.n_steps,
        }

    def resume(self, state: Path) -> None:
        """Continue from a state, if there is one."""
        if not state.exists():
            self.validate()
            return
        saved, identity = read_state(state, self.device)
        if identity != json.loads(json.dumps(self.identity)):
            raise TrainingError(
                f"{state.parent} holds a half-done training with other settings or other cells. Continue it "
                "with the same ones, name another --output, or remove it."
            )
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.cells, self.n_tokens = saved["step"], saved["cells"], saved["tokens"]
        self.history = json.loads(saved["history"])

    def save(self, state: Path) -> None:
        """Write the state whole, or leave the older one."""
        content = {
            "identity": json.dumps(self.identity), "history": json.dumps(self.history),
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "cells": self.cells, "tokens": self.n_tokens,
        }  # fmt: skip
        with outputs.replacing(state) as temporary, temporary.open("wb") as file:
            torch.save(content, file)

    def release(self, folder: Path) -> None:
        """Write the network as it is now into a folder, as checkpoints are released."""
        with outputs.named_if_full(folder, folders.IF_FULL):
            folder.mkdir(parents=True, exist_ok=True)
            self.embedder.release(self.network, self.corpus, folder)

    def continue_to_end(self, state: Path, progress: Callable[[dict[str, float]], None] | None) -> None:
        """Do the steps that are left."""
        validated = {
            round(share * self.plan.n_steps) for share in np.linspace(0, 1, self.training.validations + 1)
        }
        begun, cells_before = time.monotonic(), self.cells
        saved = begun
        while self.step < self.plan.n_steps:
            loss = self.train_step()
            if self.step in validated:
                self.validate()
            now = time.monotonic()
            if now - saved > 60 * self.training.minutes_per_checkpoint:
                self.save(state)
                saved = now
            if progress is not None:
                speed = (self.cells - cells_before) / max(now - begun, 1e-9)
                progress(
                    {"step": self.step, "steps": self.plan.n_steps, "cells": self.cells,
                     "cells_per_second": speed, "loss": loss}
                )  # fmt: skip

    def train_step(self) -> float:
        """Do the next step and return its loss, summed over the decoders."""
        rows = self.plan.rows(self.step)
        generator = np.random.default_rng([self.training.seed, 2, self.step])
        chunk = self._chunk(self._crop(self.tokens.select(rows), generator), generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.learning_rate * schedule(
                self.step, self.plan.n_steps, self.training.warmup
            )
        with self._autocast():
            parts = losses(self.network, self.task, chunk)
        loss = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.step + 1:,}: the training has diverged. Lower the "
                f"learning rate ({self.training.learning_rate:g})."
            )
        self.step += 1
        self.cells += len(rows)
        self.n_tokens += int(chunk.lengths.sum())
        return value

    def validate(self) -> None:
        """Add the loss on held-out cells to the history."""
        sums: dict[str, float] = {}
        n_hidden = 0
        self.network.eval()
        with torch.no_grad(), self._autocast():
            for chunk in self._held_out_chunks():
                for name, loss in losses(self.network, self.task, chunk).items():
                    sums[name] = sums.get(name, 0.0) + float(loss) * len(chunk.targets)
                n_hidden += len(chunk.targets)
        self.network.train()
        row = {"step": self.step, "cells": self.cells, "tokens": self.n_tokens}
        self.history.append(row | {name: total / n_hidden for name, total in sums.items()})
        if self.at_validation is not None:
            self.at_validation(self)

    def validation(self) -> dict[str, dict[str, float]]:
        """Losses on held-out cells: "untrained" and "trained" by decoder, "baselines" by predictor."""
        decoders = [name for name in self.history[0] if name not in ("step", "cells", "tokens")]
        baselines = trivial_losses(
            self.task, self.tokens, self._held_out_chunks(),
            n_genes=len(self.corpus.genes), special_ends=self.network.special_ends,
        )  # fmt: skip
        parts = {
            "untrained": {name: self.history[0][name] for name in decoders},
            "trained": {name: self.history[-1][name] for name in decoders},
            "baselines": baselines,
        }
        return {part: {name: round(loss, 6) for name, loss in row.items()} for part, row in parts.items()}

    def _held_out_chunks(self) -> Iterator[MaskedChunk | Views]:
        """Held-out cells, whose hidden genes or views are the same each time."""
        generator = np.random.default_rng([self.training.seed, 3])
        tokens = self._crop(self.held_out, generator)
        lengths = np.minimum(tokens.lengths, self.training.max_tokens)
        by_length = np.argsort(lengths, kind="stable")
        for rows in chunks_in_order(lengths, by_length, self.training.tokens_per_step):
            yield self._chunk(tokens.select(rows), generator)

    def _crop(self, tokens: Tokens, generator: np.random.Generator) -> Tokens:
        """What is read of cells; all their tokens where two samples will be drawn."""
        return tokens if self.task == "contrastive" else crop(tokens, self.training.max_tokens, generator)

    def _chunk(self, tokens: Tokens, generator: np.random.Generator) -> MaskedChunk | Views:
        padding = {"pad_id": self.tokenizer.pad_id, "pad_value": self.tokenizer.pad_value}
        if self.task == "contrastive":
            chunk = draw_views(
                tokens, self.network, self.masking.fraction, generator,
                max_tokens=self.training.max_tokens, **padding,
            )  # fmt: skip
        else:
            chunk = hide(tokens, self.network, self.task, self.masking, generator, **padding)
        return chunk.to(self.device)

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self.training.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.training.precision))


def read_state(state: Path, device: str | torch.device = "cpu") -> tuple[dict[str, Any], dict[str, Any]]:
    """What :meth:`Run.save` wrote, and the identity in it.

    Raises
    ------
    TrainingError
        If the file is damaged.
    """
    try:
        saved = torch.load(state, map_location=device, weights_only=True)
        return saved, json.loads(saved["identity"])
    except Exception as error:  # of torch, of the system
        raise TrainingError(
            f"{state} cannot be read ({type(error).__name__}): expected the state that a training has "
            "saved. Remove it: the same command then begins anew."
        ) from error
