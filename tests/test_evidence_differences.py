"""Paired differences of published scores: oriented, paired, and equal to two independent computations."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zeroshot import figures
from zeroshot.results import evidence
from zeroshot.site import outputs

CHECKOUT = Path(__file__).resolve().parents[1]
FIRST_LOOK = CHECKOUT.parent / "shared" / "evidence" / "FIRSTLOOK.csv"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return evidence.comparable(evidence.load())


@pytest.fixture(scope="module")
def pairs(rows) -> pd.DataFrame:
    return evidence.paired(rows)


def test_every_difference_equals_an_independent_computation(rows, pairs):
    """By plain pandas: the means over replicates of every pair, in the direction of the row."""
    keys = ["source", "task", "dataset", "metric"]
    variant = ["model", "checkpoint", "setting"]
    compared = rows[~rows["area"].isin(["cost", "reference"])]
    kind = compared["kind"]
    models = compared[kind.isin(["foundation", "text"]) & compared["setting"].ne("control")]
    baselines = compared[kind.eq("baseline")]
    borrowed = baselines[
        baselines["source"].isin(["openproblems_batch_integration", "openproblems_label_projection"])
    ]
    baselines = pd.concat([baselines, borrowed.assign(source="scprint2")])
    mine = models.groupby([*keys, *variant, "higher_is_better"])["value"].mean().reset_index()
    theirs = baselines.groupby([*keys, "model"])["value"].mean().reset_index()
    expected = mine.merge(theirs, on=keys, suffixes=("", "_base"))
    sign = np.where(expected["higher_is_better"], 1, -1)
    expected["difference"] = sign * (expected["value"] - expected["value_base"])
    names = {"model_base": "baseline_model"}
    place = [*keys, *variant, "baseline_model"]
    expected = expected.rename(columns=names).set_index(place)["difference"].sort_index()
    ours = pairs.groupby(place)["difference"].mean().sort_index()
    assert len(ours) > 10_000 and ours.index.equals(expected.index)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


# What the first look calls a baseline, and our names of it.
BASELINES = {
    "HVG": ("HVG", "2,000 HVGs"), "PCA": ("PCA", "pca", "PCA [100]", "50 PCs"),
    "PCA/none": ("no_integration",),
    "HVG+PCA": ("HVG+PCA", "hvg_pca"), "PCA 500": ("PCA_500",), "Harmony": ("harmony", "Harmony"),
    "scVI": ("scvi", "scVI"), "scANVI (sees labels)": ("scanvi",), "kNN on PCA": ("knn",),
    "logistic regression": ("logistic_regression",), "mean": ("Mean baseline",),
    "MLP on genes": ("MLP baseline",),
    "XGBoost on genes": ("Raw_XGBoost",), "linear model": ("linearModel",), "train mean": ("trainMean",),
    "linear on genes": ("linear",), "scTab": ("tabnet",), "bulk gene2vec": ("GENE2VEC",),
    "PPI node2vec": ("NODE2VEC",), "amino acid composition": ("AAC",),
}  # fmt: skip
# Its families of scores: the metrics of which it takes the mean, and how a family names a task.
FAMILIES = {
    "clustering bio: mean of ARI, NMI, ASW": ("ari", "nmi", "asw_label"),
    "clustering bio: mean of ARI, NMI": ("ari", "nmi"),
    "batch: mean of ASW, iLISI, kBET, graph": ("asw_batch", "ilisi", "kbet", "graph_connectivity"),
    "batch: mean of ASW, graph, iLISI": ("asw_batch", "graph_connectivity", "ilisi"),
    "batch: PCR comparison": ("pcr",),
    "annotation accuracy": ("accuracy",),
    "annotation f1_macro": ("f1_macro",),
    "annotation macro F1": ("macro_f1",),
    "annotation kNN macro F1": ("knn_macro_f1",),
    "annotation logistic macro F1": ("logistic_macro_f1",),
    "patient AUC, mean of 3 strategies": ("AUC|MIL", "AUC|avg", "AUC|vote"),
    "AUC": ("auc_macro",),
    "minus test MSE": ("test_MSE",),
}
LIATIR = {"asw_batch": "asw_batch", "ilisi": "ilisi_scaled"}
# A unit of these is a replicate or a task; of all others, a data set.
WITHIN_ONE_DATASET = ("subsample of one data set", "fold or run of one data set", "task of one data set")


def first_look_rows(of_source: dict[str, pd.DataFrame], row: pd.Series) -> pd.Series:
    """Our differences for one of its rows, one for each of its units."""
    source, family = row["source"], row["family"]
    candidates = of_source[source]
    candidates = candidates[candidates["baseline_model"].isin(BASELINES[row["baseline"]])]
    variants = {"scGPT_CP": ("scgpt", "scGPT_CP"), "scgpt": ("scgpt", "scGPT_human")}
    if source == "scgpt_tutorials":
        model, checkpoint = variants[row["model"]]
        candidates = candidates[candidates["checkpoint"].str.startswith(checkpoint)]
    else:
        model = row["model"]
    candidates = candidates[candidates["model"].eq(model)]
    unit = ["dataset"]
    if source == "gene_embedding":
        candidates = candidates[candidates["task"].str.split("|").str[0].eq(family)]
        unit = ["dataset", "replicate"] if family.startswith("gene_pair") else unit
    elif source == "tme_benchmark":
        task = "cell_type_annotation_linear_probe|" + "|".join(family.split()[-2:])
        candidates = candidates[candidates["task"].eq(task)]
    elif source == "scperturbench":
        metric, task = family.split(" ", 1)
        candidates = candidates[candidates["metric"].eq(metric) & candidates["task"].str.endswith(task)]
    elif source == "stfm_benchmark":
        task, metric = family.rsplit(" ", 1)
        candidates = candidates[candidates["metric"].eq(metric) & candidates["task"].eq(task)]
    else:
        metrics = FAMILIES.get(family, (family,))
        metrics = [LIATIR.get(m, m) for m in metrics] if source == "liatir" else metrics
        candidates = candidates[candidates["metric"].isin(metrics)]
    if row["unit"] in WITHIN_ONE_DATASET:
        unit = ["task", "replicate"]
    return candidates.groupby(unit)["difference"].mean()


def test_differences_agree_with_the_first_look(pairs):
    if not FIRST_LOOK.is_file():
        pytest.skip("../shared/evidence/FIRSTLOOK.csv is not here")
    table = pd.read_csv(FIRST_LOOK)
    assert len(table) == 770
    # It puts the two tables of Open Problems and scPRINT-2 together.
    one = pairs["source"].str.startswith("openproblems") | pairs["source"].eq("scprint2")
    pairs = pairs[pairs["task"].ne("batch_integration_seed_check")]
    of_source = dict(list(pairs.groupby(pairs["source"].mask(one, "openproblems"))))
    wrong = []
    for _, row in table.iterrows():
        ours = first_look_rows(of_source, row)
        found = [len(ours), ours.mean(), ours.median(), (ours > 0).sum()]
        expected = [row["n"], row["mean"], row["median"], row["wins"]]
        if not np.allclose(found, expected, atol=1e-9):
            wrong.append((row["source"], row["family"], row["model"], row["baseline"], found, expected))
    assert not wrong, f"{len(wrong)} of 770, the first: {wrong[:12]}"


# As the source itself prints them, rounded to four digits (results/T7_headline_summary.csv).
OF_THE_SOURCE = (
    ("S1_within_dataset", "5", "geneformer", -0.0238, 6),
    ("S1_within_dataset", "all", "scgpt", 0.0516, 13),
    ("S2_leave_donor_out", "all", "geneformer", 0.0417, 12),
    ("S3_leave_dataset_out", "100", "scgpt", -0.0706, 2),
    ("S3_leave_dataset_out", "all", "geneformer", -0.1071, 0),
)


def test_differences_are_those_that_a_source_prints(pairs):
    of_source = pairs[pairs["source"].eq("tme_benchmark") & pairs["baseline"].eq("pca")]
    summary = evidence.summarise(of_source, ("source", "task", "method"), tie=0).set_index(["task", "method"])
    for split, budget, method, mean, wins in OF_THE_SOURCE:
        ours = summary.loc[(f"cell_type_annotation_linear_probe|{split}|budget={budget}", method)]
        assert ours["mean"] == pytest.approx(mean, abs=5e-5) and ours["wins"] == wins and ours["n"] == 13


# -- on rows made here -----------------------------------------------------------------------------


@pytest.fixture
def made():
    """Rows of one source with changes: a value for each of (dataset, model, replicate)."""

    def make(values: dict, metric: str = "ari", **changes) -> pd.DataFrame:
        template = (
            evidence.load("liatir").query("metric == 'ari'").drop_duplicates("model").set_index("model")
        )
        table = []
        for (dataset, model, replicate), value in values.items():
            row = {"model": model, "dataset": dataset, "replicate": replicate, "value": value}
            table.append(template.loc[model].to_dict() | row | changes)
        return pd.DataFrame(table)

    return make


def test_positive_is_better_whatever_the_direction(made):
    values = {("a", "scgpt", "1"): 0.7, ("a", "pca", "1"): 0.5}
    (difference,) = evidence.paired(made(values))["difference"]
    assert difference == pytest.approx(0.2)
    (difference,) = evidence.paired(made(values, measure="pcr"))["difference"]
    assert difference == pytest.approx(-0.2)


def test_same_replicates_are_paired_and_others_averaged(made):
    scgpt, pca = {"1": 0.4, "2": 0.8}, {"1": 0.1, "2": 0.7}
    rows = {("a", "scgpt", r): v for r, v in scgpt.items()} | {("a", "pca", r): v for r, v in pca.items()}
    assert list(evidence.paired(made(rows))["difference"]) == pytest.approx([0.3, 0.1])
    del rows[("a", "pca", "2")]
    assert list(evidence.paired(made(rows))["difference"]) == pytest.approx([0.5])


def test_a_fault_is_compared_with_nothing(made):
    values = {("a", "scgpt", "1"): 0.7, ("a", "pca", "1"): 0.5}
    assert evidence.paired(made(values, fault=True)).empty


def test_summary_has_t_intervals_over_data_sets_and_counts(made):
    values = {"a": 0.6, "b": 0.505, "c": 0.2}
    rows = {(d, "scgpt", "1"): v for d, v in values.items()} | {(d, "pca", "1"): 0.5 for d in values}
    pairs = evidence.paired(made(rows))
    (row,) = evidence.summarise(pairs).to_dict("records")
    assert (row["wins"], row["ties"], row["losses"], row["n"]) == (1, 1, 1, 3)
    # t of two degrees of freedom is 4.3027.
    differences = np.array([0.1, 0.005, -0.3])
    half = 4.302652729911275 * differences.std(ddof=1) / 3**0.5
    assert row["high"] - row["mean"] == pytest.approx(half) and row["over"] == "data set"
    (row,) = evidence.summarise(pairs[pairs["dataset"] != "c"]).to_dict("records")
    assert np.isnan(row["low"]) and row["over"] == ""
    with pytest.raises(ValueError, match="not pooled"):
        evidence.summarise(pairs, ("method",))


def test_one_data_set_has_an_interval_over_replicates(made):
    rows = {("a", "scgpt", str(r)): 0.5 + 0.1 * r for r in range(3)} | {
        ("a", "pca", str(r)): 0.4 for r in range(3)
    }
    (row,) = evidence.summarise(evidence.paired(made(rows))).to_dict("records")
    assert row["over"] == "replicate" and row["n"] == 1 and row["low"] < 0.2 < row["high"]


# -- tables of the chapter -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def differences(rows):
    return evidence.headline(evidence.paired(rows, settings=["zero-shot"]))


@pytest.fixture(scope="module")
def summary(differences):
    return evidence.summarise(differences, ("source", "area", "method", "baseline"))


def test_variants_of_a_model_are_shown_apart_and_their_number_with_their_mean(differences, summary):
    apart = evidence.of_variants(differences, ["pca", "scvi"])
    place = {"area": "clustering", "source": "benchscope_embedding", "method": "geneformer"}
    for baseline in ("pca", "scvi"):
        (mean,) = summary[
            summary[list(place)].eq(place).all(axis=1) & summary["baseline"].eq(baseline)
        ].itertuples()
        rows = apart[apart[list(place)].eq(place).all(axis=1)]
        assert len(rows) == mean.n_variants == 4 and "GF-V1, geneformer_V1-10M-i2048" in set(rows["variant"])
        assert rows[baseline].mean() == pytest.approx(mean.mean)
    assert apart.groupby(list(place)).size().min() > 1
    row = evidence.readable(pd.DataFrame([mean._asdict()]))
    labels = figures.draw_forest(row).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["Geneformer, mean of 4: BenchScope, embeddings (n = 1)"]


def test_outcomes_add_up(summary):
    counts = evidence.outcomes(summary)
    assert counts["n"].eq(counts[["wins", "ties", "losses"]].sum(axis=1)).all()
    assert counts["n"].sum() == summary["n"].sum()
    answer = evidence.answer(counts, "clustering", ("hvg", "pca"))
    chosen = summary[summary["area"].eq("clustering") & summary["baseline"].isin(["hvg", "pca"])]
    assert answer["n"] == chosen["n"].sum() and answer["losses"] == chosen["losses"].sum()
    assert answer["above"] + answer["tied"] + answer["below"] == chosen["low"].notna().sum()
    assert evidence.answer(counts, "clustering", ("nothing",))["n"] is None
    with_ours = pd.concat([summary, summary.assign(source=evidence.THIS_STUDY)])
    pd.testing.assert_frame_equal(evidence.outcomes(with_ours), counts)


def test_intervals_say_over_what_they_are(summary):
    over = summary[summary["low"].notna()].groupby("source")["over"].unique().map(list)
    assert over["openproblems_batch_integration"] == over["tme_benchmark"] == ["data set"]
    assert over["perteval"] == ["split of one data set"] and over["benchscope_embedding"] == ["replicate"]


def test_no_fault_and_nothing_fine_tuned_is_in_a_summary(rows, summary):
    assert not rows["fault"].any()
    geneformer = summary[summary["method"].eq("geneformer")]
    assert not geneformer["source"].str.startswith(("openproblems", "stfm")).any()
    assert not summary["source"].isin(["clinicalml", "scperturbench"]).any()


def test_values_that_a_source_took_over_are_not_compared_again(rows):
    copied = evidence.sources()["scprint2"].repeats
    assert copied and not rows.loc[rows["source"].eq("scprint2"), "model"].isin(copied).any()


def test_headline_is_the_mean_over_the_metrics_of_the_papers_average(pairs):
    chosen = pairs["source"].eq("liatir") & pairs["method"].eq("scgpt") & pairs["baseline"].eq("pca")
    mean = evidence.headline(pairs[chosen & pairs["area"].eq("clustering")]).set_index("dataset")[
        "difference"
    ]
    of_pancreas = mean[mean.index.str.startswith("Pancreas")].item()
    ari, nmi = 0.2747793994313853 - 0.7129127579712189, 0.45760739343813656 - 0.7984192766442956
    assert of_pancreas == pytest.approx((ari + nmi) / 2)


def test_noise_is_the_spread_over_replicates(rows, pairs):
    noise = evidence.noise(evidence.load(), pairs).set_index(["source", "area"])
    embedding = rows[rows["source"].eq("benchscope_embedding") & rows["measure"].eq("kbet")]
    by_model = embedding[embedding["kind"].isin(["foundation", "baseline"])].groupby("model")["value"]
    assert by_model.nunique().gt(1).all()
    assert noise.loc[("benchscope_embedding", "batch mixing"), "spread"] < by_model.std().max()
    assert (noise["share"] >= 0).all() and (noise["share"] <= 1).all()
    assert "scprint" not in noise.index.get_level_values("source")  # has no replicates


def test_profiles_stand_on_the_same_data_sets_and_have_a_front(rows):
    profiles = evidence.profiles(rows, "openproblems_batch_integration").set_index("method")
    assert set(profiles["n_datasets"]) == {4} and "mnn" not in profiles.index
    assert profiles["clustering"].is_monotonic_decreasing
    assert set(profiles.index[profiles["front"]]) == {"scanvi", "bbknn", "pca"}
    assert profiles.loc["shuffled-cells", "clustering"] < profiles.loc["pca", "clustering"]
    assert not profiles.loc[profiles["kind"].eq("control"), "front"].any()


def test_scores_of_a_study_are_one_more_source():
    scores = pd.DataFrame(
        {
            "dataset": "a",
            "model": ["pca", "scgpt-human", "scgpt-untrained"],
            "recipe": "standard",
            "metric": "ari",
            "group": "annotation",
            "value": [0.4, 0.6, 0.1],
            "n_cells": 10,
            "seen_in_pretraining": ["unseen", "partly", "unseen"],
        }
    )
    rows = evidence.from_study(scores)
    assert tuple(rows.columns) == evidence.COLUMNS
    assert list(rows["kind"]) == ["baseline", "foundation", "control"]
    (pair,) = evidence.paired(rows).to_dict("records")
    assert (pair["method"], pair["baseline"], pair["leak"]) == ("scgpt", "pca", True)
    assert pair["difference"] == pytest.approx(0.2) and pair["area"] == "clustering"
    assert evidence.source_title(evidence.THIS_STUDY) == "This study"


def test_tables_of_faults_and_sources():
    faults = evidence.faults()
    counts = evidence.fault_counts(faults)
    assert counts["rows"].sum() == len(faults) and (counts["reason"] != "").all()
    table = evidence.source_table(evidence.load(faults=True))
    assert table["rows"].sum() == 62_626 and set(table["grade"]) == set("ABCD")
    html = outputs.harmless_html(table[["link"]].to_html(escape=False))
    assert html.count('<a href="https://') == len(table), "the site takes the links for its own"


def test_profiles_are_shown_in_words(rows):
    profiles = evidence.profiles(rows, "openproblems_batch_integration")
    shown = evidence.profile_table(profiles)
    assert not shown.columns.str.contains("_").any() and set(shown["marks the bound"]) >= {"upper", "–"}
    assert list(shown["on the front"].eq("yes")) == list(profiles["front"])
