"""The table of claims: every cell in its place, filters that find rows, text that stays text."""

import pandas as pd
from bs4 import BeautifulSoup

from zeroshot.notebooks.claims import ClaimsTable

HOSTILE = '<b>HVG</b> & "x"'


def ledger() -> pd.DataFrame:
    columns = ["claim", "statement", "topic", "stated", "source", "verdict", "numbers", "reversal", "note"]
    rows = [
        ("a", HOSTILE, "cell types", "preprint", "P", "holds", "n 1", "It fails.", ""),
        ("a", HOSTILE, "cell types", "preprint", "G", "fails", HOSTILE, "It fails.", ""),
        ("b", "B.", "batches", "preprint, publication", "P", "not testable here", "no x", "", "note"),
        ("b", "B.", "batches", "preprint, publication", "G", "not testable here", "no y", "", "note"),
    ]
    return pd.DataFrame(rows, columns=columns)


def test_rows_can_be_filtered_and_hold_the_numbers():
    page = BeautifulSoup(ClaimsTable(ledger())._repr_html_(), "html.parser")
    first, second = page.select("table#claims tbody tr")
    assert page.select_one("form.filters")["data-table"] == "claims"
    assert [head.text for head in page.select("thead th")] == ["Claim", "Stated in", "P", "G"]
    assert first["data-outcome"] == "holds fails reversed" and second["data-outcome"] == "open"
    assert (first["data-topic"], second["data-version"]) == ("cell-types", "preprint publication")
    assert "⇄ It fails." in first.text and "⇄" not in second.text
    assert "● holds" in first.text and "✕ fails" in first.text and "no y" in second.text
    # What a select offers are values that rows have.
    for select in page.select("select"):
        values = {value for row in (first, second) for value in row[f"data-{select['name']}"].split()}
        assert values <= {option["value"] for option in select.select("option")}


def test_text_of_claims_stays_text():
    page = BeautifulSoup(ClaimsTable(ledger())._repr_html_(), "html.parser")
    assert not page.select("b") and page.text.count(HOSTILE) == 2
