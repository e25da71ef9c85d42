"""``python -m zeroshot.study``, which Snakemake calls for the jobs of a study that compute or join tables."""

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zeroshot import notebooks, results, store
from zeroshot.results import trial
from zeroshot.runtime import failures, processes

from . import ablations, computing, mappings


def _join_runs(parameters: dict[str, Any], directory: Path, policy: store.Policy) -> None:
    """Make the tables of a study of those of its runs and mappings, or of the committed ones."""
    if parameters["source"] == "committed":
        results.copy_committed(parameters["study"])
    else:
        folders = [[directory / job for job in parameters[kind]] for kind in ("runs", "mappings")]
        results.concatenate(parameters["study"], *folders)


def _join_ablations(parameters: dict[str, Any], directory: Path, policy: store.Policy) -> None:
    ablations.concatenate(parameters["study"], parameters["units"])


# What each job calls with the parameters of its plan, the file or directory to write, and the policy.
JOBS: dict[str, Callable[[dict[str, Any], Path, store.Policy], None]] = {
    "cells": computing.prepare_cells,
    "run": computing.compute_run,
    "umaps": computing.compute_umaps,
    "mapping": mappings.compute,
    "ablation": ablations.compute_unit,
    "trial": trial.compute,
    "tables": _join_runs,
    "ablations": _join_ablations,
}


def main(arguments: list[str]) -> int:
    """Do jobs of one kind as their plan files say; after one that fails, the others all the same.

    ``python -m zeroshot.study JOB POLICY THREADS PLAN OUTPUT [PLAN OUTPUT ...]``, with a job of :data:`JOBS`.
    """
    job, policy, threads, *files = arguments
    notebooks.prepare_environment(int(threads))
    with processes.stopped_by_signals():  # so that nothing unfinished stays in the store
        pairs = zip(files[::2], files[1::2], strict=True)
        done = [_do(job, policy, Path(plan), Path(output)) for plan, output in pairs]
    return 0 if all(done) else 1


def _do(job: str, policy: store.Policy, plan: Path, output: Path) -> bool:
    """Whether the job could be done; if not, why is printed."""
    parameters = json.loads(plan.read_text())["parameters"]
    try:
        JOBS[job](parameters, output, policy)
    except Exception as error:
        text, code = failures.explain(error)
        if code == failures.UNEXPECTED:
            traceback.print_exc()
        parts = ("model", "query", "dataset", "reference")
        what = [parameters[name] for name in parts if name in parameters] or [job]
        print(f"{' on '.join(what)} failed: {text}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
