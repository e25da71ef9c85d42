"""Options that several commands share."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from zeroshot.runtime import failures, reproducible
from zeroshot.runtime.outputs import OutputError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BatchKey = Annotated[str | None, typer.Option(help="Column of obs with the sequencing batch.")]
Cores = Annotated[int, typer.Option(min=1, help="Jobs done at the same time.")]
Policy = Annotated[str, typer.Option(help="Stored results: reuse, recompute or only-stored.")]
Profile = Annotated[Path | None, typer.Option(help="Snakemake profile, e.g. profiles/slurm.")]
Committed = Annotated[
    bool, typer.Option("--committed", help="Compute nothing: take the scores that git keeps in data/scores.")
]
MissingLabels = Annotated[
    Literal["refuse", "drop", "keep"],
    typer.Option(help="Cells without label or batch: refuse, drop, or keep texts such as NA as a name."),
]
Name = Annotated[str | None, typer.Argument(help="Print all that is known of this one.")]
Seed = Annotated[
    int, typer.Option(min=0, max=reproducible.LARGEST_SEED, help="The same seed gives the same bytes.")
]


# For commands that read counts and have no option to name them.
NO_COUNTS = {"--counts": "no option of this command: store the raw counts in X or in layers['counts']"}


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
            for option in instead.keys() & set(str(error).replace(")", " ").split()):
                error.add_note(f"{option} is {instead[option]}")
            raise


def files_of_weights(model: str, recipe: str | None, weights: Path | None) -> tuple[Path, ...]:
    """The files that a model would read, which no output may replace."""
    from zeroshot import catalog, models

    checkpoint = models.find_checkpoint(catalog.model(model), recipe, weights)
    return tuple(checkpoint.files.values()) if checkpoint else ()


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
