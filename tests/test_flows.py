"""The picture of flows as SVG, and the addresses to which the survey's rows lead."""

import pandas as pd
from bs4 import BeautifulSoup

from reading_list import survey, tables
from zeroshot import catalog, figures, study
from zeroshot.site import cards

MODELS = pd.DataFrame(map(dict, survey.models().values()))
PICTURE = BeautifulSoup(figures.explore_flows(MODELS)._repr_html_(), "html.parser")


def indices(part) -> list[int]:
    return [int(number) for number in part["data-models"].split()]


def test_the_svg_has_the_places_of_the_figure():
    layout = figures.lay_out_flows(MODELS)
    bars = [node.rect.find_next_sibling("rect") for node in PICTURE.select("g.node")]
    assert [float(bar["height"]) for bar in bars] == [20 * len(node.models) for node in layout.nodes]
    tops = [float(bar["y"]) for bar in bars]
    assert [round((top - tops[0]) / 20, 2) for top in tops] == [
        round(node.top - layout.nodes[0].top, 2) for node in layout.nodes
    ]
    assert [len(flow.find_all("path")) for flow in PICTURE.select("g.flow")] == [2] * len(MODELS)


def test_a_node_holds_the_models_that_say_its_word():
    for node in PICTURE.select("g.node"):
        word, rows = node["data-name"], MODELS.iloc[indices(node)]
        has_word = [
            word in (", ".join(row.tokens) or "none", row.model_type, row.paradigm)
            for row in rows.itertuples()
        ]
        assert all(has_word) and node.title.text == f"{word} ({len(rows)})"
    assert [indices(flow) for flow in PICTURE.select("g.flow")] == [[place] for place in range(len(MODELS))]
    each = sorted(place for node in PICTURE.select("g.node") for place in indices(node))
    assert each == sorted([*range(len(MODELS))] * 3)


def test_the_list_beneath_has_every_model_with_its_links():
    items = PICTURE.select("li[data-model]")
    assert PICTURE.select_one(".flows-said").text == f"All {len(MODELS)} models"
    for item, model in zip(items, survey.models().values(), strict=True):
        assert item.text.startswith(model.name)
        links = [link["href"] for link in item.find_all("a")]
        paper = [f"../book/reading_list.html#paper-{model.paper}"] if model.paper else []
        here = [f"../book/models.html#{catalog.family_anchor(model.card)}"] if model.card else []
        assert links == paper + here


def test_text_is_escaped():
    hostile = MODELS.head(2).assign(tokens=[("<b>x",), ("y",)], paradigm=['"><i>', "&"])
    page = BeautifulSoup(figures.explore_flows(hostile)._repr_html_(), "html.parser")
    assert not page.find(["b", "i"]) and page.select_one("g.node")["data-name"] == "<b>x"


def test_the_survey_s_families_lead_to_cards_that_exist():
    page = BeautifulSoup(cards.table(), "html.parser")
    anchors = {tag["id"] for tag in page.find_all(id=True)}
    assert set(catalog.models()) < anchors
    here = tables.models_in_book()
    assert list(here["model"].str.contains("family-")) == [True] * len(here)
    for cell in [*here["model"], *here["checkpoints"]]:
        links = [link["href"] for link in BeautifulSoup(cell, "html.parser").find_all("a")]
        assert links and {link.partition("models.html#")[2] for link in links} <= anchors
    (row,) = here[here["model"].str.contains("family-geneformer")]["papers"]
    assert "paper-geneformer-v2" in row


def test_a_card_links_the_runs_of_a_build_and_no_others():
    card = catalog.study("smoke")
    pages = study.run_pages(card)
    page = BeautifulSoup(cards.table(pages), "html.parser")
    linked = [link["href"] for link in page.select("a[href^='../runs/']")]
    assert sorted(linked) == sorted(f"../{page.path}.html" for page in pages) and linked
    for run in pages:
        row = page.find(id=run.parameters["model"])
        assert row.find("a", href=f"../{run.path}.html")
    assert not BeautifulSoup(cards.table(), "html.parser").select("a[href^='../runs/']")
