"""``python -m benchmarks [NAME]``: print the tables and write them to build/benchmarks."""

import argparse
import importlib
import importlib.util
import sys

# In the order in which they run; each is imported only when it does.
NAMES = [
    name
    for name in ("metrics", "intervals", "tokenizers", "embedding")
    if importlib.util.find_spec(f"benchmarks.{name}")
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="one of them; all without")
    parser.add_argument("--cells", type=int, default=4000, help="of the metrics")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", nargs=2, metavar=("TASK", "CANDIDATE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cells < 400 or given.repeats < 3:
        parser.error("at least 400 cells and 3 repeats")
    # The metrics start their cold processes without a name.
    names = [given.name] if given.name else ["metrics"] if given.cold else NAMES
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        sizes = {"metrics": [given.cells]}.get(name, [])
        if given.cold:
            module.print_cold(*given.cold, *sizes)
        else:
            module.run(*sizes, given.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
