"""Outputs of staged notebooks: nothing that a browser would execute, nothing that was printed on stderr.

Chapters escape what they show. This holds whatever a chapter, a table of pandas or a label of a user's has
let through: our own outputs use few tags, and any other is shown as the text it is.
"""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

# Of tables and their filters, of links, of stamps, of the picture of flows and of panels to point at.
TAGS = frozenset(
    re.findall(
        r"\w+",
        """a br caption code dd details div dl dt em form g h3 h4 input label li ol option output p path
        pre rect select small span strong style sub summary sup svg table tbody td text tfoot th thead title
        tr ul""",
    )
)
ATTRIBUTES = frozenset(
    re.findall(
        r"[\w-]+",
        """aria-hidden aria-label aria-live autocomplete border class colspan d data-filter data-key
        data-model data-models data-name data-noun data-outcome data-table data-topic data-version
        dominant-baseline fill halign height href id name role rowspan scope scoped style tabindex
        text-anchor title type valign value viewbox width x y""",
    )
)
DATA = ["type", "application/json"]  # of the only script: a browser does not execute it


def clean(notebook: Path) -> None:
    """Rewrite a staged notebook; readers can download it as well as read its page.

    What programs printed on stderr is left out; the run's log keeps it.
    """
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
        for output in cell.get("outputs", ()):
            for mime, harmless in (("text/html", harmless_html), ("text/markdown", harmless_markdown)):
                if mime in output.get("data", {}):
                    output["data"][mime] = harmless("".join(output["data"][mime]))
    notebook.write_text(json.dumps(content, ensure_ascii=False))


# What is escaped already and code stay; a cell of a table or a line ends before code does.
_MARKS = re.compile(
    r"\\.|(?<!`)(?P<ticks>`+)(?!`)[^\n|]*?(?<!`)(?P=ticks)(?!`)|(?P<live><(?=[a-zA-Z/!?])|!(?=\[))"
)


def harmless_html(text: str) -> str:
    """HTML in which every tag that is not one of ours is shown as text."""
    parser = _Harmless()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


def harmless_markdown(text: str) -> str:
    """Markdown without HTML and without images, which Sphinx would copy from wherever they are."""
    return _MARKS.sub(lambda mark: f"\\{mark[0]}" if mark["live"] else mark[0], text)


class _Harmless(HTMLParser):
    """Repeats what it reads, and escapes what it does not know."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self.in_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        source = self.get_starttag_text() or ""
        if tag == "script":
            self.in_data = [part for pair in attrs for part in pair] == DATA
        allowed = self.in_data if tag == "script" else tag in TAGS
        harmless = allowed and all(_is_harmless(name, value or "") for name, value in attrs)
        self.parts.append(source if harmless else html.escape(source))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        allowed = self.in_data if tag == "script" else tag in TAGS
        self.parts.append(f"</{tag}>" if allowed else html.escape(f"</{tag}>"))
        self.in_data = self.in_data and tag != "script"

    def handle_data(self, data: str) -> None:
        # Where a browser ends an element of text may differ from where this parser does.
        self.parts.append(data.replace("<", "\\u003c" if self.in_data else "&lt;"))

    def handle_entityref(self, name: str) -> None:
        self.parts.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.parts.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self.parts.append(html.escape(f"<!--{data}-->"))

    def handle_decl(self, decl: str) -> None:
        self.parts.append(html.escape(f"<!{decl}>"))

    def unknown_decl(self, data: str) -> None:
        self.parts.append(html.escape(f"<![{data}]>"))

    def handle_pi(self, data: str) -> None:
        self.parts.append(html.escape(f"<?{data}>"))


def _is_harmless(name: str, value: str) -> bool:
    if name == "href":
        try:
            return urlsplit(value.strip()).scheme in ("", "http", "https")
        except ValueError:
            return False
    return name in ATTRIBUTES and not (name == "style" and re.search(r"url|expression|@|\\", value, re.I))
