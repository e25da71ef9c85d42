"""Names that layers of PyTorch's own encoder and of GPT-2 have in released checkpoints."""

from collections.abc import Mapping

_NAMES_IN_LAYER = {
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn.out_proj.weight": "out.weight",
    "self_attn.out_proj.bias": "out.bias",
}


def rename_layer(key: str, prefix: str) -> str | None:
    """Name in an ``encoder`` of a released parameter of a layer; None if it is not one.

    Parameters
    ----------
    key
        Released name, for example ``encoder.layers.0.self_attn.in_proj_weight``.
    prefix
        What stands before the number of the layer there: ``encoder.layers.``.
    """
    if not key.startswith(prefix):
        return None
    number, _, inner = key.removeprefix(prefix).partition(".")
    return f"encoder.layers.{number}.{_NAMES_IN_LAYER.get(inner, inner)}"


_NAMES_IN_GPT_LAYER = {
    "ln_1": "norm1",
    "attn.c_attn": "qkv",
    "attn.c_proj": "out",
    "ln_2": "norm2",
    "mlp.c_fc": "linear1",
    "mlp.c_proj": "linear2",
}


def rename_gpt_layer(key: str, prefix: str) -> str | None:
    """As :func:`rename_layer`, of a layer of GPT-2: ``h.0.attn.c_attn.weight``."""
    return rename_in_layer(key, prefix, _NAMES_IN_GPT_LAYER)


def rename_in_layer(
    key: str, prefix: str, names: Mapping[str, str], native: str = "encoder.layers."
) -> str | None:
    """Native name of a released parameter of a layer; None if it is none of one, or of no known part.

    Parameters
    ----------
    key, prefix
        See :func:`rename_layer`.
    names
        Native name of each part of a layer by its released one.
    native
        What stands before the number of the layer in the native network.
    """
    if not key.startswith(prefix):
        return None
    number, _, inner = key.removeprefix(prefix).partition(".")
    name = rename_part(inner, names)
    return name and f"{native}{number}.{name}"


def rename_part(key: str, names: Mapping[str, str]) -> str | None:
    """Native name of a released parameter by that of its part, such as a linear layer; None if unknown."""
    part, _, kind = key.rpartition(".")
    return f"{names[part]}.{kind}" if part in names else None
