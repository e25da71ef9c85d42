"""Where the files of a card come from: this repository, an installed package, the hub, Drive, addresses.

Of a card that names a page nothing is fetched: its error says where a person finds the files.

Each source is first asked for what it has here already. A file counts only with the right sha256: the
card's, else the one the hub states for that revision, else the one of the first download.
``HF_HUB_OFFLINE`` forbids every download.
"""

import glob
import importlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from filelock import FileLock

from zeroshot.catalog import ModelCard, SourceFile, WeightsFile, address_problem
from zeroshot.models.weights import hub
from zeroshot.models.weights.error import OutOfReachError, WeightsError
from zeroshot.models.weights.files import sha256
from zeroshot.runtime import outputs, paths

Found = dict[str, Path]  # by role


def files(card: ModelCard, roles: list[str], *, download: bool) -> tuple[Found, str]:
    """Files of a card by role, and in words where they come from.

    Raises
    ------
    WeightsError
        If they cannot be had, or one is not what the card describes.
    """
    if card.weights.package and (packaged := _in_package(card, roles)):
        return packaged
    if card.weights.in_repository:
        return _in_repository(card, roles)
    if card.weights.page:
        names = ", ".join(card.weights.files[role].path for role in roles)
        raise WeightsError(
            f"files of {card.name} are not on this machine, and are not downloaded for you: {names}. They "
            f"are on {card.weights.page} (licence of the weights: {card.weights_licence}). Download them "
            f"there and {otherwise(card)}."
        )
    sources = _sources(card)
    held = []
    for origin, ask in sources.items():
        found = ask(card, roles, False)
        if len(found) == len(roles):
            return found, origin
        held.append(found)
    if not download or hub.is_offline():
        best = max(held, key=len)
        absent = ", ".join(card.weights.files[role].path for role in roles if role not in best)
        raise WeightsError(
            f"files of {card.name} are not on this machine: {absent} ({' or '.join(sources)}). "
            + ("HF_HUB_OFFLINE forbids downloads: unset it" if download else "Download them")
            + f" (`zeroshot weights {card.name}`), or {otherwise(card)}."
        )
    problems = []
    for origin, ask in sources.items():
        try:
            return ask(card, roles, True), origin
        except OutOfReachError as error:
            problems.append(f"{origin}: {error}")
    raise WeightsError(
        f"files of {card.name} could not be downloaded. {' '.join(problems)} Try again, or {otherwise(card)}."
    )


def origins(card: ModelCard) -> tuple[str, ...]:
    """Where the files of a card come from, in words; the first that has them all is taken."""
    package, page = card.weights.package, card.weights.page
    if card.weights.in_repository:
        return ("this repository",)
    first = (f"package {package}, where it is installed",) if package else ()
    return (*first, *([f"{page}, by hand"] if page else _sources(card)))


def otherwise(card: ModelCard) -> str:
    """What a reader can do who cannot download, for the end of an error."""
    return (
        "put the released files into a folder and name it with --weights, or into a folder "
        f"{card.name} of the folder that ZEROSHOT_WEIGHTS names"
    )


def _sources(card: ModelCard) -> dict[str, Callable[[ModelCard, list[str], bool], Found]]:
    """What gives the files of a card, by its name in words, in the order of preference."""
    source = card.weights
    sources = {}
    if source.hub:
        sources[f"hub {source.hub}@{source.revision[:12]}"] = _from_hub
    if source.drive:
        sources[f"Google Drive folder {source.drive}"] = _from_drive
    return sources or {"the addresses of the card": _from_addresses}


# -- this repository -----------------------------------------------------------------------------------


def _in_repository(card: ModelCard, roles: list[str]) -> tuple[Found, str]:
    """Files that git keeps.

    Raises
    ------
    WeightsError
        If one is not there, or is not the one of the card.
    """
    folder = paths.weights_in_repository(card.name)
    files_by_role = {role: folder / card.weights.files[role].path for role in roles}
    wrong = [path for role, path in files_by_role.items() if not _is_right(path, card.weights.files[role])]
    if wrong:
        raise WeightsError(
            f"{', '.join(map(str, wrong))}: absent, or without the sha256 of {card.name}'s card. Restore the "
            f"files of this commit (git checkout -- {folder}), or {otherwise(card)}."
        )
    return files_by_role, "this repository"


# -- an installed package ----------------------------------------------------------------------------


def _in_package(card: ModelCard, roles: list[str]) -> tuple[Found, str] | None:
    """Files that an installed distribution carries, found without importing it; None without it.

    Raises
    ------
    WeightsError
        If it is installed and holds no file with the sha256 of the card.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        package = distribution(card.weights.package)
    except PackageNotFoundError:
        return None
    held = package.files or []
    found = {}
    for role in roles:
        file = card.weights.files[role]
        name = PurePosixPath(file.path).name
        candidates = [Path(path.locate()) for path in held if path.name == name]
        right = [path for path in candidates if path.is_file() and sha256(path) == file.sha256]
        if not right:
            raise WeightsError(
                f"the installed package {card.weights.package} {package.version} is refused: it holds no "
                f"{name} with sha256 {file.sha256}, that of {card.name}. Uninstall it: the file then "
                "comes from its official source."
            )
        found[role] = right[0]
    return found, f"package {card.weights.package} {package.version}"


# -- the hub, plain addresses ------------------------------------------------------------------------


def _from_hub(card: ModelCard, roles: list[str], download: bool) -> Found:
    found = {}
    for role in roles:
        file = card.weights.files[role]
        path = hub.cached(card.weights, file)
        if path is None and download:
            path = hub.download(card.weights, file, otherwise(card))
        if path is not None:
            found[role] = path
    return found


def _from_addresses(card: ModelCard, roles: list[str], download: bool) -> Found:
    targets = {role: _target(card, role) for role in roles}
    if not download:
        return {role: path for role, path in targets.items() if _is_right(path, card.weights.files[role])}
    from zeroshot.data import DataError
    from zeroshot.data.download import fetch_file

    for role, target in targets.items():
        file = card.weights.files[role]
        try:
            fetch_file(_described(file, file.url), target, otherwise(card))
        except DataError as error:
            raise WeightsError(str(error)) from None
    return targets


def _described(file: WeightsFile, url: str) -> SourceFile:
    return SourceFile(name=PurePosixPath(file.path).name, url=url, size=file.size, sha256=file.sha256)


# -- folders of Google Drive -------------------------------------------------------------------------


def _from_drive(card: ModelCard, roles: list[str], download: bool) -> Found:
    targets = {role: _target(card, role) for role in roles}
    found = {role: path for role, path in targets.items() if _is_right(path, card.weights.files[role])}
    if not download or len(found) == len(roles):
        return found
    folder = paths.weights(card.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            absent = [role for role in roles if not _is_right(targets[role], card.weights.files[role])]
            if absent:  # still, after waiting for another process
                _download_drive(
                    card, folder, {targets[role].name: card.weights.files[role] for role in absent}
                )
    except OSError as error:
        raise WeightsError(
            f"files of {card.name} cannot be kept in {folder}: {error.strerror or error}. Correct that "
            f"folder, or {otherwise(card)}."
        ) from None
    return targets


def _download_drive(card: ModelCard, folder: Path, wanted: dict[str, WeightsFile]) -> None:
    """Fetch files of a Drive folder by name, into ``.part`` first, and move them once they are right."""
    from zeroshot.data import DataError, download, pins, transfer

    part = folder / ".part"
    part.mkdir(exist_ok=True)
    for name, file in wanted.items():
        if file.sha256 is None:  # only a hash can tell that two halves belong together
            for half in _halves(part, name):
                half.unlink()
    drive = card.weights.drive
    page = f"https://drive.google.com/drive/folders/{drive}"
    try:
        transfer.watched(lambda: fetch_from_drive(drive, set(wanted), part), lambda: _bytes_in(part))
    except Exception as error:  # of gdown, of requests, of the system
        if outputs.full_disk(error):
            raise
        raise OutOfReachError(
            f"{transfer.reason(error).rstrip('.')}. Drive limits how often a file is fetched; "
            f"{page} opens in a browser."
        ) from None
    for name, file in wanted.items():
        arrived, target = part / name, folder / name
        if not arrived.is_file():
            raise WeightsError(f"the Drive folder {page} of {card.name} holds no {name}: {otherwise(card)}.")
        described = _described(file, page)
        expected = download.Expected("sha256", file.sha256) if file.sha256 else None
        pin = None if expected else pins.read(target)
        try:
            download.keep(arrived, target, described, otherwise(card), expected=expected, pin=pin)
        except download.UnavailableError as error:
            raise OutOfReachError(
                f"{error.problem}. Drive limits how often a file is fetched; {page} opens in a browser."
            ) from None
        except DataError as error:
            raise WeightsError(str(error)) from None


def _bytes_in(folder: Path) -> int:
    n_bytes = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it was renamed meanwhile
            n_bytes += path.stat().st_size
    return n_bytes


def fetch_from_drive(folder_id: str, names: set[str], target: Path) -> None:
    """Download files of a public Drive folder by name, going on with what an earlier call left in target.

    The only place that talks to Drive; tests put a function of their own here.
    """
    gdown = _gdown()
    always = {"use_cookies": False, "timeout": 30}
    for entry in gdown.download_folder(id=folder_id, skip_download=True, quiet=True, **always):
        name = PurePosixPath(entry.path).name
        if name not in names:
            continue
        how = always | {"id": entry.id, "output": str(target / name), "resume": True, "retries": 3}
        before = _halves(target, name)
        try:
            gdown.download(**how)
        except gdown.exceptions.DownloadError as error:
            useless = before and before == _halves(target, name) and error.__cause__ is None
            if not useless or isinstance(error, gdown.exceptions.FileURLRetrievalError):
                raise  # what is here may be continued: the network failed, or Drive refuses the file
            for half in before:
                half.unlink()
            gdown.download(**how)


@lru_cache(maxsize=1)
def _gdown() -> ModuleType:
    """The package, which then follows no redirect to plain http, where anybody on the way can answer."""
    import gdown
    from requests.adapters import BaseAdapter

    from zeroshot.data import transfer

    class Refusal(BaseAdapter):
        def send(self, request: Any, **_: object) -> None:
            problem = address_problem(request.url)
            raise transfer.TransferError(
                f"it leads to {request.url[:300]!r}, which is not fetched: {problem}"
            )

        def close(self) -> None:
            pass

    def over_https(make: Callable) -> Callable:
        def session(**how: object) -> tuple:
            of_requests, cookies = make(**how)
            of_requests.mount("http://", Refusal())
            return of_requests, cookies

        return session

    for name in ("download", "download_folder"):
        module = importlib.import_module(f"gdown.{name}")
        module._get_session = over_https(module._get_session)
    return gdown


def _halves(folder: Path, name: str) -> dict[Path, int]:
    """What gdown has left of a file that did not arrive completely, with its bytes."""
    return {path: path.stat().st_size for path in folder.glob(f"{glob.escape(name)}????????.part")}


def _target(card: ModelCard, role: str) -> Path:
    return paths.weights(card.name) / PurePosixPath(card.weights.files[role].path).name


def _is_right(path: Path, file: WeightsFile) -> bool:
    """Whether a file is here with the sha256 of the card, else with that of its first download."""
    if not path.is_file():
        return False
    if file.sha256 is not None:
        return sha256(path) == file.sha256
    from zeroshot.data import content, pins

    pin = pins.read(path)
    return pin is not None and sha256(path) == pin.sha256 and content.problem(path) is None
