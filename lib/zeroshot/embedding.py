"""Embed cells with a model by name: tokens in chunks through a network, results in input order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot import catalog, failures, integrity, models, reproducible
from zeroshot.models import Cells, TokenEmbedder
from zeroshot.tokens import Tokens

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")

CELLS_PER_WINDOW = 4096  # tokenised and sorted by length together: bounds memory, long enough to sort well
TOKENS_PER_CHUNK = {"cpu": 8_192, "cuda": 131_072}

# Rules of a report of gene names whose genes mean nothing to the model.
UNREAD = ("unmatched", "identifier")


class EmbeddingError(ValueError):
    """A setting that no model can be run with, or something returned that is no embedding of the cells."""


@dataclass(frozen=True)
class Settings:
    """How a network is run. Only ``precision`` changes what comes out, beyond rounding.

    Attributes
    ----------
    device
        "auto" (a CUDA device if there is one, else the CPU) or a name that torch knows, of a device that this
        machine has.
    precision
        Type the network computes in. float32, the default, agrees with the reference
        implementations to 2e-5; bfloat16 and float16 are faster where the hardware has them.
    tokens_per_chunk
        Tokens computed at once, padding included: what memory grows with. None for the device's
        default.
    progress
        Show a progress bar over cells.
    compile
        Hand the network to torch.compile first: pays off after some thousand cells.
    """

    device: str = "auto"
    precision: Precision = "float32"
    tokens_per_chunk: int | None = None
    progress: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse what torch would only trip over later."""
        if self.precision not in PRECISIONS:
            raise EmbeddingError(f"unknown precision {self.precision!r}: one of {', '.join(PRECISIONS)}")
        if self.tokens_per_chunk is not None and self.tokens_per_chunk < 1:
            raise EmbeddingError(f"tokens_per_chunk is {self.tokens_per_chunk}: at least 1 is needed")
        if self.device != "auto":  # torch takes a second to import
            require_device(self.device)


@dataclass(frozen=True)
class GeneShare:
    """How many genes of a data set a model can read, and which share of its counts they have.

    Attributes
    ----------
    n_genes, n_read
        Genes of the data set, and those that the model can read.
    counts
        Share of all counts of the data set that those genes have, from 0 to 1.
    reason
        Why not all are read, to follow their number.
    """

    n_genes: int
    n_read: int
    counts: float
    reason: str

    @classmethod
    def of(cls, cells: Cells, embedder: object, overlap: pd.DataFrame | None) -> "GeneShare":
        """What the vocabulary of a model knows, or of a model without one what its filter leaves."""
        n_genes = cells.counts.shape[1]
        if overlap is not None:
            known = overlap[~overlap["rule"].isin(UNREAD)]
            read, counts = int(known["genes"].sum()), float(known["counts"].sum())
            return cls(n_genes, read, counts, "in the vocabulary of the model")
        min_cells = getattr(embedder, "min_cells", None)
        if min_cells is None:
            return cls(n_genes, n_genes, 1.0, "no vocabulary is needed")
        detected = cells.detected(min_cells)
        totals = np.asarray(cells.counts.sum(axis=0, dtype=np.float64)).ravel()
        share = float(totals[detected].sum() / max(totals.sum(), 1))
        return cls(n_genes, int(detected.sum()), share, f"detected in at least {min_cells} cells")

    def __str__(self) -> str:
        """One line for a reader."""
        return (
            f"{self.n_read:,} of {self.n_genes:,} genes ({self.n_read / self.n_genes:.1%}) with "
            f"{self.counts:.1%} of the counts are read: {self.reason}"
        )


@dataclass(frozen=True)
class Embedded:
    """An embedding with what is known about how it came about.

    Attributes
    ----------
    matrix
        (cells, dim) float32, rows in input order.
    checks
        Rows of the integrity gate that need the model: ``check``, ``passed``, ``detail``. Empty for
        models that are fitted to all cells at once.
    overlap
        Genes by the rule that matched them to the vocabulary; None for models without one.
    lengths, left_out
        (cells,) tokens of each cell, and expressed vocabulary genes that did not fit; None for
        models without tokens.
    notes
        What a reader of the scores has to know, as sentences.
    genes
        Genes that the model can read, with their share of the counts; None for an embedding made from labels.
    """

    matrix: np.ndarray
    checks: pd.DataFrame = field(default_factory=lambda: integrity.table([]))
    overlap: pd.DataFrame | None = None
    lengths: np.ndarray | None = None
    left_out: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    genes: GeneShare | None = None


def embed(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    weights: Path | None = None,
    settings: Settings | None = None,
) -> np.ndarray:
    """Embed the cells of a data set.

    Parameters
    ----------
    adata
        Raw counts that keep the contract of :func:`zeroshot.data.load`; not changed.
    model
        Name in ``data/models.yml``.
    recipe
        Recipe of the card; None for its default.
    seed
        The same seed gives the same bytes.
    weights
        Folder with the weights as released; None to look for them as :func:`zeroshot.weights.find` does.
    settings
        Device, precision and chunk size of models that are networks.

    Returns
    -------
    numpy.ndarray
        (cells, dim) float32, rows in the order of ``adata``.

    Raises
    ------
    EmbeddingError
        If the model returned another shape or type, memory does not suffice, or the seed cannot be one.
    zeroshot.weights.WeightsError
        If the weights cannot be had, or are not those of the model.
    zeroshot.genes.GeneOverlapError
        If the model knows fewer than half of the genes.
    """
    return run(adata, model, recipe, seed=seed, weights=weights, settings=settings, probe=False).matrix


def run(
    adata: AnnData,
    model: str,
    recipe: str | None = None,
    *,
    seed: int = 0,
    weights: Path | None = None,
    settings: Settings | None = None,
    parameters: Mapping[str, Any] | None = None,
    probe: bool = True,
) -> Embedded:
    """Embed the cells as :func:`embed` does, and report on it.

    ``parameters`` are put over those of the recipe. ``probe`` embeds a few cells again in another
    order, in other chunks and alone, for the integrity gate.
    """
    require_seed(seed)
    card = catalog.model(model)
    uses_batch = "batch" in card.uses and adata.obs["batch"].nunique() > 1
    cells = Cells.of(adata, with_batches=uses_batch)
    embedder = models.load(model, recipe, weights=weights, parameters=parameters)
    if isinstance(embedder, TokenEmbedder):
        runner = Runner(embedder, cells, seed, settings or Settings())
        embedded = runner.report(probe=probe)
    else:
        embedded = Embedded(embedder.embed(cells, seed), notes=_notes_of(embedder, cells))
    embedded = replace(embedded, genes=GeneShare.of(cells, embedder, embedded.overlap))
    if card.twin_of:
        note = f"the weights are random, drawn by the seed: {card.title} was never trained"
        embedded = replace(embedded, notes=(note, *embedded.notes))
    if "batch" in card.uses and not uses_batch:
        note = f"{card.title} was fitted without batches: the cells are one batch"
        if adata.uns.get("dataset", {}).get("name") not in catalog.datasets():
            note += ". If they come from several, name their column with --batch-key (batch_key=…)"
        embedded = replace(embedded, notes=(*embedded.notes, note))
    matrix = embedded.matrix
    if matrix.ndim != 2 or len(matrix) != adata.n_obs or matrix.dtype != np.float32:
        raise EmbeddingError(
            f"{model} returned {matrix.dtype} of shape {matrix.shape}; "
            f"expected float32 of shape ({adata.n_obs}, dim)"
        )
    return embedded


class Runner:
    """A network and the cells it embeds: any rows of them, in chunks of any size.

    Parameters
    ----------
    embedder
        A model that reads tokens.
    cells
        All cells of the data set: gene selection and the vocabulary are decided on them, so that a
        cell's embedding does not depend on which rows are embedded with it.
    """

    def __init__(self, embedder: TokenEmbedder, cells: Cells, seed: int, settings: Settings) -> None:
        """Prepare tokeniser and network; raises what they raise."""
        import torch

        require_seed(seed)
        self.n_cells = cells.counts.shape[0]
        self.settings = settings
        self.tokenizer = embedder.tokenizer(cells, seed)
        self.device = torch.device(_device(settings.device))
        network = embedder.network(cells, seed).to(self.device, getattr(torch, settings.precision))
        # dynamic: chunks differ in length, and every new shape would be compiled again.
        self.network = torch.compile(network, dynamic=True) if settings.compile else network

    def report(self, *, probe: bool) -> Embedded:
        """Embed all cells; ``probe`` also runs the checks that need the model."""
        lengths = np.zeros(self.n_cells, np.int64)
        left_out = np.zeros(self.n_cells, np.int64)
        matrix = self.embed(np.arange(self.n_cells), seen=(lengths, left_out))
        checks = integrity.probe(self.embed, matrix, self._tolerance()) if probe else integrity.table([])
        return Embedded(
            matrix, checks, self.tokenizer.overlap, lengths, left_out, notes=tuple(self.tokenizer.notes)
        )

    def embed(
        self,
        rows: np.ndarray,
        tokens_per_chunk: int | None = None,
        *,
        seen: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """(rows, dim) float32 embedding of the cells with these row numbers, in that order.

        ``seen`` receives lengths and left-out genes by row number.
        """
        import torch
        from tqdm import tqdm

        budget = (
            tokens_per_chunk
            or self.settings.tokens_per_chunk
            or TOKENS_PER_CHUNK.get(self.device.type, TOKENS_PER_CHUNK["cpu"])
        )
        found = None
        with (
            torch.inference_mode(),
            tqdm(total=len(rows), unit="cell", disable=not self.settings.progress) as bar,
        ):
            for start in range(0, len(rows), CELLS_PER_WINDOW):
                window = rows[start : start + CELLS_PER_WINDOW]
                tokens = self.tokenizer.tokenize(window)
                if seen is not None:
                    seen[0][window], seen[1][window] = tokens.lengths, tokens.left_out
                for members in chunks(tokens.lengths, budget):
                    pooled = self._forward(tokens.select(members), budget)
                    if found is None:
                        found = np.empty((len(rows), pooled.shape[1]), np.float32)
                    found[start + members] = pooled
                    bar.update(len(members))
        return found

    def _forward(self, tokens: Tokens, budget: int) -> np.ndarray:
        import torch

        ids, values = tokens.pad(self.tokenizer.pad_id, self.tokenizer.pad_value)
        given = (ids, values, tokens.lengths)
        try:
            tensors = [None if part is None else torch.from_numpy(part).to(self.device) for part in given]
            return self.network(*tensors).float().cpu().numpy()
        except (MemoryError, RuntimeError) as error:
            if not failures.out_of_memory(error):
                raise
            raise EmbeddingError(
                f"not enough memory on {self.device} for {ids.shape[0]:,} cells x {ids.shape[1]:,} tokens: "
                f"compute fewer than {budget:,} tokens at once (--chunk-tokens, tokens_per_chunk)"
            ) from error

    def _tolerance(self) -> float:
        # 2e-5 is what other chunk shapes cost in float32; half precision keeps 8 or 11 bits of 24.
        return {"float32": 2e-5, "float16": 2e-2, "bfloat16": 1e-1}[self.settings.precision]


def chunks(lengths: np.ndarray, tokens_per_chunk: int) -> Iterator[np.ndarray]:
    """Positions of cells of similar length, together within a budget of padded tokens.

    Parameters
    ----------
    lengths
        (cells,) tokens of each cell.
    tokens_per_chunk
        Most cells x longest length of a chunk; a longer cell is a chunk of its own.

    Yields
    ------
    numpy.ndarray
        (chunk,) positions, longest first: what needs the most memory is tried first.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        size = max(tokens_per_chunk // longest, 1)
        yield order[start : start + size]
        start += size


def project_umap(embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """(cells, 2) UMAP coordinates: 15 neighbours, min_dist 0.3, as the paper draws them."""
    import umap

    projection = umap.UMAP(n_neighbors=min(15, len(embedding) - 1), min_dist=0.3, random_state=seed, n_jobs=1)
    return projection.fit_transform(embedding).astype(np.float32)


def require_seed(seed: int) -> None:
    """Refuse a seed that not every library takes.

    Raises
    ------
    EmbeddingError
        If it is negative, or beyond what harmonypy can count to.
    """
    if not 0 <= seed <= reproducible.LARGEST_SEED:
        raise EmbeddingError(
            f"the seed is {seed}: expected is a number from 0 to {reproducible.LARGEST_SEED}"
        )


def require_device(name: str) -> None:
    """Refuse a device that does not exist here.

    Raises
    ------
    EmbeddingError
        If torch does not know the name, or this machine has no such device.
    """
    import torch

    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = ["cpu", *cuda] + (["mps"] if torch.backends.mps.is_available() else [])
    try:
        device = torch.device(name)
        if device.type == "meta" or (device.type == "cuda" and (device.index or 0) >= len(cuda)):
            raise RuntimeError("no such device")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise EmbeddingError(
            f"there is no device {name!r} on this machine: choose auto or one of {', '.join(there)}"
        ) from error


def _notes_of(embedder: object, cells: Cells) -> tuple[str, ...]:
    """What a model that is fitted to the cells says of them, if it has a method ``notes``."""
    notes = getattr(embedder, "notes", None)
    return () if notes is None else tuple(notes(cells))


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
