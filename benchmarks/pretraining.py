"""Training beside a plain loop in torch: tokens learnt from in a second, for the same network and cells

The loop does what a first version does: it draws cells, tokenises them one after another, pads to the
longest, and runs torch.nn.TransformerEncoder; ranks get logits at every token, as in transformers. Ours has
the tokens in memory, cells of similar length in a step, and logits at hidden genes alone. Padding is not
counted. The share of the ceiling compares the arithmetic of the network with a matrix product of the same
process.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from benchmarks import write
from zeroshot.models import Cells
from zeroshot.pretraining import Training, training

CELLS, GENES, DIM, LAYERS, HEADS, FFN, MAX_TOKENS = 2000, 18_000, 128, 4, 4, 256, 256
STEPS = 4
ARCHITECTURES = {
    "scgpt-untrained": {"nlayers": LAYERS, "embsize": DIM, "nheads": HEADS, "d_hid": FFN},
    "geneformer-v1-10m-untrained": {
        "num_hidden_layers": LAYERS, "hidden_size": DIM, "num_attention_heads": HEADS,
        "intermediate_size": FFN, "max_position_embeddings": MAX_TOKENS,
    },
}  # fmt: skip
BOUNDS = (
    "Attention is computed in float32 without a fused backward pass on a CPU, which bounds the share of the "
    "ceiling; the rest is the optimiser, which changes the row of every gene in every step."
)


def simulate() -> Cells:
    """Counts of cells whose numbers of detected genes differ as those of blood and tissue do."""
    rng = np.random.default_rng(0)
    detected = np.clip(rng.lognormal(6.6, 0.6, CELLS), 100, 6000).astype(int)
    columns = [np.sort(rng.choice(GENES, size, replace=False)) for size in detected]
    indptr = np.concatenate([[0], np.cumsum(detected)])
    values = np.ceil(rng.gamma(0.6, 1.8, indptr[-1])).astype(np.float32)
    counts = sparse.csr_matrix((values, np.concatenate(columns), indptr), shape=(CELLS, GENES))
    names = pd.Index([f"G{number}" for number in range(GENES)])
    sizes = np.asarray(counts.sum(axis=1), np.float64).ravel()
    return Cells(counts, names, pd.Index([f"c{number}" for number in range(CELLS)]), sizes)


def ours(name: str, cells: Cells) -> Callable[[], int]:
    """Return what does some steps and returns the tokens they read."""
    settings = Training(max_tokens=MAX_TOKENS, tokens_per_step=8_192, epochs=50)
    run = training.Run(name, cells, settings, ARCHITECTURES[name])

    def steps() -> int:
        before = run.n_tokens
        for _ in range(STEPS):
            run.train_step()
        return run.n_tokens - before

    return steps


class Plain(nn.Module):
    """Genes, and positions or values, through torch's encoder."""

    def __init__(self, *, ranks: bool) -> None:
        super().__init__()
        self.genes = nn.Embedding(GENES + 2, DIM)
        self.second = nn.Embedding(MAX_TOKENS, DIM) if ranks else nn.Linear(1, DIM)
        layer = nn.TransformerEncoderLayer(DIM, HEADS, FFN, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS)
        self.head = nn.Linear(DIM, GENES + 2 if ranks else 1)
        self.ranks = ranks

    def forward(self, ids: torch.Tensor, values: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        second = self.second(torch.arange(ids.shape[1])) if self.ranks else self.second(values[..., None])
        return self.head(self.encoder(self.genes(ids) + second, src_key_padding_mask=padding))


def loop(name: str, cells: Cells) -> Callable[[], int]:
    """Return what does some steps of the plain loop."""
    ranks, rng = name.startswith("geneformer"), np.random.default_rng(0)
    network = Plain(ranks=ranks)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

    def step() -> int:
        sequences = []
        for cell in rng.choice(CELLS, 32, replace=False):
            start, stop = cells.counts.indptr[cell : cell + 2]
            genes, row = cells.counts.indices[start:stop], cells.counts.data[start:stop]
            if ranks:
                order = np.argsort(-row, kind="stable")[:MAX_TOKENS]
            else:
                row = np.digitize(row, np.quantile(row, np.linspace(0, 1, 50))).astype(np.float32)
                order = rng.permutation(len(genes))[:MAX_TOKENS]
            sequences.append((genes[order] + 2, row[order]))
        longest = max(len(genes) for genes, _ in sequences)
        ids = np.zeros((len(sequences), longest), np.int64)
        values = np.zeros(ids.shape, np.float32)
        for place, (genes, row) in enumerate(sequences):
            ids[place, : len(genes)], values[place, : len(genes)] = genes, row
        padding = ids == 0
        hidden = (rng.random(ids.shape) < (0.15 if ranks else 0.4)) & ~padding
        read = torch.from_numpy(np.where(hidden, 1, ids) if ranks else ids)
        seen = torch.from_numpy(np.where(hidden, np.float32(-1), values))
        predicted = network(read, seen, torch.from_numpy(padding))
        at = torch.from_numpy(hidden)
        if ranks:
            loss = nn.functional.cross_entropy(predicted[at], torch.from_numpy(ids)[at])
        else:
            loss = nn.functional.mse_loss(predicted.squeeze(-1)[at], torch.from_numpy(values)[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return int((~padding).sum())

    return lambda: sum(step() for _ in range(STEPS))


def ceiling() -> float:
    """Floating-point operations per second of a matrix product."""
    side = 1_536
    left, right = torch.randn(side, side), torch.randn(side, side)
    left @ right
    begun = time.perf_counter()
    for _ in range(5):
        left @ right
    return 5 * 2 * side**3 / (time.perf_counter() - begun)


def operations_per_token(name: str) -> float:
    """Of forward and backward pass: linear layers, attention over the longest sequence, and the head."""
    per_layer = 2 * (4 * DIM**2 + 2 * DIM * FFN) + 4 * MAX_TOKENS * DIM
    head = 0.15 * 2 * DIM * (GENES + DIM) if name.startswith("geneformer") else 2 * 3 * DIM**2
    return 3 * (LAYERS * per_layer + head)


def run(repeats: int) -> None:
    """Measure in turns, print the table, write build/benchmarks/pretraining.json."""
    cells, table = simulate(), []
    for name, objective in zip(ARCHITECTURES, ("values (scGPT)", "ranks (Geneformer)"), strict=True):
        candidates = {"ours": ours(name, cells), "plain loop": loop(name, cells)}
        rates: dict[str, list[float]] = {candidate: [] for candidate in (*candidates, "ceiling")}
        for compute in candidates.values():
            compute()
        for _ in range(repeats):
            for candidate, compute in candidates.items():
                begun = time.perf_counter()
                rates[candidate].append(compute() / (time.perf_counter() - begun))
            rates["ceiling"].append(ceiling())
        for candidate in candidates:
            ratios = [rate / plain for rate, plain in zip(rates[candidate], rates["plain loop"], strict=True)]
            shares = [
                rate * operations_per_token(name) / most
                for rate, most in zip(rates[candidate], rates["ceiling"], strict=True)
            ]
            table.append(
                {
                    "objective": objective,
                    "candidate": candidate,
                    "tokens per second": f"{statistics.median(rates[candidate]):,.0f}",
                    "speed / plain loop": f"{statistics.median(ratios):.1f}",
                    "from – to": f"{min(ratios):.1f}–{max(ratios):.1f}",
                    "share of the ceiling": f"{statistics.median(shares):.0%}",
                }
            )
    print(pd.DataFrame(table).to_string(index=False))
    print(write("pretraining", __doc__, BOUNDS, repeats, table, cells=CELLS, threads=torch.get_num_threads()))
