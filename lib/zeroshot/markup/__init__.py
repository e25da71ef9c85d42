"""Text in Markdown and HTML: one escape for each, and the templates of generated HTML."""

from .text import UNPRINTABLE, code, escape, is_web_address, prose, raw, script_data, verbatim

__all__ = [
    "UNPRINTABLE", "code", "escape", "is_web_address", "prose", "raw", "script_data", "verbatim",
]  # fmt: skip
