"""Networks, cells and an interruption for the tests that train."""

from zeroshot import data, pretraining
from zeroshot.models import Cells

VALUES, RANKS = "scgpt-untrained", "geneformer-v1-10m-untrained"
SMALL = {
    VALUES: {"nlayers": 1, "embsize": 16, "nheads": 2, "d_hid": 16},
    RANKS: {
        "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16,
        "max_position_embeddings": 32,
    },
}  # fmt: skip


def blood() -> Cells:
    """120 cells as a corpus."""
    adata = data.load("pbmc68k-reduced", subset=120)
    return Cells.of(pretraining.combine({"pbmc": adata}, least_genes=10), with_batches=False)


def interrupt(report: dict[str, float]) -> None:
    """Stop a training as Ctrl-C does, at its seventh step."""
    if report["step"] == 7:
        raise KeyboardInterrupt
