"""Released files of scGPT: config, vocabulary and names of tensors, each checked as it is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroshot.models.weights import WeightsError, write_state
from zeroshot.models.weights.files import (
    REMEDY,
    read_json,
    require_architecture,
    require_numbering,
    shortened,
    write_json,
)

if TYPE_CHECKING:
    from torch import nn

# Heads of other tasks and the flag of generated genes, which an embedding does not use. Layers that change
# it, such as the batch encoder of fine-tuned models, are not in this list: such checkpoints are refused.
IGNORED = ("cls_decoder.*", "flag_encoder.*", "grad_reverse_discriminator.*")

_SIZES = {
    "embsize": (1, 2**15), "nheads": (1, 2**10), "d_hid": (1, 2**17), "nlayers": (1, 512),
    "n_bins": (3, 2**15),
}  # fmt: skip
_VALUES = {"pad_value": (-1e6, 1e6), "mask_value": (-1e6, 1e6)}


def read_args(path: Path) -> dict[str, Any]:
    """Architecture of a released scGPT.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged or describes what this network does not compute.
    """
    config = read_json(path, "args.json of an scGPT")
    absent = [name for name in (*_SIZES, *_VALUES, "pad_token") if name not in config]
    if absent:
        raise WeightsError(f"{path} lacks {', '.join(absent)}: it is not an args.json of scGPT. {REMEDY}")
    require_architecture(config, path, _SIZES, _VALUES, heads="nheads", width="embsize")
    if type(config["pad_token"]) is not str:
        raise WeightsError(
            f"{path} has {shortened(config['pad_token'])} as pad_token; expected the name of a token. "
            f"{REMEDY}"
        )
    expected = {"input_style": "binned", "input_emb_style": "continuous", "pre_norm": False}
    other = {
        name: shortened(config[name])
        for name, value in expected.items()
        if name in config and (type(config[name]) is not type(value) or config[name] != value)
    }
    if other:
        raise WeightsError(
            f"{path} asks for {', '.join(f'{name} {value}' for name, value in other.items())}: this network "
            f"computes {', '.join(f'{name} {expected[name]}' for name in other)}. {REMEDY}"
        )
    return config


def read_vocabulary(path: Path) -> dict[str, int]:
    """Tokens of a released vocabulary and their numbers.

    Raises
    ------
    zeroshot.models.weights.WeightsError
        If the file is damaged, or does not number its tokens from 0 on.
    """
    expected = "vocab.json of an scGPT"
    return require_numbering(read_json(path, expected), path, expected)


_NAMES = {
    "encoder.embedding": "genes",
    "encoder.enc_norm": "gene_norm",
    "value_encoder.linear1": "value1",
    "value_encoder.linear2": "value2",
    "value_encoder.norm": "value_norm",
}
# Attention is spelled in three ways: by flash-attn, by torch, and by the code of 2026.
_NAMES_IN_LAYER = {
    "self_attn.Wqkv.weight": "qkv.weight",
    "self_attn.Wqkv.bias": "qkv.bias",
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn._impl.Wqkv.weight": "qkv.weight",
    "self_attn._impl.Wqkv.bias": "qkv.bias",
    "self_attn.out_proj.weight": "out.weight",
    "self_attn.out_proj.bias": "out.bias",
    "self_attn._impl.out_proj.weight": "out.weight",
    "self_attn._impl.out_proj.bias": "out.bias",
}


def rename(key: str) -> str | None:
    """Name in the native network of a released one; None if the network has no such thing."""
    if key.startswith("transformer_encoder.layers."):
        number, _, inner = key.removeprefix("transformer_encoder.layers.").partition(".")
        return f"encoder.layers.{number}.{_NAMES_IN_LAYER.get(inner, inner)}"
    if key.startswith(("decoder.", "mvc_decoder.")):
        return key
    module, _, kind = key.rpartition(".")
    known = _NAMES.get(module)
    return known and f"{known}.{kind}"


def write_release(
    folder: Path, network: "nn.Module", config: Mapping[str, Any], tokens: Mapping[str, int]
) -> None:
    """Write ``args.json``, ``vocab.json`` and ``model.safetensors``, as :func:`rename` reads its keys.

    Weights are stored in float16, whose rounding is far below what a step of training changes.
    """
    released = {module: key for key, module in _NAMES.items()}
    attention = {"qkv": "self_attn.in_proj_", "out": "self_attn.out_proj."}
    state = {}
    for name, tensor in network.state_dict().items():
        module, _, kind = name.rpartition(".")
        if module.startswith("encoder.layers."):
            _, _, number, inner = module.split(".")
            key = f"transformer_encoder.layers.{number}.{attention.get(inner, inner + '.')}{kind}"
        else:
            key = f"{released[module]}.{kind}" if module in released else name
        state[key] = tensor
    write_state(folder / "model.safetensors", state)
    write_json(folder / "args.json", config)
    write_json(folder / "vocab.json", tokens)
