"""CELLama: each cell as a sentence of its top genes, read by a sentence encoder nobody trained on cells.

Cells become sentences, sentences become word pieces, and BERT, averaged over the pieces, becomes the
embedding. Only the last step has weights: those of all-MiniLM, a model of English.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.models import Cells
from zeroshot.models.language_models import MeanState, draw_network, load_network
from zeroshot.models.weights import Checkpoint, WeightsError, read_state
from zeroshot.models.weights.files import (
    REMEDY,
    read_bytes,
    read_json,
    require_architecture,
    require_numbering,
    shortened,
)
from zeroshot.tokens.sentences import cut, examine_names, note_identifiers, top_genes
from zeroshot.tokens.sequences import Tokenizer, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer as WordPieces
    from transformers import BertConfig

PACKAGES = ("numpy", "pandas", "scanpy", "scipy", "tokenizers", "torch", "transformers")

_ALONE = "Top gene is "
_OPENING = "Top genes are "
_BETWEEN = ", "

# In the released file, but not in the network: a head for another task, and a constant.
_IGNORED = ("pooler.*", "embeddings.position_ids")


@dataclass(frozen=True, kw_only=True)
class Cellama:
    """Sentence embedding of the names of a cell's most expressed genes.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights" and "vocabulary" (``vocab.txt`` or ``tokenizer.json``) of
        all-MiniLM-L6-v2 or -L12-v2.
    architecture
        ``config: released`` for the sizes in the file "config": makes the model an untrained one, its weights
        drawn by the seed.
    n_genes
        Most genes a sentence names; fewer where a cell expresses fewer.
    n_variable
        Name only genes among this many highly variable ones; None for all genes.
    input
        "counts", or "as-given" for values that are already normalised. The order of the genes of a
        cell is the same for counts and their log-normalised values: this matters to ``n_variable`` only.
    max_tokens
        Word pieces of a sentence with its two special ones, the rest is cut off: 256 is what
        all-MiniLM-L6-v2 is published with, 128 all-MiniLM-L12-v2.

    Source
    ------
    portrai-io/CELLama, cellama.py at a17eaa9, ``lm_cell_embed``: sentence and its template, 30 genes,
    all-MiniLM-L6-v2. Pooling and normalisation are those of the sentence encoder: mean over the real
    word pieces, then unit length.

    Differs
    -------
    Genes without expression never fill a sentence, which upstream's do where a cell expresses fewer
    than 30. Genes of equal value stand in the order of the data set, in upstream's in the order its
    unstable sort leaves them. Columns of ``obs``, which upstream can append, never enter: they may
    hold the labels. Truncation is counted.
    """

    checkpoint: Checkpoint
    architecture: Mapping[str, Any] | None = None
    n_genes: int = 30
    n_variable: int | None = None
    input: Literal["counts", "as-given"] = "counts"
    max_tokens: int = 256

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Choose the genes that may be named, and return what turns cells into word pieces.

        Nothing here is random. A cell that expresses none of the genes has an empty sentence, as
        upstream's ``list_to_sentence`` gives it; the notes say how many there are.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If more than half of the genes are named by identifiers that have no symbol: there is nothing to
            read in them.
        zeroshot.models.weights.WeightsError
            If vocabulary and config are of different models, or ``max_tokens`` is too long for it.
        """
        words, overlap = examine_names(cells.genes, cells.counts, "CELLama")
        config = read_config(self.checkpoint.files["config"])
        if not 3 <= self.max_tokens <= config.max_position_embeddings:
            raise WeightsError(
                f"max_tokens is {self.max_tokens}; this model reads 3 to {config.max_position_embeddings} "
                f"({self.checkpoint.files['config']}): choose a number in between"
            )
        pieces = read_word_pieces(self.checkpoint.files["vocabulary"], config.vocab_size)
        chosen = self._choose(cells)
        names = words[chosen]
        # Without a choice of genes no copy is made of what may be most of the memory.
        values = cells.counts if chosen.all() else cells.counts[:, chosen]

        def tokenize(rows: np.ndarray) -> Tokens:
            columns, offsets = top_genes(values[rows], self.n_genes)
            named = [names[columns[start:stop]].tolist() for start, stop in pairwise(offsets)]
            read = pieces.encode_batch([write_sentence(genes) for genes in named])
            return cut(read, [_ends(genes) for genes in named], self.max_tokens, config.pad_token_id)

        return Tokenizer(
            tokenize,
            pad_id=config.pad_token_id,
            overlap=overlap,
            notes=_notes(values, overlap),
        )

    def network(self, cells: Cells, seed: int) -> MeanState:
        """Return the sentence encoder with the weights of the checkpoint, or with weights drawn by the seed.

        Mean and unit length are those of modules.json and 1_Pooling/config.json of all-MiniLM-L6-v2.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If config or weights are not those of a BERT, or not of the same one.
        """
        from transformers import BertModel

        config, path = read_config(self.checkpoint.files["config"]), self.checkpoint.files["weights"]
        build = partial(BertModel, config, add_pooling_layer=False)
        if self.architecture is not None:
            bert = draw_network(build, seed)
        else:
            bert = load_network(build, lambda outline: read_state(path), ignored=_IGNORED, path=path)
        return MeanState(bert, unit_length=True).eval()

    def _choose(self, cells: Cells) -> np.ndarray:
        """(genes,) True for the genes that may be named."""
        n_genes = len(cells.genes)
        if self.n_variable is None or self.n_variable >= n_genes:
            return np.ones(n_genes, bool)
        import scanpy as sc

        adata = AnnData(cells.counts if self.input == "as-given" else cells.log_normalized())
        adata.uns["log1p"] = {"base": None}  # tells scanpy that the values are logarithms
        sc.pp.highly_variable_genes(adata, flavor="seurat", n_top_genes=self.n_variable)
        return adata.var["highly_variable"].to_numpy()


def write_sentence(genes: Sequence[str]) -> str:
    """The sentence of a cell with these top genes; empty if there are none."""
    if len(genes) < 2:
        return f"{_ALONE}{genes[0]}." if genes else ""
    return f"{_OPENING}{_BETWEEN.join(genes[:-1])}, and {genes[-1]}."


def _ends(genes: Sequence[str]) -> list[int]:
    """Position in its sentence at which each gene's name ends."""
    if len(genes) < 2:
        return [len(_ALONE) + len(gene) for gene in genes]
    before = [len(_OPENING), *[len(_BETWEEN)] * (len(genes) - 2), len(", and ")]
    return list(accumulate(gap + len(gene) for gap, gene in zip(before, genes, strict=True)))


def _notes(values: sparse.csr_matrix, overlap: pd.DataFrame) -> tuple[str, ...]:
    silent = int((values.max(axis=1).toarray() <= 0).sum())
    notes = []
    if silent:
        notes.append(
            f"{silent:,} cells express none of the genes: their sentence is empty, and all of them have "
            "the same embedding"
        )
    return (*notes, *note_identifiers(overlap))


def read_config(path: Path) -> "BertConfig":
    """Architecture of a BERT.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or describes another kind of model.
    """
    from transformers import BertConfig

    config = read_json(path, "config.json of a BERT")
    kind = config.get("model_type")
    if kind != "bert":
        raise WeightsError(
            f"{path} describes a model of type {shortened(kind)}; CELLama's sentence encoders are of type "
            "'bert'. Name the folder of all-MiniLM-L6-v2 or -L12-v2."
        )
    config = {"type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, **config}
    require_architecture(
        config, path, _SIZES, {"layer_norm_eps": (1e-20, 0.1)},
        heads="num_attention_heads", width="hidden_size",
    )  # fmt: skip
    if config["pad_token_id"] >= config["vocab_size"]:
        raise WeightsError(
            f"{path} has the pad_token_id {config['pad_token_id']:,}; expected one of its "
            f"{config['vocab_size']:,} tokens. {REMEDY}"
        )
    fixed = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False,
             "add_cross_attention": False, "pruned_heads": {}}  # fmt: skip
    other = [name for name, value in fixed.items() if config.get(name, value) != value]
    if other:
        raise WeightsError(
            f"{path} asks for {', '.join(f'{name} {shortened(config[name])}' for name in other)}; expected "
            f"{', '.join(f'{name} {fixed[name]}' for name in other)}, as all-MiniLM has. {REMEDY}"
        )
    # Of all that a config can ask of transformers, only what describes the network.
    described = {name: config[name] for name in (*_SIZES, "layer_norm_eps")}
    return BertConfig(**described, hidden_act="gelu", attn_implementation="sdpa")


_SIZES = {
    "vocab_size": (4, 2**22), "hidden_size": (1, 2**15), "num_hidden_layers": (1, 512),
    "num_attention_heads": (1, 2**10), "intermediate_size": (1, 2**17),
    "max_position_embeddings": (3, 2**17), "type_vocab_size": (1, 2**10), "pad_token_id": (0, 2**22),
}  # fmt: skip


def read_word_pieces(path: Path, n_pieces: int) -> "WordPieces":
    """Word-piece tokeniser of a released vocabulary, lower-casing, without truncation or padding.

    Parameters
    ----------
    path
        ``vocab.txt``, one piece a line, or ``tokenizer.json``.
    n_pieces
        Rows of the word embedding.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or has another number of pieces.
    """
    from tokenizers import BertWordPieceTokenizer
    from tokenizers import Tokenizer as WordPieces
    from tokenizers.models import WordPiece

    if path.suffix == ".json":
        _require_word_pieces(read_json(path, _EXPECTED), path)
    else:
        read_bytes(path, _EXPECTED)
    try:
        if path.suffix == ".json":
            pieces = WordPieces.from_file(str(path))
            # The released file cuts at 128 and fills up to 128.
            pieces.no_truncation()
            pieces.no_padding()
        else:
            pieces = BertWordPieceTokenizer(WordPiece.read_file(str(path)), lowercase=True)
        vocabulary, probe = pieces.get_vocab(), pieces.encode("top genes are cd74").ids
    except BaseException as error:  # the library's errors have no type of their own, and may be panics
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise WeightsError(
            f"{path} is not a vocabulary of word pieces: {str(error)[:200]}. Expected {_EXPECTED}. {REMEDY}"
        ) from None
    if len(vocabulary) != n_pieces:
        raise WeightsError(
            f"{path} has {len(vocabulary):,} word pieces, the model has {n_pieces:,}: vocabulary and model "
            f"are not of the same release, or the file is incomplete. {REMEDY}"
        )
    require_numbering(vocabulary, path, _EXPECTED)
    absent = [name for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if name not in vocabulary]
    if absent or [probe[0], probe[-1]] != [vocabulary["[CLS]"], vocabulary["[SEP]"]]:
        raise WeightsError(
            f"{path} lacks {', '.join(absent) or '[CLS] and [SEP] around a sentence'}. Expected {_EXPECTED}. "
            f"{REMEDY}"
        )
    return pieces


_EXPECTED = "vocab.txt or tokenizer.json of all-MiniLM"


def _require_word_pieces(described: dict, path: Path) -> None:
    """Refuse a tokenizer.json that describes another way to read text than BERT's, uncased."""
    for part, fields in _UNCASED.items():
        content = described.get(part)
        for field, expected in fields.items():
            seen = content.get(field, expected[0]) if isinstance(content, dict) else content
            if not any(seen is value or seen == value for value in expected):
                raise WeightsError(
                    f"{path} is not a vocabulary of word pieces: {part}.{field} is {shortened(seen)}, "
                    f"expected {expected[0]!r}. {REMEDY}"
                )


_UNCASED: dict[str, dict[str, tuple]] = {
    "model": {"type": ("WordPiece",), "unk_token": ("[UNK]",), "continuing_subword_prefix": ("##",),
              "max_input_chars_per_word": (100,)},
    "normalizer": {"type": ("BertNormalizer",), "lowercase": (True,), "clean_text": (True,),
                   "handle_chinese_chars": (True,), "strip_accents": (None, True)},
    "pre_tokenizer": {"type": ("BertPreTokenizer",)},
}  # fmt: skip
