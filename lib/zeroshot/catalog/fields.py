"""Kinds of fields that several records share, and what no card may hold."""

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WrapSerializer,
    field_validator,
    model_validator,
)

from zeroshot.catalog.parameters import unusable_number
from zeroshot.runtime.reproducible import LARGEST_SEED

# What would change the text around it on a page or in a terminal: control characters (line breaks and tabs
# apart), separators of lines, marks that turn the direction of writing or hide text, halves of characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_LONGEST_TEXT = 4000  # characters
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=,@() -]*")
# What the download itself puts beside a file.
_OWN_SUFFIXES = (".part", ".sha256", ".lock")
_LONGEST_NAME = 200  # bytes; with what is put before and behind, file systems take 255


def address_problem(url: str, *, http_host: str = "127.0.0.1") -> str | None:
    """Why an address is not fetched, None if it may be.

    Parameters
    ----------
    url
        The address.
    http_host
        The one host that plain http is allowed to: this machine, where tests serve files.
    """
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>'):
        return "an address holds no spaces, line breaks, backslashes or other special characters"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError as error:
        return f"it is not an address ({error})"
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname == http_host):
        return "only https is (and http from 127.0.0.1, for tests)"
    if not parts.hostname:
        return "it names no host"
    if "@" in parts.netloc:
        return "an address holds no user name or password"
    return None


def _checked_address(url: str) -> str:
    problem = address_problem(url)
    if problem:
        raise ValueError(f"{url!r} is not fetched: {problem}. Give an https address")
    return url


def _checked_file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name) or name.endswith((".", " ")) or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"{name!r} is not a plain file name. Use letters, digits and . _ - + without a folder, at most "
            f"{_LONGEST_NAME} characters"
        )
    if name.lower().endswith(_OWN_SUFFIXES):
        raise ValueError(
            f"{name!r} ends in one of {', '.join(_OWN_SUFFIXES)}, which the download itself uses"
        )
    return name


def _checked_path(path: str) -> str:
    for part in path.split("/"):
        _checked_file_name(part)
    return str(PurePosixPath(path))


def _one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("it must be one line, without tabs")
    return text


def unusable(value: Any, where: str = "") -> str | None:
    """What in a card cannot be used, whatever the field; None if all can.

    Keys that are not text, numbers that are not finite or too large, texts that are too long or do not print.
    """
    place = f"{where}: " if where else ""
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            return f"{place}a text of {len(value):,} characters is too long. Use at most {_LONGEST_TEXT:,}"
        wrong = _UNPRINTABLE.search(value)
        return (
            f"{place}it holds the character {wrong[0]!r}, which does not print. Remove it" if wrong else None
        )
    if isinstance(value, float) and not math.isfinite(value):
        return f"{place}{value} is not a finite number"
    if isinstance(value, int) and abs(value) >= 2**63:
        return f"{place}a number of {value.bit_length()} bits is too large. At most 63 fit"
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"{place}the key {key!r} is not text. Put it in quotes"
            if not key.strip():
                return f"{place}a key is empty. Write the name that its value is for"
            problem = unusable(key, where) or unusable(item, f"{where}.{key}" if where else key)
            if problem:
                return problem
    if isinstance(value, list | tuple):
        for position, item in enumerate(value):
            if problem := unusable(item, f"{where}.{position}" if where else str(position)):
                return problem
    return None


class Record(BaseModel):
    """Base of every record: immutable, no field beyond the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _usable(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and (problem := unusable(fields)):
            raise ValueError(problem)
        return fields

    @field_validator("*", mode="before")
    @classmethod
    def _no_slip(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic reads true as 1, and takes a text without a word; in a card both are slips."""
        if problem := _slip(value, cls.model_fields[info.field_name].annotation):
            raise ValueError(problem)
        return value


def _slip(value: Any, annotation: Any) -> str | None:
    """Where a field, or a part of it, holds a truth value for a number or an empty text; None if nowhere."""
    kinds = _kinds(annotation)
    if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
        return f"must be a number, not {str(value).lower()}"
    if isinstance(value, str) and str in kinds and not value.strip():
        return "must be a text, and is empty. Write one, or leave the field out if it may be absent"
    parts = list(value.items()) if isinstance(value, Mapping) else []
    if isinstance(value, list | tuple):
        parts = list(enumerate(value))
    for kind in (kind for kind in kinds if get_origin(kind) in (Mapping, tuple)):
        of_parts = next(argument for argument in reversed(get_args(kind)) if argument is not Ellipsis)
        for place, part in parts:
            if problem := _slip(part, of_parts):
                return f"{place}: {problem}"
    return None


def _checked_parameters(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    if problem := unusable_number(parameters):
        raise ValueError(problem)
    return parameters


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that a field takes."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set().union(*map(_kinds, get_args(annotation)))
    return {annotation}


# Cards are shared by the whole process: a mapping inside one must be as immutable as the card.
read_only = AfterValidator(MappingProxyType)
as_dict = WrapSerializer(lambda mapping, serialize: serialize(dict(mapping)))  # pydantic knows no proxies
Parameters = Annotated[Mapping[str, Any], AfterValidator(_checked_parameters), read_only, as_dict]

Address = Annotated[str, AfterValidator(_checked_address)]
FileName = Annotated[str, AfterValidator(_checked_file_name)]
RelativePath = Annotated[str, AfterValidator(_checked_path)]
Line = Annotated[str, AfterValidator(_one_line)]
Size = Annotated[int, Field(gt=0, le=10**15)]  # bytes, or how many there are of something
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Seeds = Annotated[int, Field(ge=1, le=1000)]  # how many
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
EntryName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
