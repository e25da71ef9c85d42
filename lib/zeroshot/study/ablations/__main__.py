"""``python -m zeroshot.study.ablations``, which Snakemake calls for each unit of a study."""

import sys
from pathlib import Path

from zeroshot import catalog, notebooks
from zeroshot.runtime import processes

from .tables import write
from .units import Unit, compute


def main(arguments: list[str]) -> int:
    """Compute one unit.

    ``python -m zeroshot.study.ablations STUDY DATASET MODEL OUTPUT_DIRECTORY POLICY THREADS``; MODEL is
    ``name`` or ``name@recipe``, as a study names it.
    """
    study, dataset, reference, directory, policy, threads = arguments
    notebooks.prepare_environment(int(threads))
    card, recipe = catalog.split_reference(reference)
    with processes.stopped_by_signals():  # so that nothing unfinished stays in the store
        tables = compute(catalog.study(study), Unit(dataset, card.name, recipe), policy)
        write(tables, Path(directory))
    for failure in tables.failures.itertuples():
        print(f"{failure.ablation} of {failure.model} on {failure.dataset}: {failure.error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
