"""Scores of an .h5ad file as scib computes them; runs in scib's own environment, see reference_scib.py.

Reads ``obsm["X"]``, ``obs["cell_type"]`` and ``obs["batch"]``, prints JSON.
"""

import contextlib
import json
import sys
import warnings
from importlib.metadata import version

import anndata
import scanpy as sc
import scib

warnings.filterwarnings("ignore")


def main(path: str) -> dict[str, float]:
    adata = anndata.read_h5ad(path)
    sc.pp.neighbors(adata, n_neighbors=15, use_rep="X", random_state=0)
    values = {"asw_label": scib.me.silhouette(adata, "cell_type", "X")}
    values["graph_connectivity"] = scib.me.graph_connectivity(adata, "cell_type")
    for suffix, cluster in (("", sc.tl.louvain), ("_leiden", sc.tl.leiden)):
        scib.cl.cluster_optimal_resolution(
            adata, "cell_type", "cluster", cluster_function=cluster, use_rep="X", verbose=False, force=True
        )
        values[f"nmi{suffix}"] = scib.me.nmi(adata, "cluster", "cell_type")
        values[f"ari{suffix}"] = scib.me.ari(adata, "cluster", "cell_type")
    if adata.obs["batch"].nunique() > 1:
        values["batch_integration_score"] = scib.me.silhouette_batch(
            adata, "batch", "cell_type", "X", verbose=False
        )
        values["pcr"] = scib.me.pc_regression(adata.obsm["X"], adata.obs["batch"], n_comps=50)
    return {name: float(value) for name, value in values.items()}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # scib reports on stdout
        scores = main(sys.argv[1])
    print(json.dumps({"scib": version("scib"), "scanpy": version("scanpy"), "values": scores}))
