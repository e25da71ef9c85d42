"""How well a finished training predicts hidden genes of its held-out cells, beside what knows no cell."""

import json
from pathlib import Path

from zeroshot import catalog, models
from zeroshot.models import Cells
from zeroshot.pretraining.error import TrainingError
from zeroshot.pretraining.objectives import Masking
from zeroshot.pretraining.training import Run, Training


def validate(folder: Path, cells: Cells) -> dict[str, dict[str, float]]:
    """Losses of the network in a folder of :func:`zeroshot.pretraining.train`, computed from its files.

    Which cells were held out and which of their genes are hidden follows from the corpus and the seed.

    Parameters
    ----------
    folder
        Its ``training.json`` says how it was trained.
    cells
        The corpus that it was trained on.

    Returns
    -------
    dict
        As :meth:`zeroshot.pretraining.Run.validation`: "untrained", "trained" and "baselines".

    Raises
    ------
    TrainingError
        If the folder has no ``training.json``, or the corpus is another one.
    """
    file = folder / "training.json"
    if not file.is_file():
        raise TrainingError(f"{file} is missing: name a folder that `zeroshot pretrain` wrote")
    record = json.loads(file.read_text())
    fields = dict(record["training"])
    masking = fields.pop("masking")
    training = Training(**fields, masking=masking and Masking(**masking))
    run = Run(record["model"], cells, training, record["architecture"])
    if run.identity["corpus"]["sha256"] != record["corpus"]["sha256"]:
        raise TrainingError(
            f"{folder} was trained on other cells than these (their sha256 is not that of training.json): "
            "give its corpus"
        )
    run.validate()
    card = catalog.model(record["model"])
    trained = models.load(card.twin_of or card.name, weights=folder)
    run.network.load_state_dict(trained.network(cells, training.seed).state_dict())
    run.validate()
    return run.validation()
