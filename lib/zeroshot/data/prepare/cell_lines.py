"""Cell lines, whose identity needs no clustering."""

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from .files import Files


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
