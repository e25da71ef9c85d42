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
    printed = CliRunner().invoke(cli.app, ["models"], env={"COLUMNS": "1000"}).stdout
    parts = [part.splitlines() for part in printed.strip().split("\n\n")]
    of = {line.split()[0]: (lines[0], line) for lines in parts for line in lines[2:]}
    assert len(of) == len(catalog.models()) + len(OTHERS)
    for name, heading, facts in (
        ("pca", "run here, without weights", ("standard",)),
        ("cellama", "run here with real weights", ("package", "90.9 MB", "Apache-2.0")),
        ("geneformer-v1-10m", "downloaded", ("ctheodoris/Geneformer; 41.2 MB; Apache-2.0",)),
        ("uce-4l", "that you bring", ("https://figshare.com", "; 3.4 GB; MIT")),
        ("scbert-untrained", "untrained twins", ("own-vocabulary",)),
        ("scchat", "cannot be run here", ("it defines no embedding",)),
    ):
        assert heading in of[name][0] and all(fact in of[name][1] for fact in facts), name


def test_the_list_is_whole_at_80_columns():
    printed = CliRunner().invoke(cli.app, ["models"], env={"COLUMNS": "80"}).stdout
    assert max(map(len, printed.splitlines())) <= 80 and "…" not in printed
    lines = printed.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("uce-33l"))
    column = lines[start].index("https://")
    address = "".join(line[column:].strip() for line in lines[start : start + 4])
    assert address.startswith(catalog.model("uce-33l").weights.page)


def test_the_page_of_models_says_why_and_where():
    page = BeautifulSoup(cards.table(), "html.parser")
    for card in OTHERS.values():
        row = page.find("tr", id=card.name)
        assert f"not possible: {card.not_possible}" in row.text
        assert set(card.pages) <= {link["href"] for link in row.find_all("a")}
        assert page.find(id=catalog.family_anchor(card.family))
