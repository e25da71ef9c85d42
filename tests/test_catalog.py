"""The registries: what is in them, and what the reader of them refuses."""

import datetime
import importlib
import json
import math
import os
import re
import time
from itertools import product

import pytest
import yaml
from pydantic import ValidationError

from zeroshot import catalog, models
from zeroshot.catalog import CatalogError
from zeroshot.models import weights
from zeroshot.models.weights import ROLES, Checkpoint
from zeroshot.runtime import paths

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
WEIGHTS = {
    "hub": "authors/model",
    "revision": "0" * 40,
    "files": {"config": {"path": "config.json"}, "weights": {"path": "model.safetensors"}},
}
PRETRAINED = MODEL | {
    "kind": "foundation",
    "family": "A",
    "weights": WEIGHTS,
    "weights_licence": "MIT",
    "organism": "human",
    "gene_ids": "symbol",
    "max_tokens": 8,
    "layers": 1,
    "dim": 4,
    "pretrained_on": {"corpora": ["cells"], "source": "this test"},
    "verified": "here",
    "trained_on_target": False,
}
TWIN = MODEL | {"kind": "control", "architecture": {"layers": 1}, "twin_of": "entry"}
STUDY = {
    "title": "A",
    "description": "B",
    "datasets": ["simulated-atlas"],
    "models": ["pca"],
    "chapters": ["01_data"],
}
# Studies first: their entry names a data set and a model of the project, which the others replace.
KINDS = {"studies": STUDY, "models": MODEL, "datasets": FILES_SET}


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


def test_prepare_steps_and_implementations_exist(monkeypatch):
    # Names are what is looked at here: weights need not be at hand.
    monkeypatch.setattr(weights, "find", lambda *_: Checkpoint({}, {}, "this test"))
    for card in catalog.datasets().values():
        if card.prepare:
            steps = importlib.import_module(
                "zeroshot.data.simulate" if card.source == "simulate" else "zeroshot.data.prepare"
            )
            assert callable(getattr(steps, card.prepare, None)), f"{card.name}: no function {card.prepare}"
    for card in catalog.models().values():
        for recipe in card.recipes:
            if card.implementation:
                loaded = models.load(card.name, recipe)
                assert hasattr(loaded, "embed") or isinstance(loaded, models.TokenEmbedder), card.name
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


def test_names_are_short_kebab_case(register):
    wrong = ("Upper", "under_score", "two--dashes", "-lead", "sp ace", "../up", "tail\n", "", "a" * 101)
    for registry, fields in KINDS.items():
        for name in wrong:
            with pytest.raises(CatalogError, match=rf"{registry}\.yml: entry .*name: "):
                register(registry, fields, name=name)


# -- fields ----------------------------------------------------------------------------------------


def test_minimal_entries_are_accepted(register):
    # The ground of every refusal below: without the one wrong thing these entries are fine.
    for registry, fields in KINDS.items():
        assert register(registry, fields)["entry"].title == "A"


def test_unknown_field_is_refused_with_a_suggestion(register):
    for registry, wrong, right in (
        ("datasets", "label_keys", "label_key"),
        ("models", "recipies", "recipes"),
        ("studies", "chapter", "chapters"),
    ):
        message = rf"{registry}\.yml.*'entry'.*unknown field '{wrong}'.*Did you mean .*{right}"
        with pytest.raises(CatalogError, match=message):
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


def test_name_inside_an_entry_is_refused(register):
    for registry, fields in KINDS.items():
        with pytest.raises(CatalogError, match="unknown field 'name'"):
            register(registry, fields | {"name": "other"})


def test_parameters_of_another_type_than_the_code_declares_are_refused(register):
    for wrong in ({"n_components": None}, {"stop_early": "no"}):
        (name,) = wrong
        recipes = {"standard": {"source": "this test", "parameters": wrong}}
        register("models", MODEL | {"implementation": "harmony:Harmony", "recipes": recipes})
        message = rf"entry 'entry': recipes\.standard\.parameters: {name} should be a valid \w+, and is"
        with pytest.raises(CatalogError, match=message):
            models.load("entry")
    simulated = catalog.dataset("simulated-atlas").model_copy(update={"parameters": {"n_cells": "many"}})
    load = importlib.import_module("zeroshot.data.load")
    with pytest.raises(CatalogError, match=r"'simulated-atlas': .*n_cells should be a valid integer"):
        load._preparation(load.simulate, simulated)


def test_parameters_out_of_range_are_refused_where_the_registry_is_read(register):
    ladder = next(iter(yaml.safe_load(paths.catalog("ladders").read_text()).values()))
    network = next(iter(ladder["networks"]))

    def in_recipe(parameters: dict) -> dict:
        return MODEL | {"recipes": {"standard": {"source": "x", "parameters": parameters}}}

    def in_network(field: str):
        return lambda values: ladder | {
            "networks": {network: ladder["networks"][network] | {field: values}}, "baselines": ["pca"],
        }  # fmt: skip

    # The ladder first: what the others replace, it names.
    places = (
        *((f"networks.{network}.{field}", "ladders", in_network(field))
          for field in ("architecture", "training", "reading")),
        ("recipes.standard.parameters", "models", in_recipe),
        ("architecture", "models", lambda values: TWIN | {"architecture": values}),
        ("parameters", "datasets", lambda values: FILES_SET | {"parameters": values}),
    )  # fmt: skip
    wrong = (
        ("n_genes", -3), ("n_genes", 0), ("n_genes", 10**12), ("n_genes", True), ("n_genes", 2.5),
        ("n_genes", "many"), ("n_genes", [5]), ("n_genes", {"a": 5}), ("min_cells", -1), ("dropout", 1.5),
        ("dropout", False), ("layer", 10**6), ("learning_rate", 0), ("seed", -1), ("nlayers", 0),
        ("another", -1), ("another", -0.5),
    )  # fmt: skip
    for field, registry, entry in places:
        place = rf"{registry}\.yml: entry 'entry': {re.escape(field)}"
        for name, value in wrong:
            with pytest.raises(CatalogError, match=rf"{place}: {name}: must be a (whole )?number from "):
                register(registry, entry({name: value}))
        with pytest.raises(CatalogError, match=rf"{place}: inner: depth: must be a whole number"):
            register(registry, entry({"inner": {"depth": 0}}))
        with pytest.raises(CatalogError, match=rf"{place}: day: must be a text in quotes.*, not 2024-01-31"):
            register(registry, entry({"day": datetime.date(2024, 1, 31)}))
    right = {"n_genes": None, "min_cells": 0, "dropout": 0, "layer": -1, "cls_value": -2, "another": False,
             "objects": [""]}  # fmt: skip
    register("datasets", FILES_SET)
    assert register("models", in_recipe(right))["entry"].recipes["standard"].parameters == right


def test_texts_without_a_word_and_truth_values_inside_are_refused(register, home):
    # The first entry of each file, with one field emptied.
    registries = ("other_models", "corpus_sources", "corpora", "ladders")
    for registry, field in product(registries, ("title", "description")):
        entry = yaml.safe_load((home / "data" / f"{registry}.yml").read_text())
        first = next(iter(entry))
        text = yaml.safe_dump(entry | {first: entry[first] | {field: ""}}, sort_keys=False)
        before = (home / "data" / f"{registry}.yml").read_text()
        with pytest.raises(CatalogError, match=rf"{registry}\.yml: entry '{first}': {field}: must be a text"):
            register(registry, text)
        (home / "data" / f"{registry}.yml").write_text(before)
    for change, message in (
        ({"seeds_of": {"pca": True}}, "seeds_of: pca: must be a number, not true"),
        ({"seeds_of": {"": 1}}, "a key is empty"),
        ({"seeds": 10**9}, "seeds: .*less than or equal to 1000"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"chapters": ["../notebooks/01_data"]}, "no chapter"),
    ):
        with pytest.raises(CatalogError, match=message):
            register("studies", STUDY | change)
    for registry, fields in KINDS.items():
        for change in ({"title": ""}, {"description": " "}, {"title": "\n"}):
            with pytest.raises(
                CatalogError, match=rf"{registry}\.yml.*: {next(iter(change))}: must be a text"
            ):
                register(registry, fields | change)
    for change, message in (
        ({"notes": ["a", ""]}, "notes: 1: must be a text"),
        ({"files": [FILES_SET["files"][0] | {"size": True}]}, r"files\.0\.size: must be a number, not true"),
    ):
        with pytest.raises(CatalogError, match=message):
            register("datasets", FILES_SET | change)


def test_missing_and_mistyped_fields_are_named(register):
    with pytest.raises(CatalogError, match="licence: Field required"):
        register("datasets", without(FILES_SET, "licence"))
    with pytest.raises(CatalogError, match=r"cells: .*integer"):
        register("datasets", FILES_SET | {"cells": "many"})
    with pytest.raises(CatalogError, match=r"kind: .*'baseline', 'control' or 'foundation'"):
        register("models", MODEL | {"kind": "famous"})
    with pytest.raises(CatalogError, match=r"subset: .*greater than 1"):
        register("studies", STUDY | {"subset": 1})


def test_key_that_is_no_word_is_refused_as_a_registry_error(register):
    for key in ("on", "1"):  # YAML 1.1 reads `on` as True, and other keys as numbers
        with pytest.raises(CatalogError, match="entry 'entry'"):
            register("studies", yaml.safe_dump({"entry": STUDY}) + f"  {key}: x\n")


def test_broken_file_is_refused(register):
    for text, message in (
        ("entry: {title: A}\nentry: {title: B}\n", r"\['entry'\] appear twice"),
        ("entry:\n  title: A\n  title: B\n", r"\['title'\] appear twice in the mapping at line 2"),
        ("entry: [unclosed\n", "not valid YAML"),
        ("- a list\n", "must map names to entries, not hold a list"),
        ("", "must map names to entries"),
        ("entry: text\n", "'entry' must be a mapping of fields"),
        ("entry: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ):
        with pytest.raises(CatalogError, match=message):
            register("studies", text)


def nested(levels: int, repeats: int, merged: bool) -> str:
    """A few lines that stand for repeats ** levels values."""
    lines = ["entry: {title: A}", "a0: &a0 {x0: 1}"]
    for level in range(1, levels):
        below = ", ".join([f"*a{level - 1}"] * repeats)
        held = f"{{<<: [{below}], x{level}: 1}}" if merged else f"[{below}]"
        lines.append(f"a{level}: &a{level} {held}")
    return "\n".join(lines)


def test_hostile_files_are_refused_at_once(register, home):
    """Not YAML, not text, or far more than it looks: the file, where in it, and what is wrong."""
    path = re.escape(str(home / "data" / "studies.yml"))
    began = time.process_time()  # not that of the wall: other tests run beside
    for text, message in (
        (nested(12, 10, merged=False), "more than 50,000 values"),
        (nested(12, 10, merged=True), "more than 50,000 values"),
        ("entry: &a [*a]\n", r"line 1, column 12: \*a stands inside what it repeats"),
        ("entry: &a {title: *a}\n", "stands inside"),
        ("entry: " + "[" * 5000 + "]" * 5000, "more than 20 mappings and lists"),
        ("- " * 3000 + "a", "more than 20 mappings and lists"),
        ("entry: " + "x" * 2**20, "more than 1,048,576 bytes"),
        ("entry:\n\ttitle: A\n", "line 2, column 1"),
        ("entry: {title: !!binary QQ==}\n", "the tag .*binary is not allowed"),
        ("!!python/name:os.system\n", "the tag .*name:os.system is not allowed"),
        ("? [a, b]\n: c\n", "a key must be a word"),
        ("entry: {title: 2020-99-99}\n", "not valid YAML"),
        ("entry: {seed: 017}\n", "line 1, column 15: 017 would be read as a number"),  # 15
        ("entry: {seed: 1:30}\n", "1:30 would be read as a number"),  # 90
        ("entry: {seed: 0x1F}\n", "0x1F would be read as a number"),
        ("entry: {seed: 1_0}\n", "1_0 would be read as a number"),
        ("entry: {on: 1:30.5}\n", "1:30.5 would be read as a number"),
        ("entry: {seed: " + "9" * 5000 + "}\n", "not valid YAML"),
        ("entry: {}\n---\nother: {}\n", "single document"),
        ("", "must map names to entries, not hold nothing"),
    ):
        with pytest.raises(CatalogError, match=rf"{path}.*{message}"):
            register("studies", text)
    (home / "data" / "studies.yml").write_bytes(b"entry:\n  title: \xff\n")
    with pytest.raises(CatalogError, match=rf"{path} is not text in UTF-8 \(line 2\)"):
        catalog.studies()
    (home / "data" / "studies.yml").unlink()
    with pytest.raises(CatalogError, match=rf"{path} cannot be read: No such file"):
        catalog.studies()
    assert time.process_time() - began < 2


def test_aliases_repeat_a_block(register):
    text = yaml.safe_dump({"entry": STUDY}) + "other:\n  <<: &b {title: B}\n" + "\n".join(
        f"  {key}: {json.dumps(value)}" for key, value in STUDY.items() if key != "title"
    )  # fmt: skip
    assert register("studies", text)["other"].title == "B"


def test_values_that_no_card_may_hold(register):
    wrong = (
        ("a\x1b[31mb", "does not print"),
        ("a\u202eb", "does not print"),
        ("a\u061cb", "does not print"),
        ("a\u200bb", "does not print"),
        ("a\U000e0041b", "does not print"),
        ("\ud800", "."),
        ("x" * 5000, "too long"),
        ({"on": {True: 1}}, "the key True is not text"),
        (2**70, "too large"),
        ({"a": [float("nan")]}, "nan is not a finite number"),
        (float("inf"), "inf is not a finite number"),
    )
    for registry, fields in KINDS.items():
        for value, message in wrong:
            field = {"notes": [value]} if registry == "datasets" else {"description": value}
            with pytest.raises(CatalogError, match=rf"{registry}\.yml.*{message}"):
                register(registry, fields | field)
    for registry in ("datasets", "models"):
        for title in ("two\nlines", "a\ttab"):
            with pytest.raises(CatalogError, match=r"entry 'entry': title: it must be one line"):
                register(registry, KINDS[registry] | {"title": title})


def test_truth_values_and_negative_numbers_are_no_counts(register):
    for change in ({"cells": True}, {"cells": 0}, {"genes": -5}, {"labels": 1.5}):
        with pytest.raises(CatalogError, match=rf"entry 'entry': {next(iter(change))}: "):
            register("datasets", FILES_SET | change)
    for change in ({"min_batches": True}, {"version": False}):
        with pytest.raises(CatalogError, match=rf"{next(iter(change))}: must be a number, not (true|false)"):
            register("models", MODEL | change)
    with pytest.raises(CatalogError, match="seed: must be a number, not true"):
        register("studies", STUDY | {"seed": True})


NO_ADDRESSES = (
    "http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "javascript:alert(1)", "a", "",
    "https://user:word@example.org/a", "https://example.org/a\nb", "https://example.org/a b", "https://",
    "https://ex\u00e4mple.org/a", "https://[::1", "https://example.org:99999999/a", "http://127.0.0.1@b.org/",
)  # fmt: skip
NO_FILE_NAMES = (
    "/etc/passwd", "../a", "a/../../b", "..", ".", "", "a/b", "a\\b", "C:\\a", "C:a", "~/a", "~a", ".hidden",
    "*", "a?", "[a]", "a\0", "a\nb", "-rf", "a ", "a.", "x" * 201, "a.part", "a.sha256", "a.h5ad.lock",
)  # fmt: skip


def test_addresses_and_file_names_of_data_sets(register):
    file = FILES_SET["files"][0]
    for url in NO_ADDRESSES:
        with pytest.raises(CatalogError, match=r"entry 'entry': files\.0\.url: "):
            register("datasets", FILES_SET | {"files": [file | {"url": url}]})
    for name in NO_FILE_NAMES:
        with pytest.raises(CatalogError, match=r"entry 'entry': (files\.0\.name|entry): "):
            register("datasets", FILES_SET | {"files": [file | {"name": name}]})
    for size in (0, -1, True, 10**30):
        with pytest.raises(CatalogError, match=r"entry 'entry': "):
            register("datasets", FILES_SET | {"files": [file | {"size": size}]})
    with pytest.raises(CatalogError, match=r"`files` lists twice: a\.h5ad"):
        register("datasets", FILES_SET | {"files": [file, file | {"name": "A.h5ad"}]})
    with pytest.raises(CatalogError, match=r"prepare: .*pattern"):
        register("datasets", FILES_SET | {"prepare": "__import__"})


def test_addresses_and_paths_of_weights(register):
    for path in ("/etc/passwd", "../a", "a/../b", "a//b", "a/", "", "~/a", "a\\b", "a/.git", "C:/a"):
        files = WEIGHTS["files"] | {"config": {"path": path}}
        with pytest.raises(CatalogError, match=r"entry 'entry': weights\.files\.config\.path: "):
            register("models", PRETRAINED | {"weights": WEIGHTS | {"files": files}})
    for change in (
        {"hub": "../x"}, {"hub": "a/.."}, {"hub": "a--b/c"}, {"hub": "a/b/c"}, {"hub": "a"},
        {"drive": "../x"}, {"drive": "\u0661"}, {"revision": "G" * 40}, {"package": "../x"},
        {"package": "a;b"},
    ):  # fmt: skip
        with pytest.raises(CatalogError, match=rf"entry 'entry': weights\.{next(iter(change))}: "):
            register("models", PRETRAINED | {"weights": WEIGHTS | change})
    files = {role: {"path": f"{role}/a.bin"} for role in ("config", "weights")}
    assert register("models", PRETRAINED | {"weights": WEIGHTS | {"files": files}})
    with pytest.raises(CatalogError, match=r"two files are both called a\.bin"):
        register("models", PRETRAINED | {"weights": {"drive": "1abc", "files": files}})


def test_unknown_citation_is_refused_where_the_registry_is_read(register):
    with pytest.raises(
        CatalogError, match=r"datasets\.yml: entry 'entry': no cited work is called 'zheng2071'.*zheng2017"
    ):
        register("datasets", FILES_SET | {"citation": "satija2015,zheng2071"})
    register("datasets", FILES_SET | {"citation": "satija2015,zheng2017"})
    with pytest.raises(CatalogError, match=r"models\.yml: entry 'entry': no cited work is called 'nobody-1'"):
        register("models", MODEL | {"citation": "nobody-1"})
    for known in ("geneformer", "satija2015, geneformer", "zero-shot-limitations-preprint"):
        assert register("models", MODEL | {"citation": known})["entry"].cited[0] == known.split(",")[0]


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


def test_study_of_things_that_do_not_exist_is_refused(register):
    for change, message in (
        ({"datasets": ["simulated-atlsa"]}, "no data set is called 'simulated-atlsa'.*simulated-atlas"),
        ({"models": ["pcaa"]}, "no model is called 'pcaa'.*pca"),
        ({"models": ["scvi@shrt"]}, "no recipe of scvi is called 'shrt'.*short"),
        ({"models": ["pca", "pca"]}, "models: .*listed twice: pca"),
        ({"datasets": ["simulated-atlas"] * 2}, "datasets: .*listed twice: simulated-atlas"),
        ({"chapters": ["01_data"] * 2}, "chapters: .*listed twice: 01_data"),
        ({"models": ["pca", "pca@standard"]}, "pca and pca@standard are the same recipe"),
        ({"models": []}, "models: .*the list is empty"),
        ({"datasets": []}, "datasets: .*the list is empty"),
        ({"ablation_datasets": ["pancreas"]}, "ablation_datasets names pancreas, which the study does not"),
        ({"ablation_models": ["harmony"]}, "ablation_models names harmony, which the study does not"),
        ({"seeds_of": {"harmony": 1}}, "seeds_of names harmony, which the study does not"),
        (
            {"chapters": ["01_dat"]},
            r"studies\.yml: entry 'entry': no chapter .* '01_dat'\. Did you mean 01_data",
        ),
        ({"chapters": ["run"]}, "no chapter .* is called 'run'"),
    ):
        with pytest.raises(CatalogError, match=message):
            register("studies", STUDY | change)


def test_source_and_files_must_agree(register):
    for change, message in (
        ({"files": []}, "`files` go with `source: files`"),
        ({"source": "builtin", "prepare": "pbmc68k_reduced"}, "`files` go with `source: files`"),
        ({"source": "builtin", "files": []}, "`source: builtin` needs a `prepare` step"),
        ({"source": "simulate", "files": []}, "`source: simulate` needs a `prepare` step"),
        ({"source": "web"}, "source: .*'builtin', 'simulate' or 'files'"),
        ({"files": [{"name": "a", "url": "https://b"}]}, "a verified data set needs sha256 or md5"),
        ({"files": [{"name": "a", "url": "https://b", "sha256": "ABC"}]}, r"files\.0\.sha256: .*pattern"),
        ({"files": [{"name": "a", "url": "https://b", "md5": "0" * 31}]}, r"files\.0\.md5: .*pattern"),
    ):
        with pytest.raises(CatalogError, match=message):
            register("datasets", FILES_SET | change)


def test_files_without_checksum_are_allowed_where_nobody_has_checked(register):
    card = register(
        "datasets", FILES_SET | {"files": [{"name": "a", "url": "https://b"}], "verified": False}
    )["entry"]
    assert not card.verified and card.files[0].sha256 is None


def test_model_card_rules(register):
    for change, message in (
        ({"uses": ["label"], "implementation": None}, "only a control may see labels"),
        ({"kind": "foundation", "uses": ["label"], "implementation": None}, "only a control may see labels"),
        ({"kind": "control", "uses": ["label"]}, "every model has an `implementation`, except"),
        ({"implementation": None}, "every model has an `implementation`, except"),
        ({"recipe": "best"}, r"default recipe 'best' is not among recipes \['standard'\]"),
        ({"implementation": "os.system"}, "implementation: .*pattern"),
        ({"uses": ["labels"]}, r"uses\.0: .*'batch' or 'label'"),
        ({"min_batches": 0}, "min_batches: .*greater than or equal to 1"),
    ):
        with pytest.raises(CatalogError, match=message):
            register("models", MODEL | change)


def test_rules_of_pretrained_models(register):
    assert register("models", PRETRAINED)["entry"].weights.revision == "0" * 40
    for change, message in (
        ({"weights": None, "verified": None}, "a foundation model's card must say weights, verified"),
        ({"gene_ids": "Entrez"}, "gene_ids: .*'symbol' or 'Ensembl'"),
        ({"weights": WEIGHTS | {"hub": None}}, "not from both|`hub` goes with a pinned `revision`"),
        ({"weights": WEIGHTS | {"revision": None}}, "`hub` goes with a pinned `revision`"),
        ({"weights": WEIGHTS | {"revision": "main"}}, r"weights\.revision: .*pattern"),
        ({"weights": without(WEIGHTS, "hub", "revision")}, "files come from `hub` or `drive`, or each"),
        ({"weights": WEIGHTS | {"files": {"config": {"path": "a"}}}}, "at least `weights`"),
        ({"weights": WEIGHTS | {"page": "https://example.org"}}, "files of a `page` are taken by hand"),
        ({"weights": WEIGHTS | {"package": "toy"}}, "`package` is trusted by hash alone"),
        (
            {"weights": WEIGHTS | {"files": WEIGHTS["files"] | {"config": {"path": "a", "url": "https://b"}}}},
            "not from both",
        ),
        ({"weights": WEIGHTS | {"hubb": "a/b"}}, r"unknown field 'weights\.hubb'.*Did you mean hub"),
        (
            {"weights": WEIGHTS | {"files": WEIGHTS["files"] | {"config": {"path": "a", "sha265": "0"}}}},
            r"unknown field 'weights\.files\.config\.sha265'.*Did you mean sha256",
        ),
        (
            {"pretrained_on": PRETRAINED["pretrained_on"] | {"datasets": {"pancraes": "seen"}}},
            "no data set is called 'pancraes'.*Did you mean pancreas",
        ),
    ):  # fmt: skip
        with pytest.raises(CatalogError, match=message):
            register("models", PRETRAINED | change)


@pytest.mark.parametrize(
    "source",
    [
        {"drive": "1abc_-D"},
        {"hub": "authors/model", "revision": "0" * 40, "drive": "1abc_-D"},
        {"files": {role: {"path": role, "url": "https://example.org"} for role in ("config", "weights")}},
        {"page": "https://example.org"},
    ],
    ids=["drive", "hub and drive", "addresses", "page"],
)
def test_sources_of_weights(register, source):
    assert register("models", PRETRAINED | {"weights": {"files": WEIGHTS["files"]} | source})["entry"].weights


def test_twins_have_an_architecture_and_a_model(register):
    with pytest.raises(CatalogError, match="`architecture` and `twin_of` go together"):
        register("models", without(TWIN, "twin_of"))
    with pytest.raises(CatalogError, match=r"no model is called 'entri'.*Did you mean entry"):
        register("models", TWIN | {"twin_of": "entri"})
    assert register("models", TWIN)["entry"].architecture == {"layers": 1}


def test_what_a_model_has_seen_follows_from_accessions():
    expected = {
        "baron-human1": "seen",  # one study, in the corpus
        "pancreas-two-studies": "partly",  # one of its two
        "pancreas": "partly",  # named by the card
        "kang-deepmaps": "unknown",  # another accession
        "pbmc-savercat": "unknown",  # none
        "simulated-atlas": "unseen",
        "own-file": "unknown",
    }
    seen = {name: catalog.seen_in_pretraining("geneformer-v1-10m", name) for name in expected}
    assert seen == expected
    assert catalog.seen_in_pretraining("geneformer-gc95m-12l", "baron-human1") == "unknown"
    assert catalog.seen_in_pretraining("geneformer-v1-10m-untrained", "baron-human1") == "unseen"


def test_what_a_corpus_of_this_project_has_seen_follows_from_its_sources():
    """No cell of a data set it is kept apart from; other cells of a study by accession."""
    expected = {
        "kang-deepmaps": "partly",  # kang-harmony is of its study
        "pancreas-two-studies": "unseen",  # kept apart, another study
        "simulated-atlas": "unseen",
        "tabula-sapiens": "unknown",
        "own-file": "unknown",
    }
    assert {name: catalog.seen_in_pretraining("corpus-pca-blood", name) for name in expected} == expected
    assert catalog.seen_in_pretraining("corpus-pca-not-blood", "kang-deepmaps") == "unseen"


def test_registry_of_pretrained_models():
    """What holds for all of them: known roles, twins of the same shape, each architecture with a twin."""
    cards = catalog.models()
    trained = [card for card in cards.values() if card.weights]
    baselines = [card for card in trained if card.kind == "baseline"]
    assert len(trained) - len(baselines) == 42
    assert all(card.weights.in_repository and card.pretrained_on.corpus for card in baselines)
    for card in trained:
        assert set(card.weights.files) <= set(ROLES) and not card.trained_on_target
        # Where the authors define no embedding, the default is said to be ours.
        ours = card.recipes[card.recipe].source.startswith("this book")
        assert card.citation and (card.recipe == "upstream" or ours)
    shapes = {}
    for card in cards.values():
        if card.twin_of:
            twin = cards[card.twin_of]
            shared = ("family", "implementation", "gene_ids", "max_tokens", "layers", "dim")
            assert all(getattr(card, field) == getattr(twin, field) for field in shared), card.name
            shapes[card.family, card.layers, card.dim, card.max_tokens] = card.name
            architecture = card.architecture
            sizes = {**architecture, **architecture.get("encoder", {})}
            if architecture.get("config") == "released" or card.recipe == "random-vectors":
                continue  # sizes and words of the trained model, or no network at all
            depths = ("num_hidden_layers", "nlayers", "depth", "enc_layers", "n_layer", "n_layers",
                      "num_layers")  # fmt: skip
            widths = ("hidden_size", "embsize", "hidden_dim", "dim_model", "dim", "enc_hid", "n_embd",
                      "d_model", "model_dim")  # fmt: skip
            assert [sizes[name] for name in depths if name in sizes] == ([card.layers] if card.layers else [])
            assert [sizes[name] for name in widths if name in sizes] == [card.dim]
            assert card.recipes[card.recipe].parameters["vocabulary"] == "data-set"
    for card in trained:
        assert (card.family, card.layers, card.dim, card.max_tokens) in shapes, f"{card.name} has no twin"


def test_parameters_of_geneformer_are_counted():
    """The count on each card follows from its architecture: tied embeddings, two token types, no pooler."""
    cards = catalog.models()
    for twin in cards.values():
        if twin.family != "Geneformer" or not twin.twin_of:
            continue
        d, f = twin.architecture["hidden_size"], twin.architecture["intermediate_size"]
        vocabulary = 20_275 if twin.architecture["special_tokens"] else 25_426
        embeddings = (vocabulary + twin.max_tokens + 2 + 2) * d
        layer = 4 * (d * d + d) + (d * f + f) + (f * d + d) + 4 * d
        head = d * d + d + 2 * d + vocabulary
        assert cards[twin.twin_of].parameter_count == embeddings + twin.layers * layer + head, twin.name


def size_of_safetensors(architecture: dict, vocabulary: int, *, with_position_ids: bool) -> int:
    """Bytes of a Geneformer file: its header, which names each tensor, and four bytes a value."""
    d, f = architecture["hidden_size"], architecture["intermediate_size"]
    positions = architecture["max_position_embeddings"]
    shapes = {
        "bert.embeddings.word_embeddings.weight": (vocabulary, d),
        "bert.embeddings.position_embeddings.weight": (positions, d),
        "bert.embeddings.token_type_embeddings.weight": (2, d),
        "cls.predictions.bias": (vocabulary,),
    }
    linear = {"cls.predictions.transform.dense": (d, d)}
    norms = ["bert.embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
    for layer in range(architecture["num_hidden_layers"]):
        prefix = f"bert.encoder.layer.{layer}"
        linear |= {f"{prefix}.attention.self.{name}": (d, d) for name in ("query", "key", "value")}
        linear |= {f"{prefix}.attention.output.dense": (d, d), f"{prefix}.intermediate.dense": (f, d)}
        linear |= {f"{prefix}.output.dense": (d, f)}
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
    for name, (rows, columns) in linear.items():
        shapes |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    shapes |= {f"{name}.{kind}": (d,) for name in norms for kind in ("weight", "bias")}
    header, end = {"__metadata__": {"format": "pt"}}, 0
    if with_position_ids:
        end = 8 * positions
        header["bert.embeddings.position_ids"] = {
            "dtype": "I64", "shape": [1, positions], "data_offsets": [0, end],
        }  # fmt: skip
    for name in sorted(shapes):
        start, end = end, end + 4 * math.prod(shapes[name])
        header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + length + -length % 8 + end


def test_reported_sizes_are_those_of_the_tensors_we_expect():
    """The released files were not seen, but names, shapes and extras account for every byte of them."""
    cards = catalog.models()
    for name in ("geneformer-v1-10m", "geneformer-v2-104m", "geneformer-v2-316m"):
        architecture = cards[f"{name}-untrained"].architecture
        old = not architecture["special_tokens"]  # a constant of positions, which later files leave out
        size = size_of_safetensors(architecture, 25_426 if old else 20_275, with_position_ids=old)
        assert cards[name].weights.files["weights"].size == size, name


def test_control_made_from_labels_is_accepted(register):
    card = register("models", without(MODEL, "implementation") | {"kind": "control", "uses": ["label"]})[
        "entry"
    ]
    assert card.uses == ("label",)


def test_only_controls_see_labels_in_the_real_registry():
    assert [card.name for card in catalog.models().values() if "label" in card.uses] == ["label-oracle"]


def test_named_corpora_are_apart_from_every_test_set_and_nested():
    tests = set(catalog.study("real").datasets)
    corpora = catalog.corpora()
    for card in corpora.values():
        assert "real" in card.apart_from
        assert not tests & set(catalog.sources_of(card))
        whole = corpora[card.name.removesuffix("-percent").rstrip("-0123456789")]
        assert set(catalog.sources_of(card)) == set(catalog.sources_of(whole))
        assert card is whole or card.cells < 0.11 * whole.cells
    in_all = set(catalog.sources_of(corpora["all"]))
    assert in_all == set(catalog.corpus_sources())  # a source that no corpus has is forgotten
    assert not set(catalog.sources_of(corpora["blood"])) & set(catalog.sources_of(corpora["not-blood"]))
