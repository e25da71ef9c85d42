"""The folder that a training or a fit writes: it appears when it is complete."""

import os
from pathlib import Path

from zeroshot.pretraining.error import TrainingError


def partial_folder(output: Path) -> Path:
    """Where a folder to write is until it is complete."""
    return output.with_name(f"{output.name}.partial")


def require_new(output: Path) -> None:
    """Refuse a folder to write that exists, or that could not be made.

    Raises
    ------
    TrainingError
        If a finished training is there, or the folder cannot be made.
    """
    if os.path.lexists(output):
        raise TrainingError(f"{output} exists: a finished training is never replaced. Name another --output.")
    if output.parts[:1] and output.parts[0].startswith("~"):
        raise TrainingError(f"{output} begins with ~, which only a shell replaces: write the path out")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise TrainingError(f"{output} cannot be made: {above} is not a directory that takes one. Name "
                            "another --output.")  # fmt: skip
