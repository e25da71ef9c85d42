"""Models that cannot be run: what their cards must say, and that lists, pages and errors say it."""

import pytest
import yaml
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from zeroshot import catalog, cli
from zeroshot.catalog import CatalogError
from zeroshot.site import cards

OTHERS = catalog.other_models()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"not_possible": None}, "not_possible"),
        ({"not_possible": "no\nreader"}, "one line"),
        ({"pages": []}, "pages"),
        ({"pages": ["javascript:alert(1)"]}, "only https"),
        ({"recipe": "upstream"}, "recipe"),
        ({"citation": "nobody1999"}, "nobody1999"),
        ({"pretrained_on": {"corpora": [], "source": "x", "datasets": {"moon": "seen"}}}, "moon"),
    ],
)
def test_entries_that_are_refused(home, changes, message):
    path = home / "data/other_models.yml"
    entry = yaml.safe_load(path.read_text())["cellfm"] | changes
    entry = {field: value for field, value in entry.items() if value is not None}
    path.write_text(yaml.safe_dump({"cellfm": entry}))
    with pytest.raises(CatalogError, match=message):
        catalog.other_models()


def test_a_name_is_in_one_registry(home):
    path = home / "data/other_models.yml"
    path.write_text(yaml.safe_dump({"pca": yaml.safe_load(path.read_text())["cellfm"]}))
    with pytest.raises(CatalogError, match="remove one of them"):
        catalog.other_models()


def test_whoever_asks_for_one_is_told_why(home):
    with pytest.raises(CatalogError, match=r"CellFM cannot be run here.*CC BY-NC-ND 4\.0"):
        catalog.model("cellfm")
    path = home / "data/studies.yml"
    studies = yaml.safe_load(path.read_text())
    studies["smoke"]["models"].append("scchat")
    path.write_text(yaml.safe_dump(studies))
    with pytest.raises(CatalogError, match=r"smoke.*scChat cannot be run here: it defines no embedding"):
        catalog.studies()


def test_the_list_says_of_each_whether_it_runs():
    lines = CliRunner().invoke(cli.app, ["models"], env={"COLUMNS": "200"}).stdout.splitlines()
    of = {line.split()[0]: line for line in lines}
    assert "not possible: it defines no embedding" in of["scchat"]
    assert "installed: package" in of["cellama"] and "Apache-2.0" in of["cellama"]
    assert "download: ctheodoris/Geneformer; 41.2 MB; Apache-2.0" in of["geneformer-v1-10m"]
    assert "bring: https://figshare.com" in of["uce-4l"] and "3.4 GB" in of["uce-4l"]


def test_the_page_of_models_says_why_and_where():
    page = BeautifulSoup(cards.table(), "html.parser")
    for card in OTHERS.values():
        row = page.find("tr", id=card.name)
        assert f"not possible: {card.not_possible}" in row.text
        assert set(card.pages) <= {link["href"] for link in row.find_all("a")}
        assert page.find(id=catalog.family_anchor(card.family))
