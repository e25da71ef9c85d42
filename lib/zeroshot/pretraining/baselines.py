"""What predicts hidden genes without a network: losses that a trained one has to be below."""

from collections.abc import Iterable

import numpy as np
from scipy import sparse

from zeroshot.metrics.reconstruction import gene_positions
from zeroshot.pretraining.contrastive import Views
from zeroshot.pretraining.objectives import MaskedChunk, Task
from zeroshot.tokens.sequences import Tokens

# Among which that of the frequencies at a rank is chosen.
_PSEUDO_COUNTS = 2.0 ** np.arange(4, 21)


def trivial_losses(
    task: Task,
    tokens: Tokens,
    chunks: Iterable[MaskedChunk | Views],
    *,
    n_genes: int,
    special_ends: tuple[int, int] = (0, 0),
) -> dict[str, float]:
    """Mean losses of predictors that know the training cells, and of a hidden gene only its name or its rank.

    Parameters
    ----------
    task
        "values", "ranks" or "contrastive".
    tokens
        Of the training cells, as a network reads them.
    chunks
        Held-out cells with hidden genes, or in two views.
    n_genes
        In the vocabulary.
    special_ends
        Tokens before and after the genes of each cell, which are not counted.

    Returns
    -------
    dict
        By predictor, in the unit of :func:`zeroshot.pretraining.objectives.losses`; lower is better. Of
        values "gene mean", that of a gene over the training cells that have a value of it, and "grand mean",
        that of all genes. Of ranks "gene frequency", over all ranks, and "gene frequency at the rank", mixed
        with the former by the share that fits the training cells best when each is predicted from the others.
        Of views "chance": each cell of the chunk is as likely.
    """
    parts = list(chunks)
    if task == "contrastive":
        sizes = np.array([len(chunk.targets) for chunk in parts])
        return {"chance": float(sizes @ np.log(sizes) / sizes.sum())}
    first, last = special_ends
    is_gene, offsets = gene_positions(tokens.offsets, first=first, last=last)
    genes = tokens.ids[is_gene]
    targets = np.concatenate([chunk.targets.cpu().numpy() for chunk in parts])
    if task == "values":
        hidden_genes = np.concatenate([chunk.ids[chunk.hidden].cpu().numpy() for chunk in parts])
        values = tokens.values[is_gene].astype(np.float64)
        return _of_values(genes, values, hidden_genes, targets)
    ranks = np.arange(len(genes)) - np.repeat(offsets[:-1], np.diff(offsets))
    hidden_ranks = np.concatenate([chunk.hidden.nonzero()[:, 1].cpu().numpy() - first for chunk in parts])
    return _of_ranks(genes, ranks, targets, hidden_ranks, n_genes)


def _of_values(
    genes: np.ndarray, values: np.ndarray, hidden_genes: np.ndarray, targets: np.ndarray
) -> dict[str, float]:
    """Squared errors of means of the (tokens,) values of genes at the (hidden,) targets."""
    n_ids = 1 + max(genes.max(initial=0), hidden_genes.max(initial=0))
    sums, counts = (np.bincount(genes, weights, minlength=n_ids) for weights in (values, None))
    grand = values.mean()
    means = np.divide(sums, counts, out=np.full(n_ids, grand), where=counts > 0)
    return {
        "gene mean": float(np.square(means[hidden_genes] - targets).mean()),
        "grand mean": float(np.square(grand - targets).mean()),
    }


def _of_ranks(
    genes: np.ndarray, ranks: np.ndarray, targets: np.ndarray, hidden_ranks: np.ndarray, n_genes: int
) -> dict[str, float]:
    """Cross-entropies of frequencies of the (tokens,) genes at the (hidden,) targets, in nats."""
    n_ids = 1 + max(genes.max(initial=0), targets.max(initial=0))
    n_ranks = 1 + max(ranks.max(initial=0), hidden_ranks.max(initial=0))
    frequency = (np.bincount(genes, minlength=n_ids) + 1) / (len(genes) + n_genes)
    counts = sparse.coo_matrix((np.ones(len(genes)), (genes, ranks)), shape=(n_ids, n_ranks)).tocsr()
    totals = np.bincount(ranks, minlength=n_ranks)

    # Each training token from the others: the share of the frequency over all ranks that is best for them.
    pairs = counts.tocoo()
    prior, total = frequency[pairs.row], totals[pairs.col]
    fits = [
        pairs.data @ np.log((pairs.data - 1 + pseudo * prior) / (total - 1 + pseudo))
        for pseudo in _PSEUDO_COUNTS
    ]
    pseudo = _PSEUDO_COUNTS[np.argmax(fits)]
    at_rank = np.asarray(counts[targets, hidden_ranks]).ravel() + pseudo * frequency[targets]
    return {
        "gene frequency": float(-np.log(frequency[targets]).mean()),
        "gene frequency at the rank": float(-np.log(at_rank / (totals[hidden_ranks] + pseudo)).mean()),
    }
