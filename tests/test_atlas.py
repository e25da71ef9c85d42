"""The atlas of models: the tree, what is recorded of each model, who was compared, where the survey leads."""

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

import reading_list
from reading_list import (
    atlas,
    corpora,
    csv_rows,
    facts,
    model_table,
    pages,
    sections_of_survey,
    survey,
    tables,
    tree,
)
from reading_list.records import posting_date
from zeroshot import catalog, figures, metrics
from zeroshot.catalog import CatalogError
from zeroshot.results import evidence
from zeroshot.runtime import paths
from zeroshot.site import cards, outputs

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = CHECKOUT.parent / "shared"
PAPERS = reading_list.load()
LEAVES = {leaf.paper: leaf for leaf in tree.leaves()}
MODELS = atlas.tree_of_models()
TREE = BeautifulSoup(figures.explore_tree(MODELS)._repr_html_(), "html.parser")
FACTS = facts.of_models()
TABLE = model_table.ModelTable({}, {})
PAGE = BeautifulSoup(TABLE._repr_html_(), "html.parser")
# Names of the tree in the newest edition that are written otherwise here.
OTHERWISE = {"Geneformer-V2": "GeneformerV2", "Teddy": "TEDDY", "STACK": "Stack"}
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the notes and the survey's tables are not beside the project"
)


# -- the tree --------------------------------------------------------------------------------------


def test_every_model_of_the_list_since_2022_is_on_the_tree_once():
    models = {name for name, paper in PAPERS.items() if paper.kind == "model"}
    assert set(LEAVES) == {name for name in models if PAPERS[name].first_year >= tree.FIRST_YEAR}
    assert len(MODELS) == len(LEAVES) and len({leaf.name for leaf in LEAVES.values()}) == len(LEAVES)
    assert {leaf.trunk for leaf in LEAVES.values()} == set(tree.TRUNKS)
    assert LEAVES["holocell"].inputs == ("RNA", "ATAC", "protein")
    assert LEAVES["epiagent"].modality == "ATAC" and LEAVES["epiagent"].date == "2024-12-19"
    assert LEAVES["kronos"].trunk == "multi-modality" and not LEAVES["kronos"].peer_reviewed
    assert LEAVES["scbert"].peer_reviewed and LEAVES["heist"].peer_reviewed


@needs_shared
def test_the_names_of_the_newest_edition_s_tree_are_on_their_trunks():
    text = (SHARED / "research" / "A_coverage.md").read_text()
    trunks = {
        "LLM enhanced": "LLM-enhanced",
        "Multi modality": "multi-modality",
        "Unimodality": "unimodality",
    }
    ours = {leaf.name: leaf.trunk for leaf in LEAVES.values()}
    named = {}
    for trunk, line in re.findall(r"^- (LLM enhanced|Multi modality|Unimodality): (.*)$", text, re.MULTILINE):
        for name in re.split(r"[,;]", re.sub(r"\(\d{4}\)", "", line)):
            name = name.strip().rstrip("*")
            named[OTHERWISE.get(name, name)] = trunks[trunk]
    assert len(named) == 85
    assert {name: ours.get(name) for name in named} == named


@pytest.mark.parametrize(
    ("doi", "arxiv", "date"),
    [
        ("10.64898/2026.06.18.733285", None, "2026-06-18"),
        (None, "2504.16956", "2025-04"),
        ("10.1038/s41592-024-02201-0", None, None),
        (None, None, None),
    ],
)  # fmt: skip
def test_a_date_is_read_from_the_identifier_of_a_preprint(doi, arxiv, date):
    assert posting_date(doi, arxiv) == date


def test_a_first_date_is_that_of_the_preprint():
    assert PAPERS["genept"].first_date == "2023-10-16"  # published in 2025
    assert PAPERS["geneformer"].first_date == "2023"
    assert all(paper.first_date.startswith(str(paper.first_year)) for paper in PAPERS.values())


def test_a_model_whose_place_says_too_little_must_say_it(home):
    file = paths.catalog("literature/reading_list")
    text = file.read_text()
    assert text.count("  inputs: [images]\n") == 1
    file.write_text(text.replace("  inputs: [images]\n", ""))
    with pytest.raises(CatalogError, match="'cellfluxv2' of the reading list lacks `inputs`"):
        tree.leaves()


def test_rows_mean_the_same_year_in_every_trunk_and_no_two_models_share_a_place():
    layout = figures.lay_out_tree(MODELS)
    placed = layout.models
    assert not placed.duplicated(["trunk", "row", "side"]).any()
    assert list(layout.years) == sorted(layout.years, reverse=True)
    bounds = [*layout.years.values(), layout.n_rows]
    for year, above, below in zip(layout.years, bounds, bounds[1:], strict=False):
        assert placed.loc[placed["year"] == year, "row"].between(above + 1, below - 1).all()
    of_trunk = placed[placed["trunk"] == "unimodality"].sort_values(["row", "side"])
    assert list(of_trunk["date"]) == sorted(of_trunk["date"], reverse=True)


def test_the_picture_to_point_at_links_every_model_to_its_entry():
    leaves = TREE.select("a.leaf")
    record = json.loads(TREE.find("script").string)
    assert len(leaves) == len(record["models"]) == len(MODELS)
    for leaf in leaves:
        model = MODELS.iloc[int(leaf["data-model"])]
        assert leaf["href"].endswith(f"#paper-{model['paper']}")
        assert leaf.title.string == f"{model['name']}, {model['date']}, {model['modality']}"
        assert leaf.find("text").string.endswith("*") == model["peer_reviewed"]
    titles = [title.string for title in TREE.select(".tree-title")]
    assert titles == [f"{trunk} ({(MODELS['trunk'] == trunk).sum()})" for trunk in tree.TRUNKS]
    assert outputs.harmless_html(str(TREE)).count("<a ") == len(MODELS)  # nothing of it is taken for foreign


def test_the_tree_is_filtered_by_what_the_table_records():
    words = MODELS.set_index("paper")
    assert words.loc["novae", "objective"] == ("contrastive learning",)
    for column, fact in (("objective", "objective"), ("tokenisation", "input embedding")):
        assert set(words.index[words[column].map(bool)]) == {p for p in LEAVES if fact in FACTS[p]}


def test_the_picture_for_paper_has_every_model():
    figure = figures.draw_tree(MODELS)
    assert list(pd.read_csv(io.StringIO(figures.to_csv(figure)))["paper"]) == list(MODELS["paper"])


def test_the_picture_in_the_readme_is_that_of_today_s_list():
    """Names, stars, years and legend of ``.github/tree.svg``; ``make tree`` draws it again."""
    in_readme = (CHECKOUT / ".github" / "tree.svg").read_text()
    today = figures.to_svg(figures.draw_tree(MODELS))
    texts, expected = (re.findall(r"<!-- (.+) -->", picture) for picture in (in_readme, today))
    assert texts == expected and len(texts) > len(MODELS)


# -- facts -----------------------------------------------------------------------------------------


def test_every_fact_has_a_source_and_stands_in_one_place():
    assert set(FACTS) == {name for name, paper in PAPERS.items() if paper.kind == "model"}
    for name, of_model in FACTS.items():
        assert all(fact.value and fact.source for fact in of_model.values()), name
    assert FACTS["uce"]["weights"].source == "its card here"
    assert FACTS["cellfm"]["corpus"].source == "the survey, appendix C.1"
    assert FACTS["epiagent"]["corpus size"].value == "5 million cells"
    counted = TABLE.coverage.set_index("fact")["models"]
    assert counted["weights"] == sum("weights" in of_model for of_model in FACTS.values()) > 25
    shown = model_table.ModelTable({}, {"eva": ("aging",)}).coverage.set_index("fact")["models"]
    assert shown["zero-shot"] == counted["zero-shot"] + 1


def test_a_card_speaks_for_all_that_it_states():
    for name in FACTS:
        for card in facts.cards(PAPERS[name]):
            assert card.organism.replace(" and ", "; ") in FACTS[name]["organisms"].value
            if card.authors_encoder is None:
                assert card.weights_licence in FACTS[name]["licence of weights"].value


def test_a_card_with_other_weights_than_the_authors_says_nothing_of_theirs():
    assert facts.cards(PAPERS["scelmo"])[0].parameter_count
    assert not {"parameters", "corpus", "weights", "licence of weights"} & set(FACTS["scelmo"])
    assert FACTS["genept"]["weights"].source.startswith("yiqunchen/GenePT")


# A row of model_facts.csv, and what is said of it.
WRONG_FACTS = {
    "uce,organisms,mouse,x": "uce is 'human; seven other species' already, by its card here; correct it",
    "epiagent,code,https://example.org,x": "already, by xy-chen16/EpiAgent",
    "no-model,tasks,x,x": "no model of the reading list is called 'no-model'",
    "eva,tasks,x,": "source: Field required",
    "eva,colour,x,x": "fact: Input should be",
    "eva,code,github,x": "`code` is 'github'; write the address",
    "eva,zero shot,no,x": "`zero shot` is `yes`, or the row is left out",
}


def test_wrong_facts_are_refused(home):
    file = paths.catalog("literature/model_facts").with_suffix(".csv")
    right = file.read_text()
    for row, message in WRONG_FACTS.items():
        file.write_text(f"{right}{row}\n")
        with pytest.raises(CatalogError, match=re.escape(message)):
            facts.of_models()


def test_a_table_that_is_damaged_is_refused_by_name(home):
    file = paths.catalog("literature/model_facts").with_suffix(".csv")
    right = file.read_bytes()
    for content, message in (
        (b"", "it is empty"),
        (right[:-20], "cut off"),
        (right[:80] + b"\xff" + right[80:], "utf-8"),
        (right + b"x" * 200_000 + b"\n", "field larger"),
        (right.replace(b"\n", b",paper\n", 1), "a column is there twice"),
    ):
        file.write_bytes(content)
        with pytest.raises(CatalogError, match=rf"model_facts\.csv cannot be read: .*{message}"):
            csv_rows.read("model_facts", facts.Row)
    file.unlink()
    for make in (file.parent.joinpath, lambda name: file.mkdir()):
        make(file.name)
        with pytest.raises(CatalogError, match=r"model_facts\.csv cannot be read: (No such|Is a)"):
            csv_rows.read("model_facts", facts.Row)


@pytest.mark.parametrize(
    ("licence", "use"),
    [
        ("Apache-2.0", "permitted"),
        ("BSD-2-Clause, as the repository; none stated beside the file", "permitted"),
        ("the authors' own: non-commercial research only, not transferable", "not permitted"),
        ("CC BY-NC-ND 4.0", "not permitted"),
        ("research use only, terms to be accepted", "not permitted"),
        ("MIT (one page), Apache-2.0 (another); its code is GPL-3.0", "permitted"),
        ("none stated by the authors, though copies on the hub say MIT", "not stated"),
    ],
)  # fmt: skip
def test_what_a_licence_says_of_commercial_use(licence, use):
    assert facts.commercial_use(licence) == use


def test_the_table_has_every_model_and_a_source_for_every_fact():
    rows = PAGE.select("#models tbody tr")
    assert [row["id"] for row in rows] == [f"model-{name}" for name in LEAVES]
    anchors = {item["id"] for item in PAGE.select("ol.fact-sources li")}
    linked = {link["href"][1:] for link in PAGE.select("#models sup a")}
    assert linked == anchors and len(anchors) > 40
    row = PAGE.find(id="model-epiagent")
    assert len(row.select("sup")) == len(FACTS["epiagent"])
    cells = PAGE.find(id="model-alphacell").find_all("td")[1:]  # only what its title says is recorded
    named = {name for name, cell in zip(model_table.COLUMNS, cells, strict=True) if cell.text != "–"}
    assert named.intersection(facts.NAMES) == set(FACTS["alphacell"]) == {"tasks"}
    on_page = BeautifulSoup(cards.table(), "html.parser")
    for link in PAGE.select("#models a[href*='models.html#']"):
        assert on_page.find(id=link["href"].partition("#")[2]), link["href"]


def test_a_model_with_a_card_that_cannot_be_run_is_marked():
    column = 1 + model_table.COLUMNS.index("in this book")  # after the date
    here = {name: PAGE.find(id=f"model-{name}").find_all("td")[column] for name in LEAVES}
    assert (here["cellfm"].text, here["scgpt"].text, here["scmmgpt"].text) == ("no", "yes", "–")
    assert here["cellfm"].a["href"].endswith("#family-cellfm")


def test_heads_with_a_filter_survive_the_site():
    cleaned = BeautifulSoup(outputs.harmless_html(TABLE._repr_html_()), "html.parser")
    filtered = [head.text for head in cleaned.select("#models th[data-filter]")]
    assert filtered == ["zero-shot" if name == "zero shot" else name for name in model_table.FILTERS]
    assert not cleaned.find(["form", "select", "input"])


def test_models_measured_by_others_are_marked():
    table = model_table.ModelTable({"scgpt": ("liatir",)}, {"scgpt": ("liatir",), "eva": ("aging",)})
    page = BeautifulSoup(table._repr_html_(), "html.parser")
    assert page.find(id="model-scgpt").find_all("td")[-1].text == "liatir"
    assert "scores of aging" in [item.text for item in page.select("ol.fact-sources li")]


# -- comparisons -----------------------------------------------------------------------------------


def test_a_pair_needs_the_same_source_data_and_metric():
    rows = [
        ("a", "t", "d1", "nmi", "scgpt"),
        ("a", "t", "d1", "nmi", "scvi"),
        ("a", "t", "d2", "nmi", "pca"),
        ("b", "t", "d1", "ari", "scgpt"),
        ("b", "t", "d1", "nmi", "scvi"),
    ]
    published = pd.DataFrame(rows, columns=["source", "task", "dataset", "metric", "method"])
    pairs = atlas.compared(published, evidence.methods())
    assert pairs.to_numpy().tolist() == [["scGPT", "scVI", "scvi", "a"]]


def test_sources_of_published_scores_are_named_by_their_titles():
    rows = [("liatir", "scgpt", "zero-shot"), ("aging", "scgpt", "fine-tuned"), ("aging", "pca", "zero-shot")]
    published = pd.DataFrame(rows, columns=["source", "method", "setting"])
    titles = {name: evidence.sources()[name].title for name in ("liatir", "aging")}
    measured, zero_shot = atlas.measured_by_others(published, evidence.sources())
    assert measured == {"scgpt": tuple(sorted(titles.values())), "pca": (titles["aging"],)}
    assert zero_shot == {"scgpt": (titles["liatir"],), "pca": (titles["aging"],)}


def test_data_sets_with_zero_shot_scores_are_listed_once_a_source():
    methods, sources = evidence.methods(), evidence.sources()
    table = atlas.zero_shot_by_dataset(evidence.load(), methods, sources)
    assert not table.duplicated(["data set", "source"]).any()
    of_paper = table[table["data set"].eq("Pancreas (16k)")].iloc[0]
    assert (of_paper["models"], of_paper["source"]) == ("Geneformer; scGPT", "Kedzierska 2025, Fig. 1")
    assert of_paper["of"] == "batch mixing; clustering"
    mouse = table[table["data set"].eq("cellxgene_census/mouse_pancreas_atlas")].set_index("source")
    assert mouse.loc["Open Problems, batch integration", "models"] == "scGPT; SCimilarity; scPRINT; UCE"
    titles = {card.title for card in methods.values() if card.kind in ("foundation", "text")}
    assert {model for models in table["models"] for model in models.split("; ")} <= titles
    units = {card.unit for card in sources.values()}
    assert not set(table["data set"]) & units


def test_the_overview_has_the_entries_of_the_study_and_every_metric():
    study = catalog.study("paper")
    steps = atlas.overview(study, metrics.METRICS)
    counts = steps["step"].value_counts()
    assert counts["Cells"] == len(study.datasets) and counts["Embeddings"] == len(study.models)
    assert counts["Metrics"] == len(metrics.METRICS)
    assert len(pd.read_csv(io.StringIO(figures.to_csv(figures.draw_overview(steps))))) == len(steps)


# -- the survey ------------------------------------------------------------------------------------


def rows_of(name: str) -> list[dict[str, str]]:
    with (SHARED / "survey" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@needs_shared
def test_appendix_c_is_complete():
    written = {model.casefold(): model for model in survey.models()}
    pairs = [(written[row["model"].casefold()], row["dataset"]) for row in rows_of("evaluation_sets_c2")]
    assert pairs == [(row.model, row.dataset) for row in corpora.evaluation_sets()]
    for row in rows_of("corpora_c1"):
        ours = corpora.of_models()[written[row["model"].casefold()]]
        assert ours.corpus == row["corpus"] and "; ".join(ours.sources) == row["sources"]


def test_membership_counts_pairs():
    sets = pd.DataFrame(map(dict, corpora.evaluation_sets()))
    drawn = pd.read_csv(io.StringIO(figures.to_csv(figures.draw_membership(sets, "model", "group"))))
    assert drawn["pairs"].sum() == len(sets)
    assert drawn.set_index(["model", "group"])["pairs"]["scBERT", "pancreas"] == 4


def test_every_part_of_the_survey_leads_to_a_page_or_says_that_none_does():
    rows = sections_of_survey.destinations()
    on_page = BeautifulSoup(cards.table(), "html.parser")
    chapters = {f"notebooks/{name}" for study in catalog.studies().values() for name in study.chapters}
    for row in rows:
        if row.anchor:
            assert on_page.find(id=row.anchor), row.anchor
        else:
            assert row.page is None or row.page in {*chapters, "book/corpora"}, row.page
    items = {(row.section[0], row.item) for row in rows}
    assert {mark.task for mark in survey.tasks()} == {item for section, item in items if section == "5"}
    tokens = {word for model in survey.models().values() for word in model.tokens}
    assert tokens <= {item for section, item in items if section in "34"}
    assert {model.paradigm for model in survey.models().values()} <= {item for _, item in items}
    text = pages.pages()["reading_list/survey_sections"]
    assert text.count("\n- **") == len(rows)
    assert text.count("**: none. ") == sum(row.page is None for row in rows)


def test_the_survey_s_models_say_what_runs_here_and_with_which_language_model():
    rows = tables.surveyed_models().set_index("model")["in this book"]
    runs = {name: BeautifulSoup(cell, "html.parser").text == "yes" for name, cell in rows.items()}
    assert [name for name in runs if runs[name]] == [row["model"] for row in survey.families_in_book()]
    notes = tables.other_base_models()
    assert [note.partition(":")[0] for note in notes] == ["Cell2Sentence", "GenePT", "scELMo", "CELLama"]
    assert all(re.search(r"here it is [\w-]+/[\w.-]+", note) for note in notes)


@needs_shared
def test_every_challenge_of_section_6_is_there():
    challenges = {row["challenge"] for row in rows_of("challenges_6")}
    ours = {row.item for row in sections_of_survey.destinations() if row.section.startswith("6")}
    assert challenges == ours


def test_a_page_that_does_not_exist_is_refused(home):
    file = paths.catalog("literature/survey_sections").with_suffix(".csv")
    file.write_text(f"{file.read_text()}6.3,Challenges,x,notebooks/no_chapter,,What\n")
    with pytest.raises(CatalogError, match=r"there is no no_chapter\.ipynb in .*notebooks"):
        sections_of_survey.destinations()
