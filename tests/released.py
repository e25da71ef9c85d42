"""Folders in the layout in which models are released: those of the reference, and small random weights."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from zeroshot.models import Cells

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


# -- released layouts of other families, from their specifications


def cells_of(counts, genes: Sequence[str], **facts) -> "Cells":
    """Cells named by number with these counts."""
    import pandas as pd
    from scipy import sparse

    from zeroshot.models import Cells

    matrix = sparse.csr_matrix(counts, dtype=np.float32)
    names = pd.Index([f"cell{row}" for row in range(matrix.shape[0])])
    known = {"library_size": np.asarray(matrix.sum(axis=1), np.float64).ravel()} | facts
    return Cells(matrix, pd.Index(genes), names, **known)


def random_state(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors by name; the scales of norms are near 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator) * (0.3 if len(shape) > 1 else 0.1)
        state[name] = values + (len(shape) == 1 and name.endswith("weight"))
    return state


def linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def norm(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def encoder_layer(prefix: str, dim: int, ffn: int) -> dict[str, tuple[int, ...]]:
    """A layer of torch's own encoder."""
    return {
        f"{prefix}.self_attn.in_proj_weight": (3 * dim, dim), f"{prefix}.self_attn.in_proj_bias": (3 * dim,),
        **linear(f"{prefix}.self_attn.out_proj", dim, dim), **linear(f"{prefix}.linear1", ffn, dim),
        **linear(f"{prefix}.linear2", dim, ffn), **norm(f"{prefix}.norm1", dim), **norm(f"{prefix}.norm2",
        dim),
    }  # fmt: skip


def performer_layer(
    prefix: str, dim: int, heads: int, width: int, *, bias: bool
) -> dict[str, tuple[int, ...]]:
    """A layer of performer-pytorch; the projection has as many features as the reference draws."""
    inner, attention = heads * width, f"{prefix}.0.fn"
    shapes = {f"{attention}.fast_attention.projection_matrix": (int(width * np.log(width)), width)}
    for part in ("to_q", "to_k", "to_v"):
        shapes[f"{attention}.{part}.weight"] = (inner, dim)
        shapes |= {f"{attention}.{part}.bias": (inner,)} if bias else {}
    return (
        shapes | linear(f"{attention}.to_out", dim, inner) | norm(f"{prefix}.0.norm", dim)
        | norm(f"{prefix}.1.norm", dim) | linear(f"{prefix}.1.fn.fn.w1", 4 * dim, dim)
        | linear(f"{prefix}.1.fn.fn.w2", dim, 4 * dim)
    )  # fmt: skip


SCFOUNDATION_CONFIG = {
    "encoder": {"hidden_dim": 16, "depth": 2, "heads": 2, "module_type": "transformer", "norm_first": False},
    "decoder": {"hidden_dim": 8, "depth": 1, "heads": 2, "dim_head": 8, "module_type": "performer",
                "norm_first": False},
    "bin_num": 10, "bin_alpha": 1.0, "pad_token_id": 103, "mask_token_id": 102,
}  # fmt: skip


def write_scfoundation(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """``models.ckpt`` with three models, and the list of genes."""
    config, n_genes = SCFOUNDATION_CONFIG, len(symbols)
    dim, narrow, bins = 16, 8, config["bin_num"]
    shapes = {"token_emb.emb.weight": (bins, dim), "token_emb.emb_mask.weight": (1, dim),
              "token_emb.emb_pad.weight": (1, dim), "pos_emb.weight": (n_genes + 3, dim)}  # fmt: skip
    shapes |= linear("token_emb.mlp", bins, 1) | linear("token_emb.mlp2", bins, bins)
    for layer in range(config["encoder"]["depth"]):
        shapes |= encoder_layer(f"encoder.transformer_encoder.{layer}", dim, 4 * dim)
    shapes |= norm("encoder.norm", dim) | linear("decoder_embed", narrow, dim)
    shapes |= performer_layer("decoder.performer.net.layers.0", narrow, 2, 8, bias=True)
    shapes |= norm("decoder.norm", narrow) | norm("norm", narrow) | linear("to_final", 1, narrow)
    content = {}
    for number, entry in enumerate(("cell", "rde", "gene")):
        state = {f"model.{name}": value for name, value in random_state(shapes, seed + number).items()}
        state["model.decoder.performer.calls_since_last_redraw"] = torch.tensor(0)
        stated = {"model_config": {"mae_autobin": config | {"seq_len": n_genes + 2}},
                  "dataset_config": {"rnaseq": {"bin_num": bins}}}  # fmt: skip
        content[entry] = {"config": stated, "state_dict": state}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gene_list.txt").write_text("\n".join(symbols))
    torch.save(content, folder / "models.ckpt")
    return folder


NICHEFORMER_CONFIG = {"nlayers": 2, "dim_model": 16, "nheads": 2, "dim_feedforward": 24, "context_length": 64}


def write_nicheformer(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """A Lightning checkpoint, the list of genes, means of one technology, and names of genes."""
    ids, config = ensembl_ids(symbols), NICHEFORMER_CONFIG | {"n_tokens": len(symbols) + 30}
    dim, ffn = config["dim_model"], config["dim_feedforward"]
    shapes = {"embeddings.weight": (len(ids) + 35, dim), "positional_embedding.weight": (64, dim)}
    for prefix in ("encoder_layer", *(f"encoder.layers.{layer}" for layer in range(config["nlayers"]))):
        shapes |= encoder_layer(prefix, dim, ffn)
    shapes |= linear("classifier_head", 5, dim) | linear("pooler_head", dim, dim) | linear("cls_head", 5, dim)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": random_state(shapes, seed), "hyper_parameters": config}
    torch.save(content, folder / "nicheformer.ckpt")
    means = np.random.default_rng(seed).gamma(2, 2, len(ids))
    means[::17] = np.nan  # genes that the technology does not measure
    np.save(folder / "dissociated_mean_script.npy", means)
    (folder / "gene_list.txt").write_text("\n".join(ids.values()))
    (folder / "gene_name_id_dict_gc104M.pkl").write_bytes(pickle.dumps(ids))
    return folder


def write_uce(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """A checkpoint with its table of tokens; proteins and positions of two species on five chromosomes."""
    dim, ffn, protein, n_genes = 16, 24, 12, len(symbols)
    shapes = {"pe_embedding.weight": (4 + n_genes + 10, protein), "pos_encoder.pe": (1536, 1, dim)}
    shapes |= linear("encoder.0", dim, protein) | norm("encoder.2", dim) | linear("decoder.3", dim, dim)
    for layer in range(2):
        shapes |= encoder_layer(f"transformer_encoder.layers.{layer}", dim, ffn)
    for place in range(3):
        shapes |= linear(f"decoder.{place}.0", dim, dim) | norm(f"decoder.{place}.1", dim)
    shapes |= linear("binary_decoder.3", 1, 8) | linear("gene_embedding_layer.0", dim, protein)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(random_state(shapes, seed), folder / "4layer_model.torch")
    (folder / "gene_list.txt").write_text("\n".join(symbols))
    (folder / "species_offsets.pkl").write_bytes(pickle.dumps({"human": 4, "mouse": 4 + n_genes}))
    rng = np.random.default_rng(seed)
    lines = [",species,gene_symbol,chromosome,start"]
    for species in ("mouse", "human"):
        for number, symbol in enumerate(symbols):
            place = f"{rng.integers(1, 6)},{rng.integers(10**6)}"
            lines.append(f"{number},{species},{symbol.upper()},{place}")
    (folder / "species_chrom.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_scbert(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """``panglao_pretrained.pth`` with positions of double precision, and the list of genes."""
    dim, heads, width = 12, 2, 8
    shapes = {"token_emb.weight": (7, dim), "pos_emb.emb.weight": (len(symbols) + 1, dim)}
    for layer in range(2):
        shapes |= performer_layer(f"performer.net.layers.{layer}", dim, heads, width, bias=False)
    state = random_state(shapes | norm("norm", dim) | linear("to_out", 7, dim), seed)
    state["pos_emb.emb.weight"] = state["pos_emb.emb.weight"].double()
    state["performer.calls_since_last_redraw"] = torch.tensor(0)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model_state_dict": state}, folder / "panglao_pretrained.pth")
    (folder / "gene_list.txt").write_text("\n".join(symbols))
    return folder


CELLPLM_CONFIG = {"enc_layers": 2, "enc_hid": 16, "num_clusters": 3, "post_latent_dim": 10}


def write_cellplm(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """A config with its list of genes, a checkpoint with tables that nothing reads, names of genes."""
    ids, dim, clusters, latent = ensembl_ids(symbols), 16, 3, 10
    shapes = {"embedder.feat_enc.emb": (len(ids), dim), "embedder.pe_enc.missing_pe": (dim,)}
    shapes |= norm("embedder.norm0", dim) | linear("embedder.extra_linear.0", dim, dim)
    shapes |= norm("embedder.extra_linear.3", dim) | norm("pre_latent_norm.norm", dim)
    for layer in range(2):
        prefix = f"encoder.layers.{layer}"
        for part in ("query", "key", "value", "out"):
            shapes |= linear(f"{prefix}.self_attn.{part}_projection", dim, dim)
        shapes |= linear(f"{prefix}._ff_block.0", 2 * dim, dim) | linear(
            f"{prefix}._ff_block.3", dim, 2 * dim
        )
        shapes |= norm(f"{prefix}.norm1", dim) | norm(f"{prefix}.norm2", dim)
    inference = "latent.layers.1.inference"
    shapes |= linear(f"{inference}.inference_qyx.0.logits", clusters, dim)
    shapes |= linear(f"{inference}.inference_qzyx.0", 512, dim + clusters)
    for part, columns in (("inference_qzyx.2.mu", 512), ("inference_qzyx.2.var", 512), ("y_mu", clusters)):
        shapes |= linear(f"{inference}.{part}", latent, columns)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model_state_dict": random_state(shapes, seed)}, folder / "20230926_85M.best.ckpt")
    config = CELLPLM_CONFIG | {
        "enc_mod": "flowformer",
        "latent_mod": "gmvae",
        "gene_list": list(ids.values()),
    }
    (folder / "20230926_85M.config.json").write_text(json.dumps(config))
    (folder / "gene_name_id_dict_gc104M.pkl").write_bytes(pickle.dumps(ids))
    return folder


TGPT_CONFIG = {
    "model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "n_inner": None,
    "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "initializer_range": 0.2,
}  # fmt: skip


def write_tgpt(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """Config, words, and weights with the masks that older versions of transformers stored."""
    words = ["<pad>", "</b>", "</s>", "<unk>", *(symbol.replace("-", "_") for symbol in symbols)]
    dim = TGPT_CONFIG["n_embd"]
    shapes = {"transformer.wte.weight": (len(words), dim), "transformer.wpe.weight": (64, dim)}
    for layer in range(TGPT_CONFIG["n_layer"]):
        prefix = f"transformer.h.{layer}"
        shapes |= norm(f"{prefix}.ln_1", dim) | norm(f"{prefix}.ln_2", dim)
        # Of these layers GPT-2 stores weights as (inputs, outputs).
        for name, inputs, outputs in (("attn.c_attn", dim, 3 * dim), ("attn.c_proj", dim, dim),
                                      ("mlp.c_fc", dim, 4 * dim), ("mlp.c_proj", 4 * dim, dim)):  # fmt: skip
            shapes |= {f"{prefix}.{name}.weight": (inputs, outputs), f"{prefix}.{name}.bias": (outputs,)}
    state = random_state(shapes | norm("transformer.ln_f", dim), seed)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    for layer in range(TGPT_CONFIG["n_layer"]):
        mask = torch.tril(torch.ones(64, 64, dtype=torch.uint8))[None, None]
        state |= {f"transformer.h.{layer}.attn.bias": mask,
                  f"transformer.h.{layer}.attn.masked_bias": torch.tensor(-1e4)}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(TGPT_CONFIG | {"vocab_size": len(words)}))
    vocabulary = {name: number for number, name in enumerate(words)}
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def bert_layer(prefix: str, dim: int, ffn: int) -> dict[str, tuple[int, ...]]:
    """A layer of BERT as transformers names it."""
    shapes = {}
    for part in ("self.query", "self.key", "self.value", "output.dense"):
        shapes |= linear(f"{prefix}.attention.{part}", dim, dim)
    shapes |= norm(f"{prefix}.attention.output.LayerNorm", dim) | norm(f"{prefix}.output.LayerNorm", dim)
    return (
        shapes | linear(f"{prefix}.intermediate.dense", ffn, dim) | linear(f"{prefix}.output.dense", dim, ffn)
    )


def bert_shapes(prefix: str, n_tokens: int, config: Mapping) -> dict[str, tuple[int, ...]]:
    """Words, positions, the norm behind them, and layers."""
    dim, ffn = config["hidden_size"], config["intermediate_size"]
    shapes = {f"{prefix}embeddings.word_embeddings.weight": (n_tokens, dim),
              f"{prefix}embeddings.position_embeddings.weight": (config["max_position_embeddings"], dim),
              **norm(f"{prefix}embeddings.LayerNorm", dim)}  # fmt: skip
    for layer in range(config["num_hidden_layers"]):
        shapes |= bert_layer(f"{prefix}encoder.layer.{layer}", dim, ffn)
    return shapes


LANGCELL_CONFIG = GENEFORMER_CONFIG | {"max_position_embeddings": 256, "projection_size": 10}


def write_ranks(folder: Path, symbols: Sequence[str], config: Mapping, seed: int) -> int:
    """Config and dictionaries of a model over Geneformer's ranks, without ``<cls>``; tokens with it."""
    ids = ensembl_ids(symbols)
    tokens = {token: number for number, token in enumerate(["<pad>", "<mask>", *ids.values()])}
    rng = np.random.default_rng(seed)
    medians = {gene: float(rng.uniform(0.5, 5)) for gene in ids.values()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("token_dictionary", tokens), ("gene_median_dictionary", medians)):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content))
    (folder / "gene_name_id_dict_gc30M.pkl").write_bytes(pickle.dumps(ids))
    (folder / "ensembl_mapping_dict_gc30M.pkl").write_bytes(pickle.dumps({gene: gene for gene in tokens}))
    stated = {name: value for name, value in config.items() if name != "projection_size"}
    (folder / "config.json").write_text(json.dumps(stated | {"vocab_size": len(tokens) + 1}))
    return len(tokens) + 1


def write_langcell(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """``cell_bert`` without head or pooler, its projection, and a text encoder that nothing reads."""
    n_tokens, dim = write_ranks(folder, symbols, LANGCELL_CONFIG, seed), LANGCELL_CONFIG["hidden_size"]
    for name in ("cell_bert", "text_bert"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "config.json").replace(folder / "cell_bert" / "config.json")
    shapes = bert_shapes("", n_tokens, LANGCELL_CONFIG)
    shapes["embeddings.token_type_embeddings.weight"] = (2, dim)
    torch.save(random_state(shapes, seed), folder / "cell_bert" / "pytorch_model.bin")
    torch.save(random_state({"weight": (10, dim), "bias": (10,)}, seed), folder / "cell_proj.bin")
    torch.save({"a": torch.ones(1)}, folder / "text_bert" / "pytorch_model.bin")
    return folder


SCCELLO_CONFIG = GENEFORMER_CONFIG | {"max_position_embeddings": 256}


def write_sccello(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """A checkpoint with three tables of one row, heads, and graphs of cell types as truth values."""
    n_tokens, dim = write_ranks(folder, symbols, SCCELLO_CONFIG, seed), SCCELLO_CONFIG["hidden_size"]
    shapes = bert_shapes("bert.", n_tokens, SCCELLO_CONFIG)
    for name in ("tf_class", "tf_superclass", "expbin"):
        shapes[f"bert.embeddings.{name}_embeddings.weight"] = (1, dim)
    for head in ("cls", "cell_cls"):
        shapes |= linear(f"{head}.predictions.dense_1", dim, dim) | norm(
            f"{head}.predictions.layer_norm", dim
        )
        shapes |= {f"{head}.predictions.dense_2.weight": (dim, dim), f"{head}.predictions.bias": (dim,)}
    shapes |= {"learned_centroid.weight": (600, dim), **linear("affine_projection", dim, dim),
               **linear("binary_ce_loss_transform_cell", 1, 1)}  # fmt: skip
    state = random_state(shapes, seed) | {
        "bert.embeddings.position_ids": torch.arange(256)[None],
        "cell_type_ancestor_mask": torch.zeros(5, 5, dtype=torch.bool), "ctgraph_sim": torch.zeros(5, 5),
    }  # fmt: skip
    torch.save(state, folder / "pytorch_model.bin")
    return folder


GENECOMPASS_CONFIG = GENEFORMER_CONFIG | {
    "hidden_act": "gelu", "max_position_embeddings": 64, "use_values": True, "use_cls_token": True,
    "use_promoter": True, "use_co_exp": True, "use_gene_family": True, "use_peca_grn": True,
}  # fmt: skip


def write_genecompass(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """A checkpoint with four tables of knowledge, dictionaries, and names of genes."""
    config, ids, knowledge = GENECOMPASS_CONFIG, ensembl_ids(symbols), 6
    tokens = {token: number for number, token in enumerate(["<pad>", "<mask>", *ids.values()])}
    dim, rng = config["hidden_size"], np.random.default_rng(seed)
    embeddings = "bert.embeddings"
    shapes = bert_shapes("bert.", len(tokens), config) | {
        f"{embeddings}.token_type_embeddings.weight": (2, dim)
    }
    for name in ("promoter", "co_exp", "gene_family", "peca_grn"):
        shapes[f"{embeddings}.{name}_knowledge"] = (len(tokens), knowledge)
        shapes |= linear(f"{embeddings}.{name}_embeddings.linear1", dim, knowledge)
    shapes |= linear(f"{embeddings}.concat_embeddings.cat_fc", dim, 5 * dim + 1)
    shapes |= norm(f"{embeddings}.concat_embeddings.cat_ln", dim)
    shapes |= linear(f"{embeddings}.concat_embeddings.cat_proj", dim, dim)
    shapes |= {"bert.cls_embedding.weight": (2, dim), **linear("cls.predictions.transform.dense", dim, dim),
               **linear("cls4value.predictions.decoder", 1, dim)}  # fmt: skip
    homologous = torch.arange(len(tokens))
    homologous[2:] = homologous[2:].flip(0)
    folder.mkdir(parents=True, exist_ok=True)
    state = random_state(shapes, seed) | {f"{embeddings}.position_ids": torch.arange(64)[None],
                                          f"{embeddings}.homologous_index": homologous}  # fmt: skip
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": len(tokens)}))
    medians = {gene: float(rng.uniform(0.5, 5)) for gene in list(ids.values())[::2]}  # others count as 1
    for name, content in (("human_mouse_tokens", tokens), ("human_gene_median_after_filter", medians)):
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(content))
    (folder / "gene_name_id_dict_gc104M.pkl").write_bytes(pickle.dumps(ids))
    return folder


# What makes an untrained twin small, by family, and what a small checkpoint needs besides its recipe.
SMALL_ARCHITECTURES = {
    "Geneformer": GENEFORMER_CONFIG, "scGPT": SCGPT_ARGS,
    "Small Geneformer": GENEFORMER_CONFIG, "Small scGPT": SCGPT_ARGS, "scFoundation": SCFOUNDATION_CONFIG,
    "Nicheformer": NICHEFORMER_CONFIG, 
    "scBERT": {"depth": 2, "dim": 12, "heads": 2, "head_dim": 8, "num_tokens": 7},
    "CellPLM": CELLPLM_CONFIG, "tGPT": TGPT_CONFIG, "LangCell": LANGCELL_CONFIG, "scCello": SCCELLO_CONFIG,
    "GeneCompass": GENECOMPASS_CONFIG,
    "CellLM": {"depth": 2, "dim": 12, "heads": 2, "head_dim": 8},
    "scMulan": {"n_layer": 2, "n_head": 2, "n_embd": 16, "expression_level": 10},
    "scPRINT": {"nlayers": 2, "nhead": 2, "d_model": 16},
    "SCimilarity": {"depth": 2, "hidden": 12, "dim": 8}, "Corpus PCA": {"dim": 8},
    "Tahoe-x1": {"d_model": 16, "n_layers": 2, "n_heads": 2},
    "TranscriptFormer": {
        "embed_dim": 16, "num_heads": 2, "num_layers": 2, "model_dim": 24, "protein_dim": 12,
    },
    "Corpus scVI": {"depth": 2, "hidden": 12, "dim": 8}, "Corpus autoencoder": {"hidden": 12, "dim": 8},
    "UCE": {
        "n_layers": 2, "dim": 16, "ffn_dim": 24, "protein_dim": 12, "n_positions": 1536, "decoder": [16, 16],
    },
    "CELLama": {}, "Cell2Sentence": {}, "ChatCell": {}, "GenePT": {"dim": 16}, "scELMo": {"dim": 16},
}  # fmt: skip


def small_parameters(family: str | None, n_genes: int) -> dict[str, int]:
    """Parameters of a small checkpoint; one call for all cells, so that their order is of no account."""
    if family in ("Cell2Sentence", "ChatCell"):  # tiny vocabularies read letter by letter
        return {"n_genes": 12}
    if family == "scPRINT":  # fewer than the cells express: else all of them are drawn under any seed
        return {"n_genes": 20}
    if family == "Tahoe-x1":  # for the same reason
        return {"max_tokens": 20}
    if family != "UCE":
        return {}
    return {"n_heads": 2, "n_draws": 48, "first_chromosome": 4 + n_genes, "batch_size": 10**6}
