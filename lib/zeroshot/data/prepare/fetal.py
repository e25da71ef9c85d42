"""Fetal tissues."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.error import DataError
from zeroshot.data.h5ad import read_h5ad_parts

from .files import Files, counts_from_smallest

_GEACT_TISSUES = ("bladder", "bone_marrow", "bronchus", "diaphragm", "esophagus", "large_intestine", "thymus")


def geact_fetal(files: Files) -> AnnData:
    """Seven fetal tissues (GeACT); each was clustered by itself, so a type is one of its tissue."""
    tables, types = {}, {}
    for tissue in _GEACT_TISSUES:
        counts = pd.read_csv(files[f"{tissue}_UMIcount_filtered.txt.gz"], sep="\t", index_col=0)
        cells = pd.read_csv(files[f"{tissue}_Seurat_metaData.txt"], sep="\t", index_col=0)
        name = tissue.replace("_", " ")
        tables[name], types[name] = counts, cells["ident"].reindex(counts.columns)
    # A gene that a file lacks was removed by its authors as absent or rare in that tissue: none is counted.
    genes = pd.Index(sorted(set.union(*(set(table.index) for table in tables.values()))))
    matrix = sparse.vstack([_in_columns_of(genes, table) for table in tables.values()]).tocsr()
    obs = pd.concat(
        [
            pd.DataFrame(
                {"cell_type": tissue + ": " + types[tissue], "batch": "geact-fetal", "tissue": tissue},
                index=table.columns,
            )
            for tissue, table in tables.items()
        ]
    )
    return AnnData(matrix, obs, pd.DataFrame(index=genes))


def _in_columns_of(genes: pd.Index, table: pd.DataFrame) -> sparse.coo_matrix:
    """Genes x cells as cells x ``genes``."""
    counts = sparse.coo_matrix(table.to_numpy(np.float64).T)
    columns = genes.get_indexer(table.index)[counts.col]
    return sparse.coo_matrix((counts.data, (counts.row, columns)), shape=(table.shape[1], len(genes)))


def cortex_culture(files: Files) -> AnnData:
    """Fetal cortex in culture; counts from log1p(1e4 * count / sum) of variable genes."""
    parts = [read_h5ad_parts(files[name], "X") for name in ("test.h5ad", "val.h5ad")]
    if any(list(part.var_names) != list(parts[0].var_names) for part in parts):
        raise DataError("cortex-culture: the genes of its two files differ. Report this.")
    obs = pd.concat([part.obs for part in parts])
    values = sparse.vstack([sparse.csr_matrix(part.X, dtype=np.float64) for part in parts]).tocsr()
    values.data = np.expm1(values.data)
    counts = counts_from_smallest(values, tolerance=1e-3)
    genes = parts[0].var
    kept = pd.DataFrame(
        {
            "cell_type": obs["cell_type"].astype(str),
            "batch": obs["sample_id"].astype(str),
            "library_size": obs["total_UMIs"].astype(np.float64),
        }
    )
    var = pd.DataFrame({"ensembl_id": genes.index.to_numpy(str)}, index=genes["feature_name"].to_numpy(str))
    adata = AnnData(counts, kept, var)
    return adata[kept["cell_type"].ne("unknown").to_numpy()].copy()
