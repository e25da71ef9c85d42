"""``zeroshot pretrain``: networks trained on cells of your choice, and baselines fitted to them."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeroshot import catalog
from zeroshot.cli import registries
from zeroshot.cli.options import AsJson, Name, Seed
from zeroshot.runtime import assignments, failures

if TYPE_CHECKING:
    from anndata import AnnData


# Options that say how a network is trained: what is fitted in one go has no such settings.
_OF_TRAINING = (
    "field", "epochs", "max_tokens", "tokens_per_step", "learning_rate", "device", "precision",
)  # fmt: skip


def pretrain(
    context: typer.Context,
    model: Annotated[
        str, typer.Option(help="An untrained twin, e.g. scgpt-untrained: the architecture; or corpus-pca.")
    ],
    corpus: Annotated[list[str], typer.Option(help="A named corpus; or data set or .h5ad file, repeated.")],
    output: Annotated[Path, typer.Option(help="Folder to write, in the layout of a released model.")],
    field: Annotated[
        list[str] | None,
        typer.Option("--architecture", help="name=value, another size of the network, e.g. nlayers=4."),
    ] = None,
    test_set: Annotated[
        list[str] | None, typer.Option(help="Data set whose cells must not be in the corpus; repeat it.")
    ] = None,
    genes: Annotated[
        int, typer.Option(min=100, help="Genes of the vocabulary, those in most cells.")
    ] = 18_000,
    epochs: Annotated[float, typer.Option(min=0.0, help="Passes over the cells.")] = 5.0,
    max_tokens: Annotated[int, typer.Option(min=3, help="Genes read of a cell at once, at most.")] = 512,
    tokens_per_step: Annotated[int, typer.Option(min=3, help="Tokens of a step, padding included.")] = 16_384,
    learning_rate: Annotated[float, typer.Option(help="Highest of the schedule.")] = 1e-3,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    seed: Seed = 0,
) -> None:
    """Train a network on cells; an interrupted training continues with the same command.

    The folder is read by `zeroshot embed --model TWIN --weights FOLDER`, where TWIN is the trained model of
    the untrained one. corpus-pca is fitted in one go, without the options of a training.
    """
    from zeroshot import pretraining
    from zeroshot.models import Cells

    if pretraining.fitted(model):
        _fit(context, model, corpus, output, test_set or (), genes, seed)
        return
    settings = pretraining.Training(
        epochs=epochs, max_tokens=max_tokens, tokens_per_step=tokens_per_step, learning_rate=learning_rate,
        seed=seed, precision=precision, device=device,
    )  # fmt: skip
    sizes = assignments.split(field or (), "field of the architecture", "--architecture nlayers=4")
    architecture = {name: assignments.literal(text) for name, text in sizes.items()}
    # Refused before cells are loaded.
    pretraining.untrained(model, settings, architecture)
    pretraining.require_new(output)
    cells = _cells(corpus, genes, test_set or ())
    print(f"training {model} on {cells.n_obs:,} cells and {cells.n_vars:,} genes", file=sys.stderr)
    with _steps() as show:
        pretraining.train(
            model,
            Cells.of(cells, with_batches=False),
            output,
            settings,
            architecture=architecture,
            progress=show,
        )
    print(f"{output}: read it with --model {catalog.model(model).twin_of} --weights {output}")


def _fit(
    context: typer.Context, model: str, corpus: list[str], output: Path, test_sets: Sequence[str],
    n_genes: int, seed: int,
) -> None:  # fmt: skip
    """Fit a baseline to a corpus, and write it.

    Raises
    ------
    zeroshot.pretraining.TrainingError
        If an option is given that it does not read.
    """
    from zeroshot import pretraining
    from zeroshot.models import Cells

    useless = [
        option.opts[0]
        for option in context.command.params
        if option.name in _OF_TRAINING and context.get_parameter_source(option.name).name == "COMMANDLINE"
    ]
    if useless:
        raise pretraining.TrainingError(
            f"{model} is fitted in one go and has no {', '.join(useless)}: leave it out, or train a network"
        )
    pretraining.require_new(output)
    cells = _cells(corpus, n_genes, test_sets)
    print(f"fitting {model} to {cells.n_obs:,} cells and {cells.n_vars:,} genes", file=sys.stderr)
    facts = {"names": corpus, "sources": {name: part["cells"] for name, part in cells.uns["corpus"].items()}}
    pretraining.fit(model, Cells.of(cells, with_batches=False), output, seed=seed, facts=facts)
    print(f"{output}: read it with --model {catalog.model(model).twin_of or model} --weights {output}")


@contextlib.contextmanager
def _steps() -> Iterator[Callable[[dict[str, float]], None]]:
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


def ladder(
    name: Name = None,
    rung: Annotated[
        list[str] | None, typer.Option(help="Only this rung, e.g. values/blood-1-percent/0; repeat it.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    keep: Annotated[
        bool, typer.Option("--keep", help="Compute nothing: copy the finished tables to data/ladders.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train the networks of a ladder and score their embeddings; without a name, list the ladders.

    An interrupted training continues with the same command. Several processes may run it at the same time:
    each takes the next training that no other one works on.
    """
    if name is None:
        rows = [
            {"name": card.name, "trainings": len(card.networks) * sum(card.corpora.values()),
             "cells": f"{card.passes:,} each", "title": card.title}
            for card in catalog.ladders().values()
        ]  # fmt: skip
        registries.show(rows, ["name", "trainings", "cells", "title"], None, as_json)
        return
    from zeroshot.study import ladders

    card = catalog.ladder(name)
    by_path = {one.path: one for one in ladders.rungs(card)}
    selected = [catalog.find(by_path, path, f"rung of {name}") for path in rung or by_path]
    if not keep:
        with _steps() as show:
            ladders.climb(
                card,
                selected,
                device=device,
                begin=lambda one: print(f"{name}: {one.path}", file=sys.stderr),
                progress=show,
            )
    open_rungs = ladders.join(card, keep=keep)
    print(f"{name}: {len(by_path) - len(open_rungs)} of {len(by_path)} rungs are finished")
    for one in open_rungs:
        print(f"  not finished: {one.path}")


def _cells(corpus: list[str], n_genes: int, test_sets: Sequence[str]) -> "AnnData":
    """The cells of a named corpus, or of data sets and files put together, apart from all test sets.

    Raises
    ------
    zeroshot.pretraining.CorpusError
        If a cell is one of a test set, or a named corpus is one of several.
    """
    from zeroshot import data, pretraining

    named = [name for name in corpus if name in catalog.corpora()]
    if named and len(corpus) > 1:
        raise pretraining.CorpusError(
            f"{named[0]} is a corpus of data/corpora.yml, which nothing can be added to: give it alone, or "
            "name data sets, sources and .h5ad files"
        )
    if named:
        return pretraining.load_corpus(catalog.corpus(named[0]), n_genes=n_genes, test_sets=test_sets)
    parts = {}
    for source in corpus:
        with failures.about(source):
            parts[Path(source).stem if source.endswith(".h5ad") else source] = data.load(
                source, require_labels=False
            )
    for name in test_sets:
        with failures.about(name):
            pretraining.require_apart(parts, data.load(name, require_labels=False), name)
    return pretraining.combine(parts, n_genes=n_genes)


def corpora(name: Name = None, as_json: AsJson = False) -> None:
    """List the named corpora that networks can be pretrained on."""
    rows = registries.entries(catalog.corpora(), name, "corpus")
    registries.show(rows, ["name", "cells", "share", "title"], name, as_json)
