"""Folders of tiny language models with random weights, as transformers and tokenizers write them."""

from pathlib import Path

import torch

SIZES = {"vocab_size": 160, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
T5_SIZES = {"vocab_size": 160, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}


def write_vocabulary(folder: Path, *, closing: bool) -> None:
    """A tokenizer.json that reads letter by letter; with ``closing`` every text ends in </s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = [chr(number) for number in (10, *range(32, 127))]
    tokens = {token: number for number, token in enumerate(["<pad>", "</s>", "<unk>", *letters])}
    vocabulary = Tokenizer(models.WordLevel(tokens, unk_token="<unk>"))
    vocabulary.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    vocabulary.decoder = decoders.Fuse()
    vocabulary.add_special_tokens(["<pad>", "</s>", "<unk>"])
    if closing:
        vocabulary.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", 1)]
        )
    vocabulary.enable_truncation(7)  # as some released files do
    vocabulary.save(str(folder / "tokenizer.json"))


def write_causal_model(folder: Path, *, kind: str = "gpt_neox", seed: int = 0) -> Path:
    """A causal language model with its head: the class of Pythia, or of Gemma 2."""
    from transformers import Gemma2Config, Gemma2ForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

    shared = SIZES | {"intermediate_size": 24, "max_position_embeddings": 4096, "initializer_range": 0.3}
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "gemma2":
            sizes = {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 64, "pad_token_id": 0}
            model = Gemma2ForCausalLM(Gemma2Config(**shared, **sizes))
        else:
            model = GPTNeoXForCausalLM(GPTNeoXConfig(**shared))
    model.save_pretrained(folder)
    write_vocabulary(folder, closing=False)
    return folder


def write_t5(folder: Path, *, seed: int = 0) -> Path:
    """A T5 with its decoder and head."""
    from transformers import T5Config, T5ForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(T5Config(**T5_SIZES, initializer_factor=3.0, pad_token_id=0))
    model.save_pretrained(folder)
    write_vocabulary(folder, closing=True)
    return folder
