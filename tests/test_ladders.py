"""Ladders: the same networks on several corpora, resumed, scored, and what their tables say."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from zeroshot import catalog, data, pretraining
from zeroshot.catalog import CatalogError
from zeroshot.results import ladder_effects
from zeroshot.results import ladders as tables_of
from zeroshot.study import ladders

STUDIES = """
toy: {title: Toy, description: One set., datasets: [pbmc68k-reduced], models: [pca], chapters: []}
"""
CORPORA = """
whole: {title: W, description: W., sources: [simulated-atlas], apart_from: [toy], cells: 2351}
tenth: {title: H, description: H., sources: [simulated-atlas], apart_from: [toy], cells: 235, share: 0.1}
"""
LADDERS = """
tiny:
  title: Tiny
  description: A layer of width 16.
  networks:
    values:
      title: masked values
      model: scgpt-untrained
      architecture: {nlayers: 1, embsize: 16, nheads: 2, d_hid: 16}
      training: {max_tokens: 16, tokens_per_step: 512, learning_rate: 0.01}
      reading: {max_tokens: 64}
    corpus-pca: {title: corpus PCA, model: corpus-pca}
  corpora: {tenth: 2, whole: 1}
  passes: 600
  genes: 900
  validations: 2
  scored_validations: [0, 2]
  datasets: [pbmc68k-reduced]
  cells: 120
  metrics: [knn_accuracy]
  baselines: [pca, random]
"""


@pytest.fixture
def card(home) -> catalog.Ladder:
    for name, text in {"studies": STUDIES, "corpora": CORPORA}.items():
        with (home / "data" / f"{name}.yml").open("a") as file:
            file.write(text)
    (home / "data" / "ladders.yml").write_text(LADDERS)
    return catalog.ladder("tiny")


def test_a_ladder_is_trained_scored_and_continued_where_it_was_interrupted(card, home, zeroshot):
    paths = [rung.path for rung in ladders.rungs(card)]
    assert paths == [
        "baselines", "values/tenth/0", "corpus-pca/tenth/0", "values/whole/0", "corpus-pca/whole/0",
        "values/tenth/1", "corpus-pca/tenth/1",
    ]  # fmt: skip
    code, _, error = zeroshot("ladder", "tiny", "--keep")
    assert code != 0 and "run `zeroshot ladder tiny` first" in error

    def interrupt(report: dict[str, float]) -> None:
        if report["step"] == 5:
            raise KeyboardInterrupt

    first = ladders.rungs(card)[1]
    with pytest.raises(KeyboardInterrupt):
        ladders.climb(card, [first], progress=interrupt)
    assert not ladders.is_finished(card, first)
    with FileLock(ladders.directory(card, ladders.rungs(card)[5]) / "lock"):  # another process is at it
        code, out, error = zeroshot("ladder", "tiny")
    assert code == 0, error
    assert "6 of 7 rungs are finished" in out
    assert "not finished: values/tenth/1" in out
    assert zeroshot("ladder", "tiny", "--rung", "values/tenth/1")[0] == 0
    assert "7 of 7" in zeroshot("ladder", "tiny", "--keep")[1]
    files = {name: tables_of.committed("tiny") / f"{name}.csv" for name in tables_of.TABLES}
    texts = {name: file.read_text() for name, file in files.items()}
    for rung in ladders.rungs(card)[2:]:  # as on another machine, which has computed two
        shutil.rmtree(ladders.directory(card, rung))
    assert "2 of 7" in zeroshot("ladder", "tiny", "--rung", "baselines")[1]
    assert "7 of 7" in zeroshot("ladder", "tiny", "--keep")[1]
    assert {name: file.read_text() for name, file in files.items()} == texts

    tables = tables_of.load("tiny")
    losses, scores = tables["losses"], tables["scores"]
    assert losses.groupby(["corpus", "seed"])["step"].nunique().to_dict() == {
        ("tenth", 0): 3, ("tenth", 1): 3, ("whole", 0): 3,
    }  # fmt: skip
    total = losses.groupby(["corpus", "seed", "step"])["loss"].sum()
    for _, loss in total.groupby(level=[0, 1]):
        assert loss.iloc[-1] < loss.iloc[0]
    simple = tables["baselines"].groupby(["corpus", "seed"])["predictor"].agg(list)
    assert simple.to_dict() == {key: ["gene mean", "grand mean"] for key in total.index.droplevel("step")}
    # As many cells are read of a small corpus as of a large one.
    assert losses.groupby("corpus")["cells"].max().between(550, 650).all()
    assert len(scores) == 2 + 3 * 2 + 3
    untrained = scores[scores["step"].eq(0) & scores["seed"].eq(0) & scores["corpus"].ne("")]
    assert untrained["value"].between(0, 1).all()
    points = tables_of.by_corpus(card, scores, "knn_accuracy")
    assert points.groupby(["state", "network"])["n_seeds"].agg(list).to_dict() == {
        ("baseline", "PCA"): [1], ("baseline", "random"): [1], ("trained", "corpus PCA"): [2, 1],
        ("trained", "masked values"): [2, 1], ("untrained", "masked values"): [2, 1],
    }  # fmt: skip
    tenth = scores[scores["network"].eq("values") & scores["corpus"].eq("tenth") & scores["step"].gt(0)]
    row = points.query("network == 'masked values' and n_cells == 235 and state == 'trained'")
    ends = ["low", "high"]
    assert row[ends].to_numpy().tolist() == [pytest.approx(tenth[ends].mean().tolist())]
    assert tables_of.count_finished(scores) == 6
    assert set(points["whole"].dropna()) == {"W"}


def test_an_interrupted_rung_ends_with_the_same_tables(card):
    rung = ladders.rungs(card)[1]

    def interrupt(report: dict[str, float]) -> None:
        if report["step"] == 7:
            raise KeyboardInterrupt

    def tables() -> list[bytes]:
        folder = ladders.tables_directory(card, rung)
        return [(folder / f"{name}.csv").read_bytes() for name in tables_of.TABLES]

    ladders.climb(card, [rung])
    undisturbed = tables()
    ladders.directory(card, rung).rename(ladders.directory(card, rung).with_name("undisturbed"))
    with pytest.raises(KeyboardInterrupt):
        ladders.climb(card, [rung], progress=interrupt)
    ladders.climb(card, [rung])
    assert tables() == undisturbed


def test_an_autoencoder_is_trained_as_networks_are_and_scvi_reads_as_many_cells(card, home, monkeypatch):
    others = """
    autoencoder:
      title: autoencoder
      model: corpus-autoencoder-untrained
      architecture: {hidden: 8, dim: 4}
      training: {max_tokens: 256, tokens_per_step: 2048}
    corpus-scvi: {title: corpus scVI, model: corpus-scvi}
    corpus-pca: {"""
    (home / "data" / "ladders.yml").write_text(LADDERS.replace("\n    corpus-pca: {", others))
    card = catalog.ladder("tiny")
    by_path = {rung.path: rung for rung in ladders.rungs(card)}
    ladders.climb(card, [by_path["autoencoder/tenth/0"]])
    folder = ladders.tables_directory(card, by_path["autoencoder/tenth/0"])
    losses, scores = pd.read_csv(folder / "losses.csv"), pd.read_csv(folder / "scores.csv")
    assert losses["loss"].is_monotonic_decreasing and set(losses["decoder"]) == {"value"}
    assert scores["step"].tolist() == [0, losses["step"].max()]

    def stop(model: str, cells: object, output: object, **settings: object) -> None:
        assert settings["epochs"] == round(600 / 235)
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        ladders.climb(card, [by_path["corpus-scvi/tenth/0"]])


def test_another_card_is_another_rung_and_new_words_are_not(card, home):
    rung = ladders.rungs(card)[1]
    before = ladders.directory(card, rung)
    file = home / "data" / "ladders.yml"
    file.write_text(LADDERS.replace("title: masked values", "title: other words"))
    assert ladders.directory(catalog.ladder("tiny"), rung) == before
    file.write_text(LADDERS.replace("passes: 600", "passes: 601"))
    assert ladders.directory(catalog.ladder("tiny"), rung) != before


def test_what_is_read_otherwise_is_scored_again_and_not_trained_again(card, home, monkeypatch):
    rung = ladders.rungs(card)[1]
    ladders.climb(card, [rung])
    (home / "data" / "ladders.yml").write_text(LADDERS.replace("max_tokens: 64", "max_tokens: 32"))
    other = catalog.ladder("tiny")
    assert ladders.is_finished(card, rung) and not ladders.is_finished(other, rung)
    monkeypatch.delattr(pretraining, "train")
    ladders.climb(other, [rung])
    assert ladders.is_finished(card, rung) and ladders.is_finished(other, rung)

    # A training of before its record had losses without a network gets them, and is not scored again.
    file = ladders.directory(card, rung) / "network" / "training.json"
    record = json.loads(file.read_text())
    del record["validation"]
    file.write_text(json.dumps(record))
    simple = ladders.tables_directory(card, rung) / "baselines.csv"
    before = simple.read_text()
    simple.unlink()
    monkeypatch.delattr(ladders, "_scores")
    ladders.climb(card, [rung])
    assert simple.read_text() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("datasets: [pbmc68k-reduced]", "datasets: [simulated-atlas]", "its cells may be in the corpus"),
        ("tenth: 2", "tenths: 2", "no corpus is called 'tenths'"),
        ("baselines: [pca", "baselines: [values", "a network has the name of a baseline"),
        ("model: scgpt-untrained", "model: pca", "name an untrained twin"),
        ("[0, 2]", "[0, 3]", "must rise from 0 or more to the last one, 2"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused(card, home, old, new, message):
    (home / "data" / "ladders.yml").write_text(LADDERS.replace(old, new))
    with pytest.raises(CatalogError, match=message.replace("[", r"\[")):
        catalog.ladder("tiny")


def test_what_cannot_be_trained_is_refused_before_cells_are_read(card, home, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("read cells"))
    with pytest.raises(ValueError, match="there is no device 'nope'"):
        ladders.climb(card, ladders.rungs(card), device="nope")
    for old, new, message in (
        ("max_tokens: 16", "max_tokens: x", "training: max_tokens: must be a whole number from 3"),
        ("max_tokens: 16", "max_steps: 16", "no setting .*training of masked values.* is called .max_steps"),
        ("nlayers: 1", "nlayers: [1]", "architecture: nlayers: must be a whole number from 1 to 512"),
    ):
        (home / "data" / "ladders.yml").write_text(LADDERS.replace(old, new))
        with pytest.raises(ValueError, match=message):
            ladders.climb(catalog.ladder("tiny"), ladders.rungs(card))


def test_the_networks_of_the_registered_ladders_can_be_trained():
    for card in catalog.ladders().values():
        for network in card.networks.values():
            if pretraining.fitted(network.model):
                continue
            settings = pretraining.Training(**network.training, validations=card.validations)
            pretraining.untrained(network.model, settings, network.architecture)
        for name in card.datasets:
            assert catalog.dataset(name).label_key
        assert tables_of.load(card.name).keys() == tables_of.TABLES.keys()


def test_effects_are_differences_on_the_same_data_set():
    rows = [
        ("net", "a", "untrained", "x", 0.2, 10), ("net", "a", "trained", "x", 0.5, 10),
        ("net", "b", "untrained", "x", 0.2, 90), ("net", "b", "trained", "x", 0.6, 90),
        ("PCA", "", "baseline", "x", 0.7, np.nan), ("PCA", "", "baseline", "y", 0.1, np.nan),
    ]  # fmt: skip
    columns = ["network", "corpus", "state", "dataset", "value", "n_cells"]
    points = pd.DataFrame(rows, columns=columns).assign(whole="W")
    effects = ladder_effects.effects(points).set_index("corpus")
    assert effects["gain"].to_dict() == pytest.approx({"a": 0.3, "b": 0.4})
    assert effects["over PCA"].to_dict() == pytest.approx({"a": -0.2, "b": -0.1})
    assert ladder_effects.size_effects(points).to_dict() == pytest.approx({("net", "W", "x"): 0.1})
    correlations = tables_of.loss_correlations(pd.DataFrame(columns=["network", "dataset", "loss", "value"]))
    findings = ladder_effects.summary(points, correlations)
    assert (findings["n_effects"], findings["n_over_pca"], findings["n_falling"]) == (2, 0, None)
    changes = ladder_effects.changes_by_network(points, None)
    headings = {"gain": "gain", "over_corpus_pca": "over", "size": "size"}
    row = ladder_effects.changes_table(changes, headings).loc["net"]
    assert row.str.replace("\u00a0", " ").to_dict() == {
        "gain": "+0.35 (-0.29 to +0.99; n = 2)", "over": "–", "size": "+0.10 (n = 1)",
    }  # fmt: skip
    assert (
        ladder_effects.directions(changes["gain"])
        == "not significantly different for net (n = 2 trainings each)"
    )
    assert ladder_effects.directions(changes["size"]) == "not testable for net (n = 1 trainings each)"
    ends = {"low": [0.1, -0.2, 0.1], "high": [0.2, -0.1, 0.3], "n": [3, 9, 5]}
    words = ladder_effects.directions(pd.DataFrame(ends, index=["a", "b", "c"]))
    assert words == "higher for a, c; lower for b (n = 3 to 9 trainings each)"
    pca = points[points["state"] == "trained"].assign(network="corpus PCA", value=0.45)
    beside = ladder_effects.effects(pd.concat([points, pca]), "corpus PCA").set_index(["network", "corpus"])
    apart = beside["over corpus PCA"]
    assert (
        apart["net"].to_dict() == pytest.approx({"a": 0.05, "b": 0.15}) and apart["corpus PCA"].isna().all()
    )
    fitted = ladder_effects.effects(points[points["state"] != "untrained"])
    assert fitted["gain"].isna().all() and fitted["over PCA"].tolist() == pytest.approx([-0.2, -0.1])
    nothing = points[points["state"] == "baseline"]
    assert ladder_effects.summary(nothing, correlations)["n_effects"] == 0
    changes = ladder_effects.changes_by_network(nothing, "corpus PCA")
    assert {ladder_effects.directions(one) for one in changes.values()} == {None}
    assert ladder_effects.changes_table(changes, headings).empty
    assert len(ladder_effects.effects(nothing)) == len(ladder_effects.size_effects(nothing)) == 0


def states(losses: list[float], values: list[float], corpus: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"network": "values", "corpus": corpus, "seed": 0, "dataset": "d", "loss": losses, "value": values}
    )


def test_loss_and_score_are_correlated_over_trainings():
    falling = [states([3, 2, 1], [0.1, 0.2, 0.3], corpus) for corpus in "abcd"]
    row = tables_of.loss_correlations(pd.concat(falling)).iloc[0]
    assert (row["rho"], row["low"], row["high"]) == pytest.approx((-1, -1, -1))
    assert (row["n_states"], row["n_trainings"]) == (12, 4)
    mixed = [*falling[:2], states([3, 2, 1], [0.3, 0.2, 0.1], "c"), states([3, 2, 1], [0.3, 0.2, 0.1], "d")]
    row = tables_of.loss_correlations(pd.concat(mixed)).iloc[0]
    assert row["rho"] == pytest.approx(0)
    assert row["low"] < 0 < row["high"]
    assert np.isnan(tables_of.loss_correlations(pd.concat(falling[:2])).iloc[0]["rho"])


def test_a_difference_is_a_mean_with_its_interval_or_without_where_there_is_one_value():
    apart = ladder_effects.mean_and_interval(pd.Series([0.1, 0.3, np.nan]))
    assert apart.tolist() == pytest.approx([0.2, 0.2 - 12.7062 * 0.1, 0.2 + 12.7062 * 0.1, 2], abs=1e-4)
    texts = [ladder_effects.difference_text(ladder_effects.mean_and_interval(pd.Series(values, dtype=float)))
             for values in ([], [-0.001], [0.1, 0.1])]  # fmt: skip
    assert texts == ["–", "+0.00", "+0.10 (+0.10 to +0.10)"]


def test_scores_that_fall_with_the_loss_are_counted_apart_from_those_that_rise():
    columns = ["rho", "low", "high"]
    rows = [(-0.5, -0.7, -0.1), (0.5, 0.1, 0.7), (0.4, 0.2, 0.7), (0.1, -0.2, 0.3), (np.nan,) * 3]
    points = pd.DataFrame(columns=["network", "corpus", "state", "dataset", "value", "n_cells", "whole"])
    findings = ladder_effects.summary(points, pd.DataFrame(rows, columns=columns))
    counts = [findings[f"n_{name}"] for name in ("known", "falling", "rising", "uncertain")]
    assert counts == [4, 1, 2, 1]


def test_a_network_without_random_numbers_is_trained_under_one_seed(card, home):
    (home / "data" / "ladders.yml").write_text(
        LADDERS.replace("model: corpus-pca}", "model: corpus-pca, seeded: false}")
    )
    without = catalog.ladder("tiny")
    assert (card.n_trainings, without.n_trainings) == (6, 5)
    rungs = ladders.rungs(without)
    assert set(ladders.rungs(card)) - set(rungs) == {ladders.Rung("corpus-pca", "tenth", 1)}
    assert [ladders.directory(without, rung) for rung in rungs] == [
        ladders.directory(card, rung) for rung in rungs
    ]
    progress = tables_of.progress(without, pd.DataFrame(columns=["network", "corpus", "seed"]))
    assert (
        progress["corpus PCA"].tolist() == ["0 of 1"] * 2
        and progress["masked values"].tolist()[0] == "0 of 2"
    )


def test_what_is_not_finished_is_listed(card, home):
    rows = [("values", "tenth", 0), ("pca", "", 0)]
    scores = pd.DataFrame(rows, columns=["network", "corpus", "seed"])
    table = tables_of.progress(card, scores)
    assert list(table.columns) == [network.title for network in card.networks.values()]
    expected = {f"{int(name == 'values' and corpus == 'tenth')} of {n_seeds}"
                for name in card.networks for corpus, n_seeds in card.corpora.items()}  # fmt: skip
    assert set(table.to_numpy().ravel()) == expected


def test_rows_of_what_a_ladder_has_no_more_are_left_out(card, home):
    columns = tables_of.TABLES["scores"].all_columns
    rows = [
        ["values", "tenth", 0, 0, "pbmc68k-reduced", "knn_accuracy", 0.5, 0.4, 0.6],
        ["values", "tenth", 7, 0, "pbmc68k-reduced", "knn_accuracy", 0.5, 0.4, 0.6],
        ["gone", "tenth", 0, 0, "pbmc68k-reduced", "knn_accuracy", 0.5, 0.4, 0.6],
        ["pca", "", 0, 0, "pbmc68k-reduced", "knn_accuracy", 0.5, 0.4, 0.6],
    ]
    folder = tables_of.committed("tiny")
    folder.mkdir(parents=True)
    pd.DataFrame(rows, columns=columns).to_csv(folder / "scores.csv", index=False)
    scores = tables_of.load("tiny")["scores"]
    assert scores["network"].tolist() == ["values", "pca"]
    assert data.load("pbmc68k-reduced", subset=120).n_obs == 120
