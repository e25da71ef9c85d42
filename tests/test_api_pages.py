"""Pages about the library: made from the order of its parts and from what each offers."""

import importlib
import re

import pytest

from zeroshot import PARTS, catalog
from zeroshot.site import api


@pytest.fixture(scope="module")
def pages():
    return api.pages()


def test_the_index_has_every_part_in_the_order_of_imports(pages):
    rows = re.findall(
        r"^\| \[?`(?:zeroshot\.)?(\w+)`(?:\]\((\w+)\.md\))? \|", pages["api/index"], re.MULTILINE
    )
    assert tuple(part for part, _ in rows) == PARTS
    assert {f"api/{link}" for _, link in rows if link} == set(pages) - {"api/index"}


def test_a_page_has_all_that_its_part_offers(pages):
    for path in set(pages) - {"api/index"}:
        part = path.removeprefix("api/")
        package = importlib.import_module(part if part == "reading_list" else f"zeroshot.{part}")
        (members,) = re.findall(r":members: (.*)", pages[path]) or [""]
        sections = re.findall(rf"^## {package.__name__}\.(\S+)$", pages[path], re.MULTILINE)
        assert set(package.__all__) <= {*members.split(", "), *sections}, path


def test_families_and_packages_have_sections(pages):
    families = {
        card.implementation.partition(":")[0] for card in catalog.models().values() if card.implementation
    }
    sections = re.findall(r"automodule:: zeroshot\.models\.(\w+)$", pages["api/models"], re.MULTILINE)
    assert families | {"weights", "encoder"} == set(sections) and len(sections) == len(set(sections))
    assert "automodule:: zeroshot.study.ablations\n" in pages["api/study"]
