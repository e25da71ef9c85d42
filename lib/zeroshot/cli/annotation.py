"""``zeroshot annotate``: labels of cells from a reference that has labels."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zeroshot import catalog
from zeroshot.cli.options import (
    BatchKey,
    LibrarySizeKey,
    MissingLabels,
    Seed,
    Weights,
    files_of_weights,
    notes_of,
    reading,
    require_suffix,
)
from zeroshot.runtime import failures, outputs, printing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_FORMATS = (".h5ad", ".csv")
_LONGEST_KEY = 200  # as of an embedding


class AnnotationOptionError(ValueError):
    """An option of ``zeroshot annotate`` that does not fit."""


def annotate(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="An .h5ad file or the name of a data set.")],
    reference: Annotated[str, typer.Option(help="An .h5ad file or the name of a data set, with labels.")],
    model: Annotated[str, typer.Option(help="Name of a model, see `zeroshot models`.")],
    label_key: Annotated[
        str | None, typer.Option(help="Column of the reference's obs with the labels; cell_type if absent.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write: a copy of QUERY (.h5ad) or a table (.csv). Only prints if absent."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe of the model; its default if absent.")] = None,
    weights: Weights = None,
    neighbors: Annotated[int, typer.Option(min=1, help="Nearest reference cells that vote.")] = 15,
    key: Annotated[
        str | None,
        typer.Option(help="Columns are KEY_label, KEY_confidence, KEY_novelty; the model if absent."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace columns that QUERY holds under these names.")
    ] = False,
    batch_key: BatchKey = None,
    reference_batch_key: Annotated[
        str | None, typer.Option(help="Column of the reference's obs with the sequencing batch.")
    ] = None,
    input_layer: Annotated[
        str | None,
        typer.Option(
            "--input-layer", "--counts", help="Matrix of QUERY to read: X, raw or the name of a layer."
        ),
    ] = None,
    reference_layer: Annotated[str | None, typer.Option(help="Matrix of the reference to read.")] = None,
    library_size_key: LibrarySizeKey = None,
    reference_library_size_key: Annotated[
        str | None, typer.Option(help="Column of the reference's obs with the counts over all its genes.")
    ] = None,
    missing_labels: MissingLabels = "drop",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    seed: Seed = 0,
) -> None:
    """Label the cells of QUERY by their nearest cells of a reference, in an embedding of both.

    Per cell: label; confidence, the share of the neighbours that have this
    label; novelty, the share of reference cells that are closer to their
    neighbours than the cell is to its own (0 to 1, higher is less like the
    reference). Both are embedded together over the genes that both have; a
    model that is fitted to cells, such as pca, is fitted to both.
    """
    from zeroshot import data, embedding, pipeline
    from zeroshot.data.copies import require_free, require_same_cells, write_copy

    card = catalog.model(model)
    recipe = recipe or card.recipe
    parameters = catalog.find(card.recipes, recipe, f"recipe of {model}").parameters
    if parameters.get("input") == "as-given":
        raise AnnotationOptionError(
            f"{model}@{recipe} takes values as given, and annotate reads counts: choose another --recipe"
        )
    columns = _columns(model if key is None else key)
    _require_two_sources(query, reference)
    # Whatever can be refused is, before anything is computed.
    if output is not None:
        outputs.require_new(output, query, reference, *files_of_weights(model, recipe, weights))
        require_suffix(output, *_FORMATS)
        if output.suffix == ".h5ad":
            require_free(query, columns.values(), overwrite=overwrite)
            outputs.require_new(output, n_bytes=_size(query))
    of_the_reference = {
        "--counts": "--reference-layer here",
        "--batch-key": "--reference-batch-key here",
        "--library-size-key": "--reference-library-size-key here",
    }
    with reading(reference, of_the_reference):
        of_reference = data.load(
            reference,
            label_key=label_key,
            batch_key=reference_batch_key,
            counts=reference_layer,
            missing_labels=missing_labels,
            library_size=reference_library_size_key,
        )
    with failures.about(query):
        of_query = data.load(
            query,
            batch_key=batch_key,
            counts=input_layer,
            require_labels=False,
            library_size=library_size_key,
        )
        require_same_cells(query, of_query)
    print(
        f"embedding {of_reference.n_obs:,} cells of the reference and {of_query.n_obs:,} of the query with "
        f"{model}",
        file=sys.stderr,
    )
    settings = embedding.Settings(device, precision, progress=True)
    with failures.about(f"{model} on {query} and {reference}"):
        annotation = pipeline.annotate(
            of_query,
            of_reference,
            model,
            recipe,
            n_neighbors=neighbors,
            seed=seed,
            precision=precision,
            weights=weights,
            settings=settings,
        )
    of_files = [*notes_of(reference, of_reference, of_the_reference), *notes_of(query, of_query, {})]
    table, notes = annotation.table, [*of_files, *annotation.notes]
    if output is not None:
        with failures.about(output):
            if output.suffix == ".csv":
                with outputs.replacing(output) as temporary:
                    table.to_csv(temporary, index_label="cell")
            else:
                provenance = {
                    "model": model,
                    "recipe": recipe,
                    "seed": seed,
                    "reference": reference,
                    "label_key": label_key or "cell_type",
                    "neighbors": neighbors,
                    "genes": annotation.genes,
                    "embedding_key": annotation.embedded.key,
                    "notes": notes,
                }
                elements: dict[tuple[str, str], Any] = {
                    place: provenance if name == "provenance" else _values(table[name])
                    for name, place in columns.items()
                }
                write_copy(query, of_query, elements, output)
    by_label = table.groupby("label", observed=True)
    summary = by_label[["confidence", "novelty"]].median().assign(cells=by_label.size()).reset_index()
    summary = summary.sort_values("cells", ascending=False)
    titles = {"confidence": "median confidence", "novelty": "median novelty"}
    printing.show(summary.rename(columns=titles).to_dict("records"), ["label", "cells", *titles.values()])
    n_novel = int((table["novelty"] > pipeline.NOVEL).sum())
    print(
        f"novelty above {pipeline.NOVEL}: {n_novel:,} of {len(table):,} cells (of cells that are like the "
        "reference: 5 %)"
    )
    genes = annotation.genes
    shares = {
        name: f"{genes['shared'] / genes[name]:.0%} of the {name}'s with {genes[f'counts_of_{name}']:.1%} of "
        "its counts"
        for name in ("query", "reference")
    }
    print(f"genes: {genes['shared']:,} shared, {shares['query']} and {shares['reference']}")
    print(f"of the shared genes: {embedding.GeneShare(**annotation.embedded.load('genes'))}")
    printing.show_notes(notes)
    if output is not None:
        print(f"{output}: labels of {len(table):,} cells by {of_reference.n_obs:,} of {reference}")


def _size(source: str) -> int:
    """Bytes of a file; of a data set that goes by its name, none that are known."""
    file = Path(source).expanduser()
    return file.stat().st_size if file.is_file() else 0


def _values(column: "pd.Series") -> "pd.Categorical | np.ndarray":
    """What anndata writes of a column."""
    return column.array if column.dtype == "category" else column.to_numpy()


def _columns(key: str) -> dict[str, tuple[str, str]]:
    """Where in an .h5ad file each part is written."""
    if not key.isprintable() or "/" in key or not key.strip() or len(key) > _LONGEST_KEY:
        raise AnnotationOptionError(f"{key!r} cannot begin names of columns: use a --key without slashes")
    of_cells = {name: ("obs", f"{key}_{name}") for name in ("label", "confidence", "novelty")}
    return of_cells | {"provenance": ("uns", f"{key}_annotation")}


def _require_two_sources(query: str, reference: str) -> None:
    """Refuse a query that is its own reference: each cell would be its own neighbour."""
    paths = [Path(source).expanduser() for source in (query, reference)]
    same = query == reference or (all(path.exists() for path in paths) and paths[0].samefile(paths[1]))
    if same:
        raise AnnotationOptionError(
            f"{query} is query and reference at once, so that each cell would be its own neighbour: give "
            "another --reference, or split the file"
        )
