"""UMAP coordinates of an embedding."""

import numpy as np

from zeroshot.runtime import compilation

# numba compiles umap-learn and pynndescent, which finds the neighbours.
PACKAGES = ("numba", "numpy", "pynndescent", "scikit-learn", "scipy", "umap-learn")


def project_umap(embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """(cells, 2) UMAP coordinates: 15 neighbours, min_dist 0.3, as the paper draws them."""
    with compilation.keep_code():
        import umap

    projection = umap.UMAP(n_neighbors=min(15, len(embedding) - 1), min_dist=0.3, random_state=seed, n_jobs=1)
    return projection.fit_transform(embedding).astype(np.float32)
