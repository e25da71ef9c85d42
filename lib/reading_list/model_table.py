"""What is recorded of every model as one table in HTML, to search and filter; each fact has its source.

The script ``tables.js`` of the book makes the fields above it, one for each head that is marked so.
"""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from reading_list import entries, facts, tree
from zeroshot import catalog
from zeroshot.runtime import templates

# Columns after the model, and those that have a field to choose by.
COLUMNS = (
    "peer-reviewed", "trunk", "reads", *facts.NAMES, "commercial use", "in this book", "numbers by others",
)  # fmt: skip
FILTERS = (
    "peer-reviewed", "trunk", "reads", "input embedding", "objective", "organisms", "tasks", "zero shot",
    "licence of code", "commercial use", "in this book", "numbers by others",
)  # fmt: skip


class ModelTable:
    """All models of the tree in rows, what is recorded of them in columns.

    Attributes
    ----------
    commercial_use
        What the licence of the weights says of it, by model with known weights.
    coverage
        Of how many models each fact is recorded: columns ``fact``, ``models`` and ``share``.
    record
        What the template ``notebooks/model_table.html`` names: heads, rows and sources.

    Parameters
    ----------
    measured, zero_shot
        Sources of published scores by model, and those where it was used without fine-tuning.
    """

    def __init__(self, measured: Mapping[str, tuple[str, ...]], zero_shot: Mapping[str, tuple[str, ...]]):
        recorded, papers = facts.of_models(), entries.load()
        self._sources: dict[str, int] = {}
        rows, uses, names = [], {}, []
        for leaf in tree.leaves():
            of_model = dict(recorded[leaf.paper])
            if leaf.paper in zero_shot:
                of_model["zero shot"] = facts.Fact("yes", f"scores of {'; '.join(zero_shot[leaf.paper])}")
            names.append(set(of_model))
            cells = {
                "peer-reviewed": self._cell(("yes",) if leaf.peer_reviewed else ()),
                "trunk": self._cell((leaf.trunk,)),
                "reads": self._cell(leaf.inputs),
            }
            cells |= {name: self._fact(name, of_model.get(name)) for name in facts.NAMES}
            use = uses[leaf.paper] = facts.use_of_weights(of_model)
            cells["commercial use"] = self._cell((use,) if use else ())
            paper = papers[leaf.paper]
            here = facts.cards(paper)
            cells["in this book"] = self._cell(())
            if cards := here or facts.cards_of_others(paper):
                anchor = catalog.family_anchor(cards[0].family)
                cells["in this book"] = self._cell(("yes" if here else "no",))
                cells["in this book"]["url"] = f"../book/models.html#{anchor}"
            cells["numbers by others"] = self._cell(measured.get(leaf.paper, ()))
            rows.append({"leaf": leaf, "cells": [cells[column] for column in COLUMNS]})
        self.commercial_use = pd.Series(uses, dtype=object).dropna()
        self.coverage = self._coverage(names)
        heads = [(column.replace("zero shot", "zero-shot"), column in FILTERS) for column in COLUMNS]
        self.record = {"heads": heads, "rows": rows, "sources": list(self._sources)}

    def __repr__(self) -> str:
        return f"ModelTable({len(self.record['rows'])} models)"

    def _repr_html_(self) -> str:
        return templates.render("notebooks/model_table.html", **self.record)

    def _fact(self, name: facts.Name, fact: facts.Fact | None) -> dict[str, Any]:
        words = () if fact is None else fact.words if name in facts.LISTS else (fact.value,)
        return self._cell(words, fact)

    def _cell(self, words: tuple[str, ...], fact: facts.Fact | None = None) -> dict[str, Any]:
        """What a cell shows: its words, an address, and the number of its source; empty where unknown."""
        number = None
        if words and fact:
            number = self._sources.setdefault(fact.source, len(self._sources) + 1)
        return {"words": words, "url": fact.url if fact else None, "source": number}

    @staticmethod
    def _coverage(recorded: Collection[Collection[facts.Name]]) -> pd.DataFrame:
        counts = [sum(name in of_model for of_model in recorded) for name in facts.NAMES]
        names = [name.replace("zero shot", "zero-shot") for name in facts.NAMES]
        table = pd.DataFrame({"fact": names, "models": counts})
        return table.assign(share=table["models"] / len(recorded))
