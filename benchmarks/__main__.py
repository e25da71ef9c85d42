"""``python -m benchmarks [NAME]``: print the tables and write them to build/benchmarks."""

import argparse
import importlib
import importlib.util
import sys

# In the order in which they run; each is imported only when it does.
NAMES = [
    name
    for name in ("metrics", "intervals", "tokenizers", "embedding", "pretraining", "book")
    if importlib.util.find_spec(f"benchmarks.{name}")
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="one of them; all without")
    parser.add_argument("--cells", type=int, nargs="+", help="of the metrics; 16,000 and 100,000 without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", nargs=2, metavar=("TASK", "CANDIDATE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.repeats < 3 or min(given.cells or [1000]) < 1000:
        parser.error("at least 1000 cells and 3 repeats")
    for name in [given.name] if given.name else NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        if given.cold:
            module.print_cold(*given.cold)
        elif name == "metrics" and given.cells:
            module.run(given.repeats, given.cells)
        else:
            module.run(given.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
