"""What published scores say in one table each: outcomes, noise, cost, controls, sources."""

from collections.abc import Sequence

import pandas as pd

from zeroshot import catalog
from zeroshot.runtime import templates

from .tables import COLUMNS, measures, methods, sources

THIS_STUDY = "this_study"
_SETTINGS = {"foundation": "zero-shot", "baseline": "trained-on-target", "control": "control"}
_AREAS = {"annotation": "clustering", "integration": "batch mixing"}  # of our groups of metrics
_ANNOTATION = ("knn_accuracy", "knn_macro_f1")


def title(method: str) -> str:
    """Title of a method for readers: of the sources of evidence, else of a model of this project."""
    cards, own = methods(), catalog.models()
    return cards[method].title if method in cards else own[method].title if method in own else method


def source_title(source: str) -> str:
    """Title of a source for readers."""
    cards = sources()
    return cards[source].title if source in cards else "This study"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table with methods, baselines and sources under their titles, baselines in their order."""
    if "baseline" in table:
        order = {name: place for place, name in enumerate(methods())}
        table = table.sort_values("baseline", key=lambda names: names.map(order), kind="stable")
    titles = {"method": title, "baseline": title, "source": source_title}
    texts = {column: table[column].map(name) for column, name in titles.items() if column in table}
    return table.assign(**texts).reset_index(drop=True)


def from_study(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of a study of this project as one more source, in the columns of :func:`load`.

    A foundation model has the name of its family. Metrics that no source of evidence has are dropped, and so
    are scores that do not exist.

    Parameters
    ----------
    scores
        As :func:`zeroshot.results.load` returns them.
    """
    all_measures = measures()
    rows = scores[scores["metric"].isin(list(all_measures)) & scores["value"].notna()]
    cards = {model: catalog.model(model) for model in rows["model"].unique()}
    kind = rows["model"].map({model: card.kind for model, card in cards.items()})
    pretrained = {m: c.family.lower() for m, c in cards.items() if c.kind == "foundation" and c.family}
    area = rows["group"].map(_AREAS).mask(rows["metric"].isin(_ANNOTATION), "annotation")
    return pd.DataFrame(
        {
            **dict.fromkeys(COLUMNS, ""),
            "source": THIS_STUDY,
            "task": area,
            "dataset": rows["dataset"],
            "model": rows["model"],
            "checkpoint": rows["recipe"],
            "setting": kind.map(_SETTINGS),
            "metric": rows["metric"],
            "value": rows["value"],
            "higher_is_better": rows["metric"].map({n: m.higher_is_better for n, m in all_measures.items()}),
            "n_cells": rows["n_cells"],
            "method": rows["model"].replace(pretrained),
            "kind": kind,
            "sees_labels": rows["model"].map({m: "label" in c.uses for m, c in cards.items()}),
            "measure": rows["metric"],
            "area": area,
            "fault": False,
            "leak": rows["seen_in_pretraining"].isin(["seen", "partly"]),
            "typed": False,
        }
    )[list(COLUMNS)].reset_index(drop=True)


def outcomes(summary: pd.DataFrame) -> pd.DataFrame:
    """Count data sets on which a model is better, tied or worse, over published sources.

    A study of this project is not counted: it would outweigh what others measured.

    Parameters
    ----------
    summary
        As :func:`summarise` returns it by source, area, method and baseline.

    Returns
    -------
    pandas.DataFrame
        One row for each area and baseline: ``wins``, ``ties`` and
        ``losses`` (of a model on a data set), ``n`` their sum, ``n_sources``, and of the comparisons with an
        interval how many are above 0 (``above``), below (``below``) or include it (``tied``).
    """
    summary = summary[summary["source"].ne(THIS_STUDY)]
    with_interval = summary["low"].notna()
    table = summary.assign(
        above=with_interval & (summary["low"] > 0),
        below=with_interval & (summary["high"] < 0),
        tied=with_interval & (summary["low"] <= 0) & (summary["high"] >= 0),
    )
    counts = table.groupby(["area", "baseline"], sort=False, as_index=False).agg(
        **{name: (name, "sum") for name in ("wins", "ties", "losses", "n", "above", "tied", "below")},
        n_sources=("source", "nunique"),
    )
    return counts


def answer(counts: pd.DataFrame, area: str, baselines: Sequence[str]) -> dict[str, int | None]:
    """Sums of the outcomes in one area against some baselines; None where nothing was compared.

    Parameters
    ----------
    counts
        As :func:`outcomes` returns them.
    area
        For example ``clustering``.
    baselines
        Names in ``methods.yml``.
    """
    names = ("wins", "ties", "losses", "n", "above", "tied", "below")
    rows = counts[counts["area"].eq(area) & counts["baseline"].isin(list(baselines))]
    return {name: int(rows[name].sum()) if len(rows) else None for name in names}


def noise(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Compare the spread of one method's score over replicates with the differences between methods.

    Parameters
    ----------
    rows
        As :func:`load` returns them, with all runs of a benchmark.
    pairs
        Differences of a source, as :func:`paired` returns them.

    Returns
    -------
    pandas.DataFrame
        One row for each source and area with replicates: ``spread`` (median standard deviation of a headline
        metric of a model or baseline on a data set over its replicates), ``effect`` (median absolute
        difference between a model and a baseline), ``n_spreads``, ``n_effects`` and
        ``share``, of the differences that exceed 2.8 spreads: the 95 % limit of the difference of two
        single runs.
    """
    names = [name for name, card in measures().items() if card.headline]
    values = rows[rows["measure"].isin(names) & rows["kind"].isin(["foundation", "text", "baseline"])]
    keys = ["source", "area", "task", "dataset", "measure", "metric", "model", "checkpoint", "setting"]
    values = values.groupby([*keys, "replicate"], as_index=False)["value"].mean()
    spread = values.groupby(keys)["value"].agg(["std", "count"]).reset_index()
    spread = spread[spread["count"] > 1]
    effects = pairs[pairs["measure"].isin(names)]
    by = ["source", "area", "dataset", "measure", "metric", "model", "baseline_model"]
    effects = effects.groupby(by, as_index=False)["difference"].mean()
    table = []
    for (source, area), group in spread.groupby(["source", "area"]):
        size = effects[effects["source"].eq(source) & effects["area"].eq(area)]["difference"].abs()
        typical = group["std"].median()
        if len(size):
            table.append(
                (source, area, typical, size.median(), len(group), len(size), (size > 2.8 * typical).mean())
            )
    return pd.DataFrame(
        table, columns=["source", "area", "spread", "effect", "n_spreads", "n_effects", "share"]
    )


def profiles(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return what each method of a source reaches in clustering and batch mixing, and what it costs.

    All stand on the same data sets: those that every foundation model of the source was scored on. Methods
    that lack one of them are dropped.

    Parameters
    ----------
    rows
        As :func:`comparable` returns them.
    source
        A source with scores of clustering and batch mixing.

    Returns
    -------
    pandas.DataFrame
        Columns number (from 1), method, kind, bound (the end of the scales that a control marks),
        ``clustering`` and ``batch_mixing`` (median over data sets of the mean of the headline metrics),
        ``n_datasets``, ``seconds`` (median over data sets, on the computers of the source; NaN if not
        measured) and ``front``: no other method that is no control is
        as good in clustering in less time. Best clustering first.
    """
    names = [name for name, card in measures().items() if card.headline]
    rows = rows[rows["source"].eq(source) & ~rows["fault"]]
    values = rows[rows["measure"].isin(names) & rows["area"].isin(["clustering", "batch mixing"])]
    pretrained = values[values["kind"].eq("foundation")]
    common = set.intersection(
        *(set(part) for _, part in pretrained.groupby("model")["dataset"]), set(values["dataset"])
    )
    keys = ["method", "kind"]
    values = values[values["dataset"].isin(common)]
    of_dataset = values.groupby([*keys, "area", "dataset"])["value"].mean().unstack("dataset").dropna()
    table = of_dataset.median(axis=1).unstack("area").dropna()
    table = table.rename(columns={"batch mixing": "batch_mixing"}).rename_axis(columns=None)
    spent = rows[rows["measure"].eq("seconds") & rows["value"].gt(0) & rows["dataset"].isin(common)]
    table["n_datasets"] = len(common)
    table["seconds"] = spent.groupby([*keys, "dataset"])["value"].mean().groupby(keys).median()
    table = table.reset_index().sort_values("clustering", ascending=False, kind="stable", ignore_index=True)
    bounds = {name: card.bound or "" for name, card in methods().items()}
    table.insert(2, "bound", table["method"].map(bounds))
    table.insert(0, "number", range(1, len(table) + 1))
    return table.assign(front=_on_front(table))


def profile_table(table: pd.DataFrame) -> pd.DataFrame:
    """What :func:`profiles` returns, for a page: titles of methods, heads in words, "yes" on the front."""
    table = readable(table)
    words = table.assign(
        front=table["front"].map({True: "yes", False: "–"}), bound=table["bound"].replace("", "–")
    )
    heads = {"batch_mixing": "batch mixing", "n_datasets": "data sets", "front": "on the front"}
    return words.rename(columns=heads | {"bound": "marks the bound"})


def _on_front(table: pd.DataFrame) -> list[bool]:
    """Which methods no other one beats in clustering and seconds; table with the best clustering first."""
    candidate = table["kind"].ne("control") & table["seconds"].notna()
    fastest = table["seconds"].where(candidate).cummin()
    return list(candidate & table["seconds"].eq(fastest))


def fault_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the rows that are known to be wrong, by source, method and reason, with their values' range.

    Parameters
    ----------
    rows
        As :func:`faults` returns them.
    """
    reason = rows["note"].str.extract(r"FAULT ([^;]*)")[0].str.replace("_", " ")
    quality = rows.assign(reason=reason)
    ari = quality[quality["measure"].isin(["ari", "accuracy"])]
    keys = ["source", "method", "reason"]
    highest = ari.groupby(keys)["value"].max().rename("highest ARI or accuracy")
    return quality.groupby(keys).size().rename("rows").to_frame().join(highest).reset_index()


def source_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each source: grade with its reason, licence, what is taken, commit, link and rows.

    ``link`` is HTML, and marked as such.
    """
    n_rows, links = rows.groupby("source").size(), templates.macros("notebooks/links.html")
    return pd.DataFrame(
        [
            {
                "source": card.title,
                "grade": card.grade,
                "reason": card.reason,
                "measured": card.measured,
                "unit": card.unit,
                "licence": card.licence,
                "taken": "table" if card.taken == "table" else "values, as facts",
                "commit": (card.commit or "")[:7],
                "link": links.web_link(card.repository, card.repository.removeprefix("https://")),
                "rows": int(n_rows.get(name, 0)),
                "cites": ", ".join(card.cited),
            }
            for name, card in sources().items()
        ]
    )
