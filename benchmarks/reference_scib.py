"""Scores by scib, the paper's library, for comparison: ``python -m benchmarks.reference_scib``.

scib and its Louvain need other packages than the project, so they get an environment of their own. What
they make of the principal components of the embedded data sets is kept in ``data/references/scib.json``,
which the chapter on metrics shows and the tests hold our metrics against.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from anndata import AnnData

from zeroshot import catalog, data, pipeline, store
from zeroshot.runtime import paths

REQUIREMENTS = ("scib==1.1.7", "louvain==0.8.2", "leidenalg==0.10.2", "scanpy==1.11.5", "setuptools==80.9.0")
OUTPUT = paths.home() / "data" / "references" / "scib.json"


def main() -> None:
    """Install scib where it is not, score, and write the reference."""
    python = environment()
    sets = [card.name for card in catalog.datasets().values() if card.source != "files"]
    rows = []
    for name in sets:
        adata = data.load(name)
        principal = pipeline.embed(adata, "pca").load("embedding")
        given = AnnData(np.zeros((adata.n_obs, 1), np.float32), obs=adata.obs[["cell_type", "batch"]])
        given.obsm["X"] = principal
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "cells.h5ad"
            given.write_h5ad(file)
            script = Path(__file__).with_name("scib_scores.py")
            printed = subprocess.run([python, script, file], capture_output=True, check=True).stdout
        found = json.loads(printed)
        hashed = adata.uns["dataset"]["content_hash"]
        rows += [
            {"dataset": name, "data": hashed, "model": "pca", "metric": metric, "value": value}
            for metric, value in found.pop("values").items()
        ]
    store.write_text(OUTPUT, json.dumps({"versions": found, "scores": rows}, indent=1) + "\n")
    print(OUTPUT)


def environment() -> Path:
    """Python of the environment that scib is in, installed at the first call."""
    folder = paths.build() / "benchmarks" / "scib"
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


if __name__ == "__main__":
    main()
