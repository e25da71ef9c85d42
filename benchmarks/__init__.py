"""Speed and memory beside the reference implementations: ``python -m benchmarks``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from zeroshot import store
from zeroshot.runtime import paths


def write(
    name: str,
    module_doc: str,
    bounds: str,
    repeats: int,
    table: Sequence[Mapping[str, str]],
    **measured: object,
) -> Path:
    """Write build/benchmarks/NAME.json: what was measured, and the table of it that the book shows.

    Copied to benchmarks/measured and committed, it is part of the book.
    """
    title, _, about = module_doc.partition("\n\n")
    record = {
        "title": title.rstrip("."),
        "about": " ".join(about.split()),
        "bounds": bounds,
        "repeats": repeats,
    }
    record |= {"table": list(table), **measured} | store.measure(0) | {"seconds": None}
    output = paths.build() / "benchmarks" / f"{name}.json"
    store.write_text(output, json.dumps(record, indent=1) + "\n")
    return output
