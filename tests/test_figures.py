"""Figures: one panel per thing asked for, labelled, on white, whatever the numbers are."""

import inspect
import io
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from zeroshot import catalog, figures
from zeroshot.figures.style import ink_on
from zeroshot.figures.text import distinct_texts, short_text

mpl.use("Agg")
import matplotlib.pyplot as plt

METRICS = {"avg_bio": "AvgBIO", "asw_label": "ASW"}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def obs(n_labels=3, n_batches=2, cells=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "cell_type": pd.Categorical([f"type {i % n_labels:02d}" for i in range(cells)]),
            "batch": pd.Categorical([f"batch {i % n_batches}" for i in range(cells)]),
            "library_size": rng.lognormal(7, 0.5, cells),
        }
    )


def scores(**changed):
    """Two metrics, two data sets, three methods; harmony last, pca first."""
    value = {"pca": 0.8, "random": 0.3, "harmony": 0.6} | changed
    rows = [
        (dataset, model, metric, value[model] + shift)
        for dataset, shift in (("one", 0.0), ("two", 0.04))
        for model in value
        for metric in METRICS
    ]
    table = pd.DataFrame(rows, columns=["dataset", "model", "metric", "value"])
    return table.assign(
        method=[catalog.model(name).title for name in table["model"]],
        low=table["value"] - 0.05,
        high=table["value"] + 0.05,
        seen_in_pretraining="unseen",
    )


def mean_ranks(**kinds):
    """A method or control a row, the first with the best mean rank."""
    table = pd.DataFrame({"method": list(kinds), "kind": list(kinds.values())})
    table["mean_rank"] = 1.5 + table.index
    return table.assign(mean_low=table["mean_rank"] - 0.5, mean_high=table["mean_rank"] + 0.5)


def ranked():
    methods = mean_ranks(Harmony="baseline", PCA="baseline", CELLama="foundation")
    groups = [("Harmony", "PCA"), ("PCA", "CELLama")]
    return figures.draw_ranks(methods, mean_ranks(random="control"), groups, 1.9, "mean rank")


def pareto():
    table = mean_ranks(Harmony="baseline", PCA="baseline", random="control")
    table = table.assign(avg_bio=[0.8, 0.7, 0.1], ilisi=[0.3, 0.1, 0.9], seconds=[0.5, 2, 0.01])
    table = table.assign(front=[True, False, False])
    return figures.draw_pareto(table, {"avg_bio": "AvgBIO", "ilisi": "iLISI"}, "seconds", "seconds")


def verdicts():
    """Two claims by two sources, one of them changed."""
    rows = [
        ("a-claim", "Preprint", "holds", "It fails."), ("a-claim", "Publication", "fails", "It fails."),
        ("b-claim", "Preprint", "not testable here", ""), ("b-claim", "Publication", "holds", ""),
        ("c-claim", "Preprint", "not a predicate", ""),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["claim", "source", "verdict", "reversal"])
    return table.assign(numbers="a: 1")


def on_umap():
    """Scores of UMAP coordinates, a little above those of the embedding."""
    table = scores()
    return table.assign(on_umap=table["value"] + 0.1)


def of_gene_sets(n_vectors=3):
    means = np.linspace(0.5, 0.8, n_vectors)
    columns = {"measure": "pairs", "mean": means, "low": means - 0.1, "high": means + 0.1}
    return pd.DataFrame({"vectors": [f"v{number}" for number in range(n_vectors)], **columns})


def of_tokenisations():
    """Two tokenisations by length and by what they keep."""
    rows = [("ranks", "tokens", 250), ("a vector", "tokens", 1), ("ranks", "r2", 0.9), ("a vector", "r2", -2)]
    table = pd.DataFrame(rows, columns=["tokenisation", "measure", "median"])
    return table.assign(low=table["median"], high=table["median"] + 0.1)


def variants():
    """An embedding in order and in another, on two data sets."""
    rows = [
        (name, variant, 0.8 - 0.7 * moved) for name in ("one", "two") for moved, variant in enumerate("ab")
    ]
    table = pd.DataFrame(rows, columns=["dataset", "variant", "value"])
    return pd.concat([table.assign(metric=name) for name in METRICS], ignore_index=True)


def differences():
    """PCA better on both sets, the random control worse on one and tied on the other."""
    rows = [
        ("one", "pca", 0.2, "better"), ("two", "pca", 0.25, "better"),
        ("one", "random", -0.3, "worse"), ("two", "random", -0.01, "tie"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["dataset", "model", "difference", "verdict"])
    return table.assign(
        method=[catalog.model(name).title for name in table["model"]],
        low=table["difference"] - 0.05,
        high=table["difference"] + 0.05,
    )


def effects():
    """Of one model a variant that is better, then worse, and one that is tied; of another a tie."""
    rows = [
        ("one", "pca", "few genes", 0.2, "better"), ("two", "pca", "few genes", -0.1, "worse"),
        ("one", "pca", "many genes", 0.01, "tie"), ("one", "hvg", "few genes", 0.02, "tie"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["dataset", "model", "method", "difference", "verdict"])
    table = table.assign(low=table["difference"] - 0.05, high=table["difference"] + 0.05)
    return pd.concat([table.assign(metric=name) for name in METRICS], ignore_index=True)


def similarities():
    rows = [
        ("one", "pca", "a", "b", 0.9, 0.5), ("two", "pca", "a", "b", 0.7, 0.3),
        ("one", "pca", "a", "c", 0.4, 0.2), ("one", "pca", "b", "c", 0.1, 0.0),
        ("one", "hvg", "x", "y", 1.0, 1.0),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["dataset", "model", "first", "second", "cka", "overlap"])


def curves():
    rows = [
        (dataset, line, step, value)
        for dataset in ("one", "two")
        for line, values in {"PCA": (0.8, 0.7, 0.5), "HVG": (0.6, 0.6, np.nan)}.items()
        for step, value in zip(("100 %", "50 %", "10 %"), values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["dataset", "line", "step", "value"])
    return table.assign(low=table["value"] - 0.05, high=table["value"] + 0.1)


def umap(table):
    return figures.draw_umap(np.random.default_rng(1).normal(size=(len(table), 2)), table, "PCA on toy")


def errors():
    """Two predictors at three masked fractions on two panels."""
    rows = [
        (panel, fraction, predictor, 100 + 50 * fraction)
        for panel in ("A", "B")
        for fraction in (0.1, 0.5, 0.9)
        for predictor in ("GEP", "gene mean")
    ]
    return pd.DataFrame(rows, columns=["panel", "masked_fraction", "predictor", "error"])


def correlations():
    table = pd.concat([errors()] * 5, ignore_index=True)
    noise = np.random.default_rng(0).uniform(-1, 1, len(table))
    return table.assign(correlation=noise).drop(columns="error")


def joint():
    counts = np.random.default_rng(0).integers(0, 9, (10, 10))
    return figures.draw_joint({"GEP": counts, "GEPC": counts.T}, x="bin", y="predicted", extent=(0.5, 10.5))


def compared():
    """A number that agrees, and one that is far off."""
    return pd.DataFrame(
        {
            "id": ["near", "far"],
            "difference": [0.005, -2.0],
            "tolerance": [0.01, 0.01],
            "status": ["agrees", "differs"],
        }
    )


def places():
    won = pd.DataFrame(
        [("PCA", "one", "best"), ("Harmony", "one", "tied with the best"), ("PCA", "two", "best")],
        columns=["method", "dataset", "place"],
    )
    return figures.draw_places(scores(), dict.fromkeys(METRICS, won), METRICS)


def papers():
    rows = [
        (2021, "arXiv", "Models"),
        (2023, "arXiv", "Models"),
        (2023, "Cell", "Surveys"),
        (2023, None, "Surveys"),
    ]
    return pd.DataFrame(rows, columns=["year", "venue", "section"])


def grown() -> pd.DataFrame:
    return pd.DataFrame(
        {"title": ["first", "second"], "retained": [0, 4], "added": [5, 3], "removed": [0, 1]}
    )


def descending() -> tuple[pd.DataFrame, pd.DataFrame]:
    models = pd.DataFrame(
        {
            "name": ["a", "b", "d", "c"],
            "trunk": ["cells", "cells", "cells", "text"],
            "branch": ["binning", "binning", "ranks", "sentence"],
            "year": [2022, 2024, 2023, 2023],
            "base_model": [None, None, None, "GPT"],
            "here": [True, False, False, False],
        }
    )
    return models, pd.DataFrame([{"model": "b", "parent": "a", "takes": "tokens"}])


def surveyed():
    """Three models pretrained on cells, two of the same size, and one that reads text."""
    rows = [
        ("a", 2022, ("binning",), "PLM", "masked", 1.0, "cells"),
        ("b", 2024, ("binning", "metadata"), "PLM", "next token", 50.0, "cells"),
        ("c", 2024, ("binning",), "PLM", "next token", 50.0, "transcriptomes"),
        ("d", 2024, (), "LLM", "tuning-free", np.nan, None),
    ]
    columns = ["name", "year", "tokens", "model_type", "paradigm", "size_millions", "size_unit"]
    return pd.DataFrame(rows, columns=columns)


def marks():
    rows = [
        ("a", "annotation", "cell", "not compared"), ("b", "annotation", "cell", "supported"),
        ("a", "networks", "gene", "text only"), ("b", "networks", "gene", "contradicted"),
        ("b", "discovery", "cell", "table only"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "task", "level", "verdict"])


def dated() -> pd.DataFrame:
    """Models of a tree: a day, a month and a year, on two trunks."""
    return pd.DataFrame(
        {
            "name": ["$a$", "b", "c"],
            "paper": ["a", "b", "c"],
            "trunk": ["one", "one", "two"],
            "date": ["2024-11-09", "2024-03", "2022"],
            "modality": ["RNA", "ATAC", "RNA"],
            "peer_reviewed": [True, False, True],
        }
    )


def tree():
    rows = [
        ("models", "tokens", "binning", "a"),
        ("models", "tokens", "binning", "b"),
        ("tasks", "cells", "x", "a"),
    ]
    return pd.DataFrame(rows, columns=["level1", "level2", "level3", "model"])


def forest() -> pd.DataFrame:
    """Differences of two models in two sources: above, below and around 0, and without an interval."""
    rows = [
        ("scGPT", "one", "PCA", 0.1, 0.05, 0.15, 5, 0, 1),
        ("scGPT", "two", "PCA", -0.1, -0.2, -0.05, 5, 2, 4),
        ("scGPT", "two", "scVI", 0.0, -0.1, 0.1, 4, 0, 4),
        ("UCE", "one", "PCA", 0.2, np.nan, np.nan, 1, 1, 1),
    ]
    columns = ["method", "source", "baseline", "mean", "low", "high", "n", "n_leak", "n_variants"]
    return pd.DataFrame(rows, columns=columns)


def outcomes() -> pd.DataFrame:
    rows = [("clustering", "PCA", 3, 1, 2, 6), ("annotation", "kNN", 0, 0, 4, 4)]
    return pd.DataFrame(rows, columns=["area", "baseline", "wins", "ties", "losses", "n"])


def noise() -> pd.DataFrame:
    rows = [("one", "clustering", 0.01, 0.05), ("two", "annotation", 0.1, 0.02)]
    return pd.DataFrame(rows, columns=["source", "area", "spread", "effect"])


def profiles() -> pd.DataFrame:
    rows = [
        (1, "scVI", "baseline", 0.6, 0.5, 100.0, True),
        (2, "scGPT", "foundation", 0.5, 0.4, 900.0, False),
        (3, "shuffled", "control", 0.0, 0.3, np.nan, False),
    ]
    return pd.DataFrame(
        rows, columns=["number", "method", "kind", "clustering", "batch_mixing", "seconds", "front"]
    )


def ladder(n_datasets: int = 3) -> pd.DataFrame:
    rows = [
        {"dataset": f"set {one}", "network": network, "state": state, "whole": whole, "n_cells": n_cells,
         "value": 0.1 * place + 0.02 * one, "low": 0.08 * place, "high": 0.15 * place}
        for one in range(n_datasets)
        for network in ("masked values", "masked ranks")
        for whole in ("Blood", "All")
        for place, (state, n_cells) in enumerate([("untrained", 200), ("trained", 200), ("trained", 20_000)])
    ]  # fmt: skip
    baseline = {"network": "PCA", "state": "baseline", "whole": None, "n_cells": np.nan, "value": 0.6}
    return pd.DataFrame([*rows, *({"dataset": f"set {one}"} | baseline for one in range(n_datasets))])


def ladder_states() -> pd.DataFrame:
    rows = [(network, name, loss, 1 - loss / 10) for network in "ab" for name in "xy" for loss in (9, 6, 3)]
    return pd.DataFrame(rows, columns=["network", "dataset", "loss", "value"])


def loss_curves() -> pd.DataFrame:
    rows = [(network, "all", 0, "gep", cells, 9 - cells / 10, 6.0, (9 - cells / 10) / 6)
            for network in "ab" for cells in (0, 20, 60)]  # fmt: skip
    columns = ["network", "corpus", "seed", "decoder", "cells", "loss", "baseline", "ratio"]
    return pd.DataFrame(rows, columns=columns)


AXES = {"clustering": "clustering", "batch_mixing": "batch mixing"}


def of_labels():
    methods = {"PCA": "pca", "$CELLama_": "cellama", "random": "random", "label oracle": "label-oracle"}
    return pd.DataFrame(
        [
            (method, model, split, "knn", per_type, value, value - 0.05, value + 0.05, 2)
            for method, model in methods.items()
            for split in ("random", "batch-out")
            for per_type, value in ((1, 0.4), (10, 0.6 + len(method) / 50))
        ],
        columns=["method", "model", "split", "classifier", "per_type", "value", "low", "high", "n_datasets"],
    )


def mapped():
    methods = {"PCA": "pca", "$CELLama_": "cellama", "random": "random"}
    return pd.DataFrame(
        [
            (statistic, pair, method, model, value, value - 0.05, value + 0.05)
            for statistic in ("accuracy", "novelty_auroc")
            for method, model in methods.items()
            for pair, value in (("pbmc-sorted → kang-deepmaps", 0.9), ("x → y", 0.2 + len(method) / 50))
        ],
        columns=["statistic", "pair", "method", "model", "value", "low", "high"],
    )


DRAWN = {
    "draw_forest": lambda: figures.draw_forest(forest()),
    "draw_outcomes": lambda: figures.draw_outcomes(outcomes()),
    "draw_noise": lambda: figures.draw_noise(noise()),
    "draw_profiles": lambda: figures.draw_profiles(profiles(), AXES),
    "draw_papers_by_year": lambda: figures.draw_papers_by_year(papers()),
    "draw_papers_by_venue": lambda: figures.draw_papers_by_venue(papers(), 5),
    "draw_editions": lambda: figures.draw_editions(grown()),
    "draw_lineage": lambda: figures.draw_lineage(*descending()),
    "draw_workflow": figures.draw_workflow,
    "draw_tree": lambda: figures.draw_tree(dated()),
    "draw_membership": lambda: figures.draw_membership(marks(), "model", "task"),
    "draw_coverage": lambda: figures.draw_coverage(
        pd.DataFrame({"fact": ["$code$", "tasks"], "models": [1, 2], "share": [0.25, 0.5]})
    ),
    "draw_overview": lambda: figures.draw_overview(
        pd.DataFrame({"step": ["a", "b", "b"], "box": ["x", "y", "z"], "item": ["$1$", "2", "3"]})
    ),
    "draw_taxonomy": lambda: figures.draw_taxonomy(tree()),
    "draw_task_matrix": lambda: figures.draw_task_matrix(marks(), ["a", "b", "c"]),
    "draw_pretraining_sizes": lambda: figures.draw_pretraining_sizes(surveyed().dropna()),
    "draw_published": lambda: figures.draw_published(compared()),
    "draw_umaps": lambda: figures.draw_umaps({"PCA": np.eye(60, 2), "scVI": np.ones((60, 2))}, obs(), "toy"),
    "draw_reconstruction_errors": lambda: figures.draw_reconstruction_errors(errors(), "MSE"),
    "draw_rank_correlations": lambda: figures.draw_rank_correlations(correlations()),
    "draw_joint": joint,
    "draw_effects": lambda: figures.draw_effects(effects(), METRICS),
    "draw_similarity": lambda: figures.draw_similarity(similarities()),
    "draw_curves": lambda: figures.draw_curves(curves(), "counts kept", "AvgBIO"),
    "draw_bins": lambda: figures.draw_bins(
        np.array([1, 1, 3]), np.array([1, 1, 40]), np.array([39, 39, 50]), "c"
    ),
    "draw_umap": lambda: umap(obs()),
    "draw_differences": lambda: figures.draw_differences(differences(), "AvgBIO minus that of HVG"),
    "draw_places": lambda: places(),
    "draw_ranks": ranked,
    "draw_pareto": pareto,
    "draw_ladder": lambda: figures.draw_ladder(ladder(), "AvgBIO"),
    "draw_loss_curves": lambda: figures.draw_loss_curves(loss_curves()),
    "draw_losses_and_scores": lambda: figures.draw_losses_and_scores(ladder_states(), "AvgBIO"),
    "draw_variants": lambda: figures.draw_variants(variants(), METRICS),
    "draw_gene_sets": lambda: figures.draw_gene_sets(of_gene_sets(), {"pairs": "pairs"}),
    "draw_tokenisations": lambda: figures.draw_tokenisations(
        of_tokenisations(), {"tokens": "tokens", "r2": "R²"}, "tokens"
    ),
    "draw_label_curves": lambda: figures.draw_label_curves(
        of_labels(), {"random": "any batch", "batch-out": "other batches"}, {"knn": "votes"}, "accuracy"
    ),
    "draw_mappings": lambda: figures.draw_mappings(
        mapped(), {"accuracy": "accuracy (higher is better)", "novelty_auroc": "AUROC"}
    ),
    "draw_verdicts": lambda: figures.draw_verdicts(verdicts()),
    "draw_scores_on_umap": lambda: figures.draw_scores_on_umap(on_umap(), METRICS),
    "draw_scores_by_method": lambda: figures.draw_scores_by_method(scores(), METRICS),
    "draw_composition": lambda: figures.draw_composition(obs(), "toy"),
    "draw_depth": lambda: figures.draw_depth({"one": obs(), "two": obs(n_batches=3)}),
}


def test_every_figure_is_tested():
    assert set(DRAWN) == {name for name, _ in inspect.getmembers(figures) if name.startswith("draw_")}


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    file.seek(0)
    return plt.imread(file)


@pytest.mark.parametrize("name", DRAWN)
def test_is_a_figure_on_opaque_white_with_its_table_and_the_same_vector_form_each_time(name):
    # A reader's dark theme must not become the ground of a figure.
    with plt.style.context("dark_background"):
        first = DRAWN[name]()
        text = figures.to_svg(first)  # before any other drawing, which would move what it has laid out
        image = pixels(first)
    assert isinstance(first, Figure)
    assert (image[..., 3] == 1).all()
    for corner in (image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]):
        assert (corner == 1).all()
    assert (image[..., :3] != 1).any()
    table = pd.read_csv(io.StringIO(figures.to_csv(first)))
    assert len(table) and not [column for column in table if column.startswith("Unnamed")]
    assert text == figures.to_svg(DRAWN[name]()) and "date" not in text
    assert ElementTree.fromstring(text).tag.endswith("svg")


# -- text of data, as it is

ODD = (
    "_unassigned", "CD4$^+$ T", "cost $5 or $6", "a_{b}$", '<b>NK</b> & "B"', "βγ-δ 细胞 [/x]", "two\nlines",
    "tab\tbed", "zero\u200bwidth", "\u202eright to left", "العربية", "\N{GRINNING FACE} T", "\\frac{$", "%s",
)  # fmt: skip


def odd_obs(cells=84):
    names = np.array(ODD, dtype=object)[np.arange(cells) % len(ODD)]
    batches = np.where(np.arange(cells) // len(ODD) % 2, "_d", "$x$_1")
    return obs(cells=cells).assign(cell_type=pd.Categorical(names), batch=pd.Categorical(batches))


def odd_scores():
    names = dict(zip(["PCA", "Harmony", "random"], ODD, strict=False))
    table = scores()
    return table.assign(method=table["method"].map(names), dataset="$" + table["dataset"] + "$_")


def drawn_odd():
    """Figures of data whose names hold what matplotlib gives a meaning to."""
    table, of = odd_obs(), odd_scores()
    points = np.random.default_rng(1).normal(size=(len(table), 2))
    metrics = {"avg_bio": "$A_{bio}", "asw_label": "_ASW"}
    won = pd.DataFrame([(ODD[0], "$one$_", "best")], columns=["method", "dataset", "place"])
    renamed = {"a": ODD[1], "b": ODD[2], "c": ODD[0], "one": "$1", "two": "_2", "PCA": "_$", "GEP": "_$x$"}
    yield figures.draw_umap(points, table, "it's $1 file_$x.h5ad")
    yield figures.draw_umaps({"_$PCA$": points}, table, "$t_{")
    yield figures.draw_composition(table, "$x_{")
    yield figures.draw_depth({"_$one": table})
    yield figures.draw_scores_by_method(of, metrics)
    yield figures.draw_places(of, dict.fromkeys(metrics, won), metrics)
    yield figures.draw_scores_on_umap(of.assign(on_umap=0.5), metrics)
    yield figures.draw_differences(of.assign(difference=of["value"], verdict="tie"), "$d_")
    yield figures.draw_effects(effects().replace(renamed).replace("few genes", "_$f_{"), metrics)
    yield figures.draw_similarity(similarities().query("model == 'pca'").replace(renamed))
    yield figures.draw_curves(curves().replace(renamed), "$x_", "$y_")
    yield figures.draw_reconstruction_errors(errors().replace(renamed), "$e_")
    yield figures.draw_rank_correlations(correlations().replace(renamed))
    yield figures.draw_papers_by_year(papers().replace({"Models": "_$M$", "Surveys": "$S_{"}))


@pytest.mark.filterwarnings("error", "default::ResourceWarning")  # a socket of another test, collected here
def test_text_of_data_is_shown_as_it_is():
    made = list(drawn_odd())
    for figure in made:
        assert not [text for text in figure.findobj(Text) if text.get_parse_math() and "$" in text.get_text()]
    umap_figure, umaps, composition, depth, by_method, _, _, _, _, _, lines, predicted, boxes, years = made
    pixels(umap_figure), pixels(composition)
    for figure in (umap_figure, umaps):
        types, batches = (legend(axis) for axis in figure.axes if axis.get_legend() is not None)
        assert set(types) == set(ODD) and set(batches) == {"_d", "$x$_1"}
    assert {label.get_text() for label in composition.axes[0].get_yticklabels()} == set(ODD)
    assert set(legend(depth.axes[0])) == {"_d", "$x$_1"} and depth.axes[0].get_title() == "_$one"
    assert {"$one$_", "$two$_"} <= {text.get_text() for text in by_method.legends[0].get_texts()}
    assert [text.get_text() for text in lines.legends[0].get_texts()] == ["_$", "HVG"]
    assert legend(predicted.axes[0]) == legend(boxes.axes[0]) == ["_$x$", "gene mean"]
    assert [text.get_text() for text in years.legends[0].get_texts()] == ["_$M$", "$S_{"]
    ElementTree.fromstring(figures.to_svg(umap_figure))


def test_mathematics_is_left_to_figures_of_others():
    umap(obs())
    assert plt.rcParams["text.parse_math"] and plt.figure().text(0, 0, "$x^2$").get_parse_math()


def test_numbers_of_logarithmic_axes_are_plain():
    figure = figures.draw_depth({"one": obs()})
    figure.canvas.draw()
    axis = figure.axes[0].xaxis
    shown = [tick.get_text() for which in ("major", "minor") for tick in axis.get_ticklabels(which=which)]
    assert "1,000" in shown and not [text for text in shown if "$" in text]


def test_long_texts_are_shortened_and_stay_apart():
    first, second = (
        "a cell type with a name of " + "very " * 30 + end for end in ("long (1) x", "long (2) x")
    )
    table = obs(n_labels=2)
    table["cell_type"] = table["cell_type"].cat.rename_categories([first, second])
    figure = umap(table)
    names = legend(figure.axes[0])
    assert len(set(names)) == 2 and all(len(name) <= 44 and "…" in name for name in names)
    assert first in figures.to_csv(figure) and second in figures.to_csv(figure)
    assert distinct_texts(["x" * 50 + "1" + "x" * 50, "x" * 50 + "2" + "x" * 50, "y"])[2] == "y"
    assert len(set(distinct_texts(["x" * 50 + "1" + "x" * 50, "x" * 50 + "2" + "x" * 50, "y"]))) == 3
    assert short_text("细" * 40, 40) == "细" * 13 + "…" + "细" * 6, (
        "letters that are twice as wide count as two"
    )
    assert short_text("a\x00b\ud800") == "a\ufffdb\ufffd" and short_text("a\nb\nc\nd") == "a ↵ b ↵ c ↵ d"


# -- sizes


def test_many_groups_are_counted_and_the_largest_are_named():
    table = obs(cells=3000).assign(
        cell_type=pd.Categorical([f"type {min(i, 999)}" for i in range(3000)]),
        batch=pd.Categorical([f"donor {i % 982}" for i in range(3000)]),
    )
    points = np.random.default_rng(0).normal(size=(3000, 2))
    for figure in (
        figures.draw_umap(points, table, "many"),
        figures.draw_umaps({"PCA": points}, table, "many"),
    ):
        types, batches = (legend(axis) for axis in figure.axes if axis.get_legend() is not None)
        assert len(types) == len(batches) == 61 and "type 999" in types and "donor 0" in batches
        assert types[-1] == "940 other cell types (grey)" and batches[-1] == "922 other batches (grey)"
    colours = {to_hex(colour) for colour in figure.axes[0].collections[0].get_facecolors()}
    assert len(colours) == 61, "one for all that are not named"
    composition = figures.draw_composition(table, "many")
    assert max(composition.get_size_inches()) < 25
    assert "72 of 1,000 cell types and 30 of 982 batches" in composition.axes[0].get_title()
    rows = composition.axes[0].get_yticklabels()
    assert rows[0].get_text() == "type 999" and len(rows) == 72
    assert pd.read_csv(io.StringIO(figures.to_csv(composition)))["cells"].sum() == 3000
    depth = figures.draw_depth({"many": table})
    assert legend(depth.axes[0])[-1] == "962 batches are not shown" and len(legend(depth.axes[0])) == 21


def test_many_methods_and_data_sets_stay_within_bounds():
    rows = [(f"set {m % 40}", f"method {m}", 0.01 * m) for m in range(110)]
    table = pd.DataFrame(rows, columns=["dataset", "method", "value"]).assign(
        model="pca", metric="avg_bio", low=np.nan, high=np.nan, seen_in_pretraining="unseen",
        difference=0.1, verdict="tie",
    )  # fmt: skip
    by_method = figures.draw_scores_by_method(table, {"avg_bio": "AvgBIO"})
    assert methods(by_method.axes[0])[0] == "method 109" and len(methods(by_method.axes[0])) == 100
    assert "10 more methods are not shown" in [text.get_text() for text in by_method.legends[0].get_texts()]
    few = table.iloc[:12]
    won = pd.DataFrame({"method": [], "dataset": [], "place": []})
    for figure in (by_method, figures.draw_differences(few, "x"),
                   figures.draw_places(few, {"avg_bio": won}, {"avg_bio": "AvgBIO"})):  # fmt: skip
        width, height = figure.get_size_inches()
        assert width <= 24 and height <= 60


@pytest.mark.filterwarnings("error", "default::ResourceWarning")  # a socket of another test, collected here
def test_nothing_to_draw_is_said():
    none, empty = scores().iloc[:0], {"avg_bio": "AvgBIO"}
    compare = none.assign(difference=0.0, verdict="tie", on_umap=0.0)
    points = np.zeros((0, 2))
    made = [
        figures.draw_scores_by_method(none, empty), figures.draw_scores_by_method(scores(), {}),
        figures.draw_places(none, {}, empty), figures.draw_differences(compare, "x"),
        figures.draw_scores_on_umap(compare, empty), figures.draw_effects(compare, empty),
        figures.draw_similarity(similarities().iloc[:0]), figures.draw_curves(curves().iloc[:0], "x", "y"),
        figures.draw_reconstruction_errors(errors().iloc[:0], "x"), figures.draw_depth({}),
        figures.draw_rank_correlations(correlations().iloc[:0]), figures.draw_umaps({}, obs(), "x"),
        figures.draw_composition(obs().iloc[:0], "x"), figures.draw_published(compared().iloc[:0]),
        figures.draw_papers_by_year(papers().iloc[:0]), figures.draw_joint({}, x="x", y="y", extent=(0, 1)),
    ]  # fmt: skip
    for figure in made:
        assert figure.axes[0].texts[0].get_text().startswith("Nothing to draw: ")
        figures.to_csv(figure)
    plt.close("all")  # matplotlib warns of more than twenty
    for figure in (
        figures.draw_umap(points, obs().iloc[:0], "x"),
        figures.draw_depth({"none": obs().iloc[:0]}),
        figures.draw_rank_correlations(correlations().assign(correlation=np.nan)),
        figures.draw_scores_by_method(
            scores().query("not (metric == 'avg_bio' and model == 'pca')"), METRICS
        ),
        figures.draw_curves(curves().assign(low=2.0, high=-1.0), "x", "y"),
    ):
        pixels(figure)


# -- what a figure can be saved as


def test_tables_hold_what_is_drawn_in_full():
    third = scores(pca=1 / 3)
    drawn = pd.read_csv(
        io.StringIO(figures.to_csv(figures.draw_scores_by_method(third, {"asw_label": "ASW"})))
    )
    assert set(drawn["metric"]) == {"asw_label"} and len(drawn) == 6
    assert 1 / 3 in drawn["value"].to_list()
    won = pd.read_csv(io.StringIO(figures.to_csv(places())))
    best = won[won["place"] == "best"]
    assert set(zip(best["method"], best["dataset"], strict=True)) == {("PCA", "one"), ("PCA", "two")}
    shares = pd.read_csv(io.StringIO(figures.to_csv(joint())))
    assert shares.groupby(["panel", "true"])["share"].sum().to_numpy() == pytest.approx(1)
    assert shares["true"].min() == 1 and shares["predicted"].max() == 10, "middles of the bins"


def test_many_points_are_a_picture_in_the_vector_form():
    few, many = (umap(obs(cells=cells)) for cells in (100, 20_000))
    assert "<image" not in figures.to_svg(few)
    text = figures.to_svg(many)
    assert text.count("<image") == 2 and len(text) < 300_000
    assert len(figures.to_csv(many).splitlines()) == 20_001


# -- UMAP


def legend(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_umap_panels_and_labels():
    figure = umap(obs())
    assert [axis.get_title() for axis in figure.axes] == ["coloured by cell type", "coloured by batch"]
    assert {(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes} == {("UMAP 1", "UMAP 2")}
    assert legend(figure.axes[0]) == ["type 00", "type 01", "type 02"]
    assert legend(figure.axes[1]) == ["batch 0", "batch 1"]
    assert figure.get_suptitle() == "PCA on toy"


def test_umap_draws_each_cell_once_in_the_colour_of_its_group():
    table = obs(cells=40)
    coordinates = np.column_stack([np.arange(40), np.arange(40) % 7])
    axis = figures.draw_umap(coordinates, table, "toy").axes[0]
    (points,) = axis.collections
    assert sorted(map(tuple, points.get_offsets())) == sorted(map(tuple, coordinates.astype(float)))
    colour = dict(
        zip(points.get_offsets()[:, 0].astype(int), map(to_hex, points.get_facecolors()), strict=True)
    )
    by_type = {
        label: {colour[i] for i in range(40) if table["cell_type"][i] == label} for label in legend(axis)
    }
    assert all(len(found) == 1 for found in by_type.values())
    assert len(set.union(*by_type.values())) == 3


def test_umap_gives_every_group_a_colour_of_its_own():
    for groups in (3, 10, 14, 24):
        axis = umap(obs(n_labels=groups, cells=120)).axes[0]
        assert len({to_hex(colour) for colour in axis.collections[0].get_facecolors()}) == groups
        assert len(legend(axis)) == groups


def test_umap_leaves_out_categories_without_cells():
    table = obs()
    table["cell_type"] = table["cell_type"].cat.add_categories("nowhere")
    assert "nowhere" not in legend(umap(table).axes[0])


def test_umap_of_one_batch():
    assert legend(umap(obs(n_batches=1)).axes[1]) == ["batch 0"]


# -- scores


def methods(axis):
    """Methods from top to bottom."""
    names = [label.get_text() for label in axis.get_yticklabels()]
    bottom, top = axis.get_ylim()
    assert bottom > top
    return names


def points(axis):
    return [line for line in axis.lines if len(line.get_xdata()) == 1]


def medians(axis):
    return {
        line.get_xdata()[0]: line.get_ydata().mean() for line in axis.lines if line.get_linewidth() == 2.5
    }


def intervals(axis):
    """Ends of the thin horizontal lines."""
    return sorted(tuple(line.get_xdata()) for line in axis.lines if line.get_linewidth() == 1)


def test_scores_panels_methods_and_medians():
    figure = figures.draw_scores_by_method(scores(), METRICS)
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "AvgBIO\n(higher is better)",
        "ASW\n(higher is better)",
    ]
    axis = figure.axes[0]
    assert methods(axis) == [catalog.model(name).title for name in ("pca", "harmony", "random")]
    assert len(points(axis)) == 6
    found = medians(axis)
    assert sorted(found) == pytest.approx([0.32, 0.62, 0.82])
    assert [found[x] for x in sorted(found, reverse=True)] == [0, 1, 2]
    assert len({line.get_marker() for line in points(axis)}) == 2  # one per data set
    assert {line.get_color() for line in points(axis)} == {
        figures.scores.KIND_COLOURS["baseline"],
        figures.scores.KIND_COLOURS["control"],
    }
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["one", "two", "baseline", "control", "median of random"]
    assert intervals(axis)[:2] == [pytest.approx((0.25, 0.35)), pytest.approx((0.29, 0.39))]
    dotted = [line for line in axis.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [pytest.approx(0.32)]


def test_points_of_data_seen_in_pretraining_are_hollow():
    table = scores()
    table.loc[table["dataset"].eq("two") & table["model"].eq("pca"), "seen_in_pretraining"] = "partly"
    figure = figures.draw_scores_by_method(table, METRICS)
    hollow = [line for line in points(figure.axes[0]) if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in hollow] == [pytest.approx(0.84)]
    assert "seen in pretraining, at least partly" in [
        text.get_text() for text in figure.legends[0].get_texts()
    ]


def test_scores_on_umap_stand_above_the_line_where_they_are_higher():
    axis, _ = figures.draw_scores_on_umap(on_umap(), METRICS).axes
    points = [line.get_xydata()[0] for line in axis.lines if line.get_linestyle() == "None"]
    assert len(points) == 6 and all(y == pytest.approx(x + 0.1) for x, y in points)
    missing = on_umap().assign(on_umap=np.nan)
    axis, _ = figures.draw_scores_on_umap(missing, METRICS).axes
    assert not [line for line in axis.lines if line.get_linestyle() == "None"]


def test_ties_stand_out_from_differences():
    axis = figures.draw_differences(differences(), "AvgBIO minus that of HVG").axes[0]
    assert methods(axis) == ["PCA", "random"] and axis.get_xlabel() == "AvgBIO minus that of HVG"
    tied = [line for line in points(axis) if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in tied] == [-0.01]
    assert tied[0].get_color() == figures.scores.TIE_COLOUR and len(points(axis)) == 4
    assert intervals(axis)[0] == pytest.approx((-0.35, -0.25))


def test_scores_best_on_top_where_lower_is_better():
    axis = figures.draw_scores_by_method(scores(), METRICS, ascending=True).axes[0]
    assert methods(axis) == [catalog.model(name).title for name in ("random", "harmony", "pca")]


def test_scores_that_are_missing():
    table = scores(harmony=np.nan)
    table.loc[(table["dataset"] == "two") & (table["model"] == "pca"), "value"] = np.nan
    figure = figures.draw_scores_by_method(table, METRICS)
    axis = figure.axes[0]
    assert methods(axis)[-1] == "Harmony"  # kept, at the bottom, without a point
    assert len(points(axis)) == 3 and sorted(medians(axis)) == pytest.approx([0.32, 0.8])
    pixels(figure)
    pixels(figures.draw_scores_by_method(table.assign(value=np.nan), {"avg_bio": "AvgBIO"}))


def test_scores_of_many_data_sets():
    table = pd.concat([scores().assign(dataset=f"set {i:02d}") for i in range(25)])
    figure = figures.draw_scores_by_method(table, {"avg_bio": "AvgBIO"})
    assert len(figure.axes) == 1 and len(figure.legends[0].get_texts()) == 28
    pixels(figure)


def test_places_are_marked_in_their_cells():
    axis = places().axes[0]
    shown = [text.get_text() for text in axis.texts]
    assert shown == ["0.80 ●", "0.84 ●", "0.60 ○", "0.64", "0.30", "0.34"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["PCA", "Harmony", "random"]
    table = scores()
    table.loc[table["dataset"].eq("two"), "value"] = np.nan
    won = pd.DataFrame({"method": ["PCA"], "dataset": ["one"], "place": ["best"]})
    drawn = figures.draw_places(table, {"avg_bio": won}, {"avg_bio": "AvgBIO"}).axes[0]
    assert [text.get_text() for text in drawn.texts] == ["0.80 ●", "0.60", "0.30"]  # none where no score is


def test_numbers_stand_out_from_their_fields():
    table = scores().assign(value=np.linspace(0, 1, len(scores())))
    won = pd.DataFrame({"method": ["PCA"], "dataset": ["one"], "place": ["best"]})
    axis = figures.draw_places(table, {"avg_bio": won}, {"avg_bio": "AvgBIO"}).axes[0]
    fields = axis.collections[0]
    values, colours = fields.get_array().ravel(), fields.get_facecolors()
    inks = {text.get_color() for text in axis.texts}
    assert len(inks) == 2, "pale and dark fields"
    for text, value, colour in zip(axis.texts, values, colours, strict=True):
        assert text.get_text().startswith(f"{value:.2f}")
        assert text.get_color() == ink_on(colour)


# -- composition and depth


def test_composition_counts():
    table = obs(cells=61)
    axis = figures.draw_composition(table, "toy").axes[0]
    assert axis.get_title() == "toy" and axis.get_xlabel() == "batch"
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert rows[0] == "type 00" and sorted(rows) == ["type 00", "type 01", "type 02"]
    shown = [int(text.get_text()) for text in axis.texts]
    assert shown == list(pd.crosstab(table["cell_type"], table["batch"]).loc[rows].to_numpy().ravel())


def test_depth_panels():
    figure = figures.draw_depth({"one": obs(), "two": obs(n_batches=12, cells=240)})
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"counts per cell"}
    assert figure.axes[0].get_xscale() == "log"
    assert len(legend(figure.axes[1])) == 12
    colours = {to_hex(area.get_facecolor()[0]) for area in figure.axes[1].collections}
    assert len(colours) == 12


def test_depth_of_one_batch_and_of_equal_cells():
    one = figures.draw_depth({"one": obs(n_batches=1)})
    assert len(one.axes) == 1 and len(one.axes[0].collections) == 1
    pixels(figures.draw_depth({"equal": obs().assign(library_size=100.0)}))


def test_networks_are_drawn_with_every_panel_and_predictor():
    figure = DRAWN["draw_reconstruction_errors"]()
    assert [axis.get_title() for axis in figure.axes] == ["A", "B"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["GEP", "gene mean"]
    boxes = DRAWN["draw_rank_correlations"]()
    assert [text.get_text() for text in boxes.axes[1].get_legend().get_texts()] == ["GEP", "gene mean"]


def test_joint_columns_add_up_to_one():
    image = joint().axes[0].images[0].get_array()
    assert np.allclose(image.sum(axis=0), 1)


def test_bins_are_drawn_once_for_each_value():
    (lines,) = DRAWN["draw_bins"]().axes[0].collections
    assert [(line[0, 0], line[:, 1].round(1).tolist()) for line in lines.get_segments()] == [
        (1, [0.6, 39.4]),
        (3, [39.6, 50.4]),
    ]


def test_published_numbers_are_drawn_in_tolerances():
    axis = DRAWN["draw_published"]().axes[0]
    points = {line.get_label(): line.get_xydata().tolist() for line in axis.lines[1:]}
    assert points == {"agrees": [[0.5, 0]], "differs": [[-200.0, 1]]}
    assert axis.get_xlim()[0] < -200


# -- ablations


def test_effects_have_a_panel_per_metric_and_a_row_per_variant_under_its_model():
    figure = figures.draw_effects(effects(), METRICS)
    titles = ["AvgBIO (higher is better)", "ASW (higher is better)"]
    assert [axis.get_title() for axis in figure.axes] == titles
    for axis in figure.axes:
        assert [tick.get_text() for tick in axis.get_yticklabels()] == [
            "",
            "few genes",
            "many genes",
            "",
            "few genes",
        ]
        headers = {text.get_position()[1]: text.get_text() for text in axis.texts}
        assert headers == {0: "PCA", 3: "HVG"}


def test_effects_are_drawn_in_the_row_of_their_variant_ties_hollow():
    axis = figures.draw_effects(effects(), METRICS).axes[0]
    drawn = {
        (line.get_xdata()[0], round(line.get_ydata()[0])): (line.get_color(), line.get_markerfacecolor())
        for line in axis.lines
        if line.get_linestyle() == "None"
    }
    better, worse, tie = (figures.ablations.VERDICT_COLOURS[name] for name in ("better", "worse", "tie"))
    assert drawn == {
        (0.2, 1): (better, better), (-0.1, 1): (worse, worse),
        (0.01, 2): (tie, "white"), (0.02, 4): (tie, "white"),
    }  # fmt: skip
    bars = sorted(tuple(line.get_xdata()) for line in axis.lines if len(line.get_xdata()) == 2)
    assert (pytest.approx(0.15), pytest.approx(0.25)) in bars


def test_similarity_has_cka_below_and_overlap_above_the_diagonal():
    figure = figures.draw_similarity(similarities())
    assert [axis.get_title() for axis in figure.axes] == ["PCA", "HVG"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    # Rows a, b, c: medians of the two sets for (a, b), nothing on the diagonal.
    assert texts == ["0.40", "0.20", "0.80", "0.00", "0.40", "0.10"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]


def test_curves_have_a_panel_per_data_set_and_steps_in_order():
    figure = figures.draw_curves(curves(), "counts kept", "AvgBIO")
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    assert {axis.get_ylabel() for axis in figure.axes} == {"AvgBIO"}
    last = figure.axes[-1]
    assert last.get_xlabel() == "counts kept"
    assert [tick.get_text() for tick in last.get_xticklabels()] == ["100 %", "50 %", "10 %"]
    pca, hvg = (container.lines[0] for container in last.containers)
    assert pca.get_ydata() == pytest.approx([0.8, 0.7, 0.5])
    assert pd.isna(hvg.get_ydata()).tolist() == [False, False, True]
    assert [round(place) for place in pca.get_xdata()] == [0, 1, 2]
    assert (hvg.get_xdata() - pca.get_xdata() > 0).all(), "side by side"


def test_curves_stand_over_the_score_of_random_numbers():
    chance = pd.Series({"two": 0.2, "one": 0.1})
    figure = figures.draw_curves(curves(), "counts kept", "AvgBIO", chance)
    for axis, value in zip(figure.axes, (0.1, 0.2), strict=True):
        (dotted,) = [line for line in axis.lines if line.get_linestyle() == ":"]
        assert dotted.get_ydata() == [value, value]
    assert [text.get_text() for text in figure.legends[0].texts].count("random numbers") == 1


def test_curves_without_an_interval_are_drawn():
    bare = curves().assign(low=np.nan, high=np.nan)
    axis = figures.draw_curves(bare, "counts kept", "overlap").axes[0]
    segments = axis.containers[0].lines[2][0].get_segments()
    assert all(low[1] == high[1] for low, high in segments)


# -- the field


def test_papers_are_stacked_in_years_without_a_gap():
    axis = DRAWN["draw_papers_by_year"]().axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["2023", "2022", "2021"]
    heights = [[bar.get_height() for bar in container] for container in axis.containers]
    assert heights == [[1, 0, 1], [0, 0, 2]]
    assert [text.get_text() for text in axis.texts] == ["1", "3"]
    old = pd.concat([papers(), papers().assign(year=1990)])
    assert len(figures.draw_papers_by_year(old).axes[0].get_xticklabels()) <= 10


def test_venues_with_most_papers_are_on_top():
    axis = DRAWN["draw_papers_by_venue"]().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Cell", "arXiv"]
    axis = figures.draw_papers_by_venue(papers(), 1).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["arXiv"]


def test_tree_has_each_branch_once_with_its_models():
    axis = DRAWN["draw_taxonomy"]().axes[0]
    assert [text.get_text() for text in axis.texts] == [
        "models", "tokens", "binning", "a, b", "tasks", "cells", "x", "a",
    ]  # fmt: skip
    heights = [text.get_position()[1] for text in axis.texts]
    assert heights == sorted(heights)


def test_editions_add_up():
    axis = DRAWN["draw_editions"]().axes[0]
    widths = [[bar.get_width() for bar in bars] for bars in axis.containers]
    assert widths == [[0, 4], [5, 3], [0, 1]]
    assert [text.get_text() for text in axis.texts] == ["5", "7: 3 added, 1 removed"]
    assert [bar.get_x() for bar in axis.containers[2]][1] == -1  # what was removed lies left of zero


def test_a_descendant_hangs_on_its_parent():
    axis = DRAWN["draw_lineage"]().axes[0]
    texts = {text.get_text(): text for text in axis.texts}
    assert {"cells", "text", "binning", "ranks", "a", "b", "c (on GPT)"} <= set(texts)
    assert texts["a"].get_fontweight() == "bold" and texts["b"].get_fontweight() == "normal"
    heights = {name: text.get_position()[1] for name, text in texts.items()}
    (line,) = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert line.get_xydata().tolist() == [[2022, heights["a"]], [2022, heights["b"]], [2024, heights["b"]]]


def test_marks_stand_in_their_cells_disagreements_apart():
    axis = DRAWN["draw_task_matrix"]().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["annotation", "discovery", "networks"]
    drawn = {line.get_label(): (line.get_marker(), line.get_xydata().tolist()) for line in axis.lines}
    assert drawn == {
        "in the table": ("o", [[0, 0], [0, 1]]),
        "table only": ("o", [[1, 1]]),
        "text only": ("^", [[2, 0]]),
        "contradicted": ("X", [[2, 1]]),
    }


def test_sizes_are_labelled_apart():
    axis = DRAWN["draw_pretraining_sizes"]().axes[0]
    assert axis.get_yscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["2022", "2023", "2024"]
    heights = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert set(heights) == {"a 1", "b 50", "c 50"}
    assert np.log10(heights["c 50"] / heights["b 50"]) == pytest.approx(0.085)
    assert len({point.get_xdata()[0] for point in points(axis)}) == 3


def test_losses_of_trained_states_stand_beside_a_line_of_the_best_without_a_network():
    axes = figures.draw_loss_curves(loss_curves()).axes
    assert [axis.get_title() for axis in axes] == ["a", "b"]
    curve, line = axes[0].lines
    assert list(curve.get_xdata()) == [20, 60] and list(curve.get_ydata()) == pytest.approx([7 / 6, 0.5])
    assert list(line.get_ydata()) == [1, 1]
    nothing = figures.draw_loss_curves(loss_curves().iloc[:0])
    assert "no network was trained" in nothing.axes[0].texts[0].get_text()


def test_a_ladder_joins_the_sizes_of_a_corpus_and_marks_untrained_networks_and_baselines():
    figure = figures.draw_ladder(ladder(n_datasets=1), "AvgBIO")
    (axis,) = [one for one in figure.axes if one.get_visible()]
    lines = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert len(lines) == 4  # two networks on two corpora
    for line in lines:
        assert list(line.get_xdata()) == [200, 20_000]
        assert list(line.get_ydata()) == pytest.approx([0.1, 0.2])
    intervals = [segment for bars in axis.collections for segment in bars.get_segments()]
    assert len(intervals) == 4 * 2 and {tuple(ends[:, 0]) for ends in intervals} == {(200, 200), (2e4, 2e4)}
    assert {tuple(ends[:, 1].round(6)) for ends in intervals} == {(0.08, 0.15), (0.16, 0.3)}
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[100], [100]]
    assert [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "None"] == [0.6]
    nothing = ladder()[lambda table: table["state"] == "baseline"]
    assert "no network was trained" in figures.draw_ladder(nothing, "AvgBIO").axes[0].texts[0].get_text()
