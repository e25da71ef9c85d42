"""From counts to tokens: names of genes, tokenizers, and the sequences that they make."""

__all__ = ["genes", "sentences", "sequences", "tokenizers"]
