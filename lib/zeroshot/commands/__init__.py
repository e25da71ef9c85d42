"""Commands with files of their own, and what commands share; :mod:`zeroshot.cli` has the others."""

from .published_scores import evidence

__all__ = ["evidence"]
