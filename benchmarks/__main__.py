"""``python -m benchmarks [--cells N] [--repeats R]``: print a table and write it to build/benchmarks."""

import argparse
import sys

from benchmarks import metrics


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=metrics.__doc__)
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", nargs=2, metavar=("TASK", "CANDIDATE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cells < 400 or given.repeats < 3:
        parser.error("at least 400 cells and 3 repeats")
    if given.cold:
        metrics.print_cold(*given.cold, given.cells)
    else:
        metrics.run(given.cells, given.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
