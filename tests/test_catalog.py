"""The registries: what is in them, and what the reader of them refuses."""

import importlib
import os
import re

import pytest
import yaml
from pydantic import ValidationError

from zeroshot import catalog, models
from zeroshot.catalog import CatalogError

FILES_SET = {
    "title": "A",
    "description": "B",
    "organism": "human",
    "tissue": "blood",
    "source": "files",
    "files": [{"name": "a.h5ad", "url": "https://example.org/a.h5ad", "sha256": "0" * 64}],
    "licence": "MIT",
    "label_key": "cell_type",
}
MODEL = {
    "title": "A",
    "kind": "baseline",
    "implementation": "baselines:Pca",
    "description": "B",
    "licence": "MIT",
    "trained_on_target": True,
    "recipe": "standard",
    "recipes": {"standard": {"source": "this test", "parameters": {"n_components": 2}}},
}
STUDY = {
    "title": "A",
    "description": "B",
    "datasets": ["simulated-atlas"],
    "models": ["pca"],
    "chapters": ["01_data"],
}
KINDS = {"datasets": FILES_SET, "models": MODEL, "studies": STUDY}


def without(fields: dict, *names: str) -> dict:
    return {name: value for name, value in fields.items() if name not in names}


@pytest.fixture
def register(home):
    """Replace a registry by one entry (or by text) and read it."""

    def write(registry: str, content: dict | str, name: str = "entry"):
        text = content if isinstance(content, str) else yaml.safe_dump({name: content})
        (home / "data" / f"{registry}.yml").write_text(text)
        return getattr(catalog, registry)()

    return write


# -- the registries of the project -----------------------------------------------------------------


def test_real_registries_hold_what_the_study_needs(home):
    assert {
        "pbmc68k-reduced",
        "simulated-atlas",
        "pancreas",
        "pbmc-12k",
        "pbmc-95k",
        "immune",
        "tabula-sapiens",
    } <= set(catalog.datasets())
    assert {"hvg", "pca", "harmony", "scvi", "random", "depth-only", "shuffled-genes", "label-oracle"} <= set(
        catalog.models()
    )
    assert {"smoke", "default", "real", "paper"} <= set(catalog.studies())
    for registry in KINDS:
        text = (home / "data" / f"{registry}.yml").read_text()
        cards = getattr(catalog, registry)()
        assert list(cards) == re.findall(r"^([a-z0-9-]+):", text, re.MULTILINE), "every entry, in file order"
        assert all(card.name == name for name, card in cards.items())


def test_cited_keys_are_in_the_bibliography(home):
    known = set(
        re.findall(r"^@\w+\{([^,\s]+),", (home / "book" / "references.bib").read_text(), re.MULTILINE)
    )
    cards = [*catalog.datasets().values(), *catalog.models().values()]
    cited = {key.strip() for card in cards if card.citation for key in card.citation.split(",")}
    assert cited and cited <= known, f"missing from references.bib: {sorted(cited - known)}"


def test_every_real_set_cites_its_source():
    assert [c.name for c in catalog.datasets().values() if c.source != "simulate" and not c.citation] == []


def test_chapters_of_every_study_are_notebooks_and_in_the_table_of_contents(home):
    toc = (home / "_toc.yml").read_text()
    listed = set(re.findall(r"file: notebooks/(\S+)", toc))
    for card in catalog.studies().values():
        for chapter in card.chapters:
            assert (home / "notebooks" / f"{chapter}.ipynb").is_file(), f"{card.name}: no notebook {chapter}"
            assert chapter in listed, f"{card.name}: {chapter} is not in _toc.yml"
        # The book refuses to build when a page of its table of contents was not executed.
        assert listed <= set(card.chapters), f"{card.name} leaves out {sorted(listed - set(card.chapters))}"


def test_prepare_steps_and_implementations_exist():
    for card in catalog.datasets().values():
        if card.prepare:
            steps = importlib.import_module(
                "zeroshot.data.simulate" if card.source == "simulate" else "zeroshot.data.prepare"
            )
            assert callable(getattr(steps, card.prepare, None)), f"{card.name}: no function {card.prepare}"
    for card in catalog.models().values():
        for recipe in card.recipes:
            if card.implementation:
                assert hasattr(models.load(card.name, recipe), "embed"), f"{card.name}@{recipe}"
            else:
                with pytest.raises(CatalogError, match="made from labels"):
                    models.load(card.name, recipe)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("find", "wrong", "right"),
    [
        (catalog.dataset, "pbmc68k-reducd", "pbmc68k-reduced"),
        (catalog.model, "harmny", "harmony"),
        (catalog.study, "smokey", "smoke"),
        (catalog.split_reference, "scvi@shrt", "short"),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(home, find, wrong, right):
    with pytest.raises(CatalogError, match=rf"{wrong.partition('@')[2] or wrong}.*Did you mean .*{right}"):
        find(wrong)


def test_name_near_to_nothing_is_answered_with_all(home):
    with pytest.raises(CatalogError, match="Known: smoke, default, real, paper"):
        catalog.study("zzzzzzzz")


def test_reference_names_model_and_recipe(home):
    card, recipe = catalog.split_reference("scvi")
    assert (card.name, recipe) == ("scvi", "paper")
    card, recipe = catalog.split_reference("scvi@short")
    assert (card.name, recipe) == ("scvi", "short")


@pytest.mark.parametrize("registry", KINDS)
@pytest.mark.parametrize(
    "name", ["Upper", "under_score", "two--dashes", "-lead", "sp ace", "../up", "tail\n"]
)
def test_names_are_kebab_case(register, registry, name):
    with pytest.raises(CatalogError, match="name"):
        register(registry, KINDS[registry], name=name)


# -- fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("registry", KINDS)
def test_minimal_entry_is_accepted(register, registry):
    # The ground of every refusal below: without the one wrong thing these entries are fine.
    assert register(registry, KINDS[registry])["entry"].title == "A"


@pytest.mark.parametrize(
    ("registry", "wrong", "right"),
    [
        ("datasets", "label_keys", "label_key"),
        ("models", "recipies", "recipes"),
        ("studies", "chapter", "chapters"),
    ],
)
def test_unknown_field_is_refused_with_a_suggestion(register, registry, wrong, right):
    with pytest.raises(
        CatalogError, match=rf"{registry}\.yml.*'entry'.*unknown field '{wrong}'.*Did you mean .*{right}"
    ):
        register(registry, KINDS[registry] | {wrong: "x"})


def test_unknown_nested_field_is_refused_with_a_field_of_that_record(register):
    wrong = KINDS["datasets"]["files"][0] | {"sha265": "0" * 64}
    with pytest.raises(CatalogError, match=r"unknown field 'files\.0\.sha265'.*Did you mean sha256"):
        register("datasets", FILES_SET | {"files": [wrong]})
    wrong = {"standard": {"source": "x", "parameter": {}}}
    with pytest.raises(
        CatalogError, match=r"unknown field 'recipes\.standard\.parameter'.*Did you mean parameters"
    ):
        register("models", MODEL | {"recipes": wrong})


@pytest.mark.parametrize("registry", KINDS)
def test_name_inside_an_entry_is_refused(register, registry):
    with pytest.raises(CatalogError, match="unknown field 'name'"):
        register(registry, KINDS[registry] | {"name": "other"})


def test_missing_and_mistyped_fields_are_named(register):
    with pytest.raises(CatalogError, match="licence: Field required"):
        register("datasets", without(FILES_SET, "licence"))
    with pytest.raises(CatalogError, match=r"cells: .*integer"):
        register("datasets", FILES_SET | {"cells": "many"})
    with pytest.raises(CatalogError, match=r"kind: .*'baseline', 'control' or 'foundation'"):
        register("models", MODEL | {"kind": "famous"})
    with pytest.raises(CatalogError, match=r"subset: .*greater than 1"):
        register("studies", STUDY | {"subset": 1})


# YAML 1.1 reads `on` as True, and other keys as numbers.
@pytest.mark.parametrize("key", ["on", "1"])
def test_key_that_is_no_word_is_refused_as_a_registry_error(register, key):
    text = yaml.safe_dump({"entry": STUDY}) + f"  {key}: x\n"
    with pytest.raises(CatalogError, match="entry 'entry'"):
        register("studies", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entry: {title: A}\nentry: {title: B}\n", r"\['entry'\] appear twice"),
        ("entry:\n  title: A\n  title: B\n", r"\['title'\] appear twice in the mapping at line 2"),
        ("entry: [unclosed\n", "not valid YAML"),
        ("- a list\n", "must map names to entries, not hold a list"),
        ("", "must map names to entries"),
        ("entry: text\n", "'entry' must be a mapping of fields"),
        ("entry: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_broken_file_is_refused(register, text, message):
    with pytest.raises(CatalogError, match=message):
        register("studies", text)


# -- immutability ----------------------------------------------------------------------------------


def test_cards_cannot_be_changed(home):
    card = catalog.model("scvi")
    with pytest.raises(ValidationError, match="frozen"):
        card.title = "mine"
    with pytest.raises(ValidationError, match="frozen"):
        card.recipes["short"].source = "mine"
    with pytest.raises(TypeError, match="does not support item assignment"):
        card.recipes["short"].parameters["epochs"] = 1
    with pytest.raises(TypeError, match="does not support item assignment"):
        card.recipes["mine"] = card.recipes["short"]
    with pytest.raises(TypeError, match="does not support item assignment"):
        catalog.dataset("simulated-atlas").parameters["seed"] = 1


def test_changing_a_returned_registry_changes_no_later_one(home):
    catalog.datasets().clear()
    assert "pbmc68k-reduced" in catalog.datasets()


def test_cards_dump_to_plain_json(home):
    dumped = catalog.model("scvi").model_dump(mode="json")
    assert dumped["recipes"]["short"]["parameters"]["epochs"] == 60
    assert type(dumped["recipes"]) is dict and type(dumped["recipes"]["short"]["parameters"]) is dict


def test_edited_registry_is_read_again(register, home):
    assert register("studies", STUDY)["entry"].seed == 0
    file = home / "data" / "studies.yml"
    later = file.stat().st_mtime_ns + 1
    file.write_text(yaml.safe_dump({"entry": STUDY | {"seed": 5}}))
    os.utime(file, ns=(later, later))
    assert catalog.study("entry").seed == 5


# -- rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets": ["simulated-atlsa"]}, "no data set is called 'simulated-atlsa'.*simulated-atlas"),
        ({"models": ["pcaa"]}, "no model is called 'pcaa'.*pca"),
        ({"models": ["scvi@shrt"]}, "no recipe of scvi is called 'shrt'.*short"),
        ({"models": ["pca", "pca"]}, "models: .*listed twice: pca"),
        ({"datasets": ["simulated-atlas"] * 2}, "datasets: .*listed twice: simulated-atlas"),
        ({"chapters": ["01_data"] * 2}, "chapters: .*listed twice: 01_data"),
    ],
)
def test_study_of_things_that_do_not_exist_is_refused(register, change, message):
    with pytest.raises(CatalogError, match=message):
        register("studies", STUDY | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": []}, "`files` go with `source: files`"),
        ({"source": "builtin", "prepare": "pbmc68k_reduced"}, "`files` go with `source: files`"),
        ({"source": "builtin", "files": []}, "`source: builtin` needs a `prepare` step"),
        ({"source": "simulate", "files": []}, "`source: simulate` needs a `prepare` step"),
        ({"source": "web"}, "source: .*'builtin', 'simulate' or 'files'"),
        ({"files": [{"name": "a", "url": "u"}]}, "a verified data set needs sha256 or md5"),
        ({"files": [{"name": "a", "url": "u", "sha256": "ABC"}]}, r"files\.0\.sha256: .*pattern"),
        ({"files": [{"name": "a", "url": "u", "md5": "0" * 31}]}, r"files\.0\.md5: .*pattern"),
    ],
)
def test_source_and_files_must_agree(register, change, message):
    with pytest.raises(CatalogError, match=message):
        register("datasets", FILES_SET | change)


def test_files_without_checksum_are_allowed_where_nobody_has_checked(register):
    card = register("datasets", FILES_SET | {"files": [{"name": "a", "url": "u"}], "verified": False})[
        "entry"
    ]
    assert not card.verified and card.files[0].sha256 is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uses": ["label"], "implementation": None}, "only a control may see labels"),
        ({"kind": "foundation", "uses": ["label"], "implementation": None}, "only a control may see labels"),
        ({"kind": "control", "uses": ["label"]}, "every model has an `implementation`, except"),
        ({"implementation": None}, "every model has an `implementation`, except"),
        ({"recipe": "best"}, r"default recipe 'best' is not among recipes \['standard'\]"),
        ({"implementation": "os.system"}, "implementation: .*pattern"),
        ({"uses": ["labels"]}, r"uses\.0: .*'batch' or 'label'"),
        ({"min_batches": 0}, "min_batches: .*greater than or equal to 1"),
    ],
)
def test_model_card_rules(register, change, message):
    with pytest.raises(CatalogError, match=message):
        register("models", MODEL | change)


def test_control_made_from_labels_is_accepted(register):
    card = register("models", without(MODEL, "implementation") | {"kind": "control", "uses": ["label"]})[
        "entry"
    ]
    assert card.uses == ("label",)


def test_only_controls_see_labels_in_the_real_registry():
    assert [card.name for card in catalog.models().values() if "label" in card.uses] == ["label-oracle"]
