"""``python -m zeroshot.study.server``, of which each job on this machine that computes is a copy."""

import importlib
import sys

from zeroshot import notebooks
from zeroshot.runtime import copies

# What nearly every job imports; what few of them do (scvi-tools, umap-learn) they import by themselves.
_NEEDED = (
    "zeroshot.study.mappings", "zeroshot.results.trial",
    "igraph", "scanpy", "sklearn.decomposition", "sklearn.linear_model", "torch",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    """``python -m zeroshot.study.server SOCKET``: serve jobs of a study."""
    (address,) = arguments
    notebooks.prepare_environment(1)  # as the jobs, see the Snakefile
    copies.serve(address, lambda: [importlib.import_module(name) for name in _NEEDED])


if __name__ == "__main__":
    main(sys.argv[1:])
