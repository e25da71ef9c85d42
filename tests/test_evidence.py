"""Published scores of others: every table has an entry and the reverse, and faults stand apart."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from zeroshot import catalog, cli
from zeroshot.catalog import CatalogError
from zeroshot.results import evidence
from zeroshot.runtime import paths

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = evidence.sources()
FOLDER = paths.catalog("evidence/sources").parent
REGISTRIES = {"sources.yml", "methods.yml", "measures.yml"}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return evidence.load(faults=True)


# -- the contract of a source ----------------------------------------------------------------------


def test_every_table_has_an_entry_and_every_entry_a_table():
    assert {file.name for file in FOLDER.iterdir()} == REGISTRIES | {s.table.name for s in SOURCES.values()}


@pytest.mark.parametrize("name", SOURCES)
def test_source_keeps_its_contract(name):
    source, table = SOURCES[name], evidence.load(name, faults=True)
    assert hashlib.sha256((FOLDER / source.table.name).read_bytes()).hexdigest() == source.table.sha256
    assert tuple(table.columns) == evidence.COLUMNS and len(table) == source.table.rows
    assert np.isfinite(table["value"]).all()
    # One direction for a metric, here and under the name that it has across sources.
    assert table.groupby("metric")["higher_is_better"].nunique().eq(1).all()
    direction = {measure: card.higher_is_better for measure, card in evidence.measures().items()}
    assert table["higher_is_better"].eq(table["measure"].map(direction)).all()
    # Everything in the entry is about some row.
    assert set(source.areas) == set(table["task"].str.split("|").str[0])
    assert source.latest is None or source.latest in set(table["replicate"])
    assert not table["fault"].any() or source.faults
    assert not table["leak"].any() or not source.leakage.startswith("Not")


def test_every_name_of_a_registry_is_used_and_none_is_missing(rows):
    assert {m for card in evidence.methods().values() for m in card.models} == set(rows["model"])
    spellings = {
        (metric, card.higher_is_better) for card in evidence.measures().values() for metric in card.metrics
    }
    assert spellings == set(zip(rows["metric"].str.split("|").str[0], rows["higher_is_better"], strict=True))


def test_one_method_has_one_name_across_sources(rows):
    for method, n_sources in (("scgpt", 15), ("geneformer", 13), ("pca", 13), ("scvi", 10)):
        assert rows.loc[rows["method"].eq(method), "source"].nunique() >= n_sources, method
    assert set(rows.loc[rows["method"].eq("scanvi"), "sees_labels"]) == {True}


def test_tables_of_closed_licences_are_no_copies():
    closed = {name for name, source in SOURCES.items() if source.taken == "values"}
    assert {"liatir", "scprint2", "perteval", "aging"} <= closed and "sctab" not in closed
    entry = yaml.safe_load((FOLDER / "sources.yml").read_text())["liatir"] | {"name": "liatir"}
    with pytest.raises(ValueError, match="only measured values"):
        type(SOURCES["liatir"]).model_validate(entry | {"taken": "table"})


# -- what is returned ------------------------------------------------------------------------------


def test_faults_are_returned_only_when_asked_for(rows):
    faults = evidence.faults()
    assert len(evidence.load()) == len(rows) - len(faults) > 0
    assert not evidence.load()["fault"].any() and faults["fault"].all()
    assert set(faults.groupby("source")["method"].unique().map(sorted).map(tuple).items()) == {
        ("openproblems_batch_integration", ("geneformer", "scanorama")),
        ("openproblems_label_projection", ("uce",)),
        ("stfm_benchmark", ("geneformer",)),
    }
    of_geneformer = faults[faults["measure"].eq("ari") & faults["method"].eq("geneformer")]
    assert of_geneformer["value"].max() < 0.1


# Read in the files of the sources themselves, at the commits of their entries.
TRACED = (
    ("liatir", "Pancreas", "harmony", "ari", 0.9219064771432817),
    ("liatir", "Pancreas", "geneformer", "logistic_macro_f1", 0.7643451754489563),
    ("liatir", "Pancreas", "scgpt", "cell_type_silhouette", -0.00891207717359066),
    ("liatir", "PBMC", "scgpt", "nmi", 0.7858316751021232),
    ("liatir", "PBMC", "pca", "knn_macro_f1", 0.9300804596718746),
    ("scprint2", "dkd", "scPRINT-2 FT cell_type MMD 0.03", "ari", 0.913979295179496),
    ("scprint2", "gtex_v9", "TranscriptFormer TF-Metazoa", "kbet", 0.277544081413527),
    ("scprint2", "hypomap", "scPRINT-2 ZS cell_type", "pcr", 0.429146467799296),
    ("scprint2", "mouse_pancreas", "scPRINT-1 cell_type PCA50", "nmi", 0.693213126228346),
    ("islander", "lung", "X_pca", "scGraph_Rank-PCA", 0.7260006008824645),
    ("islander", "lung", "scPoli", "scGraph_Corr-Weighted", 0.8218137090027244),
    ("dl_benchmark", "aorta", "scVI", "BRAS", 0.85604703),
    ("dl_benchmark", "aorta", "Geneformer", "KMeans ARI", 0.3916033571763082),
    ("dl_benchmark", "aorta", "scGPT (zero-shot)", "iLISI", 0.11544909),
    ("dl_benchmark", "aorta", "cellPLM", "Total", 0.5592509489697437),
    ("nsclc_scgpt", "broad_all_cells", "scgpt", "sample_held_out_knn_accuracy", 0.9230093874518809),
    ("nsclc_scgpt", "broad_all_cells", "PCA", "leiden_ARI", 0.23425160484994412),
    ("nsclc_scgpt", "CD8", "PCA", "leiden_NMI", 0.37153247886864604),
    ("nsclc_scgpt", "CD4", "scgpt", "label_silhouette", -0.03591090068221092),
    ("nsclc_scgpt", "CD8", "scgpt", "platform_silhouette", 0.24109451472759247),
)


def test_values_are_those_of_the_sources_own_files():
    for source, dataset, model, metric, value in TRACED:
        table = evidence.load(source)
        row = table[table["model"].eq(model) & table["metric"].eq(metric)]
        row = row[row["dataset"].str.contains(dataset) & row["task"].ne("batch_integration_seed_check")]
        assert list(row["value"]) == [value], (source, dataset, model, metric)


def test_tables_are_those_that_were_collected(rows):
    collected = CHECKOUT.parent / "shared" / "evidence"
    if not collected.is_dir():
        pytest.skip("../shared/evidence is not here")
    for source in SOURCES.values():
        assert (collected / source.table.name).read_bytes() == evidence.table_path(source).read_bytes()
    assert len(rows) == sum(source.table.rows for source in SOURCES.values()) == 62_626


def test_selection_takes_names_of_ours_and_of_the_source(rows):
    assert set(evidence.select(rows, metric="ari")["metric"]) > {"ARI", "ari", "leiden_ARI"}
    assert set(evidence.select(rows, metric="leiden_ARI")["metric"]) == {"leiden_ARI"}
    both = evidence.select(rows, model="scgpt", task="annotation")
    assert set(both["method"]) == {"scgpt"} and set(both["area"]) == {"annotation"}
    with pytest.raises(CatalogError, match="Did you mean scgpt"):
        evidence.select(rows, model="scgtp")


def test_unknown_source_is_answered_with_the_nearest():
    with pytest.raises(CatalogError, match="Did you mean liatir"):
        evidence.load("liatr")


# -- the command -----------------------------------------------------------------------------------


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, ["evidence", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_command_prints_sources_or_rows():
    assert [row["name"] for row in json.loads(printed("--json"))] == list(SOURCES)
    chosen = ("--source", "liatir", "--model", "scgpt", "--metric", "ari")
    rows = json.loads(printed(*chosen, "--json"))
    assert [row["value"] for row in rows] == pytest.approx([0.2747793994313853, 0.6692582633789435])
    table = pd.read_csv(io.StringIO(printed(*chosen, "--csv")))
    assert list(table.columns) == list(evidence.COLUMNS) and len(table) == 2
    assert "0.669" in printed(*chosen)


def test_command_prints_faults_only_when_asked_for():
    arguments = ("--model", "geneformer", "--metric", "ilisi", "--csv")
    shown = pd.read_csv(io.StringIO(printed(*arguments)))
    assert not shown["fault"].any()
    faults = pd.read_csv(io.StringIO(printed(*arguments, "--faults")))
    assert faults["fault"].all() and len(faults) == 15


# -- what is refused -------------------------------------------------------------------------------


@pytest.fixture
def damage(home):
    """Write another table for one source of a copy of the project, with a fitting entry."""
    folder = home / "data" / "evidence"

    def write(change, *, table: dict | None = None) -> str:
        name = "langcell"
        rows = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
        text = change(rows).to_csv(index=False)
        (folder / f"{name}.csv").write_text(text)
        entries = yaml.safe_load((folder / "sources.yml").read_text())
        entries[name]["table"] |= {"sha256": hashlib.sha256(text.encode()).hexdigest()} | (table or {})
        (folder / "sources.yml").write_text(yaml.safe_dump(entries, sort_keys=False))
        with pytest.raises(evidence.EvidenceError) as error:
            evidence.load(name)
        return str(error.value)

    return write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.rename(columns={"value": "score"}), "must have the columns"),
        (lambda rows: rows.assign(value=["0.5", "inf", "0.5"]), "line 3: `value` is not a finite number"),
        (lambda rows: rows.assign(source="other"), "`source` is not langcell"),
        (lambda rows: rows.assign(setting="zeroshot"), "`setting` is none of"),
        (lambda rows: rows.assign(model=""), "`model` is empty"),
        (lambda rows: rows.head(2), "has 2 rows, and its entry says 3"),
        (lambda rows: rows.assign(model="New"), "methods.yml lacks: ['New']"),
        (lambda rows: rows.assign(higher_is_better=False), "measures.yml lacks: [('accuracy', False)"),
        (lambda rows: rows.assign(task="other"), "`areas` of the entry lacks: ['other']"),
    ],
)
def test_table_that_breaks_the_contract_is_refused(damage, change, message):
    assert message in damage(change)


def test_table_that_is_no_csv_is_refused_by_name(damage, monkeypatch):
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda rows, **options: '"open')
    assert "langcell.csv cannot be read (Error tokenizing data" in damage(lambda rows: rows)


def test_table_with_another_hash_is_refused(damage):
    assert "its entry says 000" in damage(lambda rows: rows, table={"sha256": "0" * 64})


def test_areas_of_the_registries_are_those_of_the_chapter(rows):
    assert {"clustering", "batch mixing", "annotation", "gene-level", "perturbation", "cost"} <= set(
        rows["area"]
    )
    assert catalog.find(evidence.measures(), "pcr", "metric").higher_is_better is False
