"""``zeroshot …``: the library on the command line. Exit codes: 0 done, 1 dead links, 2 bad usage or input."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zeroshot import catalog, paths

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Zero-shot evaluation of single-cell foundation models: data, embeddings, scores, studies, book.",
)
reading_list = typer.Typer(help="List, search and export the papers of the reading list, or check its links.")
app.add_typer(reading_list, name="reading-list")
errors = Console(stderr=True)
ALL_CORES = os.cpu_count() or 1

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BatchKey = Annotated[str | None, typer.Option(help="Column of obs with the sequencing batch.")]
Cores = Annotated[int, typer.Option(min=1, help="Pages executed at the same time.")]
Policy = Annotated[str, typer.Option(help="Stored results: reuse, recompute or only-stored.")]
Profile = Annotated[Path | None, typer.Option(help="Snakemake profile, e.g. profiles/slurm.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same bytes.")]


class UsageError(ValueError):
    """An option that does not fit; shown without a traceback."""


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Options before the command."""


@app.command()
def datasets(as_json: AsJson = False) -> None:
    """List the data sets that can be loaded by name."""
    _show(
        [card.model_dump(mode="json") for card in catalog.datasets().values()],
        ["name", "title", "organism", "tissue", "cells", "labels", "batches", "source", "verified"],
        as_json,
    )


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models and their recipes."""
    rows = [card.model_dump(mode="json") for card in catalog.models().values()]
    shown = rows if as_json else [row | {"recipes": ", ".join(row["recipes"])} for row in rows]
    _show(shown, ["name", "kind", "uses", "trained_on_target", "recipe", "recipes", "description"], as_json)


@app.command()
def studies(as_json: AsJson = False) -> None:
    """List the studies that can be run."""
    rows = [card.model_dump(mode="json") for card in catalog.studies().values()]
    _show(rows, ["name", "datasets", "models", "description"], as_json)


@app.command()
def embed(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="An .h5ad file or the name of a data set.")],
    model: Annotated[str, typer.Option(help="Name of a model, see `zeroshot models`.")],
    output: Annotated[Path, typer.Option(help="The .h5ad file to write.")],
    recipe: Annotated[str | None, typer.Option(help="Recipe of the model; its default if absent.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder with the weights as released.")] = None,
    batch_key: BatchKey = None,
    input_layer: Annotated[
        str | None,
        typer.Option("--input-layer", "--counts", help="Matrix to read: X, raw or the name of a layer."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    chunk_tokens: Annotated[
        int | None, typer.Option(help="Tokens computed at once; less needs less memory.")
    ] = None,
    compile_network: Annotated[
        bool, typer.Option("--compile", help="Compile the network first; pays off after thousands of cells.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Embed cells: writes INPUT with obsm["X_<model>"] and its provenance in uns to OUTPUT."""
    from zeroshot import data, embedding, integrity, models, store
    from zeroshot.data.embedded import write_embedding

    card = catalog.model(model)
    recipe = recipe or card.recipe
    parameters = dict(catalog.find(card.recipes, recipe, f"recipe of {model}").parameters)
    settings = embedding.Settings(
        device, precision, chunk_tokens, progress=sys.stderr.isatty(), compile=compile_network
    )
    # Also refuses what cannot be loaded, before anything is read or written.
    checkpoint = getattr(models.load(model, recipe, weights=weights), "checkpoint", None)
    as_given = parameters.get("input") == "as-given"
    _require_new(output, source)
    cells = data.load(
        source, batch_key=batch_key, counts=input_layer, require_labels=False, as_given=as_given
    )
    if cells.obs["batch"].nunique() < card.min_batches:
        raise UsageError(f"{model} needs {card.min_batches} batches: name their column with --batch-key")
    started = time.perf_counter()
    print(f"embedding {cells.n_obs:,} cells with {model}", file=sys.stderr)
    embedded = embedding.run(cells, model, recipe, seed=seed, weights=weights, settings=settings)
    seconds = time.perf_counter() - started
    integrity.require(integrity.check(embedded.matrix, cells.n_obs, embedded.checks))
    provenance = store.measure(seconds) | {
        "model": model,
        "recipe": recipe,
        "parameters": {name: _plain(value) for name, value in parameters.items()},
        "card_version": card.version,
        "seed": seed,
        "precision": precision,
        "input": source,
        "input_layer": input_layer or ("X" if as_given else "layers/counts if there is one, else X"),
        "input_values": "as given, unchanged" if as_given else "raw counts, checked",
        "weights": dict(checkpoint.hashes) if checkpoint else {},
        "weights_from": checkpoint.origin if checkpoint else "none",
        "data": cells.uns["dataset"]["content_hash"],
        "notes": list(embedded.notes),
    }
    write_embedding(source, cells, f"X_{model}", embedded.matrix, provenance, output)
    if embedded.overlap is not None:
        _show(embedded.overlap.to_dict("records"), list(embedded.overlap.columns), as_json=False)
    for note in embedded.notes:
        print(f"note: {note}")
    rows, columns = embedded.matrix.shape
    print(f"{output}: obsm['X_{model}'], {rows} cells x {columns}")


@app.command()
def weights(
    model: Annotated[str, typer.Argument(help="Name of a model, see `zeroshot models`.")],
) -> None:
    """Get the released weights of a model, or find them where they already are, and print where that is."""
    from zeroshot import weights as weights_

    checkpoint = weights_.find(catalog.model(model))
    rows = [
        {"file": role, "path": path, "sha256": checkpoint.hashes[role]}
        for role, path in checkpoint.files.items()
    ]
    _show(rows, ["file", "path", "sha256"], as_json=False)
    print(f"{model}: from {checkpoint.origin}")


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(metavar="FILE.h5ad", help="A file that holds an embedding.")],
    embedding: Annotated[str, typer.Option(help="Key of obsm, e.g. X_pca.")],
    label_key: Annotated[str, typer.Option(help="Column of obs with the cell type.")],
    output: Annotated[Path, typer.Option(help="The .csv file to write.")],
    batch_key: BatchKey = None,
    before: Annotated[
        str | None, typer.Option(help="Key of obsm before integration; PCR comparison needs it.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Score an embedding of a file: annotation metrics, and integration metrics if batches are named."""
    from zeroshot import integrity, metrics, store
    from zeroshot.data.embedded import read_embedding

    _require_new(output, source)
    keys = {"label_key": label_key, "batch_key": batch_key}
    values, labels, batches = read_embedding(source, embedding, **keys)
    baseline = None if before is None else read_embedding(source, before, **keys)[0]
    integrity.require(integrity.check(values, len(labels)))
    with errors.status(f"scoring {embedding} of {len(labels)} cells"):
        scores, _ = metrics.score_with_intervals(values, labels, batches, baseline=baseline, seed=seed)
    scores = scores.drop(columns=["seeds", "seed_sd"])  # of one embedding nothing is known about seeds
    store.write_text(output, scores.assign(file=source.name, embedding=embedding).to_csv(index=False))
    _show(scores.to_dict("records"), ["metric", "group", "value", "low", "high", "note"], as_json=False)


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="Name of a study, see `zeroshot studies`.")],
    cores: Cores = ALL_CORES,
    policy: Policy = "reuse",
    profile: Profile = None,
    dry_run: Annotated[bool, typer.Option(help="Print what would be executed and stop.")] = False,
) -> None:
    """Execute the pages of a study that are missing or outdated."""
    from zeroshot import study as studies_

    _check_policy(policy)
    studies_.run(study, cores=cores, policy=policy, profile=profile, dry_run=dry_run)
    if not dry_run:
        print(f"scores: {paths.study(study) / 'scores.csv'}")


@app.command()
def keep(study: Annotated[str, typer.Argument(help="Name of a study that has been run.")]) -> None:
    """Write a study's scores to data/scores, for a commit: a changed number is a visible diff."""
    from zeroshot import results

    catalog.study(study)
    print(*results.keep(study), sep="\n")


@app.command()
def book(
    study: Annotated[str, typer.Argument(help="Name of a study.")] = "default",
    cores: Cores = ALL_CORES,
    policy: Policy = "reuse",
    profile: Profile = None,
    kept: Annotated[
        bool, typer.Option("--kept", help="Compute nothing: read the scores that git keeps in data/scores.")
    ] = False,
) -> None:
    """Execute a study and render its book to build/html."""
    from zeroshot import study as studies_

    _check_policy(policy)
    if kept and policy != "reuse":
        raise UsageError("--kept reads no stored results: leave out --policy")
    started = time.perf_counter()
    studies_.run(study, cores=cores, target="book", policy=policy, profile=profile, from_kept=kept)
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(f"The book is at {paths.build() / 'html' / 'index.html'} ({minutes} min {seconds} s).")
    print("Read it with `make serve`, at http://127.0.0.1:8000")


@app.command()
def notebook(
    name: Annotated[str, typer.Argument(help="Name of a notebook in notebooks/, without suffix.")],
    output: Annotated[Path, typer.Option(help="The executed notebook to write.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="name=value, in the type that the notebook declares."),
    ] = None,
) -> None:
    """Execute one notebook with parameters of your choice."""
    from zeroshot import notebooks

    source = paths.notebooks() / f"{name}.ipynb"
    known = {path.stem: path for path in sorted(paths.notebooks().glob("*.ipynb"))}
    catalog.find(known, name, "notebook")
    parameters = notebooks.parse_parameters(source, parameter or ())
    with errors.status(f"executing {name}"):
        notebooks.execute(source, output, parameters)
    print(output)


@reading_list.callback(invoke_without_command=True)
def list_papers(
    context: typer.Context,
    section: Annotated[
        str | None, typer.Option(help="Name of a section, see data/literature/sections.yml.")
    ] = None,
    query: Annotated[
        str, typer.Option(help="Words that title, venue, year, authors or tags must all hold.")
    ] = "",
    format_: Annotated[
        str | None, typer.Option("--format", help="bibtex, ris, csv or json; a table if absent.")
    ] = None,
) -> None:
    """Print the papers that fit; the command `check` asks only for the links of these."""
    from zeroshot import literature
    from zeroshot.literature import export

    papers = context.obj = literature.search(query, section)
    if context.invoked_subcommand:
        return
    if format_:
        sys.stdout.write(catalog.find(export.FORMATS, format_, "format")(papers))
        return
    rows = [{"name": p.name, "year": p.year, "venue": p.venue, "title": p.title} for p in papers]
    _show(rows, ["name", "year", "venue", "title"], as_json=False)
    print(f"{len(papers)} papers", file=sys.stderr)


@reading_list.command("check")
def check_links(context: typer.Context) -> None:
    """Ask every link, one after the other; an interrupted check goes on. Exit code 1: some are gone."""
    from zeroshot.literature import links

    def tell(finding: links.Finding) -> None:
        print(f"{finding.outcome:<11} {finding.address}", file=sys.stderr)

    findings = links.check(context.obj, tell=tell)
    for outcome, meaning in links.OUTCOMES.items():
        print(f"{sum(f.outcome == outcome for f in findings):>4} {outcome:<11} {meaning}")
    print(paths.build() / "reading-list" / "links.csv")
    if any(finding.outcome == "gone" for finding in findings):
        raise typer.Exit(1)


def _plain(value: Any) -> Any:
    """A recipe's parameter as .h5ad files can hold it; they know no None."""
    return "none" if value is None else value


def _check_policy(policy: str) -> None:
    from zeroshot import store

    catalog.find(dict.fromkeys(store.POLICIES), policy, "policy")


def _require_new(output: Path, source: str | Path) -> None:
    if output.resolve() == Path(source).expanduser().resolve():  # `load` reads ~ too
        raise UsageError(f"{output} is the input: choose another --output, the input is never changed")
    if not output.resolve().parent.is_dir():
        raise UsageError(f"the folder {output.resolve().parent} of --output does not exist")


def _show(rows: list[dict[str, Any]], columns: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(box=None)
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    for row in rows:
        table.add_row(*(escape(_text(row[column])) for column in columns))
    Console().print(table)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return "–" if value is None else str(value)


def main() -> None:
    """Run the command line; expected failures end with a message and exit code 2."""
    try:
        app()
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        if "--debug" in sys.argv:
            raise
        errors.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise SystemExit(2) from None
