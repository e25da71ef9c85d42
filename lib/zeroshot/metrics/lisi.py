"""The local inverse Simpson index (LISI): how many labels, or batches, a cell's neighbourhood holds."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .neighbors import Neighbors, require_neighborhoods

if TYPE_CHECKING:
    from collections.abc import Callable

# As scib-metrics: the perplexity is met to TOLERANCE, in nats, or the search ends after so many halvings.
TOLERANCE = 1e-5
TRIES = 50
# Neighbours a third of which is the perplexity.
PER_EFFECTIVE_NEIGHBOR = 3
# Distances that the search, which starts from 1 and computes in float32, finds its way from.
NEAREST_SCALE, FARTHEST_SCALE = 2.0**-20, 2.0**20


def median_lisi(neighbors: Neighbors, values: np.ndarray) -> tuple[float, int]:
    """Median over cells of the LISI of labels or batches, and how many distinct ones there are.

    Parameters
    ----------
    neighbors
        The cell itself in column 0.
    values
        (cells,) labels or batches.

    Returns
    -------
    float
        1 (every neighbourhood holds one) to the number of distinct values.
    int
        Distinct values.

    Raises
    ------
    NotApplicable
        With fewer than 10 cells.

    Source
    ------
    Korsunsky et al. 2019; scib_metrics.lisi_knn 0.5.10, to which it agrees to 1e-6.

    Differs
    -------
    The same arithmetic in JAX, float32, without the import of scib-metrics: that compiles the functions of
    pynndescent, which are not needed here, for 10 seconds in every fresh process. Where distances are
    extreme, float32 does not find the perplexity and scib-metrics returns -1 or an unweighted index; there
    we search again, among distances that are shifted and scaled.
    """
    require_neighborhoods(neighbors)
    names, codes = np.unique(values, return_inverse=True)
    others = neighbors.indices != np.arange(len(codes))[:, None]
    near = codes[neighbors.indices]
    distances = neighbors.distances
    farthest = distances.max(axis=1)
    extreme = (farthest > FARTHEST_SCALE) | ((farthest > 0) & (farthest < NEAREST_SCALE))
    distances = np.where(extreme[:, None], _rescaled(distances, others), distances)
    simpson = _simpson(distances, others, near, len(names))
    if (lost := simpson < 0).any():
        # All rows, so that nothing is compiled anew for the number of those that were lost.
        distances = np.where(lost[:, None], _rescaled(distances, others), distances)
        simpson = np.where(lost, _simpson(distances, others, near, len(names)), simpson)
    return np.median(1 / simpson), len(names)


def _rescaled(distances: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances beyond that of the nearest other cell, 1 at most; shares of a neighbourhood stay the same."""
    nearest = np.where(others, distances, np.inf).min(axis=1, keepdims=True)
    beyond = np.maximum(distances - nearest, 0)
    farthest = beyond.max(axis=1, keepdims=True)
    return beyond / np.where(farthest > 0, farthest, 1)


def _simpson(distances: np.ndarray, others: np.ndarray, near: np.ndarray, kinds: int) -> np.ndarray:
    """Simpson index of each cell, float32; -1 where the search for the perplexity lost all neighbours."""
    import jax
    import jax.numpy as jnp

    perplexity = float(distances.shape[1] // PER_EFFECTIVE_NEIGHBOR)
    search = jax.vmap(_search(), in_axes=(0, 0, None))
    entropy, weights = map(np.array, search(jnp.array(distances), jnp.array(others), perplexity))
    share = np.zeros((len(near), kinds), dtype=np.float32)
    np.add.at(share, (np.arange(len(near))[:, None], near), weights)
    simpson = np.array(jax.vmap(jnp.dot)(share, share))
    return np.where(entropy == 0, np.float32(-1), simpson)


@cache
def _search() -> "Callable":
    """Entropy and weights exp(-beta distance) of a cell's neighbours, beta such that the entropy fits."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def entropy_of(distances, others, beta):
        weights = jnp.where(others, jnp.exp(-distances * beta), 0)
        total = jnp.nansum(weights)
        entropy = jnp.where(total == 0, 0, jnp.log(total) + beta * jnp.nansum(distances * weights) / total)
        return entropy, jnp.where(total == 0, jnp.zeros_like(distances), weights / total)

    @jax.jit
    def search(distances, others, perplexity):
        def step(state):
            _, _, excess, beta, low, high, tries = state
            up = excess > 0
            next_low, next_high = jnp.where(up, beta, low), jnp.where(up, high, beta)
            beta = jnp.where(
                up,
                jnp.where(high == jnp.inf, beta * 2, (beta + high) / 2),
                jnp.where(low == -jnp.inf, beta / 2, (beta + low) / 2),
            )
            entropy, weights = entropy_of(distances, others, beta)
            return entropy, weights, entropy - jnp.log(perplexity), beta, next_low, next_high, tries + 1

        def continues(state):
            return jnp.logical_and(jnp.abs(state[2]) >= TOLERANCE, state[-1] < TRIES)

        entropy, weights = entropy_of(distances, others, 1)
        excess = entropy - jnp.log(perplexity)
        state = (entropy, weights, excess, 1.0, -jnp.inf, jnp.inf, 0)
        return jax.lax.while_loop(continues, step, state)[:2]

    return search
