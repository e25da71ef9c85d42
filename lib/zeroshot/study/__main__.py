"""``python -m zeroshot.study``, which Snakemake calls for the jobs of a study that compute."""

import json
import sys
import traceback
from pathlib import Path

from zeroshot import notebooks, store
from zeroshot.runtime import failures, processes

from .computing import compute_run, compute_umaps, prepare_cells


def main(arguments: list[str]) -> int:
    """Do one job as its plan file says.

    ``python -m zeroshot.study cells PLAN OUTPUT POLICY THREADS`` prepares the cells of a data set;
    ``python -m zeroshot.study run PLAN DIRECTORY POLICY THREADS`` computes a run;
    ``python -m zeroshot.study umaps PLAN OUTPUT POLICY THREADS`` projects the embeddings of a data set.
    """
    job, plan, output, policy, threads = arguments
    notebooks.prepare_environment(int(threads))
    parameters = json.loads(Path(plan).read_text())["parameters"]
    try:
        with processes.stopped_by_signals():  # so that nothing unfinished stays in the store
            if job == "run":
                compute_run(parameters, Path(output), policy)
            else:
                done = prepare_cells if job == "cells" else compute_umaps
                content = {"dataset": parameters["dataset"], job: done(parameters, policy)}
                store.write_text(Path(output), json.dumps(content, indent=1) + "\n")
    except Exception as error:
        text, code = failures.explain(error)
        if code == failures.UNEXPECTED:
            traceback.print_exc()
        name = f"{parameters['model']} on " if "model" in parameters else ""
        print(f"{name}{parameters['dataset']} failed: {text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
