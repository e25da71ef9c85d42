"""The tidy scores table of a study: one row per data set, model, recipe and metric."""

import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from zeroshot import catalog, paths, stamp, store

COLUMNS = [
    "study", "dataset", "model", "recipe", "metric", "group", "value", "note",
    "subset", "n_cells", "seed", "artifact",
]  # fmt: skip


def collect(study: str, pages: Iterable[Path]) -> pd.DataFrame:
    """Gather the scores that executed run pages name in their stamps.

    Parameters
    ----------
    study
        Name of the study the rows belong to.
    pages
        Executed run notebooks.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, sorted by data set, model, recipe and the order of the metrics.

    Raises
    ------
    LookupError
        If a page names scores that are not in the store any more.
    """
    tables = [_of_page(study, page) for page in pages]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["dataset", "model", "recipe"], kind="stable", ignore_index=True)[COLUMNS]


def _of_page(study: str, page: Path) -> pd.DataFrame:
    made = stamp.read(page)
    key = next(artifact["key"] for artifact in made["artifacts"] if artifact["stage"] == "scores")
    stored = store.Artifact(paths.artifacts() / "scores" / key, reused=True)
    if not stored.path.is_dir():
        raise LookupError(
            f"{page.name} names scores {key}, which are not in {paths.artifacts()}. "
            "Delete the page and run the study again."
        )
    parameters = made["parameters"]
    return stored.load("scores").assign(
        study=study,
        dataset=parameters["dataset"],
        model=parameters["model"],
        recipe=parameters["recipe"] or catalog.model(parameters["model"]).recipe,
        subset=parameters["subset"] or "all",
        n_cells=made["n_cells"],
        seed=parameters["seed"],
        artifact=key,
    )


def load(study: str) -> pd.DataFrame:
    """The scores of a study, read from ``build/studies/<study>/scores.csv``.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`, and ``method``: the title of the model, with the recipe where it is
        not the model's default.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    """
    path = paths.study(study) / "scores.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Run the study first: `zeroshot run {study}`.")
    scores = pd.read_csv(
        path,
        keep_default_na=False,
        na_values={"value": [""]},
        dtype={"subset": str},
        float_precision="round_trip",
    )
    pairs = zip(scores["model"], scores["recipe"], strict=True)
    return scores.assign(method=[catalog.model(model).method(recipe) for model, recipe in pairs])


def wide(scores: pd.DataFrame, metric: str, *, ascending: bool = False) -> pd.DataFrame:
    """One metric as a table: methods in rows by their median, data sets in columns.

    ``ascending`` puts the lowest median first, for metrics where lower is better.
    """
    chosen = scores[scores["metric"] == metric]
    table = chosen.pivot(index="method", columns="dataset", values="value")
    table = table[list(dict.fromkeys(chosen["dataset"]))]
    order = table.median(axis=1).sort_values(ascending=ascending)
    return table.loc[order.index].rename_axis(columns=None)


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.results STUDY OUTPUT PAGE…``: write the scores of executed pages."""
    study, output, *pages = arguments
    store.write_text(Path(output), collect(study, map(Path, pages)).to_csv(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
