"""Kernels that are copies of a process that has imported what their notebooks need.

The imports of a page take longer than its cells.
"""

import ast
import builtins
import contextlib
import importlib
import json
import os
import runpy
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

from zeroshot import catalog
from zeroshot.runtime.copies import Copy

# What executes a notebook, and what a kernel is.
_TOOLS = ("papermill", "nbclient", "jupyter_client.provisioning.local_provisioner", "ipykernel.kernelapp")


def make_ready(notebooks: Iterable[Path]) -> None:
    """Import what notebooks import, and read the registries and the code that their pages look up."""
    # As a kernel does, and before matplotlib is imported, which reads it once.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    with _as_in_a_kernel():
        import nbformat

        from zeroshot.store import dependencies

        for name in _TOOLS:
            importlib.import_module(name)
        for notebook in notebooks:
            content = nbformat.read(notebook, as_version=4)  # compiles what it checks notebooks by
            for cell in content["cells"]:
                if cell["cell_type"] == "code":
                    _import_as(cell["source"])
            if content["metadata"].get("zeroshot", {}).get("cells"):  # it finds stored results by their keys
                dependencies.source_hashes(dependencies.modules_of_notebook(notebook))
    catalog.studies()


@contextlib.contextmanager
def _as_in_a_kernel() -> Iterator[None]:
    """Pandas asks when it is imported whether it is in a kernel: how many columns it shows depends on it."""
    builtins.get_ipython = lambda: SimpleNamespace(kernel=None)
    try:
        yield
    finally:
        del builtins.get_ipython


def _import_as(source: str) -> None:
    """Import the modules that a cell imports at its top level; what cannot be imported its page will name."""
    with contextlib.suppress(Exception):
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                package = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(package, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")


class WaitingKernel:
    """A copy of this process that becomes a kernel when it gets its command.

    Make it before this process starts threads, as it does when it executes a notebook.
    """

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        self.process = Copy(self._become_kernel)
        os.close(self._reads)

    def start(self, command: list[str]) -> Copy:
        """Become the kernel that ``python -m`` would start with a command: a module and arguments."""
        os.write(self._writes, json.dumps(command).encode())
        self.close()
        return self.process

    def close(self) -> None:
        """End it if it was not started."""
        if self._writes is not None:
            os.close(self._writes)
            self._writes = None

    def _become_kernel(self) -> int:
        os.close(self._writes)
        with os.fdopen(self._reads) as file:
            text = file.read()
        if not text:
            return 0
        os.setsid()
        sys.argv = json.loads(text)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        return 0
