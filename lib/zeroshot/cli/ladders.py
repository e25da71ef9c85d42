"""``zeroshot ladder``: the same networks trained on corpora of different size, and scored."""

import sys
from typing import Annotated

import typer

from zeroshot import catalog
from zeroshot.cli import registries
from zeroshot.cli.options import AsJson
from zeroshot.cli.pretraining import steps_bar

# Operations a second: a third of what an NVIDIA A100 does in bfloat16 by its data sheet.
GPU_SPEED = 1e14


def ladder(
    name: Annotated[
        str | None, typer.Argument(help="Train and score what is not finished of this one.")
    ] = None,
    rung: Annotated[
        list[str] | None, typer.Option(help="Only this rung, e.g. values/blood-1-percent/0; repeat it.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")] = "cpu",
    keep: Annotated[
        bool, typer.Option("--keep", help="Compute nothing: put finished rungs into data/ladders.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train the networks of a ladder and score their embeddings; without a name, list the ladders.

    An interrupted training continues with the same command. Several processes
    may run it at the same time: each takes the next training that no other one
    works on.
    """
    if name is None:
        rows = [
            {"name": card.name, "trainings": card.n_trainings,
             "cells": f"{card.passes:,} each", "gpu_hours": round(_gpu_hours(card), 2), "title": card.title}
            for card in catalog.ladders().values()
        ]  # fmt: skip
        registries.show(rows, ["name", "trainings", "cells", "gpu_hours", "title"], None, as_json)
        print(
            f"gpu_hours: layers of the transformers alone, at {GPU_SPEED / 1e12:.0f} TFLOP/s; not measured",
            file=sys.stderr,
        )
        return
    from zeroshot.study import ladders

    card = catalog.ladder(name)
    by_path = {one.path: one for one in ladders.rungs(card)}
    selected = [catalog.find(by_path, path, f"rung of {name}") for path in rung or by_path]
    if not keep:
        with steps_bar() as show:
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


def _gpu_hours(card: catalog.Ladder) -> float:
    """Hours of all trainings of a ladder on one GPU, scoring not included."""
    from zeroshot.pretraining.architectures import arithmetic

    operations = sum(
        (2 if network.is_contrastive else 1)  # views of a cell
        * arithmetic(network.model, network.architecture, network.training.get("max_tokens", 0), card.passes)
        for network in card.networks.values()
    )
    return operations * sum(card.corpora.values()) / GPU_SPEED / 3600
