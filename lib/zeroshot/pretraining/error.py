"""The error of a training."""


class TrainingError(ValueError):
    """A training that cannot start, or cannot be continued."""
