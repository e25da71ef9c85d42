"""Our embeddings beside scGPT's and transformers' own code: the same random weights, the same real cells.

Weights are of full size in the released layout. Short cells are those of pbmc68k-reduced; long ones are
several of them side by side, each with genes of its own. Candidates take turns (A B A B) in one process
after a call that is not counted; memory is the peak of a fresh process each. Loading is timed apart.
The reference is scgpt without torch's fast path for encoders, which it meets by default and which is the
slower one on a CPU; and BertForMaskedLM, which Geneformer loads.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse

from benchmarks import reference_scgpt, write
from zeroshot import data, embedding, store
from zeroshot.embedding import Runner, Settings
from zeroshot.models import Cells
from zeroshot.models.geneformer import Geneformer
from zeroshot.models.scgpt import Scgpt
from zeroshot.models.weights import Checkpoint
from zeroshot.runtime import paths

SCGPT = {
    "embsize": 512, "nheads": 8, "d_hid": 512, "nlayers": 12, "n_layers_cls": 3, "dropout": 0.2,
    "pad_token": "<pad>", "pad_value": -2, "mask_value": -1, "n_bins": 51, "max_seq_len": 1200,
    "input_style": "binned", "input_emb_style": "continuous",
}  # fmt: skip
# Layers, width, heads, feed-forward width, positions, vocabulary.
GENEFORMER = {
    "V1-10M": (6, 256, 4, 512, 2048, 25_426),
    "V2-104M": (12, 768, 12, 3072, 4096, 20_275),
    "V2-316M": (18, 1152, 18, 4608, 4096, 20_275),
}
SCGPT_GENES = 60_694
MOST_COPIES = 17  # side by side, enough for 4,096 tokens

Embed = Callable[[], np.ndarray]

BOUNDS = (
    "In float32 the products of the layers. torch.matmul does them more slowly on this processor than "
    "oneDNN, through which ours go: the share of oneDNN's rate is the one that counts. In bfloat16 "
    "products are cheap, and torch's attention for the CPU, which gains little by it, takes most of the "
    "time of long cells: see the shares of time. Part of what Geneformer gains is not computing its "
    "output head, which BertForMaskedLM always does: the comparison with BertModel leaves that out."
)
# What torch calls the operations of an encoder; all else is norms, activations, copies and the like.
OPERATIONS = {
    "attention": ("scaled_dot_product", "flash_attention", "efficient_attention"),
    "products": ("addmm", "aten::mm", "aten::bmm", "_linear_pointwise", "mkldnn_linear"),
}


@dataclass(frozen=True)
class Task:
    """Cells that candidates embed.

    Attributes
    ----------
    model
        "scGPT" or a name in ``GENEFORMER``.
    copies
        Cells of the source side by side in one: length of the sequences.
    cells
        How many.
    """

    model: str
    copies: int
    cells: int

    @property
    def name(self) -> str:
        return f"{self.model}, {'short' if self.copies == 1 else 'long'} cells"


def tasks() -> list[Task]:
    """What a minute or two on two cores allows; with a GPU as many cells as make its timing steady."""
    if torch.cuda.is_available():
        return [
            Task("scGPT", 1, 2048), Task("scGPT", 6, 1024), Task("V1-10M", 1, 4096),
            Task("V2-104M", 1, 1024), Task("V2-316M", MOST_COPIES, 128),
        ]  # fmt: skip
    return [
        Task("scGPT", 1, 32), Task("scGPT", 6, 6), Task("V1-10M", 1, 96), Task("V1-10M", 6, 24),
        Task("V2-104M", 1, 8), Task("V2-104M", 6, 2),
    ]  # fmt: skip


@cache
def source() -> AnnData:
    return data.load("pbmc68k-reduced")


def gene_names() -> list[str]:
    """(all copies x genes) names; the first copy has those of the source."""
    genes = source().var_names
    return [*genes, *(f"{gene}_{copy}" for copy in range(1, MOST_COPIES) for gene in genes)]


def most_genes(task: Task) -> int:
    if task.model == "scGPT":
        return SCGPT["max_seq_len"] - 1
    positions = GENEFORMER[task.model][4]
    return positions - 2 if task.model.startswith("V2") else positions


def make_cells(task: Task) -> AnnData:
    """Cells whose expressed genes fit into a sequence and have no tied values.

    Of a longer cell the reference reads a sample, and it draws the bins of ties: both would make it
    compute something else.
    """
    adata, rng = source(), np.random.default_rng(0)
    picked = rng.integers(adata.n_obs, size=(task.cells, task.copies))
    counts = sparse.hstack([adata.X[column] for column in picked.T], format="csr")
    counts.eliminate_zeros()
    rows = np.repeat(np.arange(task.cells), np.diff(counts.indptr))
    place = np.arange(counts.nnz) - counts.indptr[rows]
    counts.data[place >= most_genes(task)] = 0
    counts.eliminate_zeros()
    values = [rng.permutation(n) / (2 * n) for n in np.diff(counts.indptr)]
    counts = sparse.csr_matrix((counts.data + np.concatenate(values), counts.indices, counts.indptr),
                               shape=counts.shape, dtype=np.float32)  # fmt: skip
    obs = pd.DataFrame({"library_size": np.asarray(counts.sum(axis=1)).ravel()},
                       index=[f"cell-{number}" for number in range(task.cells)])  # fmt: skip
    return AnnData(counts, obs, pd.DataFrame(index=gene_names()[: counts.shape[1]]))


def scgpt_folder() -> Path:
    """args.json, vocab.json and best_model.pt, written once."""
    folder = paths.build() / "benchmarks" / "scgpt"
    if (folder / "args.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    known = gene_names()
    genes = [*known, *(f"other-{number}" for number in range(SCGPT_GENES - len(known)))]
    tokens = {token: number for number, token in enumerate([*genes, "<pad>", "<cls>", "<eoc>"])}
    dim, hidden = SCGPT["embsize"], SCGPT["d_hid"]
    matrices = {"value_encoder.linear1": (dim, 1), "value_encoder.linear2": (dim, dim),
                "decoder.fc.0": (dim, dim), "decoder.fc.2": (dim, dim), "decoder.fc.4": (1, dim),
                "mvc_decoder.gene2query": (dim, dim)}  # fmt: skip
    norms = ["encoder.enc_norm", "value_encoder.norm"]
    for number in range(SCGPT["nlayers"]):
        layer = f"transformer_encoder.layers.{number}"
        matrices |= {f"{layer}.self_attn.Wqkv": (3 * dim, dim), f"{layer}.self_attn.out_proj": (dim, dim),
                     f"{layer}.linear1": (hidden, dim), f"{layer}.linear2": (dim, hidden)}  # fmt: skip
        norms += [f"{layer}.norm1", f"{layer}.norm2"]
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    state = {"encoder.embedding.weight": 0.06 * draw(len(tokens), dim),
             "mvc_decoder.W.weight": dim**-0.5 * draw(dim, dim)}  # fmt: skip
    for name, shape in matrices.items():
        state[f"{name}.weight"] = shape[1] ** -0.5 * draw(*shape)
        state[f"{name}.bias"] = 0.02 * draw(shape[0])
    for name in norms:
        state |= {f"{name}.weight": 1 + 0.1 * draw(dim), f"{name}.bias": 0.1 * draw(dim)}
    torch.save(state, folder / "best_model.pt")
    store.write_text(folder / "vocab.json", json.dumps(tokens))
    store.write_text(folder / "args.json", json.dumps(SCGPT))  # last: the sign that all is there
    return folder


def geneformer_folder(name: str) -> Path:
    """config.json, model.safetensors and the dictionaries, written once."""
    folder = paths.build() / "benchmarks" / f"geneformer-{name}"
    if (folder / "gene_names.json").exists():
        return folder
    from transformers import BertConfig, BertForMaskedLM, logging

    logging.disable_progress_bar()
    layers, dim, heads, hidden, positions, size = GENEFORMER[name]
    special = ["<pad>", "<mask>", *(["<cls>", "<eos>"] if name.startswith("V2") else [])]
    names = gene_names()
    ids = [f"ENSG{number:011d}" for number in range(size - len(special))]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=size, hidden_size=dim, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=hidden, max_position_embeddings=positions, hidden_act="relu",
        layer_norm_eps=1e-12, hidden_dropout_prob=0.02, attention_probs_dropout_prob=0.02,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    tokens = {token: number for number, token in enumerate([*special, *ids])}
    medians = dict(zip(ids, np.random.default_rng(0).uniform(0.5, 5, len(ids)).tolist(), strict=True))
    store.write_text(folder / "token_dictionary.json", json.dumps(tokens))
    store.write_text(folder / "gene_medians.json", json.dumps(medians))
    store.write_text(folder / "gene_names.json", json.dumps(dict(zip(names, ids, strict=False))))
    return folder


def embedder(task: Task) -> Scgpt | Geneformer:
    if task.model == "scGPT":
        folder = scgpt_folder()
        files = {"config": "args.json", "weights": "best_model.pt", "vocabulary": "vocab.json"}
        family = partial(Scgpt, input="as-given")
    else:
        folder, family = geneformer_folder(task.model), Geneformer
        files = {"config": "config.json", "weights": "model.safetensors"}
        files |= {role: f"{role}.json" for role in ("token_dictionary", "gene_medians", "gene_names")}
    files = {role: folder / name for role, name in files.items()}
    return family(checkpoint=Checkpoint(files=files, hashes={}, origin="benchmark"))


def ours(task: Task, precision: str) -> Embed:
    adata = make_cells(task)
    cells = Cells.of(adata, with_batches=False)
    runner = Runner(embedder(task), cells, 0, Settings(precision=precision))
    return partial(runner.embed, np.arange(adata.n_obs))


def scgpt_reference(task: Task, *, fast_path: bool) -> Embed:
    """``embed_data`` up to the call that embeds: what comes before is loading.

    torch's fast path for encoders, which the package meets by default, works on nested tensors and is the
    slower one on a CPU: both are measured.
    """
    module = reference_scgpt.cell_emb()
    embed, given = module.get_batch_cell_embeddings, {}

    def keep(adata: AnnData, **options: object) -> np.ndarray:
        given.update(options, adata=adata)
        return np.zeros((adata.n_obs, SCGPT["embsize"]), np.float32)

    module.get_batch_cell_embeddings = keep
    module.tqdm = lambda batches, **_: batches
    try:
        options = {"device": "cuda" if torch.cuda.is_available() else "cpu", "use_fast_transformer": False}
        module.embed_data(make_cells(task), scgpt_folder(), gene_col="index", **options)
    finally:
        module.get_batch_cell_embeddings = embed

    def embed_cells() -> np.ndarray:
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(fast_path)
        try:
            return embed(**given)
        finally:
            torch.backends.mha.set_fastpath_enabled(before)

    return embed_cells


def bert_reference(task: Task, precision: str, *, head: bool = True) -> Embed:
    """transformers on the tokens and chunks of ours, pooled as ours; the head is what Geneformer loads."""
    from transformers import BertForMaskedLM, BertModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    cells = Cells.of(make_cells(task), with_batches=False)
    tokenizer = embedder(task).tokenizer(cells, 0)
    ends = 1 if task.model.startswith("V2") else 0
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"dtype": getattr(torch, precision)} | ({} if head else {"add_pooling_layer": False})
    model = (BertForMaskedLM if head else BertModel).from_pretrained(geneformer_folder(task.model), **options)
    model = model.to(device).eval()

    @torch.inference_mode()
    def embed() -> np.ndarray:
        tokens = tokenizer.tokenize(np.arange(task.cells))
        pooled = np.empty((task.cells, model.config.hidden_size), np.float32)
        for members in embedding.chunks(tokens.lengths, embedding.TOKENS_PER_CHUNK[device]):
            chunk = tokens.select(members)
            ids = torch.from_numpy(chunk.pad(tokenizer.pad_id)[0]).to(device)
            lengths = torch.from_numpy(chunk.lengths).to(device)[:, None]
            place = torch.arange(ids.shape[1], device=device)
            found = model(ids, attention_mask=(place < lengths).long(), output_hidden_states=True)
            genes = (place >= ends) & (place < lengths - ends)
            summed = torch.where(genes[..., None], found.hidden_states[-2].float(), 0).sum(dim=1)
            pooled[members] = (summed / genes.sum(dim=1, keepdim=True)).cpu().numpy()
        return pooled

    return embed


def candidates(task: Task) -> dict[str, Callable[[], Embed]]:
    """Candidate to what loads it; the first reference is what the others are held against."""
    own = {f"ours, {precision}": partial(ours, task, precision) for precision in ("float32", "bfloat16")}
    if task.model == "scGPT":
        reference = f"scgpt, {'float16' if torch.cuda.is_available() else 'float32'}"  # it autocasts on CUDA
        return own | {
            reference: partial(scgpt_reference, task, fast_path=False),
            f"{reference}, fast path": partial(scgpt_reference, task, fast_path=True),
        }
    bert = partial(bert_reference, task)
    return own | {
        "BertForMaskedLM, float32": partial(bert, "float32"),
        "BertForMaskedLM, bfloat16": partial(bert, "bfloat16"),
        "BertModel, float32": partial(bert, "float32", head=False),
        "BertModel, bfloat16": partial(bert, "bfloat16", head=False),
    }


def shape(task: Task) -> tuple[int, int, int, bool]:
    """Layers that the embedding needs, width, feed-forward width, and if the last is for one token."""
    if task.model == "scGPT":
        return SCGPT["nlayers"], SCGPT["embsize"], SCGPT["d_hid"], True
    layers, dim, _, hidden, *_ = GENEFORMER[task.model]
    return layers - 1, dim, hidden, False


def flops(task: Task) -> float:
    """Multiplications and additions in the matrix products that real tokens need, padding left out."""
    layers, dim, hidden, first_only = shape(task)
    tokens = embedder(task).tokenizer(Cells.of(make_cells(task), with_batches=False), 0)
    lengths = tokens.tokenize(np.arange(task.cells)).lengths.astype(float)
    per_query = 2 * dim * (2 * dim + 2 * hidden)  # query, out, feed-forward
    layer = lengths * (per_query + 4 * dim * dim) + 4 * dim * lengths**2
    total = (layers - first_only) * layer
    if first_only:
        total += per_query + lengths * (4 * dim * dim + 4 * dim)
    return float(total.sum() + (2 * dim * dim * lengths.sum() if task.model == "scGPT" else 0))


def ceilings(task: Task, precision: str) -> dict[str, float]:
    """Best rate over the products of a layer, in operations a second: torch.matmul, and oneDNN's linear.

    On a CPU torch multiplies float32 with MKL, which is slow on processors of another maker.
    """
    _, dim, hidden, _ = shape(task)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    products: dict[str, Callable] = {"matmul": lambda a, b: torch.matmul(a, b.T)}
    if device == "cpu" and torch.backends.mkldnn.is_available():
        products["oneDNN"] = lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    rows, best = embedding.TOKENS_PER_CHUNK[device], dict.fromkeys(products, 0.0)
    repeats = 50 if device == "cuda" else 1
    for inner, outer in {(dim, 3 * dim), (dim, dim), (dim, hidden), (hidden, dim)}:
        a = torch.randn(rows, inner).to(device, getattr(torch, precision))
        b = torch.randn(outer, inner).to(device, getattr(torch, precision))
        for name, product in [*products.items()] * 4:
            _wait()
            started = time.perf_counter()
            for _ in range(repeats):
                product(a, b)
            _wait()
            rate = repeats * 2 * rows * inner * outer / (time.perf_counter() - started)
            best[name] = max(best[name], rate)
    return best


def shares_of_time(embed: Embed) -> dict[str, float]:
    """Shares of one call's time in torch that go into attention, matrix products and everything else."""
    device = torch.cuda.is_available()
    with torch.profiler.profile() as traced:
        embed()
    spent = dict.fromkeys([*OPERATIONS, "other"], 0.0)
    for event in traced.key_averages():
        kinds = [kind for kind, names in OPERATIONS.items() if any(name in event.key for name in names)]
        seconds = event.self_device_time_total if device else event.self_cpu_time_total
        spent[kinds[0] if kinds else "other"] += seconds
    return {kind: seconds / sum(spent.values()) for kind, seconds in spent.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def print_cold(number: str, candidate: str) -> None:
    """Load and embed once in this process; JSON on stdout."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        candidates(tasks()[int(number)])[candidate]()()
    seconds = time.perf_counter() - started
    device_mb = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    print(json.dumps({"cold_s": seconds, "peak_mb": store.peak_memory_mb(), "device_peak_mb": device_mb}))


def measure(number: int, task: Task, repeats: int) -> list[dict]:
    """Rows of a task."""
    rows, embeds = {}, {}
    for name, load in candidates(task).items():
        rows[name] = {"task": task.name, "candidate": name, "cells": task.cells}
        started = time.perf_counter()
        try:
            embeds[name] = load()
        except reference_scgpt.UnavailableError as error:
            rows[name]["value"] = f"not measured: {error}"
            continue
        rows[name] |= {"load_s": time.perf_counter() - started, "seconds": []}
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "embedding"]
        done = subprocess.run(
            [*command, "--cold", str(number), name], check=True, stdout=subprocess.PIPE, text=True
        )
        rows[name] |= json.loads(done.stdout.splitlines()[-1])
    values = {name: embed() for name, embed in embeds.items()}
    peaks: dict[str, list[dict[str, float]]] = {"float32": [], "bfloat16": []}
    for _ in range(repeats):
        for precision, rates in peaks.items():
            rates.append(ceilings(task, precision))
        for name, embed in embeds.items():
            started = time.perf_counter()
            embed()
            rows[name]["seconds"].append(time.perf_counter() - started)
    work, first = flops(task), next(iter(values.values()))
    reference = next((name for name in embeds if not name.startswith("ours")), None)
    for name in embeds:
        row = rows[name]
        rates = peaks["bfloat16" if "bfloat16" in name else "float32"]
        row["cells_per_s"] = task.cells / statistics.median(row["seconds"])
        if name.startswith("ours"):
            row |= {"flops": work, "product_flops_per_s": rates, "share": {}}
            row["time"] = shares_of_time(embeds[name])
            for product in rates[0]:
                shares = [work / s / rate[product] for s, rate in zip(row["seconds"], rates, strict=True)]
                row["share"][product] = statistics.median(shares)
        if reference:
            speeds = ratios(rows[reference]["seconds"], row["seconds"])
            row |= {"speed": statistics.median(speeds), "speed_min": min(speeds), "speed_max": max(speeds)}
            kind = "device_peak_mb" if row["device_peak_mb"] else "peak_mb"
            row["memory"] = row[kind] / rows[reference][kind]
        row["value"] = check(name, first, values[name])
    return list(rows.values())


def ratios(those: list[float], these: list[float]) -> list[float]:
    return [that / this for that, this in zip(those, these, strict=True)]


def check(name: str, ours: np.ndarray, other: np.ndarray) -> str:
    """Hold a candidate's embeddings against ours in float32."""
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(other, axis=1)
    cosine = float(((ours * other).sum(axis=1) / lengths).min())
    difference = float(np.abs(ours - other).max())
    exact = "float16" not in name
    assert cosine > (0.99999 if exact else 0.98), (name, cosine)
    assert not exact or difference < 1e-4, (name, difference)
    return f"cosine >= {cosine:.6f}, difference <= {difference:.0e}"


def run(repeats: int) -> None:
    """Time everything, print the table, write build/benchmarks/embedding.json."""
    rows = []
    print(f"{'task':21}{'candidate':27}{'load s':>7}{'MB':>6}{'x ref':>6}{'cells/s':>9}", end="")
    print("  speed / reference  share of              against ours in float32")
    for number, task in enumerate(tasks()):
        for row in measure(number, task, repeats):
            rows.append(row)
            print(describe(row), flush=True)
    table = [shown(row) for row in rows]
    output = write("embedding", __doc__, BOUNDS, repeats, table, threads=torch.get_num_threads(), rows=rows)
    print(f"{repeats} repeats after one that is not counted, {torch.get_num_threads()} threads: {output}")


def shown(row: Mapping) -> dict[str, str]:
    """A row as the book shows it."""
    if "seconds" not in row:
        return {"task": row["task"], "candidate": row["candidate"], "against ours in float32": row["value"]}
    share, time_ = row.get("share", {}), row.get("time", {})
    return {
        "task": row["task"],
        "candidate": row["candidate"],
        "cells / s": f"{row['cells_per_s']:.{0 if row['cells_per_s'] >= 10 else 1}f}",
        "speed / reference": f"{row['speed']:.2f} ({row['speed_min']:.2f}–{row['speed_max']:.2f})",
        "memory / reference": f"{row['memory']:.2f}",
        "of the matmul rate": f"{share['matmul']:.0%}" if share else "–",
        "of the oneDNN rate": f"{share['oneDNN']:.0%}" if "oneDNN" in share else "–",
        "time in products": f"{time_['products']:.0%}" if time_ else "–",
        "time in attention": f"{time_['attention']:.0%}" if time_ else "–",
        "against ours in float32": row["value"],
    }


def describe(row: Mapping) -> str:
    """One line of the table."""
    start = f"{row['task']:21}{row['candidate']:27}"
    if "seconds" not in row:
        return start + row["value"]
    peak = row["device_peak_mb"] or row["peak_mb"]
    memory = f"{row['memory']:6.2f}" if "memory" in row else f"{'':6}"
    speed = f"{row['speed']:.2f} ({row['speed_min']:.2f}-{row['speed_max']:.2f})" if "speed" in row else ""
    share = ", ".join(f"{share:.0%} {product}" for product, share in row.get("share", {}).items())
    return (
        f"{start}{row['load_s']:7.2f}{peak:6.0f}{memory}{row['cells_per_s']:9.2f}"
        f"  {speed:19}{share:23} {row['value']}"
    )
