"""Networks of the released architectures, trained here on cells.

``train`` takes a model with an ``architecture`` (an untrained twin) and the cells of a corpus, and writes a
folder of the released layout, which ``--weights`` reads. ``fit`` does so with what is fitted in one go.
"""

from zeroshot.pretraining.corpora import CorpusError, combine, facts_of, load_corpus, require_apart
from zeroshot.pretraining.duration import epochs_in
from zeroshot.pretraining.error import TrainingError
from zeroshot.pretraining.fitting import fit, fitted
from zeroshot.pretraining.folders import require_new
from zeroshot.pretraining.objectives import MASKING, Masking
from zeroshot.pretraining.training import Run, Training, train, untrained
from zeroshot.pretraining.validation import validate

__all__ = [
    "MASKING",
    "CorpusError",
    "Masking",
    "Run",
    "Training",
    "TrainingError",
    "combine",
    "epochs_in",
    "facts_of",
    "fit",
    "fitted",
    "load_corpus",
    "require_apart",
    "require_new",
    "train",
    "untrained",
    "validate",
]
