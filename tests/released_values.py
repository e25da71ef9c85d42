"""Folders in the layout of SCimilarity, from its specification."""

from collections.abc import Sequence
from pathlib import Path

import torch


def scimilarity_encoder(n_genes: int, *, seed: int = 0) -> torch.nn.ModuleList:
    """The released layers as torch's own modules, with random weights and statistics."""
    sizes = (n_genes, 12, 12, 8)
    layers = [
        torch.nn.Sequential(
            torch.nn.Dropout(0.5), torch.nn.Linear(*sizes[place : place + 2]),
            torch.nn.BatchNorm1d(sizes[place + 1]), torch.nn.PReLU(),
        )
        for place in range(2)
    ]  # fmt: skip
    encoder = torch.nn.ModuleList([*layers, torch.nn.Linear(*sizes[2:])])
    generator = torch.Generator().manual_seed(seed)
    for name, values in encoder.state_dict().items():
        if values.is_floating_point():
            values.normal_(generator=generator)
            if name.endswith("running_var"):
                values.abs_().add_(0.1)
    return encoder.eval()


def write_scimilarity(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """``encoder.ckpt``, and the order of its genes: one symbol a line, without a heading."""
    state = scimilarity_encoder(len(symbols), seed=seed).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": {f"network.{name}": values for name, values in state.items()}}
    torch.save(content, folder / "encoder.ckpt")
    (folder / "gene_order.tsv").write_text("\n".join(symbols))
    return folder
