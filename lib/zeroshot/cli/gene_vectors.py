"""``zeroshot genes``: the vectors that a model has of genes."""

from pathlib import Path
from typing import Annotated

import typer

from zeroshot.cli.options import NO_COUNTS, Seed, Weights, files_of_weights, notes_of, reading
from zeroshot.runtime import failures, outputs, printing

_SHOWN = 5  # genes that are printed, with as many of their values


def genes(
    model: Annotated[str, typer.Option(help="Name of a model that has vectors of genes.")],
    output: Annotated[
        Path | None, typer.Option(help="File to write: .csv, .csv.gz or .h5ad. Prints a few genes if absent.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Data set or .h5ad file. pca, hvg and random are fitted to it; others give only its genes."
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe of the model; its default if absent.")] = None,
    weights: Weights = None,
    seed: Seed = 0,
) -> None:
    """Print or write the gene vectors of a model: token embeddings, texts, or components of a data set."""
    from zeroshot import data
    from zeroshot.embedding.gene_vectors import format_of, gene_vectors, write
    from zeroshot.models import Cells

    kind = None
    if output is not None:
        kind = format_of(output)
        inputs = [dataset] if dataset else []
        outputs.require_new(output, *inputs, *files_of_weights(model, recipe, weights))
    cells, notes = None, []
    if dataset is not None:
        with reading(dataset, NO_COUNTS):
            adata = data.load(dataset, require_labels=False)
        cells, notes = Cells.of(adata, with_batches=False), notes_of(dataset, adata, NO_COUNTS)
    with failures.about(f"{model} on {dataset}" if dataset else model):
        vectors = gene_vectors(model, recipe, cells=cells, weights=weights, seed=seed)
    if output is not None:
        with failures.about(output), outputs.replacing(output) as temporary:
            write(vectors, temporary, kind)
    else:
        rows = [
            {"gene": name, **{str(axis): f"{value:.3f}" for axis, value in enumerate(row[:_SHOWN])}}
            for name, row in zip(vectors.names[:_SHOWN], vectors.vectors, strict=False)
        ]
        printing.show(rows, ["gene", *list(rows[0])[1:]] if rows else ["gene"])
    n_genes, dim = vectors.vectors.shape
    print(f"{output or model}: {n_genes:,} genes x {dim}, {vectors.origin}")
    printing.show_notes(notes)
