"""``python -m zeroshot.study.ablations.concatenation``, which Snakemake calls once all units are computed."""

import sys
from pathlib import Path

from .tables import concatenate, write


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.study.ablations.concatenation OUTPUT_DIRECTORY UNIT_DIRECTORY…`` joins tables."""
    output, *units = map(Path, arguments)
    write(concatenate(units), output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
