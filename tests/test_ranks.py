"""Ranks over data sets beside scikit-posthocs, and trade-offs with numbers worked out by hand."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats

from zeroshot import catalog, figures
from zeroshot.results import ranks, tradeoffs

DATASETS = ("pancreas", "pbmc-12k", "pbmc-95k", "immune")
# Of each data set: PCA is best thrice, HVG once; random numbers tie with scVI on the first.
AVG_BIO = {
    "pca": (0.9, 0.8, 0.7, 0.5),
    "hvg": (0.6, 0.7, 0.6, 0.6),
    "scvi": (0.5, 0.5, 0.5, 0.4),
    "random": (0.5, 0.1, 0.1, 0.1),
}


def scores_of(values: dict[str, tuple[float | None, ...]], metric: str = "avg_bio") -> pd.DataFrame:
    """Tidy scores: a model (or ``model@recipe``) and its values on the data sets; None is no row."""
    rows = []
    for reference, of_model in values.items():
        card, recipe = catalog.split_reference(reference)
        run = {"model": card.name, "recipe": recipe, "method": card.method(recipe), "metric": metric}
        rows += [
            {"dataset": dataset, **run, "value": value}
            for dataset, value in zip(DATASETS, of_model, strict=False)
            if value is not None
        ]
    return pd.DataFrame(rows)


def many(n_datasets: int = 8) -> pd.DataFrame:
    """Scores of five methods on data sets of this book, in an order that is mostly the same."""
    names = list(catalog.datasets())[:n_datasets]
    draw = np.random.default_rng(1)
    level = {"pca": 0.8, "hvg": 0.7, "scvi": 0.6, "harmony": 0.5, "cellama": 0.1}
    rows = [
        {"dataset": name, "model": model, "recipe": catalog.model(model).recipe, "metric": "avg_bio",
         "method": catalog.model(model).title, "value": value + 0.2 * draw.random()}
        for name in names for model, value in level.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


# -- ranks -----------------------------------------------------------------------------------------


def test_ranks_are_means_over_data_sets_and_controls_change_none_of_them():
    ranking = ranks.rank(scores_of(AVG_BIO), "avg_bio")
    methods = ranking.methods.set_index("method")
    assert dict(methods["mean_rank"]) == {"PCA": 1.25, "HVG": 1.75, "scVI": 3}
    assert dict(methods["median_rank"]) == {"PCA": 1, "HVG": 2, "scVI": 3}
    # Shares the third place on one data set, the last of four on the others.
    assert list(ranking.controls["mean_rank"]) == [(3.5 + 3 * 4) / 4]
    without = ranks.rank(scores_of({k: v for k, v in AVG_BIO.items() if k != "random"}), "avg_bio")
    pd.testing.assert_frame_equal(without.methods, ranking.methods)


def test_lower_is_better_where_the_metric_says_so():
    ranking = ranks.rank(scores_of(AVG_BIO, "pcr"), "pcr")
    assert list(ranking.methods["method"]) == ["scVI", "HVG", "PCA"]


def test_equal_scores_share_their_places():
    ranking = ranks.rank(scores_of({"pca": (0.5, 0.5), "hvg": (0.5, 0.4), "scvi": (0.1, 0.1)}), "avg_bio")
    assert dict(ranking.methods.set_index("method")["mean_rank"]) == {"PCA": 1.25, "HVG": 1.75, "scVI": 3}


def test_methods_are_compared_on_data_sets_that_all_have_and_the_rest_is_listed():
    values = {
        "pca": (0.9, 0.8, 0.7, 0.5), "hvg": (0.6, 0.7, 0.6, 0.6), "harmony": (0.7, None, 0.8, 0.9),
        "harmony@long": (0.7, None, 0.8, 0.9), "scvi": (0.5, None, None, None), "depth-only": (0.1, 0.1),
    }  # fmt: skip
    ranking = ranks.rank(scores_of(values), "avg_bio")
    assert list(ranking.ranks.index) == ["pancreas", "pbmc-95k", "immune"]
    assert set(ranking.methods["method"]) == {"PCA", "HVG", "Harmony"} and ranking.controls.empty
    omitted = {row.name: (row.what, row.reason) for row in ranking.omitted.itertuples(index=False)}
    assert omitted == {
        "Harmony (long)": ("method", "Harmony is ranked for it"),
        "scVI": ("method", "a score on 1 of 4 data sets only"),
        "pbmc-12k": ("data set", "no score of Harmony"),
        "depth only": ("control", "not scored on all of these data sets"),
    }
    everywhere = ranks.rank(scores_of(values), "avg_bio", least_share=1)
    assert everywhere.n_datasets == 4 and set(everywhere.methods["method"]) == {"PCA", "HVG"}
    assert ("method", "Harmony", "a score on 3 of 4 data sets only") in set(
        everywhere.omitted.itertuples(index=False, name=None)
    )


def test_intervals_are_reproducible_percentiles_that_hold_the_mean():
    first, again = (ranks.rank(many(), "avg_bio", seed=3).methods for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert first["mean_rank"].between(first["mean_low"], first["mean_high"]).all()
    # By hand: CELLama is last everywhere, so no draw of data sets moves it.
    assert first.iloc[-1][["mean_low", "mean_high", "median_low", "median_high"]].tolist() == [5] * 4
    # The bootstrap mean of a rank has the standard error of the data over the root of n.
    of_ranks = ranks.rank(many(), "avg_bio").ranks["HVG"]
    width = first.set_index("method").loc["HVG", ["mean_low", "mean_high"]].diff().iloc[-1]
    assert width == pytest.approx(2 * 1.96 * of_ranks.std(ddof=0) / math.sqrt(len(of_ranks)), rel=0.25)


def test_tests_equal_those_of_scikit_posthocs_and_scipy_on_the_same_table():
    scores = many()
    ranking = ranks.rank(scores, "avg_bio")
    table = scores.pivot(index="dataset", columns="method", values="value")
    expected = scikit_posthocs.posthoc_nemenyi_friedman(table)
    order = list(ranking.methods["method"])
    np.testing.assert_allclose(ranking.p_values, expected.loc[order, order])
    assert ranking.friedman == pytest.approx(stats.friedmanchisquare(*table.to_numpy().T).pvalue)
    # Table 5 of Demšar 2006: q is 2.728 for five methods at 5 %.
    assert ranking.critical_difference == pytest.approx(2.728 * math.sqrt(5 * 6 / (6 * 8)), abs=1e-3)
    mean = dict(zip(order, ranking.methods["mean_rank"], strict=True))
    apart = {(a, b) for a in order for b in order if mean[b] - mean[a] >= ranking.critical_difference}
    assert apart == set(ranking.different) and apart
    clauses = [clause.split(" above ") for clause in ranking.numbers["different"].split("; ")]
    assert len({worse for _, worse in clauses}) == len(clauses) < len(apart)
    assert apart == {(a, b) for ab, bs in clauses for a in ab.split(", ") for b in bs.split(", ")}


def test_bars_of_the_diagram_are_those_that_scikit_posthocs_draws():
    ranking = ranks.rank(many(), "avg_bio")
    mean = ranking.methods.set_index("method")["mean_rank"]
    plt.figure()
    artists = scikit_posthocs.critical_difference_diagram(mean, ranking.p_values)
    theirs = {tuple(np.sort(bar.get_xdata())) for (bar,) in artists["crossbars"]}
    plt.close("all")
    assert len(ranking.groups) > 1
    assert {tuple(np.sort(mean[list(group)])) for group in ranking.groups} == theirs
    figure = figures.draw_ranks(
        ranking.methods, ranking.controls, ranking.groups, ranking.critical_difference, "mean rank"
    )
    order = list(ranking.methods["method"])
    drawn = [line.get_ydata() for line in figure.axes[1].lines]
    assert [(math.ceil(low), math.floor(high)) for low, high in drawn] == [
        (order.index(group[0]), order.index(group[-1])) for group in ranking.groups
    ]


def test_one_data_set_or_one_method_is_compared_with_nothing():
    for values in ({"pca": (0.9,), "hvg": (0.5,)}, {"pca": (0.9, 0.8)}, {"random": (0.1, 0.2)}):
        ranking = ranks.rank(scores_of(values), "avg_bio")
        assert ranking.critical_difference is None and not ranking.groups and not ranking.different
        assert ranking.numbers["n_different"] is None and ranking.friedman is None
        figures.draw_ranks(ranking.methods, ranking.controls, ranking.groups, None, "mean rank")
    plt.close("all")


# -- trade-offs ------------------------------------------------------------------------------------


def two_metrics() -> pd.DataFrame:
    """PCA (0.8, 0.2), HVG (0.6, 0.6) and scVI (0.2, 0.8) by AvgBIO and iLISI on two data sets."""
    bio = {"pca": (0.9, 0.7), "hvg": (0.6, 0.6), "scvi": (0.1, 0.3), "random": (0.1, 0.1)}
    batch = {"pca": (0.2, 0.2), "hvg": (0.5, 0.7), "scvi": (0.8, 0.8), "random": (1.0, 1.0)}
    return pd.concat([scores_of(bio), scores_of(batch, "ilisi")], ignore_index=True)


def test_winner_at_each_weight_and_the_smallest_change_by_hand():
    means = tradeoffs.means(two_metrics(), ["avg_bio", "ilisi"])
    assert means.attrs["datasets"] == ["pancreas", "pbmc-12k"]
    assert means.set_index("method").loc["PCA", ["avg_bio", "ilisi"]].tolist() == pytest.approx([0.8, 0.2])
    winners = tradeoffs.winners_by_weight(means, "avg_bio", "ilisi")
    # 0.2 w + 0.8 (1 - w) = 0.6 at w = 1/3, and 0.8 w + 0.2 (1 - w) = 0.6 at w = 2/3.
    assert list(winners["method"]) == ["scVI", "HVG", "PCA"]
    assert winners["low"].tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    change = tradeoffs.weight_change(winners, 0.6)
    assert change["winner"] == "HVG" and change["other"] == "PCA"
    assert change["change"] == pytest.approx(2 / 3 - 0.6) and change["weight"] == pytest.approx(2 / 3)
    assert tradeoffs.weight_change(winners.iloc[:0])["winner"] is None
    with pytest.raises(ValueError, match="from 0 to 1, not 2"):
        tradeoffs.weight_change(winners, 2)


def test_one_method_that_wins_at_every_weight_is_changed_by_nothing():
    rows = pd.concat([scores_of({"pca": (0.9,), "hvg": (0.6,)}, name) for name in ("avg_bio", "ilisi")])
    winners = tradeoffs.winners_by_weight(tradeoffs.means(rows, ["avg_bio", "ilisi"]), "avg_bio", "ilisi")
    assert tradeoffs.weight_change(winners) == {
        "winner": "PCA",
        "other": None,
        "change": None,
        "weight": None,
    }


def test_the_pareto_front_holds_what_nothing_beats_and_no_control():
    means = tradeoffs.means(two_metrics(), ["avg_bio", "ilisi"])
    runs = pd.DataFrame(
        [("pancreas", "PCA", 1.0), ("pbmc-12k", "PCA", 3.0), ("immune", "PCA", 900.0),
         ("pancreas", "HVG", 5.0), ("pancreas", "scVI", 5.0), ("pancreas", "random", 0.1)],
        columns=["dataset", "method", "seconds"],
    )  # fmt: skip
    table = tradeoffs.with_costs(means, runs).set_index("method")
    assert table.loc["PCA", "seconds"] == 2
    assert dict(table["front"]) == {"PCA": True, "HVG": True, "scVI": True, "random": False}
    beaten = pd.DataFrame({"a": [1, 2, 2, np.nan], "b": [1, 1, 1, 9]})
    # Equal rows do not beat each other; a cheaper first row stays on the front.
    assert list(tradeoffs.pareto(beaten, ["a", "b"], [])) == [False, True, True, False]
    assert list(tradeoffs.pareto(beaten.assign(s=[1, 2, 2, 1]), ["a", "b"], ["s"]))[:1] == [True]
    figures.draw_pareto(
        tradeoffs.with_costs(means, runs), {"avg_bio": "AvgBIO", "ilisi": "iLISI"}, "seconds", "seconds"
    )
    plt.close("all")
