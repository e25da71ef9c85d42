"""Values given on the command line, each ``name=value``."""

from collections.abc import Iterable


def split(texts: Iterable[str], kind: str, example: str) -> dict[str, str]:
    """Text of each value by its name.

    Parameters
    ----------
    texts
        Each ``name=value``.
    kind
        What the names are, for errors: "parameter".
    example
        How one is given, for errors: "-p model=pca".

    Raises
    ------
    ValueError
        For a text without ``=`` or without a name, and for a name that comes twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        name = name.strip()
        if not separator or not name:
            raise ValueError(f"Invalid {kind} {text!r}: use name=value, for example {example}")
        if name in values:
            raise ValueError(f"the {kind} {name} is given twice: give it once")
        values[name] = value
    return values


def literal(text: str) -> bool | int | float | str:
    """What a text means: true or false, a number, whole if it can be, or else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
