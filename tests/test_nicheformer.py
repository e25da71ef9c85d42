"""Nicheformer against the reference: ranks with three kinds of means, embeddings; what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from released import PARITY, cells_of, write_nicheformer

from zeroshot import embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.nicheformer import ASSAYS, Nicheformer, rank_genes, technology_means
from zeroshot.models.weights import WeightsError

REFERENCE = PARITY / "nicheformer"
CPU = Settings(device="cpu")
GENES = [f"ENSG{number:011d}" for number in range(60)]
# Name in the fixture, its means, and how they are treated: released without ties, rounded, as released.
CASES = [("f", "mean_float", "raw"), ("r", "mean_raw", "rounded"), ("nan", "mean_raw", "raw")]


@pytest.fixture(scope="module")
def arrays():
    return dict(np.load(REFERENCE / "io.npz"))


@pytest.fixture
def model(arrays, tmp_path):
    def make(means, treatment, **given):
        np.save(tmp_path / "dissociated_mean_script.npy", arrays[means])
        (tmp_path / "gene_list.txt").write_text("\n".join(GENES))
        files = {
            "weights": REFERENCE / "nicheformer.ckpt",
            "vocabulary": tmp_path / "gene_list.txt",
            "dissociated_means": tmp_path / "dissociated_mean_script.npy",
        }
        return Nicheformer(checkpoint=weights.Checkpoint(files, {}, "this test"), means=treatment, **given)

    return make


@pytest.mark.parametrize(("case", "means", "treatment"), CASES)
def test_tokens_and_embeddings(arrays, model, case, means, treatment):
    """Equal values in the order of numba's sort; padding in the mean; two layers, and with context."""
    expected = np.where(arrays[f"ids_{case}"] == 0, 1, arrays[f"ids_{case}"])
    names = {number: name for name, number in ASSAYS.items()}
    for assay in np.unique(arrays["assay"]):
        rows = np.flatnonzero(arrays["assay"] == assay)
        cells = cells_of(arrays["X_counts"][rows], GENES)
        own = model(means, treatment, assay=names[assay])
        tokens = own.tokenizer(cells, 0).tokenize(np.arange(len(rows)))
        assert (tokens.pad(1)[0] == expected[rows]).all()
        for name, given in (("last", {}), ("l1", {"layer": 1}), ("ctx", {"with_context": True})):
            for budget in (1, 10_000):
                found = Runner(replace(own, **given), cells, 0, CPU).embed(np.arange(len(rows)), budget)
                assert np.allclose(found, arrays[f"emb_{name}_{case}"][rows], atol=2e-5), (name, budget)


def test_ranks_by_hand():
    """Relative to the mean, not to the counts; equal values in order; unmeasured genes count as mean 1."""
    means = technology_means(np.array([np.nan, 0.4, 2.5, 10.0]), "rounded")
    assert means.tolist() == [1, 1, 3, 10]
    counts = cells_of([[1, 1, 4, 0], [0, 0, 3, 20], [0, 0, 0, 0]], list("abcd")).counts
    for order in ("stable", "numba"):
        ranked = rank_genes(counts, means, 3, order=order)
        assert ranked.ids.tolist() == [32, 30, 31, 33, 32] and ranked.lengths.tolist() == [3, 2, 0]
    cut = rank_genes(counts, means, 1, order="stable")
    assert cut.ids.tolist() == [32, 33] and cut.left_out.tolist() == [2, 1, 0]


def test_stable_order_differs_from_numbas_in_ties_only(arrays):
    counts = cells_of(arrays["X_counts"], GENES).counts
    means = technology_means(arrays["mean_raw"], "rounded")
    assert (means == np.where(arrays["mean_rounded"] == 0, 1, arrays["mean_rounded"])).all()
    stable, numba = (rank_genes(counts, means, 60, order=order) for order in ("stable", "numba"))
    ids = numba.pad(0)[0]
    assert (ids == arrays["tokens_rounded_first60"][:, : ids.shape[1]]).all()
    assert not arrays["tokens_rounded_first60"][:, ids.shape[1] :].any()
    assert (stable.ids != numba.ids).any()
    scaled = (arrays["X_counts"] / means)[np.repeat(np.arange(8), stable.lengths)]
    of_token = (scaled[np.arange(len(tokens.ids)), tokens.ids - 30] for tokens in (stable, numba))
    assert np.allclose(*of_token)


def test_padding_is_in_the_mean_upstream_and_left_out_in_ours(arrays, model):
    cells = cells_of(arrays["X_counts"], GENES)
    upstream, fixed = (model("mean_float", "clean", padding=padding) for padding in ("mean", "left-out"))
    ours = Runner(fixed, cells, 0, CPU).embed(np.arange(8))
    theirs = Runner(upstream, cells, 0, CPU).embed(np.arange(8))
    full = (arrays["X_counts"] > 0).sum(axis=1) >= 37
    assert full.any() and np.allclose(ours[full], theirs[full], atol=2e-5)
    assert np.abs(ours - theirs)[~full].max() > 0.05


def test_small_release_passes_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    folder = write_nicheformer(tmp_path / "w", list(adata.var_names))
    embedded = embedding.run(adata, "nicheformer", weights=folder, settings=CPU)
    assert embedded.matrix.shape == (80, 16) and embedded.checks["passed"].all()
    with pytest.raises(WeightsError, match="means of technology xenium are not among the files"):
        embedding.run(adata, "nicheformer", weights=folder, parameters={"technology": "xenium"}, settings=CPU)
    np.save(folder / "dissociated_mean_script.npy", np.ones(3))
    with pytest.raises(WeightsError, match="another vocabulary"):
        embedding.embed(adata, "nicheformer", weights=folder, settings=CPU)
    for means in (np.zeros(150), -np.ones(150), np.full(150, np.inf), np.full(150, np.nan)):
        np.save(folder / "dissociated_mean_script.npy", means)
        with pytest.raises(WeightsError, match=r"dissociated_mean_script\.npy holds means that are"):
            embedding.embed(adata, "nicheformer", weights=folder, settings=CPU)
    torch.save({"state_dict": {}}, folder / "nicheformer.ckpt")
    with pytest.raises(WeightsError, match="not a checkpoint of Nicheformer"):
        embedding.embed(adata, "nicheformer", weights=folder, settings=CPU)
    with pytest.raises(ValueError, match=r"unknown assay 'Xenum': one of MERFISH"):
        Nicheformer(assay="Xenum")
