"""``python -m zeroshot.notebooks``, which Snakemake calls for each page of a study."""

import json
import sys
from pathlib import Path

from zeroshot.runtime import copies, paths

from . import execution, warm
from .error import NotebookError


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.notebooks PLAN OUTPUT THREADS``: execute one planned page of a study."""
    plan_file, output, threads = arguments
    plan = json.loads(Path(plan_file).read_text())
    notebook = paths.notebooks() / f"{plan['notebook']}.ipynb"
    execution.prepare_environment(int(threads))
    waiting = None
    if copies.POSSIBLE:  # its kernel is a copy of this process, whether it is one itself or not
        warm.make_ready([notebook])
        waiting = warm.WaitingKernel()
    try:
        execution.execute(notebook, Path(output), plan["parameters"], waiting=waiting)
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if waiting is not None:
            waiting.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
