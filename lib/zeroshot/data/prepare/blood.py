"""Blood, labelled by clustering or by correlation with sorted populations."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from .files import Files, integers, r_matrix, r_table, read_10x, read_r


def pbmc68k_reduced() -> AnnData:
    """700 blood cells of scanpy, counts recovered from log-normalised values.

    Source: ``scanpy.datasets.pbmc68k_reduced``; ``.raw.X`` is log1p(1e4 * count / n_counts) to three
    decimals, which is enough to name each count: all lie within 0.09 of an integer.
    """
    import scanpy as sc

    with warnings.catch_warnings():
        # The packaged file was written by an old anndata; only its age is complained about.
        warnings.simplefilter("ignore")
        stored = sc.datasets.pbmc68k_reduced()
    library_size = stored.obs["n_counts"].to_numpy(np.float64)
    values = stored.raw.X.tocsr().astype(np.float64)
    per_cell = np.repeat(library_size, np.diff(values.indptr))
    values.data = integers(np.expm1(values.data) * per_cell / 1e4, tolerance=0.1)
    obs = pd.DataFrame(
        {
            "cell_type": stored.obs["bulk_labels"].astype(str),
            "batch": "pbmc68k-reduced",
            "library_size": library_size,
            "phase": stored.obs["phase"].astype(str),
        },
        index=stored.obs_names,
    )
    return AnnData(values, obs, pd.DataFrame(index=stored.raw.var_names.copy()))


# Labels of pbmc3k in the words of pbmc4k.
_PBMC3K_LABELS = {
    "Naive CD4 T": "CD4 T cells",
    "Memory CD4 T": "CD4 T cells",
    "CD14+ Mono": "CD14+ Monocytes",
    "FCGR3A+ Mono": "FCGR3A+ Monocytes",
    "B": "B cells",
    "CD8 T": "CD8 T cells",
    "NK": "NK cells",
    "DC": "Dendritic Cells",
    "Platelet": "Megakaryocytes",
}


def pbmc_3k_4k(files: Files) -> AnnData:
    """Blood in 10x v1 (3k) and v2 (4k) chemistry, labelled by the authors of two tutorials."""
    from .r_objects import RFile

    first = r_matrix(read_r(files["pbmc3k.rda"])["pbmc3k"], suffix="-1")
    labels = read_r(files["pbmc_meta.rda"])["pbmc_meta"]["classified"].astype(str).map(_PBMC3K_LABELS)
    first = first[first.obs_names.isin(labels.index)].copy()
    first.obs["cell_type"] = labels.loc[first.obs_names].to_numpy(str)

    # The other table, of 737,280 droplets, is left as it is.
    second = r_matrix(RFile(files["PBMC_sc.RData"]).read("PBMC_sc/toc"))
    labels = _pbmc4k8k_labels(files["seurat_ident_pbmc4k8k.rda"])
    # A barcode that occurs twice names two cells, one of the 4k and one of the 8k run.
    barcodes = labels.index.str.rsplit("-", n=1).str[0]
    labels = labels.set_axis(barcodes)[~barcodes.duplicated(keep=False)]
    labels = labels[labels != "Other"]
    second = second[second.obs_names.isin(labels.index)].copy()
    second.obs["cell_type"] = labels.loc[second.obs_names].to_numpy(str)

    for half in (first, second):
        half.obs["library_size"] = np.asarray(half.X.sum(axis=1)).ravel()
    both = set(second.var_names)
    genes = [gene for gene in first.var_names if gene in both]
    halves = {"pbmc3k": first[:, genes], "pbmc4k": second[:, genes]}
    matrix = sparse.vstack([half.X for half in halves.values()]).tocsr()
    obs = pd.concat(
        [half.obs.assign(batch=name).rename(index=f"{name}_{{}}".format) for name, half in halves.items()]
    )
    detected = np.asarray((matrix > 0).sum(axis=0)).ravel() > 0
    return AnnData(matrix, obs, pd.DataFrame(index=genes))[:, detected].copy()


def pbmc_12k(files: Files) -> AnnData:
    """Blood of one donor in two runs, the cells and genes of ``scvi.data.pbmc_dataset``.

    Differs: labels come from the R file that scvi-tools' pickle was made from. It lists the 8k run
    before the 4k run, so a barcode that both runs hold is given to its own run, where scvi-tools
    takes the 4k cell for both.
    """
    runs = {run: read_10x(files[f"{run}_filtered_gene_bc_matrices.tar.gz"]) for run in ("pbmc8k", "pbmc4k")}
    labels = _pbmc4k8k_labels(files["seurat_ident_pbmc4k8k.rda"])
    in_8k = labels.index.isin(runs["pbmc8k"].obs_names)
    first_of_4k = len(labels) if in_8k.all() else int(np.argmin(in_8k))
    run = pd.Series(np.where(np.arange(len(labels)) < first_of_4k, "pbmc8k", "pbmc4k"), labels.index)
    labels = labels[~labels.index.str.endswith("-11")]  # scvi-tools leaves these 49 out
    parts = []
    for name, adata in runs.items():
        mine = labels[(run[labels.index] == name).to_numpy()]
        part = adata[mine.index].copy()
        part.obs["cell_type"] = mine.to_numpy(str)
        part.obs["batch"] = name
        part.obs["library_size"] = np.asarray(part.X.sum(axis=1)).ravel()
        part.obs_names = [f"{name}_{barcode}" for barcode in part.obs_names]
        parts.append(part)
    kept = set(pd.read_csv(files["gene_info.csv"])["ENSG"])
    genes = parts[0].var["ensembl_id"].isin(kept).to_numpy()
    matrix = sparse.vstack([part.X for part in parts]).tocsr()[:, genes]
    return AnnData(matrix, pd.concat([part.obs for part in parts]), parts[0].var[genes])


def _pbmc4k8k_labels(path: Path) -> pd.Series:
    """Labels of 12,039 cells by barcode, read below the level at which rdata drops a factor's names."""
    import rdata

    factor = rdata.parser.parse_file(path).object.value[0]
    attributes, node = {}, factor.attributes
    while node is not None and node.info.type == rdata.parser.RObjectType.LIST:
        symbol = node.tag.referenced_object if node.tag.referenced_object is not None else node.tag
        attributes[symbol.value.value.decode()] = [item.value.decode() for item in node.value[0].value]
        node = node.value[1]
    levels = np.array(attributes["levels"])
    return pd.Series(levels[np.asarray(factor.value) - 1], index=attributes["names"])  # R counts from 1


def pbmc_three_chemistries(files: Files) -> AnnData:
    """Blood in three 10x chemistries; counts from log1p(1e4 * count / nUMI) of variable genes."""
    adata = r_matrix(read_r(files["pbmcs_exprs_small.rda"])["pbmcs_exprs_small"])
    cells = read_r(files["pbmcs_meta_small.rda"])["pbmcs_meta_small"].set_index("cell_id")
    cells = cells.loc[adata.obs_names]
    library_size = cells["nUMI"].to_numpy(np.float64)
    per_cell = np.repeat(library_size, np.diff(adata.X.indptr))
    adata.X.data = integers(np.expm1(adata.X.data) * per_cell / 1e4, tolerance=1e-6)
    chemistry = {"3pv1": "10x_3p_v1", "3pv2": "10x_3p_v2", "5p": "10x_5p"}
    adata.obs["cell_type"] = cells["cell_type"].to_numpy(str)
    adata.obs["batch"] = cells["donor"].astype(str).map(chemistry).to_numpy(str)
    adata.obs["library_size"] = library_size
    return adata


def pbmc_savercat(files: Files) -> AnnData:
    """Blood in three 10x kits; 10,000 genes drawn at random by the authors."""
    stored = read_r(files["pbmc_prep.rda"])["pbmc_prep"]
    adata = r_table(stored["counts"])
    cells = stored["metadata"].loc[adata.obs_names]
    adata.obs["cell_type"] = cells["celltype"].to_numpy(str)
    adata.obs["batch"] = cells["tech"].to_numpy(str)
    return adata


def kang_deepmaps(files: Files) -> AnnData:
    """Blood of lupus patients, half of it stimulated with interferon beta."""
    stored = read_r(files["ifnb_2800.rda"])["ifnb_2800"]
    adata = r_table(stored["expr"])
    cells = stored["meta"].loc[adata.obs_names]
    adata.obs["cell_type"] = cells["cell_type"].to_numpy(str)
    adata.obs["batch"] = cells["sample"].to_numpy(str)
    return adata
