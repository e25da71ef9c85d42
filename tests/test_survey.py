"""The survey's tables: what the files may say, and that they say what the survey does."""

import csv
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from typer.testing import CliRunner

import reading_list
from reading_list import survey, tables
from zeroshot import catalog, cli, study
from zeroshot.catalog import CatalogError
from zeroshot.site import cards

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCE = CHECKOUT.parent / "shared" / "survey"
MODELS, TASKS, TAXONOMY = survey.models(), survey.tasks(), survey.taxonomy()
needs_source = pytest.mark.skipif(
    not SOURCE.is_dir(), reason="the survey's tables are not beside the project"
)


def source(name: str) -> list[dict[str, str]]:
    with (SOURCE / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def ours(name: str) -> str:
    """A model as we write it, from a name of the survey."""
    return {model.casefold(): model for model in MODELS}[name.casefold()]


# -- the files -------------------------------------------------------------------------------------


def test_every_paper_of_a_model_says_the_same_of_it():
    papers = reading_list.load()
    assert survey.PAPER in papers
    with_paper = [model for model in MODELS.values() if model.paper]
    assert len(with_paper) >= 20
    for model in with_paper:
        paper = papers[model.paper]
        assert paper.tokenisation == model.tokens and model.paradigm in paper.objective, model.name


def test_a_model_of_a_family_that_is_here_names_it():
    families = {model.card for model in MODELS.values() if model.card}
    assert families == {
        "Geneformer", "scGPT", "CELLama", "scBERT", "UCE", "CellPLM", "scFoundation", "Nicheformer",
        "tGPT", "LangCell", "scCello", "GeneCompass", "scPRINT", "scMulan", "CellLM",
        "CellFM", "scInterpreter", "scChat",
        "Cell2Sentence", "ChatCell", "GenePT", "scELMo",
    }  # fmt: skip
    assert all(model.name == model.card for model in MODELS.values() if model.card)


def test_the_tree_has_the_same_facts_as_the_tables():
    for leaf in TAXONOMY:
        if leaf.level2 in ("pretraining", "tuning"):
            assert leaf.level3 == MODELS[leaf.model].paradigm
    marked = {(mark.task, mark.model) for mark in TASKS if mark.in_table}
    assert {(leaf.level3, leaf.model) for leaf in TAXONOMY if leaf.level1 == "tasks"} == marked


def test_what_this_book_has_of_a_model():
    cards = {card.name: card.twin_of for card in survey.cards(MODELS["CELLama"])}
    assert cards.pop("cellama-untrained") == "cellama" and cards.pop("cellama-l12-untrained") == "cellama-l12"
    assert cards == {"cellama": None, "cellama-l12": None}
    assert survey.cards(MODELS["scInterpreter"]) == []
    rows = {row["model"]: row for row in survey.families_in_book()}
    assert set(rows) == {model.card for model in MODELS.values() if survey.cards(model)}
    assert not {"CellFM", "scChat"} & set(rows), "their cards say why they cannot be run"
    assert rows["UCE"]["checkpoints"] == "UCE 4 layers; UCE 33 layers"
    trained, twin = "trained weights in studies", "untrained twin in studies"
    assert rows["CELLama"][trained] == "default; real; paper" and rows["CELLama"][twin] == ""
    assert rows["scGPT"][trained] == "paper" and "real" in rows["scGPT"][twin].split("; ")
    assert rows["CELLama"]["licence of weights"].split("; ")[0] == "Apache-2.0"
    assert "scGPT human" in rows["scGPT"]["checkpoints"] and "untrained" not in rows["scGPT"]["checkpoints"]
    assert rows["scGPT"]["recipes"].split("; ").count("paper") == 1


# -- the survey ------------------------------------------------------------------------------------


@needs_source
def test_every_model_of_tables_1_and_2():
    plms, llms = source("table1_plms"), source("table2_llms")
    assert list(MODELS) == [ours(row["model"]) for row in [*plms, *llms]] and len(MODELS) == 22
    for row in plms:
        model = MODELS[ours(row["model"])]
        assert model.model_type == "PLM" and model.year == int(row["year"])
        assert model.size_millions == float(row["data_size_cells_millions"])
        assert len(model.tokens) == len(row["tokenization"].split(", "))
    for row in llms:
        model = MODELS[ours(row["model"])]
        assert model.model_type == "LLM" and model.year == int(row["year"])
        assert model.base_model == row["base_model"]


WHETHER_IT_RUNS = (
    "runs here with real weights: ", "runs with weights that are downloaded: ",
    "runs with weights you bring, from https://", "not possible: ",
)  # fmt: skip


def test_every_model_of_tables_1_and_2_has_a_card_that_says_whether_it_runs():
    page = BeautifulSoup(cards.table(), "html.parser")
    listed = CliRunner().invoke(cli.app, ["models", "--json"]).stdout
    names = {entry["name"] for entry in json.loads(listed)}
    for model in MODELS.values():
        assert model.card, f"{model.name} has no card in data/models.yml or data/other_models.yml"
        family = page.find(id=catalog.family_anchor(model.card))
        rows = [row for row in family.find_all("tr", id=True) if "random; trained" not in row.text]
        assert rows, model.name
        for row in rows:
            said = [text for text in WHETHER_IT_RUNS if text in row.text]
            assert len(said) == 1 and row["id"] in names, row["id"]
            assert len(row.text.partition(said[0])[2].strip()) > 10, f"{row['id']} says no address or reason"
    real = page.find(id=catalog.family_anchor("CELLama")).text
    assert WHETHER_IT_RUNS[0] in real and WHETHER_IT_RUNS[3] in page.find(id="scchat").text


@needs_source
def test_as_many_marks_as_table_3():
    ticks = Counter(mark.model for mark in TASKS if mark.table == "3" and mark.in_table)
    rows = source("table3_tasks")
    assert {ours(row["model"]): int(row["n_ticks"]) for row in rows} == {name: ticks[name] for name in MODELS}
    columns = [name for name in rows[0] if rows[0][name] in ("0", "1")]
    of_columns = [sum(int(row[column]) for row in rows) for column in columns]
    of_tasks = Counter(mark.task for mark in TASKS if mark.table == "3" and mark.in_table)
    assert sorted(of_columns) == sorted(of_tasks.values())


@needs_source
def test_as_many_tasks_as_table_4():
    fields = ("drug_related", "spatial_related", "other")
    n_tasks = {
        ours(row["model"]): sum(len(row[field].split(", ")) for field in fields if row[field])
        for row in source("table4_other_tasks")
    }
    assert n_tasks == Counter(mark.model for mark in TASKS if mark.table == "4")


@needs_source
def test_every_compared_mark_has_its_verdict():
    compared = [row for row in source("table3_crosscheck") if row["column"] != "(all)"]
    verdicts = {
        (ours(row["model"]), row["table_tick"] == "1", row["verdict"].split()[0].strip(":,"))
        for row in compared
    }
    words = {
        "supported": {"supported"},
        "table only": {"table"},
        "contradicted": {"contradicted"},
        "text only": {"text", "C.2"},
    }
    marks = [mark for mark in TASKS if mark.verdict != "not compared"]
    assert len(marks) == len(compared)
    for mark in marks:
        assert any((mark.model, mark.in_table, word) in verdicts for word in words[mark.verdict]), mark


@needs_source
def test_every_leaf_of_figure_1():
    rows = source("taxonomy_fig1")
    assert len(TAXONOMY) == len(rows)
    assert Counter(leaf.model for leaf in TAXONOMY) == Counter(ours(row["model"]) for row in rows)
    # Our words for theirs: one to one.
    places = Counter((row["level1"], row["level2"], row["level3"]) for row in rows)
    assert sorted(places.values()) == sorted(
        Counter((m.level1, m.level2, m.level3) for m in TAXONOMY).values()
    )


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("survey_models", "scBERT,PLM", "scBERT,plm", "line 2: model_type: Input should be 'PLM' or 'LLM'"),
        ("survey_models", ",uce,", ",ucee,", "line 3: no paper is called 'ucee'. Did you mean uce"),
        ("survey_models", "scgpt,scGPT", "scgpt,scGPTT", "no family of models is called 'scGPTT'"),
        ("survey_models", "ranking; metadata", "ranking; mtadata", "tokens.1: Input should be"),
        ("survey_models", "UCE,", "scBERT,", "line 3: scBERT is there twice"),
        ("survey_models", ",1,scRNA-seq profiles", ",,", "a PLM has `size_millions`"),
        ("survey_models", "GPT-4o,scchat,", "GPT-4o,scchat,,x", "beyond the last column: Extra inputs"),
        ("survey_models", "base_model", "base_modle", "base_modle: Extra inputs are not permitted"),
        ("survey_tasks", "scBERT,cell type", "scBRT,cell type", "Did you mean scBERT"),
        ("survey_tasks", "clustering,cell", "clustering,gene", "clustering has another level"),
        ("survey_tasks", "3,no,text only", "3,yes,text only", "`text only` is the verdict where"),
        ("survey_tasks", "3,yes,table only,", "3,yes,,", "`verdict` and `note` go together"),
        ("taxonomy", "binning,scBERT", "binning,CellLM", "line 3: .* is there twice"),
        ("taxonomy", "binning,scBERT", "binning,scBRT", "no model of the survey is called 'scBRT'"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(home, file, before, after, message):
    path = home / "data" / "literature" / f"{file}.csv"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(CatalogError, match=message):
        survey.taxonomy() if file == "taxonomy" else survey.tasks()


def test_tables_of_the_chapter_count_and_link():
    values = pd.Series(["b", "a", "b", "c", "a"])
    assert tables.extremes(values) == {"top": ("a and b", 2), "rare": ("c", 1)}
    listed = tables.papers()
    numbers = tables.papers_by_section(listed)
    assert numbers.iloc[-1]["section"] == "all" and numbers.iloc[-1]["all"] == len(listed)
    assert numbers.iloc[0]["section"].startswith('<a href="../book/reading_list/')
    rows = tables.surveyed_models()
    assert list(rows["model"]) == list(survey.models()) and rows.notna().all(axis=None)
    here = [name for name, model in survey.models().items() if model.card]
    assert list(rows.loc[rows["in this book"] != "–", "model"]) == here
    compared = pd.DataFrame(map(dict, survey.tasks())).query("verdict != 'not compared'")
    verdicts = tables.marks_by_verdict(compared)
    assert len(verdicts) == len(compared) and verdicts["verdict"].is_monotonic_increasing
    nodes, lines = tables.tree()
    assert len(lines) == len(tables.descents()) and set(lines["parent"]) <= set(nodes["name"])


def test_the_chapters_are_made_again_when_their_tables_change():
    tables = {f"data/literature/{path.name}" for path in (CHECKOUT / "data/literature").glob("*.csv")}
    tables -= {"data/literature/survey_sections.csv"}  # of a page that is written when the book is staged
    declared = [set(study.declaration(chapter).files) for chapter in ("landscape", "atlas")]
    assert tables <= declared[0] | declared[1]
