"""The engine: rows in input order, whatever the chunks; settings that are refused; memory by chunk."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from zeroshot import embedding
from zeroshot.embedding import EmbeddingError, Runner, Settings, chunks
from zeroshot.models import Cells, TokenEmbedder
from zeroshot.tokens.sequences import Tokenizer, Tokens


class Mean(torch.nn.Module):
    """Mean of id and of value over the real tokens of a cell, with its length: easy to know beforehand."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.shapes = []

    def forward(self, ids, values, lengths):
        self.shapes.append(tuple(ids.shape))
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        means = [(part * real).sum(1) / lengths for part in (ids, values)]
        return torch.stack([*means, lengths.float()], dim=1).to(self.scale.dtype) * self.scale


@dataclass(frozen=True)
class Fake:
    """Reads the non-zero genes of a cell as tokens."""

    built: list = field(default_factory=list)

    def tokenizer(self, cells, seed):
        def tokenize(rows):
            part = cells.counts[rows]
            return Tokens(
                part.indices.astype(np.int64) + 1,
                part.data.astype(np.float32),
                part.indptr.astype(np.int64),
                np.zeros(len(rows), np.int64),
            )

        return Tokenizer(tokenize, pad_id=0, notes=("made up",))

    def network(self, cells, seed):
        self.built.append(Mean().eval())
        return self.built[-1]


def cells_of_many_lengths(n_cells=50, n_genes=40):
    rng = np.random.default_rng(0)
    dense = np.zeros((n_cells, n_genes), np.float32)
    for row, length in enumerate(rng.integers(1, n_genes, n_cells)):
        dense[row, rng.permutation(n_genes)[:length]] = rng.integers(1, 9, length)
    names = pd.Index([f"cell{row}" for row in range(n_cells)])
    genes = pd.Index([f"g{column}" for column in range(n_genes)])
    return Cells(sparse.csr_matrix(dense), genes, names, dense.sum(1).astype(np.float64))


CELLS = cells_of_many_lengths()
DENSE = CELLS.counts.toarray()
LENGTHS = (DENSE > 0).sum(1)
EXPECTED = np.column_stack(
    [((DENSE > 0) * np.arange(1, 41)).sum(1) / LENGTHS, DENSE.sum(1) / LENGTHS, LENGTHS]
).astype(np.float32)


@pytest.mark.parametrize("tokens_per_chunk", [1, 7, 40, 333, 10**6])
def test_rows_come_back_in_input_order(tokens_per_chunk):
    fake = Fake()
    runner = Runner(fake, CELLS, 0, Settings(device="cpu", tokens_per_chunk=tokens_per_chunk))
    found = runner.embed(np.arange(50))
    assert found.dtype == np.float32 and np.allclose(found, EXPECTED, atol=1e-5)
    for n_cells, longest in fake.built[0].shapes:
        assert n_cells == 1 or n_cells * longest <= tokens_per_chunk  # memory grows with this, nothing else


def test_any_rows_in_any_order(monkeypatch):
    monkeypatch.setattr(embedding.engine, "CELLS_PER_WINDOW", 8)  # several windows
    runner = Runner(Fake(), CELLS, 0, Settings(device="cpu"))
    rows = np.random.default_rng(1).permutation(50)[:30]
    assert np.allclose(runner.embed(rows), EXPECTED[rows], atol=1e-5)


def test_the_report_holds_what_a_reader_needs():
    report = Runner(Fake(), CELLS, 0, Settings(device="cpu")).report(probe=True)
    assert (report.lengths == LENGTHS).all() and report.notes == ("made up",)
    assert len(report.checks) == 5 and report.checks["passed"].all()
    assert Runner(Fake(), CELLS, 0, Settings(device="cpu")).report(probe=False).checks.empty


def test_a_network_that_looks_at_neighbours_fails_the_gate():
    class Leaky(Fake):
        def network(self, cells, seed):
            plain = Mean().eval()

            class Relative(torch.nn.Module):
                def forward(self, *given):
                    found = plain(*given)
                    return found - found.mean(dim=0)

            return Relative()

    report = Runner(Leaky(), CELLS, 0, Settings(device="cpu")).report(probe=True)
    assert "neighbours do not matter" in set(report.checks.loc[~report.checks["passed"], "check"])


@pytest.mark.parametrize("budget", [1, 10, 64, 10**9])
def test_chunks_hold_every_cell_once_and_keep_to_the_budget(budget):
    lengths = np.random.default_rng(3).integers(0, 60, 200)
    found = list(chunks(lengths, budget))
    assert sorted(np.concatenate(found)) == list(range(200))
    for members in found:
        assert len(members) == 1 or len(members) * max(lengths[members].max(), 1) <= budget
    longest = [lengths[members].max() for members in found]
    assert longest == sorted(longest, reverse=True)


def test_cells_of_similar_length_share_a_chunk():
    lengths = np.random.default_rng(4).integers(1, 1200, 2000)
    padded = sum(len(members) * lengths[members].max() for members in chunks(lengths, 8192))
    assert padded < 1.02 * lengths.sum()


def test_half_precision_reaches_the_network_and_float32_comes_back():
    fake = Fake()
    found = Runner(fake, CELLS, 0, Settings(device="cpu", precision="bfloat16")).embed(np.arange(50))
    assert fake.built[0].scale.dtype == torch.bfloat16 and found.dtype == np.float32
    assert np.allclose(found, EXPECTED, rtol=1e-2)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(EmbeddingError, match="unknown precision 'fp8': one of float32, bfloat16, float16"):
        Settings(precision="fp8")
    with pytest.raises(EmbeddingError, match="at least 1"):
        Settings(tokens_per_chunk=0)
    for device in ("nope", "cuda:99", "meta", "cuda:-1", "0", ""):
        with pytest.raises(EmbeddingError, match=f"no device '{device}' .* choose auto or one of cpu"):
            Settings(device=device)
    for seed in (-1, 2**31, 2**70):
        with pytest.raises(EmbeddingError, match="from 0 to 2147483647"):
            Runner(Fake(), CELLS, seed, Settings())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_too_little_memory_names_the_option(error):
    class Large(Fake):
        def network(self, cells, seed):
            class Grows(torch.nn.Module):
                def forward(self, *_):
                    raise error

            return Grows()

    runner = Runner(Large(), CELLS, 0, Settings(device="cpu", tokens_per_chunk=70))
    with pytest.raises(EmbeddingError, match=r"not enough memory on cpu .* fewer than 70 .*--chunk-tokens"):
        runner.embed(np.arange(50))


def test_models_without_tokens_are_told_apart():
    from zeroshot import models

    assert isinstance(Fake(), TokenEmbedder)
    assert not isinstance(models.load("pca"), TokenEmbedder)
