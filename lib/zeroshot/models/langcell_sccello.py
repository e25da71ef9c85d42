"""LangCell and scCello: BERTs over Geneformer's ranks whose ``<cls>`` token stands for the cell.

Released checkpoints are read as they are; the networks are native.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy import sparse

from zeroshot.models import Cells
from zeroshot.models.encoder import Linear
from zeroshot.models.geneformer import RankNetwork, draw_by_name, nonzero_medians, released_genes
from zeroshot.models.geneformer_files import SPECIAL, join_attention, read_config, read_tokens
from zeroshot.models.geneformer_files import rename as rename_bert
from zeroshot.models.networks import require_vocabulary, trained_network, untrained_network
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import REMEDY
from zeroshot.tokens.genes import note_silent_cells
from zeroshot.tokens.sequences import Tokenizer, Tokens
from zeroshot.tokens.tokenizers import rank_tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")


@dataclass(frozen=True, kw_only=True)
class _RanksWithCls:
    """What both models share: Geneformer V1's ranks behind a ``<cls>``, after the last layer."""

    checkpoint: Checkpoint | None = None
    architecture: Mapping[str, Any] | None = None
    vocabulary: Literal["released", "data-set"] = "released"

    _title: ClassVar[str]
    _network: ClassVar[type[RankNetwork]]
    # Whether expression is divided by the counts of known genes alone. It cannot change the order, but its
    # rounding.
    _known_depth: ClassVar[bool]

    def __post_init__(self) -> None:
        """Refuse parameters that contradict each other."""
        require_vocabulary(self.vocabulary, self.architecture)

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Match the genes to the vocabulary, and return what ranks them in any rows. Nothing is random.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If the vocabulary knows fewer than half of the genes and of the counts.
        zeroshot.models.weights.WeightsError
            If a dictionary is damaged or of another release.
        """
        tokens = self._tokens(cells)
        overlap, notes = None, ()
        if self.vocabulary == "data-set":
            counts = sparse.csr_matrix(cells.counts, dtype=np.float64)
            columns = np.array([tokens[name] for name in cells.genes])
            medians = nonzero_medians(counts, cells.library_size)
            notes = (f"the vocabulary is the {len(columns):,} genes of the data set, with their medians",)
        else:
            files = self.checkpoint.files
            counts, columns, medians, overlap = released_genes(cells, tokens, files, self._title)
        notes = (*notes, *note_silent_cells(counts))
        depths = np.asarray(counts.sum(axis=1)).ravel() if self._known_depth else cells.library_size
        max_tokens = self._config()["max_position_embeddings"]

        def tokenize(rows: np.ndarray) -> Tokens:
            return rank_tokens(
                counts[rows], depths[rows], medians, columns, max_tokens=max_tokens, cls_id=tokens["<cls>"]
            )

        return Tokenizer(tokenize, pad_id=tokens["<pad>"], overlap=overlap, notes=notes)

    def network(self, cells: Cells, seed: int) -> RankNetwork:
        """Return the network with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config, dictionary and weights do not belong together.
        """
        config, tokens = self._config(), self._tokens(cells)
        build = partial(
            self._network, config, len(tokens),
            pooled_ends=(1, 0), pooling="cls", pooled_layers=config["num_hidden_layers"],
        )  # fmt: skip
        if self.architecture is not None:
            names = sorted(tokens, key=tokens.get)
            draw = partial(draw_by_name, spread=config["initializer_range"], names=names, seed=seed)
            return untrained_network(build, draw)
        files = self.checkpoint.files
        if config["vocab_size"] != len(tokens):
            raise WeightsError(
                f"the token dictionary and <cls> are {len(tokens):,} tokens ({files['token_dictionary']}), "
                f"the model has {config['vocab_size']:,} ({files['config']}): they are not of the same "
                f"model. {REMEDY}"
            )
        return trained_network(build, self._state(), rename, _IGNORED, files["weights"])

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        return read_config(self.checkpoint.files["config"])

    def _tokens(self, cells: Cells) -> dict[str, int]:
        """Number of each token; ``<cls>`` is the last, whether or not the dictionary names it."""
        if self.vocabulary == "data-set":
            tokens = {name: number for number, name in enumerate([*SPECIAL[:2], *cells.genes])}
        else:
            tokens = read_tokens(self.checkpoint.files["token_dictionary"])
        return {"<cls>": len(tokens)} | tokens

    def _state(self) -> dict[str, torch.Tensor]:
        path = self.checkpoint.files["weights"]
        return join_attention(read_state(path, _IGNORED), path)


class LangCellNetwork(RankNetwork):
    """The network with the projection into the space that cells and texts share.

    Source
    ------
    Zhao et al. 2024; ``Pooler`` of LangCell-annotation-zeroshot/zero-shot.ipynb at 69e41ef.
    """

    def __init__(self, config: Mapping[str, Any], n_tokens: int, **pooled: Any) -> None:
        super().__init__(config, n_tokens, **pooled)
        self.projection = Linear(config["hidden_size"], config["projection_size"])

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, projection) float32 of length one; arguments as for :class:`RankNetwork`."""
        projected = self.projection(super().forward(ids, values, lengths).to(self.projection.weight.dtype))
        return torch.nn.functional.normalize(projected.float(), dim=-1)


@dataclass(frozen=True, kw_only=True)
class LangCell(_RanksWithCls):
    """The ``<cls>`` token after the last layer, projected and scaled to length one.

    Attributes
    ----------
    checkpoint
        Roles "config" and "weights" (of ``cell_bert``), "projection" (``cell_proj.bin``), "token_dictionary"
        and "gene_medians", and if possible "gene_names" and "ensembl_mapping", see
        :class:`zeroshot.models.geneformer.Geneformer`.
    architecture
        Fields of ``config.json`` and ``projection_size``: makes the model an untrained one, its weights drawn
        by the seed.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set, each with its non-zero median.

    Source
    ------
    Zhao et al. 2024; PharMolix/LangCell at 69e41ef, zero-shot.ipynb and utils.py of
    LangCell-annotation-zeroshot. Read there, not executed: no output of the reference was at hand to compare
    with.

    Differs
    -------
    The text encoder is not read: cells are embedded without any text. Equal expression keeps the order of the
    genes.
    """

    _title: ClassVar[str] = "LangCell"
    _network: ClassVar[type[RankNetwork]] = LangCellNetwork
    _known_depth: ClassVar[bool] = False

    def _config(self) -> Mapping[str, Any]:
        if self.architecture is not None:
            return self.architecture
        return super()._config() | {"projection_size": len(self._projection()["weight"])}

    def _projection(self) -> dict[str, torch.Tensor]:
        path = self.checkpoint.files["projection"]
        state = read_state(path)
        if set(state) != {"weight", "bias"} or state["weight"].ndim != 2:
            raise WeightsError(
                f"{path} is not the projection of LangCell: expected a weight (projection, hidden) and a "
                f"bias. {REMEDY}"
            )
        return state

    def _state(self) -> dict[str, torch.Tensor]:
        return super()._state() | {f"projection.{name}": part for name, part in self._projection().items()}


@dataclass(frozen=True, kw_only=True)
class ScCello(_RanksWithCls):
    """The ``<cls>`` token after the last layer.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights", "token_dictionary" and "gene_medians", and if possible "gene_names" and
        "ensembl_mapping", see :class:`zeroshot.models.geneformer.Geneformer`.
    architecture
        Fields of ``config.json``: makes the model an untrained one, its weights drawn by the seed.
    vocabulary
        "released", or "data-set" for untrained models: genes of the data set, each with its non-zero median.

    Source
    ------
    Yuan et al. 2024; DeepGraphLearning/scCello at 767585b: PrototypeContrastiveEmbeddings, and
    script/run_cell_type_clustering.py with its defaults. Read there, not executed: no output of the reference
    was at hand to compare with.

    Differs
    -------
    No cell is filtered by assay. Equal expression keeps the order of the genes.
    """

    _title: ClassVar[str] = "scCello"
    _network: ClassVar[type[RankNetwork]] = RankNetwork
    _known_depth: ClassVar[bool] = True

    def _config(self) -> Mapping[str, Any]:
        return super()._config() | {"type_vocab_size": 1}

    def _state(self) -> dict[str, torch.Tensor]:
        """Released tensors, with three tables of one row each, which every token adds, as a single one."""
        state, path = super()._state(), self.checkpoint.files["weights"]
        legacy = [
            f"bert.embeddings.{name}_embeddings.weight" for name in ("tf_class", "tf_superclass", "expbin")
        ]
        absent = [key for key in legacy if key not in state]
        if absent:
            raise WeightsError(
                f"{path} lacks {', '.join(absent)}: it is not a checkpoint of scCello. {REMEDY}"
            )
        rows = [state.pop(key) for key in legacy]
        if len({row.shape for row in rows}) > 1:
            raise WeightsError(f"{path} has tables of different shape for {', '.join(legacy)}. {REMEDY}")
        return state | {"bert.embeddings.token_type_embeddings.weight": sum(rows)}


# Heads of pretraining and graphs of cell types, which the embedding does not need, and a constant.
_IGNORED = (
    "cls.*", "cell_cls.*", "learned_centroid*", "affine_projection.*", "binary_ce_loss_transform_*",
    "cell_type_ancestor_mask", "ctgraph_sim", "*pooler.*", "*embeddings.position_ids",
)  # fmt: skip


def rename(key: str) -> str | None:
    """Name in the native network of a released one, with or without ``bert.``; None if it has no such."""
    if key.startswith("projection."):
        return key
    return rename_bert(f"bert.{key.removeprefix('bert.')}")
