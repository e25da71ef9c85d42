"""Sizes of the network to train: refused before a cell is read and before memory is taken."""

import os
from collections.abc import Mapping
from typing import Any

from zeroshot import catalog, models
from zeroshot.catalog.records import Objective
from zeroshot.pretraining.error import TrainingError

# Names that the families give to the four sizes of a transformer.
SIZES = {
    "layers": ("nlayers", "num_hidden_layers"),
    "width": ("embsize", "hidden_size"),
    "heads": ("nheads", "num_attention_heads"),
    "feed-forward width": ("d_hid", "intermediate_size"),
}
CHOICES = {"hidden_act": ("relu", "gelu"), "special_tokens": (False, True)}
# Of the released config, written as the card has them: these networks are trained without dropout and with
# the one name of padding, and length and layers of a classifier are none of theirs.
FIXED = ("dropout", "max_seq_len", "n_layers_cls", "pad_token")


_BYTES = 16  # of a parameter in training: the weight, its gradient and two moments, float32


def card_of(name: str) -> catalog.ModelCard:
    """The card whose architecture is trained or fitted: that of a model, else of its untrained twin.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If there is no such model.
    """
    card = catalog.model(name)
    twins = [other for other in catalog.models().values() if other.twin_of == name]
    return card if card.architecture or not twins else twins[0]


def objective_of(card: catalog.ModelCard) -> Objective | None:
    """What a model is trained to predict: stated on its card, or by a family that is only trained here."""
    return card.objective or getattr(models.implementation(card), "objective", None)


def with_changes(card: catalog.ModelCard, changes: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """The architecture of a card with other values for some fields.

    Parameters
    ----------
    card
        Of an untrained twin.
    changes
        Value of each field to change.
    max_tokens
        Longest sequence that will be read.

    Raises
    ------
    TrainingError
        If a value is of another type or out of its range, if the heads do not divide the width, or if the
        network does not fit into the memory of this machine.
    zeroshot.catalog.CatalogError
        If a field is unknown.
    """
    for field, value in changes.items():
        default = catalog.find(card.architecture, field, f"field of the architecture of {card.name}")
        if field in FIXED and value != default:
            raise TrainingError(
                f"{field} of {card.name} is {value!r:.60}: it stays {default!r}, since the network that is "
                f"trained does not read it. Leave out --architecture {field}"
            )
        expected = _expected(field, value, default)
        if expected:
            raise TrainingError(
                f"{field} of {card.name} is {value!r:.60}: {expected} is expected, for example "
                f"--architecture {field}={str(default).lower()}"
            )
    architecture = {**card.architecture, **changes}
    if not set(SIZES["heads"]) & set(architecture):
        return architecture  # of no transformer
    sizes = _sizes(architecture)
    width, heads = sizes["width"], sizes["heads"]
    if width % heads:
        raise TrainingError(
            f"{heads} heads do not divide a width of {width}: give sizes of which one is a multiple of the "
            f"other, for example --architecture {_name('width', architecture)}={heads * (width // heads + 1)}"
        )
    room = architecture.get("max_position_embeddings", max_tokens)
    if max_tokens > room:
        raise TrainingError(
            f"--max-tokens is {max_tokens:,}, and {card.name} has {room:,} positions: lower it, or add "
            f"--architecture max_position_embeddings={max_tokens}"
        )
    n_bytes = _BYTES * _weights(sizes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > memory:
        raise TrainingError(
            f"{sizes['layers']} layers of width {width:,} take {n_bytes / 2**30:,.0f} GiB in training, this "
            f"machine has {memory / 2**30:,.0f} GiB: lower {_name('layers', architecture)} or "
            f"{_name('width', architecture)} with --architecture"
        )
    return architecture


def arithmetic(name: str, changes: Mapping[str, Any], max_tokens: int, cells: int) -> float:
    """Floating-point operations of a training, those of the transformer's layers; 0 for any other network.

    A backward pass counts twice a forward one. What embeds and predicts genes is not counted.

    Parameters
    ----------
    name, changes
        As for :func:`zeroshot.pretraining.untrained`.
    max_tokens
        Tokens of a cell; as if each cell had so many, an upper bound.
    cells
        Cells that are trained on, each as often as it is read.
    """
    architecture = {**(card_of(name).architecture or {}), **changes}
    if not set(SIZES["heads"]) & set(architecture):
        return 0.0
    sizes = _sizes(architecture)
    layers, width = sizes["layers"], sizes["width"]
    return 3.0 * cells * max_tokens * (2 * _weights(sizes) + 4 * layers * max_tokens * width)


def _weights(sizes: Mapping[str, int]) -> int:
    """Parameters of the layers."""
    width = sizes["width"]
    return sizes["layers"] * (4 * width**2 + 2 * width * sizes["feed-forward width"])


def _sizes(architecture: Mapping[str, Any]) -> dict[str, int]:
    return {
        size: next(architecture[name] for name in names if name in architecture)
        for size, names in SIZES.items()
    }


def _expected(field: str, value: object, default: object) -> str | None:
    """What a field must be, in words, if the value is not."""
    if field in FIXED:
        return None
    if field in CHOICES:
        one_of = " or ".join(str(choice).lower() for choice in CHOICES[field])
        return None if value in CHOICES[field] and type(value) is type(default) else one_of
    least, most = catalog.RANGES[field]
    whole = type(default) is int
    # Whatever no comparison holds for, as nan, is out of every range.
    if type(value) in ((int,) if whole else (int, float)) and least <= value <= most:
        return None
    return f"a {'whole ' if whole else ''}number from {least:,} to {most:,}"


def _name(size: str, architecture: Mapping[str, Any]) -> str:
    return next(name for name in SIZES[size] if name in architecture)
