"""Text of others, shown as it is on pages.

Titles, descriptions, licences and labels come from registries and files that anybody may have written. On
their way to a page they pass :func:`verbatim` (or :func:`prose`) where the page is Markdown, and
:func:`escape` where it is HTML. Nothing that they hold is then read as a mark, a role, a directive or a tag.
"""

import html
import json
import re
from typing import Any
from urllib.parse import urlsplit

# What Markdown or MyST reads as a mark anywhere in a line, and what it does only where a block may begin.
_MARKS = re.compile(r"[\\`*_{}\[\]<>&|~$!#^]")
_FIRST = re.compile(r"[-+=:%(]|\d+(?=[.)](?:\s|$))")
# Line ends would begin a block; what else Unicode takes for one, and tabs, are no better.
_SPACES = re.compile(r"[ \t\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+")
# Characters that neither HTML nor XML can hold.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_CODE = re.compile(r"`([\w./@=, -]+)`")


def verbatim(text: object) -> str:
    """Text for a line of Markdown (a heading, a list, a cell of a table), which shows it as it is.

    Line ends become spaces, and characters that a page cannot hold become U+FFFD.
    """
    line = UNPRINTABLE.sub("\ufffd", _SPACES.sub(" ", str(text)).strip(" "))
    first = _FIRST.match(line)
    escaped = _MARKS.sub(r"\\\g<0>", line)
    if first is None:
        return escaped
    place = 0 if first[0][0] not in "0123456789" else first.end()
    return f"{escaped[:place]}\\{escaped[place:]}"


def prose(text: object) -> str:
    """As :func:`verbatim`, but names between two backticks are shown as code."""
    parts = _CODE.split(str(text))
    texts = [code(part) if place % 2 else _joined(part) for place, part in enumerate(parts)]
    return "".join(texts).strip(" ")


def _joined(part: str) -> str:
    """Text between pieces of code keeps the spaces at its ends."""
    before, after = (" " if part[:1].isspace() else ""), (" " if part[-1:].isspace() else "")
    return f"{before}{verbatim(part)}{after}" if part.strip() else before


def code(text: object) -> str:
    """A name as code in Markdown; one with characters that code cannot hold is shown as text."""
    return f"`{text}`" if re.fullmatch(r"[\w./@=,:+-]+(?: [\w./@=,:+-]+)*", str(text)) else verbatim(text)


def escape(text: object) -> str:
    """Text for HTML, in an element or in the value of an attribute."""
    return html.escape(UNPRINTABLE.sub("\ufffd", str(text)))


def is_web_address(url: str) -> bool:
    """Whether an address leads to a web page, and not somewhere else (``javascript:``, ``file:``)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not UNPRINTABLE.search(url)


def raw(body: str) -> str:
    """HTML as a block of Markdown, which is shown as it is."""
    # No run of backticks within may end the block.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"{fence}{{raw}} html\n{body}\n{fence}"


def script_data(data: Any) -> str:
    """JSON for the text of a script element: a name of a user's cannot end the element."""
    text = json.dumps(data, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
