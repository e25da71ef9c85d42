"""Whether the parameters of a card can be what they are called, and have the types that the code declares."""

from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from zeroshot.catalog.names import CatalogError
from zeroshot.runtime.reproducible import LARGEST_SEED

_MOST = 10_000_000
_SIZES = ("n_", "num_", "max_", "min_", "least_")  # names that begin so stand for whole numbers
# Least and most of a number by its name, in recipes, architectures and everywhere else; of any other name,
# whole numbers are sizes and others are not negative. Ends that are whole take whole numbers only.
RANGES = MappingProxyType(
    {
        **dict.fromkeys(("nlayers", "num_hidden_layers"), (1, 512)),
        **dict.fromkeys(("embsize", "hidden_size", "hidden", "dim"), (1, 2**15)),
        **dict.fromkeys(("nheads", "num_attention_heads"), (1, 2**10)),
        **dict.fromkeys(("d_hid", "intermediate_size"), (1, 2**17)),
        **dict.fromkeys(("layer_norm_eps", "layer_norm_epsilon"), (1e-20, 0.1)),
        "n_bins": (3, 2**15), "initializer_range": (1e-6, 1.0),
        "max_position_embeddings": (3, 2**17), "max_tokens": (3, 2**17), "tokens_per_step": (3, 2**22),
        "epochs": (1, 10_000), "learning_rate": (1e-9, 1.0), "seed": (0, LARGEST_SEED),
        "layer": (-512, 512),  # below zero from the end
        **dict.fromkeys(("pad_value", "mask_value"), (-1_000_000, 1_000_000)), "cls_value": (-1e6, 1e6),
        **dict.fromkeys(("min_cells", "min_counts", "least_genes", "n_layers_cls"), (0, _MOST)),
        **dict.fromkeys(("dropout", "warmup", "held_out", "weight_decay"), (0.0, 1.0)),
        **dict.fromkeys(("batch_strength", "depth_strength", "composition_strength"), (0.0, 100.0)),
    }
)  # fmt: skip


def unusable_number(parameters: Mapping[str, Any]) -> str | None:
    """What among the parameters of a card cannot be what it is called, and what can; None if all can be.

    Mappings inside are read in the same way, and of a list each item. Null is left to the types.
    """
    for name, value in parameters.items():
        is_number = name in RANGES or name.startswith(_SIZES)
        for item in value if isinstance(value, list | tuple) and not is_number else (value,):
            if isinstance(item, Mapping) and not is_number:
                problem = unusable_number(item)
            else:
                expected = _expected(name, item)
                problem = expected and f"must be {expected}, not {_as_yaml(item)}"
            if problem:
                return f"{name}: {problem}"
    return None


def _expected(name: str, value: Any) -> str | None:
    """The number that is expected under a name, in words, if the value is another thing."""
    if value is None:
        return None
    if isinstance(value, date):
        return "a text in quotes, or a number"
    ends = RANGES.get(name) or ((1, _MOST) if name.startswith(_SIZES) else None)
    if ends is None:
        ends = {int: (1, _MOST), float: (0.0, 1e9)}.get(type(value))
        if ends is None:  # a text or a truth value, which the types will judge
            return None
    least, most = ends
    whole = type(least) is int
    if type(value) in ((int,) if whole else (int, float)) and least <= value <= most:
        return None
    return f"a {'whole ' if whole else ''}number from {least:,} to {most:,}"


def _as_yaml(value: Any) -> str:
    if isinstance(value, bool | date):
        return str(value).lower()
    return f"{value!r:.60}"


def require_types(taker: Callable[..., Any], parameters: Mapping[str, Any], where: str) -> None:
    """Refuse parameters that are not of the declared types.

    Parameters
    ----------
    taker
        The function or dataclass with annotations of these parameters.
    parameters
        Names and values, as a card has them.
    where
        The place of the card that holds them, for the message.

    Raises
    ------
    CatalogError
        With the place, what is expected there, and what it holds.
    """
    types = get_type_hints(taker)
    for name, value in parameters.items():
        if name not in types:
            continue
        try:
            TypeAdapter(types[name]).validate_python(value, strict=True)
        except ValidationError as error:
            expected = error.errors(include_url=False)[0]["msg"].removeprefix("Input ")
            raise CatalogError(f"{where}: {name} {expected}, and is {value!r:.80}. Correct it.") from None
