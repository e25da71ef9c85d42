"""Whether the parameters of a card have the types that the code declares."""

from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from zeroshot.catalog.names import CatalogError


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
