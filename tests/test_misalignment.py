"""Embeddings in another order: what happens to their scores, and such scores of others."""

import numpy as np
import pytest

from zeroshot import data
from zeroshot.results import evidence, misalignment


def test_variants_hold_the_same_rows_in_another_order():
    embedding, n_genes = np.arange(8.0).reshape(4, 2), np.array([2, 9, 2, 5])
    variants = misalignment.variants(embedding, n_genes)
    assert list(variants) == [
        misalignment.IN_ORDER, misalignment.SORTED, misalignment.INDEXED, misalignment.RANDOM
    ]  # fmt: skip
    assert variants[misalignment.SORTED].tolist() == [[2, 3], [6, 7], [0, 1], [4, 5]]
    assert variants[misalignment.INDEXED][:, 0].tolist() == [0, 1, 2, 3]
    assert (variants[misalignment.INDEXED][:, 1:] == variants[misalignment.SORTED]).all()


def test_another_order_scores_as_random_numbers_and_is_noticed():
    compared = misalignment.compare(data.load("simulated-atlas", subset=200), "hvg")
    scores = compared.scores.pivot(index="variant", columns="metric", values="value")
    ordered, moved, indexed, noise = (
        scores.loc[name]
        for name in (misalignment.IN_ORDER, misalignment.SORTED, misalignment.INDEXED, misalignment.RANDOM)
    )
    for metric in ("ari", "nmi", "knn_accuracy", "linear_probe"):
        assert ordered[metric] > 0.5 > 0.35 > max(moved[metric], indexed[metric], noise[metric]), metric
    # What Open Problems published of such rows: neighbours are rows of the same batch next to each other.
    assert indexed["ilisi"] < 0.02 < ordered["ilisi"] < noise["ilisi"]
    assert set(compared.doubts["variant"]) == {
        misalignment.SORTED, misalignment.INDEXED, misalignment.RANDOM
    }  # fmt: skip


def test_published_rows_are_the_faulty_ones_beside_sound_ones():
    table = misalignment.published().set_index(["source", "measure"])
    source = evidence.sources()["openproblems_batch_integration"].title
    ilisi = table.loc[(source, "iLISI")]
    assert ilisi["datasets"] == 4 and ilisi["lowest"] == ilisi["highest"] == 0
    every = evidence.load("openproblems_batch_integration", faults=True)
    last = every[every["replicate"].str.contains("76ce7f28") & (every["measure"] == "ari")]
    faulty = last[last["method"] == "geneformer"]
    assert faulty["fault"].all()
    assert table.loc[(source, "ARI"), "Geneformer"] == pytest.approx(faulty["value"].median())
    sound = last[(last["method"] == "pca") & last["dataset"].isin(faulty["dataset"])]
    assert table.loc[(source, "ARI"), "PCA"] == pytest.approx(sound["value"].median())
    spatial = evidence.sources()["stfm_benchmark"].title
    assert table.loc[(spatial, "ARI"), "Geneformer"] < 0.1 < table.loc[(spatial, "ARI"), "PCA"]
    assert np.isnan(table.loc[(spatial, "ARI"), "shuffled cells"])
