"""How many passes over the cells a training of a given time makes on this machine."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeroshot.models import Cells
from zeroshot.pretraining import folders
from zeroshot.pretraining.error import TrainingError
from zeroshot.pretraining.training import Run, Training, read_state

# Steps are timed for so many seconds, or this share of the training if that is less.
LONGEST_MEASUREMENT = 20.0
SHARE_MEASURED = 0.05


def epochs_in(
    minutes: float,
    model: str,
    cells: Cells,
    output: Path,
    training: Training,
    architecture: Mapping[str, Any] | None = None,
) -> float:
    """Passes over the cells in a time: measured on the first steps, or those of a half-done training.

    Parameters
    ----------
    minutes
        Time of the steps and validations together, above 0. What follows them, writing the weights, takes
        seconds.
    model, cells, output, training, architecture
        As for :func:`zeroshot.pretraining.train`; the ``epochs`` of ``training`` are not read.

    Returns
    -------
    float
        What ``epochs`` of :class:`zeroshot.pretraining.Training` has to be, to three digits. A half-done
        training at ``output`` continues with the epochs that it began with.

    Raises
    ------
    TrainingError
        If the validations alone take the time, or as :func:`zeroshot.pretraining.train`.
    """
    state = folders.partial_path(output) / folders.STATE
    if state.exists():
        _, identity = read_state(state)
        return identity["training"]["epochs"]
    run = Run(model, cells, dataclasses.replace(training, epochs=1.0), architecture)
    seconds = 60 * minutes
    run.train_step()  # warms up
    begun = time.monotonic()
    run.validate()
    of_validations = (time.monotonic() - begun) * (training.validations + 1)
    if of_validations >= seconds:
        raise TrainingError(
            f"minutes is {minutes:g}: the losses on held-out cells alone take {of_validations / 60:.2g} "
            "here. Give more minutes, fewer cells or a smaller network."
        )
    longest = min(LONGEST_MEASUREMENT, SHARE_MEASURED * seconds)
    begun, n_steps = time.monotonic(), 0
    while n_steps == 0 or time.monotonic() - begun < longest:
        run.step %= run.plan.n_steps  # of a small corpus, the epoch again
        run.train_step()
        n_steps += 1
    per_step = (time.monotonic() - begun) / n_steps
    return float(f"{(seconds - of_validations) / (per_step * run.plan.n_steps):.3g}")
