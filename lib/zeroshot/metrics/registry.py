"""The metric registry: one decorated function is one metric, one column and one glossary row."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

METRICS: dict[str, "Metric"] = {}


class NotApplicable(ValueError):
    """A metric has no meaning for these cells; the message is the reason, in a few words."""


@dataclass(frozen=True)
class Metric:
    """A metric and what a reader must know to read its value.

    Attributes
    ----------
    name
        Name of the function, and of the row in a scores table.
    function
        Pure function, arrays in, float out. Its parameter names say which arrays it needs.
    group
        "annotation": does the embedding keep the labels apart? "integration": does it mix the batches?
    label
        Short name for axes and table heads, as the paper writes it.
    best, worst
        The two ends of the range.
    higher_is_better
        Direction; agrees with `best` and `worst`.
    chance
        Expected value when the labels are shuffled over the cells; None where it depends on the data.
    oracle_is_best
        Whether an embedding of the labels alone is about the best there is; False for what lies between them.
    """

    name: str
    function: Callable[..., float]
    group: Literal["annotation", "integration"]
    label: str
    best: float
    worst: float
    higher_is_better: bool
    chance: float | None
    oracle_is_best: bool = True

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arrays the metric needs, in the order of its signature."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def direction(self) -> str:
        """In words: "higher is better" or "lower is better"."""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    @property
    def titled(self) -> str:
        """Label with the direction, for axes and table heads: "PCR (lower is better)"."""
        return f"{self.label} ({self.direction})"

    def glossary(self) -> dict[str, str]:
        """Row of the glossary, read from the docstring so that page and code cannot disagree.

        Returns
        -------
        dict
            Keys name, label, group, summary, formula (LaTeX), range, direction, returns, known_failure,
            source, differs (empty where the metric does not differ from its source).

        Raises
        ------
        ValueError
            If a section is missing, or the direction in the docstring is not the registered one.
        """
        text = inspect.getdoc(self.function) or ""
        preamble, sections = _split_sections(text)
        formula = re.search(r"^\.\. math::[ \t]*\n((?:\n|[ \t]+.*\n?)+)", preamble, flags=re.MULTILINE)
        returns = sections.get("Returns", "")
        direction = re.search(r"Range (?P<range>.+?), (?P<direction>higher|lower) is better", returns)
        found = {
            "a summary line": preamble.strip(),
            "a `.. math::` formula": formula,
            "'Returns' with 'Range ..., higher|lower is better'": direction,
            "'Known failure'": sections.get("Known failure"),
            "'Source'": sections.get("Source"),
        }
        missing = [part for part, value in found.items() if not value]
        if missing:
            raise ValueError(f"The docstring of metric {self.name!r} lacks {', '.join(missing)}.")
        if (direction["direction"] == "higher") != self.higher_is_better:
            raise ValueError(f"Metric {self.name!r}: docstring and decorator disagree on the direction.")
        return {
            "name": self.name,
            "label": self.label,
            "group": self.group,
            "summary": preamble.strip().splitlines()[0],
            "formula": inspect.cleandoc(formula[1]),
            "range": direction["range"],
            "direction": f"{direction['direction']} is better",
            "returns": returns.removeprefix("float "),
            "known_failure": sections["Known failure"],
            "source": sections["Source"],
            "differs": sections.get("Differs", ""),
        }


def metric(
    *,
    group: Literal["annotation", "integration"],
    label: str,
    best: float = 1.0,
    worst: float = 0.0,
    higher_is_better: bool = True,
    chance: float | None = None,
    oracle_is_best: bool = True,
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Register a function as a metric under its own name and hand it back unchanged.

    Parameters
    ----------
    group, label, best, worst, higher_is_better, chance, oracle_is_best
        See `Metric`.

    Raises
    ------
    ValueError
        If the name is taken, the group unknown, or the direction contradicts `best` and `worst`.
    """
    if group not in ("annotation", "integration"):
        raise ValueError(f"Metric group must be 'annotation' or 'integration', not {group!r}.")
    if (best > worst) != higher_is_better:
        raise ValueError(f"best={best} and worst={worst} contradict higher_is_better={higher_is_better}.")

    def register(function: Callable[..., float]) -> Callable[..., float]:
        name = function.__name__
        if name in METRICS:
            raise ValueError(f"A metric named {name!r} is registered already; choose another name.")
        METRICS[name] = Metric(
            name, function, group, label, best, worst, higher_is_better, chance, oracle_is_best
        )
        return function

    return register


def require_two(values: np.ndarray, what: str) -> None:
    """Refuse an axis with a single value: nothing can be told apart or mixed.

    Raises
    ------
    NotApplicable
        "one batch" or "one label".
    """
    if len(np.unique(values)) < 2:
        raise NotApplicable(f"one {what}")


def require_groups(values: np.ndarray, what: str) -> None:
    """Refuse an axis on which every cell has a value of its own: there are no groups to compare.

    Raises
    ------
    NotApplicable
        "every batch has one cell" or "every label has one cell".
    """
    if len(np.unique(values)) == len(values):
        raise NotApplicable(f"every {what} has one cell")


def _split_sections(text: str) -> tuple[str, dict[str, str]]:
    """Split a cleaned numpy docstring into what precedes the sections, and the sections on one line each."""
    parts = re.split(r"^(\S.*)\n-{3,}[ \t]*$", text, flags=re.MULTILINE)
    sections = {title: " ".join(body.split()) for title, body in zip(parts[1::2], parts[2::2], strict=True)}
    return parts[0], sections
