"""UCE: a transformer over a sample of a cell's genes, each a protein embedding, in the order of the genome.

Released checkpoints are read as they are; the network is native.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear, TransformerEncoder
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.released_names import rename_layer
from zeroshot.models.uce_genome import CHROMOSOMES, SPECIAL, random_genome, read_genome
from zeroshot.models.untrained import fill_uniform, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import REMEDY
from zeroshot.tokens.genes import Alignment, align_symbols, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import cell_keys, uniform

PACKAGES = ("numpy", "pandas", "scipy", "torch")

PAD, _, CHROMOSOME_END, CLS = range(len(SPECIAL))

_CELLS_AT_ONCE = 64  # whose counts are dense


@dataclass(frozen=True, kw_only=True)
class Uce:
    """The ``cls`` token, decoded and scaled to length one.

    Attributes
    ----------
    checkpoint
        Roles "weights" (with the table of tokens), "vocabulary" (protein embeddings of the species by gene
        symbol: of them the order alone is read), "gene_positions" (``species_chrom.csv``) and
        "species_offsets".
    architecture
        ``n_layers``, ``dim``, ``ffn_dim``, ``protein_dim``, ``n_positions`` and ``decoder``, the widths of
        its layers: makes the model an untrained one, its weights drawn by the seed.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set. In place of their proteins they
        have random vectors, in place of the genome a random chromosome of 24 and a random position on it,
        each drawn by seed and gene.
    species
        As upstream names it: a key of ``species_offsets.pkl``.
    padding
        "reference": upstream's mask adds 1 to the attention of padding instead of excluding it: a cell
        depends on the longest sentence of the ``batch_size`` cells around it in the data set. "masked":
        padding is excluded.
    batch_size
        Cells of one call upstream; "reference" alone depends on it.
    min_cells
        Leave out genes detected in fewer cells before any other step; 0 for none.
    n_draws
        Genes drawn for each cell, with replacement.
    n_heads
        Which no shape in the checkpoint tells.
    first_chromosome
        Token of the first chromosome.
    max_tokens
        Longest sentence; the end of a longer one is cut.

    Source
    ------
    Rosen et al. 2023; snap-stanford/UCE at 8ead6e0: eval_data.py, data_proc/data_utils.py, model.py.

    Differs
    -------
    Genes are drawn by seed, cell and number of the draw: upstream sets no seed. No cell is left out;
    upstream drops those with fewer than 25 genes. A cell without any gene is its ``cls`` token alone;
    upstream gives NaN. Of a symbol with several positions the first is taken.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    vocabulary: Literal["released", "data-set"] = "released"
    species: str = "human"
    padding: Literal["reference", "masked"] = "reference"
    batch_size: int = 25
    min_cells: int = 10
    n_draws: int = 1024
    n_heads: int = 20
    first_chromosome: int = 143_574
    max_tokens: int = 1536

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        require_vocabulary(self.vocabulary, self.architecture)
        if self.architecture is not None and self.vocabulary == "released":
            raise ValueError("an untrained UCE reads the genes of the data set: vocabulary is data-set")
        if self.padding not in ("reference", "masked"):
            raise ValueError(f"unknown padding {self.padding!r}: reference or masked")
        for name in ("batch_size", "n_draws", "n_heads", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 is needed")

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes to proteins and positions, and return what draws sentences of any rows.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If fewer than half of the genes and of the counts have a protein embedding and a position.
        zeroshot.models.weights.WeightsError
            If a file is damaged, or the species is in none of them.
        """
        genome, first_chromosome = self._genome(cells, seed)
        alignment = self._align(cells, genome)
        require_overlap(alignment, "UCE", cells.counts)
        usable = alignment.targets >= 0
        if self.min_cells:
            usable &= cells.detected(self.min_cells)
        counts = cells.counts[:, usable]
        genes = genome.iloc[alignment.targets[usable]]
        n_cells = len(cells.ids)

        def draw(rows: np.ndarray) -> Iterator[np.ndarray]:
            keys = cell_keys(cells.ids[rows])
            for start in range(0, len(rows), _CELLS_AT_ONCE):
                block = slice(start, start + _CELLS_AT_ONCE)
                for values, key in zip(counts[rows[block]].toarray(), keys[block], strict=True):
                    weights = draw_weights(values)
                    uniforms = uniform(seed, key, np.arange(self.n_draws))
                    chosen = choose(weights, uniforms) if weights is not None else np.empty(0, np.int64)
                    chromosomes = np.unique(genes["code"].to_numpy()[chosen])
                    order = np.argsort(uniform(seed, key, self.n_draws + 1 + chromosomes.astype(np.uint64)))
                    drawn = sentence(genes, chosen, chromosomes[order], first_chromosome)
                    yield drawn[: self.max_tokens]

        def tokenize(rows: np.ndarray) -> Tokens:
            if self.padding == "masked":
                return _joined(list(draw(rows)))
            batches = np.unique(rows // self.batch_size)
            members = (batches[:, None] * self.batch_size + np.arange(self.batch_size)).ravel()
            members = members[members < n_cells]
            drawn = dict(zip(members.tolist(), draw(members), strict=True))
            lengths = pd.Series({row: len(ids) for row, ids in drawn.items()})
            widths = lengths.groupby(lengths.index // self.batch_size).max()
            return _joined([_filled(drawn[row], widths[row // self.batch_size]) for row in rows.tolist()])

        notes = []
        if self.vocabulary == "data-set":
            notes.append("proteins, chromosomes and positions of the genes are random, drawn by the seed")
        if self.padding == "reference":
            notes.append(
                f"padding takes part, as upstream: the longest of {self.batch_size} cells changes them all"
            )
        return Tokenizer(tokenize, PAD, overlap=alignment.report(cells.counts), notes=tuple(notes))

    def network(self, cells: Cells, seed: int) -> "UceNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If they are not those of a UCE, of another number of heads, or have no embedding for a gene or a
            chromosome of the species.
        """
        if self.architecture is not None:
            genome, _ = self._genome(cells, seed)
            names = [*SPECIAL, *genome.index, *CHROMOSOMES]
            build = partial(UceNetwork, self.architecture, len(names), self.n_heads)
            return untrained_network(build, partial(_draw, names=names, seed=seed))
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        architecture, n_tokens = read_sizes(state, path)
        if (dim := architecture["dim"]) % self.n_heads:
            raise WeightsError(
                f"{self.n_heads} heads do not divide the width of {path}, {dim}: choose n_heads"
            )
        build = partial(UceNetwork, architecture, n_tokens, self.n_heads)
        network = trained_network(build, state, rename, IGNORED, path)
        if self.max_tokens > len(network.positions):
            raise WeightsError(
                f"{path} has {len(network.positions):,} positions, fewer than the {self.max_tokens:,} tokens "
                "of a sentence: choose fewer max_tokens"
            )
        files = self.checkpoint.files
        genome, first_chromosome = self._genome(cells, seed)
        for role, last in (
            ("species_offsets", genome["token"].max()),
            ("gene_positions", first_chromosome + genome["code"].max()),
        ):
            if last >= n_tokens:
                raise WeightsError(
                    f"{files[role]}: {self.species} has token {last:,}, and {path} has embeddings of "
                    f"{n_tokens:,} tokens: the two are not of the same model. {REMEDY}"
                )
        return network

    def _genome(self, cells: Cells, seed: int) -> tuple[pd.DataFrame, int]:
        """Genes as :func:`read_genome` describes them, and the token of the first chromosome."""
        if self.vocabulary == "released":
            return read_genome(self.checkpoint.files, self.species), self.first_chromosome
        genome = random_genome(list(map(str, cells.genes)), seed)
        return genome, len(SPECIAL) + len(genome)

    def _align(self, cells: Cells, genome: pd.DataFrame) -> Alignment:
        symbols = [str(name).upper() for name in cells.genes]
        return align_symbols(symbols, {name: number for number, name in enumerate(genome.index)})


class UceNetwork(nn.Module):
    """Protein embeddings projected, sinusoidal positions, a transformer, and a decoder.

    Parameters
    ----------
    architecture
        Sizes, see :class:`Uce`.
    n_tokens
        Genes of all species, chromosomes and special tokens.
    n_heads
        Heads of the transformer.

    Source
    ------
    Rosen et al. 2023; model.py of UCE at 8ead6e0.
    """

    def __init__(self, architecture: Mapping[str, Any], n_tokens: int, n_heads: int) -> None:
        super().__init__()
        dim, protein_dim = architecture["dim"], architecture["protein_dim"]
        self.proteins = nn.Embedding(n_tokens, protein_dim)
        self.project, self.project_norm = Linear(protein_dim, dim), nn.LayerNorm(dim)
        self.register_buffer("positions", torch.empty(architecture["n_positions"], 1, dim))
        self.encoder = TransformerEncoder(architecture["n_layers"], dim, n_heads, architecture["ffn_dim"])
        *widths, last = [dim, *architecture["decoder"]]
        self.decoder = nn.ModuleList(
            nn.ModuleList([Linear(narrow, wide), nn.LayerNorm(wide)]) for narrow, wide in pairwise(widths)
        )
        self.last = Linear(widths[-1], last)

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 rows of length one.

        Parameters
        ----------
        ids
            (cells, tokens) sentences. Padding within ``lengths`` is attended to with 1 added, as upstream.
        values
            Not used: how often a gene was drawn tells its expression.
        lengths
            (cells,) tokens that can be attended to.
        """
        hidden = self.decode(self.hidden(ids, lengths, first_only=True))
        return nn.functional.normalize(hidden[:, 0].float(), dim=1)

    def hidden(self, ids: torch.Tensor, lengths: torch.Tensor, *, first_only: bool = False) -> torch.Tensor:
        """Return (cells, tokens, dim) hidden states, of the first token alone with ``first_only``."""
        proteins = nn.functional.normalize(self.proteins(ids), dim=-1)
        hidden = self.project_norm(nn.functional.gelu(self.project(proteins)))
        hidden = hidden * hidden.shape[-1] ** 0.5 + self.positions[: ids.shape[1], 0]
        place = torch.arange(ids.shape[1], device=ids.device)
        excluded = place >= lengths[:, None]
        attended = (ids == PAD) & ~excluded
        if not attended.any():
            return self.encoder(hidden, lengths, first_only=first_only)
        added = torch.where(excluded, -torch.inf, attended.to(hidden.dtype))[:, None, None]
        *layers, last = self.encoder.layers
        for layer in layers:
            hidden = layer(hidden, added, first_only=False)
        return last(hidden, added, first_only=first_only)

    def decode(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (cells, tokens, dim of the embedding)."""
        for linear, norm in self.decoder:
            hidden = nn.functional.gelu(norm(linear(hidden)))
        return self.last(hidden)


def draw_weights(counts: np.ndarray) -> np.ndarray | None:
    """(genes,) float32 chances of being drawn, by logarithms of a cell's counts; None of a cell without any.

    Each step in the precision and order of upstream, whose rounding decides draws on an edge.
    """
    logarithms = torch.log1p(torch.from_numpy(counts.astype(np.int64)))
    total = torch.sum(logarithms)
    if total <= 0:
        return None
    weights = (logarithms / total).numpy()
    return weights / np.cumsum(weights)[-1]


def choose(weights: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """(draws,) genes that uniform numbers stand for, as numpy's legacy ``choice`` draws them."""
    edges = np.cumsum(weights, dtype=np.float64)
    return np.searchsorted(edges / edges[-1], uniforms, side="right")


def sentence(
    genes: pd.DataFrame, chosen: np.ndarray, chromosomes: np.ndarray, first_chromosome: int
) -> np.ndarray:
    """(tokens,) ids of a cell: ``cls``, and for each chromosome its token, its genes by position, an end.

    Parameters
    ----------
    genes
        Of the data set, as :func:`read_genome` describes them.
    chosen
        (draws,) rows of ``genes``; several times the same is several tokens.
    chromosomes
        (chromosomes,) codes of all that were drawn, in the order of the sentence.
    first_chromosome
        Token of the chromosome with code 0.
    """
    codes, starts = genes["code"].to_numpy()[chosen], genes["start"].to_numpy()[chosen]
    tokens = genes["token"].to_numpy()[chosen]
    parts = [np.array([CLS])]
    for code in chromosomes:
        (of_chromosome,) = np.nonzero(codes == code)
        ordered = of_chromosome[np.argsort(starts[of_chromosome], kind="stable")]
        parts += [np.array([first_chromosome + code]), tokens[ordered], np.array([CHROMOSOME_END])]
    return np.concatenate(parts).astype(np.int64)


def _filled(ids: np.ndarray, width: int) -> np.ndarray:
    return np.concatenate([ids, np.full(width - len(ids), PAD)])


def _joined(sentences: list[np.ndarray]) -> Tokens:
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in sentences])]).astype(np.int64)
    # What is not drawn does not count as left out: the draws are a sample by design.
    return Tokens(np.concatenate(sentences), None, offsets, np.zeros(len(sentences), np.int64))


# For pairs of genes and cells in pretraining.
IGNORED = ("binary_decoder.*", "gene_embedding_layer.*")


def read_sizes(state: Mapping[str, torch.Tensor], path: Path) -> tuple[dict[str, Any], int]:
    """Architecture and number of tokens of a released state, by its shapes.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If they are not those of a UCE.
    """
    names = ("pe_embedding.weight", "encoder.0.weight", "transformer_encoder.layers.0.linear1.weight",
             "pos_encoder.pe", *(f"decoder.{place}.0.bias" for place in range(3)),
             "decoder.3.bias")  # fmt: skip
    absent = [name for name in names if name not in state or not state[name].ndim]
    if absent or any(state[name].ndim < 2 for name in names[:4]):
        raise WeightsError(
            f"{path} is not a checkpoint of UCE{': it lacks ' if absent else ''}{', '.join(absent)}. {REMEDY}"
        )
    dim, protein_dim = state["encoder.0.weight"].shape
    if state["pos_encoder.pe"].shape[1:] != (1, dim) or not all(state[name].numel() for name in names):
        raise WeightsError(
            f"{path} is not a checkpoint of UCE: expected positions (pos_encoder.pe) x 1 x {dim} and no "
            f"empty tensor, found {tuple(state['pos_encoder.pe'].shape)}. {REMEDY}"
        )
    prefix = "transformer_encoder.layers."
    n_layers = len({key.split(".")[2] for key in state if key.startswith(prefix)})
    architecture = {
        "n_layers": n_layers, "dim": dim, "ffn_dim": len(state[f"{prefix}0.linear1.weight"]),
        "protein_dim": protein_dim, "n_positions": len(state["pos_encoder.pe"]),
        "decoder": [len(state[name]) for name in names[4:]],
    }  # fmt: skip
    return architecture, len(state[names[0]])


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    module, _, kind = key.rpartition(".")
    if module.startswith("decoder."):
        return f"last.{kind}" if module == "decoder.3" else key
    known = {"pe_embedding": "proteins", "encoder.0": "project", "encoder.2": "project_norm"}.get(module)
    if key == "pos_encoder.pe":
        return "positions"
    return f"{known}.{kind}" if known else rename_layer(key, "transformer_encoder.layers.")


def _draw(network: UceNetwork, names: list[str], seed: int) -> None:
    """Linear layers as torch draws them, upstream's positions, a random row for each token by its name."""
    fill_uniform(network, seed)
    n_positions, _, dim = network.positions.shape
    turns = np.arange(n_positions)[:, None] * 10_000.0 ** -(np.arange(0, dim, 2) / dim)
    waves = np.stack([np.sin(turns), np.cos(turns)], axis=2).reshape(n_positions, 1, -1)[..., :dim]
    with torch.no_grad():
        network.positions.copy_(torch.from_numpy(waves))
        rows = gene_rows(names, network.proteins.weight.shape[1], seed)
        network.proteins.weight.copy_(torch.from_numpy(rows))
