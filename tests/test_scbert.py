"""scBERT against the reference: bins, hidden states of one cell a call and of several; what is refused."""

import numpy as np
import pytest
import torch
from released import PARITY, cells_of, write_scbert

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.scbert import ScBert, bin_tokens, log2_normalized
from zeroshot.models.weights import WeightsError

REFERENCE = PARITY / "scbert"
CPU = Settings(device="cpu")
GENES = [f"G{number}" for number in range(40)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    arrays = dict(np.load(REFERENCE / "io.npz"))
    genes = tmp_path_factory.mktemp("genes") / "gene_list.txt"
    genes.write_text("\n".join(GENES))
    files = {"weights": REFERENCE / "panglao_pretrained.pth", "vocabulary": genes}
    return arrays, weights.Checkpoint(files, {}, "this test"), cells_of(arrays["X_counts"], GENES)


def test_bins(reference):
    arrays, checkpoint, cells = reference
    assert np.allclose(log2_normalized(cells.counts).toarray(), arrays["X_log2"], atol=2e-5)
    tokens = ScBert(checkpoint=checkpoint).tokenizer(cells, 0).tokenize(np.arange(5))
    assert (tokens.pad(0)[0] == arrays["tokens"]).all()


def test_hidden_states(reference):
    """One cell a call, as upstream's scripts, and all in one, where each depends on the others."""
    arrays, checkpoint, cells = reference
    ids = torch.from_numpy(arrays["tokens"])
    for maximum, name in (("cell", "encodings"), ("call", "encodings_batched")):
        network = ScBert(checkpoint=checkpoint, key_maximum=maximum).network(cells, 0)
        with torch.inference_mode():
            found = network.hidden(ids).numpy()
        assert np.allclose(found, arrays[name], atol=2e-5), name
        if maximum == "cell":
            assert np.allclose(found.mean(axis=1), arrays["cell_emb_mean_all"], atol=2e-5)
            # The head that predicts bins in pretraining: what is computed here is what it reads.
            state = weights.read_state(REFERENCE / "panglao_pretrained.pth")
            head = (state[f"to_out.{name}"].numpy() for name in ("weight", "bias"))
            predicted = found @ next(head).T + next(head)
            assert np.allclose(predicted, arrays["logits"], atol=2e-5)
    assert np.abs(arrays["encodings"] - arrays["encodings_batched"]).max() > 1e-3


@pytest.mark.parametrize(("pooling", "name"), [("genes", "cell_emb_mean_genes"), ("last", "cell_emb_last")])
def test_embeddings(reference, pooling, name):
    arrays, checkpoint, cells = reference
    runner = Runner(ScBert(checkpoint=checkpoint, pooling=pooling), cells, 0, CPU)
    for budget in (1, 10_000):
        assert np.allclose(runner.embed(np.arange(5), budget), arrays[name], atol=2e-5)


def test_bins_by_hand():
    """Bins are cut off, not rounded: log2(1 + 5000) is above 12 and becomes 5; genes of others are 0."""
    counts = cells_of([[1, 1, 0], [1, 9999, 0], [0, 0, 9]], list("abc")).counts
    tokens = bin_tokens(log2_normalized(counts))
    assert tokens.pad(0)[0].tolist() == [[5, 5, 0, 0], [1, 5, 0, 0], [0, 0, 5, 0]]
    low = cells_of([[2, 9998, 0]], list("abc")).counts  # log2(3) is 1.58
    assert bin_tokens(log2_normalized(low)).ids.tolist() == [1, 5, 0, 0]


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_scbert(tmp_path / "w", list(adata.var_names))
    embedded = embedding.run(adata, "scbert", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 12) and embedded.checks["passed"].all()
    (folder / "gene_list.txt").write_text("\n".join(adata.var_names[:-1]))
    with pytest.raises(WeightsError, match="has 149 names, the model reads 150"):
        embedding.embed(adata, "scbert", weights=folder, settings=CPU)
    torch.save({"model_state_dict": {"a": torch.ones(2)}}, folder / "panglao_pretrained.pth")
    with pytest.raises(WeightsError, match="not a checkpoint of scBERT"):
        embedding.embed(adata, "scbert", weights=folder, settings=CPU)
