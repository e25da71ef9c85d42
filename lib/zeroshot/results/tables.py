"""The tables of a study: written by its runs, concatenated, read back, copied to and from git."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from zeroshot import catalog, store
from zeroshot.metrics import METRICS
from zeroshot.results import table_files
from zeroshot.runtime import paths

from .schema import (
    RUN,
    RUN_TABLES,
    TABLES,
    TableError,
    check_same_runs,
    check_study,
    missing_runs,
    read_csv,
)

COLUMNS = [
    "dataset", "model", "recipe", "metric", "group", "value", "low", "high", "note",
    "subset", "n_cells", "seed", "seeds", "seed_sd", "cluster_sd", "seen_in_pretraining", "method",
]  # fmt: skip


def load(study: str) -> pd.DataFrame:
    """The scores of a study, read from ``build/studies/<study>``.

    Returns
    -------
    pandas.DataFrame
        One row per data set, model, recipe and metric, columns :data:`COLUMNS`. ``low`` and ``high`` bound
        the 95 % interval; ``method`` is the title of the model, with the recipe where it is not the model's
        default. ``cluster_sd`` is NaN in scores that were committed before it was computed.

    Raises
    ------
    FileNotFoundError
        If the study has not been run.
    TableError
        If a file is damaged.
    """
    scores, runs = _read(study, "scores"), _read(study, "runs")
    check_same_runs(paths.study(study), scores, runs, _remedy(study, committed=False))
    of_run = ["subset", "n_cells", "seed", "seeds", "seen_in_pretraining"]
    table = scores.merge(runs[[*RUN, *of_run]], how="left", on=list(RUN), validate="many_to_one")
    table["group"] = [METRICS[metric].group for metric in table["metric"]]
    return table[COLUMNS]


def load_subsamples(study: str) -> pd.DataFrame:
    """The scores of a study on subsamples of the cells.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, model, recipe, metric, cells, subsample, value and method. The subsamples of a data
        set are the same cells for every method.

    Raises
    ------
    FileNotFoundError, TableError
        As :func:`load` does.
    """
    return _read(study, "subsamples")


def load_runs(study: str) -> pd.DataFrame:
    """What each run of a study is, and what its embedding cost.

    Returns
    -------
    pandas.DataFrame
        Columns of ``TABLES["runs"]`` and method: wall-clock ``seconds``, and ``peak_memory_mb``, the largest
        resident memory of the process while the embedding was computed, in MiB.

    Raises
    ------
    FileNotFoundError, TableError
        As :func:`load` does.
    """
    return _read(study, "runs")


def load_reconstruction(study: str) -> pd.DataFrame:
    """How well models predict what nothing has masked; see :func:`zeroshot.results.published.summarise`.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, model, recipe, metric, statistic, value and method.

    Raises
    ------
    FileNotFoundError, TableError
        As :func:`load` does.
    """
    return _read(study, "reconstruction")


def load_labels(study: str) -> pd.DataFrame:
    """How well labels are predicted from few; see :mod:`zeroshot.metrics.label_transfer`.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, model, recipe, split, classifier, per_type, statistic, draw, value and method; a draw
        is of the same cells for every method. No rows for scores that were committed before.

    Raises
    ------
    FileNotFoundError, TableError
        As :func:`load` does.
    """
    return _read(study, "labels")


def load_mapping(study: str) -> pd.DataFrame:
    """How well cells of a data set are labelled by those of another; see :mod:`zeroshot.results.mappings`.

    Returns
    -------
    pandas.DataFrame
        Columns dataset (the query), model, recipe, reference, statistic, draw, value and method; a draw is of
        the same cells for every method. No rows for a study without mappings, and for scores that were
        committed before.

    Raises
    ------
    FileNotFoundError, TableError
        As :func:`load` does.
    """
    return _read(study, "mapping")


def write(directory: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the tables of a run, a mapping or a study into a directory."""
    table_files.write(directory, {name: TABLES[name] for name in tables}, tables)


def concatenate(study: str, runs: Iterable[Path], mappings: Sequence[Path] = ()) -> None:
    """Write the tables of a study from those of its runs and mappings, each in a directory."""
    of_runs = {name: TABLES[name] for name in RUN_TABLES}
    of_mappings = {name: layout for name, layout in TABLES.items() if name not in of_runs}
    table_files.concatenate(paths.study(study), of_runs, runs)
    if mappings:
        table_files.concatenate(paths.study(study), of_mappings, mappings)
    else:
        write(paths.study(study), {name: layout.empty() for name, layout in of_mappings.items()})


def keep(study: str) -> list[Path]:
    """Copy the tables of a study to ``data/scores/<study>``, which git follows.

    What a run cost differs each time. So a row of ``runs`` is replaced only if another number of its run
    changes: without such a change every file stays as it is.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    FileNotFoundError, TableError
        As :func:`load` does.
    """
    committed = paths.scores() / study
    tables = {name: _read(study, name) for name in TABLES}
    texts = {name: TABLES[name].to_csv(table) for name, table in tables.items()}
    if all((committed / f"{name}.csv").is_file() for name in RUN_TABLES):
        texts["runs"] = _with_committed_costs(study, tables, texts)
    for name, text in texts.items():
        store.write_text(committed / f"{name}.csv", text)
    return [committed / f"{name}.csv" for name in TABLES]


def _with_committed_costs(study: str, tables: Mapping[str, pd.DataFrame], texts: Mapping[str, str]) -> str:
    """The table of runs, with the committed row of each run whose other rows are committed as they are."""
    changes: set[tuple[str, ...]] = set()
    for name in set(RUN_TABLES) - {"runs"}:
        file = paths.scores() / study / f"{name}.csv"
        lines = set(file.read_text().splitlines()).symmetric_difference(texts[name].splitlines())
        changes |= {tuple(line.split(",")[: len(RUN)]) for line in lines}
    before = read_csv("runs", paths.scores() / study / "runs.csv", _remedy(study, committed=True))
    same = [run not in changes for run in before[list(RUN)].itertuples(index=False, name=None)]
    of_study = pd.concat([before[same], tables["runs"]]).drop_duplicates(list(RUN), keep="first")
    in_study = of_study.merge(tables["runs"][list(RUN)], on=list(RUN))
    return TABLES["runs"].to_csv(in_study)


def committed_files(study: str) -> list[str]:
    """The files that a study has in ``data/scores``, relative to the project."""
    files = [paths.scores() / study / f"{name}.csv" for name in TABLES]
    return [str(file.relative_to(paths.home())) for file in files if file.is_file()]


def copy_committed(study: str) -> None:
    """Copy the tables of ``data/scores/<study>`` to where a run of the study would have written them.

    Raises
    ------
    TableError
        As :func:`require_committed` does; nothing is copied then.
    """
    require_committed(study)
    for name in TABLES:
        file = paths.scores() / study / f"{name}.csv"
        text = file.read_text() if file.is_file() else TABLES[name].to_csv(TABLES[name].empty())
        store.write_text(paths.study(study) / f"{name}.csv", text)


def require_committed(study: str) -> pd.DataFrame:
    """Read every table of a study in ``data/scores``; return that of its runs.

    Raises
    ------
    TableError
        If one is not there, or holds what the study does not name.
    """
    card, tables = catalog.study(study), {}
    for name in TABLES:
        file = paths.scores() / study / f"{name}.csv"
        if not file.is_file() and not TABLES[name].may_be_absent:
            raise TableError(
                f"{file} does not exist: no {TABLES[name].title} of the study {study} are committed. Where "
                f"the study has been run (`zeroshot run {study}`), `zeroshot keep {study}` writes the file."
            )
        tables[name] = read_csv(name, file, _remedy(study, committed=True))
        check_study(file, tables[name], card)
    folder, remedy = paths.scores() / study, _remedy(study, committed=True)
    check_same_runs(folder, tables["scores"], tables["runs"], remedy)
    return tables["runs"]


def without_committed_scores(study: str) -> list[tuple[str, str]]:
    """Data sets and models (``name`` or ``name@recipe``) of a study whose scores are not committed."""
    return missing_runs(catalog.study(study), require_committed(study))


def _remedy(study: str, *, committed: bool) -> str:
    if committed:
        return (
            "Restore the file from git (`git checkout -- FILE`), or write it again: "
            f"`zeroshot run {study}`, `zeroshot keep {study}`."
        )
    return f"Delete the file and run the study again: `zeroshot run {study}`."


def _read(study: str, name: str) -> pd.DataFrame:
    file = paths.study(study) / f"{name}.csv"
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} does not exist. Run the study first, `zeroshot run {study}`, or take its committed "
            f"scores, if there are any: `python -m zeroshot.results committed {study}`."
        )
    table = read_csv(name, file, _remedy(study, committed=False)).drop(columns=table_files.LINE)
    runs = list(zip(table["model"], table["recipe"], strict=True))
    titles = {run: catalog.model(run[0]).method(run[1]) for run in set(runs)}  # a look-up takes a millisecond
    return table.assign(method=[titles[run] for run in runs])
