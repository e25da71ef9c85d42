"""The errors of everything to do with weights."""


class WeightsError(ValueError):
    """Weights that cannot be had, are not what they should be, or do not fit the model."""


class OutOfReachError(WeightsError):
    """A source of weights that cannot be asked now; another one may do."""
