"""CellPLM: a transformer whose tokens are cells. Cells that are embedded together are each other's context.

The released checkpoint is read as it is; the network is native.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear
from zeroshot.models.geneformer_files import read_names
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.released_names import rename_in_layer, rename_part
from zeroshot.models.untrained import fill_normal, gene_rows
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import REMEDY, read_json, require_whole
from zeroshot.tokens.genes import Alignment, align_ensembl, align_symbols, collapse, require_overlap
from zeroshot.tokens.tokenizers import cell_keys, uniform

PACKAGES = ("numpy", "pandas", "scipy", "torch")

Draw = Literal["seeded", "torch", "argmax"]
Context = Literal["data-set", "batch", "cell"]

_EPS = 1e-6  # of the flow attention
_HEADS = 8
_GROUPS = 4  # of the norm of the embedded cell
_HIDDEN = 512  # of the latent's mean


@dataclass(frozen=True, kw_only=True)
class CellPlm:
    """Mean of the latent variable of each cell.

    Attributes
    ----------
    checkpoint
        Roles "config" (with the list of genes) and "weights"; "gene_names" (symbol to Ensembl id) if genes
        are named by symbols.
    architecture
        Fields of the config: makes the model an untrained one, its weights drawn by the seed.
    cluster
        Which component of the mixture a cell belongs to. "seeded": drawn as upstream, by seed and name of
        the cell. "torch": by torch's generator, which gives upstream's numbers after ``torch.manual_seed``.
        "argmax": the most likely one.
    context
        Which cells attend to each other: all of the data set, those of a batch, or none but the cell itself.
    chunk
        Most cells of a context; None for all.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set.

    Source
    ------
    Wen et al. 2024; OmicsML/CellPLM at b59ee76, pipeline/cell_embedding.py with its default of one chunk.

    Differs
    -------
    Symbols are turned into Ensembl ids by a file; upstream asks a server. A cell alone has itself as
    context, which upstream would allow, but never does.
    """

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    cluster: Draw = "seeded"
    context: Context = "data-set"
    chunk: int | None = None
    vocabulary: Literal["released", "data-set"] = "released"

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        if self.cluster not in ("seeded", "torch", "argmax"):
            raise ValueError(f"unknown cluster {self.cluster!r}: seeded, torch or argmax")
        if self.context not in ("data-set", "batch", "cell"):
            raise ValueError(f"unknown context {self.context!r}: data-set, batch or cell")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}: a context needs at least one cell")
        require_vocabulary(self.vocabulary, self.architecture)

    def embed(self, cells: Cells, seed: int) -> np.ndarray:
        """Return (cells, latent) float32.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the model knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If config and weights do not belong together.
        """
        genes = self._genes(cells)
        alignment = self._align(cells, genes)
        require_overlap(alignment, "CellPLM", cells.counts)
        picked, targets = collapse(cells.counts, alignment.targets)
        logarithms = sparse.csr_matrix(picked, dtype=np.float32).log1p()
        network = self.network(cells, seed)
        rows = network.genes.detach().numpy()[targets]
        embedding = np.empty((len(cells.ids), network.mean.out_features), np.float32)
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            for members in self._contexts(cells):
                tokens = torch.from_numpy(logarithms[members] @ rows)
                hidden = network.hidden(tokens[:, None] if self.context == "cell" else tokens[None])
                hidden = hidden.reshape(len(members), -1)
                noise = self._noise(cells, members, network.cluster.out_features, seed, generator)
                embedding[members] = network.latent_mean(hidden, noise).numpy()
        return embedding

    def notes(self, cells: Cells) -> tuple[str, ...]:
        """What a reader of the scores has to know."""
        context = {
            "data-set": "cells are each other's context: other cells change a cell's embedding",
            "batch": "cells of a batch are each other's context: others in it change a cell's embedding",
            "cell": "each cell is its own context, which upstream never does",
        }[self.context]
        return (context,)

    def network(self, cells: Cells, seed: int) -> "CellPlmNetwork":
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config and weights do not belong together.
        """
        genes = self._genes(cells)
        build = partial(CellPlmNetwork, self._config(), len(genes))
        if self.architecture is not None:
            return untrained_network(build, partial(_draw, genes=genes, seed=seed))
        path = self.checkpoint.files["weights"]
        return trained_network(build, read_state(path), rename, _IGNORED, path)

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        return read_config(self.checkpoint.files["config"])

    def _genes(self, cells: Cells) -> list[str]:
        if self.vocabulary == "data-set":
            return [str(name) for name in cells.genes]
        return self._config()["gene_list"]

    def _align(self, cells: Cells, genes: list[str]) -> Alignment:
        numbers = {name: number for number, name in enumerate(genes)}
        if self.vocabulary == "data-set":
            return align_symbols(cells.genes, numbers)
        names = self.checkpoint.files.get("gene_names")
        symbols = None if names is None else read_names(names)
        return align_ensembl(cells.genes, cells.ensembl_ids, numbers, ensembl_of_symbol=symbols)

    def _contexts(self, cells: Cells) -> Iterator[np.ndarray]:
        """Row numbers of the cells that are computed together, batches in the order of their names."""
        rows = np.arange(len(cells.ids))
        groups = [rows]
        if self.context == "batch":
            if cells.batches is None:
                raise ValueError("context is batch, but the cells have no batches: use data-set or cell")
            groups = [np.flatnonzero(cells.batches == batch) for batch in np.unique(cells.batches)]
        size = _CELLS_AT_ONCE if self.context == "cell" else self.chunk
        for group in groups:
            step = size or len(group)
            for start in range(0, len(group), step):
                yield group[start : start + step]

    def _noise(
        self, cells: Cells, members: np.ndarray, n_clusters: int, seed: int, generator: torch.Generator
    ) -> torch.Tensor | None:
        """(cells, clusters) uniform numbers that decide the component; None where nothing is drawn."""
        if self.cluster == "argmax":
            return None
        if self.cluster == "torch":
            noise = torch.rand(len(members), n_clusters, generator=generator)
            # Upstream draws a latent too and does not use it: what is drawn for the next context depends on
            # that.
            torch.randn(len(members), self._config()["post_latent_dim"], generator=generator)
            return noise
        keys = cell_keys(cells.ids[members])[:, None]
        return torch.from_numpy(uniform(seed, keys, np.arange(n_clusters)).astype(np.float32))


class CellPlmNetwork(nn.Module):
    """Genes of a cell summed to a token, flow attention between cells, and the mean of a Gaussian mixture.

    Parameters
    ----------
    config
        ``enc_hid``, ``enc_layers``, ``num_clusters``, ``post_latent_dim``.
    n_genes
        Genes of the vocabulary.

    Source
    ------
    Wen et al. 2024; the evaluation path of model/cellformer.py at b59ee76. Flow attention: Wu et al. 2022.
    """

    def __init__(self, config: Mapping[str, Any], n_genes: int) -> None:
        super().__init__()
        dim, n_clusters = config["enc_hid"], config["num_clusters"]
        self.genes = nn.Parameter(torch.empty(n_genes, dim))
        self.linear = Linear(dim, dim)
        self.norm = nn.GroupNorm(_GROUPS, dim)
        self.layers = nn.ModuleList(_FlowLayer(dim) for _ in range(config["enc_layers"]))
        self.last_norm = nn.LayerNorm(dim)
        self.cluster = nn.Linear(dim, n_clusters)
        self.latent = nn.Linear(dim + n_clusters, _HIDDEN)
        self.mean = nn.Linear(_HIDDEN, config["post_latent_dim"])

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (contexts, cells, dim) of sums of gene embeddings of the same shape."""
        embedded = nn.functional.relu(self.linear(tokens))
        hidden = self.norm(embedded.flatten(0, 1)).view_as(embedded)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.last_norm(hidden)

    def latent_mean(self, hidden: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """Return (cells, latent) means, of the most likely component or of one drawn by uniform noise."""
        logits = self.cluster(hidden)
        if noise is not None:
            logits = logits - torch.log(-torch.log(noise + 1e-20) + 1e-20)
        component = nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(hidden.dtype)
        return self.mean(nn.functional.relu(self.latent(torch.cat([hidden, component], dim=-1))))


class _FlowLayer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value, self.out = (Linear(dim, dim) for _ in range(4))
        self.linear1, self.linear2 = Linear(dim, 2 * dim), Linear(2 * dim, dim)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.out(self._attend(self.norm1(hidden)))
        return hidden + self.linear2(nn.functional.gelu(self.linear1(self.norm2(hidden))))

    def _attend(self, read: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part(read).unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        query, key = torch.sigmoid(query), torch.sigmoid(key)
        n_cells = query.shape[2]
        incoming = 1 / ((query + _EPS) * (key.sum(dim=2, keepdim=True) + _EPS)).sum(dim=-1, keepdim=True)
        outgoing = 1 / ((key + _EPS) * (query.sum(dim=2, keepdim=True) + _EPS)).sum(dim=-1, keepdim=True)
        sink = (query + _EPS) * ((key * outgoing).sum(dim=2, keepdim=True) + _EPS)
        source = (key + _EPS) * ((query * incoming).sum(dim=2, keepdim=True) + _EPS)
        share = torch.softmax(source.sum(dim=-1, keepdim=True).clamp(-1, 1), dim=2) * n_cells
        flow = (query * incoming) @ (key.transpose(2, 3) @ (value * share))
        attended = flow * torch.sigmoid(sink.sum(dim=-1, keepdim=True))
        return attended.transpose(1, 2).flatten(2)


_CELLS_AT_ONCE = 1024  # where each is its own context

_SIZES = {
    "enc_hid": (_HEADS, 2**15), "enc_layers": (1, 512), "num_clusters": (1, 2**12),
    "post_latent_dim": (1, 2**15),
}  # fmt: skip
_KINDS = {"enc_mod": "flowformer", "latent_mod": "gmvae", "norm": "groupnorm", "cat_pe": False}


def read_config(path: Path) -> dict[str, Any]:
    """Architecture of a released CellPLM and its genes.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or describes what this network does not compute.
    """
    config = {"cat_pe": False, "norm": "groupnorm", **read_json(path, "config.json of a CellPLM")}
    require_whole(config, path, _SIZES)
    other = {name: value for name, value in _KINDS.items() if config.get(name) != value}
    if other or config["enc_hid"] % _HEADS:
        asked = ", ".join(f"{name} {value}" for name, value in _KINDS.items())
        raise WeightsError(
            f"{path} describes another network: this one computes {asked}, and {_HEADS} heads divide its "
            f"width. {REMEDY}"
        )
    genes = config.get("gene_list")
    if not isinstance(genes, list) or not all(type(gene) is str for gene in genes):
        raise WeightsError(f"{path} has no gene_list, the names of the genes in order. {REMEDY}")
    if not genes or len(set(genes)) < len(genes):
        raise WeightsError(f"{path} has a gene_list that is empty or names a gene twice. {REMEDY}")
    return config


# Decoder and parts of the prior, which the embedding does not need; tables of positions, whose output
# upstream replaces by zero; a norm that is not called.
_IGNORED = (
    "embedder.norm0.*", "embedder.pe_enc.*", "decoder.*", "head.*", "mask_model.*", "objective.*",
    "latent.*.inference_qzyx.2.var.*", "latent.*.y_mu.*", "latent.*.y_var.*",
)  # fmt: skip
_NAMES = {
    "embedder.feat_enc.emb": "genes",
    "embedder.extra_linear.0": "linear",
    "embedder.extra_linear.3": "norm",
    "pre_latent_norm.norm": "last_norm",
    "latent.layers.1.inference.inference_qyx.0.logits": "cluster",
    "latent.layers.1.inference.inference_qzyx.0": "latent",
    "latent.layers.1.inference.inference_qzyx.2.mu": "mean",
}
_NAMES_IN_LAYER = {
    "self_attn.query_projection": "query",
    "self_attn.key_projection": "key",
    "self_attn.value_projection": "value",
    "self_attn.out_projection": "out",
    "_ff_block.0": "linear1",
    "_ff_block.3": "linear2",
    "norm1": "norm1",
    "norm2": "norm2",
}


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    if key in _NAMES:
        return _NAMES[key]
    in_layer = rename_in_layer(key, "encoder.layers.", _NAMES_IN_LAYER, "layers.")
    return in_layer or rename_part(key, _NAMES)


def _draw(network: CellPlmNetwork, genes: list[str], seed: int) -> None:
    """Normal weights that keep the size of activations, zero biases; embeddings of genes drawn by name."""
    width = network.genes.shape[1]
    fill_normal(network, width**-0.5, seed)
    with torch.no_grad():
        network.genes.copy_(torch.from_numpy(gene_rows(genes, width, seed))).mul_(width**-0.5)
