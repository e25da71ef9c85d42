"""``python -m zeroshot.notebooks.server``, of which each page of a study on this machine is a copy."""

import sys

from zeroshot.runtime import copies, paths

from . import execution, warm


def main(arguments: list[str]) -> None:
    """``python -m zeroshot.notebooks.server SOCKET now|later NAME…``: serve pages of these notebooks."""
    address, when, *names = arguments
    execution.prepare_environment(1)  # as the pages, see the Snakefile
    files = [paths.notebooks() / f"{name}.ipynb" for name in names]
    copies.serve(address, lambda: warm.make_ready(files), at_once=when == "now")


if __name__ == "__main__":
    main(sys.argv[1:])
