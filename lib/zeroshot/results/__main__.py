"""``python -m zeroshot.results committed STUDY``: a study's tables, taken from those that git keeps."""

import sys

from zeroshot import catalog

from . import tables


def main(arguments: list[str]) -> int:
    """Copy the tables of ``data/scores/STUDY`` to where a run of the study would have written them."""
    if len(arguments) != 2 or arguments[0] != "committed":
        print("use: python -m zeroshot.results committed STUDY", file=sys.stderr)
        return 2
    catalog.study(arguments[1])
    tables.copy_committed(arguments[1])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
