"""``zeroshot evidence``: scores that others have published."""

import sys
from typing import Annotated

import typer

from zeroshot.cli import registries
from zeroshot.cli.options import AsJson
from zeroshot.runtime import printing


def evidence(
    source: Annotated[str | None, typer.Option(help="Name of a source; all if absent.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A method, e.g. scgpt, or as its source calls it.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="An area, e.g. clustering, or a task of a source.")] = None,
    metric: Annotated[str | None, typer.Option(help="A metric, e.g. ari, or as its source calls it.")] = None,
    faults: Annotated[
        bool, typer.Option("--faults", help="Print only the rows that are known to be wrong.")
    ] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
) -> None:
    """Print scores that others have published, from data/evidence; sources if nothing is selected."""
    from zeroshot.results import evidence as evidence_

    if as_json and as_csv:
        raise ValueError("--json and --csv exclude each other: choose one")
    if not (source or model or task or metric or faults or as_csv):
        rows = registries.entries(evidence_.sources(), None, "source")
        columns = ["name", "grade", "licence", "title"]
        return registries.show(rows, columns, None, as_json)
    rows = evidence_.load(source, faults=faults)
    rows = evidence_.select(rows[rows["fault"]] if faults else rows, model=model, task=task, metric=metric)
    if as_csv:
        sys.stdout.write(rows.to_csv(index=False))
    elif as_json:
        printing.show_json(rows.astype(object).where(rows.notna(), None).to_dict("records"))
    else:
        printing.show(rows.to_dict("records"), ["source", "dataset", "model", "metric", "value", "replicate"])
        print(f"{len(rows)} rows", file=sys.stderr)
