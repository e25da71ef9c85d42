"""``zeroshot …``: the library on the command line."""

from zeroshot.cli.application import app, main

__all__ = ["app", "main"]
