"""Conventions of a model, and variants of an embedding compared on the same cells."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from zeroshot import catalog, metrics, pipeline, results, similarity, variants
from zeroshot.data import content_hash, contract, simulate_atlas, thin
from zeroshot.variants import Variant

CHECKOUT = Path(__file__).resolve().parents[1]
TWIN = "geneformer-v1-10m-untrained"
NAMES = ["asw_label", "batch_integration_score", "pcr"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of its own with an empty store, and the cells of every test here."""
    root = tmp_path_factory.mktemp("home")
    (root / "data").mkdir()
    for name in ("datasets", "models", "studies"):
        shutil.copy(CHECKOUT / "data" / f"{name}.yml", root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSHOT_HOME", str(root))
        raw = simulate_atlas(n_cells=240, n_genes=230, n_batches=2, seed=0)
        adata = contract(raw, name="toy", batch_key="batch")
        adata.uns["dataset"] = {"name": "toy", "content_hash": content_hash(adata)}
        yield adata


@pytest.fixture(scope="module")
def compared(project):
    genes = {"all": 2000, "again": 1000, "few": 20}
    wanted = [Variant(name, project, "hvg", parameters={"n_genes": n}) for name, n in genes.items()]
    wanted += [Variant("whole", project, "pca"), Variant("half", thin(project, 0.5), "pca")]
    return variants.compare(wanted, seed=3, names=NAMES)


# -- conventions


@pytest.mark.parametrize("model", [name for name, card in catalog.models().items() if card.max_tokens])
def test_every_recipe_is_one_convention_or_equal_to_one(model):
    card = catalog.model(model)
    found = variants.conventions(model)
    assert found[0].name == card.recipe
    said = [name for one in found for name in (one.name, *one.also)]
    assert len(said) == len(set(said)) and set(said) >= {*card.recipes} - {"released-vocabulary"}
    parameters = [tuple(sorted(one.parameters.items(), key=str)) for one in found]
    assert len(set(parameters)) == len(found), "equal parameters are one convention"


def test_equal_parameters_are_recognised():
    first, *others = variants.conventions("geneformer-v1-10m")
    assert (first.name, first.also) == ("upstream", ("paper",))
    assert [one.name for one in others] == ["helical", "scunify"]
    assert first.parameters["exclude_ends"] is False, "what the recipe leaves at its default too"
    assert first.source == catalog.model("geneformer-v1-10m").recipes["upstream"].source


def test_a_twin_is_used_as_its_trained_model_is():
    first, *others = variants.conventions(TWIN)
    assert (first.name, first.also) == ("own-vocabulary", ("upstream", "paper"))
    assert [one.name for one in others] == ["short", "helical", "scunify"]
    for one in (first, *others):
        assert one.parameters["vocabulary"] == "data-set", "another vocabulary would draw other weights"


def test_tokens_are_limited_where_more_are_allowed():
    limited = variants.conventions(TWIN, 100)
    assert {one.parameters["max_tokens"] for one in limited} == {100}
    assert limited[0].also == ("short", "upstream", "paper"), "then these are the same as well"
    tokens = {one.name: one.parameters["max_tokens"] for one in variants.conventions(TWIN, 500)}
    assert tokens["short"] == 256 and tokens["helical"] == 500
    assert variants.limit_tokens("cellama", "upstream", 100) == {"max_tokens": 100}
    assert variants.limit_tokens("cellama", "upstream", 999) == {"max_tokens": 256}
    assert variants.limit_tokens("cellama", "upstream", None) == {}
    limit = {"max_tokens": 100, "n_genes": None, "selection": None}
    assert variants.limit_tokens("scgpt-untrained", "short", 100) == limit, "instead of a choice of genes"
    assert variants.limit_tokens("scgpt-untrained", "short", None) == {}
    assert variants.limit_tokens("pca", "standard", 100) == {}


def test_conventions_are_described_by_what_they_change():
    table = variants.describe(TWIN, variants.conventions(TWIN)).set_index("convention")
    assert table.loc["own-vocabulary", ["same parameters", "changes"]].tolist() == ["upstream, paper", "–"]
    assert table.loc["helical", "changes"] == "layer 6 of 6"
    assert table.loc["scunify", "changes"] == "exclude_ends True"
    assert set(table["model"]) == {catalog.model(TWIN).title}


def test_readouts_are_the_layers_and_poolings_of_a_model():
    mean = {f"layer {6 + layer}, mean": {"layer": layer, "pooling": "mean"} for layer in range(-6, 1)}
    assert variants.readouts(TWIN) == variants.readouts("geneformer-v1-10m") == mean
    both = variants.readouts("geneformer-gc95m-12l")
    assert len(both) == 2 * 13 and {one["pooling"] for one in both.values()} == {"cls", "mean"}
    poolings = {f"layer 12, {pooling}": {"pooling": pooling} for pooling in ("cls", "mean")}
    assert variants.readouts("scgpt-untrained") == poolings
    assert variants.readouts("cellama") == variants.readouts("pca") == {}


def test_the_readout_of_the_recipe_is_the_first():
    assert next(iter(variants.readouts("geneformer-gc95m-12l"))) == "layer 11, cls"
    assert next(iter(variants.readouts("geneformer-gc95m-12l", "helical"))) == "layer 12, mean"
    assert next(iter(variants.readouts("scgpt-human", "helical"))) == "layer 12, mean"


# -- comparing


def test_scores_are_those_of_the_pipeline(project, compared):
    embedded = pipeline.embed(project, "hvg", seed=3, parameters={"n_genes": 20})
    assert embedded.reused and embedded.load("embedding").shape == (240, 20)
    scored = pipeline.score(project, embedded, seed=3, names=NAMES, fraction=0.5)
    assert scored.reused
    values, of = embedded.load("embedding"), project.obs
    expected = metrics.score_with_intervals(
        values, of["cell_type"], of["batch"], seed=3, names=NAMES, fraction=0.5
    )
    mine = compared.scores.query("method == 'few'")
    assert mine["value"].to_numpy() == pytest.approx(expected[0]["value"].to_numpy())
    assert mine["low"].to_numpy() == pytest.approx(expected[0]["low"].to_numpy())
    assert (
        mine["metric"].tolist() == NAMES and set(mine["n_cells"]) == {240} and set(mine["dataset"]) == {"toy"}
    )
    assert {embedded.key, scored.key} <= {artifact.key for artifact in compared.artifacts}
    assert len(compared.artifacts) == 5 + 4, "equal embeddings have the same scores"
    assert set(compared.subsamples["cells"]) == {120}, "halves, not tenths"


def test_parameters_are_part_of_an_embedding_s_key(project):
    plain = pipeline.embed(project, "hvg", seed=3)
    assert pipeline.embed(project, "hvg", seed=3, parameters={}).key == plain.key
    assert pipeline.embed(project, "hvg", seed=3, parameters={"n_genes": 2000}).key == plain.key
    assert pipeline.embed(project, "hvg", seed=3, parameters={"n_genes": 7}).key != plain.key
    with pytest.raises(
        catalog.CatalogError, match=r"no parameter of hvg is called 'n_gene'\. Did you mean n_genes"
    ):
        pipeline.embed(project, "hvg", parameters={"n_gene": 7})


def test_equal_bytes_are_recognised(compared):
    same = compared.scores.drop_duplicates(["model", "method"]).set_index("method")["same_as"]
    assert same.to_dict() == {"all": "", "again": "all", "few": "", "whole": "", "half": ""}


def test_every_pair_of_a_model_is_compared(project, compared):
    pairs = compared.similarity.set_index(["model", "first", "second"])
    assert list(pairs.index) == [
        ("hvg", "all", "again"), ("hvg", "all", "few"), ("hvg", "again", "few"), ("pca", "whole", "half"),
    ]  # fmt: skip
    assert pairs.loc[("hvg", "all", "again"), ["cka", "overlap"]].tolist() == pytest.approx([1, 1])
    some = [pipeline.embed(a, "pca", seed=3).load("embedding") for a in (project, thin(project, 0.5))]
    expected = [similarity.cka(*some), similarity.neighbor_overlap(*some)]
    assert pairs.loc[("pca", "whole", "half"), ["cka", "overlap"]].tolist() == pytest.approx(expected)


def test_effects_are_the_paired_differences_to_the_first(compared):
    effects = variants.effects(compared)
    assert set(effects["metric"]) == set(NAMES) and set(effects["reference"]) == {"all", "whole"}
    one = effects.query("metric == 'pcr' and method == 'half'").iloc[0]
    of_pca = [table.query("model == 'pca'") for table in (compared.scores, compared.subsamples)]
    (expected,) = results.differences(*of_pca, "pcr", "whole").to_dict("records")
    assert {name: one[name] for name in expected} == expected
    again = effects.query("method == 'again'")
    assert (again["difference"] == 0).all() and (again["verdict"] == "tie").all()
    assert (again["same_as"] == "all").all()


def test_effects_as_text(compared):
    effects = variants.effects(compared)
    table = variants.tabulate(effects, "hvg")
    assert list(table.columns) == ["again", "few"]
    assert list(table.index) == [("toy", metrics.METRICS[name].label) for name in NAMES]
    row = effects.query("method == 'few' and metric == 'asw_label'").iloc[0]
    text = table.loc[("toy", metrics.METRICS["asw_label"].label), "few"]
    assert text.startswith(f"{row['difference']:+.3f} ± {row['high'] - row['difference']:.3f}")
    assert text.endswith({"better": "▲", "worse": "▼", "tie": text[-1]}[row["verdict"]])
    assert table.loc[("toy", metrics.METRICS["pcr"].label), "again"] == "+0.000 ± 0.000"


def test_effects_on_what_is_at_chance_are_left_out(project, compared):
    noise = variants.random_numbers([project], names=["asw_label"]).scores
    assert noise[["dataset", "model", "metric"]].to_numpy().tolist() == [["toy", "random", "asw_label"]]
    effects = variants.effects(compared).query("metric == 'asw_label'")
    lows = compared.scores.query("metric == 'asw_label'").drop_duplicates("model").set_index("model")["low"]
    assert variants.clear_of_chance(effects, compared, noise.assign(high=lows.min() - 0.01)).equals(effects)
    assert variants.clear_of_chance(effects, compared, noise.assign(high=lows.max())).empty
    between = variants.clear_of_chance(effects, compared, noise.assign(high=lows.mean()))
    assert set(between["model"]) == {lows.idxmax()}
    assert variants.clear_of_chance(effects, compared, noise.assign(high=np.nan)).empty


def test_verdicts_in_the_order_of_the_variants(compared):
    effects = variants.effects(compared).query("metric == 'asw_label'")
    table = variants.verdicts(effects)
    assert list(table.index) == [("toy", "HVG"), ("toy", "PCA")]
    assert list(table.columns) == ["again", "few", "half"]
    for row in effects.itertuples():
        assert table.loc[("toy", catalog.model(row.model).title), row.method] == row.verdict
    assert table.loc[("toy", "PCA")].tolist()[:2] == ["–", "–"]


def test_curves_are_the_scores_and_the_overlap_with_the_first(compared):
    curve = variants.score_curves(compared, "pcr")
    assert curve["line"].tolist() == ["HVG"] * 3 + ["PCA"] * 2
    assert curve["step"].tolist() == ["all", "again", "few", "whole", "half"]
    expected = compared.scores.query("metric == 'pcr'")
    assert (curve[["value", "low", "high"]].to_numpy() == expected[["value", "low", "high"]].to_numpy()).all()
    overlap = variants.overlap_curves(compared)
    assert overlap["step"].tolist() == ["again", "few", "half"], "pairs without the first are left out"
    assert overlap["value"].iloc[0] == 1 and overlap[["low", "high"]].isna().all(axis=None)
    assert list(overlap.columns) == list(curve.columns)


def test_what_fails_the_gate_has_no_score_and_is_like_nothing(project):
    collapsed = {"n_genes": 1}
    found = variants.compare(
        [Variant("good", project, "hvg"), Variant("bad", project, "hvg", parameters=collapsed)], names=NAMES
    )
    bad = found.scores.query("method == 'bad'")
    assert bad["value"].isna().all() and bad["note"].str.contains("integrity gate").all()
    assert found.similarity.empty and set(variants.effects(found)["method"]) == set()


def test_names_of_variants_differ(project):
    twice = [Variant("one", project, "hvg"), Variant("one", project, "hvg", parameters={"n_genes": 9})]
    with pytest.raises(ValueError, match="two variants of hvg on toy are called 'one'"):
        variants.compare(twice, names=NAMES)


def test_of_no_variants_every_table_is_empty():
    nothing = variants.compare([])
    effects = variants.effects(nothing)
    tables = [nothing.scores, nothing.subsamples, nothing.similarity, effects, variants.verdicts(effects)]
    tables += [variants.score_curves(nothing, "avg_bio"), variants.overlap_curves(nothing)]
    tables += [variants.clear_of_chance(effects, nothing, nothing.scores)]
    assert all(table.empty for table in tables) and "verdict" in effects and "same_as" in nothing.scores


def test_layers_of_a_twin_differ_and_its_weights_do_not(project):
    wanted = [
        Variant(f"{number}", project, TWIN, parameters={"layer": number, "max_tokens": 16})
        for number in (-6, 0)
    ]
    found = variants.compare(wanted, names=["asw_label"])
    (pair,) = found.similarity.to_dict("records")
    # Untrained layers change little of what the embedded tokens are; other weights would share chance.
    assert 0.2 < pair["overlap"] < 1 and not np.isnan(found.scores["value"]).any()


def test_a_choice_from_fewer_genes_than_asked_for_is_none(project):
    found = {one.name: one.parameters for one in variants.conventions("scgpt-untrained", 16)}
    settled = {
        name: variants._settled(Variant(name, project, "scgpt-untrained", parameters=parameters))
        for name, parameters in found.items()
    }
    assert project.n_vars < 256, "fewer genes than any of these conventions chooses"
    assert settled["upstream"] == settled["upstream-hvg"] == settled["openproblems"]
    assert settled["upstream"] != settled["biollm"] != settled["helical"] != settled["upstream"]
    few = Variant("few", project, "scgpt-untrained", parameters=found["upstream-hvg"] | {"n_genes": 100})
    assert variants._settled(few) == few.parameters


def test_what_is_settled_gives_the_same_bytes(project):
    raw = {one.name: one.parameters for one in variants.conventions("scgpt-untrained", 16)}["openproblems"]
    settled = variants._settled(Variant("x", project, "scgpt-untrained", parameters=raw))
    made = [
        pipeline.embed(project, "scgpt-untrained", parameters=parameters).load("embedding")
        for parameters in (raw, settled)
    ]
    assert raw != settled and made[0].tobytes() == made[1].tobytes()
