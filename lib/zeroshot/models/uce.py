"""UCE: a transformer over a sample of a cell's genes, each a protein embedding, in the order of the genome.

Released checkpoints are read as they are; the network is native.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear, TransformerEncoder
from zeroshot.models.networks import trained_network
from zeroshot.models.released_names import rename_layer
from zeroshot.models.weights import Checkpoint, WeightsError, read_dictionary, read_genes, read_state
from zeroshot.models.weights.files import REMEDY, read_bytes, shortened
from zeroshot.tokens.genes import Alignment, align_symbols, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import cell_keys, uniform

PACKAGES = ("numpy", "pandas", "scipy", "torch")

PAD, CHROMOSOME_END, CLS = 0, 2, 3

_CELLS_AT_ONCE = 64  # whose counts are dense
_MOST_TOKENS = 2**24  # that a table may have; the released one has 145,469


@dataclass(frozen=True, kw_only=True)
class Uce:
    """The ``cls`` token, decoded and scaled to length one.

    Attributes
    ----------
    checkpoint
        Roles "weights" (with the table of tokens), "vocabulary" (protein embeddings of the species by gene
        symbol: of them the order alone is read), "gene_positions" (``species_chrom.csv``) and
        "species_offsets".
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

    checkpoint: Checkpoint
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
        genome = read_genome(self.checkpoint.files, self.species)
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
                    drawn = sentence(genes, chosen, chromosomes[order], self.first_chromosome)
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
        if self.padding == "reference":
            notes.append(
                f"padding takes part, as upstream: the longest of {self.batch_size} cells changes them all"
            )
        return Tokenizer(tokenize, PAD, overlap=alignment.report(cells.counts), notes=tuple(notes))

    def network(self, cells: Cells, seed: int) -> "UceNetwork":
        """Return the network with the weights of the checkpoint.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If they are not those of a UCE, of another number of heads, or have no embedding for a gene or a
            chromosome of the species.
        """
        path = self.checkpoint.files["weights"]
        state = read_state(path)
        build = partial(UceNetwork, state, path, self.n_heads)
        network = trained_network(build, state, rename, IGNORED, path)
        if self.max_tokens > len(network.positions):
            raise WeightsError(
                f"{path} has {len(network.positions):,} positions, fewer than the {self.max_tokens:,} tokens "
                "of a sentence: choose fewer max_tokens"
            )
        files, n_tokens = self.checkpoint.files, len(network.proteins.weight)
        genome = read_genome(files, self.species)
        for role, last in (
            ("species_offsets", genome["token"].max()),
            ("gene_positions", self.first_chromosome + genome["code"].max()),
        ):
            if last >= n_tokens:
                raise WeightsError(
                    f"{files[role]}: {self.species} has token {last:,}, and {path} has embeddings of "
                    f"{n_tokens:,} tokens: the two are not of the same model. {REMEDY}"
                )
        return network

    def _align(self, cells: Cells, genome: pd.DataFrame) -> Alignment:
        symbols = [str(name).upper() for name in cells.genes]
        return align_symbols(symbols, {name: number for number, name in enumerate(genome.index)})


class UceNetwork(nn.Module):
    """Protein embeddings projected, sinusoidal positions, a transformer, and a decoder.

    Parameters
    ----------
    state, path
        Released tensors, whose shapes tell the sizes, and where they are from.
    n_heads
        Heads of the transformer.

    Source
    ------
    Rosen et al. 2023; model.py of UCE at 8ead6e0.
    """

    def __init__(self, state: Mapping[str, torch.Tensor], path: Path, n_heads: int) -> None:
        super().__init__()
        n_layers, dim, ffn_dim, protein_dim, n_tokens = _sizes(state, path)
        if dim % n_heads:
            raise WeightsError(f"{n_heads} heads do not divide the width of {path}, {dim}: choose n_heads")
        self.proteins = nn.Embedding(n_tokens, protein_dim)
        self.project, self.project_norm = Linear(protein_dim, dim), nn.LayerNorm(dim)
        self.register_buffer("positions", torch.empty(tuple(state["pos_encoder.pe"].shape)))
        self.encoder = TransformerEncoder(n_layers, dim, n_heads, ffn_dim)
        widths = [dim, *(len(state[f"decoder.{place}.0.bias"]) for place in range(3))]
        self.decoder = nn.ModuleList(
            nn.ModuleList([Linear(narrow, wide), nn.LayerNorm(wide)]) for narrow, wide in pairwise(widths)
        )
        self.last = Linear(widths[-1], len(state["decoder.3.bias"]))

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


def read_genome(files: Mapping[str, Path], species: str) -> pd.DataFrame:
    """Genes of a species that have a protein and a position, by upper-case symbol.

    Returns
    -------
    pandas.DataFrame
        ``token``, ``code`` (of the chromosome) and ``start``.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If a file is damaged, or does not know the species.
    """
    offsets = read_dictionary(files["species_offsets"])
    positions = _read_positions(files["gene_positions"])
    of_species = positions[positions["species"] == species]
    offset = offsets.get(species)
    if offset is not None and (type(offset) is not int or not PAD < offset < _MOST_TOKENS):
        raise WeightsError(
            f"{files['species_offsets']}: {species} begins at token {shortened(offset)}; a whole number from "
            f"{PAD + 1} to {_MOST_TOKENS:,} is expected. {REMEDY}"
        )
    if offset is None or not len(of_species):
        raise WeightsError(
            f"species {species!r} is not in {files['species_offsets']} and {files['gene_positions']}: "
            f"they know {', '.join(sorted(map(str, offsets)))[:200]}"
        )
    symbols = list(dict.fromkeys(gene.upper() for gene in read_genes(files["vocabulary"])))
    tokens = pd.Series(np.arange(len(symbols)) + offsets[species], index=symbols, name="token")
    of_species = of_species.drop_duplicates("gene_symbol").set_index("gene_symbol")
    return of_species.join(tokens, how="inner")[["token", "code", "start"]]


def _read_positions(path: Path) -> pd.DataFrame:
    """Chromosome and start of the genes of all species, the chromosomes of all of them numbered by name."""
    expected = "species_chrom.csv with species, gene_symbol, chromosome and start"
    content = read_bytes(path, expected)
    try:
        positions = pd.read_csv(BytesIO(content), usecols=["species", "gene_symbol", "chromosome", "start"],
                                dtype={"chromosome": str, "start": np.int64},
                                keep_default_na=False)  # fmt: skip
    except ValueError as error:  # of decoding, of absent columns, of numbers
        raise WeightsError(f"{path} is damaged: {str(error)[:200]}. Expected {expected}. {REMEDY}") from None
    names = positions["species"] + "_" + positions["chromosome"]
    return positions.assign(code=pd.Categorical(names).codes.astype(np.int64))


def _filled(ids: np.ndarray, width: int) -> np.ndarray:
    return np.concatenate([ids, np.full(width - len(ids), PAD)])


def _joined(sentences: list[np.ndarray]) -> Tokens:
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in sentences])]).astype(np.int64)
    # What is not drawn does not count as left out: the draws are a sample by design.
    return Tokens(np.concatenate(sentences), None, offsets, np.zeros(len(sentences), np.int64))


# For pairs of genes and cells in pretraining.
IGNORED = ("binary_decoder.*", "gene_embedding_layer.*")


def _sizes(state: Mapping[str, torch.Tensor], path: Path) -> tuple[int, int, int, int, int]:
    """Layers, width, feed-forward width, width of proteins, tokens; from the shapes of a released state."""
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
    return n_layers, dim, len(state[f"{prefix}0.linear1.weight"]), protein_dim, len(state[names[0]])


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    module, _, kind = key.rpartition(".")
    if module.startswith("decoder."):
        return f"last.{kind}" if module == "decoder.3" else key
    known = {"pe_embedding": "proteins", "encoder.0": "project", "encoder.2": "project_norm"}.get(module)
    if key == "pos_encoder.pe":
        return "positions"
    return f"{known}.{kind}" if known else rename_layer(key, "transformer_encoder.layers.")
