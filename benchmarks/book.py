"""How long the first book takes, from a fresh clone to its home page

The checkout's last commit is cloned into an empty folder and `make book` is run there, once: nothing is
installed, compiled or stored before, but packages may come from pip's cache. Stages follow each other:
installation; planning, until the first job starts; computing, until the last score, projection and ablation
exists (pages that need none of the rest are made meanwhile); the remaining pages; the site. Busy: processor
seconds over those that all cores had.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil

from benchmarks import write
from zeroshot.runtime import paths

STUDY = "default"
# The last word of a line of `zeroshot book` says what has ended: "[ 3:12] runs 5/12 | run pca on …".
COMPUTED = re.compile(r"cells of|run |ablations of|trial of|UMAPs of|tables of")
FINISHED = re.compile(r"\[ *\d+:\d\d\] .*\| (?P<job>.*)")


def run(repeats: int, study: str = STUDY) -> None:
    """Build a first book, print the table, write build/benchmarks/book.json.

    Parameters
    ----------
    repeats
        Not used: a first book is built once, and takes minutes.
    study
        Name in ``data/studies.yml``.
    """
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", "--local", paths.home(), clone], check=True)
        python = getattr(sys, "_base_executable", sys.executable)
        stages = _stages(
            clone,
            {
                "installation": ("make", f"PYTHON={python}", ".venv/.book"),
                "site": ("make", "book", f"STUDY={study}"),
            },
        )
    rows = [{**stage, "busy": stage["processor"] / stage["seconds"] / cores} for stage in stages]
    table = [
        {
            "stage": row["stage"],
            "minutes": f"{row['seconds'] / 60:.1f}",
            "processor minutes": f"{row['processor'] / 60:.1f}",
            "busy": f"{row['busy']:.0%}",
        }
        for row in rows
    ]
    print(pd.DataFrame(table).to_string(index=False))
    print(write("book", __doc__, "", 1, table, study=study, cores=cores, rows=rows))


def _stages(clone: Path, commands: dict[str, tuple[str, ...]]) -> list[dict[str, float | str]]:
    """Seconds of each stage, and those of the processor that all its processes took together.

    ``commands`` have the name of the stage that ends with them.
    """
    own = ("ZEROSHOT_", "PYTHON", "VIRTUAL_ENV", "OMP_")  # the clone is a stranger to this checkout
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    if folder := os.environ.get("ZEROSHOT_DATA"):
        environment["ZEROSHOT_DATA"] = folder
    marks: list[tuple[str, float, float]] = [("", 0.0, 0.0)]
    ended = 0.0  # of the processor, by commands that are over
    begin = time.monotonic()
    for stage, command in commands.items():
        with subprocess.Popen(
            command, cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            used = 0.0
            for line in process.stdout or ():
                print(line, end="", flush=True)
                used = max(used, _processor_seconds(process.pid))
                if job := _what_ended(line):
                    marks.append((job, time.monotonic() - begin, ended + used))
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: see its messages above")
        times = os.times()
        ended = times.children_user + times.children_system
        marks.append((stage, time.monotonic() - begin, ended))
    return list(_between(marks))


def _what_ended(line: str) -> str | None:
    """The stage that a line of the build closes, as far as one can know before the next line."""
    if re.match(r"\d+ jobs\. ", line):
        return "planning"
    if not (finished := FINISHED.match(line)) or finished["job"] == "rendering the book":
        return None
    return "computing" if COMPUTED.match(finished["job"]) else "pages"


def _between(marks: list[tuple[str, float, float]]) -> Iterator[dict[str, float | str]]:
    """From the end of each stage to that of the next; a page made while others compute is computing."""
    last = {stage: (seconds, processor) for stage, seconds, processor in marks}
    before = last.pop("")
    for stage in ("installation", "planning", "computing", "pages", "site"):
        if stage in last and last[stage][0] >= before[0]:
            seconds, processor = (one - other for one, other in zip(last[stage], before, strict=True))
            yield {"stage": stage, "seconds": round(seconds, 1), "processor": round(processor, 1)}
            before = last[stage]
    seconds, processor = before
    yield {"stage": "in all", "seconds": round(seconds, 1), "processor": round(processor, 1)}


def _processor_seconds(pid: int) -> float:
    """Of a living process and its descendants; those that have ended are counted by who waited for them."""
    total = 0.0
    try:
        leader = psutil.Process(pid)
        processes = [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return total
    for process in processes:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.Error:  # it has just ended
            continue
    return total
