"""Several models on the cells of a user."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from zeroshot import store
from zeroshot.data import content_hash, contract, simulate_atlas
from zeroshot.study import own_data

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def cells(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    for name in ("datasets", "models", "other_models", "studies"):
        shutil.copy(CHECKOUT / "data" / f"{name}.yml", tmp_path / "data")
    monkeypatch.setenv("ZEROSHOT_HOME", str(tmp_path))
    adata = contract(simulate_atlas(n_cells=90, n_genes=150, n_batches=1, seed=0), name="mine")
    adata.uns["dataset"] = {"name": "mine", "title": "mine", "content_hash": content_hash(adata)}
    return adata


@pytest.fixture
def quick_scores(monkeypatch):
    """Scoring is tested elsewhere, and takes seconds."""
    row = {"metric": "avg_bio", "value": 0.5}
    tables = {
        "scores": pd.DataFrame([row | {"group": "annotation", "note": ""}]),
        "subsamples": pd.DataFrame([row | {"subsample": 0, "cells": 9}]),
    }

    def score(adata, artifact, *, seed):
        return store.load_or_compute("scores", {"of": artifact.key}, lambda: tables)

    monkeypatch.setattr(own_data.pipeline, "score", score)
    monkeypatch.setattr(own_data.pipeline, "project", lambda artifact, *, seed: (artifact.key, seed))


def test_a_refused_model_stops_no_other(cells, quick_scores):
    models = ["hvg", "pcaa", "harmony", "random", "label-oracle", "hvg", "hvg@nope"]
    runs = own_data.run_models(cells, models, seed=3)
    assert list(runs.embedded) == list(runs.scored) == ["HVG", "random", "label oracle"]
    assert list(runs.scores["method"]) == list(runs.subsamples["method"]) == list(runs.embedded)
    assert (runs.scores["n_cells"] == 90).all() and runs.genes.empty
    reasons = runs.refused.set_index("model")["reason"]
    assert list(reasons.index) == ["pcaa", "harmony", "hvg@nope"]
    assert "Did you mean pca" in reasons["pcaa"] and "batch_key" in reasons["harmony"]
    assert runs.umaps(seed=3) == {name: (runs.embedded[name].key, 3) for name in ("HVG", "random")}
    assert replace(runs, scores=runs.scores.assign(n_cells=3)).umaps(seed=3) == {}


def test_no_model_that_can_be_run_is_an_error(cells):
    refused = {(): "none is named in `models`", ("harmony", "pcaa"): "harmony: .*; pcaa: "}
    for models, message in refused.items():
        with pytest.raises(ValueError, match=f"no model can be run on these cells: {message}"):
            own_data.run_models(cells, models)
