"""The tree of models: who is in it, where, and that every descent is stated somewhere."""

import re

import pytest

import reading_list
from reading_list import lineage, survey, tables
from zeroshot import catalog
from zeroshot.catalog import CatalogError
from zeroshot.runtime import paths

NODES = {node.name: node for node in lineage.nodes()}


def test_every_model_of_the_survey_is_in_the_tree_once():
    assert len(NODES) == len(lineage.nodes())
    assert set(survey.models()) <= set(NODES)
    for name in set(NODES) - set(survey.models()):
        assert NODES[name].descents, f"{name} is neither in the survey nor descends from one that is"
    for model in survey.models().values():
        node, branch = NODES[model.name], model.tokens[0] if model.tokens else lineage.WITHOUT_TOKENS
        assert node.branch == branch and node.year <= model.year and node.base_model == model.base_model


def test_every_stated_descent_of_a_model_is_in_the_tree():
    stated = {
        (paper.name, earlier)
        for paper in reading_list.load().values()
        if paper.kind == "model"
        for earlier in filter(None, (paper.supersedes, *(d.paper for d in paper.builds_on)))
    }
    of = {name: node.paper for name, node in NODES.items()}
    # Models that descend from none of the survey are left out, and so are their descents.
    in_tree = {(paper, earlier) for paper, earlier in stated if {paper, earlier} <= set(of.values())}
    assert in_tree and {(n.paper, of[d.parent]) for n in NODES.values() for d in n.descents} == in_tree
    assert len(in_tree) == len(tables.descents())


def test_models_stand_in_order_and_after_what_they_descend_from():
    order = list(NODES)
    for node in NODES.values():
        for descent in node.descents:
            parent = NODES[descent.parent]
            assert order.index(parent.name) < order.index(node.name) and parent.year <= node.year
            assert (parent.trunk, parent.branch) == (node.trunk, node.branch)
    places = [(node.trunk, node.branch) for node in NODES.values()]
    assert len(set(places)) == sum(a != b for a, b in zip([None, *places], places, strict=False))


def test_marked_are_the_models_whose_papers_the_cards_cite():
    # Models of the survey and what descends from them: others cannot stand in the tree.
    papers = {node.paper for node in NODES.values()}
    released = [card for card in catalog.models().values() if card.kind == "foundation"]
    families = {card.family for card in released if papers & {*card.cited}}
    marked = {node.name for node in NODES.values() if node.here}
    assert families <= marked < set(NODES)
    cited = {key for card in catalog.models().values() if card.weights for key in card.cited}
    assert {NODES[name].paper for name in marked} <= cited


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("    - paper: scgpt\n", "    - paper: scgptt\n", "no paper is called 'scgptt'. Did you mean scgpt"),
        ("      takes: weights\n", "      takes: wheights\n", "builds_on"),
        ("    - paper: scgpt\n", "    - paper: maxtoki\n", "it descends from maxtoki"),
        ("      source: its title, a", "      sauce: its title, a", "sauce"),
    ],
)  # fmt: skip
def test_a_wrong_descent_is_refused(home, before, after, message):
    file = paths.catalog("literature/reading_list")
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, after))
    with pytest.raises(CatalogError, match=re.escape(message)):
        reading_list.load()
