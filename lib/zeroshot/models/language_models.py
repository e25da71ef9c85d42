"""Language models of transformers, read from a folder, and cells written as sentences for them.

Nothing of a folder is executed: config and vocabulary are plain data, weights are read by the house's own
loader, and a config that names code of its own is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from zeroshot.models.weights import Checkpoint, WeightsError, load_state, read_state
from zeroshot.models.weights.files import REMEDY, read_bytes, read_json, shortened
from zeroshot.tokens.sentences import cut, examine_names, note_identifiers, top_genes
from zeroshot.tokens.sequences import Tokenizer, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Vocabulary
    from transformers import PretrainedConfig

    from zeroshot.models import Cells

PACKAGES = ("numpy", "pandas", "scipy", "tokenizers", "torch", "transformers")

# Buffers that older files hold beside the weights; the network makes them itself.
_IGNORED = ("*.attn.bias", "*.attention.bias", "*.masked_bias", "*.inv_freq", "*position_ids")
_LAYERS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "n_layer", "n_layers")
_MOST_LAYERS = 512
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")

Sentence = tuple[str, list[int]]  # a text, and where in it each gene's name ends


def read_config(path: Path) -> "PretrainedConfig":
    """Architecture of a model that transformers knows.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged, or describes a model that transformers does not know or that is quantised.
    """
    from transformers import CONFIG_MAPPING

    config = read_json(path, "config.json of a language model")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise WeightsError(
            f"{path} describes a model of type {shortened(kind)}, which transformers does not know; expected "
            "is one such as 'gpt_neox' or 't5'. Name the folder of a model that needs no code of its own."
        )
    if "quantization_config" in config:
        raise WeightsError(f"{path} describes quantised weights: take those in float16, bfloat16 or float32.")
    layers = [config[name] for name in _LAYERS if name in config]
    if not all(type(number) is int and 0 < number <= _MOST_LAYERS for number in layers):
        raise WeightsError(f"{path} asks for {layers} layers; expected 1 to {_MOST_LAYERS}. {REMEDY}")
    described = {name: value for name, value in config.items() if name not in ("auto_map", "model_type")}
    try:
        config = CONFIG_MAPPING[kind].from_dict(described)
    except Exception as error:  # each kind of model checks its config in its own way
        raise WeightsError(f"{path} is not a config of {kind}: {str(error)[:200]}. {REMEDY}") from None
    padding, size = config.pad_token_id, getattr(config, "vocab_size", None)
    if padding is not None and type(size) is int and padding not in range(size):
        raise WeightsError(f"{path} pads with token {padding}; expected is one of {size:,}, from 0. {REMEDY}")
    return config


def longest_input(config: "PretrainedConfig") -> int | None:
    """Tokens that a model has positions for; None where positions are relative and any number will do."""
    if config.model_type == "t5":
        return None
    return next((getattr(config, name) for name in _POSITIONS if getattr(config, name, None)), None)


def require_length(max_tokens: int, config: "PretrainedConfig", path: Path) -> None:
    """Refuse a ``max_tokens`` that a model has no positions for.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        With what it can read.
    """
    longest = longest_input(config)
    if max_tokens < 3 or (longest is not None and max_tokens > longest):
        raise WeightsError(
            f"max_tokens is {max_tokens}; this model reads 3 to {longest or 'any number of'} tokens "
            f"({path}): choose a number in between"
        )


def read_vocabulary(path: Path, n_tokens: int) -> "Vocabulary":
    """Tokeniser of a released ``tokenizer.json``, without truncation or padding.

    Parameters
    ----------
    path
        ``tokenizer.json``; it adds the special tokens that the model was trained with.
    n_tokens
        Rows of the token embedding: at least as many as there are tokens.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged, or numbers a token that the model has no row for.
    """
    from tokenizers import Tokenizer as Vocabulary

    read_bytes(path, "tokenizer.json of a language model")
    try:
        vocabulary = Vocabulary.from_file(str(path))
        vocabulary.no_truncation()
        vocabulary.no_padding()
        # Special tokens have numbers of their own in the file, and one that is absent shows in a text only.
        highest = max([*vocabulary.get_vocab().values(), *vocabulary.encode("CD74 MALAT1").ids], default=0)
    except BaseException as error:  # the library's errors have no type of their own, and may be panics
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise WeightsError(
            f"{path} is not a tokenizer.json: {str(error)[:200]}. Where a model has only another vocabulary "
            "file, transformers writes this one: AutoTokenizer.from_pretrained(A).save_pretrained(B)."
        ) from None
    if highest >= n_tokens:
        raise WeightsError(
            f"{path} numbers tokens up to {highest:,}, the model has {n_tokens:,}: vocabulary and model are "
            f"not of the same release. {REMEDY}"
        )
    return vocabulary


def read_network(
    checkpoint: Checkpoint, part: Literal["all", "encoder"] = "all", *, seed: int | None = None
) -> nn.Module:
    """A language model without its head, with the weights of a checkpoint, in evaluation mode.

    Parameters
    ----------
    checkpoint
        Roles "config" and "weights".
    part
        "encoder" for the encoder of a T5 alone.
    seed
        Draws the weights instead, see :func:`draw_network`; None to read them.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the weights are not those of the config.
    """
    from transformers import AutoModel, T5EncoderModel

    config, path = read_config(checkpoint.files["config"]), checkpoint.files["weights"]
    of_kind: Callable[..., nn.Module] = T5EncoderModel if part == "encoder" else AutoModel.from_config

    def build() -> nn.Module:
        try:
            return of_kind(config)
        except Exception as error:  # values that its class has taken, and nothing can be built of
            cause = f"{type(error).__name__}: {str(error)[:200]}"
            raise WeightsError(
                f"{checkpoint.files['config']} describes no network that can be built ({cause}). Expected "
                f"the config of a {config.model_type}. {REMEDY}"
            ) from None

    if seed is not None:
        return draw_network(build, seed)
    return load_network(
        build,
        lambda outline: _without_head(read_state(path), outline),
        ignored=_IGNORED,
        path=path,
    )


def load_network(
    build: Callable[[], nn.Module],
    state_for: Callable[[nn.Module], Mapping[str, torch.Tensor]],
    *,
    ignored: Sequence[str],
    path: Path,
) -> nn.Module:
    """A network of transformers with the tensors of a file, in evaluation mode.

    Parameters
    ----------
    build
        Makes the network with any values.
    state_for
        Tensors for a network of these sizes, by their names in it.
    ignored
        Patterns of tensors that the file may have beside those of the network.
    path
        The file, for the error.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the tensors are not those of the network.
    """
    with torch.device("meta"):  # sizes that are not those of the weights must not be reserved
        outline = build()
    load_state(outline, state_for(outline), ignored=ignored, path=path)
    with torch.random.fork_rng(devices=[]):  # the first values are random, and then all replaced
        network = build()
    network.load_state_dict(outline.state_dict(), strict=True, assign=True)
    return network.eval()


def draw_network(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network of transformers with the weights that it has before training, float32, for evaluation.

    Parameters
    ----------
    build
        Makes the network and draws its weights, as the classes of transformers do.
    seed
        Of the draws.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().float().eval()


def _without_head(state: Mapping[str, torch.Tensor], outline: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of the part of a model that gives hidden states, by their names in it."""
    start, wanted = f"{outline.base_model_prefix}.", set(outline.state_dict())
    inside = {
        key.removeprefix(start): tensor
        for key, tensor in state.items()
        if key.startswith(start) and key not in wanted
    }
    # Released without the prefix, or an encoder among other parts of the model.
    inside |= {key: tensor for key, tensor in state.items() if key in wanted}
    if "encoder.embed_tokens.weight" in wanted and "shared.weight" in inside:  # one table under two names
        inside.setdefault("encoder.embed_tokens.weight", inside["shared.weight"])
    return inside


class MeanState(nn.Module):
    """A language model and the mean of its last hidden states over the tokens that are no padding.

    Parameters
    ----------
    language_model
        Takes ``input_ids`` and ``attention_mask``, gives ``last_hidden_state``.
    unit_length
        Scale the mean to length one.
    """

    def __init__(self, language_model: nn.Module, *, unit_length: bool = False) -> None:
        super().__init__()
        self.language_model = language_model
        self.unit_length = unit_length

    def forward(self, ids: torch.Tensor, values: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
        """Return (cells, dim) float32.

        Parameters
        ----------
        ids
            (cells, tokens), padded on the right: what a causal model computes of a token does not depend on
            what stands behind it.
        values
            Not used: a sentence has no values.
        lengths
            (cells,) tokens that are no padding.
        """
        real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        hidden = self.language_model(input_ids=ids, attention_mask=real.long()).last_hidden_state
        # Summed in float32 whatever the network computes in: bfloat16 keeps three digits.
        mean = (hidden.float() * real[..., None]).sum(dim=1) / lengths[:, None]
        return nn.functional.normalize(mean, dim=1) if self.unit_length else mean


def sentence_tokenizer(
    cells: "Cells",
    vocabulary: "Vocabulary",
    write: Callable[[list[str]], Sentence],
    *,
    title: str,
    n_genes: int,
    max_tokens: int,
    pad_id: int,
) -> Tokenizer:
    """What turns cells into the tokens of sentences that name their most expressed genes.

    Parameters
    ----------
    cells
        Their genes must have names that can be read, or Ensembl ids of genes that have such names.
    vocabulary
        Turns text into tokens, special ones included.
    write
        Makes a sentence of the names of a cell's genes, the most expressed first.
    title
        Of the model, for the error.
    n_genes
        Most genes of a sentence; genes of equal counts stand in the order of the data set.
    max_tokens
        Longest sentence; the end of a longer one is cut, closing special tokens apart.
    pad_id
        Token that fills shorter sentences, and stands for one of no tokens at all.

    Raises
    ------
    zeroshot.tokens.genes.GeneOverlapError
        If more than half of the genes are named by identifiers that have no symbol: there is nothing to read
        in them.
    """
    names, overlap = examine_names(cells.genes, cells.counts, title)

    def tokenize(rows: np.ndarray) -> Tokens:
        columns, offsets = top_genes(cells.counts[rows], n_genes)
        sentences = [write(names[columns[start:stop]].tolist()) for start, stop in pairwise(offsets)]
        read = vocabulary.encode_batch([text for text, _ in sentences])
        return cut(read, [ends for _, ends in sentences], max_tokens, pad_id)

    return Tokenizer(tokenize, pad_id, overlap=overlap, notes=_notes(cells.counts, overlap))


def ends_of_names(genes: Sequence[str], start: int) -> list[int]:
    """Where each name ends in a text that names genes with a blank between them, from ``start`` on."""
    return [end - 1 for end in accumulate((len(gene) + 1 for gene in genes), initial=start)][1:]


def _notes(counts: sparse.csr_matrix, overlap: pd.DataFrame) -> tuple[str, ...]:
    silent = int((np.diff(counts.indptr) == 0).sum())
    notes = []
    if silent:
        notes.append(f"{silent:,} cells express no gene: their sentences are the same, and name none")
    return (*notes, *note_identifiers(overlap))
