"""The scGPT package as its authors published it, for comparison only: never a dependency of the library.

It goes into a folder of its own, without its pinned dependencies, and runs on the packages that are
installed here, so that both sides compute with the same torch. Two things stand in for what new versions of
torch no longer run with: torchtext, of which a token list is all that is used, and the package's
``__init__`` files, which import training code. The embedding path is theirs, unchanged.
"""

import logging
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from zeroshot.runtime import paths

VERSION = "0.2.4"


class UnavailableError(RuntimeError):
    """The reference cannot be had here."""


class Vocab:
    """What scGPT uses of ``torchtext.vocab.Vocab``."""

    def __init__(self, vocab: list[str]) -> None:
        self.vocab = list(vocab)
        self.numbers = {token: number for number, token in enumerate(self.vocab)}
        self.default: int | None = None

    def __len__(self) -> int:
        return len(self.vocab)

    def __contains__(self, token: str) -> bool:
        return token in self.numbers

    def __getitem__(self, token: str) -> int:
        return self.numbers[token] if self.default is None else self.numbers.get(token, self.default)

    def __call__(self, tokens: list[str]) -> list[int]:
        return [self[token] for token in tokens]

    def insert_token(self, token: str, number: int) -> None:
        if number != len(self):
            raise ValueError(f"{token} has number {number} after {len(self)} tokens")
        self.append_token(token)

    def append_token(self, token: str) -> None:
        self.numbers[token] = len(self)
        self.vocab.append(token)

    def set_default_index(self, number: int | None) -> None:
        self.default = number


def folder() -> Path:
    """Where the package is, installed at the first call.

    Raises
    ------
    UnavailableError
        If it cannot be installed.
    """
    target = paths.build() / "benchmarks" / "environment"
    if not (target / f"scgpt-{VERSION}.dist-info").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "--no-deps", "--target", str(target), f"scgpt=={VERSION}"],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            raise UnavailableError(f"scgpt {VERSION} cannot be installed here: {lines[-1]}")
    return target


def cell_emb() -> ModuleType:
    """``scgpt.tasks.cell_emb``: ``embed_data`` and what it calls.

    Raises
    ------
    UnavailableError
        If it cannot be installed or imported.
    """
    root = folder() / "scgpt"
    text, vocab = ModuleType("torchtext"), ModuleType("torchtext.vocab")
    text.vocab, vocab.Vocab, vocab.vocab = vocab, Vocab, lambda counted, min_freq=1: Vocab(list(counted))
    package, tasks = ModuleType("scgpt"), ModuleType("scgpt.tasks")
    package.__path__, tasks.__path__ = [str(root)], [str(root / "tasks")]
    package.logger = logging.getLogger("scGPT")
    sys.modules |= {"torchtext": text, "torchtext.vocab": vocab, "scgpt": package, "scgpt.tasks": tasks}
    try:
        return import_module("scgpt.tasks.cell_emb")
    except Exception as error:
        raise UnavailableError(f"scgpt {VERSION} cannot be imported: {error!r}") from error
