"""Every path of the project in one place.

``ZEROSHOT_HOME`` names another project root (a copy of this repository); without it the
checkout that holds this file is the root. ``ZEROSHOT_DATA`` names folders, separated as in ``PATH``, that
are searched for source files before anything is downloaded, ``ZEROSHOT_WEIGHTS`` one with a folder per model,
named as its card, that holds the weights as released.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def home() -> Path:
    """Root of the project: ``ZEROSHOT_HOME``, else the checkout this package is installed from.

    Raises
    ------
    FileNotFoundError
        If the folder has no ``data/datasets.yml``, so that a wrong root is named at once.
    """
    root = Path(os.environ.get("ZEROSHOT_HOME") or PACKAGE.parents[1]).resolve()
    if not (root / "data" / "datasets.yml").is_file():
        raise FileNotFoundError(
            f"{root} is not a project root: it has no data/datasets.yml. "
            "Set ZEROSHOT_HOME to a clone of the repository, or install it with `pip install -e .`."
        )
    return root


def catalog(name: str) -> Path:
    """``data/<name>.yml``, for example ``catalog("datasets")``."""
    return home() / "data" / f"{name}.yml"


def notebooks() -> Path:
    """Parameterised notebooks, stored without outputs."""
    return home() / "notebooks"


def scores() -> Path:
    """Tables of studies that git keeps: a directory for each study."""
    return home() / "data" / "scores"


def downloads() -> Path:
    """Source files as published, one folder per data set, and ``weights`` of models."""
    return home() / "data" / "downloads"


def local_sources() -> tuple[Path, ...]:
    """Folders named by ``ZEROSHOT_DATA``, separated as in ``PATH``, in that order."""
    folders = os.environ.get("ZEROSHOT_DATA", "").split(os.pathsep)
    return tuple(Path(folder).expanduser().resolve() for folder in folders if folder)


def local_weights() -> Path | None:
    """Folder named by ``ZEROSHOT_WEIGHTS``, or None."""
    folder = os.environ.get("ZEROSHOT_WEIGHTS")
    return Path(folder).expanduser().resolve() if folder else None


def weights(model: str) -> Path:
    """Downloaded weights of a model, except those in the cache of the Hugging Face hub."""
    return downloads() / "weights" / model


def weights_in_repository(model: str) -> Path:
    """Weights of a model that git keeps: networks that are trained here."""
    return home() / "data" / "weights" / model


def artifacts() -> Path:
    """Content-keyed store of prepared data, embeddings and scores."""
    return home() / "artifacts"


def build() -> Path:
    """Everything a build makes: executed notebooks, staged site, rendered book."""
    return home() / "build"


def study(name: str) -> Path:
    """What the jobs of a study have made: plans, tables, executed notebooks."""
    return build() / "studies" / name
