"""The engine: tokens in chunks through a network, results in input order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zeroshot.embedding import integrity
from zeroshot.embedding.result import Embedded
from zeroshot.models import Cells, TokenEmbedder
from zeroshot.runtime import failures, reproducible
from zeroshot.tokens.sequences import Tokens

PACKAGES = ("numpy", "pandas", "scipy", "torch")

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")

CELLS_PER_WINDOW = 4096  # tokenised and sorted by length together: bounds memory, long enough to sort well
TOKENS_PER_CHUNK = {"cpu": 8_192, "cuda": 131_072}


class EmbeddingError(ValueError):
    """A setting is invalid, or what a model returned is not an embedding of the cells."""


@dataclass(frozen=True)
class Settings:
    """How a network is run. Only ``precision`` changes what comes out, beyond rounding.

    Attributes
    ----------
    device
        "auto" (a CUDA device if there is one, else the CPU) or a name that torch knows, of a device that this
        machine has.
    precision
        Type the network computes in. float32, the default, agrees with the reference
        implementations to 2e-5; bfloat16 and float16 are faster where the hardware has them.
    tokens_per_chunk
        Tokens computed at once, padding included: what memory grows with. None for the device's
        default.
    progress
        Show a progress bar over cells.
    compile
        Hand the network to torch.compile first: pays off after some thousand cells.
    """

    device: str = "auto"
    precision: Precision = "float32"
    tokens_per_chunk: int | None = None
    progress: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse what torch would only trip over later."""
        if self.precision not in PRECISIONS:
            raise EmbeddingError(f"unknown precision {self.precision!r}: one of {', '.join(PRECISIONS)}")
        if self.tokens_per_chunk is not None and self.tokens_per_chunk < 1:
            raise EmbeddingError(f"tokens_per_chunk is {self.tokens_per_chunk}: at least 1 is needed")
        if self.device != "auto":  # torch takes a second to import
            require_device(self.device)


class Runner:
    """A network and the cells it embeds: any rows of them, in chunks of any size.

    Parameters
    ----------
    embedder
        A model that reads tokens.
    cells
        All cells of the data set: gene selection and the vocabulary are decided on them, so that a
        cell's embedding does not depend on which rows are embedded with it.
    """

    def __init__(self, embedder: TokenEmbedder, cells: Cells, seed: int, settings: Settings) -> None:
        """Prepare tokeniser and network; raises what they raise."""
        import torch

        require_seed(seed)
        self.n_cells = cells.counts.shape[0]
        self.settings = settings
        self.tokenizer = embedder.tokenizer(cells, seed)
        self.device = torch.device(_device(settings.device))
        network = embedder.network(cells, seed).to(self.device, getattr(torch, settings.precision))
        # dynamic: chunks differ in length, and every new shape would be compiled again.
        self.network = torch.compile(network, dynamic=True) if settings.compile else network

    def report(self, *, probe: bool) -> Embedded:
        """Embed all cells; ``probe`` also runs the checks that need the model."""
        lengths = np.zeros(self.n_cells, np.int64)
        left_out = np.zeros(self.n_cells, np.int64)
        matrix = self.embed(np.arange(self.n_cells), seen=(lengths, left_out))
        checks = integrity.probe(self.embed, matrix, self._tolerance()) if probe else integrity.table([])
        return Embedded(
            matrix, checks, self.tokenizer.overlap, lengths, left_out, notes=tuple(self.tokenizer.notes)
        )

    def embed(
        self,
        rows: np.ndarray,
        tokens_per_chunk: int | None = None,
        *,
        seen: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """(rows, dim) float32 embedding of the cells with these row numbers, in that order.

        ``seen`` receives lengths and left-out genes by row number.
        """
        from tqdm import tqdm

        budget = (
            tokens_per_chunk
            or self.settings.tokens_per_chunk
            or TOKENS_PER_CHUNK.get(self.device.type, TOKENS_PER_CHUNK["cpu"])
        )
        embedding = None
        with tqdm(total=len(rows), unit="cell", disable=not self.settings.progress) as bar:
            for start in range(0, len(rows), CELLS_PER_WINDOW):
                window = rows[start : start + CELLS_PER_WINDOW]
                tokens = self.tokenizer.tokenize(window)
                if seen is not None:
                    seen[0][window], seen[1][window] = tokens.lengths, tokens.left_out
                for members, pooled in self._over_chunks(tokens, self.network, budget):
                    if embedding is None:
                        embedding = np.empty((len(rows), pooled.shape[1]), np.float32)
                    embedding[start + members] = pooled
                    bar.update(len(members))
        return embedding

    def predict(self, tokens: Tokens, tokens_per_chunk: int) -> dict[str, np.ndarray]:
        """Return what the network predicts at every token, by name of the decoder.

        Parameters
        ----------
        tokens
            Of any cells, with the mask of the network in the places that are hidden.
        tokens_per_chunk
            Tokens computed at once, padding included.

        Returns
        -------
        dict of numpy.ndarray
            (tokens,) float32 each, in the order of ``tokens``.
        """
        predictions: dict[str, np.ndarray] = {}
        for members, padded in self._over_chunks(tokens, self.network.predict, tokens_per_chunk):
            for name, values in padded.items():
                place = np.arange(values.shape[1])
                real = place < tokens.lengths[members, None]
                flat = predictions.setdefault(name, np.empty(len(tokens.ids), np.float32))
                flat[(tokens.offsets[members, None] + place)[real]] = values[real]
        return predictions

    def _over_chunks(
        self, tokens: Tokens, compute: Callable[..., Any], tokens_per_chunk: int
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield the positions of the cells of each chunk, and what the network computes of their tokens.

        ``compute`` takes padded ids, values and lengths, and returns a tensor or several by name; they come
        back as float32 arrays.
        """
        for members in chunks(tokens.lengths, tokens_per_chunk):
            yield members, self._compute(compute, tokens.select(members), tokens_per_chunk)

    def _compute(self, compute: Callable[..., Any], chunk: Tokens, tokens_per_chunk: int) -> Any:
        import torch

        ids, values = chunk.pad(self.tokenizer.pad_id, self.tokenizer.pad_value)
        try:
            with torch.inference_mode():
                tensors = [
                    None if part is None else torch.from_numpy(part).to(self.device)
                    for part in (ids, values, chunk.lengths)
                ]
                computed = compute(*tensors)
                if isinstance(computed, dict):
                    return {name: tensor.float().cpu().numpy() for name, tensor in computed.items()}
                return computed.float().cpu().numpy()
        except (MemoryError, RuntimeError) as error:
            if not failures.out_of_memory(error):
                raise
            raise EmbeddingError(
                f"not enough memory on {self.device} for {ids.shape[0]:,} cells x {ids.shape[1]:,} tokens: "
                f"compute fewer than {tokens_per_chunk:,} tokens at once (--chunk-tokens, tokens_per_chunk)"
            ) from error

    def _tolerance(self) -> float:
        # 2e-5 is what other chunk shapes cost in float32; half precision keeps 8 or 11 bits of 24.
        return {"float32": 2e-5, "float16": 2e-2, "bfloat16": 1e-1}[self.settings.precision]


def chunks(lengths: np.ndarray, tokens_per_chunk: int) -> Iterator[np.ndarray]:
    """Positions of cells of similar length, together within a budget of padded tokens.

    Parameters
    ----------
    lengths
        (cells,) tokens of each cell.
    tokens_per_chunk
        Most cells x longest length of a chunk; a longer cell is a chunk of its own.

    Yields
    ------
    numpy.ndarray
        (chunk,) positions, longest first: what needs the most memory is tried first.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        size = max(tokens_per_chunk // longest, 1)
        yield order[start : start + size]
        start += size


def require_seed(seed: int) -> None:
    """Refuse a seed that not every library takes.

    Raises
    ------
    EmbeddingError
        If it is negative, or beyond what harmonypy can count to.
    """
    if not 0 <= seed <= reproducible.LARGEST_SEED:
        raise EmbeddingError(
            f"the seed is {seed}: expected is a number from 0 to {reproducible.LARGEST_SEED}"
        )


def require_device(name: str) -> None:
    """Refuse a device that does not exist here.

    Raises
    ------
    EmbeddingError
        If torch does not know the name, or this machine has no such device.
    """
    import torch

    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = ["cpu", *cuda] + (["mps"] if torch.backends.mps.is_available() else [])
    try:
        device = torch.device(name)
        if device.type == "meta" or (device.type == "cuda" and (device.index or 0) >= len(cuda)):
            raise RuntimeError("no such device")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise EmbeddingError(
            f"there is no device {name!r} on this machine: choose auto or one of {', '.join(there)}"
        ) from error


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
