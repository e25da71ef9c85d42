"""``zeroshot …``: the library on the command line.

Exit codes: 0 done, 1 dead links, 2 bad usage or input, 3 an error that nobody expected, 128 + n ended by
signal n (130 Ctrl-C, 141 nobody reads what is printed, 143 terminated).
"""

import contextlib
import os
import signal
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from zeroshot import catalog
from zeroshot.cli import progress, registries
from zeroshot.cli.annotation import annotate
from zeroshot.cli.gene_vectors import genes
from zeroshot.cli.ladders import ladder
from zeroshot.cli.options import (
    AsJson,
    BatchKey,
    Committed,
    Cores,
    InputLayer,
    LibrarySizeKey,
    MissingBatches,
    MissingLabels,
    Name,
    Parameters,
    Policy,
    Profile,
    Seed,
    Weights,
    model_parameters,
    reading,
    require_suffix,
)
from zeroshot.cli.pretraining import corpora, pretrain
from zeroshot.cli.published_scores import evidence
from zeroshot.cli.released_weights import weights
from zeroshot.runtime import failures, outputs, paths, printing, processes, reproducible, streams


class Commands(TyperGroup):
    """The commands; answers to errors that any of them can meet replace those of typer."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Refuse what no option and no argument can be: nothing, and a NUL character."""
        for before, text in pairwise(["the argument", *args]):
            option, _, value = text.partition("=") if text.startswith("--") else (before, "", text)
            option = option if option.startswith("-") else "the argument"
            if not value and (text == "" or text.endswith("=")):
                raise UsageError(f"{option} is empty: give a value, or leave {option} out")
            if "\0" in text:
                raise UsageError(f"{option} is {value!r:.80}, with a NUL character: correct the name")
        return super().parse_args(ctx, args)

    def invoke(self, context: typer.Context) -> Any:
        """Run the command; the end of a damaged file is an error like others, that of ``| head`` is none."""
        try:
            return super().invoke(context)
        except EOFError as error:
            raise UsageError(f"a file ends too early ({error}): it is damaged, copy it again") from error
        except BrokenPipeError:
            failures.drop_output()
            raise typer.Exit(128 + signal.SIGPIPE) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Zero-shot evaluation of single-cell foundation models: data, embeddings, scores, studies, book.",
)
papers_app = typer.Typer(help="List, search and export the papers of the reading list, or check its links.")
app.add_typer(papers_app, name="reading-list")
errors = Console(stderr=True)
SECONDS_TO_LEAVE = 3.0  # after a signal, for files to be removed
STOPPED = (
    "an output that was not complete is not written, and an older one is as it was. Results that were stored "
    "are used when the same command is given again."
)
ALL_CORES = os.cpu_count() or 1


class UsageError(ValueError):
    """An option that does not fit; shown without a traceback."""


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Options before the command."""


@app.command()
def datasets(name: Name = None, as_json: AsJson = False) -> None:
    """List the data sets that can be loaded by name; a source of corpora is shown by its name."""
    cards = catalog.datasets() | (catalog.corpus_sources() if name else {})
    rows = registries.entries(cards, name, "data set")
    registries.show(rows, ["name", "cells", "labels", "batches", "title"], name, as_json)


@app.command()
def models(name: Name = None, as_json: AsJson = False) -> None:
    """List the models: recipe, needs, and where their weights are or why there are none."""
    cards = catalog.models() | catalog.other_models()
    if name is None and not as_json:
        registries.show_models(cards.values())
    else:
        registries.show(registries.entries(cards, name, "model"), [], name, as_json)


@app.command()
def studies(name: Name = None, as_json: AsJson = False) -> None:
    """List the studies that can be run."""
    rows = registries.entries(catalog.studies(), name, "study")
    if name is None and not as_json:
        rows = [row | {key: len(row[key]) for key in ("datasets", "models", "chapters")} for row in rows]
    registries.show(rows, ["name", "datasets", "models", "chapters", "description"], name, as_json)


@app.command()
def embed(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="An .h5ad file or the name of a data set.")],
    model: Annotated[str, typer.Option(help="Name of a model, see `zeroshot models`.")],
    output: Annotated[Path, typer.Option(help="The .h5ad file to write.")],
    recipe: Annotated[str | None, typer.Option(help="Recipe of the model; its default if absent.")] = None,
    parameter: Parameters = None,
    weights: Weights = None,
    key: Annotated[str | None, typer.Option(help="Key of obsm to write; X_<model> if absent.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an embedding that INPUT holds under this key.")
    ] = False,
    batch_key: BatchKey = None,
    input_layer: InputLayer = None,
    library_size_key: LibrarySizeKey = None,
    missing_labels: MissingBatches = "refuse",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    chunk_tokens: Annotated[
        int | None, typer.Option(help="Tokens computed at once; fewer need less memory.")
    ] = None,
    compile_network: Annotated[
        bool, typer.Option("--compile", help="Compile the network first; pays off after thousands of cells.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Embed cells: writes a copy of INPUT with obsm["X_<model>"] and its provenance in uns to OUTPUT."""
    from zeroshot import data, embedding, models, pipeline
    from zeroshot.data.copies import require_same_cells
    from zeroshot.data.embedded import require_place, write_embedding

    card = catalog.model(model)
    recipe = recipe or card.recipe
    values = model_parameters(model, parameter or ())
    key = f"X_{model}" if key is None else key
    settings = embedding.Settings(device, precision, chunk_tokens, progress=True, compile=compile_network)
    if missing_labels == "drop":
        raise UsageError(
            "--missing-labels is drop, but embed writes every cell: leave it out. Give each cell a batch, "
            "or remove the cells without one from the file"
        )
    # Whatever can be refused is, before anything is computed.
    outputs.require_new(output, source)
    require_suffix(output, ".h5ad")
    require_place(source, key, overwrite=overwrite)
    checkpoint = getattr(models.load(model, recipe, weights=weights, parameters=values), "checkpoint", None)
    as_given = (card.recipes[recipe].parameters | values).get("input") == "as-given"
    with reading(source, {"--missing-labels": "refuse or keep here, as embed writes every cell"}):
        cells = data.load(
            source,
            batch_key=batch_key,
            counts=input_layer,
            require_labels=False,
            as_given=as_given,
            missing_labels=missing_labels,
            library_size=library_size_key,
        )
        require_same_cells(source, cells)
    file = Path(source).expanduser()
    outputs.require_new(
        output,
        source,
        *(checkpoint.files.values() if checkpoint else ()),
        n_bytes=(file.stat().st_size if file.is_file() else cells.X.data.nbytes)
        + 4 * cells.n_obs * (card.dim or 1),
    )
    if cells.obs["batch"].nunique() < card.min_batches:
        raise UsageError(f"{model} needs {card.min_batches} batches: name their column with --batch-key")
    print(f"embedding {cells.n_obs:,} cells with {model}", file=sys.stderr)
    options = {"seed": seed, "precision": precision, "weights": weights, "settings": settings}
    with failures.about(f"{model}{f' with the weights of {weights}' if weights else ''} on {source}"):
        embedded = pipeline.embed(cells, model, recipe, parameters=values, **options)
        matrix = pipeline.sound_matrix(embedded, cells.n_obs)
    # What a registered data set notes is on its card.
    of_file = cells.uns["dataset"]["notes"] if file.suffix == ".h5ad" else ()
    notes = [*of_file, *pipeline.notes_of(embedded, cells)]
    genes = embedded.load("genes")
    record = embedded.provenance
    provenance = {
        **{name: value for name, value in record.items() if name not in ("inputs", "files", "record")},
        **record["inputs"],
        "key": embedded.key,
        "card_version": card.version,
        "input": source,
        "input_layer": input_layer or ("X" if as_given else "layers/counts, else X, else raw with a note"),
        "library_size": library_size_key or "sum of the matrix, or as the notes say",
        "input_values": "as given, unchanged" if as_given else "raw counts, checked",
        "weights_from": checkpoint.origin if checkpoint else "none",
        "genes": genes,
        "notes": notes,
    }
    with failures.about(output):
        write_embedding(source, cells, key, matrix, provenance, output)
    if "overlap" in embedded:
        overlap = embedded.load("overlap")
        printing.show(overlap.to_dict("records"), list(overlap.columns))
    print(f"genes: {embedding.GeneShare(**genes)}")
    printing.show_notes(notes)
    rows, columns = matrix.shape
    print(f"{output}: obsm[{key!r}], {rows} cells x {columns}")


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(metavar="FILE.h5ad", help="A file that holds embeddings.")],
    embedding: Annotated[list[str], typer.Option(help="Key of obsm, e.g. X_pca; may be repeated.")],
    label_key: Annotated[str, typer.Option(help="Column of obs with the cell type.")],
    output: Annotated[Path, typer.Option(help="The .csv file to write.")],
    batch_key: BatchKey = None,
    before: Annotated[
        str | None, typer.Option(help="Key of obsm before integration, for PCR (regression) comparison.")
    ] = None,
    missing_labels: MissingLabels = "refuse",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Score embeddings by cell types, and by batches if these are named; warns of rows in another order."""
    from zeroshot import pipeline
    from zeroshot.data.embedded import read_embeddings

    outputs.require_new(output, source, n_bytes=2**14)  # of a table, not found missing after an hour
    require_suffix(output, ".csv", ".csv.gz")
    names, notes = list(dict.fromkeys(embedding)), []
    cells = read_embeddings(
        source,
        names if before is None else [*names, before],
        label_key=label_key,
        batch_key=batch_key,
        missing_labels=missing_labels,
        notes=notes,
    )
    n_cells = len(cells.labels)
    for name in names:
        with failures.about(f"obsm[{name!r}] of {source}"):
            pipeline.require_sound(cells.scored(name), n_cells, "name another --embedding")
    baseline = None if before is None else cells.scored(before)
    with failures.about(source):
        doubts = pipeline.doubts_of_file(source, cells, names, before=before, seed=seed, notes=notes)
    scored = {}
    for number, name in enumerate(names, 1):
        minutes = pipeline.expected_seconds(*cells.scored(name).shape) / 60
        plan = f", about {minutes:,.0f} min on one core" if minutes > 1 else ""
        title = f"scoring {name} of {n_cells:,} cells ({number} of {len(names)}{plan})"
        # The same labels and seed for all: their intervals are of the same subsamples.
        with progress.status(title, errors) as report, failures.about(f"obsm[{name!r}] of {source}"):
            how = {"baseline": baseline, "seed": seed, "progress": report}
            scored[name] = pipeline.score_matrix(cells.scored(name), cells.labels, cells.batches, **how)
    table = pipeline.evaluation_table(scored, source.name, doubts)
    with outputs.replacing(output) as temporary:
        table.to_csv(temporary, index=False)
    for name, of_embedding in doubts.items():
        for doubt in of_embedding:
            errors.print(f"warning: {name}: {doubt}", markup=False, soft_wrap=True, highlight=False)
    if as_json:
        return printing.show_json(pipeline.evaluation_record(table, doubts, notes))
    for name, scores in table.groupby("embedding", sort=False):
        better = scores["higher_is_better"].map({True: "higher", False: "lower"})
        columns = ["metric", "label", "better", "value", "low", "high"]
        printing.show(scores.assign(better=better).to_dict("records"), columns, title=name)
        for text, labels in scores[scores["note"] != ""].groupby("note", sort=False)["label"]:
            print(f"note on {'; '.join(labels)}: {text}")
    printing.show_notes(notes)


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="Name of a study, see `zeroshot studies`.")],
    cores: Cores = ALL_CORES,
    policy: Policy = "reuse",
    profile: Profile = None,
    committed: Committed = False,
    dry_run: Annotated[bool, typer.Option(help="Print what would be executed and stop.")] = False,
) -> None:
    """Compute the runs of a study and execute its pages, those that are missing or outdated."""
    from zeroshot import study as studies_

    source = _source(committed, policy)
    studies_.run(study, cores=cores, policy=policy, profile=profile, source=source, dry_run=dry_run)
    if not dry_run:
        print(f"scores: {paths.study(study) / 'scores.csv'}")


@app.command()
def keep(study: Annotated[str, typer.Argument(help="Name of a study that has been run.")]) -> None:
    """Copy a study's scores to data/scores, for a commit: a changed number is a visible diff."""
    from zeroshot import results
    from zeroshot.study import finished

    catalog.study(study)
    finished.require_whole(paths.study(study))
    print(*results.keep(study), sep="\n")


@app.command()
def book(
    study: Annotated[str, typer.Argument(help="Name of a study.")] = "default",
    cores: Cores = ALL_CORES,
    policy: Policy = "reuse",
    profile: Profile = None,
    committed: Committed = False,
) -> None:
    """Execute a study and render its book to build/html."""
    from zeroshot import site
    from zeroshot import study as studies_

    source = _source(committed, policy)
    begin = time.perf_counter()
    settings = {"cores": cores, "policy": policy, "profile": profile, "source": source}
    studies_.run(study, target="book", before=partial(site.plan, study, source), **settings)
    minutes, seconds = divmod(round(time.perf_counter() - begin), 60)
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

    notebook_files = {path.stem: path for path in sorted(paths.notebooks().glob("*.ipynb"))}
    source = catalog.find(notebook_files, name, "notebook")
    parameters = notebooks.parse_parameters(source, parameter or ())
    with progress.status(f"executing {name}", errors):
        notebooks.execute(source, output, parameters)
    print(output)


app.command()(annotate)
app.command()(evidence)
app.command()(genes)
app.command()(corpora)
app.command()(pretrain)
app.command()(ladder)
app.command()(weights)


@papers_app.callback(invoke_without_command=True)
def list_papers(
    context: typer.Context,
    section: Annotated[
        str | None, typer.Option(help="Name of a section, see data/literature/sections.yml.")
    ] = None,
    query: Annotated[
        str, typer.Option(help="Words, each of which must occur in title, venue, year, authors or tags.")
    ] = "",
    format_: Annotated[
        str | None, typer.Option("--format", help="bibtex, ris, csv or json; a table if absent.")
    ] = None,
) -> None:
    """Print the matching papers; the command `check` checks only the links of these."""
    from reading_list import export, matching_papers

    papers = context.obj = matching_papers(query, section)
    if context.invoked_subcommand:
        return
    if format_:
        sys.stdout.write(catalog.find(export.FORMATS, format_, "format")(papers))
        return
    rows = [{"name": p.name, "year": p.year, "venue": p.venue, "title": p.title} for p in papers]
    printing.show(rows, ["name", "year", "venue", "title"])
    print(f"{len(papers)} papers", file=sys.stderr)


@papers_app.command("check")
def check_links(context: typer.Context) -> None:
    """Check every link; resumes after an interruption. Exit code 1: some pages are gone."""
    from reading_list import links

    def report(finding: links.Finding) -> None:
        print(f"{finding.outcome:<11} {finding.address}", file=sys.stderr)

    findings = links.check(context.obj, report=report)
    for outcome, meaning in links.OUTCOMES.items():
        print(f"{sum(f.outcome == outcome for f in findings):>4} {outcome:<11} {meaning}")
    print(paths.build() / "reading-list" / "links.csv")
    if any(finding.outcome == "gone" for finding in findings):
        raise typer.Exit(1)


def _source(committed: bool, policy: str) -> Literal["computed", "committed"]:
    """Where the scores of a study come from; refuses a policy that there is not, or that has no effect."""
    from zeroshot import store

    catalog.find(dict.fromkeys(store.POLICIES), policy, "policy")
    if committed and policy != "reuse":
        raise UsageError("--committed reads no stored results: leave out --policy")
    return "committed" if committed else "computed"


def main() -> None:
    """Run the command line; errors end with a message and an exit code, see the head of this file."""
    streams.use_utf8()
    streams.open_closed()
    reproducible.fix_arithmetic()
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that knows no Unicode must not end a command
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with (
            processes.stopped_by_signals(SECONDS_TO_LEAVE, STOPPED),
            failures.output_handed_over(),
            progress.bars_as_lines(),
        ):
            app()
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        text, code = failures.explain(error)
        with contextlib.suppress(OSError):  # the code says it, too
            errors.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True, highlight=False)
    raise SystemExit(code) from None
