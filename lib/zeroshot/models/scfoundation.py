"""scFoundation: a transformer over the expressed genes of a cell, their values and two tokens of read depth.

The released checkpoint is read as it is; encoder and decoder are native.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells, performer
from zeroshot.models.encoder import Linear, TransformerEncoder, mean_over
from zeroshot.models.networks import (
    genes_of,
    require_genes,
    require_vocabulary,
    trained_network,
    untrained_network,
)
from zeroshot.models.performer import KeyMaximum, Performer
from zeroshot.models.released_names import rename_layer
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_content, tensors_of
from zeroshot.models.weights.files import REMEDY, require_whole
from zeroshot.tokens.genes import note_silent_cells, over_symbols
from zeroshot.tokens.sequences import Tokenizer, Tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")

Pooling = Literal["all", "max", "genes"]

_DECODED_AT_ONCE = 65_536  # genes of all cells: what memory grows with

# Entries of models.ckpt: for cells, for read-depth enhancement, for genes.
_ENTRIES = {"ce": "cell", "rde": "rde", "gene": "gene"}


@dataclass(frozen=True, kw_only=True)
class ScFoundation:
    """Tokens of read depth, maximum and mean of a cell's genes after the last layer.

    Attributes
    ----------
    checkpoint
        Roles "weights" (``models.ckpt``) and "vocabulary" (the 19,264 genes in order).
    architecture
        Sizes instead of the config in the checkpoint: makes the model an untrained one, its weights drawn by
        the seed.
    version
        Which model of the checkpoint: "ce", upstream's for cells, "rde", or "gene".
    pooling
        "all": the two tokens of depth, maximum and mean of the genes, side by side. "max": maximum over all
        tokens. "genes": mean over all genes of what the decoder gives, which is not a convention of the
        authors.
    tgthighres
        Depth that the cell shall be read as, as upstream writes it: "t4" is 10⁴ counts, "f2" twice the cell's
        own, "a0.5" 0.5 more in its logarithm.
    pre_normalized
        As upstream: "F" for counts, "T" for values that are normalised already, and "A" for such values with
        the counts of each cell known (its library size).
    key_maximum
        Of the decoder, see :class:`zeroshot.models.performer.Performer`.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Hao et al. 2024; biomap-research/scFoundation at d09626a, model/get_embedding.py, which computes one cell
    a call.

    Differs
    -------
    Genes are always aligned by name; upstream takes a table of 19,264 columns or more as it is. A cell that
    expresses none of the genes keeps its token of target depth alone; upstream fails.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    version: Literal["ce", "rde", "gene"] = "ce"
    pooling: Pooling = "all"
    tgthighres: str = "t4"
    pre_normalized: Literal["F", "T", "A"] = "F"
    key_maximum: KeyMaximum = "cell"
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.pooling not in ("all", "max", "genes"):
            raise ValueError(f"unknown pooling {self.pooling!r}: all, max or genes")
        if self.version not in _ENTRIES:
            raise ValueError(f"unknown version {self.version!r}: {', '.join(_ENTRIES)}")
        if self.pre_normalized not in ("F", "T", "A"):
            raise ValueError(f"unknown pre_normalized {self.pre_normalized!r}: F, T or A")
        target_depth(self.tgthighres, 1.0)
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes, and return what reads the expressed ones of any rows. Nothing here is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If the list of genes is damaged.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        counts, overlap = over_symbols(cells.counts, cells.genes, genes, "scFoundation")

        def tokenize(rows: np.ndarray) -> Tokens:
            return depth_tokens(
                counts[rows], cells.library_size[rows], self.tgthighres, pre_normalized=self.pre_normalized
            )

        return Tokenizer(
            tokenize,
            pad_id=0,
            overlap=None if self.vocabulary == "data-set" else overlap,
            notes=note_silent_cells(counts),
        )

    def network(self, cells: Cells, seed: int) -> "ScFoundationNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, genes and weights do not belong together.
        """
        genes = genes_of(cells, self.checkpoint, self.vocabulary)
        build = partial(ScFoundationNetwork, pooling=self.pooling, key_maximum=self.key_maximum)
        if self.architecture is not None:
            build = partial(build, self.architecture, len(genes))
            return untrained_network(build, partial(_draw, genes=genes, seed=seed))
        path = self.checkpoint.files["weights"]
        config, state = _read_model(path, _ENTRIES[self.version])
        require_genes(len(genes), config["seq_len"] - 2, self.checkpoint)
        return trained_network(partial(build, config, len(genes)), state, rename, _IGNORED, path)


class ScFoundationNetwork(nn.Module):
    """Values binned softly, genes as positions, a transformer, and a Performer over all genes.

    Parameters
    ----------
    config
        Sizes: ``encoder`` and ``decoder`` with ``hidden_dim``, ``depth`` and ``heads``, ``bin_num`` and
        others of the released config.
    n_genes
        Genes of the vocabulary; tokens of depth come after them.
    pooling, key_maximum
        See :class:`ScFoundation`.

    Source
    ------
    Hao et al. 2024; mae_autobin.py of scFoundation at d09626a.
    """

    def __init__(
        self, config: Mapping[str, Any], n_genes: int, *, pooling: Pooling, key_maximum: KeyMaximum = "cell"
    ) -> None:
        super().__init__()
        encoder, decoder = config["encoder"], config["decoder"]
        dim, narrow = encoder["hidden_dim"], decoder["hidden_dim"]
        self.n_genes = n_genes
        self.pooling = pooling
        self.token_emb = _SoftBins(config, dim)
        self.pos_emb = nn.Embedding(n_genes + 3, dim)
        self.encoder = TransformerEncoder(encoder["depth"], dim, encoder["heads"], 4 * dim)
        self.encoder_norm = nn.LayerNorm(dim)
        self.decoder_embed = Linear(dim, narrow)
        self.performer = Performer(
            decoder["depth"], narrow, decoder["heads"], decoder.get("dim_head", 64), qkv_bias=True,
            key_maximum=key_maximum,
        )  # fmt: skip
        self.decoder_norm = nn.LayerNorm(narrow)
        self.norm = nn.LayerNorm(narrow)

    def forward(self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, 4 dim) with "all", (cells, dim) with "max", (cells, decoder's dim) with "genes".

        Parameters
        ----------
        ids, values
            (cells, tokens) genes and their values, then the tokens of depth; padded on the right.
        lengths
            (cells,) tokens that are no padding.
        """
        if self.pooling == "genes":
            # A few at once: a cell of the decoder is as long as the vocabulary, not as its own tokens.
            size = max(_DECODED_AT_ONCE // self.n_genes, 1)
            parts = zip(ids.split(size), values.split(size), lengths.split(size), strict=True)
            return torch.cat([self.decode(*part).float().mean(dim=1) for part in parts])
        hidden = self.hidden(ids, values, lengths).float()
        place = torch.arange(ids.shape[1], device=ids.device)
        if self.pooling == "max":
            return _maximum(hidden, place < lengths[:, None])
        genes = place < lengths[:, None] - 2
        last, before = (_token_at(hidden, lengths - number) for number in (1, 2))
        return torch.cat([last, before, _maximum(hidden, genes), mean_over(hidden, genes)], dim=1)

    def hidden(self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, tokens, dim) hidden states of the encoder."""
        embedded = self.token_emb(values) + self.pos_emb(ids)
        return self.encoder_norm(self.encoder(embedded, lengths.clamp(min=1)))

    def decode(self, ids: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, genes, decoder's dim) for every gene of the vocabulary, expressed or not."""
        n_cells, n_tokens = ids.shape
        real = torch.arange(n_tokens, device=ids.device) < lengths[:, None]
        cell, place = real.nonzero(as_tuple=True)
        every = values.new_zeros(n_cells, self.n_genes + 2)
        every[cell, ids[cell, place]] = values[cell, place]
        embedded = self.token_emb(every)
        embedded[cell, ids[cell, place]] = self.hidden(ids, values, lengths)[cell, place]
        hidden = self.decoder_embed(embedded + self.pos_emb.weight[: self.n_genes + 2])
        return self.norm(self.decoder_norm(self.performer(hidden)))[:, : self.n_genes]


class _SoftBins(nn.Module):
    """A value as a weighted mean of the embeddings of bins."""

    def __init__(self, config: Mapping[str, Any], dim: int) -> None:
        super().__init__()
        n_bins = config["bin_num"]
        self.alpha, self.pad, self.mask = config["bin_alpha"], config["pad_token_id"], config["mask_token_id"]
        self.mlp, self.mlp2 = nn.Linear(1, n_bins), nn.Linear(n_bins, n_bins)
        self.emb = nn.Embedding(n_bins, dim)
        self.emb_mask, self.emb_pad = nn.Embedding(1, dim), nn.Embedding(1, dim)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = self.mlp(values.to(self.mlp.weight.dtype)[..., None])
        hidden = nn.functional.leaky_relu(hidden, 0.1)
        embedded = torch.softmax(self.alpha * hidden + self.mlp2(hidden), dim=-1) @ self.emb.weight
        for value, row in ((self.mask, self.emb_mask), (self.pad, self.emb_pad)):
            embedded = torch.where((values == value)[..., None], row.weight[0], embedded)
        return embedded


def depth_tokens(
    counts: sparse.csr_matrix,
    totals: np.ndarray,
    tgthighres: str,
    *,
    pre_normalized: Literal["F", "T", "A"] = "F",
) -> Tokens:
    """Expressed genes with their values, then the target depth and the cell's own, both as logarithms.

    Parameters
    ----------
    counts
        (cells, genes) counts or values over the vocabulary, in its order.
    totals
        (cells,) counts of each cell, used with ``pre_normalized`` "A" only; else the sum of the row is taken.
    tgthighres, pre_normalized
        See :class:`ScFoundation`.

    Returns
    -------
    Tokens
        A token of depth is there only where its value is above zero: a cell of one count has no logarithm.
    """
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    n_cells, n_genes = counts.shape
    sums = np.asarray(counts.sum(axis=1)).ravel()
    own = np.asarray(totals, np.float64) if pre_normalized == "A" else sums
    row = np.repeat(np.arange(n_cells), np.diff(counts.indptr))
    values = counts.data if pre_normalized != "F" else np.log1p(counts.data / sums[row] * 1e4)
    with np.errstate(divide="ignore"):
        depths = np.stack([target_depth(tgthighres, own), np.log10(own)], axis=1)
    row = np.concatenate([row, np.repeat(np.arange(n_cells), 2)])
    ids = np.concatenate([counts.indices, np.tile([n_genes, n_genes + 1], n_cells)]).astype(np.int64)
    values = np.concatenate([values, depths.ravel()])
    positive = values > 0
    row, ids, values = row[positive], ids[positive], values[positive]
    order = np.lexsort((ids, row))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_cells))]).astype(np.int64)
    return Tokens(ids[order], values[order].astype(np.float32), offsets, np.zeros(n_cells, np.int64))


def target_depth(tgthighres: str, totals: np.ndarray | float) -> np.ndarray:
    """Logarithm to base 10 of the depth that cells with these counts shall be read as.

    Raises
    ------
    ValueError
        If it is not "t", "f" or "a" with a number behind it.
    """
    kind, number = tgthighres[:1], tgthighres[1:]
    try:
        amount = float(number)
    except ValueError:
        amount = float("nan")
    if kind not in ("t", "f", "a") or not np.isfinite(amount) or (kind == "f" and amount <= 0):
        raise ValueError(
            f"tgthighres is {tgthighres!r}: expected t, f or a with a number, such as t4 (10⁴ counts), f2 "
            "(twice the cell's own) or a0.5 (0.5 more in its logarithm)"
        )
    if kind == "t":
        return np.full(np.shape(totals), amount)
    return np.log10(np.asarray(totals) * amount) if kind == "f" else np.log10(totals) + amount


def _token_at(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(cells, dim) of one token of each cell, zero where the place does not exist."""
    rows = hidden[torch.arange(len(hidden), device=hidden.device), places.clamp(min=0)]
    return torch.where((places >= 0)[:, None], rows, 0)


def _maximum(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(cells, dim) largest value over some tokens, zero where there are none."""
    largest = torch.where(mask[..., None], hidden, -torch.inf).amax(dim=1)
    return torch.where(mask.any(dim=1, keepdim=True), largest, 0)


# What predicts values in pretraining, and a counter of the Performer's training.
_IGNORED = ("*.to_final.*", "*calls_since_last_redraw", "*.mask_gene_name*")
_SIZES = {
    "seq_len": (3, 2**22),
    "bin_num": (2, 2**15),
    "pad_token_id": (0, 2**15),
    "mask_token_id": (0, 2**15),
}
_WIDTHS = {"hidden_dim": (1, 2**15), "depth": (1, 512), "heads": (1, 2**10)}


def _read_model(path: Any, entry: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Config and tensors of one of the models in a released file."""
    content = read_content(path)
    model = content.get(entry) if isinstance(content, dict) else None
    config = model.get("config") if isinstance(model, dict) else None
    state = model.get("state_dict") if isinstance(model, dict) else None
    try:
        merged = {**config["model_config"]["mae_autobin"], **config["dataset_config"]["rnaseq"]}
        tensors = tensors_of(state)
        parts = [merged["encoder"], merged["decoder"]]
    except (TypeError, KeyError, AttributeError):
        raise WeightsError(
            f"{path} holds no model {entry!r} of scFoundation: expected models.ckpt with config and "
            f"state_dict of each. {REMEDY}"
        ) from None
    require_whole(merged, path, _SIZES)
    for part in parts:
        require_whole(part, path, _WIDTHS)
    kinds = (parts[0].get("module_type"), parts[1].get("module_type"))
    if kinds != ("transformer", "performer") or any(part.get("norm_first") for part in parts):
        raise WeightsError(
            f"{path} asks for other modules than a post-norm transformer and a performer: this network "
            f"computes these two. {REMEDY}"
        )
    return {"bin_alpha": 1.0, **merged}, tensors


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    key = key.partition("model.")[2]
    if key.startswith(("token_emb.", "pos_emb.", "decoder_embed.", "norm.")):
        return key
    if key.startswith(("encoder.norm.", "decoder.norm.")):
        return key.replace(".norm.", "_norm.")
    return rename_layer(key, "encoder.transformer_encoder.") or performer.rename(
        key, "decoder.performer.net.layers."
    )


def _draw(network: ScFoundationNetwork, genes: list[str], seed: int) -> None:
    """Normal weights, zero biases, norms that change nothing; a gene's position is drawn by its name."""
    fill_normal(network, 0.02, seed)
    rows = gene_rows([*genes, "<target depth>", "<depth>", "<pad>"], network.pos_emb.weight.shape[1], seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.pos_emb.weight.copy_(torch.from_numpy(rows))
        for layer in network.performer.layers:
            layer.projection.normal_(generator=generator)
