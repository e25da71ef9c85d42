"""scFoundation against the reference: tokens of depth, cell and gene embeddings; what is refused."""

import numpy as np
import pytest
import torch
from released import PARITY, cells_of, write_scfoundation

from zeroshot import catalog, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.scfoundation import ScFoundation, depth_tokens, target_depth
from zeroshot.models.weights import WeightsError

REFERENCE = PARITY / "scfoundation"
CPU = Settings(device="cpu")
GENES = [f"G{number}" for number in range(48)]


@pytest.fixture(scope="module")
def arrays():
    return dict(np.load(REFERENCE / "io.npz"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    genes = tmp_path_factory.mktemp("genes") / "gene_list.txt"
    genes.write_text("\n".join(GENES))
    return weights.Checkpoint({"weights": REFERENCE / "models.ckpt", "vocabulary": genes}, {}, "this test")


@pytest.fixture(scope="module")
def inputs(arrays):
    """Cells as counts, as normalised values, and as such values with the counts known."""
    appended = arrays["X_app"]
    return {
        "F": cells_of(arrays["X_counts"], GENES),
        "T": cells_of(arrays["X_norm"], GENES),
        "A": cells_of(appended[:, :-1], GENES, library_size=appended[:, -1]),
    }


@pytest.mark.parametrize("pre_normalized", ["F", "T", "A"])
def test_cell_embeddings(arrays, checkpoint, inputs, pre_normalized):
    """Three target depths and two ways to pool, one cell at a time and all together."""
    for depth in ("t4", "f1", "a0.5"):
        for pooling in ("all", "max"):
            model = ScFoundation(
                checkpoint=checkpoint, pooling=pooling, tgthighres=depth, pre_normalized=pre_normalized
            )
            runner = Runner(model, inputs[pre_normalized], 0, CPU)
            expected = arrays[f"cell_{pre_normalized}_{depth}_{pooling}"]
            for budget in (1, 10_000):
                found = runner.embed(np.arange(len(expected)), budget)
                assert np.allclose(found, expected, atol=2e-5), (depth, pooling, budget)


def test_gene_embeddings(arrays, checkpoint, inputs):
    """Of the decoder: upstream's numbers of one cell a call, and of all cells in a call, which differ."""
    settings = {"checkpoint": checkpoint, "version": "gene", "pooling": "genes", "tgthighres": "f1"}
    tokens = ScFoundation(**settings).tokenizer(inputs["F"], 0).tokenize(np.arange(6))
    padded = [torch.from_numpy(part) for part in (*tokens.pad(0), tokens.lengths)]
    for maximum, name in (("cell", "gene_F_f1"), ("call", "gene_batch_F_f1")):
        network = ScFoundation(**settings, key_maximum=maximum).network(inputs["F"], 0)
        with torch.inference_mode():
            found = network.decode(*padded).numpy()
        assert np.allclose(found, arrays[name], atol=2e-5), maximum
    assert np.abs(arrays["gene_F_f1"] - arrays["gene_batch_F_f1"]).max() > 1e-4
    pooled = Runner(ScFoundation(**settings), inputs["F"], 0, CPU).embed(np.arange(6))
    assert np.allclose(pooled, arrays["gene_F_f1"].mean(axis=1), atol=2e-5)


def test_tokens_by_hand():
    """Two genes and two depths; a cell of one count has no logarithm; one of none keeps the target."""
    counts = np.array([[3, 0, 1], [0, 1, 0], [0, 0, 0]])
    tokens = depth_tokens(cells_of(counts, list("abc")).counts, np.ones(3), "t4")
    assert tokens.ids.tolist() == [0, 2, 3, 4, 1, 3, 3]
    expected = [np.log1p(7500), np.log1p(2500), 4, np.log10(4), np.log1p(1e4), 4, 4]
    assert np.allclose(tokens.values, expected) and tokens.values.dtype == np.float32
    assert tokens.lengths.tolist() == [4, 2, 1]


def test_target_depths():
    assert target_depth("t3.5", 10.0) == 3.5 and np.isclose(target_depth("a0.5", 100.0), 2.5)
    assert np.isclose(target_depth("f2", 100.0), np.log10(200))
    for wrong in ("4", "t", "x4", "f0", "tnan", ""):
        with pytest.raises(ValueError, match=r"expected t, f or a with a number, such as t4"):
            ScFoundation(tgthighres=wrong)


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_scfoundation(tmp_path / "w", list(adata.var_names))
    embedded = embedding.run(adata, "scfoundation", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 64) and embedded.checks["passed"].all()
    (folder / "gene_list.txt").write_text("\n".join(adata.var_names[:-1]))
    with pytest.raises(WeightsError, match="has 149 names, the model reads 150"):
        embedding.embed(adata, "scfoundation", weights=folder, settings=CPU)
    (folder / "gene_list.txt").write_text("\n".join(adata.var_names))
    torch.save({"cell": {"state_dict": {}}}, folder / "models.ckpt")
    with pytest.raises(WeightsError, match="holds no model 'cell' of scFoundation"):
        embedding.embed(adata, "scfoundation", weights=folder, settings=CPU)


def test_weights_that_a_person_has_to_fetch_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("ZEROSHOT_WEIGHTS", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"not downloaded for you: models\.ckpt.* non-commercial .*--weights"
    ):
        weights.find(catalog.model("scfoundation"))
