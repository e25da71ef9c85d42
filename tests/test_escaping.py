"""Text of cards and data on pages: shown as it is, nothing in it is read as a mark."""

import io
import random
import re

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers import get_parser_class

from zeroshot.runtime import escaping, templates

HOSTILE = (
    "<script>alert(1)</script>",
    "{download}`/etc/passwd`",
    "x\n\n```{include} /etc/passwd\n```\n",
    "x\n:::{raw} html\n<b>\n:::",
    "[x](javascript:alert(1)) [y](file:///etc/passwd) <http://x.org> ![z](/etc/passwd)",
    "$$x$$ $y$ {{ substitution }} \\begin{equation}x\\end{equation}",
    "---\nfront: matter\n---",
    "# heading #",
    "a | b\n--- | ---\n1 | 2",
    "&lt;b&gt; &#60; `code` **bold** _em_ ~~no~~ [^1] ^sup^ \\",
    "1. first",
    "- item",
    ": definition",
    "(target)=",
    "% comment",
    "+++",
    "* _ `",
    'CD4$^+$ T <b>NK</b> & "B" βγ-δ 细胞 [/x]',
)


def parse(text: str) -> nodes.document:
    """The tree that MyST makes of a page, with the extensions of the book."""
    extensions = [
        "amsmath",
        "attrs_inline",
        "colon_fence",
        "deflist",
        "dollarmath",
        "substitution",
        "tasklist",
    ]
    settings = {
        "myst_enable_extensions": extensions,
        "report_level": 2,
        "halt_level": 6,
        "warning_stream": io.StringIO(),
    }
    return publish_doctree(text, parser=get_parser_class("myst")(), settings_overrides=settings)


def interpreted(tree: nodes.document) -> list[str]:
    """Names of what is more than text."""
    kinds = (
        nodes.raw, nodes.image, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block,
        nodes.system_message, nodes.problematic, nodes.comment, nodes.target, nodes.reference,
        nodes.footnote_reference, nodes.emphasis, nodes.strong, nodes.definition_list, nodes.enumerated_list,
        nodes.transition, nodes.substitution_reference, nodes.pending,
    )  # fmt: skip
    return [type(node).__name__ for kind in kinds for node in tree.findall(kind)]


def one_line(text: str) -> str:
    return re.sub(r"[ \t\r\n\v\f\x1c-\x1f\x85\u2028\u2029]+", " ", text).strip(" ")


def page_of(text: str) -> str:
    shown = escaping.verbatim(text)
    return (
        f"# Page\n\n## {shown}\n\n{shown}\n\n- {shown}\n- {shown} on {shown}: {shown}\n\n> Note. {shown}\n\n"
        f"| a | b |\n|---|---|\n| {shown} | {shown} |\n\nend\n"
    )


def assert_shown(text: str) -> None:
    tree, line = parse(page_of(text)), one_line(text)
    assert interpreted(tree) == [], text
    (heading,) = tree.findall(nodes.subtitle)  # the only section's title, moved up
    assert heading.astext() == line
    paragraphs = [paragraph.astext() for paragraph in tree.findall(nodes.paragraph)]
    listed = [line, line, f"{line} on {line}: {line}", f"Note. {line}"]
    assert paragraphs == [*listed, "a", "b", line, line, "end"], text


def test_markdown_shows_text_as_it_is():
    for text in HOSTILE:
        assert_shown(text)


def test_markdown_shows_random_marks_as_they_are():
    marks = [
        *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \n\ta1",
        *HOSTILE,
        "\u2028",
        "{.x #y}",
        "|---|",
        "https://a.b/c_d_",
    ]
    draw = random.Random(0)
    for _ in range(60):
        text = "".join(draw.choices(marks, k=draw.randint(1, 8)))
        if one_line(text):
            assert_shown(text)


def test_prose_shows_names_between_backticks_as_code():
    tree = parse(f"# Page\n\n{escaping.prose('Only `library_size`, `a b` and <b>`{x}`</b> of *all*.')}\n")
    (paragraph,) = tree.findall(nodes.paragraph)
    assert [node.astext() for node in paragraph.findall(nodes.literal)] == ["library_size", "a b"]
    assert paragraph.astext() == "Only library_size, a b and <b>`{x}`</b> of *all*."
    assert escaping.code("a`b") == escaping.verbatim("a`b") and escaping.code("x-1") == "`x-1`"


def test_characters_that_no_page_can_hold_are_replaced():
    for text in ("a\x00b", "a\x1bb", "a\ud800b", "a\ufffeb"):
        assert escaping.verbatim(text) == escaping.escape(text) == "a\ufffdb"
        link = templates.macros("notebooks/links.html").web_link("https://x.org", text)
        assert "a\ufffdb</a>" in link
        escaping.verbatim(text).encode()


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ('https://x.org/a?b=1&c="2"', True),
        ("http://x.org", True),
        ("javascript:alert(1)", False),
        ("JavaScript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("data:text/html,x", False),
        ("/etc/passwd", False),
        ("http:relative", False),
        ("http://[", False),
    ],
)
def test_links_lead_to_the_web_only(url, leads):
    links = templates.macros("notebooks/links.html")
    found = BeautifulSoup(links.web_link(url, "<b>text"), "html.parser")
    assert found.text == "<b>text" and found.find("b") is None
    assert [link["href"] for link in found.find_all("a")] == ([url] if leads else [])


def test_html_in_markdown_ends_where_it_should():
    body = "<p>\n```\n{download}`/etc/passwd`\n````\n</p>"
    (raw,) = parse(f"# Page\n\n{escaping.raw(body)}\n").findall(nodes.raw)
    assert raw.astext() == body
