"""Released files of Geneformer: config, dictionaries and weights, each checked as it is read."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import torch

from zeroshot.models.released_names import rename_in_layer
from zeroshot.models.weights import WeightsError, read_dictionary, read_state, write_state
from zeroshot.models.weights.files import (
    REMEDY,
    read_json,
    require_architecture,
    require_numbering,
    shortened,
    write_json,
)

SPECIAL = ("<pad>", "<mask>", "<cls>", "<eos>")

# In released files, but not in the network: a constant, and second names of tied tensors.
IGNORED = ("bert.embeddings.position_ids", "cls.predictions.decoder.*")

_SIZES = {
    "vocab_size": (3, 2**22), "hidden_size": (1, 2**15), "num_hidden_layers": (1, 512),
    "num_attention_heads": (1, 2**10), "intermediate_size": (1, 2**17),
    "max_position_embeddings": (3, 2**17), "type_vocab_size": (1, 2**10),
}  # fmt: skip
_LEAST_MEDIAN = 1e-9  # counts per 10,000: far below what is possible, far above what overflows


def read_config(path: Path) -> dict[str, Any]:
    """Architecture of a released Geneformer.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or describes what this network does not compute.
    """
    config = read_json(path, "config.json of a Geneformer")
    if config.get("model_type") != "bert" or config.get("is_decoder") or config.get("add_cross_attention"):
        raise WeightsError(f"{path} does not describe a BERT encoder, which every Geneformer is. {REMEDY}")
    config = {"layer_norm_eps": 1e-12, "type_vocab_size": 2, **config}
    require_architecture(
        config, path, _SIZES, {"layer_norm_eps": (1e-20, 0.1)},
        heads="num_attention_heads", width="hidden_size",
    )  # fmt: skip
    position, activation = config.get("position_embedding_type", "absolute"), config.get("hidden_act")
    if position != "absolute" or activation not in ("relu", "gelu"):
        raise WeightsError(
            f"{path} asks for {shortened(position)} positions and {shortened(activation)} as hidden_act: "
            f"this network computes absolute positions with relu or gelu. {REMEDY}"
        )
    return config


def read_tokens(path: Path) -> dict[str, int]:
    """Number of each token in the vocabulary, special ones included.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file does not number its tokens from 0 on, or lacks ``<pad>`` or ``<mask>``.
    """
    tokens = require_numbering(read_dictionary(path), path, "a token dictionary of Geneformer")
    absent = [name for name in SPECIAL[:2] if name not in tokens]
    if absent:
        raise WeightsError(
            f"{path} lacks {' and '.join(absent)}: it is not a token dictionary of Geneformer. {REMEDY}"
        )
    return tokens


def read_medians(path: Path, genes: Sequence[str], dictionary: Path) -> dict[str, float]:
    """Median of each gene of a token dictionary.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If a gene has none, or one that expression cannot be divided by.
    """
    medians = read_dictionary(path)
    absent = [gene for gene in genes if gene not in medians]
    if absent:
        raise WeightsError(
            f"{path} has no median for {len(absent):,} genes of {dictionary}, such as {absent[0][:40]}: the "
            "two are not of the same release. Take the dictionaries that the card names."
        )
    for gene in genes:
        median = medians[gene]
        if type(median) not in (int, float) or not _LEAST_MEDIAN <= median <= 1 / _LEAST_MEDIAN:
            raise WeightsError(
                f"{path} has the median {shortened(median)} for {gene[:40]}; expected a finite number above "
                f"0, in counts per 10,000. {REMEDY}"
            )
    return {gene: float(medians[gene]) for gene in genes}


def read_names(path: Path) -> dict[str, str]:
    """A dictionary of names by names; names whose value is missing, as NaN, are left out.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If a value is no name.
    """
    names = {}
    for name, value in read_dictionary(path).items():
        if type(value) is float and isnan(value):
            continue
        if type(value) is not str:
            raise WeightsError(
                f"{path} has {shortened(value)} for {name[:40]!r}; expected the name of a gene. {REMEDY}"
            )
        names[name] = value
    if not names:
        raise WeightsError(f"{path} holds no names of genes; expected names by names. {REMEDY}")
    return names


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Released tensors, with query, key and value of each layer put together."""
    state = read_state(path)
    tied = state.get("cls.predictions.decoder.weight")
    words = state.get("bert.embeddings.word_embeddings.weight")
    if tied is not None and words is not None and not torch.equal(tied, words):
        raise WeightsError(
            f"{path} has an output embedding of its own: in Geneformer it is that of the input. Take the "
            "weights that the card names."
        )
    return join_attention(state, path)


def join_attention(state: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a BERT with query, key and value of each layer put together as ``qkv``.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the three are not alike.
    """
    for kind in ("weight", "bias"):
        for key in [key for key in state if key.endswith(f".attention.self.query.{kind}")]:
            parts = [key.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
            # What is incomplete stays as it is and is reported by name when it is loaded.
            if all(part in state for part in parts):
                shapes = {(state[part].shape, state[part].is_floating_point()) for part in parts}
                if len(shapes) > 1 or not state[key].ndim:
                    raise WeightsError(
                        f"{path} has tensors of different shape or kind for {', '.join(parts)}: in a BERT "
                        "they are alike. Take the weights that the card names."
                    )
                state[key.replace(".query.", ".qkv.")] = torch.cat([state.pop(part) for part in parts])
    return state


_NAMES = {
    "bert.embeddings.word_embeddings": "words",
    "bert.embeddings.position_embeddings": "positions",
    "bert.embeddings.token_type_embeddings": "types",
    "bert.embeddings.LayerNorm": "norm",
    "cls.predictions.transform.dense": "head",
    "cls.predictions.transform.LayerNorm": "head_norm",
}
_NAMES_IN_LAYER = {
    "attention.self.qkv": "qkv",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    if key == "cls.predictions.bias":
        return "head_bias"
    module, _, kind = key.rpartition(".")
    known = _NAMES.get(module)
    return f"{known}.{kind}" if known else rename_layer(key)


def rename_layer(key: str) -> str | None:
    """Name in an ``encoder`` of a parameter of a BERT's layer; None if it is not one."""
    return rename_in_layer(key, "bert.encoder.layer.", _NAMES_IN_LAYER)


def write_release(
    folder: Path,
    network: torch.nn.Module,
    config: Mapping[str, Any],
    tokens: Mapping[str, int],
    medians: Mapping[str, float],
    names: Mapping[str, str],
) -> None:
    """Write config, dictionaries and ``model.safetensors`` as the functions above read them.

    Parameters
    ----------
    folder
        Exists.
    network, config
        A GeneformerNetwork and its architecture. Weights are stored in float16, whose rounding is far below
        what a step of training changes.
    tokens, medians
        By id of the gene, as in a released ``token_dictionary`` and ``gene_median_dictionary``.
    names
        Symbol to id.
    """
    released = {module: key for key, module in _NAMES.items()}
    in_layer = {module: key for key, module in _NAMES_IN_LAYER.items()}
    state = {}
    for name, tensor in network.state_dict().items():
        module, _, kind = name.rpartition(".")
        if name == "head_bias":
            state["cls.predictions.bias"] = tensor
        elif module.startswith("encoder.layers."):
            _, _, number, inner = module.split(".")
            key = f"bert.encoder.layer.{number}.{in_layer[inner]}.{kind}"
            parts = ("query", "key", "value") if inner == "qkv" else ("",)
            for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
                state[key.replace(".qkv.", f".{part}.")] = piece
        else:
            state[f"{released[module]}.{kind}"] = tensor
    write_state(folder / "model.safetensors", state)
    architecture = {name: value for name, value in config.items() if name != "special_tokens"}
    write_json(folder / "config.json", {"model_type": "bert", **architecture, "vocab_size": len(tokens)})
    write_json(folder / "token_dictionary.json", tokens)
    write_json(folder / "gene_median_dictionary.json", medians)
    write_json(folder / "gene_name_id_dict.json", names)
