"""Our metrics beside those of scib-metrics, run here, and of scib, run in an environment of its own."""

import numpy as np
import pytest

from zeroshot import catalog, data, metrics, pipeline
from zeroshot.results import cross_check

EMBEDDED = [card.name for card in catalog.datasets().values() if card.source != "files"]


@pytest.fixture(scope="module")
def principal():
    """Embedded data set to its cells and their principal components."""
    loaded = {name: data.load(name) for name in EMBEDDED}
    return {name: (cells, pipeline.embed(cells, "pca").load("embedding")) for name, cells in loaded.items()}


@pytest.mark.parametrize("name", EMBEDDED)
def test_ours_agree_with_scib(principal, name):
    adata, embedding = principal[name]
    theirs = cross_check.scib_scores(adata.uns["dataset"]["content_hash"], "pca")
    assert {"asw_label", "nmi", "ari", "nmi_leiden", "ari_leiden", "graph_connectivity"} <= set(theirs)
    table = metrics.score(embedding, adata.obs["cell_type"], adata.obs["batch"], names=theirs)
    for row in table.dropna(subset="value").itertuples():
        tolerance = cross_check.CHANCE.get(row.metric, cross_check.EXACT)
        assert row.value == pytest.approx(theirs[row.metric], abs=tolerance), row.metric


def test_scib_was_not_run_on_other_cells():
    assert cross_check.scib_scores("0" * 64, "pca") == {}


def test_comparison_says_where_the_three_agree(principal):
    table = cross_check.compare(principal["simulated-atlas"][0]).set_index("metric")
    assert {"asw_label", "nmi", "bras", "isolated_labels", "ilisi", "kbet", "pcr"} <= set(table.index)
    assert table.index[~table["agrees"]].tolist() == ["graph_connectivity"]
    row = table.loc["graph_connectivity"]
    assert row["ours"] == pytest.approx(row["scib"], abs=1e-3) and "directed" in row["note"]
    noted = table.index[table["note"] != ""]
    assert set(noted) == {"graph_connectivity", *cross_check.SHARED}
    assert table.loc[list(cross_check.SHARED), "note"].str.contains("scib-metrics").all()


def test_stale_neighbours_lend_an_embedding_the_scores_of_another(principal):
    adata, embedding = principal["simulated-atlas"]
    labels = adata.obs["cell_type"].to_numpy()
    noise = np.random.default_rng(0).normal(size=embedding.shape).astype(np.float32)
    own = cross_check.with_neighbors_of(noise, noise, labels)
    stale = cross_check.with_neighbors_of(noise, embedding, labels)
    assert own["nmi"] < 0.1 and stale["nmi"] > 0.7 and stale["ari"] > 0.7
