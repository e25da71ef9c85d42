"""Claims beside the verdict of every source, and what changed between preprint and publication."""

from collections.abc import Iterable

import pandas as pd

from zeroshot import catalog
from zeroshot.catalog.claims import Claim, ClaimSource, Predicate
from zeroshot.metrics import METRICS
from zeroshot.results import evidence, published

from .evaluation import Outcome, evaluate
from .numbers import Numbers, of_source

VERDICTS = ("holds", "fails", "not testable here", "not a predicate")
OURS = "this study"
COLUMNS = ["claim", "statement", "topic", "stated", "source", "verdict", "numbers", "reversal", "note"]
MOST_FACTS = 4  # in a cell of the ledger
_VERDICT_OF = dict(zip((True, False, None), VERDICTS, strict=False))


def load() -> dict[str, Claim]:
    """All claims by name, in the order of the file.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the file is not valid, with the entry: an unknown field, form, metric, model or data set, or a
        claim that is opposed by one that does not exist or does not say so itself.
    """
    claims = catalog.read("claims", Claim)
    for claim in claims.values():
        try:
            _require_known_names(claim, claims)
        except catalog.CatalogError as error:
            raise catalog.CatalogError(f"data/claims.yml: entry {claim.name!r}: {error}") from None
    return claims


def sources() -> dict[str, ClaimSource]:
    """All published sources of numbers by name, in the order of the file.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the file is not valid, with the entry.
    """
    cards = catalog.read("claim_sources", ClaimSource)
    printed = dict.fromkeys(number.source for number in published.load())
    for card in cards.values():
        try:
            for name in card.published:
                catalog.find(printed, name, "source of data/published.yml")
            if card.evidence is not None:
                catalog.find(evidence.sources(), card.evidence, "source of evidence")
            _require_names("data set", catalog.datasets(), [*card.datasets.values(), *card.about])
            _require_names("model", catalog.models(), card.models.values())
            _require_names("metric", METRICS, [*card.metrics.values(), *card.from_minus_one])
        except catalog.CatalogError as error:
            raise catalog.CatalogError(f"data/claim_sources.yml: entry {card.name!r}: {error}") from None
    return cards


def _require_known_names(claim: Claim, claims: dict[str, Claim]) -> None:
    if claim.opposed_by is not None:
        other = catalog.find(claims, claim.opposed_by, "claim")
        if other.opposed_by != claim.name:
            raise catalog.CatalogError(f"opposed_by: {other.name} must say `opposed_by: {claim.name}`, too")
    metrics = dict.fromkeys([*METRICS, *published.RECONSTRUCTED])
    for part in claim.predicate.parts if claim.predicate else ():
        names = _names(part)
        _require_names("metric", metrics, names["metric"])
        _require_names("model", catalog.models(), names["model"])
        _require_names("data set", catalog.datasets(), names["data set"])


def _names(predicate: Predicate) -> dict[str, list[str]]:
    """Metrics, models and data sets that a single predicate names."""
    form = predicate.form
    fields = {name: getattr(form, name, None) for name in type(form).model_fields}
    models = [*(fields.get("left") or ()), *(fields.get("right") or ()), *(fields.get("among") or ())]
    return {
        "metric": [name for name in (fields["metric"], fields.get("right_metric")) if name],
        "model": [*models, *([fields["model"]] if fields.get("model") else ())],
        "data set": [
            *(fields.get("datasets") or ()),
            *([fields["dataset"]] if fields.get("dataset") else ()),
        ],
    }


def _require_names(kind: str, registry: dict, names: Iterable[str]) -> None:
    for name in names:
        catalog.find(registry, name, kind)


def ledger(study: Numbers | None = None) -> pd.DataFrame:
    """Every claim with its verdict by every source.

    Parameters
    ----------
    study
        The numbers of a study, as :func:`zeroshot.results.claims.of_study` returns them, as one more source;
        None for none.

    Returns
    -------
    pandas.DataFrame
        A row per claim and source, in the order of the files, columns :data:`COLUMNS`. ``stated`` is
        "preprint", "publication" or both; ``verdict`` one of :data:`VERDICTS`; ``numbers`` those that decide
        it, or why nothing does; ``reversal`` what changed between the two versions, "" where nothing did.
    """
    cards = sources()
    numbers = {card.title: of_source(card) for card in cards.values()}
    versions = {card.version: card.title for card in cards.values() if card.version}
    if study is not None:
        numbers[OURS] = study
    claims, rows = load(), []
    for claim in claims.values():
        outcomes = {
            title: evaluate(claim.predicate, of) if claim.predicate else Outcome(None, ())
            for title, of in numbers.items()
        }
        of_versions = {version: _VERDICT_OF[outcomes[title].true] for version, title in versions.items()}
        of_claim = {
            "claim": claim.name,
            "statement": claim.statement,
            "topic": claim.topic,
            "stated": ", ".join(claim.stated),
            "reversal": _reversal(claim, claims, of_versions),
            "note": claim.note or "",
        }
        rows += [
            of_claim
            | {"source": title, "verdict": _VERDICT_OF[outcome.true] if claim.predicate else VERDICTS[-1]}
            | {"numbers": claim.untestable or _numbers(claim, outcome)}
            for title, outcome in outcomes.items()
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _reversal(claim: Claim, claims: dict[str, Claim], verdicts: dict[str, str]) -> str:
    """What changed between preprint and publication, in a sentence."""
    if len(claim.stated) > 1:
        return ""
    (version,) = claim.stated
    (other,) = verdicts.keys() - {version}
    if claim.opposed_by is not None:
        opposed = claims[claim.opposed_by]
        return f"The {other} says otherwise: {opposed.statement}"
    if verdicts[other] == "fails":
        return f"It fails by the numbers of the {other}."
    return ""


def _numbers(claim: Claim, outcome: Outcome) -> str:
    """The numbers that decide a claim, or what is missing to decide it."""
    if outcome.true is None:
        return _missing(claim, outcome)
    facts = [fact.text for fact in outcome.deciding]
    more = [f"and {len(facts) - MOST_FACTS} more"] if len(facts) > MOST_FACTS else []
    return "; ".join(facts[:MOST_FACTS] + more)


def _missing(claim: Claim, outcome: Outcome) -> str:
    if not outcome.missing:
        return "too few data sets"
    of_metric: dict[str, list[str]] = {}
    for model, metric in outcome.missing:
        label = METRICS[metric].label if metric in METRICS else metric
        of_metric.setdefault(label, []).append(catalog.model(model).title)
    names = dict.fromkeys(name for part in claim.predicate.parts for name in _names(part)["data set"])
    where = f" on {', '.join(names)}" if 0 < len(names) <= MOST_FACTS else ""
    return "; ".join(f"no {label} of {', '.join(models)}" for label, models in of_metric.items()) + where
