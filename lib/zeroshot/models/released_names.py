"""Names that layers of PyTorch's own encoder and of GPT-2 have in released checkpoints."""

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
    if not key.startswith(prefix):
        return None
    number, _, inner = key.removeprefix(prefix).partition(".")
    module, _, kind = inner.rpartition(".")
    known = _NAMES_IN_GPT_LAYER.get(module)
    return known and f"encoder.layers.{number}.{known}.{kind}"
