"""One cell in the tokens of each family: what they are, how many, and how much of its expression they keep.

The tokenisers are those of the models. Genes of the data set are the vocabulary, as in untrained twins.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pandas as pd

from zeroshot import catalog, models
from zeroshot.metrics.reconstruction.expression import (
    decode_readings,
    expression_recovery,
    readings_of_vectors,
)
from zeroshot.models import Cells, cellama, geneformer, geneformer_files, nicheformer, scgpt, uce
from zeroshot.models.untrained import gene_rows
from zeroshot.tokens.genes import GeneOverlapError
from zeroshot.tokens.sentences import top_genes
from zeroshot.tokens.sequences import Tokens
from zeroshot.tokens.tokenizers import cell_keys, uniform

VALUES, NAMES = "log-normalised values", "names of expressed genes"  # references, of no family
FIRST = 8  # tokens of a cell that are shown
_UCE = "uce-4l"
_GENE_TEXTS = ("genept-w", "names")
# Families that read texts, and the model whose files are needed for it.
_WITH_FILES = {"CELLama": ("cellama", None), "GenePT-s": ("genept-s", None), "GenePT-w": _GENE_TEXTS}


@dataclass(frozen=True)
class Tokenisation:
    """Cells in the tokens of one family.

    Attributes
    ----------
    token
        What a token is, in words.
    lengths
        (cells,) tokens of each cell; 1 where a cell is one vector.
    limit
        Most tokens that the recipe admits; None where there is no such limit.
    readings
        (cells, genes) what the tokens say of each gene, NaN where they do not name it.
    first
        First tokens of the first cell, as words.
    scales
        (genes,) what the tokeniser divides expression by, see
        :func:`zeroshot.metrics.reconstruction.expression.decode_readings`.
    """

    token: str
    lengths: np.ndarray
    limit: int | None
    readings: np.ndarray
    first: tuple[str, ...]
    scales: np.ndarray | None = None


def tokenize(cells: Cells, rows: np.ndarray, seed: int = 0) -> dict[str, Tokenisation]:
    """Cells of a data set in the tokens of every family, by its name.

    Parameters
    ----------
    cells
        Of the whole data set: medians, means and variable genes are decided on all of them.
    rows
        Numbers of the cells that are tokenised.
    seed
        Of what is drawn: bins of equal counts, sampled genes, random gene vectors.

    Returns
    -------
    dict
        Without families that read texts where the files of their encoder are not on this machine, or genes
        have no names that can be read.
    """
    written = {}
    for family, write in FAMILIES.items():
        if not _unavailable(family):
            with contextlib.suppress(GeneOverlapError):
                written[family] = write(cells, rows, seed)
    return written


def compare(cells: Cells, tokenisations: Mapping[str, Tokenisation], rows: np.ndarray) -> pd.DataFrame:
    """What each tokenisation costs and keeps, a row per cell.

    Parameters
    ----------
    cells
        Of the whole data set.
    tokenisations
        As :func:`tokenize` returns them.
    rows
        The cells that were tokenised, at least four. What the readings of each half of them stand for is
        learnt from the other half, and two references are added: log-normalised values without any loss, and
        the names of the expressed genes alone.

    Returns
    -------
    pandas.DataFrame
        ``tokenisation``, ``cell`` (its number), ``tokens``, ``genes`` and ``counts`` (shares, 0 to 1, of the
        expressed genes and of the counts that the tokens name; missing where no gene is named), ``spearman``
        and ``r2``, see :func:`zeroshot.metrics.reconstruction.expression.expression_recovery`.
    """
    if len(rows) < 4:
        raise ValueError(f"{len(rows)} cells are too few to learn from one half of them: give at least 4")
    expression = cells.log_normalized()[rows].toarray()
    counts = cells.counts[rows].toarray()
    halves = np.arange(len(rows)) % 2
    tables = []
    for name, (lengths, readings, scales) in {
        **{name: (one.lengths, one.readings, one.scales) for name, one in tokenisations.items()},
        **_references(expression, _medians(cells)),
    }.items():
        decoded = np.empty(expression.shape)
        for half in (0, 1):
            mine, others = halves == half, halves != half
            decoded[mine] = decode_readings(readings[mine], readings[others], expression[others], scales)
        named = ~np.isnan(readings)
        table = expression_recovery(decoded, expression).assign(tokens=lengths)
        if not named.all():
            table["genes"] = (named & (counts > 0)).sum(axis=1) / (counts > 0).sum(axis=1)
            table["counts"] = (counts * named).sum(axis=1) / counts.sum(axis=1)
        tables.append(table.assign(tokenisation=name, cell=rows))
    columns = ["tokenisation", "cell", "tokens", "genes", "counts", "spearman", "r2"]
    return pd.concat(tables, ignore_index=True).reindex(columns=columns)


def summarise(comparison: pd.DataFrame) -> pd.DataFrame:
    """Median over cells of each measure with its quartiles.

    Returns
    -------
    pandas.DataFrame
        ``tokenisation``, ``measure`` (tokens, pairs, genes, counts, spearman, r2; ``pairs`` are those that
        attend to each other, the square of the tokens), ``median``, ``low`` and ``high`` (the quartiles).
    """
    wide = comparison.assign(pairs=comparison["tokens"] ** 2).drop(columns="cell")
    long = wide.melt("tokenisation", var_name="measure").dropna()
    groups = long.groupby(["tokenisation", "measure"], sort=False)["value"]
    table = groups.quantile([0.25, 0.5, 0.75]).unstack()
    return table.set_axis(["low", "median", "high"], axis=1).reset_index()


def _references(expression: np.ndarray, scales: np.ndarray) -> dict[str, tuple]:
    """What loses nothing, and what says only which genes are expressed."""
    readings = np.where(expression > 0, expression, np.nan)
    names = np.where(expression > 0, 1.0, np.nan)
    return {
        VALUES: (np.ones(len(expression)), readings, None),
        NAMES: ((expression > 0).sum(axis=1), names, scales),
    }


# -- families ----------------------------------------------------------------------------------------


def _of_scgpt(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    tokens = models.load("scgpt-untrained").tokenizer(cells, seed).tokenize(rows)
    return Tokenisation(
        "a gene with its bin",
        tokens.lengths,
        catalog.model("scgpt-untrained").max_tokens,
        _spread(tokens, tokens.values, 0, len(cells.genes)),
        _first_words(tokens, [*cells.genes, *scgpt.SPECIAL]),
    )


def _of_geneformer(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    tokens = models.load("geneformer-v1-10m-untrained").tokenizer(cells, seed).tokenize(rows)
    special = geneformer_files.SPECIAL[:2]  # those of V1
    return Tokenisation(
        "a gene, by expression over its median",
        tokens.lengths,
        catalog.model("geneformer-v1-10m-untrained").max_tokens,
        _spread(tokens, _places(tokens), len(special), len(cells.genes)),
        _first_words(tokens, [*special, *cells.genes]),
        _medians(cells),
    )


def _of_nicheformer(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    tokens = models.load("nicheformer-untrained").tokenizer(cells, seed).tokenize(rows)
    first = nicheformer.FIRST_GENE
    words = [f"<{number}>" for number in range(first)]
    for known in (nicheformer.SPECIES, nicheformer.MODALITIES, nicheformer.ASSAYS):
        for name, number in known.items():
            words[number] = f"<{name}>"
    return Tokenisation(
        "a gene, by expression over its mean, after species, assay and modality",
        tokens.lengths,
        catalog.model("nicheformer-untrained").max_tokens,
        _spread(tokens, _places(tokens), first, len(cells.genes)),
        _first_words(tokens, [*words, *cells.genes]),
        nicheformer.own_means(cells.counts.astype(np.float64)),
    )


def _of_scfoundation(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    tokens = models.load("scfoundation-untrained").tokenizer(cells, seed).tokenize(rows)
    # The tokens of depth come last: they are shown behind the first genes.
    words = [*cells.genes, "<target depth>", "<depth>"]
    last = _words(tokens.select(np.array([0])), words)[-2:]
    return Tokenisation(
        "a gene with its value; the last two are depths",
        tokens.lengths,
        catalog.model("scfoundation-untrained").max_tokens,
        _spread(tokens, tokens.values, 0, len(cells.genes)),
        (*_first_words(tokens, words)[: FIRST - 3], "…", *last),
    )


def _of_scbert(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    tokens = models.load("scbert-untrained").tokenizer(cells, seed).tokenize(rows)
    bins = tokens.ids.reshape(len(rows), -1)[:, :-1].astype(np.float64)
    first = [f"{gene}:{value:.0f}" for gene, value in zip(cells.genes[:FIRST], bins[0], strict=False)]
    return Tokenisation(
        "the bin of every gene, expressed or not",
        tokens.lengths,
        catalog.model("scbert-untrained").max_tokens,
        np.where(bins > 0, bins, np.nan),
        tuple(first),
    )


def _of_uce(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    """The draws of UCE. Where genes lie in the genome is not at hand: all stand on one chromosome."""
    n_genes, n_draws = len(cells.genes), catalog.model(_UCE).recipes["fixed"].parameters["n_draws"]
    first = uce.CLS + 1
    genes = pd.DataFrame({"token": np.arange(n_genes) + first, "code": 0, "start": np.arange(n_genes)})
    sentences = []
    for counts, key in zip(cells.counts[rows].toarray(), cell_keys(cells.ids[rows]), strict=True):
        weights = uce.draw_weights(counts)
        draws = uniform(seed, key, np.arange(n_draws))
        drawn_genes = np.empty(0, np.int64) if weights is None else uce.choose(weights, draws)
        sentences.append(uce.sentence(genes, drawn_genes, np.array([0]), first + n_genes))
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in sentences])])
    tokens = Tokens(np.concatenate(sentences), None, offsets, np.zeros(len(rows), np.int64))
    drawn = np.zeros((len(rows), n_genes))
    row, column, gene = _genes_of(tokens, first, n_genes)
    np.add.at(drawn, (row[gene], column[gene]), 1)
    words = ["<pad>", "", "<chromosome end>", "<cls>", *cells.genes, "<chromosome>"]
    return Tokenisation(
        "a draw of a gene, by the logarithm of its count",
        tokens.lengths,
        catalog.model(_UCE).max_tokens,
        np.where(drawn > 0, drawn, np.nan),
        _first_words(tokens, words),
    )


def _of_sentence(cells: Cells, rows: np.ndarray, seed: int, model: str) -> Tokenisation:
    embedder = models.load(model)
    tokens = embedder.tokenizer(cells, seed).tokenize(rows)
    columns, offsets = top_genes(cells.counts[rows], embedder.n_genes)
    readings = np.full((len(rows), len(cells.genes)), np.nan)
    for row, (start, stop) in enumerate(pairwise(offsets)):
        named = columns[start : stop - tokens.left_out[row]]
        readings[row, named] = np.arange(len(named))
    files = embedder.checkpoint.files
    pieces = cellama.read_word_pieces(files["vocabulary"], cellama.read_config(files["config"]).vocab_size)
    ids = tokens.select(np.array([0])).ids[:FIRST]
    return Tokenisation(
        "a piece of a word in a sentence of gene names",
        tokens.lengths,
        catalog.model(model).max_tokens,
        readings,
        tuple(pieces.id_to_token(int(number)) for number in ids),
    )


def _of_cellplm(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    """A cell as the sum of its gene vectors by log counts; the vectors are those of the untrained twin."""
    card = catalog.model("cellplm-untrained")
    vectors = gene_rows(list(map(str, cells.genes)), card.dim, seed)
    token = cells.counts[rows].log1p() @ vectors
    return Tokenisation(
        "a cell: the sum of its gene vectors by log counts",
        np.ones(len(rows), np.int64),
        card.max_tokens,
        readings_of_vectors(token, vectors),
        (_numbers(token[0]),),
    )


def _of_genept(cells: Cells, rows: np.ndarray, seed: int) -> Tokenisation:
    """A cell as the mean of the vectors of texts about its genes, those of MiniLM."""
    model = models.load(*_GENE_TEXTS)
    vectors, _ = model.vectors_of(cells, "GenePT")
    values = cells.log_normalized()[rows]
    mean = values @ vectors
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return Tokenisation(
        "a cell: the mean of texts about its genes by log values",
        np.ones(len(rows), np.int64),
        None,
        readings_of_vectors(mean, vectors),
        (_numbers(mean[0]),),
    )


FAMILIES: Mapping[str, Callable[[Cells, np.ndarray, int], Tokenisation]] = MappingProxyType(
    {
        "Geneformer": _of_geneformer,
        "Nicheformer": _of_nicheformer,
        "scGPT": _of_scgpt,
        "scBERT": _of_scbert,
        "scFoundation": _of_scfoundation,
        "UCE": _of_uce,
        "CellPLM": _of_cellplm,
        "CELLama": partial(_of_sentence, model="cellama"),
        "GenePT-s": partial(_of_sentence, model="genept-s"),
        "GenePT-w": _of_genept,
    }
)


def _unavailable(family: str) -> bool:
    """Whether the files that a family's tokens need are not on this machine."""
    reference = _WITH_FILES.get(family)
    return reference is not None and models.unavailable(catalog.model(reference[0]), reference[1]) is not None


def _medians(cells: Cells) -> np.ndarray:
    return geneformer.nonzero_medians(cells.counts.astype(np.float64), cells.library_size)


def _genes_of(tokens: Tokens, first: int, n_genes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, gene and whether it is a gene of each token, genes being numbered from ``first`` on."""
    row = np.repeat(np.arange(len(tokens.lengths)), tokens.lengths)
    column = tokens.ids - first
    return row, column, (column >= 0) & (column < n_genes)


def _spread(tokens: Tokens, numbers: np.ndarray, first: int, n_genes: int) -> np.ndarray:
    """(cells, genes) number of the token of each gene, NaN where a gene has none."""
    readings = np.full((len(tokens.lengths), n_genes), np.nan)
    row, column, gene = _genes_of(tokens, first, n_genes)
    readings[row[gene], column[gene]] = numbers[gene]
    return readings


def _places(tokens: Tokens) -> np.ndarray:
    """(tokens,) place of each token in its cell, from 0."""
    return np.arange(len(tokens.ids)) - np.repeat(tokens.offsets[:-1], tokens.lengths)


def _words(tokens: Tokens, words: list[str]) -> list[str]:
    names = [str(words[number]) for number in tokens.ids]
    values = tokens.values  # noqa: PD011 - not a table
    return names if values is None else [f"{name}:{one:.3g}" for name, one in zip(names, values, strict=True)]


def _first_words(tokens: Tokens, words: list[str]) -> tuple[str, ...]:
    return tuple(_words(tokens.select(np.array([0])), words)[:FIRST])


def _numbers(vector: np.ndarray) -> str:
    return f"({', '.join(f'{number:.2f}' for number in vector[:3])}, … {len(vector):,} numbers)"
