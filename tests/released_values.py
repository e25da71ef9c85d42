"""Folders in the layout of models of values, SCimilarity to TranscriptFormer, and of what is fitted here."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from released import ensembl_ids, linear, norm, performer_layer, random_state
from safetensors.torch import save_file

from zeroshot.models.corpus_pca import write_fit


def scimilarity_encoder(n_genes: int, *, seed: int = 0) -> torch.nn.ModuleList:
    """The released layers as torch's own modules, with random weights and statistics."""
    sizes = (n_genes, 12, 12, 8)
    layers = [
        torch.nn.Sequential(
            torch.nn.Dropout(0.5), torch.nn.Linear(*sizes[place : place + 2]),
            torch.nn.BatchNorm1d(sizes[place + 1]), torch.nn.PReLU(),
        )
        for place in range(2)
    ]  # fmt: skip
    encoder = torch.nn.ModuleList([*layers, torch.nn.Linear(*sizes[2:])])
    generator = torch.Generator().manual_seed(seed)
    for name, values in encoder.state_dict().items():
        if values.is_floating_point():
            values.normal_(generator=generator)
            if name.endswith("running_var"):
                values.abs_().add_(0.1)
    return encoder.eval()


def write_scimilarity(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """``encoder.ckpt``, and the order of its genes: one symbol a line, without a heading."""
    state = scimilarity_encoder(len(symbols), seed=seed).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": {f"network.{name}": values for name, values in state.items()}}
    torch.save(content, folder / "encoder.ckpt")
    (folder / "gene_order.tsv").write_text("\n".join(symbols))
    return folder


TAHOE_CONFIG = {
    "d_model": 16, "n_layers": 2, "n_heads": 2, "expansion_ratio": 2, "transformer_activation": "relu",
    "norm_scheme": "pre", "cell_emb_style": "cls", "use_glu": False,
}  # fmt: skip


def write_tahoe(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """The folder of a size: a config in YAML, weights with heads, the vocabulary; and names of genes."""
    ids, dim = ensembl_ids(symbols), TAHOE_CONFIG["d_model"]
    tokens = {token: number for number, token in enumerate(["<pad>", *ids.values(), "<cls>", "<eoc>"])}
    shapes = {
        "model.gene_encoder.embedding.weight": (len(tokens), dim),
        "model.flag_encoder.weight": (2, dim),
    }
    shapes |= norm("model.gene_encoder.enc_norm", dim) | linear("model.expression_encoder.linear1", dim, 1)
    shapes |= linear("model.expression_encoder.linear2", dim, dim) | norm(
        "model.expression_encoder.norm", dim
    )
    for layer in range(TAHOE_CONFIG["n_layers"]):
        prefix = f"model.transformer_encoder.layers.{layer}"
        shapes |= linear(f"{prefix}.self_attn.Wqkv", 3 * dim, dim)
        shapes |= linear(f"{prefix}.self_attn.out_proj", dim, dim)
        shapes |= linear(f"{prefix}.up_proj", 2 * dim, dim) | linear(f"{prefix}.down_proj", dim, 2 * dim)
        shapes |= norm(f"{prefix}.norm1", dim) | norm(f"{prefix}.norm2", dim)
    shapes |= norm("model.transformer_encoder.norm", dim) | linear("model.mvc_decoder.gene2query", dim, dim)
    shapes |= linear("model.expression_decoder.out_proj", 1, dim)
    inside = folder / "70m-model"
    inside.mkdir(parents=True, exist_ok=True)
    (inside / "model_config.yml").write_text(yaml.safe_dump(TAHOE_CONFIG))
    (inside / "vocab.json").write_text(json.dumps(tokens))
    save_file(random_state(shapes, seed), inside / "model.safetensors")
    (folder / "gene_name_id_dict_gc104M.pkl").write_bytes(pickle.dumps(ids))
    return folder


TRANSCRIPTFORMER_CONFIG = {
    "embed_dim": 16, "num_heads": 2, "num_layers": 2, "model_dim": 24, "seq_len": 200, "softcap": 10,
    "log_counts_eps": 1e-6, "activation": "gelu", "attn_bias": False, "fw_bias": False,
}  # fmt: skip


def write_transcriptformer(folder: Path, symbols: Sequence[str], *, seed: int = 0, **changes) -> Path:
    """Config, weights with heads, proteins by gene in HDF5, assays; and names of genes."""
    import h5py

    ids, config = ensembl_ids(symbols), TRANSCRIPTFORMER_CONFIG | changes
    dim, ffn = config["embed_dim"], config["model_dim"]
    shapes = {"gene_embeddings.embedding.weight": (7 + len(ids), 12), "aux_embeddings.assay.weight": (3, dim)}
    shapes |= linear("gene_embeddings.mlp.layers.0", dim, 12) | norm("gene_embeddings.mlp.layers.2", dim)
    shapes |= linear("gene_embeddings.mlp.layers.4", dim, dim) | linear("mu.mlp.layers.0", 8, 2 * dim)
    for layer in range(config["num_layers"]):
        prefix = f"transformer_encoder.encoder_layers.{layer}"
        shapes |= {f"{prefix}.self_attn.linears.{part}.weight": (dim, dim) for part in range(4)}
        shapes |= {f"{prefix}.linear1.weight": (ffn, dim), f"{prefix}.linear2.weight": (dim, ffn)}
        shapes |= norm(f"{prefix}.norm1", dim) | norm(f"{prefix}.norm2", dim)
    (folder / "vocabs").mkdir(parents=True, exist_ok=True)
    content = {"model": {"model_config": config, "data_config": {"special_tokens": None}}}
    (folder / "config.json").write_text(json.dumps(content))
    torch.save(random_state(shapes, seed), folder / "model_weights.pt")
    (folder / "vocabs" / "assay_vocab.json").write_text(json.dumps({"unknown": 0, "10x 3' v3": 1, "CEL": 2}))
    with h5py.File(folder / "vocabs" / "homo_sapiens_gene.h5", "w") as file:
        file.create_dataset("keys", data=[gene.encode() for gene in ids.values()])
    (folder / "gene_name_id_dict_gc104M.pkl").write_bytes(pickle.dumps(ids))
    return folder


# Of scPRINT: those whose tokens are averaged are not the first ones, nor next to each other.
CLASSES = {
    "assay_ontology_term_id": 2, "cell_type_ontology_term_id": 7, "disease_ontology_term_id": 3,
    "organism_ontology_term_id": 2, "self_reported_ethnicity_ontology_term_id": 2,
    "sex_ontology_term_id": 2,
}  # fmt: skip


def write_scprint(folder: Path, symbols: Sequence[str], *, seed: int = 0, **facts) -> Path:
    """A Lightning checkpoint that names its genes and classes, and Ensembl ids of symbols."""
    ids, dim = ensembl_ids(symbols), 16
    shapes = {"gene_encoder.embeddings.weight": (len(ids), dim), "pos_encoder.pe": (len(ids), 1, dim),
              "class_encoder.embedding.weight": (len(CLASSES) + 1, dim)}  # fmt: skip
    for part in ("expr", "depth")[: 1 + facts.get("depth_atinput", True)]:
        prefix = f"{part}_encoder.encoder"
        shapes |= linear(f"{prefix}.0", dim, 1) | norm(f"{prefix}.1", dim) | linear(f"{prefix}.4", dim, dim)
    for layer in range(2):
        prefix = f"transformer.blocks.{layer}"
        shapes |= linear(f"{prefix}.mixer.Wqkv", 3 * dim, dim) | linear(f"{prefix}.mixer.out_proj", dim, dim)
        shapes |= linear(f"{prefix}.mlp.fc1", 4 * dim, dim) | linear(f"{prefix}.mlp.fc2", dim, 4 * dim)
        shapes |= norm(f"{prefix}.norm1", dim) | norm(f"{prefix}.norm2", dim)
    shapes |= norm("transformer.norm", dim) | linear("expr_decoder.fc.0", dim, dim)
    shapes |= linear("cls_decoders.sex_ontology_term_id.out_layer", 2, dim)
    config = {"genes": list(ids.values()), "nhead": 2, "classes": CLASSES, "normalization": "sum",
              "num_heads_kv": None, "cell_specific_blocks": False,
              "label_decoders": {"a": {0: "b"}}}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": random_state(shapes, seed), "hyper_parameters": config | facts}
    torch.save(content, folder / "medium-v1.ckpt")
    (folder / "gene_name_id_dict_gc104M.pkl").write_bytes(pickle.dumps(ids))
    return folder


def write_scmulan(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """``ckpt_scMulan.pt``, and ``meta_info.pt`` with genes in another order than their tokens, and sets."""
    types = ["blood cell", "T cell", "B cell"]
    tokens = ["<E>", *reversed(symbols), *types, "<PCT>"]
    dim, n_levels = 16, 10
    shapes = {"transformer.wte.weight": (len(tokens), dim), "transformer.wee.weight": (n_levels + 1, dim),
              "lm_head.weight": (len(tokens), dim), "epx_head.weight": (len(tokens), dim)}  # fmt: skip
    for layer in range(2):
        prefix = f"transformer.h.{layer}"
        shapes |= norm(f"{prefix}.ln_1", dim) | linear(f"{prefix}.attn.c_attn", 3 * dim, dim)
        shapes |= linear(f"{prefix}.attn.c_proj", dim, dim) | norm(f"{prefix}.ln_2", dim)
        shapes |= linear(f"{prefix}.mlp.c_fc", 4 * dim, dim) | linear(f"{prefix}.mlp.c_proj", dim, 4 * dim)
    state = random_state(shapes | norm("transformer.ln_f", dim), seed)
    config = {"n_layer": 2, "n_head": 2, "n_embd": dim, "vocab_size": len(tokens), "block_size": 1000,
              "expression_level": n_levels, "ele": 1, "bias": True, "dropout": 0.0}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model_args": config, "model": state}, folder / "ckpt_scMulan.pt")
    words = {"gene_set": list(symbols), "token_set": tokens, "cell_type": set(types), "MCT": set(types[:1])}
    torch.save(words, folder / "meta_info.pt")
    return folder


def write_celllm(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """``checkpoint4_fixed.pth`` with places of genes, ``cls`` (ones) and padding (zeros), and its genes."""
    dim, heads, width = 12, 2, 8
    shapes = {"token_emb.weight": (8, dim), "pos_emb.emb.weight": (len(symbols) + 2, dim)}
    for layer in range(2):
        shapes |= performer_layer(f"performer.net.layers.{layer}", dim, heads, width, bias=False)
    state = random_state(shapes | norm("norm", dim) | linear("to_out", 8, dim), seed)
    state["pos_emb.emb.weight"] = state["pos_emb.emb.weight"].double()
    state["pos_emb.emb.weight"][-2], state["pos_emb.emb.weight"][-1] = 1, 0
    state["performer.calls_since_last_redraw"] = torch.tensor(0)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model_state_dict": state}, folder / "checkpoint4_fixed.pth")
    (folder / "gene_list.txt").write_text("\n".join(symbols))
    return folder


def write_corpus_pca(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """Random components of these genes, as a fit to a corpus writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    state = random_state({"components": (len(symbols), 8), "means": (len(symbols),)}, seed)
    write_fit(folder, {name: values.numpy() for name, values in state.items()}, symbols, {"dim": 8})
    return folder


def write_corpus_scvi(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """A random encoder of these genes, as a fit to a corpus writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"genes": (len(symbols), 12), "bias": (12,), **linear("linears.0", 12, 12)}
    state = random_state(shapes | linear("linears.1", 8, 12), seed)
    write_fit(folder, {name: values.numpy() for name, values in state.items()}, symbols, {})
    return folder


def write_corpus_autoencoder(folder: Path, symbols: Sequence[str], *, seed: int = 0) -> Path:
    """A random autoencoder of these genes, as a training writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = (len(symbols), 12)
    shapes = {"genes": sizes, "outputs": sizes, "output_bias": sizes[:1], **norm("norm", 12)}
    state = random_state(shapes | linear("down", 8, 12) | linear("up", 12, 8), seed)
    arrays = {name: values.numpy() for name, values in state.items()}
    write_fit(folder, arrays, symbols, {"hidden": 12, "dim": 8})
    return folder
