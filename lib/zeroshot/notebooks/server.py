"""``python -m zeroshot.notebooks.server``, of which each page of a study on this machine is a copy."""

import sys

from zeroshot.runtime import copies, paths

from . import execution, warm


def main(arguments: list[str]) -> None:
    """``python -m zeroshot.notebooks.server SOCKET NAME…``: serve pages of the notebooks of these names."""
    address, *names = arguments
    execution.prepare_environment(1)  # as the pages, see the Snakefile
    copies.serve(address, lambda: warm.make_ready(paths.notebooks() / f"{name}.ipynb" for name in names))


if __name__ == "__main__":
    main(sys.argv[1:])
