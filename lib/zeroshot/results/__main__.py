"""``python -m zeroshot.results``, which Snakemake calls for the tables of a study."""

import sys
from pathlib import Path

from zeroshot import catalog

from . import tables


def main(arguments: list[str]) -> int:
    """Write the tables of a study.

    ``python -m zeroshot.results committed STUDY`` copies those in ``data/scores``;
    ``python -m zeroshot.results computed STUDY DIRECTORY…`` concatenates those of its runs.
    """
    source, study, *directories = arguments
    catalog.study(study)
    if source == "committed":
        tables.copy_committed(study)
    else:
        tables.concatenate(study, map(Path, directories))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
