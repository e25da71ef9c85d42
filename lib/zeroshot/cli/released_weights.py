"""``zeroshot weights``: the released files of a model."""

from typing import Annotated

import typer

from zeroshot import catalog
from zeroshot.runtime import printing


def weights(
    model: Annotated[str, typer.Argument(help="Name of a model, see `zeroshot models`.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only say what would be fetched, from where, and how large.")
    ] = False,
) -> None:
    """Get the released weights of a model, or find them where they already are, and print where that is."""
    from zeroshot.models import weights as weights_

    card = catalog.model(model)
    if check:
        _show_files(card)
        return
    checkpoint = weights_.find(card)
    rows = [
        {"file": role, "path": path, "sha256": checkpoint.hashes[role]}
        for role, path in checkpoint.files.items()
    ]
    printing.show(rows, ["file", "path", "sha256"])
    print(f"{model}: from {checkpoint.origin}")


def _show_files(card: catalog.ModelCard) -> None:
    """Print what would be fetched, from where, how large and under which licence."""
    from zeroshot.models import weights

    files = weights.listed(card)
    rows = [
        {
            "here": "yes" if file.is_here else "no",
            "size": printing.size_text(file.size) if file.size else "not stated",
            "sha256": file.sha256[:12] if file.sha256 else "not stated",
            "file": file.path,
        }
        for file in files
    ]
    printing.show_lines(rows, ["here", "size", "sha256", "file"])
    absent = [file for file in files if not file.is_here]
    if absent:
        sizes = [file.size for file in absent if file.size]
        size = printing.size_text(sum(sizes)) if sizes else "size not stated"
        least = "at least " if 0 < len(sizes) < len(absent) else ""
        print(f"not here: {len(absent)} of {len(files)} files, {least}{size}")
    else:
        print(f"here: all {len(files)} files")
    print(f"from: {', else '.join(weights.origins(card))}")
    print(f"licence of the weights: {card.weights_licence}")
    print("nothing was fetched")
