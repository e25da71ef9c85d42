"""The lines that a run of a study shows while it works."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from zeroshot import pipeline
from zeroshot.cli import progress as log_lines
from zeroshot.study.progress import Progress

LOG = """Assuming unrestricted shared filesystem usage.
Building DAG of jobs...
Job stats:
job          count
---------  -------
cells            1
quick_runs_0     1
quick_runs_1     1
slow_run         1
page             3
total            7

Select jobs to execute...
Execute 1 jobs...

[Sat Nov 28 20:53:53 2026]
Job 3: cells of toy
"""


def test_each_finished_job_is_one_line_with_the_time_left(capsys):
    now = 0.0
    progress = Progress(2, clock=lambda: now)

    def feed(text: str) -> str:
        for line in text.splitlines():
            progress(line)
        return capsys.readouterr().err

    assert feed(LOG) == "7 jobs. [ 0:00] cells 0/1, runs 0/3, pages 0/3, about 1 min left\n"
    now = 10.0
    assert feed("[Sat Nov 28 20:54:03 2026]\nFinished jobid: 3 (Rule: cells)\n1 of 7 steps (14%) done\n") == (
        "[ 0:10] cells 1/1, runs 0/3, pages 0/3, about 1 min left | cells of toy\n"
    )
    feed("Job 1: run hvg, pca on toy\n")
    now = 250.0
    # 240 s for the quick runs of a data set, of which another waits, and 40 s for the slow one, on two cores.
    line = feed("Finished jobid: 1 (Rule: quick_runs_1)\n")
    assert "runs 1/3, pages 0/3, about 2 min left | run hvg, pca on toy" in line


def test_messages_and_errors_are_shown_as_they_are(capsys):
    progress = Progress(None)
    lines = ["pca on toy failed: no gene", "Error in rule run:", "    jobid: 4", "damaged: 3 of 7"]
    for line in [*LOG.splitlines(), *lines]:
        progress(line)
    shown = capsys.readouterr().err.splitlines()
    assert shown[1:] == lines and "left" not in shown[0]


def test_a_log_that_a_full_disk_does_not_take_shows_no_traceback(capsys):
    lines = ["error: a.ipynb was not written: the disk is full.", "Error in rule page:", "    jobid: 4"]
    logging_failed = [
        "--- Logging error ---", "Traceback (most recent call last):", "OSError: [Errno 28] No space left",
        "Call stack:", '  File "x.py", line 1, in run', "Message: 'Error in rule page'", "Arguments: ()",
    ]  # fmt: skip
    progress = Progress(None)
    for line in [*logging_failed[:5], lines[0], *logging_failed[5:], *lines[1:], *logging_failed]:
        progress(line)
    assert capsys.readouterr().err.splitlines() == lines


# -- what a log shows of other commands


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_has_a_line_now_and_then_with_the_step_and_a_terminal_none():
    log, terminal = io.StringIO(), Terminal()
    with log_lines.status("scoring [X]", Console(file=log), seconds=0.02) as report:
        report("neighbors")
        time.sleep(0.1)
    lines = log.getvalue().splitlines()
    assert 1 <= len(lines) <= 5 and set(lines) == {"[ 0:00] scoring [X]: neighbors"}
    with log_lines.status("scoring", Console(file=terminal), seconds=0.02):
        time.sleep(0.05)
    assert "[ 0:00]" not in terminal.getvalue()


def test_progress_bars_in_a_log_are_lines(tmp_path):
    bars = (
        "import time; from zeroshot.cli import progress; progress.SECONDS_BETWEEN_LINES = 0.05\n"
        "with progress.bars_as_lines():\n"
        "    from tqdm import tqdm\n"
        "    for _ in tqdm(range(300), unit='cell'): time.sleep(0.001)\n"
        "    for _ in tqdm(range(3)): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", bars], capture_output=True, check=True)
    lines = [line for line in done.stderr.decode().split("\n") if line]
    assert b"\r" not in done.stderr and 3 <= len(lines) <= 9
    assert all("/300 [" in line for line in lines) and lines[-1].startswith("100%")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_log_that_takes_no_more_ends_no_computation(monkeypatch):
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with log_lines.bars_as_lines():
            for _ in range(3):
                print("scoring", file=sys.stderr, flush=True)


def test_the_time_for_scores_is_what_was_measured():
    assert pipeline.expected_seconds(50_000, 50) == pytest.approx(300, rel=0.1)
    assert pipeline.expected_seconds(200_000, 50) == pytest.approx(2_880, rel=0.1)
