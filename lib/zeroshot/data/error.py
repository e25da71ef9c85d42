"""The error of data that cannot be used."""


class DataError(ValueError):
    """Data that breaks the contract: what was wrong, what was expected, what to do."""
