"""Statements with numbers in them, as they are shown and as other pages get them."""

import numpy as np
import pytest
from markdown_it import MarkdownIt

from zeroshot.markup import verbatim
from zeroshot.report import report


@pytest.fixture
def shown(monkeypatch):
    """The Markdown of the last report, and what is glued."""
    found = {"glued": {}}
    monkeypatch.setattr("IPython.display.display", lambda output: found.update(text=output.data))
    monkeypatch.setattr("myst_nb.glue", lambda name, value, display: found["glued"].update({name: value}))
    return found


def test_numbers_are_shown_and_glued(shown):
    report("One:", "- {a:d} of", "- {b:.2f} and {c:s}", "Last.", a=np.int64(3), b=np.float32(0.5), c="x")
    assert shown["text"] == "One:\n\n- 3 of\n- 0.50 and x\n\nLast."
    assert shown["glued"] == {"a": 3, "a_text": "3", "b": 0.5, "b_text": "0.50", "c": "x", "c_text": "x"}
    assert [type(shown["glued"][name]) for name in "abc"] == [int, float, str], "NumPy's stop the build"


def test_what_is_missing_is_said(shown):
    report(
        ("- {a:.2f} is best", "- none of {n:d}"), "- {b:+.1f}", ("- {c:s}", ""), a=None, b=np.nan, c=None, n=2
    )
    assert shown["text"] == "- none of 2\n- –"
    assert np.isnan([shown["glued"]["a"], shown["glued"]["b"]]).all() and shown["glued"]["c"] == "–"
    assert shown["glued"]["a_text"] == "–"
    with pytest.raises(KeyError):
        report("{absent:d}")


def test_nothing_in_a_text_is_read_as_a_mark(shown):
    for text in (
        "*a* _b_ `c` ~d~", "[x](javascript:alert(1))", "<script>alert(1)</script>", "{download}`/etc/passwd`",
        "&lt;", "# h", "- x", "+ x", "1. x", "> x", "a|b", "$x$", "\\[x\\]", "a\n\n# b", "::: {note}", "==",
        "(a)=", "![x](y)",
    ):  # fmt: skip
        report("{text:s}", "- {text:s}", glued=False, text=text)
        html = MarkdownIt("commonmark").enable("table").render(shown["text"])
        assert html.count("<p>") == 1 and html.count("<li>") == 1, text
        assert not any(tag in html for tag in ("<em", "<a ", "<script", "<h1", "<img", "<blockquote"))
        assert "{download}`" not in shown["text"] and "$x$" not in shown["text"]
    assert verbatim("0.64 of 3") == "0.64 of 3" and verbatim("pbmc68k-reduced") == "pbmc68k-reduced"
    assert shown["glued"] == {}
