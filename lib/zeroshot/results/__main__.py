"""``python -m zeroshot.results``, which Snakemake calls once all run pages of a study are executed."""

import sys
from pathlib import Path

from zeroshot import store

from .study_tables import TABLES, collect


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.results STUDY SCORES SUBSAMPLES COSTS PAGE…``: write what executed pages hold.

    One output for each of :data:`TABLES`, in that order.
    """
    study, *files = arguments
    found = collect(study, map(Path, files[len(TABLES) :]))
    for output, name in zip(files, TABLES, strict=False):  # what follows the outputs are the pages
        store.write_text(Path(output), getattr(found, name).to_csv(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
