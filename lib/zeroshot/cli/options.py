"""Options that several commands share."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zeroshot.runtime import assignments, failures, reproducible
from zeroshot.runtime.outputs import OutputError

if TYPE_CHECKING:
    from anndata import AnnData

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BatchKey = Annotated[str | None, typer.Option(help="Column of obs with the sequencing batch.")]
Cores = Annotated[int, typer.Option(min=1, help="Jobs done at the same time.")]
Policy = Annotated[str, typer.Option(help="Stored results: reuse, recompute or only-stored.")]
Profile = Annotated[Path | None, typer.Option(help="Snakemake profile, e.g. profiles/slurm.")]
Committed = Annotated[
    bool, typer.Option("--committed", help="Compute nothing: take the scores that git keeps in data/scores.")
]
InputLayer = Annotated[
    str | None,
    typer.Option("--input-layer", "--counts", help="Matrix to read: X, raw or the name of a layer."),
]
LibrarySizeKey = Annotated[
    str | None, typer.Option(help="Column of obs with the counts of each cell over all its genes.")
]
MissingLabels = Annotated[
    Literal["refuse", "drop", "keep"],
    typer.Option(help="Cells without label or batch: refuse, drop, or keep texts such as NA as a name."),
]
MissingBatches = Annotated[
    Literal["refuse", "drop", "keep"],
    typer.Option(help="Cells without batch: refuse, or keep texts such as NA as a name. drop is refused."),
]
Name = Annotated[str | None, typer.Argument(help="Print all that is known of this one.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", help="name=value over that of the recipe, e.g. tgthighres=f2."),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, max=reproducible.LARGEST_SEED, help="Of all random draws; the same seed gives the same bytes."
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="Folder with the released files; looked for and downloaded if absent.")
]


# For commands that read counts and have no option to name them.
NO_COUNTS = {
    "--counts": "no option of this command: store the raw counts in X or in layers['counts']",
    "--library-size-key": "no option of this command: the library size is the sum of the counts",
}


@contextlib.contextmanager
def reading(source: str, instead: Mapping[str, str]) -> Iterator[None]:
    """Note which input was read, and what this command has instead of the options that an error names.

    Parameters
    ----------
    source
        The input.
    instead
        By option of `zeroshot embed`, for which the errors of a file are written.
    """
    with failures.about(source):
        try:
            yield
        except Exception as error:
            for option in _options_of(str(error), instead):
                error.add_note(option)
            raise


def notes_of(source: str, cells: "AnnData", instead: Mapping[str, str]) -> list[str]:
    """What was decided while an input was read, or is to know of it, each with its name.

    ``instead`` as for :func:`reading`.
    """
    return [
        " ".join([f"{source}: {note}", *(f"({option}.)" for option in _options_of(note, instead))])
        for note in cells.uns["dataset"]["notes"]
    ]


def _options_of(text: str, instead: Mapping[str, str]) -> list[str]:
    """What a command has instead of the options that a text names."""
    words = set(text.replace(")", " ").split())
    return [f"{option} is {replacement}" for option, replacement in instead.items() if option in words]


def files_of_weights(model: str, recipe: str | None, weights: Path | None) -> tuple[Path, ...]:
    """The files that a model would read, which no output may replace."""
    from zeroshot import catalog, models

    checkpoint = models.find_checkpoint(catalog.model(model), recipe, weights)
    return tuple(checkpoint.files.values()) if checkpoint else ()


def model_parameters(model: str, texts: Iterable[str]) -> dict[str, Any]:
    """Parameters of a model that are put over those of its recipe, each ``name=value`` as a text.

    Raises
    ------
    ValueError
        For a text without ``=`` and a name that comes twice.
    zeroshot.catalog.CatalogError
        For a parameter that the model does not have, and a value of another type or out of range.
    """
    from zeroshot import catalog, models
    from zeroshot.catalog.parameters import unusable_number

    values = assignments.split(texts, "parameter", "-p tgthighres=f2")
    card = catalog.model(model)
    if not values or card.implementation is None:  # of which nothing can be loaded, as models.load says
        return {}
    family = models.implementation(card)
    names = [field.name for field in fields(family) if field.name not in ("checkpoint", "architecture")]
    parameters = {}
    for name, text in values.items():
        catalog.find(dict.fromkeys(names), name, f"parameter of {model}")
        parameters[name] = assignments.literal(text)
    catalog.require_types(family, parameters, "--parameter")
    if problem := unusable_number(parameters):
        raise catalog.CatalogError(f"--parameter {problem}")
    return parameters


def require_suffix(output: Path, *suffixes: str) -> None:
    """Refuse a file to write whose name is that of another format than the ones that are written.

    Raises
    ------
    OutputError
        With the ends of names that there are.
    """
    if not output.name.endswith(suffixes):
        raise OutputError(
            f"the name of {output} is that of another format than is written: end --output in "
            f"{' or '.join(suffixes)}"
        )
