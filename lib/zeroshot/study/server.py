"""``python -m zeroshot.study.server``, of which each job on this machine that computes is a copy."""

import importlib
import sys

from zeroshot import catalog, notebooks
from zeroshot.runtime import copies
from zeroshot.store import dependencies

# What most jobs import, torch._dynamo when a network is first used; what few of them do (scvi-tools,
# umap-learn) they import by themselves.
_NEEDED = (
    "zeroshot.study.mappings", "zeroshot.results.trial", "zeroshot.models.weights",
    "igraph", "scanpy", "sklearn.decomposition", "sklearn.linear_model", "torch._dynamo",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    """``python -m zeroshot.study.server SOCKET now|later``: serve jobs of a study."""
    address, when = arguments
    notebooks.prepare_environment(1)  # as the jobs, see the Snakefile
    copies.serve(address, _make_ready, at_once=when == "now")


def _make_ready() -> None:
    """Import what jobs need, and read the registries and the code that keys are made of."""
    for name in _NEEDED:
        importlib.import_module(name)
    catalog.studies()
    dependencies.source_hashes(dependencies.closure({"zeroshot.study.computing", "zeroshot.study.ablations"}))


if __name__ == "__main__":
    main(sys.argv[1:])
