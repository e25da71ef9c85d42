"""Statements with numbers in them, as they are shown and as other pages get them."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from IPython.core.formatters import DisplayFormatter
from markdown_it import MarkdownIt
from markupsafe import Markup

from reading_list import tables
from zeroshot.notebooks.report import report
from zeroshot.notebooks.tables import to_html
from zeroshot.runtime.escaping import verbatim


@pytest.fixture
def page(monkeypatch):
    """The Markdown of the last report, and what is glued."""
    page = {"glued": {}}
    monkeypatch.setattr("IPython.display.display", lambda output: page.update(text=output.data))
    monkeypatch.setattr("myst_nb.glue", lambda name, value, display: page["glued"].update({name: value}))
    return page


def test_numbers_are_shown_and_glued(page):
    report("One:", "- {a:d} of", "- {b:.2f} and {c:s}", "Last.", a=np.int64(3), b=np.float32(0.5), c="x")
    assert page["text"] == "One:\n\n- 3 of\n- 0.50 and x\n\nLast."
    assert page["glued"] == {"a": 3, "a_text": "3", "b": 0.5, "b_text": "0.50", "c": "x", "c_text": "x"}
    assert [type(page["glued"][name]) for name in "abc"] == [int, float, str], "NumPy's stop the build"


def test_missing_numbers_have_another_statement(page):
    report(
        ("- {a:.2f} is best", "- none of {n:d}"), "- {b:+.1f}", ("- {c:s}", ""), a=None, b=np.nan, c=None, n=2
    )
    assert page["text"] == "- none of 2\n- –"
    assert np.isnan([page["glued"]["a"], page["glued"]["b"]]).all() and page["glued"]["c"] == "–"
    assert page["glued"]["a_text"] == "–"
    with pytest.raises(KeyError):
        report("{absent:d}")


def test_nothing_to_say_shows_nothing(page):
    report(("- {a:d}", ""), a=None)
    assert "text" not in page and page["glued"]["a_text"] == "–"


def test_texts_of_styled_tables_are_shown_as_they_are(page, monkeypatch):
    """In every cell, name of a row and name of a column; links that are marked as HTML stay links."""
    formatters = DisplayFormatter()
    shell = SimpleNamespace(kernel=True, display_formatter=formatters)
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: shell)
    report("{a:d}", a=1, glued=False)
    text, link = "<script>alert(1)</script> & <b>", Markup('<a href="#x">x &lt; y</a>')
    table = pd.DataFrame({text: [text, 0.5], "link": [link, "–"]}, index=pd.Index([text, link], dtype=object))
    for styled in (
        table.style,
        table.style.format(precision=1),
        table.style.format(escape="html").hide(axis="index"),
        table.set_index(text, append=True).style,
        table.T.style.format(str, na_rep="–"),
    ):
        for _ in range(2):  # shown twice, nothing is escaped twice
            html = BeautifulSoup(formatters.format(styled)[0]["text/html"], "html.parser")
            assert html.find("script") is None and html.find("b") is None
            assert text in [cell.text.strip() for cell in html.find_all(["td", "th"])]
            assert {anchor.text for anchor in html.find_all("a")} == {"x < y"}
    models = tables.surveyed_models().style
    of_pandas, ours = (
        BeautifulSoup(html, "html.parser").tbody for html in (models.to_html(), to_html(models))
    )
    assert [cell.decode_contents() for cell in ours.find_all("td")] == [
        cell.decode_contents() for cell in of_pandas.find_all("td")
    ]


def test_nothing_in_a_text_is_read_as_a_mark(page):
    for text in (
        "*a* _b_ `c` ~d~", "[x](javascript:alert(1))", "<script>alert(1)</script>", "{download}`/etc/passwd`",
        "&lt;", "# h", "- x", "+ x", "1. x", "> x", "a|b", "$x$", "\\[x\\]", "a\n\n# b", "::: {note}", "==",
        "(a)=", "![x](y)",
    ):  # fmt: skip
        report("{text:s}", "- {text:s}", glued=False, text=text)
        html = MarkdownIt("commonmark").enable("table").render(page["text"])
        assert html.count("<p>") == 1 and html.count("<li>") == 1, text
        assert not any(tag in html for tag in ("<em", "<a ", "<script", "<h1", "<img", "<blockquote"))
        assert "{download}`" not in page["text"] and "$x$" not in page["text"]
    assert verbatim("0.64 of 3") == "0.64 of 3" and verbatim("pbmc68k-reduced") == "pbmc68k-reduced"
    assert page["glued"] == {}
