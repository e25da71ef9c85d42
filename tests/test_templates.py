"""HTML from templates: values are text, and a value that is missing is an error."""

import pytest
from bs4 import BeautifulSoup
from jinja2 import UndefinedError

from zeroshot.runtime import templates


def test_values_are_shown_as_text():
    hostile = "\"><b onclick='x'>&amp; \x00"
    link = templates.macros("notebooks/links.html").paper_link(hostile, hostile)
    (tag,) = BeautifulSoup(link, "html.parser").find_all(True)
    assert tag.text == hostile.replace("\x00", "\ufffd")
    assert set(tag.attrs) == {"href"} and tag["href"].endswith(tag.text)


def test_a_value_that_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="sentence"):
        templates.render("notebooks/umap_explorer.html", record={})


def test_what_notebooks_render_needs_nothing_of_the_pages():
    """A change of a page's template must not make executed notebooks stale."""
    for file in (templates.FOLDER / "notebooks").iterdir():
        assert '"pages/' not in file.read_text(), file.name
