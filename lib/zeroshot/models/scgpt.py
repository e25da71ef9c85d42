"""scGPT: a transformer that reads a cell as a set of genes with binned expression values.

Released checkpoints are read as they are; the network is native, without the scgpt package and flash-attn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear, TransformerEncoder, mean_over
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.scgpt_decoders import CellDecoder, ExpressionDecoder, decoders_of
from zeroshot.models.scgpt_files import IGNORED, read_args, read_vocabulary, rename, write_release
from zeroshot.models.untrained import fill_uniform, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.tokens.genes import Alignment, align_symbols, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import Draws, bin_blocks, bin_values, cell_keys, value_tokens

# scikit-misc: the loess fit of scanpy's seurat_v3.
PACKAGES = ("numpy", "pandas", "scanpy", "scikit-misc", "scipy", "torch")

# Appended to a vocabulary in this order where it lacks them.
SPECIAL = ("<pad>", "<cls>", "<eoc>")

_LARGEST_VALUE = 512  # values above are clipped


@dataclass(frozen=True, kw_only=True)
class Scgpt:
    """The ``<cls>`` token of the last layer, or the mean of a cell's genes.

    Attributes
    ----------
    checkpoint
        Roles "config" (``args.json``), "weights" and "vocabulary". Of an untrained twin the vocabulary alone
        is read, and only with ``vocabulary`` "released".
    architecture
        Fields of ``args.json`` instead of a config: makes the model an untrained one, its weights drawn by
        the seed.
    n_genes, selection
        How many highly variable genes of the vocabulary are read, and how they are chosen: "seurat_v3" on
        counts or "seurat" on log-normalised values. None for all genes.
    min_counts
        Leave out genes with fewer counts over all cells before variable ones are chosen.
    input
        "counts", or "as-given" for the matrix as it is. Bins depend on the order of a cell's values only:
        counts and their log-normalised values have the same ones.
    include_zeros
        Read genes without expression too, with value 0.
    cls_value
        Value of the ``<cls>`` token.
    pooling
        "cls", or "mean" of the tokens of genes.
    l2
        Scale each embedding to length one.
    max_tokens
        Longest sequence, ``<cls>`` included; of a cell with more genes a sample is read.
    binning
        What happens to tied values and how genes are sampled: a mode of
        :func:`zeroshot.tokens.tokenizers.bin_values`.
    vocabulary
        "released", that of the checkpoint; or "data-set", for untrained models only.

    Source
    ------
    Cui et al. 2024; scGPT at cebd6fae, tasks/cell_emb.py, data_collator.py and preprocess.py. The
    conventions of others are in the recipes of the cards.

    Differs
    -------
    Bins of tied values and sampled genes are drawn by seed, cell and gene, as the vocabulary names it.
    Upstream they depend on the number of processors, the batch size and the order of the cells. Cells without
    any known gene have a sequence of ``<cls>`` alone; upstream stops with an error.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    n_genes: int | None = None
    selection: Literal["seurat_v3", "seurat"] | None = None
    min_counts: int = 0
    input: Literal["counts", "as-given"] = "counts"
    include_zeros: bool = False
    cls_value: float = -2
    pooling: Literal["cls", "mean"] = "cls"
    l2: bool = True
    max_tokens: int = 1200
    binning: Draws = "seeded"
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that contradict each other."""
        if self.pooling not in ("cls", "mean"):
            raise ValueError(f"unknown pooling {self.pooling!r}: cls or mean")
        if (self.n_genes is None) != (self.selection is None):
            raise ValueError("n_genes and selection go together: give both or neither")
        if self.selection not in (None, "seurat_v3", "seurat"):
            raise ValueError(f"unknown selection {self.selection!r}: seurat_v3 or seurat")
        if self.max_tokens < 2:
            raise ValueError(f"max_tokens is {self.max_tokens}: <cls> and a gene need 2")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match and choose genes, and return what bins their values in any rows.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If config or vocabulary are not those of an scGPT.
        ValueError
            If there are too few cells to choose variable genes by.
        """
        config, tokens = self._config(), self._tokens(cells)
        if config["pad_token"] not in tokens:
            files = self.checkpoint.files
            raise WeightsError(
                f"{files['config']} names {config['pad_token'][:40]!r} as pad_token, which "
                f"{files['vocabulary']} lacks: they are not of the same model. Each scGPT has a vocab.json "
                "of its own."
            )
        columns, alignment = self._choose(cells, tokens)
        values, ids = cells.counts[:, columns], alignment.targets[columns]
        # By the names of the vocabulary: a file with Ensembl ids gets the draws of one with symbols.
        gene_keys = cell_keys(pd.Index(sorted(tokens, key=tokens.get))[ids])
        notes = []
        if self.vocabulary == "data-set":
            notes.append(f"the vocabulary is the {len(cells.genes):,} genes of the data set")
        empty = int((values.getnnz(axis=1) == 0).sum())
        if empty:
            notes.append(f"{empty:,} cells express none of the genes that are read")

        def tokenize(rows: np.ndarray) -> Tokens:
            keys = cell_keys(cells.ids[rows])
            bins = bin_values(
                values[rows],
                n_bins=config["n_bins"],
                mode=self.binning,
                seed=seed,
                cell_keys=keys,
                gene_keys=gene_keys,
            )
            return self._sequences(bins, ids, tokens["<cls>"], self.cls_value, keys, seed)

        return Tokenizer(
            tokenize,
            pad_id=tokens[config["pad_token"]],
            pad_value=config["pad_value"],
            overlap=None if self.vocabulary == "data-set" else alignment.report(cells.counts),
            notes=tuple(notes),
        )

    def tie_widths(self, cells: Cells, rows: np.ndarray, seed: int) -> np.ndarray:
        """Return the (tokens,) number of bins that each token's value can fall into, 1 where it is not tied.

        In the order of the tokens that :meth:`tokenizer` makes of the same rows.
        """
        tokens = self._tokens(cells)
        columns, alignment = self._choose(cells, tokens)
        widths = sparse.csr_matrix(cells.counts[rows][:, columns])
        widths.sum_duplicates()
        widths.eliminate_zeros()
        left, right = bin_blocks(widths, self._config()["n_bins"])
        widths.data = np.maximum(left - right, 1).astype(np.float32)
        keys = cell_keys(cells.ids[rows])
        sequences = self._sequences(widths, alignment.targets[columns], tokens["<cls>"], 1, keys, seed)
        return sequences.values  # noqa: PD011 - not a table

    def release(self, network: nn.Module, cells: Cells, folder: Path) -> None:
        """Write the files that :func:`zeroshot.models.weights.find` reads as a released scGPT."""
        write_release(folder, network, self.architecture, self._tokens(cells))

    def network(self, cells: Cells, seed: int) -> "ScgptNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, vocabulary and weights do not belong together.
        """
        config, tokens = self._config(), self._tokens(cells)
        if self.architecture is not None:
            names = sorted(tokens, key=tokens.get)
            return untrained_network(
                partial(self._build, config, tokens, {}), partial(_draw, names=names, seed=seed)
            )
        files = self.checkpoint.files
        state = read_state(files["weights"])
        rows = state.get("encoder.embedding.weight")
        if rows is not None and rows.ndim and len(rows) != len(tokens):
            raise WeightsError(
                f"the vocabulary has {len(tokens):,} tokens, the model {len(rows):,}: {files['vocabulary']} "
                f"and {files['weights']} are not of the same model. Each scGPT has a vocab.json of its own."
            )
        build = partial(self._build, config, tokens, state)
        return trained_network(build, state, rename, IGNORED, files["weights"])

    def _build(
        self, config: Mapping[str, Any], tokens: Mapping[str, int], state: Mapping[str, torch.Tensor]
    ) -> "ScgptNetwork":
        decoders = decoders_of(state, config["embsize"])
        return ScgptNetwork(config, len(tokens), *decoders, pooling=self.pooling, l2=self.l2)

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        return read_args(self.checkpoint.files["config"])

    def _tokens(self, cells: Cells) -> dict[str, int]:
        """Number of each token in the vocabulary, special ones included."""
        if self.vocabulary == "data-set":
            tokens = {str(name): number for number, name in enumerate(cells.genes)}
        else:
            tokens = read_vocabulary(self.checkpoint.files["vocabulary"])
        for name in SPECIAL:
            tokens.setdefault(name, len(tokens))
        return tokens

    def _choose(self, cells: Cells, tokens: Mapping[str, int]) -> tuple[np.ndarray, Alignment]:
        """Columns of the genes that are read, and the numbers of all genes in the vocabulary."""
        alignment = align_symbols(cells.genes, tokens)
        require_overlap(alignment, "scGPT", cells.counts)
        known = alignment.targets >= 0
        if self.min_counts:
            known &= np.asarray(cells.counts.sum(axis=0)).ravel() >= self.min_counts
        columns = np.flatnonzero(known)
        if self.n_genes is None or self.n_genes >= len(columns):
            return columns, alignment
        import scanpy as sc

        logarithms = self.selection == "seurat" and self.input == "counts"
        values = cells.log_normalized() if logarithms else cells.counts
        adata = AnnData(sparse.csr_matrix(values[:, columns]))
        adata.uns["log1p"] = {"base": None}  # tells scanpy's seurat that the values are logarithms
        try:
            sc.pp.highly_variable_genes(adata, flavor=self.selection, n_top_genes=self.n_genes)
        except ValueError as error:  # of the loess fit, in words of linear algebra
            raise ValueError(
                f"scanpy's {self.selection} cannot choose {self.n_genes:,} variable genes from "
                f"{adata.n_obs:,} cells and {adata.n_vars:,} genes: so few cells give too few distinct means "
                "to fit the variance to. Give more cells, or use a recipe that reads all genes."
            ) from error
        return columns[adata.var["highly_variable"].to_numpy()], alignment

    def _sequences(
        self,
        values: sparse.csr_matrix,
        ids: np.ndarray,
        cls_id: int,
        cls_value: float,
        keys: np.ndarray,
        seed: int,
    ) -> Tokens:
        return value_tokens(
            values,
            ids,
            cls_id=cls_id,
            cls_value=cls_value,
            max_tokens=self.max_tokens,
            mode=self.binning,
            seed=seed,
            cell_keys=keys,
            include_zeros=self.include_zeros,
        )


class ScgptNetwork(nn.Module):
    """Genes and values embedded and summed, a transformer, and two decoders.

    Parameters
    ----------
    config
        Fields of ``args.json``.
    n_tokens
        Size of the vocabulary.
    decoder, mvc_decoder
        What predicts values, see :func:`zeroshot.models.scgpt_decoders.decoders_of`.
    pooling, l2
        What ``forward`` returns: see :class:`Scgpt`.

    Attributes
    ----------
    mask, special_ends
        As for :class:`zeroshot.models.MaskedNetwork`: a value, and ``<cls>`` in front.

    Source
    ------
    Cui et al. 2024; scGPT at cebd6fae, model.TransformerModel.
    """

    special_ends = (1, 0)

    def __init__(
        self,
        config: Mapping[str, Any],
        n_tokens: int,
        decoder: ExpressionDecoder,
        mvc_decoder: CellDecoder,
        *,
        pooling: Literal["cls", "mean"],
        l2: bool,
    ) -> None:
        super().__init__()
        dim = config["embsize"]
        self.mask = config["mask_value"]
        self.pooling = pooling
        self.l2 = l2
        self.genes = nn.Embedding(n_tokens, dim)
        self.gene_norm = nn.LayerNorm(dim)
        self.value1 = nn.Linear(1, dim)
        self.value2 = Linear(dim, dim)
        self.value_norm = nn.LayerNorm(dim)
        self.encoder = TransformerEncoder(config["nlayers"], dim, config["nheads"], config["d_hid"])
        self.decoder = decoder
        self.mvc_decoder = mvc_decoder

    def forward(self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 embeddings.

        Parameters
        ----------
        ids, values
            (cells, tokens) genes and their binned values, ``<cls>`` first, padded on the right.
        lengths
            (cells,) tokens that are no padding.
        """
        first_only = self.pooling == "cls"
        # Summed in float32 whatever the network computes in: bfloat16 keeps three digits.
        hidden = self.hidden(ids, values, lengths, first_only=first_only).float()
        if first_only:
            pooled = hidden[:, 0]
        else:
            place = torch.arange(ids.shape[1], device=ids.device)
            genes = (place >= 1) & (place < lengths[:, None])
            pooled = mean_over(hidden, genes)
        return nn.functional.normalize(pooled, dim=1) if self.l2 else pooled

    def hidden(
        self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor, *, first_only: bool = False
    ) -> torch.Tensor:
        """Return (cells, tokens, dim) last hidden states, of the first token alone with ``first_only``."""
        return self.encoder(self.embed_genes(ids) + self.embed_values(values), lengths, first_only=first_only)

    def embed_genes(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (cells, tokens, dim) embeddings of genes without their values."""
        return self.gene_norm(self.genes(ids))

    def embed_values(self, values: torch.Tensor) -> torch.Tensor:
        """Return (cells, tokens, dim) embeddings of values; negative ones are ordinary input."""
        clipped = values.clamp(max=_LARGEST_VALUE).to(self.value1.weight.dtype)[..., None]
        return self.value_norm(self.value2(nn.functional.relu(self.value1(clipped))))

    def predict(
        self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return (cells, tokens) bins predicted from each gene's own token ("gep") and the cell ("gepc")."""
        genes = self.embed_genes(ids)
        hidden = self.encoder(genes + self.embed_values(values), lengths)
        return {
            "gep": self.decoder(hidden)["value"],
            "gepc": self.mvc_decoder(hidden[:, 0], genes)["value"],
        }

    def decode(
        self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor, hidden: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return (places,) bins at hidden places alone, as :meth:`predict` names them."""
        genes = self.embed_genes(ids)
        states = self.encoder(genes + self.embed_values(values), lengths)
        cell = states[:, 0][hidden.nonzero()[:, 0]]  # of each hidden place
        return {
            "gep": self.decoder(states[hidden])["value"],
            "gepc": self.mvc_decoder(cell, genes[hidden][:, None])["value"].squeeze(-1),
        }


def _draw(network: ScgptNetwork, names: list[str], seed: int) -> None:
    """Initialise as scGPT does before training: torch's own, embeddings of genes within ±0.1."""
    fill_uniform(network, seed)
    first, *others = network.encoder.layers
    with torch.no_grad():
        for layer in others:  # torch's encoder starts with copies of one layer
            layer.load_state_dict(first.state_dict())
        # The embedding of a gene is drawn by its name: the order of the genes is of no account.
        rows = gene_rows(names, network.genes.weight.shape[1], seed, normal=False)
        network.genes.weight.copy_(torch.from_numpy(rows)).mul_(0.2).sub_(0.1)
