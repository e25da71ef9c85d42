"""Statements with numbers in them, as they are shown and as other pages get them."""

import numpy as np
import pytest
from markdown_it import MarkdownIt

from zeroshot.notebooks.report import report
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
