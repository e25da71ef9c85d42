"""Helper library of the zero-shot study: data, embeddings, metrics, notebooks."""

__version__ = "0.1.0"
