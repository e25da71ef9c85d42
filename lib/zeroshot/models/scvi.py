"""scVI: a variational autoencoder on counts, trained on each data set."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot.models import Cells

# lightning: the training loop of scvi-tools.
PACKAGES = ("lightning", "numpy", "pandas", "scipy", "scvi-tools", "torch")


@dataclass(frozen=True)
class Scvi:
    """Latent space of scVI, trained on the very cells it embeds.

    Source
    ------
    microsoft/zero-shot-scfoundation at d1091e8: two layers, 30 latent dimensions, negative
    binomial likelihood, counts of genes in at least 10 cells, batch as covariate.

    Differs
    -------
    ``epochs`` may be lowered (None: scvi-tools' own rule, 400 epochs up to 20,000 cells). On the CPU one
    thread computes, since the order of parallel sums would change the bytes.
    """

    n_latent: int = 30
    n_layers: int = 2
    min_cells: int = 10
    epochs: int | None = None

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, n_latent) posterior means."""
        with warnings.catch_warnings(), _one_thread():
            # Notes of scvi-tools and lightning about workers and devices, of no use to a reader.
            warnings.simplefilter("ignore")
            import scvi

            for logger in (
                "scvi", "lightning.fabric", "lightning.pytorch", "lightning.pytorch.utilities.rank_zero",
            ):  # fmt: skip
                logging.getLogger(logger).setLevel(logging.ERROR)
            scvi.settings.seed = seed
            adata = AnnData(cells.counts[:, cells.detected(self.min_cells)])
            batch_key = None
            if cells.batches is not None:
                adata.obs["batch"] = pd.Categorical(cells.batches)
                batch_key = "batch"
            scvi.model.SCVI.setup_anndata(adata, batch_key=batch_key)
            model = scvi.model.SCVI(
                adata, n_layers=self.n_layers, n_latent=self.n_latent, gene_likelihood="nb"
            )
            model.train(max_epochs=self.epochs, logger=False, enable_progress_bar=False)
            return model.get_latent_representation().astype(np.float32)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
