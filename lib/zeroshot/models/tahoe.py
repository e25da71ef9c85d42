"""Tahoe-x1: a transformer after scGPT's, trained on perturbed cells as well.

Released files are read as they are; the network is native, without llm-foundry and flash-attn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear, TransformerEncoder
from zeroshot.models.ensembl_names import ensembl_of_symbol
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.released_names import rename_in_layer, rename_part
from zeroshot.models.untrained import fill_uniform, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import (
    REMEDY,
    read_bytes,
    read_json,
    require_architecture,
    require_numbering,
    shortened,
)
from zeroshot.tokens.genes import align_ensembl, note_silent_cells, over_vocabulary, require_overlap
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import cell_keys, value_tokens

PACKAGES = ("PyYAML", "numpy", "pandas", "scipy", "torch")

_LARGEST_VALUE = 512  # values above are clipped
_SPECIAL = ("<pad>", "<cls>")
# Heads that predict values, the mark of a hidden gene, and the encoder of drugs, which inference drops.
_IGNORED = (
    "model.flag_encoder.*",
    "model.expression_decoder.*",
    "model.mvc_decoder.*",
    "model.chem_encoder.*",
)


@dataclass(frozen=True, kw_only=True)
class Tahoe:
    """The ``<cls>`` token after the last norm, of length one.

    Attributes
    ----------
    checkpoint
        Roles "config" (``model_config.yml``), "weights" and "vocabulary" (``vocab.json``), and if possible
        "gene_names" (symbol to Ensembl id) for genes named by symbols.
    architecture
        Fields of ``model_config.yml`` instead of a config: makes the model an untrained one, its weights
        drawn by the seed.
    n_bins
        Bins of a cell's values, that of zero included.
    max_tokens
        Longest sequence, ``<cls>`` included; of a cell with more genes a sample is read.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Tahoe Therapeutics 2025; tahoebio/tahoe-x1: blocks.py at 00c06b7 for the layers and the mask, model.py at
    00675cc, collator.py at 08a1b89 for bins and sampling, emb_extractor.py at 14ddf74 for what is embedded.
    Read there, not executed: no output of the reference was at hand to compare with. Without genes to
    predict, the mask that the models of 70 million and 1.3 billion parameters were trained with hides
    padding alone.

    Differs
    -------
    Of a cell with too many genes the sample is drawn by seed, cell and gene; upstream draws without a seed.
    Zeros that a matrix stores are not read. Symbols are looked up, by HGNC where the files name none;
    upstream wants Ensembl ids.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    n_bins: int = 51
    max_tokens: int = 2048
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.n_bins < 3:
            raise ValueError(f"n_bins is {self.n_bins}: zero and two more are the fewest")
        if self.max_tokens < 2:
            raise ValueError(f"max_tokens is {self.max_tokens}: <cls> and a gene need 2")
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what bins their values in any rows.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If the vocabulary is not that of a Tahoe-x1.
        """
        tokens = self._tokens(cells)
        if self.vocabulary == "data-set":
            counts, overlap = cells.counts.astype(np.float64), None
            counts.sum_duplicates()
            counts.eliminate_zeros()
            ids = np.arange(counts.shape[1])
        else:
            symbols = ensembl_of_symbol(self.checkpoint)
            alignment = align_ensembl(cells.genes, cells.ensembl_ids, tokens, ensembl_of_symbol=symbols)
            require_overlap(alignment, "Tahoe-x1", cells.counts)
            counts = over_vocabulary(cells.counts, alignment.targets, len(tokens))
            overlap, ids = alignment.report(cells.counts), np.arange(len(tokens))

        def tokenize(rows: np.ndarray) -> Tokens:
            return value_tokens(
                left_bins(counts[rows], self.n_bins),
                ids,
                cls_id=tokens["<cls>"],
                cls_value=-2,
                max_tokens=self.max_tokens,
                seed=seed,
                cell_keys=cell_keys(cells.ids[rows]),
            )

        return Tokenizer(
            tokenize, pad_id=tokens["<pad>"], pad_value=-2, overlap=overlap, notes=note_silent_cells(counts)
        )

    def network(self, cells: Cells, seed: int) -> "TahoeNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, vocabulary and weights do not belong together.
        """
        tokens = self._tokens(cells)
        if self.architecture is not None:
            build = partial(TahoeNetwork, self.architecture, len(tokens))
            return untrained_network(build, partial(_draw, names=sorted(tokens, key=tokens.get), seed=seed))
        files = self.checkpoint.files
        state = read_state(files["weights"])
        rows = state.get("model.gene_encoder.embedding.weight")
        if rows is not None and rows.ndim and len(rows) < len(tokens):
            raise WeightsError(
                f"the vocabulary has {len(tokens):,} tokens, the model {len(rows):,}: {files['vocabulary']} "
                f"and {files['weights']} are not of the same model. {REMEDY}"
            )
        n_rows = len(tokens) if rows is None or not rows.ndim else len(rows)
        build = partial(TahoeNetwork, read_config(files["config"]), n_rows)
        return trained_network(build, state, rename, _IGNORED, files["weights"])

    def _tokens(self, cells: Cells) -> dict[str, int]:
        """Number of each token in the vocabulary, special ones included."""
        if self.vocabulary == "data-set":
            names = [*map(str, cells.genes), *_SPECIAL]
            return {name: number for number, name in enumerate(names)}
        path, expected = self.checkpoint.files["vocabulary"], "vocab.json of a Tahoe-x1"
        tokens = require_numbering(read_json(path, expected), path, expected)
        absent = [name for name in _SPECIAL if name not in tokens]
        if absent:
            raise WeightsError(f"{path} lacks {' and '.join(absent)}. Expected {expected}. {REMEDY}")
        return tokens


class TahoeNetwork(nn.Module):
    """Genes and values embedded, normed and summed, a transformer with norms in front, and a last norm.

    Parameters
    ----------
    config
        Fields of ``model_config.yml``.
    n_tokens
        Rows of the embedding of genes.

    Source
    ------
    Tahoe Therapeutics 2025; SCGPTModel of model.py at 00675cc.
    """

    def __init__(self, config: Mapping[str, Any], n_tokens: int) -> None:
        super().__init__()
        dim = config["d_model"]
        self.genes = nn.Embedding(n_tokens, dim)
        self.gene_norm = nn.LayerNorm(dim)
        self.value1 = nn.Linear(1, dim)
        self.value2 = Linear(dim, dim)
        self.value_norm = nn.LayerNorm(dim)
        self.encoder = TransformerEncoder(
            config["n_layers"],
            dim,
            config["n_heads"],
            config["expansion_ratio"] * dim,
            activation=config["transformer_activation"],
            norm="pre",
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32 rows of length one.

        Parameters
        ----------
        ids, values
            (cells, tokens) genes and their bins, ``<cls>`` first, padded on the right.
        lengths
            (cells,) tokens that are no padding.
        """
        clipped = values.clamp(max=_LARGEST_VALUE).to(self.value1.weight.dtype)[..., None]
        bins = self.value_norm(self.value2(nn.functional.relu(self.value1(clipped))))
        hidden = self.encoder(self.gene_norm(self.genes(ids)) + bins, lengths, first_only=True)
        return nn.functional.normalize(self.norm(hidden[:, 0]).float(), dim=1)


def left_bins(counts: sparse.csr_matrix, n_bins: int) -> sparse.csr_matrix:
    """Bins 1 to ``n_bins - 1`` of each cell's values: one more than the quantile edges below each.

    Parameters
    ----------
    counts
        (cells, columns) positive where stored.
    n_bins
        Bins, that of zero included.

    Returns
    -------
    scipy.sparse.csr_matrix
        (cells, columns) float32, the same places.

    Source
    ------
    tahoebio/tahoe-x1 at 08a1b89, ``collator.binning`` with its default, ``right=False``: torch's quantiles of
    float32, cell by cell.
    """
    shares = torch.linspace(0, 1, n_bins - 1, dtype=torch.float32)
    bins = counts.astype(np.float32)
    for start, stop in pairwise(bins.indptr):
        if stop > start:
            values = torch.from_numpy(bins.data[start:stop].copy())
            below = torch.bucketize(values, torch.quantile(values, shares))
            bins.data[start:stop] = below.numpy() + 1
    return bins


_SIZES = {
    "d_model": (1, 2**15), "n_layers": (1, 512), "n_heads": (1, 2**10), "expansion_ratio": (1, 2**6),
}  # fmt: skip
_FIXED = {"norm_scheme": "pre", "use_glu": False, "cell_emb_style": "cls"}


def read_config(path: Path) -> dict[str, Any]:
    """Architecture of a released Tahoe-x1.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or describes what this network does not compute.
    """
    expected = "model_config.yml of a Tahoe-x1"
    try:
        config = yaml.safe_load(read_bytes(path, expected))
    except (yaml.YAMLError, RecursionError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise WeightsError(f"{path} is not YAML with fields. Expected {expected}. {REMEDY}")
    absent = [name for name in (*_SIZES, "transformer_activation") if name not in config]
    if absent:
        raise WeightsError(f"{path} lacks {', '.join(absent)}. Expected {expected}. {REMEDY}")
    require_architecture(config, path, _SIZES, {}, heads="n_heads", width="d_model")
    other = [name for name, value in _FIXED.items() if config.get(name, value) != value]
    if config["transformer_activation"] not in ("relu", "gelu"):
        other.append("transformer_activation")
    if other:
        asked = ", ".join(f"{name} {shortened(config[name])}" for name in other)
        raise WeightsError(f"{path} asks for {asked}, which this network does not compute. {REMEDY}")
    return config


_NAMES = {
    "model.gene_encoder.embedding": "genes",
    "model.gene_encoder.enc_norm": "gene_norm",
    "model.expression_encoder.linear1": "value1",
    "model.expression_encoder.linear2": "value2",
    "model.expression_encoder.norm": "value_norm",
    "model.transformer_encoder.norm": "norm",
}
_NAMES_IN_LAYER = {
    "self_attn.Wqkv": "qkv",
    "self_attn.out_proj": "out",
    "up_proj": "linear1",
    "down_proj": "linear2",
    "norm1": "norm1",
    "norm2": "norm2",
}


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    return rename_in_layer(key, "model.transformer_encoder.layers.", _NAMES_IN_LAYER) or rename_part(
        key, _NAMES
    )


def _draw(network: TahoeNetwork, names: list[str], seed: int) -> None:
    """Linear layers as torch draws them, the embedding of a gene by its name."""
    fill_uniform(network, seed)
    rows = gene_rows(names, network.genes.weight.shape[1], seed)
    with torch.no_grad():
        network.genes.weight.copy_(torch.from_numpy(rows))
