"""Ensembl ids of genes that a data set names by symbols alone, for models that read ids."""

from collections.abc import Mapping

from zeroshot.catalog import SYMBOLS, read_gene_table
from zeroshot.models.geneformer_files import read_names
from zeroshot.models.weights import Checkpoint


def ensembl_of_symbol(checkpoint: Checkpoint) -> Mapping[str, str]:
    """Symbol to Ensembl id: by the file "gene_names" of a checkpoint, or else by HGNC."""
    names = checkpoint.files.get("gene_names")
    if names is not None:
        return read_names(names)
    table = read_gene_table(SYMBOLS)
    return dict(zip(table["symbol"], table["ensembl_id"], strict=True))
