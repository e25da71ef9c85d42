"""What a kill -9 and damaged files cost a study."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import copy_project, edit, executed_between, run_tiny, scores, start, times

from zeroshot.notebooks import stamp
from zeroshot.runtime import processes
from zeroshot.study import finished as finished_files

# Of the tiny study: enough to have a run that is finished, one that is not, and a chapter.
RUNS = {"runs/tiny-atlas/hvg", "runs/tiny-atlas/random"}
CHAPTERS = {"notebooks/02_cell_types"}


def test_kill_9_loses_nothing(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The command is killed while it computes; continued, everything while chapters are executed."""
    root = copy_project(tmp_path / "project")
    studies = root / "data" / "studies.yml"
    edit(studies, "models: [hvg, random, label-oracle]", "models: [hvg, random]")
    edit(studies, "chapters: [02_cell_types, 03_batches]", "chapters: [02_cell_types]")
    kept: dict[Path, int] = {}
    for victim, moment in (
        ("command", "artifacts/scores/[!.]*"), ("everything", "build/studies/tiny/scores.csv")
    ):  # fmt: skip
        process = start(root, "run", "tiny", "--cores", "2")
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not list(root.glob(moment)):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        before = times(root)
        kept = {
            path: path.stat().st_mtime_ns for path in root.glob("artifacts/*/[!.]*/provenance.json")
        } | kept
        mark = json.loads((root / "build" / "run.json").read_text())["mark"]
        started = processes.marked(mark)
        assert kept and started
        process.kill()
        process.wait()
        if victim == "everything":
            for number in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
    run_tiny(root)
    assert set(times(root)) == RUNS | CHAPTERS
    finished = request.getfixturevalue("undisturbed")  # late: until then another worker has made it
    compared, undisturbed = ["dataset", "model", "metric", "value"], scores(finished)
    undisturbed = undisturbed[undisturbed["model"].isin(["hvg", "random"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores(root)[compared], undisturbed[compared], check_exact=True)
    assert all(path.stat().st_mtime_ns == made for path, made in kept.items()), "finished work was repeated"
    assert not RUNS & set(before) & executed_between(before, times(root)), "finished pages were repeated"
    assert not processes.marked(mark)


def test_damaged_pages_and_tables_are_made_again(tmp_path, capsys):
    page = {"cells": [{"outputs": [{"data": {stamp.MIME: {"seconds": 1}}}]}]}
    whole = {"executed/runs/a/pca.ipynb": json.dumps(page), "executed/notebooks/b.ipynb": json.dumps(page),
             "scores.csv": "value\n0.5\n", "executed/notebooks/b.failed.ipynb": "{"}  # fmt: skip
    damages = {
        "executed/runs/a/pca.ipynb": [b"", b'{"cells": [{"out', b"\xff", b"[]", b'{"cells": []}',
                                      json.dumps(page).replace("1", "2").encode()],
        "scores.csv": [b"value\n0.6\n", b""],
    }  # fmt: skip

    def write() -> None:
        for name, text in whole.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    write()
    (tmp_path / "executed" / "runs" / ".pca-x1").mkdir()  # of a notebook that was killed
    finished_files.remember(tmp_path)
    finished_files.remove_damaged(tmp_path)
    assert all((tmp_path / name).exists() for name in whole)
    assert not (tmp_path / "executed" / "runs" / ".pca-x1").exists()
    for name, contents in damages.items():
        for content in contents:
            write()
            (tmp_path / name).write_bytes(content)
            if name == "scores.csv":  # which `zeroshot keep` would copy
                with pytest.raises(finished_files.DamagedError, match=rf"{tmp_path}/scores\.csv: not as"):
                    finished_files.require_whole(tmp_path)
            finished_files.remove_damaged(tmp_path)
            assert [other for other in whole if not (tmp_path / other).exists()] == [name]
            assert f"{tmp_path / name} is not as it was written" in capsys.readouterr().err
    # Of no use, and no reason to do anything again; but nothing is compared with it without a word.
    for record in ("", "[]", "\x00", "{}", '{"scores.csv": null}', "[" * 100_000):
        write()
        (tmp_path / "finished.json").write_text(record)
        finished_files.remove_damaged(tmp_path)
        assert all((tmp_path / name).exists() for name in whole)
        assert f"{tmp_path}/finished.json does not list 3 tables and pages" in capsys.readouterr().err
        with pytest.raises(finished_files.DamagedError, match="does not list the tables"):
            finished_files.require_whole(tmp_path)


def test_what_stands_in_the_place_of_a_page_or_table_is_removed_or_refused(tmp_path, capsys):
    table, elsewhere = tmp_path / "runs" / "a" / "pca" / "scores.csv", tmp_path / "elsewhere.csv"
    table.parent.mkdir(parents=True)
    for link in (table, elsewhere):  # to itself, and out of the folder to a file that is not there
        table.symlink_to(link)
        finished_files.remember(tmp_path)
        finished_files.remove_damaged(tmp_path)
        assert not table.is_symlink() and f"{table} is not as it was written" in capsys.readouterr().err
    os.mkfifo(table)
    finished_files.remember(tmp_path)
    finished_files.remove_damaged(tmp_path)
    assert not table.exists() and not elsewhere.exists()
    page = tmp_path / "executed" / "notebooks" / "b.ipynb"
    page.mkdir(parents=True)
    (page / "notes of the user").write_text("")
    with pytest.raises(
        finished_files.DamagedError, match=rf"{page} is a directory, expected a file.*move it"
    ):
        finished_files.remove_damaged(tmp_path)
    assert (page / "notes of the user").exists()
