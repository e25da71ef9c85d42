"""The stamp at the foot of a page: where its numbers come from and the command that re-runs it."""

import json
import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anndata import AnnData

from zeroshot import store
from zeroshot.runtime import paths, templates
from zeroshot.store.hashing import sha256

MIME = "application/vnd.zeroshot.notebooks.stamp+json"


class Stamp:
    """A record that shows itself in a notebook and can be read back from the executed file."""

    def __init__(self, record: dict[str, Any]):
        self.record = record

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/html": self.to_html(), "text/plain": repr(self), MIME: self.record}

    def __repr__(self) -> str:
        return f"Stamp({json.dumps(self.record, sort_keys=True)})"

    def to_html(self) -> str:
        """A folded table; every value escaped."""
        versions = {"python": self.record["python"]} | self.record["packages"]
        return templates.render("notebooks/stamp.html", record=self.record, versions=versions)


def stamp(
    notebook: str,
    adata: AnnData | Mapping[str, AnnData] | None = None,
    artifacts: Iterable[store.Artifact] = (),
    **parameters: Any,
) -> Stamp:
    """Stamp a page.

    Parameters
    ----------
    notebook
        Name of the notebook without suffix, for example "run".
    adata
        The cells the page read, for their content hash; several data sets by name.
    artifacts
        Stored results the page used.
    parameters
        The page's parameters as it ran with them.
    """
    artifacts = list(artifacts)
    sets = adata if isinstance(adata, Mapping) else {"": adata} if adata is not None else {}
    hashes = [f"{name} {cells.uns['dataset']['content_hash']}".strip() for name, cells in sets.items()]
    scores = paths.study(parameters["study"]) / "scores.csv" if "study" in parameters else None
    record = store.measure(time.time() - _process_start())
    costs = ("stage", "seconds", "peak_memory_mb")
    record |= {
        "notebook": notebook,
        "parameters": parameters,
        "data": ", ".join(hashes) or None,
        "n_cells": sum(cells.n_obs for cells in sets.values()) or None,
        "scores": sha256(scores) if scores is not None and scores.is_file() else None,
        "artifacts": [
            {"key": artifact.key} | {name: artifact.provenance[name] for name in costs}
            for artifact in artifacts
        ],
        "command": command(notebook, parameters),
    }
    return Stamp(record)


def command(notebook: str, parameters: dict[str, Any]) -> str:
    """The shell command that executes a page again, by itself."""
    options = [f"-p {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in parameters.items()]
    return " ".join([f"zeroshot notebook {notebook}", *options, f"--output {notebook}-again.ipynb"])


def read(executed: Path) -> dict[str, Any]:
    """The stamp of an executed notebook.

    Raises
    ------
    ValueError
        If the notebook has none: it was not executed to its end.
    """
    for cell in reversed(json.loads(executed.read_text())["cells"]):
        for output in cell.get("outputs", ()):
            if MIME in output.get("data", {}):
                return output["data"][MIME]
    raise ValueError(f"{executed} carries no stamp: execute it with `zeroshot notebook`")


def _process_start() -> float:
    import psutil

    return psutil.Process().create_time()
