"""The ledger of claims as a table to search and filter; the script ``tables.js`` of the book does it."""

import pandas as pd

from zeroshot.runtime import templates

MARKS = {"holds": "●", "fails": "✕", "not testable here": "–", "not a predicate": ""}


class ClaimsTable:
    """Claims in rows, sources in columns; each cell has the verdict and the numbers that decide it.

    Attributes
    ----------
    record
        What the template ``notebooks/claims.html`` names: filters, sources and claims.
    """

    def __init__(self, ledger: pd.DataFrame):
        claims = [_row(rows) for _, rows in ledger.groupby("claim", sort=False)]
        topics = {_slug(topic): topic for topic in ledger["topic"].unique()}
        self.record = {
            "filters": {
                "topic": topics,
                "version": {name: f"stated in the {name}" for name in ("preprint", "publication")},
                "outcome": {
                    "holds": "holds by a source",
                    "fails": "fails by a source",
                    "reversed": "changed between preprint and publication",
                    "open": "testable by no source",
                },
            },
            "sources": list(ledger["source"].unique()),
            "claims": claims,
        }

    def __repr__(self) -> str:
        return f"ClaimsTable({len(self.record['claims'])} claims, {len(self.record['sources'])} sources)"

    def _repr_html_(self) -> str:
        return templates.render("notebooks/claims.html", **self.record)


def _row(rows: pd.DataFrame) -> dict[str, object]:
    """One claim with the verdicts of all sources."""
    first, verdicts = rows.iloc[0], set(rows["verdict"])
    outcomes = [name for name in ("holds", "fails") if name in verdicts] or ["open"]
    return {
        "name": first["claim"],
        "statement": first["statement"],
        "note": first["note"],
        "stated": first["stated"],
        "reversal": first["reversal"],
        "topic": _slug(first["topic"]),
        "versions": first["stated"].replace(",", ""),
        "outcomes": " ".join([*outcomes, *(["reversed"] if first["reversal"] else [])]),
        "verdicts": [
            {"mark": MARKS[verdict], "text": verdict, "numbers": numbers}
            for verdict, numbers in zip(rows["verdict"], rows["numbers"], strict=True)
        ],
    }


def _slug(text: str) -> str:
    return text.replace(" ", "-")
