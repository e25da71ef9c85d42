"""Helper library of the zero-shot study: data, embeddings, metrics, notebooks."""

__version__ = "0.1.0"

# The parts, in the order of imports: each may import those before it and nothing after it. `reading_list` is
# a part as well, though a package beside this one.
PARTS = (
    "runtime", "catalog", "store", "tokens", "data", "models", "metrics", "embedding", "pretraining",
    "figures", "pipeline", "results", "notebooks", "study", "reading_list", "site", "cli",
)  # fmt: skip
