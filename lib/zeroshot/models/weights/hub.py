"""Files of the Hugging Face hub at a pinned revision, in the hub's own cache.

``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and ``HF_HOME`` work as the hub's client documents them; no token is
needed. The client is imported when used.
"""

import os
import re
import shutil
import warnings
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zeroshot.catalog import SourceFile, WeightsFile, WeightsSource, address_problem
from zeroshot.models.weights.error import OutOfReachError, WeightsError
from zeroshot.models.weights.files import sha256
from zeroshot.store.hashing import digest

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

    from zeroshot.data.download import Expected

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids downloads."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def cached(source: WeightsSource, file: WeightsFile) -> Path | None:
    """A file that is in the cache, or None; one with other content is removed with a warning."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = Path(
            hf_hub_download(
                source.hub, file.path, revision=source.revision, local_files_only=True, token=False
            )
        )
    except LocalEntryNotFoundError:
        return None
    problem = _difference(path, file)
    if problem is None:
        return path
    _remove(path)
    warnings.warn(f"{path} was removed from the hub's cache: {problem}.", stacklevel=2)
    return None


def download(source: WeightsSource, file: WeightsFile, otherwise: str) -> Path:
    """Download a file into the cache, going on where an interrupted download stopped.

    The hub's client writes nothing: it would use what a server states as names of files, and follow it
    anywhere.

    Parameters
    ----------
    source, file
        The repository with its revision, and what the card says of the file.
    otherwise
        What a reader can do who cannot download it, for the error.

    Raises
    ------
    WeightsError
        If what arrives is not the file that the card, else the hub, describes: it is removed.
    OutOfReachError
        If the hub does not answer, does not have it, or states of it what cannot be.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    from zeroshot.data import DataError, transfer
    from zeroshot.data.download import UnavailableError, fetch_file

    url = hf_hub_url(source.hub, file.path, revision=source.revision)
    try:
        stated = transfer.watched(lambda: get_hf_file_metadata(url), lambda: 0)
    except Exception as error:  # of a dozen unrelated classes: the hub's, its HTTP client's, the system's
        raise OutOfReachError(f"{url}: {transfer.one_line(error)}.") from None
    expected = _expected(source, file, url, stated)
    http_host = _http_mirror(url, file)
    described = SourceFile.model_construct(  # its address may be that of a mirror on plain http
        name=PurePosixPath(file.path).name, url=url, size=file.size or stated.size, sha256=None, md5=None
    )
    content = _repository(source) / "blobs" / expected.digest
    try:
        fetch_file(described, content, otherwise, expected=expected, http_host=http_host)
        link = _repository(source) / "snapshots" / source.revision / file.path
        _link(link, content)
    except UnavailableError as error:
        raise OutOfReachError(f"{error.problem}.") from None
    except DataError as error:
        raise WeightsError(str(error)) from None
    except OSError as error:
        raise WeightsError(
            f"{file.path} cannot be put into the hub's cache {_repository(source)}: "
            f"{error.strerror or error}. Correct that folder, set HF_HOME to another, or {otherwise}."
        ) from None
    return link


def _expected(source: WeightsSource, file: WeightsFile, url: str, stated: "HfFileMetadata") -> "Expected":
    """The hash that a file must have: the card's, else the one the hub states.

    It is also the name of the content in the cache, so that only a hash may stand there.
    """
    from zeroshot.data.download import Expected

    advice = "Try again; with a mirror, unset HF_ENDPOINT."
    if stated.commit_hash not in (None, source.revision):
        raise OutOfReachError(
            f"{url} answers with revision {stated.commit_hash[:60]!r} instead of {source.revision}. {advice}"
        )
    if stated.size is not None and stated.size <= 0:
        raise OutOfReachError(f"{url} is stated to have {stated.size} bytes. {advice}")
    if file.sha256:
        return Expected("sha256", file.sha256, "the card")
    # Of large files the hub states the sha256, of others the name that git gives them.
    for algorithm, pattern in (("sha256", _SHA256), ("git", _SHA1)):
        if stated.etag and pattern.fullmatch(stated.etag):
            return Expected(algorithm, stated.etag, "the hub", registered=False)
    raise OutOfReachError(
        f"{url} is stated to have the hash {str(stated.etag)[:80]!r}; 40 or 64 hexadecimal digits are "
        f"expected. {advice}"
    )


def _http_mirror(url: str, file: WeightsFile) -> str | None:
    """The host of ``HF_ENDPOINT`` if it is asked by plain http, which only the card's hash allows."""
    if address_problem(url) is None:
        return None
    host = urlsplit(url).hostname or ""
    if file.sha256 is None or address_problem(url, http_host=host):
        raise OutOfReachError(
            f"{url} is not fetched: only https is, and a mirror on plain http for files whose sha256 the "
            "card knows. Set HF_ENDPOINT to an https address."
        )
    return host


def _repository(source: WeightsSource) -> Path:
    """The folder of a repository in the hub's cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source.hub, repo_type="model")


def _link(link: Path, content: Path) -> None:
    """Make a file of a snapshot, as the hub's client does: a relative link, else a copy."""
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    try:
        new.symlink_to(os.path.relpath(content.resolve(), link.parent.resolve()))
    except OSError:
        shutil.copyfile(content, new)
    new.replace(link)


def _difference(path: Path, file: WeightsFile) -> str | None:
    """How a cached file differs from what the card, else the hub, says it is; None if it does not."""
    # In the cache a snapshot links to its content, named by what the hub stated: for large files the sha256,
    # for others the name that git gives it, or with some mirrors its sha1.
    named = path.resolve().name
    expected = file.sha256 or (named if _SHA256.fullmatch(named) else None)
    if expected is not None:
        seen = sha256(path)
        return None if seen == expected else f"its sha256 is {seen}, expected {expected}"
    if _SHA1.fullmatch(named):
        if named not in (digest(path, "git"), digest(path, "sha1")):
            return f"it is not the content that {named} names"
        return None
    # A cache without links has no such names.
    from zeroshot.data import content

    return content.problem(path)


def _remove(path: Path) -> None:
    """Remove a cached file and the content it links to, if that is in the cache as well."""
    from huggingface_hub import constants

    content = path.resolve()
    try:
        path.unlink()
        if content.is_relative_to(Path(constants.HF_HUB_CACHE).resolve()):
            content.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(
            f"{path} is damaged and cannot be removed ({error.strerror}). Remove it, or set HF_HOME to "
            "another folder."
        ) from None
