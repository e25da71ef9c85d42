"""``python -m zeroshot.study``, which Snakemake calls for each data set of a study."""

import json
import sys
from pathlib import Path

from zeroshot import notebooks, processes, store

from .computing import compute


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.study STUDY DATASET OUTPUT THREADS``: compute for one data set."""
    study, dataset, output, threads = arguments
    notebooks.prepare_environment(int(threads))
    with processes.stopped_by_signals():  # so that nothing unfinished stays in the store
        store.write_text(Path(output), json.dumps(compute(study, dataset), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
