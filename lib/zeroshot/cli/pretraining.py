"""``zeroshot pretrain``: networks trained on cells of your choice, and baselines fitted to them."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeroshot import catalog
from zeroshot.cli import registries
from zeroshot.cli.options import NO_COUNTS, AsJson, Name, Seed, notes_of, reading
from zeroshot.runtime import assignments, printing

if TYPE_CHECKING:
    from anndata import AnnData


# Options that say how a network is trained: what is fitted in one go has no such settings.
_OF_TRAINING = (
    "field", "epochs", "minutes", "max_tokens", "tokens_per_step", "learning_rate", "device", "precision",
    "objective",
)  # fmt: skip


def pretrain(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(help="An untrained twin, e.g. scgpt-untrained; or corpus-pca, corpus-scvi, …."),
    ],
    corpus: Annotated[
        list[str], typer.Option(help="A named corpus; or a data set or .h5ad file, may be repeated.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write, in the layout of a released model.")],
    field: Annotated[
        list[str] | None,
        typer.Option("--architecture", help="name=value, another size of the network, e.g. nlayers=4."),
    ] = None,
    test_set: Annotated[
        list[str] | None,
        typer.Option(help="Data set whose cells must not be in the corpus; may be repeated."),
    ] = None,
    genes: Annotated[
        int, typer.Option(min=100, help="Size of the vocabulary: the genes that are detected in most cells.")
    ] = 18_000,
    epochs: Annotated[float, typer.Option(min=0.0, help="Passes over the cells.")] = 5.0,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Instead of --epochs: as many as take this long on this machine."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=3, help="Most genes of a cell that are read at once.")] = 512,
    tokens_per_step: Annotated[int, typer.Option(min=3, help="Tokens of a step, padding included.")] = 16_384,
    learning_rate: Annotated[
        float, typer.Option(help="Highest learning rate; it rises to it and falls again.")
    ] = 1e-3,
    objective: Annotated[
        str | None,
        typer.Option(
            help="contrastive: recognise a cell by another sample of its genes. Absent: predict hidden genes."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    seed: Seed = 0,
) -> None:
    """Train a network on cells; an interrupted training continues with the same command.

    The folder is read by `zeroshot embed --model TWIN --weights FOLDER`, where
    TWIN is the trained model of the untrained one. corpus-pca and corpus-scvi
    are fitted in one go, the latter with --epochs (absent: as many as
    scvi-tools chooses).
    """
    from zeroshot import pretraining
    from zeroshot.models import Cells

    if fitted := pretraining.fitted(model):
        options = _given(context)
        useless = [options[name] for name in options if name in _OF_TRAINING and name not in fitted.reads]
        if useless:
            raise pretraining.TrainingError(
                f"{model} is fitted in one go and has no {', '.join(useless)}: leave it out, or train a "
                "network"
            )
        if not epochs.is_integer() or epochs < 1:
            raise pretraining.TrainingError(f"epochs is {epochs}: {model} takes whole passes, at least 1")
        settings = {"epochs": int(epochs)} if "epochs" in options else {}
        _fit(model, corpus, output, test_set or (), genes, seed, settings)
        return
    if minutes is not None and "epochs" in _given(context):
        raise pretraining.TrainingError("--epochs and --minutes both say how long to train: give one")
    settings = pretraining.Training(
        epochs=epochs, max_tokens=max_tokens, tokens_per_step=tokens_per_step, learning_rate=learning_rate,
        objective=objective, seed=seed, precision=precision, device=device,
    )  # fmt: skip
    sizes = assignments.split(field or (), "field of the architecture", "--architecture nlayers=4")
    architecture = {name: assignments.literal(text) for name, text in sizes.items()}
    # Refused before cells are loaded.
    pretraining.untrained(model, settings, architecture)
    pretraining.require_new(output)
    cells = _cells(corpus, genes, test_set or ())
    facts = pretraining.facts_of(cells, corpus)
    print(f"training {model} on {cells.n_obs:,} cells and {cells.n_vars:,} genes", file=sys.stderr)
    to_read = Cells.of(cells, with_batches=False)
    if minutes is not None:
        epochs = pretraining.epochs_in(minutes, model, to_read, output, settings, architecture)
        print(f"in {minutes:g} minutes: --epochs {epochs:g}, which gives the same weights", file=sys.stderr)
        settings = dataclasses.replace(settings, epochs=epochs)
    with steps_bar() as show:
        pretraining.train(
            model, to_read, output, settings, architecture=architecture, facts=facts, progress=show
        )
    _print_losses(output)
    print(f"{output}: read it with --model {catalog.model(model).twin_of or model} --weights {output}")


def _print_losses(output: Path) -> None:
    """Losses on held-out cells of a finished training, beside those of predictors without a network."""
    losses = json.loads((output / "training.json").read_text())["validation"]
    for title, part in (("untrained", "untrained"), ("trained", "trained"), ("no network", "baselines")):
        row = ", ".join(f"{name} {loss:.3f}" for name, loss in losses[part].items())
        print(f"loss on held-out cells, {title}: {row}", file=sys.stderr)


def _given(context: typer.Context) -> dict[str, str]:
    """Options of this call that were not left to their defaults: by their parameter, as they are written."""
    return {
        option.name: option.opts[0]
        for option in context.command.params
        if context.get_parameter_source(option.name).name == "COMMANDLINE"
    }


def _fit(
    model: str, corpus: list[str], output: Path, test_sets: Sequence[str], n_genes: int, seed: int,
    settings: dict[str, int],
) -> None:  # fmt: skip
    """Fit a baseline to a corpus, and write it."""
    from zeroshot import pretraining
    from zeroshot.models import Cells

    pretraining.require_new(output)
    adata = _cells(corpus, n_genes, test_sets)
    print(f"fitting {model} to {adata.n_obs:,} cells and {adata.n_vars:,} genes", file=sys.stderr)
    facts = pretraining.facts_of(adata, corpus)
    adata.obs["batch"] = adata.obs["source"]
    cells = Cells.of(adata, with_batches=True)
    pretraining.fit(model, cells, output, seed=seed, facts=facts, **settings)
    print(f"{output}: read it with --model {catalog.model(model).twin_of or model} --weights {output}")


@contextlib.contextmanager
def steps_bar() -> Iterator[Callable[[dict[str, float]], None]]:
    """A bar over the steps of one training after another; what it yields takes the report of a step."""
    from tqdm import tqdm

    with tqdm(unit="step") as bar:

        def show(report: dict[str, float]) -> None:
            if report["step"] < bar.n:  # the next training
                bar.reset()
            bar.total = report["steps"]
            speed = f"{report['cells_per_second']:.0f}"
            bar.set_postfix(loss=f"{report['loss']:.3f}", cells_per_s=speed, refresh=False)
            bar.update(report["step"] - bar.n)

        yield show


def _cells(corpus: list[str], n_genes: int, test_sets: Sequence[str]) -> "AnnData":
    """The cells of a named corpus, or of data sets and files put together, apart from all test sets.

    Raises
    ------
    zeroshot.pretraining.CorpusError
        If a cell is one of a test set, or a named corpus is one of several.
    """
    from zeroshot import data, pretraining
    from zeroshot.pretraining.corpora import LEAST_GENES

    named = [name for name in corpus if name in catalog.corpora()]
    if named and len(corpus) > 1:
        raise pretraining.CorpusError(
            f"{named[0]} is a corpus of data/corpora.yml, which nothing can be added to: give it alone, or "
            "name data sets, sources and .h5ad files"
        )
    if named:
        return pretraining.load_corpus(catalog.corpus(named[0]), n_genes=n_genes, test_sets=test_sets)
    names = [Path(source).stem if source.endswith(".h5ad") else source for source in corpus]
    for name, source in zip(names, corpus, strict=True):
        if names.count(name) > 1:
            raise pretraining.CorpusError(
                f"two sources of the corpus are called {name}, one of them {source}: cells go by the name of "
                "their source. Name each once, and rename one of two different files"
            )
    parts = {}
    for name, source in zip(names, corpus, strict=True):
        with reading(source, NO_COUNTS):
            parts[name] = data.load(source, require_labels=False)
        printing.show_notes(notes_of(source, parts[name], NO_COUNTS), file=sys.stderr)
    if not test_sets:
        print(
            "note: these cells were compared with no data set: name those that you will score on with "
            "--test-set, and a corpus that has one of their cells is refused",
            file=sys.stderr,
        )
    for name in test_sets:
        with reading(name, NO_COUNTS):
            pretraining.require_apart(parts, data.load(name, require_labels=False), name)
    cells = pretraining.combine(parts, n_genes=n_genes)
    for name, part in cells.uns["corpus"].items():
        if part["left_out"]:
            print(
                f"note: {part['left_out']:,} of {parts[name].n_obs:,} cells of {name} are left out: fewer "
                f"than {LEAST_GENES} detected genes",
                file=sys.stderr,
            )
    return cells


def corpora(name: Name = None, as_json: AsJson = False) -> None:
    """List the named corpora that networks can be pretrained on."""
    rows = registries.entries(catalog.corpora(), name, "corpus")
    registries.show(rows, ["name", "cells", "share", "title"], name, as_json)
