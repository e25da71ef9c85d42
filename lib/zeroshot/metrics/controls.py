"""Controls that bracket every score."""

import numpy as np

PACKAGES = ("numpy",)


def label_oracle(labels: np.ndarray, seed: int = 0, dim: int | None = None) -> np.ndarray:
    """Embedding that knows the labels: one point per label, all equally far apart, with a little jitter.

    The upper bound of the annotation metrics. The jitter does not depend on the batch, so batches are mixed
    inside a label as well as the composition of the batches allows.

    Parameters
    ----------
    labels
        (cells,), at least 2 distinct values.
    seed
        Seed of the jitter; the same seed gives the same bytes.
    dim
        Dimensions of the embedding, at least the number of labels (the default).

    Returns
    -------
    numpy.ndarray
        (cells, dim) float32. Labels are 14 apart, two cells of a label about 0.14, whatever the dimension.

    Raises
    ------
    ValueError
        If there is one label only, or dim is smaller than the number of labels.
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    count = int(codes.max()) + 1
    if count < 2:
        raise ValueError("A label oracle needs at least 2 labels.")
    dim = count if dim is None else dim
    if dim < count:
        raise ValueError(f"dim must be at least the number of labels ({count}), got {dim}.")
    jitter = np.random.default_rng(seed).normal(scale=0.1 / np.sqrt(dim), size=(len(codes), dim))
    jitter[np.arange(len(codes)), codes] += 10
    return jitter.astype(np.float32)
