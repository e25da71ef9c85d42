"""Names that PyTorch's own encoder layers have in released checkpoints."""

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
