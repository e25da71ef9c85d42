"""Code that numba compiles, kept for the next process."""

import contextlib
import functools
import importlib.metadata
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from . import paths

# They have numba compile hundreds of functions, most of them when they are imported, and keep none.
_KEEP_NOTHING = ("pynndescent", "umap-learn")
_FOLDER = "NUMBA_CACHE_DIR"


@contextlib.contextmanager
def keep_code() -> Iterator[None]:
    """Let numba keep what it compiles of the packages that are imported meanwhile.

    Importing umap-learn and projecting a few hundred cells takes 20 seconds of CPU, nearly all of it to
    compile; with what another process has kept, it takes 2. The numbers are the same bytes.

    numba itself compiles again for another processor, another numba or a changed file. It does not see that a
    function was changed that another file has taken in: so each version of the packages has its own folder,
    below ``NUMBA_CACHE_DIR`` or ``build/cache/numba``.
    """
    import numba

    versions = "-".join(importlib.metadata.version(name) for name in _KEEP_NOTHING)
    plain, previous = numba.njit, os.environ.get(_FOLDER)
    folder = Path(previous) if previous else paths.build() / "cache" / "numba"
    numba.njit = functools.partial(plain, cache=True)
    try:
        _keep_in(str(folder / versions))
        with warnings.catch_warnings():
            # Of tqdm, which umap-learn imports: it names folders of this machine in the notebook.
            warnings.filterwarnings("ignore", message="IProgress not found")
            yield
    finally:
        numba.njit = plain
        _keep_in(previous)


def _keep_in(folder: str | None) -> None:
    """Set where numba keeps code; not in its settings alone, which it reads again from the environment."""
    import numba

    os.environ.pop(_FOLDER, None)
    if folder is not None:
        os.environ[_FOLDER] = folder
    numba.config.reload_config()
