"""Trained networks beside their untrained twins, on the pretraining objective."""

import pandas as pd

from zeroshot.results import reconstructions


def test_a_trained_network_stands_beside_its_own_twin_and_the_baseline_of_its_run():
    rows = [
        ("scgpt-small", "a", "GEP", 5.0), ("scgpt-small", "a", "gene mean", 6.0),
        ("scgpt-small-untrained", "a", "GEP", 8.0), ("scgpt-small-untrained", "a", "GEP", 10.0),
        ("scgpt-small-untrained", "a", "gene mean", 7.0), ("scgpt-small", "b", "GEP", 5.0),
        ("scgpt-untrained", "b", "GEP", 9.0),
    ]  # fmt: skip
    columns = ["model", "dataset", "predictor", "value"]
    table = reconstructions.beside_twins(pd.DataFrame(rows, columns=columns), "GEP", "gene mean")
    assert table.to_dict("records") == [
        {"network": "scGPT small", "dataset": "a", "trained": 5.0, "untrained": 9.0, "baseline": 6.0}
    ]
    pairs = pd.concat([table, table.assign(trained=6.5, network="other")])
    assert reconstructions.summary(pairs, higher_is_better=False) == {
        "networks": "scGPT small, other", "n_pairs": 2, "n_over_twin": 2, "n_over_baseline": 1,
        "trained": 5.75, "untrained": 9.0, "baseline": 6.0,
    }  # fmt: skip
    assert reconstructions.summary(table, higher_is_better=True)["n_over_twin"] == 0
    nothing = reconstructions.beside_twins(pd.DataFrame([], columns=columns), "GEP", "gene mean")
    assert nothing.empty and list(nothing) == list(table)
    assert reconstructions.summary(nothing, higher_is_better=True)["networks"] is None
