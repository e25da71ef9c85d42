"""Files of the Hugging Face hub at a pinned revision, in the hub's own cache.

``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and ``HF_HOME`` work as the hub's client documents them; no token is
needed. The client is imported when used.
"""

import warnings
from pathlib import Path, PurePosixPath

from zeroshot.catalog import SourceFile, WeightsFile, WeightsSource
from zeroshot.hashing import sha256
from zeroshot.weights.error import OutOfReachError, WeightsError

_SHA256_DIGITS = 64


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids downloads."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def cached(source: WeightsSource, file: WeightsFile) -> Path | None:
    """A file that is in the cache, or None; one with other content is removed from it, aloud."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(source.hub, file.path, revision=source.revision, local_files_only=True))
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
        If the hub does not answer, or does not have it.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(source.hub, file.path, revision=source.revision)
    try:
        stated = get_hf_file_metadata(url)
        expected = file.sha256 or _as_sha256(stated.etag)
        if stated.etag and expected and _is_direct(url):
            described = SourceFile(
                name=PurePosixPath(file.path).name, url=url, size=stated.size, sha256=expected
            )
            _prefill(source, described, stated.etag, otherwise)
        path = Path(hf_hub_download(source.hub, file.path, revision=source.revision))
    except WeightsError:
        raise
    except Exception as error:  # of a dozen unrelated classes: the hub's, its HTTP client's, the system's
        reason = " ".join(str(error).split()).rstrip(".")
        raise OutOfReachError(f"{file.path}: {type(error).__name__}: {reason}.") from None
    problem = _difference(path, file)
    if problem is not None:
        _remove(path)
        raise WeightsError(
            f"{url} is not the file of the card: {problem}. It was removed. Try again; if it stays so, "
            "the source has changed."
        )
    return path


def _prefill(source: WeightsSource, described: SourceFile, etag: str, otherwise: str) -> None:
    """Download a file to where the hub's client keeps its content, so that it finds it there.

    The client itself would start from nothing after a download that was killed.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    from zeroshot.data import DataError
    from zeroshot.data.download import fetch_file

    repository = repo_folder_name(repo_id=source.hub, repo_type="model")
    try:
        fetch_file(described, Path(constants.HF_HUB_CACHE) / repository / "blobs" / etag, otherwise)
    except DataError as error:
        raise WeightsError(str(error)) from None


def _is_direct(url: str) -> bool:
    """Whether our own download takes the address; a firm's mirror on plain http is left to the client."""
    from zeroshot.data import DataError
    from zeroshot.data.download import check_scheme

    try:
        check_scheme(url)
    except DataError:
        return False
    return True


def _difference(path: Path, file: WeightsFile) -> str | None:
    """How a cached file differs from what the card, else the hub, says it is; None if it does not."""
    # In the cache a snapshot links to its content, named by what the hub stated: for large files the sha256.
    expected = file.sha256 or _as_sha256(path.resolve().name)
    if expected is None or sha256(path) == expected:
        return None
    return f"its sha256 is {sha256(path)}, expected {expected}"


def _as_sha256(etag: str | None) -> str | None:
    return etag if etag and len(etag) == _SHA256_DIGITS else None


def _remove(path: Path) -> None:
    """Remove a cached file and the content it links to."""
    content = path.resolve()
    path.unlink()
    content.unlink(missing_ok=True)
