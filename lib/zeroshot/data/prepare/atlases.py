"""Atlases of many organs."""

import shutil
import tempfile
import zipfile
from pathlib import Path

from anndata import AnnData

from zeroshot.data.h5ad import read_h5ad_parts

from .files import Files


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
