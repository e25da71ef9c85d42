"""Speed and memory of the metrics beside the reference implementations: ``python -m benchmarks``."""
