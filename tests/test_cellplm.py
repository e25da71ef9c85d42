"""CellPLM against the reference: drawn and most likely components, contexts; what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from released import PARITY, cells_of, write_cellplm

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.models import weights
from zeroshot.models.cellplm import CellPlm
from zeroshot.models.weights import WeightsError

REFERENCE = PARITY / "cellplm"


@pytest.fixture(scope="module")
def reference():
    arrays = dict(np.load(REFERENCE / "io.npz"))
    files = {"weights": REFERENCE / "tiny.best.ckpt", "config": REFERENCE / "tiny.config.json"}
    cells = cells_of(arrays["X_counts"], arrays["gene_list"], batches=arrays["batch"].astype(str))
    return arrays, CellPlm(checkpoint=weights.Checkpoint(files, {}, "this test")), cells


def test_embeddings(reference):
    """With the reference's random numbers and none; all cells as context, a batch, the first seven."""
    arrays, model, cells = reference
    few = cells_of(arrays["X_counts"][:7], arrays["gene_list"])
    for name, given, seed, own in (
        ("pred_argmax", {"cluster": "argmax"}, 0, cells),
        ("pred_seed42", {"cluster": "torch"}, 42, cells),
        ("pred_seed43", {"cluster": "torch"}, 43, cells),
        ("pred_by_batch_seed42", {"cluster": "torch", "context": "batch"}, 42, cells),
        ("pred_first7_seed42", {"cluster": "torch"}, 42, few),
    ):
        assert np.allclose(replace(model, **given).embed(own, seed), arrays[name], atol=2e-5), name
    assert np.abs(arrays["pred_seed42"] - arrays["pred_seed43"]).max() > 0.1


def test_hidden_states_and_components(reference):
    arrays, model, cells = reference
    network = model.network(cells, 0)
    vocabulary = json.loads((REFERENCE / "tiny.config.json").read_text())["gene_list"]
    rows = [vocabulary.index(name) for name in arrays["gene_list"]]
    with torch.inference_mode():
        tokens = torch.log1p(torch.from_numpy(arrays["X_counts"]).float()) @ network.genes[rows]
        hidden = network.hidden(tokens[None])[0]
        logits = network.cluster(hidden)
        noise = torch.rand(14, logits.shape[1], generator=torch.Generator().manual_seed(42))
        drawn = logits - torch.log(-torch.log(noise + 1e-20) + 1e-20)
    assert np.allclose(hidden.numpy(), arrays["pre_latent"], atol=2e-5)
    assert np.allclose(logits.numpy(), arrays["cluster_logits"], atol=2e-5)
    assert (drawn.argmax(1).numpy() == arrays["y_onehot_seed42"].argmax(1)).all()


def test_other_cells_matter_unless_each_is_alone(reference):
    arrays, model, cells = reference
    few = cells_of(arrays["X_counts"][:7], arrays["gene_list"])
    for context, same in (("data-set", False), ("cell", True)):
        own = replace(model, cluster="argmax", context=context)
        assert np.allclose(own.embed(few, 0), own.embed(cells, 0)[:7], atol=2e-5) is same, context
    assert "context" in model.notes(cells)[0]


def test_seeded_components_belong_to_cells(reference):
    """They depend on seed and cell, not on the order: reversed cells have the reversed embedding."""
    _, model, cells = reference
    backwards = replace(cells, counts=cells.counts[::-1], ids=cells.ids[::-1], batches=cells.batches[::-1])
    assert np.allclose(model.embed(backwards, 0)[::-1], model.embed(cells, 0), atol=2e-5)
    assert not np.allclose(model.embed(cells, 1), model.embed(cells, 0), atol=1e-2)


def test_small_release_is_read_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_cellplm(tmp_path / "w", list(adata.var_names))
    embedded = embedding.run(adata, "cellplm", weights=folder)
    assert embedded.matrix.shape == (80, 10) and embedded.genes.n_read == 150
    with pytest.raises(ValueError, match="the cells have no batches"):
        embedding.run(adata, "cellplm", weights=folder, parameters={"context": "batch"})
    config = folder / "20230926_85M.config.json"
    config.write_text(config.read_text().replace("flowformer", "performer"))
    with pytest.raises(WeightsError, match="describes another network"):
        embedding.embed(adata, "cellplm", weights=folder)
