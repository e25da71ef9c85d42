"""Vectors of genes, of every model that has them: tokens of networks, texts, components of a data set.

A family that makes vectors of its own has a method ``gene_vectors``
(:class:`zeroshot.models.gene_vectors.HasGeneVectors`). Of networks the rows of a released tensor are read,
without building the network: it is named here, beside the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zeroshot import catalog, models, store
from zeroshot.catalog import SYMBOLS, read_gene_table
from zeroshot.models import Cells, scmulan, scprint, tgpt
from zeroshot.models.gene_vectors import GeneVectors, HasGeneVectors
from zeroshot.models.nicheformer import FIRST_GENE
from zeroshot.models.uce_genome import read_genome
from zeroshot.models.untrained import gene_rows
from zeroshot.models.weights import (
    Checkpoint,
    WeightsError,
    read_content,
    read_dictionary,
    read_genes,
    read_state,
)
from zeroshot.models.weights.files import REMEDY, read_json
from zeroshot.models.weights.state import require_finite

if TYPE_CHECKING:
    from torch import Tensor

PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl", "torch")

FORMATS = (".csv", ".csv.gz", ".h5ad")
_MIN_CELLS = 10  # in which a gene is detected, to have a vector made of a data set
_MOST_CELLS = 500  # a gene's vector has a value for each
_COMPONENTS = 50
_DIM_OF_RANDOM = 50


class GeneVectorsError(ValueError):
    """A model has no gene vectors, or needs a data set to make them of."""


def gene_vectors(
    model: str,
    recipe: str | None = None,
    *,
    cells: Cells | None = None,
    weights: Path | None = None,
    seed: int = 0,
) -> GeneVectors:
    """Gene vectors of a model.

    Parameters
    ----------
    model, recipe, weights
        As for :func:`zeroshot.models.load`.
    cells
        A data set: required by baselines, whose vectors are made of it; of models with vectors of texts
        only its genes are taken.
    seed
        Of random vectors.

    Raises
    ------
    GeneVectorsError
        If the model has none, or needs a data set.
    zeroshot.catalog.CatalogError
        If there is no such model or recipe.
    zeroshot.models.weights.WeightsError
        If the weights cannot be had, or do not hold what is expected.
    """
    card = catalog.model(model)
    catalog.find(card.recipes, recipe or card.recipe, f"recipe of {model}")
    if reason := without_vectors(card):
        raise GeneVectorsError(
            f"{reason}. Choose another --model, for example scgpt-small, geneformer-small or pca"
        )
    family = card.implementation
    if needs_cells(card):
        if cells is None:
            raise GeneVectorsError(
                f"the gene vectors of {model} are made of cells: name a data set (--dataset)"
            )
        return _OF_DATA_SETS[family](cells, seed)
    if family in _OF_NETWORKS:
        names, tensor, origin = _OF_NETWORKS[family](models.find_checkpoint(card, recipe, weights))
        if len(names) != len(tensor):
            raise WeightsError(
                f"the vocabulary of {model} has {len(names):,} genes, its weights {len(tensor):,} rows: they "
                f"are not of the same release. {REMEDY}"
            )
        return GeneVectors(pd.Index(names), tensor.float().numpy(), origin)
    return models.load(model, recipe, weights=weights).gene_vectors(cells, seed)


def without_vectors(card: catalog.ModelCard) -> str | None:
    """Why a model has no gene vectors; None if it has."""
    if card.twin_of:
        return f"{card.name} was never trained: its gene vectors are random numbers, as those of `random` are"
    if card.implementation is None:
        return f"{card.name} is made from labels and has no gene vectors"
    if needs_cells(card) or card.implementation in _OF_NETWORKS:
        return None
    if issubclass(models.implementation(card), HasGeneVectors):
        return None
    return f"{card.name} has no vectors of genes, or none that this book reads"


def needs_cells(card: catalog.ModelCard) -> bool:
    """Whether a model's gene vectors are made of a data set."""
    return card.implementation in _OF_DATA_SETS


def format_of(path: Path) -> str:
    """The one of ``FORMATS`` that the name of a file ends with.

    Raises
    ------
    GeneVectorsError
        With the formats that it can.
    """
    if not path.name.endswith(FORMATS):
        raise GeneVectorsError(
            f"{path} has no known format: end its name with one of {', '.join(FORMATS)} for gene vectors"
        )
    return next(end for end in FORMATS if path.name.endswith(end))


def write(vectors: GeneVectors, path: Path, kind: str) -> None:
    """Write gene vectors as a table (gene, symbol, a column per axis), or as AnnData with a row per gene.

    ``kind`` is one of ``FORMATS``.
    """
    if kind == ".h5ad":
        from anndata import AnnData

        obs = pd.DataFrame({"symbol": vectors.symbols().astype(str)}, index=vectors.names.astype(str))
        adata = AnnData(vectors.vectors, obs=obs, uns={"origin": vectors.origin})
        store.write_cells(path, adata, compression="gzip")
        return
    table = pd.DataFrame(vectors.vectors, index=vectors.names.rename("gene"))
    table.insert(0, "symbol", vectors.symbols())
    compression = "gzip" if kind == ".csv.gz" else None
    table.to_csv(path, float_format="%.6g", compression=compression)


# -- of a data set -----------------------------------------------------------------------------------


def profiles(cells: Cells, seed: int) -> GeneVectors:
    """Standardised log-normalised values of each gene over the cells: their cosine is the correlation.

    Of more than 500 cells 500 are drawn. Genes detected in fewer than 10 cells, or of the same value in all,
    have no vector.
    """
    n_cells = cells.counts.shape[0]
    if n_cells > _MOST_CELLS:
        rows = np.sort(np.random.default_rng(seed).choice(n_cells, _MOST_CELLS, replace=False))
        cells = replace(
            cells,
            counts=cells.counts[rows],
            ids=cells.ids[rows],
            library_size=cells.library_size[rows],
            batches=None,
        )
    values, names = _standardised(cells)
    return GeneVectors(names, values.T.copy(), f"standardised expression over {len(values):,} cells")


def loadings(cells: Cells, seed: int) -> GeneVectors:
    """Loadings of the standardised genes on their first 50 principal components, times the singular values.

    The product of two vectors approximates the correlation of the genes.
    """
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    values, names = _standardised(cells)
    n_components = min(_COMPONENTS, min(values.shape) - 1)
    with threadpool_limits(1):  # other threads, other rounding
        svd = TruncatedSVD(n_components, random_state=seed).fit(values)
    vectors = (svd.components_ * svd.singular_values_[:, None]).T / np.sqrt(len(values))
    return GeneVectors(names, vectors.astype(np.float32), f"loadings on {n_components} principal components")


def _random(cells: Cells, seed: int) -> GeneVectors:
    names = cells.genes.astype(str)
    return GeneVectors(names, gene_rows(list(names), _DIM_OF_RANDOM, seed), "random numbers")


def _standardised(cells: Cells) -> tuple[np.ndarray, pd.Index]:
    """(cells, genes) float32 with mean 0 and variance 1 of each gene, and the names of the genes.

    Raises
    ------
    GeneVectorsError
        If fewer than two genes can be compared.
    """
    detected = cells.detected(_MIN_CELLS)
    values = cells.log_normalized()[:, detected].toarray()
    spread = values.std(axis=0)
    varying = np.ptp(values, axis=0) > 0  # the spread of equal values may be a rounding error
    if varying.sum() < 2:
        raise GeneVectorsError(
            f"{varying.sum()} genes differ between {len(values):,} cells; at least 2 are needed, detected in "
            f"{_MIN_CELLS} cells each. Give a data set of more cells or genes"
        )
    values = (values[:, varying] - values[:, varying].mean(axis=0)) / spread[varying]
    return values.astype(np.float32), cells.genes[detected][varying].astype(str)


_OF_DATA_SETS: Mapping[str, Callable[[Cells, int], GeneVectors]] = MappingProxyType(
    {
        "baselines:HighlyVariableGenes": profiles,
        "baselines:Pca": loadings,
        "controls:RandomGaussian": _random,
    }
)


# -- of networks -------------------------------------------------------------------------------------

_Rows = tuple[Sequence[str], "Tensor", str]


def _of_geneformer(checkpoint: Checkpoint) -> _Rows:
    numbers = read_dictionary(checkpoint.files["token_dictionary"])
    tensor = _tensor(checkpoint.files["weights"], "embeddings.word_embeddings.weight")
    return *_by_number(numbers, tensor, checkpoint), "token embeddings"


def _of_scgpt(checkpoint: Checkpoint) -> _Rows:
    numbers = read_dictionary(checkpoint.files["vocabulary"])
    tensor = _tensor(checkpoint.files["weights"], "encoder.embedding.weight")
    return *_by_number(numbers, tensor, checkpoint), "token embeddings"


def _of_tahoe(checkpoint: Checkpoint) -> _Rows:
    numbers = read_dictionary(checkpoint.files["vocabulary"])
    tensor = _tensor(checkpoint.files["weights"], "gene_encoder.embedding.weight")
    return *_by_number(numbers, tensor, checkpoint), "token embeddings"


def _of_scbert(checkpoint: Checkpoint) -> _Rows:
    tensor = _tensor(checkpoint.files["weights"], "pos_emb.emb.weight")
    return read_genes(checkpoint.files["vocabulary"]), tensor[:-1], "gene2vec, as positions"


def _of_scfoundation(checkpoint: Checkpoint) -> _Rows:
    genes = read_genes(checkpoint.files["vocabulary"])
    tensor = _tensor(checkpoint.files["weights"], "pos_emb.weight")  # the first entry: that of cells
    return genes, tensor[: len(genes)], "gene embeddings, as positions"


def _of_nicheformer(checkpoint: Checkpoint) -> _Rows:
    genes = read_genes(checkpoint.files["vocabulary"])
    tensor = _tensor(checkpoint.files["weights"], "embeddings.weight")
    return genes, tensor[FIRST_GENE : FIRST_GENE + len(genes)], "token embeddings"


def _of_cellplm(checkpoint: Checkpoint) -> _Rows:
    genes = read_json(checkpoint.files["config"], "config.json of a CellPLM").get("gene_list", [])
    return genes, _tensor(checkpoint.files["weights"], "feat_enc.emb"), "gene embeddings"


def _of_uce(checkpoint: Checkpoint) -> _Rows:
    rows = read_genome(checkpoint.files, "human")["token"]
    tensor = _tensor(checkpoint.files["weights"], "pe_embedding.weight")
    return list(rows.index), tensor[rows.to_numpy()], "protein embeddings (ESM-2)"


def _of_scprint(checkpoint: Checkpoint) -> _Rows:
    genes = scprint.read_release(checkpoint.files["weights"])[0]["genes"]
    tensor = _tensor(checkpoint.files["weights"], "gene_encoder.embeddings.weight")
    return genes, tensor, "gene embeddings, made of proteins"


def _of_scmulan(checkpoint: Checkpoint) -> _Rows:
    genes, tokens = scmulan.read_words(checkpoint.files["vocabulary"])
    numbers = {token: number for number, token in enumerate(tokens)}
    tensor = _tensor(checkpoint.files["weights"], "transformer.wte.weight")
    _, rows = _by_number({gene: numbers[gene] for gene in genes}, tensor, checkpoint)
    return genes, rows, "token embeddings"


def _of_celllm(checkpoint: Checkpoint) -> _Rows:
    tensor = _tensor(checkpoint.files["weights"], "pos_emb.emb.weight")  # after the genes: cls and padding
    return read_genes(checkpoint.files["vocabulary"]), tensor[:-2], "gene2vec, as positions"


def _of_transcriptformer(checkpoint: Checkpoint) -> _Rows:
    genes = read_genes(checkpoint.files["vocabulary"])  # special tokens stand before them
    tensor = _tensor(checkpoint.files["weights"], "gene_embeddings.embedding.weight")
    return genes, tensor[len(tensor) - len(genes) :], "protein embeddings (ESM-2)"


def _of_tgpt(checkpoint: Checkpoint) -> _Rows:
    numbers = tgpt.read_words(checkpoint.files["vocabulary"])
    tensor = _tensor(checkpoint.files["weights"], "wte.weight")
    words, rows = _by_number(numbers, tensor, checkpoint)
    symbols = {tgpt.word(symbol): symbol for symbol in read_gene_table(SYMBOLS)["symbol"]}
    return [symbols.get(word, word) for word in words], rows, "embeddings of words"


def _of_scimilarity(checkpoint: Checkpoint) -> _Rows:
    tensor = _tensor(checkpoint.files["weights"], "network.0.1.weight")
    genes = read_genes(checkpoint.files["vocabulary"], heading=False)
    return genes, tensor.T, "weights of the first layer"


_OF_NETWORKS: Mapping[str, Callable[[Checkpoint], _Rows]] = MappingProxyType(
    {
        "geneformer:Geneformer": _of_geneformer,
        "langcell_sccello:LangCell": _of_geneformer,
        "langcell_sccello:ScCello": _of_geneformer,
        "genecompass:GeneCompass": _of_geneformer,
        "scgpt:Scgpt": _of_scgpt,
        "scbert:ScBert": _of_scbert,
        "scfoundation:ScFoundation": _of_scfoundation,
        "nicheformer:Nicheformer": _of_nicheformer,
        "cellplm:CellPlm": _of_cellplm,
        "uce:Uce": _of_uce,
        "scprint:Scprint": _of_scprint,
        "scmulan:ScMulan": _of_scmulan,
        "celllm:CellLm": _of_celllm,
        "scimilarity:Scimilarity": _of_scimilarity,
        "tahoe:Tahoe": _of_tahoe,
        "tgpt:Tgpt": _of_tgpt,
        "transcriptformer:TranscriptFormer": _of_transcriptformer,
    }
)


def _by_number(
    numbers: Mapping[str, Any], tensor: "Tensor", checkpoint: Checkpoint
) -> tuple[list[str], "Tensor"]:
    """Genes in the order of a vocabulary, special tokens left out, and their rows."""
    genes = [name for name in numbers if not name.startswith("<")]
    rows = [numbers[gene] for gene in genes]
    if not all(type(row) is int and 0 <= row < len(tensor) for row in rows):
        raise WeightsError(
            f"{checkpoint.origin} numbers tokens beyond the {len(tensor):,} rows of its weights. {REMEDY}"
        )
    return genes, tensor[rows]


def _tensor(path: Path, name: str) -> "Tensor":
    """The first tensor of a checkpoint with a released name, whatever stands before the name.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If there is none with two axes, or not all it holds are finite floating-point numbers.
    """
    content = read_state(path) if path.suffix == ".safetensors" else read_content(path)
    tensor = _first(content, name)
    if tensor is None or tensor.ndim != 2:
        raise WeightsError(f"{path} has no table of gene vectors, {name}. {REMEDY}")
    require_finite(tensor, name, path)
    return tensor


def _first(content: object, name: str) -> "Tensor | None":
    import torch

    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, torch.Tensor):
            if f".{key}".endswith(f".{name}"):
                return value
        elif (inside := _first(value, name)) is not None:
            return inside
    return None
