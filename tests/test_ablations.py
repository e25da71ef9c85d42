"""Ablations: what is varied, variants compared on the same cells, units, and their tables."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from zeroshot import catalog, metrics, pipeline, results
from zeroshot.data import content_hash, contract, simulate_atlas, thin
from zeroshot.store import StoreError
from zeroshot.study import ablations
from zeroshot.study.__main__ import main
from zeroshot.study.ablations import Unit, Variant, compare

CHECKOUT = Path(__file__).resolve().parents[1]
TWIN = "geneformer-v1-10m-untrained"
NAMES = ["asw_label", "batch_integration_score", "pcr"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of its own with an empty store, and the cells of every test here."""
    root = tmp_path_factory.mktemp("home")
    (root / "data").mkdir()
    for name in ("datasets", "models", "studies", "cell_types"):
        shutil.copy(CHECKOUT / "data" / f"{name}.yml", root / "data")
    (root / "notebooks").symlink_to(CHECKOUT / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSHOT_HOME", str(root))
        raw = simulate_atlas(n_cells=240, n_genes=230, n_batches=2, seed=0)
        adata = contract(raw, name="toy", batch_key="batch")
        adata.uns["dataset"] = {"name": "toy", "content_hash": content_hash(adata)}
        yield adata


@pytest.fixture(scope="module")
def genes(project):
    """HVG from different numbers of genes."""
    numbers = {"all": 2000, "again": 1000, "few": 20}
    variants = [Variant(name, project, "hvg", parameters={"n_genes": n}) for name, n in numbers.items()]
    return compare(variants, "n_genes", seed=3, names=NAMES)


@pytest.fixture(scope="module")
def compared(project, genes):
    """With PCA of all and of half of the counts."""
    variants = [Variant("whole", project, "pca"), Variant("half", thin(project, 0.5), "pca")]
    return ablations.Tables.join([genes, compare(variants, "n_genes", seed=3, names=NAMES)])


# -- conventions


@pytest.mark.parametrize("model", [name for name, card in catalog.models().items() if card.max_tokens])
def test_every_recipe_is_one_convention_or_equal_to_one(model):
    card = catalog.model(model)
    found = ablations.conventions(model)
    assert found[0].name == card.recipe
    said = [name for one in found for name in (one.name, *one.also)]
    assert len(said) == len(set(said)) and set(said) >= {*card.recipes} - {"released-vocabulary"}
    parameters = [tuple(sorted(one.parameters.items(), key=str)) for one in found]
    assert len(set(parameters)) == len(found), "equal parameters are one convention"


def test_equal_parameters_are_recognised():
    first, *others = ablations.conventions("geneformer-v1-10m")
    assert (first.name, first.also) == ("upstream", ("paper",))
    assert [one.name for one in others] == ["helical", "scunify"]
    assert first.parameters["exclude_ends"] is False, "what the recipe leaves at its default too"
    assert first.source == catalog.model("geneformer-v1-10m").recipes["upstream"].source


def test_a_twin_is_used_as_its_trained_model_is():
    first, *others = ablations.conventions(TWIN)
    assert (first.name, first.also) == ("own-vocabulary", ("upstream", "paper"))
    assert [one.name for one in others] == ["short", "brief", "helical", "scunify"]
    for one in (first, *others):
        assert one.parameters["vocabulary"] == "data-set", "another vocabulary would draw other weights"


def test_tokens_are_limited_where_more_are_allowed():
    limited = ablations.conventions(TWIN, 100)
    assert {one.parameters["max_tokens"] for one in limited} == {100, 32}  # brief reads fewer
    assert limited[0].also == ("short", "upstream", "paper"), "then these are the same as well"
    tokens = {one.name: one.parameters["max_tokens"] for one in ablations.conventions(TWIN, 500)}
    assert tokens["short"] == 256 and tokens["helical"] == 500
    assert ablations.limit_tokens("cellama", "upstream", 100) == {"max_tokens": 100}
    assert ablations.limit_tokens("cellama", "upstream", 999) == {"max_tokens": 256}
    assert ablations.limit_tokens("cellama", "upstream", None) == {}
    limit = {"max_tokens": 100, "n_genes": None, "selection": None}
    assert ablations.limit_tokens("scgpt-untrained", "short", 100) == limit, "instead of a choice of genes"
    assert ablations.limit_tokens("scgpt-untrained", "short", None) == {}
    assert ablations.limit_tokens("pca", "standard", 100) == {}


def test_conventions_are_described_by_what_they_change():
    described = ablations.describe(TWIN, ablations.conventions(TWIN)).assign(dataset="toy")
    table = ablations.convention_table(described).set_index("convention")
    assert table.loc["own-vocabulary", ["same parameters", "changes"]].tolist() == ["upstream, paper", "–"]
    assert table.loc["helical", "changes"] == "layer 6 of 6"
    assert table.loc["scunify", "changes"] == "exclude_ends True"
    assert set(table["model"]) == {catalog.model(TWIN).title}


def test_readouts_are_the_layers_and_poolings_of_a_model():
    mean = {f"layer {6 + layer}, mean": {"layer": layer, "pooling": "mean"} for layer in range(-6, 1)}
    assert ablations.readouts(TWIN) == ablations.readouts("geneformer-v1-10m") == mean
    both = ablations.readouts("geneformer-gc95m-12l")
    assert len(both) == 2 * 13 and {one["pooling"] for one in both.values()} == {"cls", "mean"}
    poolings = {f"layer 12, {pooling}": {"pooling": pooling} for pooling in ("cls", "mean")}
    assert ablations.readouts("scgpt-untrained") == poolings
    assert ablations.readouts("cellama") == ablations.readouts("pca") == {}


def test_the_readout_of_the_recipe_is_the_first():
    assert next(iter(ablations.readouts("geneformer-gc95m-12l"))) == "layer 11, cls"
    assert next(iter(ablations.readouts("geneformer-gc95m-12l", "helical"))) == "layer 12, mean"
    assert next(iter(ablations.readouts("scgpt-human", "helical"))) == "layer 12, mean"


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
    keys = compared.artifacts.query("method == 'few'")[["embedding", "scores"]].to_numpy().tolist()
    assert keys == [[embedded.key, scored.key]]
    assert compared.artifacts["scores"].nunique() == 4, "equal embeddings have the same scores"
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
    expected = [metrics.cka(*some), metrics.neighbor_overlap(*some)]
    assert pairs.loc[("pca", "whole", "half"), ["cka", "overlap"]].tolist() == pytest.approx(expected)


def test_effects_are_the_paired_differences_to_the_first(compared):
    effects = ablations.effects(compared)
    assert set(effects["metric"]) == set(NAMES) and set(effects["reference"]) == {"all", "whole"}
    one = effects.query("metric == 'pcr' and method == 'half'").iloc[0]
    of_pca = [table.query("model == 'pca'") for table in (compared.scores, compared.subsamples)]
    (expected,) = results.differences(*of_pca, "pcr", "whole").to_dict("records")
    assert {name: one[name] for name in expected} == expected
    again = effects.query("method == 'again'")
    assert (again["difference"] == 0).all() and (again["verdict"] == "tie").all()
    assert (again["same_as"] == "all").all()


def test_effects_as_text(compared):
    effects = ablations.effects(compared)
    table = ablations.tabulate(effects, "hvg")
    assert list(table.columns) == ["again", "few"]
    assert list(table.index) == [("toy", metrics.METRICS[name].label) for name in NAMES]
    row = effects.query("method == 'few' and metric == 'asw_label'").iloc[0]
    text = table.loc[("toy", metrics.METRICS["asw_label"].label), "few"]
    assert text.startswith(f"{row['difference']:+.3f} ± {row['high'] - row['difference']:.3f}")
    assert text.endswith({"better": "▲", "worse": "▼", "tie": text[-1]}[row["verdict"]])
    assert table.loc[("toy", metrics.METRICS["pcr"].label), "again"] == "+0.000 ± 0.000"


def test_effects_on_what_is_at_chance_are_left_out(project, compared):
    noise = compare([Variant("random", project, "random")], "floor", names=["asw_label"]).scores
    effects = ablations.effects(compared).query("metric == 'asw_label'")
    lows = compared.scores.query("metric == 'asw_label'").drop_duplicates("model").set_index("model")["low"]
    assert ablations.clear_of_chance(effects, compared, noise.assign(high=lows.min() - 0.01)).equals(effects)
    assert ablations.clear_of_chance(effects, compared, noise.assign(high=lows.max())).empty
    between = ablations.clear_of_chance(effects, compared, noise.assign(high=lows.mean()))
    assert set(between["model"]) == {lows.idxmax()}
    assert ablations.clear_of_chance(effects, compared, noise.assign(high=np.nan)).empty


def test_verdicts_in_the_order_of_the_variants(compared):
    effects = ablations.effects(compared).query("metric == 'asw_label'")
    table = ablations.verdicts(effects)
    assert list(table.index) == [("toy", "HVG"), ("toy", "PCA")]
    assert list(table.columns) == ["again", "few", "half"]
    for row in effects.itertuples():
        assert table.loc[("toy", catalog.model(row.model).title), row.method] == row.verdict
    assert table.loc[("toy", "PCA")].tolist()[:2] == ["–", "–"]


def test_curves_are_the_scores_and_the_overlap_with_the_first(compared):
    curve = ablations.score_curves(compared, "pcr")
    assert curve["line"].tolist() == ["HVG"] * 3 + ["PCA"] * 2
    assert curve["step"].tolist() == ["all", "again", "few", "whole", "half"]
    expected = compared.scores.query("metric == 'pcr'")
    assert (curve[["value", "low", "high"]].to_numpy() == expected[["value", "low", "high"]].to_numpy()).all()
    overlap = ablations.overlap_curves(compared)
    assert overlap["step"].tolist() == ["again", "few", "half"], "pairs without the first are left out"
    assert overlap["value"].iloc[0] == 1 and overlap[["low", "high"]].isna().all(axis=None)
    assert list(overlap.columns) == list(curve.columns)


def test_what_fails_the_gate_has_no_score_and_is_like_nothing(project):
    collapsed = Variant("bad", project, "hvg", parameters={"n_genes": 1})
    tables = compare([Variant("good", project, "hvg"), collapsed], "n_genes", names=NAMES)
    bad = tables.scores.query("method == 'bad'")
    assert bad["value"].isna().all() and bad["note"].str.contains("integrity gate").all()
    assert tables.similarity.empty and ablations.effects(tables).empty
    alone = compare([collapsed], "n_genes", names=NAMES)
    assert len(alone.scores) == len(NAMES) and alone.subsamples.empty and ablations.effects(alone).empty


def test_names_of_variants_differ(project):
    twice = [Variant("one", project, "hvg"), Variant("one", project, "hvg", parameters={"n_genes": 9})]
    with pytest.raises(ValueError, match="two variants of hvg on toy are called 'one'"):
        compare(twice, "n_genes", names=NAMES)


def test_of_no_variants_every_table_is_empty():
    nothing = compare([], "depth")
    effects = ablations.effects(nothing)
    tables = [nothing.scores, nothing.subsamples, nothing.similarity, effects, ablations.verdicts(effects)]
    tables += [ablations.score_curves(nothing, "avg_bio"), ablations.overlap_curves(nothing)]
    tables += [ablations.clear_of_chance(effects, nothing, nothing.scores)]
    tables += [ablations.convention_table(nothing.conventions)]
    assert all(table.empty for table in tables) and "verdict" in effects and "same_as" in nothing.scores


def test_layers_of_a_twin_differ_and_its_weights_do_not(project):
    layers = {str(number): {"layer": number, "max_tokens": 16} for number in (-6, 0)}
    variants = [Variant(name, project, TWIN, parameters=parameters) for name, parameters in layers.items()]
    tables = compare(variants, "readout", names=["asw_label"])
    (pair,) = tables.similarity.to_dict("records")
    # Untrained layers change little of what the embedded tokens are; other weights would share chance.
    assert 0.2 < pair["overlap"] < 1 and not np.isnan(tables.scores["value"]).any()


def test_a_choice_from_fewer_genes_than_asked_for_is_none(project):
    parameters = {one.name: one.parameters for one in ablations.conventions("scgpt-untrained", 16)}
    effective = {name: ablations.effective(of_recipe, project) for name, of_recipe in parameters.items()}
    assert project.n_vars < 256, "fewer genes than any of these conventions chooses"
    assert effective["upstream"] == effective["upstream-hvg"] == effective["openproblems"]
    assert effective["upstream"] != effective["biollm"] != effective["helical"] != effective["upstream"]
    few = parameters["upstream-hvg"] | {"n_genes": 100}
    assert ablations.effective(few, project) == few


def test_effective_parameters_give_the_same_bytes(project):
    raw = {one.name: one.parameters for one in ablations.conventions("scgpt-untrained", 16)}["openproblems"]
    effective = ablations.effective(raw, project)
    embeddings = [
        pipeline.embed(project, "scgpt-untrained", parameters=parameters).load("embedding")
        for parameters in (raw, effective)
    ]
    assert raw != effective and embeddings[0].tobytes() == embeddings[1].tobytes()


# -- units


def test_units_are_the_models_that_can_be_varied_and_a_floor():
    twin = ("b", f"{TWIN}@short")
    others = [("b", f"{TWIN}@own-vocabulary"), ("b", "random"), ("a", "scvi"), ("b", "pca"), ("a", "hvg")]
    assert [
        (unit.path, f"{unit.model}@{unit.recipe}") for unit in ablations.study_units([twin, *others])
    ] == [
        ("a/hvg", "hvg@paper"),
        ("a/random", "random@standard"),
        (f"b/{TWIN}", f"{TWIN}@own-vocabulary"),
        ("b/pca", "pca@standard"),
        ("b/random", "random@standard"),
    ]
    assert ablations.study_units([("a", "random"), ("a", "label-oracle")]) == [], (
        "then there is nothing to compare"
    )


@pytest.fixture
def study(project, monkeypatch):
    """A study of the cells of these tests, which are in no registry."""
    monkeypatch.setattr("zeroshot.data.load", lambda name, *, subset, seed: project)
    card = catalog.study("smoke")
    return card.model_copy(update={"ablation_tokens": 16, "ablation_metrics": ("asw_label",)})


def test_a_unit_has_every_ablation_of_its_model(study):
    tables = ablations.compute(study, Unit("toy", "hvg", "paper"))
    steps = tables.scores.groupby("ablation", sort=False)["method"].agg(list).to_dict()
    assert steps == {
        "depth": ["100%", "75%", "50%", "25%", "10%"],
        "genes": ["0%", "10%", "25%", "50%"],
        "n_genes": ["2,000", "500", "1,000", "4,000"],
    }
    assert set(tables.scores["metric"]) == {"asw_label"} and tables.failures.empty
    floor = ablations.compute(study, Unit("toy", "random", "standard")).scores
    assert floor[["ablation", "metric"]].to_numpy().tolist() == [["floor", "asw_label"], ["floor", "avg_bio"]]


def test_conventions_of_a_unit_are_scored_by_every_metric(study, monkeypatch):
    calls = {}

    def record(variants, ablation, *, names, **_):
        calls[ablation] = (names, [variant.name for variant in variants])
        return ablations.Tables.of()

    monkeypatch.setattr("zeroshot.study.ablations.units.compare", record)
    tables = ablations.compute(study, Unit("toy", TWIN, "short"))
    assert list(calls) == ["depth", "genes", "readout", "convention"]
    assert {ablation: names for ablation, (names, _) in calls.items() if ablation != "convention"} == (
        dict.fromkeys(["depth", "genes", "readout"], ("asw_label",))
    )
    names, conventions = calls["convention"]
    assert names is None and conventions == tables.conventions["convention"].tolist()
    assert ablations.convention_table(tables.conventions)["changes"].iloc[0] == "–"


def test_a_failure_is_named_and_stops_nothing_else(study, monkeypatch):
    monkeypatch.setattr("zeroshot.study.ablations.sensitivity.COUNTS_KEPT", (1, 1e-6))
    tables = ablations.compute(study, Unit("toy", "pca", "standard"))
    assert set(tables.scores["ablation"]) == {"genes", "n_genes"}
    ((ablation, dataset, model, error),) = tables.failures.to_numpy().tolist()
    assert (ablation, dataset, model) == ("depth", "toy", "pca") and "cells have no counts left" in error
    text = ablations.failure_list(tables.failures, "depth", "genes")
    assert text.startswith("depth of PCA on toy (DataError: toy with")
    assert ablations.failure_list(tables.failures, "genes") is None


def test_cells_that_cannot_be_loaded_fail_every_ablation(study, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("no cells\nhere")

    monkeypatch.setattr("zeroshot.data.load", refuse)
    failures = ablations.compute(study, Unit("toy", "pca", "standard")).failures
    assert failures["ablation"].tolist() == ["depth", "genes", "n_genes"]
    assert set(failures["error"]) == {"ValueError: no cells here"}


@pytest.mark.parametrize("error", [OSError("no space"), MemoryError(), StoreError("disk full")])
def test_what_the_machine_lacks_is_no_result(study, monkeypatch, error):
    monkeypatch.setattr("zeroshot.study.ablations.units.compare", Mock(side_effect=error))
    with pytest.raises(type(error)):
        ablations.compute(study, Unit("toy", "pca", "standard"))


# -- tables


def test_tables_are_read_as_they_were_written(compared, tmp_path):
    ablations.write(compared, tmp_path)
    again = ablations.read(tmp_path, "Run it again.")
    for name in ablations.TABLES:
        pd.testing.assert_frame_equal(
            getattr(again, name), getattr(compared, name), check_exact=True, check_dtype=False
        )
    assert ablations.effects(again).equals(ablations.effects(compared))


def test_units_make_the_tables_of_a_study(study, project, tmp_path, monkeypatch):
    monkeypatch.setattr("zeroshot.catalog.study", lambda name: study)
    monkeypatch.setattr("zeroshot.notebooks.prepare_environment", lambda threads: None)

    def job(name, output, **parameters):
        (tmp_path / "plan.json").write_text(json.dumps({"parameters": {"study": "smoke", **parameters}}))
        assert main([name, "reuse", "1", str(tmp_path / "plan.json"), str(output)]) == 0

    folder = ablations.folder("smoke")
    recipes = {"pca": "standard", "hvg": "paper"}
    for model, recipe in recipes.items():
        job("ablation", folder / "toy" / model, dataset="toy", model=model, recipe=recipe)
    written = {file: file.read_bytes() for file in folder.rglob("*.csv")}
    job("ablations", folder, units=[f"toy/{model}" for model in recipes])
    tables = ablations.load("smoke")
    assert list(tables.scores["model"].unique()) == ["hvg", "pca"], "sorted"
    with pytest.raises(LookupError, match=r"metric is 'pcr': the ablation depth was scored by asw_label"):
        tables.select("depth", "pcr")
    assert ablations.compute(study, Unit("toy", "pca", "standard")).scores.equals(
        ablations.read(folder / "toy" / "pca", "").scores
    ), "the same again"
    assert written == {file: file.read_bytes() for file in written}
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match="Run the study first: `zeroshot run smoke`"):
        ablations.load("smoke")


HEAVY = {"torch", "scanpy", "scvi", "jax", "sklearn", "umap"}


def test_a_page_waits_for_no_package_that_computes(study):
    units = [Unit("toy", "hvg", "paper"), Unit("toy", "random", "standard")]
    tables = ablations.Tables.join(ablations.compute(study, unit) for unit in units)
    ablations.write(tables, ablations.folder("smoke"))
    cells = json.loads((CHECKOUT / "notebooks" / "sensitivity.ipynb").read_text())["cells"]
    parameters, *code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = [parameters, 'study, metric = "smoke", "asw_label"', *code]
    script.append("import sys, json; print(json.dumps(sorted(sys.modules)))")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)], capture_output=True, text=True, check=True
    )
    page = set(json.loads(done.stdout.splitlines()[-1]))
    shutil.rmtree(ablations.folder("smoke"))
    assert "zeroshot.figures.ablations" in page and not page & HEAVY
