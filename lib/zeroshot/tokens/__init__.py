"""From counts to tokens: names of genes, tokenizers, and the sequences that they make."""
