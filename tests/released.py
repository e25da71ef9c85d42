"""Folders in the layout in which models are released: those of the reference, and small random weights."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

# Small cases of the reference implementations, with what those compute for them.
PARITY = Path(__file__).resolve().parent / "parity"

GENEFORMER_CONFIG = {
    "model_type": "bert", "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 24, "hidden_act": "relu", "layer_norm_eps": 1e-12, "initializer_range": 0.2,
    "type_vocab_size": 2, "pad_token_id": 0, "hidden_dropout_prob": 0.02,
    "attention_probs_dropout_prob": 0.02,
}  # fmt: skip
SCGPT_ARGS = {
    "embsize": 16, "nheads": 2, "d_hid": 24, "nlayers": 2, "n_layers_cls": 3, "dropout": 0.2,
    "pad_token": "<pad>", "pad_value": -2, "mask_value": -1, "n_bins": 51, "max_seq_len": 1200,
    "input_style": "binned", "input_emb_style": "continuous",
}  # fmt: skip


def ensembl_ids(symbols: Sequence[str]) -> dict[str, str]:
    """An id for each symbol."""
    return {symbol: f"ENSG{number:011d}" for number, symbol in enumerate(symbols, start=1)}


def write_geneformer(
    folder: Path, symbols: Sequence[str], *, special: bool, max_tokens: int = 64, seed: int = 0
) -> Path:
    """A Geneformer that knows these genes: transformers writes the weights."""
    from transformers import BertConfig, BertForMaskedLM

    ids = ensembl_ids(symbols)
    tokens = ["<pad>", "<mask>", *(["<cls>", "<eos>"] if special else []), *ids.values()]
    config = GENEFORMER_CONFIG | {"vocab_size": len(tokens), "max_position_embeddings": max_tokens}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertForMaskedLM(BertConfig(**config)).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(seed)
    dictionaries = {
        "token_dictionary": {token: number for number, token in enumerate(tokens)},
        "gene_median_dictionary": {gene: float(rng.uniform(0.5, 5)) for gene in ids.values()},
        "gene_name_id_dict": ids,
        "ensembl_mapping_dict": {gene: gene for gene in ids.values()},
    }
    for name, content in dictionaries.items():
        (folder / f"{name}_gc30M.pkl").write_bytes(pickle.dumps(content))
    return folder


def scgpt_state(args: Mapping, n_tokens: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors by the names of the released files, flag encoder and all."""
    dim, ffn = args["embsize"], args["d_hid"]
    shapes = {"encoder.embedding.weight": (n_tokens, dim), "value_encoder.linear1.weight": (dim, 1),
              "value_encoder.linear2.weight": (dim, dim), "decoder.fc.0.weight": (dim, dim),
              "decoder.fc.2.weight": (dim, dim), "decoder.fc.4.weight": (1, dim),
              "mvc_decoder.gene2query.weight": (dim, dim)}  # fmt: skip
    norms = ["encoder.enc_norm", "value_encoder.norm"]
    for layer in range(args["nlayers"]):
        prefix = f"transformer_encoder.layers.{layer}"
        shapes |= {
            f"{prefix}.self_attn.Wqkv.weight": (3 * dim, dim),
            f"{prefix}.self_attn.out_proj.weight": (dim, dim),
            f"{prefix}.linear1.weight": (ffn, dim),
            f"{prefix}.linear2.weight": (dim, ffn),
        }
        norms += [f"{prefix}.norm1", f"{prefix}.norm2"]
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        state[name] = 0.2 * torch.randn(shape, generator=generator)
        if name != "encoder.embedding.weight":
            state[name.replace("weight", "bias")] = 0.1 * torch.randn(shape[0], generator=generator)
    for norm in norms:
        state[f"{norm}.weight"] = 1 + 0.1 * torch.randn(dim, generator=generator)
        state[f"{norm}.bias"] = 0.1 * torch.randn(dim, generator=generator)
    state["mvc_decoder.W.weight"] = 0.2 * torch.randn(dim, dim, generator=generator)
    state["flag_encoder.weight"] = torch.randn(2, dim, generator=generator)
    return state


def write_scgpt(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """An scGPT that knows these genes, with its special tokens at the end."""
    vocabulary = {token: number for number, token in enumerate([*symbols, "<pad>", "<cls>", "<eoc>"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.json").write_text(json.dumps(SCGPT_ARGS))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    torch.save(scgpt_state(SCGPT_ARGS, len(vocabulary), seed), folder / "best_model.pt")
    return folder


def write_cellama(folder: Path, *, seed: int = 0) -> Path:
    """A sentence encoder that reads letter by letter."""
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    signs = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", ".", "-", "top", "genes", "gene", "are",
              "is", "and", "cd", "##74", "hl", "##orf", *signs, *(f"##{sign}" for sign in signs)]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=260, initializer_range=0.3,
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config.to_dict() | {"model_type": "bert"}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        save_file(BertModel(config).state_dict(), folder / "model.safetensors")
    return folder
