"""SCimilarity from its specification: values by hand, torch's layers, released genes; what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from released import cells_of
from released_values import scimilarity_encoder, write_scimilarity

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.scimilarity import Scimilarity
from zeroshot.models.weights import WeightsError

CPU = Settings(device="cpu")
GENES = ["A1BG", "HLA-A", "CD74", "LYZ"]  # the model has them in another order, and one more
ORDER = ["LYZ", "CD74", "NKG7", "A1BG"]
COUNTS = [[1, 9, 4, 5], [0, 7, 2, 0], [0, 3, 0, 0]]  # HLA-A is unknown
SHARED = Path(os.environ.get("ZEROSHOT_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture
def checkpoint(tmp_path):
    folder = write_scimilarity(tmp_path / "w", ORDER)
    files = {"weights": folder / "encoder.ckpt", "vocabulary": folder / "gene_order.tsv"}
    return weights.Checkpoint(files, {}, "this test")


def test_values_by_hand(checkpoint):
    """log1p per 10,000 counts of the known genes, whose sum is 10 and 2: unknown genes take no part."""
    tokenizer = Scimilarity(checkpoint=checkpoint).tokenizer(cells_of(COUNTS, GENES), 0)
    tokens = tokenizer.tokenize(np.array([1, 0, 2]))
    assert tokens.ids.tolist() == [1, 0, 1, 3] and tokens.lengths.tolist() == [1, 3, 0]
    assert np.allclose(tokens.values, np.log1p([10_000, 5_000, 4_000, 1_000]), atol=1e-6)
    assert tokenizer.notes == ("1 cells express no gene that the model knows",)


def test_embedding_is_that_of_torchs_own_layers(checkpoint):
    """On dense values, the cell without known genes included; in one call and one cell a call."""
    counts = torch.tensor([[5.0, 4, 0, 1], [0, 2, 0, 0], [0, 0, 0, 0]])
    dense = torch.log1p(counts * torch.tensor([[1_000], [5_000], [0]]))
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(torch.nn.Sequential(*scimilarity_encoder(len(ORDER)))(dense))
    runner = Runner(Scimilarity(checkpoint=checkpoint), cells_of(COUNTS, GENES), 0, CPU)
    for budget in (1, 10_000):
        assert np.allclose(runner.embed(np.arange(3), budget), expected, atol=2e-5)
    assert (expected[0] - expected[1]).abs().max() > 0.1


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_scimilarity(tmp_path / "w", list(adata.var_names))

    def refused(message):
        with pytest.raises(WeightsError, match=message):
            embedding.embed(adata, "scimilarity", weights=folder, settings=CPU)

    embedded = embedding.run(adata, "scimilarity", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 8) and embedded.checks["passed"].all()
    assert np.allclose(np.linalg.norm(embedded.matrix, axis=1), 1, atol=1e-5)
    state = torch.load(folder / "encoder.ckpt")["state_dict"]
    torch.save({"state_dict": state | {"network.0.4.weight": torch.ones(1)}}, folder / "encoder.ckpt")
    refused(r"unexpected network.0.4.weight \(1,\)")
    del state["network.1.2.running_var"]
    torch.save({"state_dict": state}, folder / "encoder.ckpt")
    refused("missing network.1.2.running_var")
    (folder / "gene_order.tsv").write_text("\n".join(adata.var_names[:-1]))
    refused("has 149 names, the model reads 150")
    torch.save({"state_dict": {"a": torch.ones(2)}}, folder / "encoder.ckpt")
    refused("lacks network.0.1.weight, network.0.weight: it is not an encoder of SCimilarity")
    with pytest.raises(ValueError, match="vocabulary is released"):
        Scimilarity(vocabulary="data-set")


@pytest.mark.skipif(
    not (SHARED / "dictionaries").is_dir(),
    reason=f"no dictionaries in {SHARED} (name the folder in ZEROSHOT_SHARED)",
)
def test_released_order_of_genes():
    genes = weights.read_genes(SHARED / "dictionaries" / "scimilarity" / "gene_order.tsv", heading=False)
    assert len(genes) == 28_231 and genes[:2] == ["A1BG", "A1BG-AS1"]
