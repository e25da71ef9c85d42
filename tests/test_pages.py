"""Generated pages of the book: whatever cards say, pages show it and execute nothing of it."""

import json
import re
from types import SimpleNamespace

import jinja2
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from test_escaping import parse

import reading_list
from reading_list import pages as reading_list_pages
from zeroshot import catalog, site, store, study
from zeroshot.notebooks import stamp
from zeroshot.runtime import paths
from zeroshot.site import pages, run_grid, sphinx_extension

HOSTILE = (
    "<script>alert(1)</script> {download}`x </etc/passwd>` [x](javascript:alert(1)) ![y](/etc/passwd) $z$ | "
    "**b** {{ s }} <b onclick=alert(1)> &lt; :::{include} #"
)
DATASET, MODEL = "pbmc68k-reduced", "pca"


@pytest.fixture
def hostile_cards(home):
    """The registries with hostile texts in every field that holds text of a person."""
    models = yaml.safe_load((home / "data/models.yml").read_text())
    kept = {MODEL, "scgpt-human", "random"}
    models = {name: card for name, card in models.items() if name in kept}
    for card in models.values():
        for field in ("title", "description", "licence", "weights_licence", "verified"):
            if field in card:
                card[field] = HOSTILE
        for recipe in card["recipes"].values():
            recipe["source"] = HOSTILE
        if "pretrained_on" in card:
            card["pretrained_on"] |= {"source": HOSTILE, "corpora": [HOSTILE]}
    others = yaml.safe_load((home / "data/other_models.yml").read_text())
    others["cellfm"] |= dict.fromkeys(("title", "description", "not_possible", "weights_licence"), HOSTILE)
    datasets = yaml.safe_load((home / "data/datasets.yml").read_text())
    datasets[DATASET] |= {"title": HOSTILE, "description": HOSTILE, "licence": HOSTILE, "notes": [HOSTILE]}
    sections = yaml.safe_load((home / "data/literature/sections.yml").read_text())
    for section in sections.values():
        section["title"] = HOSTILE
        section["subsections"] = dict.fromkeys(section.get("subsections", {}), HOSTILE)
    studies = {"toy": {"title": HOSTILE, "description": HOSTILE, "datasets": [DATASET],
                       "models": [MODEL, "scgpt-human"], "chapters": []}}  # fmt: skip
    for name, content in (
        ("models", models), ("other_models", others), ("datasets", datasets),
        ("literature/sections", sections), ("studies", studies),
    ):  # fmt: skip
        (home / "data" / f"{name}.yml").write_text(yaml.safe_dump(content, sort_keys=False, width=10**6))
    return catalog.study("toy")


def run_page():
    recipe = catalog.model(MODEL).recipe
    parameters = {"dataset": DATASET, "model": MODEL, "recipe": recipe}
    return study.Page(f"runs/{DATASET}/{MODEL}", parameters, {}, "run", study.Declaration())


def score(note):
    row = {"dataset": DATASET, "model": MODEL, "recipe": catalog.model(MODEL).recipe, "metric": "avg_bio"}
    return pd.DataFrame([row | {"value": float("nan"), "note": note, "seen_in_pretraining": "unseen"}])


def assert_shown(page: str, least: int = 1) -> None:
    """Hostile text is on the page, whole, and nothing of it was read as a mark, in Markdown or in HTML."""
    tree = parse(page)
    texts = []
    for raw in list(tree.findall(nodes.raw)):
        soup = BeautifulSoup(raw.astext(), "html.parser")
        for script in soup.find_all("script"):
            assert script.get("type") == "application/json" or script["src"].startswith("../_static/")
            script.extract()
        for tag in soup.find_all(True):
            assert tag.name not in ("b", "img") and not any(name.startswith("on") for name in tag.attrs)
            assert re.match(r"https?://|#|\.\./|[a-z_]+\.html", tag.get("href", "#")), tag
        texts += [string for string in soup.strings if "alert" in string]
        texts += [value for tag in soup.find_all(True) for value in tag.attrs.values() if "alert" in value]
        raw.parent.remove(raw)
    for kind in (nodes.image, nodes.math, nodes.strong, nodes.substitution_reference, nodes.pending):
        assert not [node for node in tree.findall(kind) if "toy" not in node.astext()], kind
    for reference in tree.findall(nodes.reference):
        address = reference.get("refuri") or reference.get("refname") or "#"
        assert re.match(r"https?://|#|\.\./|[a-z_]+\.md", address), address
    texts += [str(text) for text in tree.findall(nodes.Text) if "alert" in text]
    texts = [text for text in texts if "Unknown interpreted text role" not in text]
    assert len(texts) >= least
    for text in texts:
        assert text.count("alert(1)") == 3 * text.count(HOSTILE), text


def test_pages_of_models_runs_and_sections(hostile_cards):
    built = [run_page()]
    assert_shown(pages.models_page(built), least=10)
    assert_shown(run_grid.page(hostile_cards, built, score(HOSTILE)), least=4)
    for name, page in reading_list_pages.pages().items():
        if "editions" not in name and "survey_sections" not in name:
            assert_shown(page)


def test_page_of_corpora(hostile_cards):
    home = paths.home()
    entry = {
        "title": HOSTILE,
        "description": HOSTILE,
        "sources": [DATASET],
        "apart_from": ["other"],
        "cells": 9,
    }
    (home / "data/corpora.yml").write_text(yaml.safe_dump({"toy": entry}))
    studies = yaml.safe_load((home / "data/studies.yml").read_text())
    studies["other"] = studies["toy"] | {"datasets": ["pbmc-sorted"]}
    (home / "data/studies.yml").write_text(yaml.safe_dump(studies))
    assert_shown(site.corpora.page(), least=4)


def test_status_page(hostile_cards):
    page = run_page()
    record = {
        "device": HOSTILE,
        "commit": HOSTILE,
        "finished": "2026-01-01T00:00:00",
        "data": "ab cd",
        "seconds": 1.0,
    }
    output = {"output_type": "display_data", "data": {stamp.MIME: record | {"artifacts": []}}}
    cell = {"cell_type": "code", "outputs": [output]}
    store.write_text(pages.executed("toy", page), json.dumps({"cells": [cell]}))
    text = pages.status_page(hostile_cards, "computed", [page])
    assert_shown(text, least=3)


def test_titles_of_runs_in_notebooks_and_in_the_search(hostile_cards, tmp_path):
    notebook = tmp_path / "run.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# One run\n\nText."}]}))
    site.set_title(notebook, pages.run_title(run_page()))
    source = json.loads(notebook.read_text())["cells"][0]["source"]
    assert_shown(source)
    assert parse(source).findall(nodes.title).__next__().astext() == f"{HOSTILE} on {HOSTILE}"
    context = {"pagetitle": f"{HOSTILE} on {HOSTILE}"}
    sphinx_extension.escape_titles_of_theme(None, "run", "page.html", context, None)
    title = BeautifulSoup(f"<h1>{context['pagetitle']}</h1>", "html.parser")
    assert title.h1.string == f"{HOSTILE} on {HOSTILE}", "nothing but text"
    index = {"alltitles": {HOSTILE: [[0, None]], 'it\'s "A" & B': [[1, None]]}, "titles": []}
    (tmp_path / "searchindex.js").write_text(f"Search.setIndex({json.dumps(index)})")
    sphinx_extension.escape_titles_of_search(SimpleNamespace(outdir=tmp_path), None)
    text = (tmp_path / "searchindex.js").read_text()
    escaped = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))["alltitles"]
    assert "<" not in "".join(escaped) and 'it\'s "A" &amp; B' in escaped


def test_addresses_of_papers_are_of_the_web(home):
    name = next(iter(reading_list.load()))
    file = paths.catalog("literature/reading_list")
    papers = yaml.safe_load(file.read_text())
    for address in (
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "https://x.org/}, note={x",
    ):
        file.write_text(yaml.safe_dump({name: papers[name] | {"other_urls": [address]}}))
        with pytest.raises(catalog.CatalogError, match=re.escape(name)):
            reading_list.load()


def test_the_sidebar_is_drawn_from_titles_and_once():
    """One drawing a folder; a page of the book, which is marked in the tree, has its own."""
    headings = nodes.bullet_list()
    headings += nodes.list_item("", nodes.paragraph(text="a title"), nodes.paragraph(text="a heading"))
    environment = SimpleNamespace(
        all_docs={"book/intro", "runs/toy/hvg", "runs/toy/pca"}, tocs={"book/intro": headings}
    )
    app = SimpleNamespace(env=environment, builder=SimpleNamespace())
    sphinx_extension.keep_titles(app, environment)
    theme = {"components/sbt-sidebar-nav.html": "<summary>{{ toctree() }} on {{ pagename }}"}
    own = jinja2.FileSystemLoader(paths.home() / "book" / "_templates")
    templates = jinja2.Environment(loader=jinja2.ChoiceLoader([jinja2.DictLoader(theme), own]))

    drawings = []

    def sidebar(page):
        def draw():
            drawings.append(page)
            return environment.tocs["book/intro"].astext()

        context = {"pagename": page, "toctree": draw}
        sphinx_extension.share_sidebar(app, page, "page.html", context, None)
        first, second = (templates.get_template("sbt-sidebar-nav.html").render(context) for _ in range(2))
        assert first == second and 'aria-label="Show' in first
        assert environment.tocs["book/intro"] is headings
        title, _, where = first.partition(">")[2].partition(" on ")
        assert title == "a title"
        return where

    assert sidebar("_modules/zeroshot/store") == "_modules/zeroshot/store"
    assert sidebar("_modules/zeroshot/paths") == "_modules/zeroshot/store"
    assert sidebar("genindex") == "genindex"
    assert sidebar("runs/toy/hvg") == sidebar("runs/toy/pca") == "runs/toy/hvg"
    for _ in range(2):
        assert sidebar("book/intro") == "book/intro"
    assert drawings.count("_modules/zeroshot/store") == 1 and drawings.count("book/intro") == 2
