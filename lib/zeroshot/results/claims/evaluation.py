"""Predicates evaluated over numbers: true, false, or not decided by what there is."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from zeroshot import catalog
from zeroshot.catalog.claims import Compare, Place, Predicate, Value, Widest

from .numbers import ROUNDING, Numbers

# With fewer data sets these say nothing.
LEAST_DATASETS = {"all but one": 3, "widest": 3, "median": 2}

# A model and a metric.
Side = tuple[str, str]


@dataclass(frozen=True)
class Fact:
    """What a predicate says of one data set or one median.

    Attributes
    ----------
    text
        Where, and the numbers: "pancreas: HVG 0.68, Geneformer V1 10M 0.26".
    true
        Whether it is as the predicate says; None where a number is missing.
    missing
        The numbers that are missing: metric and model.
    """

    text: str
    true: bool | None
    missing: tuple[Side, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a predicate comes to.

    Attributes
    ----------
    true
        None where the numbers do not decide it.
    facts
        All that were looked at, those with a missing number too.
    """

    true: bool | None
    facts: tuple[Fact, ...]

    @property
    def deciding(self) -> tuple[Fact, ...]:
        """The facts that made it true or false; none where it is undecided."""
        return () if self.true is None else tuple(fact for fact in self.facts if fact.true is self.true)

    @property
    def missing(self) -> tuple[Side, ...]:
        """The models and metrics without which it is undecided, each once."""
        return tuple(dict.fromkeys(side for fact in self.facts for side in fact.missing))


def evaluate(predicate: Predicate, numbers: Numbers) -> Outcome:
    """Evaluate a predicate; what is missing makes it undecided only if it could change the answer."""
    if predicate.all:
        parts = [evaluate(part, numbers) for part in predicate.all]
        # What decides a conjunction is its false part.
        deciding = [part for part in parts if part.true is False] or parts
        return Outcome(_and(part.true for part in parts), _facts(deciding))
    forms = {Compare: _compare, Place: _place, Value: _value, Widest: _widest}
    return forms[type(predicate.form)](predicate.form, numbers)


def _compare(form: Compare, numbers: Numbers) -> Outcome:
    pairs = [(left, right) for left in form.left for right in form.right]
    if form.right_metric is not None and form.right == form.left:
        pairs = [(model, model) for model in form.left]
    of_pairs = [_compare_pair(form, *pair, numbers) for pair in pairs]
    deciding = [outcome for outcome in of_pairs if outcome.true is False] or of_pairs
    return Outcome(_and(outcome.true for outcome in of_pairs), _facts(deciding))


def _compare_pair(form: Compare, left: str, right: str, numbers: Numbers) -> Outcome:
    sides = [(left, form.metric), (right, form.right_metric or form.metric)]
    if form.over == "median":
        medians = _medians(form, sides, numbers)
        order = _order(*(medians[side] for side in sides), form.tie)
        return _single("median", medians, _agrees(form, order, list(medians.values())))
    facts = []
    for dataset in _datasets(form.datasets, numbers, sides, form.statistic):
        values = {side: numbers.value(dataset, *side, form.statistic) for side in sides}
        order = numbers.order(dataset, *sides, form.statistic, form.tie)
        tied = "tied" if order == "tied" else ""
        facts.append(_fact(dataset, values, _agrees(form, order, list(values.values())), tied))
    return _quantified(form.over, facts) if facts else _single("", dict.fromkeys(sides), None)


def _agrees(form: Compare, order: str | None, values: list[float | None]) -> bool | None:
    """Whether an order of two values is what a comparison says."""
    if order is None:
        return None
    words = form.relation.split()
    as_stated = (order == words[-1]) != (words[0] == "not")
    if as_stated and form.at_most is not None:
        return abs(values[0] - values[1]) <= form.at_most * abs(values[1])
    return as_stated


def _place(form: Place, numbers: Numbers) -> Outcome:
    sides = [(model, form.metric) for model in form.among]
    own = (form.model, form.metric)
    others = [side for side in sides if side != own]
    if form.over == "median":
        medians = _medians(form, sides, numbers)
        orders = [_order(medians[own], medians[side], form.tie) for side in others]
        return _single("median", medians, _in_place(form.place, orders))
    facts = []
    for dataset in _datasets(form.datasets, numbers, [own], form.statistic):
        values = {side: numbers.value(dataset, *side, form.statistic) for side in sides}
        orders = [numbers.order(dataset, own, side, form.statistic, form.tie) for side in others]
        ties = [
            catalog.model(of[0]).title for of, order in zip(others, orders, strict=True) if order == "tied"
        ]
        tied = f"{catalog.model(form.model).title} tied with {', '.join(ties)}" if ties else ""
        facts.append(_fact(dataset, values, _in_place(form.place, orders), tied))
    return _quantified(form.over, facts) if facts else _single("", dict.fromkeys(sides), None)


def _order(first: float | None, second: float | None, tie: float) -> str | None:
    """Whether the first of two values is higher, lower or tied; None without both."""
    if first is None or second is None:
        return None
    return "tied" if abs(first - second) <= tie + ROUNDING else "higher" if first > second else "lower"


def _in_place(place: str, orders: list[str | None]) -> bool | None:
    """Whether a model with these orders to the others is in a place, that of a tie being neither."""
    higher, unknown = (sum(order == of for order in orders) for of in ("higher", None))
    above = sum(order == "lower" for order in orders)
    if place == "first":
        least, most, needed = higher, higher + unknown, len(orders)
    elif place == "last":
        least, most, needed = above, above + unknown, len(orders)
    else:
        if above > 1 or higher + unknown < len(orders) - 1:
            return False
        return None if unknown else above == 1 and higher == len(orders) - 1
    return True if least == needed else False if most < needed else None


def _value(form: Value, numbers: Numbers) -> Outcome:
    side = (form.model, form.metric)
    if form.datasets:
        value = numbers.median(*side, form.statistic, list(form.datasets))
    else:
        value = numbers.value(form.dataset, *side, form.statistic)
    true = None if value is None else abs(value - form.equals) <= form.within + ROUNDING
    return _single(form.dataset or "median", {side: value}, true, f"stated {form.equals:g}")


def _widest(form: Widest, numbers: Numbers) -> Outcome:
    sides = [(model, form.metric) for model in form.among]
    datasets = _datasets(form.datasets, numbers, [side for side in sides if numbers.has(*side)])
    ranges = {}
    for side in sides:
        values = [numbers.value(dataset, *side) for dataset in datasets]
        enough = None not in values and len(values) >= LEAST_DATASETS["widest"]
        ranges[side] = max(values) - min(values) if enough else None
    own = ranges[form.model, form.metric]
    orders = [_order(own, of, 0.0) for (model, _), of in ranges.items() if model != form.model]
    return _single("highest minus lowest", ranges, _in_place("first", orders))


# -- data sets, and what is true of how many ------------------------------------------------------------


def _datasets(
    names: tuple[str, ...], numbers: Numbers, sides: list[Side], statistic: str = "value"
) -> list[str]:
    """The data sets that a predicate is about; if it names none, those on which all sides have a number."""
    if names or numbers.about:
        return list(names or numbers.about)
    return [
        name
        for name in numbers.datasets
        if all(numbers.value(name, *side, statistic) is not None for side in sides)
    ]


def _medians(form: Compare | Place, sides: list[Side], numbers: Numbers) -> dict[Side, float | None]:
    """Medians over the data sets that all models with a number have; of too few there is none."""
    scored = [side for side in sides if numbers.has(*side, form.statistic)]
    datasets = _datasets(form.datasets, numbers, scored, form.statistic)
    if len(datasets) < LEAST_DATASETS["median"] and not form.datasets:
        datasets = []
    return {side: numbers.median(*side, form.statistic, datasets) for side in sides}


def _quantified(over: str, facts: list[Fact]) -> Outcome:
    yes, no, unknown = (sum(fact.true is of for fact in facts) for of in (True, False, None))
    if len(facts) < LEAST_DATASETS.get(over, 1):
        true = None
    elif over == "most data sets":
        half = len(facts) / 2
        true = True if yes > half else False if yes + unknown <= half else None
    else:
        exceptions = 1 if over == "all but one" else 0
        true = False if no > exceptions else None if no + unknown > exceptions else True
    return Outcome(true, tuple(facts))


def _and(truths: Iterable[bool | None]) -> bool | None:
    truths = list(truths)
    return False if False in truths else None if None in truths else True


def _facts(outcomes: Iterable[Outcome]) -> tuple[Fact, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(outcome.facts for outcome in outcomes)))


def _single(where: str, values: dict[Side, float | None], true: bool | None, addition: str = "") -> Outcome:
    """The outcome of a single fact."""
    return Outcome(true, (_fact(where, values, true, addition),))


def _fact(where: str, values: dict[Side, float | None], true: bool | None, addition: str = "") -> Fact:
    """A fact with its text; a metric is named where the sides differ in it."""
    present = {side: value for side, value in values.items() if value is not None}
    several = len({metric for _, metric in values}) > 1
    names = [metric if several else catalog.model(model).title for model, metric in present]
    texts = [f"{name} {text}" for name, text in zip(names, _digits(list(present.values())), strict=True)]
    start = f"{where}: " if where else ""
    missing = tuple(side for side in values if side not in present)
    return Fact(start + ", ".join([*texts, addition] if addition else texts), true, missing)


def _digits(values: list[float]) -> list[str]:
    """Numbers with as many digits as keep different ones apart, three at least."""
    different = set(values)
    digits = next((n for n in (3, 4, 5) if len({f"{of:.{n}g}" for of in different}) == len(different)), 6)
    return [f"{value:.{digits}g}" for value in values]
