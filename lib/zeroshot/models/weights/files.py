"""Released files read as bytes or JSON: of bounded size, and said what they are if they are not right."""

import json
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from zeroshot.models.weights.error import WeightsError
from zeroshot.store import hashing

LARGEST = 2**25  # bytes; the largest vocabulary or dictionary that is released has some million

REMEDY = "Take the file that was released with the weights."

_FOREIGN: Mapping[bytes, str] = {
    b"<": "a web page or XML: what was downloaded is a server's answer, not the file",
    b"version https://git-lfs": "a Git LFS pointer, not the file that it stands for",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"(\xb5/\xfd": "compressed with zstd",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a numpy array",
    b"GGUF": "a GGUF file, whose tensors are quantised",
}


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file, see :func:`zeroshot.store.hashing.sha256`.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    try:
        return hashing.sha256(path)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}. Make it readable, or name another folder."
        ) from None


def head_of(path: Path, expected: str, n_bytes: int = 4096) -> bytes:
    """First bytes of a file that has to be one and not empty.

    Raises
    ------
    WeightsError
        If it cannot be read or is empty; ``expected`` says in words what belongs there.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a directory; expected {expected}. Name the file in it.")
    if not path.is_file():
        raise WeightsError(f"there is no file {path}; expected {expected}. Correct the path.")
    try:
        with path.open("rb") as file:
            head = file.read(n_bytes)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror}); expected {expected}. Correct its permissions."
        ) from None
    if not head:
        raise WeightsError(f"{path} is damaged: it is empty; expected {expected}. Download it again.")
    return head


def foreign_kind(head: bytes) -> str | None:
    """What a file is by its first bytes, in words; None for what nothing else is known to begin with."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((kind for magic, kind in _FOREIGN.items() if start.startswith(magic)), None)


def read_bytes(path: Path, expected: str) -> bytes:
    """Content of a file of at most :data:`LARGEST` bytes.

    Raises
    ------
    WeightsError
        As :func:`head_of`, and if the file is larger.
    """
    head_of(path, expected, 1)
    require_small(path, expected)
    return path.read_bytes()


def require_small(path: Path, expected: str) -> None:
    """Refuse a file of more than :data:`LARGEST` bytes; ``expected`` says in words what belongs there."""
    size = path.stat().st_size
    if size > LARGEST:
        raise WeightsError(
            f"{path} has {size / 2**20:,.0f} MiB; expected {expected} of at most {LARGEST / 2**20:.0f} MiB. "
            "Take the file from its authors."
        )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as :func:`read_json` reads it."""
    path.write_text(json.dumps(dict(content), indent=0, allow_nan=False) + "\n")


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The object that a JSON file holds, with each name once and finite numbers only.

    Raises
    ------
    WeightsError
        If the file is not such an object; ``expected`` says in words what belongs there.
    """
    content = read_bytes(path, expected)

    def refuse(problem: str) -> WeightsError:
        kind = foreign_kind(content)
        problem = f"it is {kind}" if kind else problem
        return WeightsError(
            f"{path} is not valid JSON: {problem}. Expected {expected}. Take the file from its authors."
        )

    try:
        found = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise refuse("it is nested too deeply") from None
    except ValueError as error:  # of decoding and parsing, and of the functions below
        raise refuse(str(error)[:200]) from None
    if type(found) is not dict:
        raise WeightsError(
            f"{path} holds a {type(found).__name__}; a dict is expected, {expected}. Take the file from its "
            "authors."
        )
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{twice[:40]!r} occurs twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:40]} is too large")
    return number


def require_whole(config: Mapping[str, Any], path: Path, limits: Mapping[str, tuple[int, int]]) -> None:
    """Refuse a config whose sizes are absent, no whole numbers, or outside their limits.

    Raises
    ------
    WeightsError
        With all fields that are wrong.
    """
    _require(config, path, limits, lambda value: type(value) is int, "a whole number")


def require_numbers(config: Mapping[str, Any], path: Path, limits: Mapping[str, tuple[float, float]]) -> None:
    """As :func:`require_whole`, of any numbers."""
    _require(config, path, limits, lambda value: type(value) in (int, float), "a number")


def _require(
    config: Mapping[str, Any],
    path: Path,
    limits: Mapping[str, tuple[float, float]],
    fits: Callable[[Any], bool],
    kind: str,
) -> None:
    absent = [name for name in limits if name not in config]
    if absent:
        raise WeightsError(f"{path} lacks {', '.join(absent)}. {REMEDY}")
    wrong = [
        f"{name} is {shortened(config[name])}, expected {kind} from {least:,} to {most:,}"
        for name, (least, most) in limits.items()
        if not fits(config[name]) or not least <= config[name] <= most
    ]
    if wrong:
        raise WeightsError(f"{path} is refused: {'; '.join(wrong)}. {REMEDY}")


def require_architecture(
    config: Mapping[str, Any],
    path: Path,
    sizes: Mapping[str, tuple[int, int]],
    numbers: Mapping[str, tuple[float, float]],
    *,
    heads: str,
    width: str,
) -> None:
    """Refuse a config of a transformer whose fields are out of their limits, or whose heads do not divide it.

    Parameters
    ----------
    config, path
        Content of the file, and where it is.
    sizes, numbers
        Limits of its whole numbers and of its others, see :func:`require_whole`.
    heads, width
        Names of the fields with the number of heads and the width that they share.

    Raises
    ------
    WeightsError
        With what is wrong.
    """
    require_whole(config, path, sizes)
    require_numbers(config, path, numbers)
    if config[width] % config[heads]:
        raise WeightsError(
            f"{path} asks for {config[heads]} heads ({heads}), which do not divide its {width}, "
            f"{config[width]}. {REMEDY}"
        )


def shortened(value: Any) -> str:
    """A value of a file for a message: its kind alone where it could be long."""
    if type(value) is int and abs(value) >= 10**30:  # printing a long one takes long, or fails
        return "a number of more than 30 digits"
    if type(value) in (bool, int, float, str, type(None)):
        return repr(value)[:60]
    return f"a {type(value).__name__}"


def require_numbering(tokens: Mapping[str, Any], path: Path, expected: str) -> dict[str, int]:
    """A vocabulary whose tokens are numbered from 0 on, each number once.

    Raises
    ------
    WeightsError
        With the first token whose number is wrong; ``expected`` says in words what belongs there.
    """
    remedy = f"Expected {expected}. {REMEDY}"
    if not tokens:
        raise WeightsError(f"{path} is empty: it holds no tokens. {remedy}")
    named: dict[int, str] = {}
    for token, number in tokens.items():
        problem = None
        if not token:
            problem = "a token without a name"
        elif type(number) is not int:
            problem = f"{shortened(number)} for {token[:40]!r}, which is no whole number"
        elif not 0 <= number < len(tokens):
            problem = f"{shortened(number)} for {token[:40]!r}, outside 0 to {len(tokens) - 1:,}"
        elif number in named:
            problem = f"{number} for both {named[number][:40]!r} and {token[:40]!r}"
        if problem:
            raise WeightsError(
                f"{path} does not number its tokens from 0 on, each once: it has {problem}. {remedy}"
            )
        named[number] = token
    return dict(tokens)
