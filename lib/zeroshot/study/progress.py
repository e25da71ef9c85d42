"""How far a study is and how long it will take: a line for each finished job, from Snakemake's log."""

import re
import sys
import time
from collections.abc import Callable

# Rules of the Snakefile by the stage that a reader knows, in the order of the work; `quick_runs` has a number
# behind it for each data set.
STAGES = {
    "cells": ("cells",),
    "runs": ("first_slow_run", "slow_run", "quick_runs"),
    "mappings": ("mapping",),
    "ablations": ("ablation",),
    "trials": ("trial",),
    "UMAPs": ("umaps",),
    "pages": ("page", "early_chapter", "chapter"),
    "book": ("book",),
}
# Seconds that a job takes as long as none of its rule has ended: on small data, on one core.
_EXPECTED = {"cells": 5, "first_slow_run": 40, "slow_run": 40, "quick_runs": 40, "mapping": 40,
             "ablation": 30, "trial": 30, "umaps": 40, "page": 3, "chapter": 7, "early_chapter": 15,
             "book": 60}  # fmt: skip
_NOISE = re.compile(
    r"$|Select jobs|Execute \d+ jobs|\[\w{3} \w{3} [ \d:]+\]$|\d+ of \d+ steps|Building DAG|Using shell"
    r"|Provided (cores|remote)|Rules claiming|Assuming unrestricted|-+ +-+$|job +count$"
)


class Progress:
    """Called with each line that Snakemake prints; shows what a reader needs of it on stderr.

    Messages of jobs, and errors, are shown as they are.

    Parameters
    ----------
    cores
        How many jobs run at the same time; None where that is not known: no time is estimated then.
    clock
        Seconds from any moment on.
    """

    def __init__(self, cores: int | None, clock: Callable[[], float] = time.monotonic):
        self._cores, self._clock = cores, clock
        self._totals: dict[str, int] = {}
        self._done: dict[str, list[float]] = {}
        self._running: dict[str, tuple[float, str]] = {}
        self._in_statistics = self._in_failed_log = False
        self._begin = clock()

    def __call__(self, line: str) -> None:
        """Take one line without its end."""
        # A traceback for each line of Snakemake's own log that a full disk did not take.
        self._in_failed_log |= line == "--- Logging error ---"
        if self._in_failed_log and not line.startswith("error: "):
            self._in_failed_log = not line.startswith("Arguments: ")
        elif line == "Job stats:":
            self._in_statistics, self._totals = True, {}
        elif self._in_statistics and (count := re.match(r"(\w+) +(\d+)$", line)):
            self._count(_without_number(count[1]), int(count[2]))
        elif start := re.match(r"Job (\d+): (.*)$", line):
            self._running[start[1]] = (self._clock(), start[2])
        elif end := re.match(r"Finished jobid: (\d+) \(Rule: (\w+)\)$", line):
            begin, message = self._running.pop(end[1], (self._clock(), end[2]))
            self._done.setdefault(_without_number(end[2]), []).append(self._clock() - begin)
            self._tell(f"{self.state()} | {message}")
        elif not _NOISE.match(line):
            self._tell(line)

    def state(self) -> str:
        """For example "[ 3:12] runs 5/12, pages 0/27, about 4 min left"."""
        minutes, seconds = divmod(int(self._clock() - self._begin), 60)
        parts = [
            f"{stage} {sum(len(self._done.get(rule, ())) for rule in rules)}/{total}"
            for stage, rules in STAGES.items()
            if (total := sum(self._totals.get(rule, 0) for rule in rules))
        ]
        return f"[{minutes:2d}:{seconds:02d}] {', '.join([*parts, *self._time_left()])}"

    def _time_left(self) -> list[str]:
        if self._cores is None:
            return []
        remaining = 0.0
        for rule, total in self._totals.items():
            seconds = self._done.get(rule, [])
            mean = sum(seconds) / len(seconds) if seconds else _EXPECTED.get(rule, 3)
            remaining += mean * max(total - len(seconds), 0)
        remaining -= sum(self._clock() - begin for begin, _ in self._running.values())
        minutes = round(max(remaining, 0) / self._cores / 60)
        return [f"about {minutes} min left" if minutes else "less than a minute left"]

    def _count(self, rule: str, number: int) -> None:
        if rule != "total":
            self._totals[rule] = self._totals.get(rule, 0) + number
            return
        self._in_statistics = False
        self._tell(f"{number} jobs. {self.state()}")

    def _tell(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _without_number(rule: str) -> str:
    return re.sub(r"_\d+$", "", rule)
