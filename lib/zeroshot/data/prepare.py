"""From the source files, as their authors publish them, to counts, labels and batches.

One function per data set: ``files`` maps file names to paths, the result holds raw counts in ``X``,
``obs["cell_type"]``, ``obs["batch"]`` and ``obs["library_size"]`` where the source knows more genes
than it gives counts for. :mod:`zeroshot.data.validate` checks and completes what comes back.

Nothing in a file is executed: R files are parsed as data by ``rdata`` with its default constructors,
and pickles are not read at all.
"""

import io
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.error import DataError
from zeroshot.data.h5ad import read_h5ad_parts

PACKAGES = ("anndata", "h5py", "numpy", "pandas", "rdata", "scanpy", "scipy")

Files = Mapping[str, Path]


# -- embedded ---------------------------------------------------------------------------------------


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
    values.data = _integers(np.expm1(values.data) * per_cell / 1e4, tolerance=0.1)
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


# -- five small real sets ---------------------------------------------------------------------------


def celllines_scmixology(files: Files) -> AnnData:
    """Five lung cancer cell lines in five batches, singlets by genotype (demuxlet)."""
    sources = {
        "celseq2_3cl": "sc_celseq2",
        "dropseq_3cl": "sc_dropseq",
        "celseq2_5cl_p1": "sc_celseq2_5cl_p1",
        "celseq2_5cl_p2": "sc_celseq2_5cl_p2",
        "celseq2_5cl_p3": "sc_celseq2_5cl_p3",
    }
    counts, labels = {}, {}
    for batch, stem in sources.items():
        table = pd.read_csv(files[f"{stem}.count.csv.gz"], index_col=0)
        cells = pd.read_csv(files[f"{stem}.metadata.csv.gz"], index_col=0)
        singlets = cells.index[cells["demuxlet_cls"] == "SNG"]
        counts[batch] = table[singlets]
        labels[batch] = cells.loc[singlets, "cell_line_demuxlet"].to_numpy(str)
    # The Ensembl ids that every file has, in the order of the first; spike-ins fall out by this.
    shared = set.intersection(*(set(table.index) for table in counts.values()))
    genes = [gene for gene in counts["celseq2_3cl"].index if gene in shared]
    obs = pd.DataFrame(
        {
            "cell_type": np.concatenate(list(labels.values())),
            "batch": np.repeat(list(counts), [table.shape[1] for table in counts.values()]),
        },
        # Wells carry the same names on every plate, so the batch goes in front.
        index=[f"{batch}_{cell}" for batch, table in counts.items() for cell in table.columns],
    )
    matrix = sparse.vstack([sparse.csr_matrix(table.loc[genes].to_numpy().T) for table in counts.values()])
    return AnnData(matrix, obs, pd.DataFrame({"ensembl_id": genes}, index=genes))


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
    first = _r_matrix(_read_r(files["pbmc3k.rda"])["pbmc3k"], suffix="-1")
    labels = _read_r(files["pbmc_meta.rda"])["pbmc_meta"]["classified"].astype(str).map(_PBMC3K_LABELS)
    first = first[first.obs_names.isin(labels.index)].copy()
    first.obs["cell_type"] = labels.loc[first.obs_names].to_numpy(str)

    second = _r_matrix(_read_r(files["PBMC_sc.RData"])["PBMC_sc"]["toc"])
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


def pbmc_three_chemistries(files: Files) -> AnnData:
    """Blood in three 10x chemistries; counts from log1p(1e4 * count / nUMI) of variable genes."""
    adata = _r_matrix(_read_r(files["pbmcs_exprs_small.rda"])["pbmcs_exprs_small"])
    cells = _read_r(files["pbmcs_meta_small.rda"])["pbmcs_meta_small"].set_index("cell_id")
    cells = cells.loc[adata.obs_names]
    library_size = cells["nUMI"].to_numpy(np.float64)
    per_cell = np.repeat(library_size, np.diff(adata.X.indptr))
    adata.X.data = _integers(np.expm1(adata.X.data) * per_cell / 1e4, tolerance=1e-6)
    chemistry = {"3pv1": "10x_3p_v1", "3pv2": "10x_3p_v2", "5p": "10x_5p"}
    adata.obs["cell_type"] = cells["cell_type"].to_numpy(str)
    adata.obs["batch"] = cells["donor"].astype(str).map(chemistry).to_numpy(str)
    adata.obs["library_size"] = library_size
    return adata


def pbmc_sorted(files: Files) -> AnnData:
    """Seven sorted blood populations; counts from log2(1e6 * count / sum + 1)."""
    stored = _read_r(files["pbmc14k_expression.eset.rda"])["pbmc14k_expression.eset"]
    adata = _r_matrix(stored.assayData.maps[0]["exprs"])
    cells = stored.phenoData.data
    if list(cells.index) != list(adata.obs_names):
        raise DataError("pbmc-sorted: cells of the matrix and of the table differ in order. Report this.")
    # The sum the values were scaled by is not published, but each cell has a gene counted once.
    values = np.expm1(adata.X.data * np.log(2))
    smallest = np.minimum.reduceat(values, adata.X.indptr[:-1])
    per_cell = np.repeat(smallest, np.diff(adata.X.indptr))
    adata.X.data = _integers(values / per_cell, tolerance=1e-6)
    adata.obs["cell_type"] = cells["trueLabel"].to_numpy(str)
    adata.obs["batch"] = "pbmc-sorted"
    adata.obs["library_size"] = cells["nUMI"].to_numpy(np.float64)
    return adata


def pancreas_two_studies(files: Files) -> AnnData:
    """Pancreas by inDrop (Baron, UMIs) and by Smart-seq2 (Segerstolpe, reads)."""
    baron = _read_r(files["Baron_scRNA.RData"])
    segerstolpe = _read_r(files["Seg_scRNA.RData"])
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


# -- the paper's five -------------------------------------------------------------------------------


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


def pbmc_12k(files: Files) -> AnnData:
    """Blood of one donor in two runs, the cells and genes of ``scvi.data.pbmc_dataset``.

    Differs: labels come from the R file that scvi-tools' pickle was made from. It lists the 8k run
    before the 4k run, so a barcode that both runs hold is given to its own run, where scvi-tools
    takes the 4k cell for both.
    """
    runs = {run: _read_10x(files[f"{run}_filtered_gene_bc_matrices.tar.gz"]) for run in ("pbmc8k", "pbmc4k")}
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


def pbmc_95k(files: Files) -> AnnData:
    """Ten sorted blood populations, one 10x run each."""
    suffix = "_filtered_gene_bc_matrices.tar.gz"
    parts = {name.removesuffix(suffix): _read_10x(path) for name, path in sorted(files.items())}
    obs = pd.concat(
        [part.obs.assign(cell_type=name).rename(index=f"{name}_{{}}".format) for name, part in parts.items()]
    ).assign(batch="pbmc-95k")
    matrix = sparse.vstack([part.X for part in parts.values()])
    return AnnData(matrix, obs, next(iter(parts.values())).var)


def tabula_sapiens(files: Files) -> AnnData:
    """Tabula Sapiens release 1; the .h5ad lies in a zip file."""
    with tempfile.TemporaryDirectory(dir=files["TabulaSapiens.h5ad.zip"].parent) as folder:
        unpacked = Path(folder, "TabulaSapiens.h5ad")
        with zipfile.ZipFile(files["TabulaSapiens.h5ad.zip"]) as archive:
            member = next(name for name in archive.namelist() if name.endswith("TabulaSapiens.h5ad"))
            with archive.open(member) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target)
        adata = read_h5ad_parts(unpacked, "layers/raw_counts")
    adata.obs = adata.obs.rename(columns={"cell_ontology_class": "cell_type", "donor": "batch"})
    adata.obs = adata.obs[adata.obs.columns.intersection(["cell_type", "batch", "organ_tissue", "method"])]
    return adata


# -- reading ----------------------------------------------------------------------------------------


def _integers(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Round recovered counts, refusing to guess where they are not close to integers."""
    rounded = np.rint(values)
    farthest = float(np.abs(values - rounded).max(initial=0))
    if farthest > tolerance:
        raise DataError(
            f"counts could not be recovered: a value lies {farthest:.3g} from an integer, {tolerance:g} is "
            "the most this source has shown. The source has changed."
        )
    return rounded


def _read_r(path: Path) -> dict[str, Any]:
    """Objects of an .rda or .RData file by name; classes rdata does not know come back as plain data."""
    import rdata

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Missing constructor for R class")
        return rdata.read_rda(path, default_encoding="utf8")


def _r_matrix(matrix: SimpleNamespace, suffix: str = "") -> AnnData:
    """A dgCMatrix or dgTMatrix, genes x cells in R, as cells x genes in CSR."""
    genes, cells = (np.asarray(names, dtype=str) for names in matrix.Dimnames)
    shape = tuple(matrix.Dim)
    if hasattr(matrix, "p"):
        # The columns of R's matrix are the rows of ours: the same three arrays, read as CSR.
        counts = sparse.csr_matrix((matrix.x, matrix.i, matrix.p), shape=shape[::-1])
    else:
        counts = sparse.csr_matrix((matrix.x, (matrix.j, matrix.i)), shape=shape[::-1])
    obs = pd.DataFrame(index=pd.Index(cells).str.removesuffix(suffix))
    return AnnData(counts.astype(np.float64), obs, pd.DataFrame(index=genes))


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


def _read_10x(path: Path) -> AnnData:
    """A Cell Ranger 1-2 archive (matrix.mtx, genes.tsv, barcodes.tsv), read without unpacking to disk."""
    from anndata.utils import make_index_unique
    from scipy.io import mmread

    with tarfile.open(path) as archive:
        held = {Path(member.name).name: member for member in archive if member.isfile()}
        missing = {"matrix.mtx", "genes.tsv", "barcodes.tsv"} - set(held)
        if missing:
            raise DataError(f"{path} is no 10x matrix archive: it lacks {', '.join(sorted(missing))}")
        content = {name: io.BytesIO(archive.extractfile(held[name]).read()) for name in held}
    genes = pd.read_csv(content["genes.tsv"], sep="\t", names=["ensembl_id", "symbol"])
    barcodes = pd.read_csv(content["barcodes.tsv"], names=["barcode"])["barcode"]
    var = pd.DataFrame(
        # Some symbols name two Ensembl ids: the later one gets a suffix, as scanpy does.
        {"ensembl_id": genes["ensembl_id"].to_numpy(str)},
        index=make_index_unique(pd.Index(genes["symbol"].astype(str))),
    )
    counts = sparse.csr_matrix(mmread(content["matrix.mtx"]).T)
    return AnnData(counts.astype(np.float64), pd.DataFrame(index=barcodes.to_numpy(str)), var)
